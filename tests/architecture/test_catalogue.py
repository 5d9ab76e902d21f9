"""The database's own catalogue obeys the rules of tenancy, whatever the models say."""

import re
from collections.abc import AsyncIterator

import psycopg
import pytest

from core.settings import Settings
from db.base import SCHEMAS
from db.locate import owner_url
from db.provision import APP, OWNER, to_libpq_url

GLOBAL = {
    "platform.tenants", "platform.system_admins", "platform.system_settings", "platform.llm_providers",
    "platform.backups", "platform.drills",
}  # fmt: skip
"""The tables that belong to no tenant."""


@pytest.fixture(scope="module")
async def catalogue(store: Settings) -> AsyncIterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        yield connection


def ask(connection: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query, {"schemas": list(SCHEMAS), "app": APP, "owner": OWNER}).fetchall()


TABLES = """
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relowner, c.relispartition,
           c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
"""


def test_tenant_id_leads_every_primary_key(catalogue: psycopg.Connection) -> None:
    rows = ask(
        catalogue,
        f"""SELECT t.name FROM ({TABLES}) t LEFT JOIN pg_constraint p ON p.conrelid = t.oid AND p.contype = 'p'
            LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = p.conkey[1]
            WHERE a.attname IS DISTINCT FROM 'tenant_id'""",
    )
    assert {name for (name,) in rows} == GLOBAL


def test_unique_and_foreign_keys_hold_the_tenant(catalogue: psycopg.Connection) -> None:
    loose_keys = ask(
        catalogue,
        f"""SELECT t.name, i.indexrelid::regclass::text FROM ({TABLES}) t
            JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique
            WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'tenant_id'
                              AND a.attnum = ANY (i.indkey))""",
    )
    assert {name for name, _ in loose_keys} == GLOBAL
    loose_references = ask(
        catalogue,
        f"""SELECT t.name, f.conname, f.confrelid::regclass::text FROM ({TABLES}) t
            JOIN pg_constraint f ON f.conrelid = t.oid AND f.contype = 'f'
            WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'tenant_id'
                              AND a.attnum = f.conkey[1])""",
    )
    assert {(name, target) for name, _, target in loose_references} <= {
        ("platform.tenant_llm_config", "platform.llm_providers"),
        ("platform.system_settings", "platform.system_admins"),
    }


def test_every_tenant_table_forces_isolation(catalogue: psycopg.Connection) -> None:
    unguarded = ask(
        catalogue,
        f"""SELECT t.name FROM ({TABLES}) t
            WHERE NOT t.relispartition AND (NOT t.relrowsecurity OR NOT t.relforcerowsecurity
            OR NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'tenant_isolation'
                           AND NOT p.polpermissive AND p.polcmd = '*'))""",
    )
    assert {name for (name,) in unguarded} == GLOBAL - {"platform.tenants"}


def test_content_is_read_by_visibility_and_audience(catalogue: psycopg.Connection) -> None:
    content = ask(
        catalogue,
        f"""SELECT t.name, pg_get_expr(p.polqual, p.polrelid) FROM ({TABLES}) t
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'visibility'
            LEFT JOIN pg_policy p ON p.polrelid = t.oid AND p.polname = 'reader' WHERE NOT t.relispartition""",
    )
    assert len(content) >= 7
    for name, rule in content:
        assert rule is not None, name
        assert "app.visibilities" in str(rule), name
        assert "app.clients" in str(rule), name


def test_policies_read_settings_once_a_statement(catalogue: psycopg.Connection) -> None:
    rules = ask(
        catalogue,
        "SELECT policyname, coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies "
        "WHERE schemaname = ANY (%(schemas)s)",
    )
    assert len(rules) > 50
    for name, rule in rules:
        before = re.findall(r"(\w+)[\s(]*(?:NULLIF\(|string_to_array\()?[\s(]*current_setting\(", str(rule))
        assert set(before) <= {"SELECT"}, f"{name} reads a setting for every row"
        assert "current_setting" not in str(rule) or before, name
        assert ", true)" not in str(rule), f"{name} reads a setting that may be missing"


def test_app_owns_nothing_and_goes_around_nothing(catalogue: psycopg.Connection) -> None:
    assert ask(
        catalogue, "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = %(app)s"
    ) == [(False, False, False, False)]
    assert ask(catalogue, "SELECT rolcanlogin, rolbypassrls FROM pg_roles WHERE rolname = %(owner)s") == [
        (False, False)
    ]
    assert ask(catalogue, f"SELECT t.name FROM ({TABLES}) t WHERE pg_get_userbyid(t.relowner) <> %(owner)s") == []
    assert ask(
        catalogue,
        """SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %(app)s""",
    ) == []  # fmt: skip


def test_partitions_are_reached_through_their_parent_only(catalogue: psycopg.Connection) -> None:
    rows = ask(
        catalogue,
        f"""SELECT t.name FROM ({TABLES}) t WHERE t.relispartition
            AND has_table_privilege(%(app)s, t.oid, 'SELECT, INSERT, UPDATE, DELETE')""",
    )
    assert rows == []


def test_public_may_execute_nothing(catalogue: psycopg.Connection) -> None:
    rows = ask(
        catalogue,
        """SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = ANY (%(schemas)s) AND (p.proacl IS NULL OR EXISTS (
               SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'))""",
    )
    assert rows == []


def test_definer_functions_fix_their_search_path(catalogue: psycopg.Connection) -> None:
    rows = ask(
        catalogue,
        """SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = ANY (%(schemas)s) AND p.prosecdef
             AND NOT coalesce(p.proconfig::text LIKE '%%search_path=pg_catalog%%', false)""",
    )
    assert rows == []


def test_views_are_read_as_their_reader(catalogue: psycopg.Connection) -> None:
    """A view without security_invoker would show everyone what its owner may see."""
    rows = ask(
        catalogue,
        """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'v'
             AND NOT coalesce(c.reloptions::text LIKE '%%security_invoker=true%%', false)""",
    )
    assert rows == []


def test_materialised_views_are_read_through_functions_only(catalogue: psycopg.Connection) -> None:
    """No policy guards a materialised view, so no role but its owner may read one."""
    rows = ask(
        catalogue,
        """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'm'
             AND has_any_column_privilege(%(app)s, c.oid, 'SELECT')""",
    )
    assert rows == []


def test_sequences_and_truncate_are_the_owner_s(catalogue: psycopg.Connection) -> None:
    rows = ask(
        catalogue,
        f"SELECT t.name FROM ({TABLES}) t WHERE has_table_privilege(%(app)s, t.oid, 'TRUNCATE, TRIGGER, REFERENCES')",
    )
    assert rows == []


def test_logs_are_never_written_by_the_app(catalogue: psycopg.Connection) -> None:
    rows = ask(
        catalogue,
        f"""SELECT t.name FROM ({TABLES}) t
            WHERE t.name IN ('governance.audit_logs', 'governance.audit_heads', 'governance.audit_pending')
              AND has_table_privilege(%(app)s, t.oid, 'INSERT, UPDATE, DELETE')""",
    )
    assert rows == []
    changed = ask(
        catalogue,
        f"""SELECT t.name FROM ({TABLES}) t
            WHERE t.name IN ('governance.deletion_records', 'chat.chat_messages', 'accounting.ledger_entries')
              AND has_table_privilege(%(app)s, t.oid, 'UPDATE, DELETE')""",
    )
    assert changed == []


def test_the_owner_changes_nothing_outside_the_bound_tenant(catalogue: psycopg.Connection) -> None:
    """Where the owner may look across tenants, its triggers still write to the bound tenant alone.

    The audit log is left out: a change made while nobody is bound is logged too, to the tenant of the changed row.
    """
    loose = ask(
        catalogue,
        """
        WITH p AS (SELECT schemaname || '.' || tablename AS name, * FROM pg_policies
                   WHERE schemaname = ANY (%(schemas)s) AND tablename NOT LIKE 'audit_%%'),
        open AS (SELECT name FROM p WHERE policyname = 'tenant_isolation' AND NOT 'public' = ANY (roles))
        SELECT w.name, c.command FROM open JOIN p w USING (name)
        CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE')) AS c (command)
        WHERE w.permissive = 'PERMISSIVE' AND %(owner)s = ANY (w.roles) AND w.cmd IN ('ALL', c.command)
          AND coalesce(w.with_check, w.qual) NOT LIKE '%%app.tenant_id%%'
          AND NOT EXISTS (SELECT FROM p r WHERE r.name = w.name AND r.permissive = 'RESTRICTIVE'
                          AND %(owner)s = ANY (r.roles) AND r.cmd = c.command
                          AND coalesce(r.with_check, r.qual) LIKE '%%app.tenant_id%%')
        """,
    )
    assert loose == []
