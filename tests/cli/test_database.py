"""`db check` fails on a store that is not what it should be, names the place, and repairs what can be counted anew."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from typer.testing import CliRunner

from cli.main import app
from core.settings import Settings
from db.locate import owner_url
from db.provision import OWNER, to_libpq_url
from tests.cli.test_main import run
from tests.factories.people import Organisation

pytestmark = pytest.mark.whole_store


@pytest.fixture
def owner(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        connection.execute(f"SET ROLE {OWNER}")
        yield connection


@pytest.fixture
def superuser(store: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


def check(organisation: Organisation, *more: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(app, ["db", "check", "--json", "--tenant", organisation.slug, *more])
    return result.exit_code, {finding["name"]: finding for finding in json.loads(result.stdout)}


def test_check_passes_on_a_sound_store(organisation: Organisation) -> None:
    result = CliRunner().invoke(app, ["db", "check", "--tenant", organisation.slug])
    assert result.exit_code == 0, result.stderr
    for name in ("migrations", "audit log", "counters", "ledger", "guards"):
        assert f"ok    {name}: " in result.stdout
    alone = run("db", "check", "--json", "--tenant", organisation.slug)
    assert {finding["status"] for finding in json.loads(alone.stdout)} == {"ok"}
    assert CliRunner().invoke(app, ["db", "migrate"]).exit_code == 0


def test_unknown_organisation_is_one_sentence(store: Settings) -> None:
    result = run("db", "check", "--tenant", "nobody-here")
    assert result.returncode == 1
    assert "There is no organisation 'nobody-here'" in result.stderr
    assert "Traceback" not in result.stderr


def test_table_that_nobody_guards_fails_the_check(owner: psycopg.Connection, organisation: Organisation) -> None:
    owner.execute("CREATE TABLE coaching.open_door (tenant_id uuid)")
    try:
        code, findings = check(organisation)
    finally:
        owner.execute("DROP TABLE coaching.open_door")
    assert code == 1
    assert "coaching.open_door" in findings["row-level security"]["detail"]


def test_column_that_no_migration_makes_fails_the_check(owner: psycopg.Connection, organisation: Organisation) -> None:
    owner.execute("ALTER TABLE coaching.engagements ADD COLUMN surprise int")
    try:
        code, findings = check(organisation)
    finally:
        owner.execute("ALTER TABLE coaching.engagements DROP COLUMN surprise")
    assert code == 1
    assert "surprise" in findings["migrations"]["detail"]


@contextmanager
def switched_off(connection: psycopg.Connection, table: str, trigger: str, kind: str = "") -> Iterator[None]:
    connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    try:
        yield
    finally:
        connection.execute(f"ALTER TABLE {table} ENABLE {kind} TRIGGER {trigger}")


def test_guard_switched_off_is_named(superuser: psycopg.Connection, organisation: Organisation) -> None:
    with switched_off(superuser, "coaching.engagements", "audit"):
        code, findings = check(organisation)
    assert code == 1
    assert findings["guards"]["detail"] == "switched off: coaching.engagements.audit"


def test_altered_audit_row_is_named_with_tenant_and_place(
    superuser: psycopg.Connection, organisation: Organisation
) -> None:
    where = "WHERE tenant_id = %s AND sequence = 12"
    found = superuser.execute(f"SELECT action FROM governance.audit_logs {where}", [organisation.tenant_id]).fetchone()
    assert found is not None
    with switched_off(superuser, "governance.audit_logs", "keep", "ALWAYS"):
        change = f"UPDATE governance.audit_logs SET action = %s {where}"
        superuser.execute(change, ["nothing_happened", organisation.tenant_id])
        code, findings = check(organisation)
        superuser.execute(change, [*found, organisation.tenant_id])
    assert code == 1
    detail = findings["audit log"]["detail"]
    assert detail == f"tenant {organisation.tenant_id}: altered: row 12 does not have the hash of what it says"
    assert check(organisation)[0] == 0


def test_counter_that_is_off_is_named_and_repaired(superuser: psycopg.Connection, organisation: Organisation) -> None:
    person = organisation.client_a.user_id
    changed = superuser.execute(
        "UPDATE identity.user_profiles SET follower_count = 7 WHERE tenant_id = %s AND user_id = %s RETURNING id",
        [organisation.tenant_id, person],
    ).fetchone()
    assert changed is not None
    code, findings = check(organisation)
    assert code == 1
    expected = f"identity.user_profiles.follower_count of {changed[0]} says 7, counted are 0"
    assert findings["counters"]["detail"] == f"tenant {organisation.tenant_id}: {expected}"
    code, findings = check(organisation, "--repair")
    assert code == 0
    assert findings["counters"]["detail"].endswith("1 rows were repaired")
    assert check(organisation)[0] == 0


def test_ledger_that_does_not_add_up_is_named(superuser: psycopg.Connection, organisation: Organisation) -> None:
    transaction = "0198c0de-0000-7000-8000-000000000001"
    superuser.execute(
        "INSERT INTO accounting.ledger_entries (tenant_id, transaction_id, account, amount, currency, memo) "
        "VALUES (%s, %s, 'cash', 12.50, 'USD', 'charge')",
        [organisation.tenant_id, transaction],
    )
    code, findings = check(organisation)
    superuser.execute("DELETE FROM accounting.ledger_entries WHERE tenant_id = %s", [organisation.tenant_id])
    assert code == 1
    assert findings["ledger"]["detail"] == (
        f"tenant {organisation.tenant_id}: transaction {transaction} is off by 12.50 USD"
    )
