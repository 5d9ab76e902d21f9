"""Migrations run up and down, leave no trace, and say what the models say."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import URL

from core.settings import Settings
from db import migrate
from db.base import SCHEMAS
from db.embedded import start_embedded
from db.provision import provision, to_libpq_url

CATALOGUE = """
SELECT 'table ' || c.relname, pg_get_userbyid(c.relowner), c.relrowsecurity::text FROM pg_class c
WHERE c.relnamespace = ANY (%(schemas)s::regnamespace[]) AND c.relkind IN ('r', 'p')
UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE c.relnamespace = ANY (%(schemas)s::regnamespace[]) AND attnum > 0 AND c.relkind IN ('r', 'p')
UNION ALL SELECT 'constraint ' || conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = ANY (%(schemas)s::regnamespace[])
UNION ALL SELECT 'index ' || indexname, tablename, indexdef FROM pg_indexes WHERE schemaname::text = ANY (%(names)s)
UNION ALL SELECT 'policy ' || policyname, tablename, qual || coalesce(with_check, '') FROM pg_policies
WHERE schemaname::text = ANY (%(names)s)
UNION ALL SELECT 'function ' || proname, proacl::text, prosrc FROM pg_proc
WHERE pronamespace = ANY (%(schemas)s::regnamespace[])
UNION ALL SELECT 'trigger ' || tgname, tgrelid::regclass::text, pg_get_triggerdef(t.oid) FROM pg_trigger t
JOIN pg_class c ON c.oid = tgrelid WHERE c.relnamespace = ANY (%(schemas)s::regnamespace[]) AND NOT tgisinternal
ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def empty_database(settings: Settings) -> Iterator[URL]:
    admin = start_embedded(settings.postgres_folder)
    yield provision(admin, "migrations")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE migrations WITH (FORCE)")


def catalogue(url: URL) -> list[tuple[str, ...]]:
    with psycopg.connect(to_libpq_url(url)) as connection:
        there = [
            name for (name,) in connection.execute("SELECT nspname FROM pg_namespace").fetchall() if name in SCHEMAS
        ]
        return connection.execute(CATALOGUE, {"schemas": there, "names": there}).fetchall()


def test_up_down_up_leaves_no_trace(empty_database: URL) -> None:
    migrate.upgrade(empty_database)
    first = catalogue(empty_database)
    assert len(first) > 500
    current, head = migrate.current_and_head(empty_database)
    assert current == head

    migrate.downgrade(empty_database, "base")
    with psycopg.connect(to_libpq_url(empty_database)) as connection:
        left = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
        functions = connection.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e')"
        ).fetchall()
        defaults = connection.execute("SELECT defaclacl::text FROM pg_default_acl").fetchall()
    assert left == [("public",)]
    assert functions == []
    assert defaults == []

    migrate.upgrade(empty_database)
    assert catalogue(empty_database) == first


def test_each_step_goes_down_and_up_again(empty_database: URL) -> None:
    migrate.upgrade(empty_database)
    before = catalogue(empty_database)
    _, head = migrate.current_and_head(empty_database)
    assert head is not None
    for revision in range(int(head), 0, -1):
        migrate.downgrade(empty_database, f"{revision - 1:04d}" if revision > 1 else "base")
        migrate.upgrade(empty_database, f"{revision:04d}")
        migrate.downgrade(empty_database, f"{revision - 1:04d}" if revision > 1 else "base")
    migrate.upgrade(empty_database)
    assert catalogue(empty_database) == before


def test_models_and_migrations_agree(empty_database: URL) -> None:
    migrate.upgrade(empty_database)
    migrate.check(empty_database)


def test_partitions_are_made_ahead_once(empty_database: URL) -> None:
    migrate.upgrade(empty_database)
    with psycopg.connect(to_libpq_url(empty_database)) as connection:
        more = connection.execute("SELECT platform.create_month_partitions(14)").fetchone()
        again = connection.execute("SELECT platform.create_month_partitions(14)").fetchone()
        assert more is not None
        assert more[0] > 0
        assert again == (0,)


def test_tenants_partitions_go_back_into_the_shared_one(empty_database: URL) -> None:
    migrate.upgrade(empty_database)
    tenant = "0198c0de-0000-7000-8000-000000000001"
    with psycopg.connect(to_libpq_url(empty_database)) as connection:
        connection.execute("SET ROLE regenesis_owner")
        connection.execute("SELECT platform.bind_reader(%s, null, 'system')", [tenant])
        assert connection.execute("SELECT rag.give_partition(%s)", [tenant]).fetchone() == (True,)
    migrate.downgrade(empty_database, "0006")
    with psycopg.connect(to_libpq_url(empty_database)) as connection:
        left = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'rag.chunk_embeddings'::regclass"
        ).fetchall()
    assert left == [("rag.chunk_embeddings_default",)]
    migrate.upgrade(empty_database)
