"""The audit log is one chain a tenant, whatever happens at the same time, and shows what was done to it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import Settings
from db.locate import owner_url
from db.models import AuditHead, AuditLog, AuditPending, DataSource, Entitlement
from db.provision import to_libpq_url
from db.session import Principal, run_serializable, tenant_session
from domain import audit_chain
from domain.audit_chain import check_chain
from domain.governance import name_action, record_event
from tests.factories.people import Organisation, found_organisation


async def count_log(person: Principal) -> int:
    async with tenant_session(person) as session:
        return await session.scalar(select(func.count()).select_from(AuditLog)) or 0


async def write_sources(session: AsyncSession, tenant_id: UUID, names: list[str]) -> None:
    for name in names:
        await session.execute(
            insert(DataSource).values(tenant_id=tenant_id, name=name, uri=f"file:///{name}", type="text")
        )


async def assert_sound(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        state = await check_chain(session)
        assert state.fault is None
        assert state.checked == state.length
        places = list(await session.scalars(select(AuditLog.sequence).order_by(AuditLog.sequence)))
        assert places == list(range(1, state.length + 1))
        assert await session.scalar(select(func.count()).select_from(AuditPending)) == 0
        assert await session.scalar(select(AuditHead.sequence)) == state.length
    return state.length


async def test_chain_has_no_gap_under_concurrency(organisation: Organisation) -> None:
    others = [await found_organisation() for _ in range(2)]
    before = await assert_sound(organisation)

    async def write(number: int, tenant: Organisation) -> None:
        async with tenant_session(tenant.system) as session:
            await write_sources(session, tenant.tenant_id, [f"{number}-{part}" for part in range(4)])

    await asyncio.gather(
        *(write(number, organisation) for number in range(50)),
        *(write(number, other) for number in range(10) for other in others),
    )
    assert await assert_sound(organisation) == before + 200
    for other in others:
        assert await assert_sound(other) == before + 40


async def test_serializable_transactions_do_not_clash_over_the_chain(organisation: Organisation) -> None:
    before = await assert_sound(organisation)
    tries = 0

    async def add(number: int) -> None:
        async def work(session: AsyncSession) -> None:
            nonlocal tries
            tries += 1
            await write_sources(session, organisation.tenant_id, [f"serial-{number}"])

        await run_serializable(organisation.system, work)

    async def write(number: int) -> None:
        async with tenant_session(organisation.system) as session:
            await write_sources(session, organisation.tenant_id, [f"plain-{number}"])

    await asyncio.gather(*(add(number) for number in range(25)), *(write(number) for number in range(25)))
    assert await assert_sound(organisation) == before + 50
    assert tries < 60, "writes of different rows met each other, which only the chain could make them do"


async def test_rows_of_a_serializable_transaction_wait_for_the_next_commit(organisation: Organisation) -> None:
    before = await assert_sound(organisation)
    async with tenant_session(organisation.system, isolation="SERIALIZABLE") as session:
        await write_sources(session, organisation.tenant_id, ["waiting"])
    assert await count_log(organisation.system) == before
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(AuditPending)) == 1
        await write_sources(session, organisation.tenant_id, ["next"])
    assert await assert_sound(organisation) == before + 2


async def test_rollback_and_savepoint_leave_nothing(organisation: Organisation) -> None:
    before = await assert_sound(organisation)

    async def fail() -> None:
        async with tenant_session(organisation.system) as session:
            await write_sources(session, organisation.tenant_id, ["rolled back"])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await assert_sound(organisation) == before

    async with tenant_session(organisation.system) as session:
        await write_sources(session, organisation.tenant_id, ["one"])
        point = await session.begin_nested()
        await write_sources(session, organisation.tenant_id, ["two"])
        await point.rollback()
        async with session.begin_nested():
            await write_sources(session, organisation.tenant_id, ["three"])
    assert await assert_sound(organisation) == before + 2


async def test_audit_adds_no_deadlock(organisation: Organisation) -> None:
    """Rows are locked in one order, so only the log's own locks could make these wait for each other."""
    ids = sorted(uuid4() for _ in range(6))
    async with tenant_session(organisation.system) as session:
        for position, row_id in enumerate(ids):
            values = {"tenant_id": organisation.tenant_id, "id": row_id, "tier": "basic", "feature": f"f{position}"}
            await session.execute(insert(Entitlement).values(values))
    before = await assert_sound(organisation)

    async def change(number: int) -> None:
        chosen = [ids[(number * step) % 6] for step in (1, 2, 5)]
        async with tenant_session(organisation.system) as session:
            if number % 3 == 0:
                await record_event(session, action="counted", metadata={"number": number})
            for row_id in sorted(set(chosen)):
                await session.execute(
                    update(Entitlement).where(Entitlement.id == row_id).values(enabled=~Entitlement.enabled)
                )
            if number % 3 == 1:
                await record_event(session, action="counted", metadata={"number": number})

    await asyncio.gather(*(change(number) for number in range(200)))
    events = sum(number % 3 != 2 for number in range(200))
    changes = sum(len({ids[(number * step) % 6] for step in (1, 2, 5)}) for number in range(200))
    assert await assert_sound(organisation) == before + events + changes


async def test_many_changes_of_one_transaction_are_linked_at_once(organisation: Organisation) -> None:
    before = await assert_sound(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO ingestion.data_sources (tenant_id, name, uri, type) "
                "SELECT current_setting('app.tenant_id')::uuid, 'bulk ' || n, 'file:///' || n, 'text' "
                "FROM generate_series(1, 5000) n"
            )
        )
    assert await assert_sound(organisation) == before + 5000


async def test_a_named_transaction_gives_its_name_to_every_change(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        await name_action(session, "sources_imported")
        await write_sources(session, organisation.tenant_id, ["a", "b"])
    async with tenant_session(organisation.system) as session:
        await write_sources(session, organisation.tenant_id, ["c"])
    async with tenant_session(organisation.compliance) as session:
        rows = await session.scalars(select(AuditLog.action).order_by(AuditLog.sequence.desc()).limit(3))
        assert list(rows) == ["data_source_created", "sources_imported", "sources_imported"]


@pytest.fixture
def forgotten(store: Settings, organisation: Organisation) -> Iterator[Organisation]:
    """An organisation whose broken log is gone afterwards, so that checks of the whole store still pass."""
    yield organisation
    with unsealed(store) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE governance.audit_heads DISABLE TRIGGER ALL")
        for table in ("audit_logs", "audit_heads", "audit_pending"):
            connection.execute(f"DELETE FROM governance.{table} WHERE tenant_id = %s", [organisation.tenant_id])
        connection.execute("ALTER TABLE governance.audit_heads ENABLE TRIGGER ALL")
        connection.execute(
            "ALTER TABLE governance.audit_heads ENABLE ALWAYS TRIGGER keep, ENABLE ALWAYS TRIGGER keep_all"
        )


@contextmanager
def unsealed(settings: Settings) -> Iterator[psycopg.Connection]:
    """What only a superuser can do, on purpose: write the log with its guards switched off."""
    with psycopg.connect(to_libpq_url(owner_url(settings)), autocommit=True) as connection:
        connection.execute("ALTER TABLE governance.audit_logs DISABLE TRIGGER ALL")
        try:
            yield connection
        finally:
            connection.execute("ALTER TABLE governance.audit_logs ENABLE TRIGGER ALL")
            connection.execute("ALTER TABLE governance.audit_logs ENABLE ALWAYS TRIGGER keep")
            connection.execute("ALTER TABLE governance.audit_logs ENABLE ALWAYS TRIGGER keep_all")


WHERE = " WHERE tenant_id = %(tenant)s AND sequence = "
COPY = (
    "INSERT INTO governance.audit_logs SELECT (jsonb_populate_record(a, %s)).* FROM governance.audit_logs a "
    "WHERE tenant_id = %%(tenant)s AND sequence = 5"
)
ATTACKS = {
    "a word altered": ("UPDATE governance.audit_logs SET action = 'nothing'" + WHERE + "7", 7, "altered"),
    "who did it altered": ("UPDATE governance.audit_logs SET actor_role = 'coach'" + WHERE + "1", 1, "altered"),
    "a value altered": (
        "UPDATE governance.audit_logs SET changes = changes || '{\"n\": [1, null]}'" + WHERE + "9", 9, "altered",
    ),
    "the hash altered": ("UPDATE governance.audit_logs SET hash = sha256('x')" + WHERE + "4", 4, "altered"),
    "the first removed": ("DELETE FROM governance.audit_logs" + WHERE + "1", 1, "removed"),
    "the middle removed": ("DELETE FROM governance.audit_logs" + WHERE + "ANY ('{6,7,8}')", 6, "removed"),
    "the last removed": (
        ("DELETE FROM governance.audit_logs a USING governance.audit_heads h WHERE a.tenant_id = %(tenant)s "
        "AND h.tenant_id = a.tenant_id AND a.sequence = h.sequence"), -1, "removed",
    ),
    "removed and renumbered": (
        "DELETE FROM governance.audit_logs" + WHERE + "6; UPDATE governance.audit_logs SET sequence = sequence - 1 "
        "WHERE tenant_id = %(tenant)s AND sequence > 6; UPDATE governance.audit_heads SET sequence = sequence - 1 "
        "WHERE tenant_id = %(tenant)s", 6, "removed",
    ),
    "two exchanged": (
        "UPDATE governance.audit_logs SET sequence = 13 - sequence" + WHERE + "ANY ('{6,7}')", 6, "reordered",
    ),
    "one moved away": (
        ("UPDATE governance.audit_logs SET sequence = CASE sequence WHEN 5 THEN 9 ELSE sequence - 1 END "
        "WHERE tenant_id = %(tenant)s AND sequence BETWEEN 5 AND 9"), 5, "reordered",
    ),
    "one slipped in": (COPY % "jsonb_build_object('id', uuidv7())", 5, "inserted"),
    "one added at the end": (COPY % "jsonb_build_object('id', uuidv7(), 'sequence', 10000)", 10000, "inserted"),
    "replaced with a fitting hash": (
        "UPDATE governance.audit_logs SET description = 'all is well'" + WHERE + "5; "
        "UPDATE governance.audit_logs a SET hash = governance.hash_entry(previous_hash, a)" + WHERE + "5", 6, "removed",
    ),
    "the end cut off": (
        ("DELETE FROM governance.audit_logs WHERE tenant_id = %(tenant)s AND sequence > 10; "
        "UPDATE governance.audit_heads SET sequence = 10 WHERE tenant_id = %(tenant)s"), 10, "altered",
    ),
    "a waiting row never linked": (
        ("INSERT INTO governance.audit_pending (tenant_id, transaction_id, actor_role, action, waits) "
        "VALUES (%(tenant)s, 1, 'system', 'hidden', false)"), -2, "unlinked",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("batch", [4, 50_000])
async def test_check_finds_what_was_done_with_the_guards_off(
    store: Settings, forgotten: Organisation, attack: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = forgotten
    monkeypatch.setattr(audit_chain, "BATCH", batch)
    length = await assert_sound(organisation)
    assert length > 20
    statement, place, wrong = ATTACKS[attack]
    with unsealed(store) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE governance.audit_heads DISABLE TRIGGER ALL")
        for part in statement.split("; "):
            assert connection.execute(part, {"tenant": organisation.tenant_id}).rowcount > 0
        connection.execute("ALTER TABLE governance.audit_heads ENABLE TRIGGER ALL")
        connection.execute(
            "ALTER TABLE governance.audit_heads ENABLE ALWAYS TRIGGER keep, ENABLE ALWAYS TRIGGER keep_all"
        )
    expected = {-1: length, -2: length + 1}.get(place, place)
    async with tenant_session(organisation.system) as session:
        fault = (await check_chain(session)).fault
    assert fault is not None
    assert (fault.sequence, fault.wrong) == (expected, wrong), fault.detail


async def test_newest_rows_are_checked_alone(store: Settings, forgotten: Organisation) -> None:
    organisation = forgotten
    length = await assert_sound(organisation)
    seen: list[tuple[int, int]] = []
    async with tenant_session(organisation.compliance) as session:
        state = await check_chain(session, newest=5, on_progress=lambda done, there: seen.append((done, there)))
    assert (state.fault, state.checked, state.length) == (None, 5, length)
    assert seen == [(5, 5)]
    with unsealed(store) as connection:
        connection.execute(
            "UPDATE governance.audit_logs SET action = 'x' WHERE tenant_id = %s AND sequence = 3",
            [organisation.tenant_id],
        )
    async with tenant_session(organisation.compliance) as session:
        assert (await check_chain(session, newest=5)).fault is None
        assert (await check_chain(session)).fault is not None


@pytest.mark.parametrize(
    "statement",
    [
        (
            "INSERT INTO governance.audit_logs "
            "(tenant_id, occurred_at, actor_role, action, sequence, hash, previous_hash) "
            "VALUES (current_setting('app.tenant_id')::uuid, now(), 'system', 'forged', 1, '', '')"
        ),
        (
            "INSERT INTO governance.audit_pending (tenant_id, transaction_id, actor_role, action, waits) "
            "VALUES (current_setting('app.tenant_id')::uuid, 1, 'admin', 'forged', true)"
        ),
        "UPDATE governance.audit_logs SET action = 'nothing'",
        "DELETE FROM governance.audit_logs",
        "DELETE FROM governance.audit_pending",
        "TRUNCATE governance.audit_logs",
        "UPDATE governance.audit_heads SET sequence = 0",
        "DELETE FROM governance.audit_logs_default",
        "SELECT governance.link_entries(current_setting('app.tenant_id')::uuid)",
        "SELECT governance.note(current_setting('app.tenant_id')::uuid, 'x', '', '', null, '', null, null, 'info')",
        "ALTER TABLE governance.audit_logs DISABLE TRIGGER keep",
        "SET session_replication_role = replica",
        "UPDATE governance.deletion_records SET signature = ''",
    ],
)
async def test_app_can_not_write_the_log(organisation: Organisation, statement: str) -> None:
    with pytest.raises(DBAPIError) as refusal:
        async with tenant_session(organisation.system) as session:
            await session.execute(text(statement))
    assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)
    await assert_sound(organisation)


async def test_owner_can_not_change_the_log_by_mistake(store: Settings, organisation: Organisation) -> None:
    with psycopg.connect(to_libpq_url(owner_url(store))) as connection:
        partitions = [
            name for (name,) in connection.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'governance.audit_logs'::regclass"
            ).fetchall()
        ]  # fmt: skip
        assert len(partitions) > 12
        connection.commit()
        tables = ["governance.audit_logs", "governance.audit_heads", "platform.system_admins"]
        held = connection.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM governance.audit_logs WHERE tenant_id = %s",
            [organisation.tenant_id],
        ).fetchall()
        attacks = [f"TRUNCATE {table} CASCADE" for table in (*tables, "chat.chat_messages", *partitions)]
        attacks += [f"DELETE FROM {table}" for table in (*tables, *(name for (name,) in held))]
        attacks += [f"UPDATE {name} SET action = 'nothing'" for (name,) in held]
        for role in ("postgres", "regenesis_owner"):
            for mode in ("origin", "replica") if role == "postgres" else ("origin",):
                for attack in attacks:
                    connection.rollback()
                    connection.execute(f"SET session_replication_role = {mode}")  # our own words
                    if "system_admins" in attack or ("chat" in attack and mode == "replica"):
                        continue
                    if role == "regenesis_owner":
                        connection.execute("SET ROLE regenesis_owner")
                    with pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
                        connection.execute(attack)
        connection.rollback()


async def test_readers_of_the_log(organisation: Organisation) -> None:
    other = await found_organisation()
    length = await assert_sound(organisation)
    for name, person in organisation.people.items():
        assert await count_log(person) == (length if name == "compliance" else 0), name
    async with tenant_session(organisation.compliance) as session:
        assert set(await session.scalars(select(AuditLog.tenant_id))) == {organisation.tenant_id}
        for view in ("identity.audit_log", "coaching.audit_log", "governance.audit_log"):
            rows = (await session.execute(text(f"SELECT DISTINCT brand_id FROM {view}"))).scalars().all()
            assert rows == [str(organisation.tenant_id)], view
    async with tenant_session(organisation.coach_a) as session:
        assert (await session.execute(text("SELECT count(*) FROM identity.audit_log"))).scalar_one() == 0
    forged = replace(organisation.compliance, tenant_id=other.tenant_id)
    with pytest.raises(Exception, match="not active"):
        await count_log(forged)
