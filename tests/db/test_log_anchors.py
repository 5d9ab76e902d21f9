"""A month of the audit log goes after its time, and the chain still proves all that is left and that it went."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.locate import owner_url
from db.models import AuditAnchor
from db.provision import to_libpq_url
from db.session import Principal, tenant_session
from domain import audit_chain
from domain.audit_chain import ChainState, check_chain
from tests.factories.people import Organisation

JANUARY, FEBRUARY, MARCH = date(2021, 1, 1), date(2021, 2, 1), date(2021, 3, 1)
MOMENTS = (
    *(datetime(2021, 1, day, tzinfo=UTC) for day in range(1, 11)),
    datetime(2021, 1, 31, 23, 59, 58, tzinfo=UTC), datetime(2021, 2, 1, 0, 0, 1, tzinfo=UTC),
    datetime(2021, 1, 31, 23, 59, 59, tzinfo=UTC),  # slower to commit than the one of February
    *(datetime(2021, 2, day, tzinfo=UTC) for day in range(2, 8)),
    *(datetime(2021, 5, day, tzinfo=UTC) for day in range(2, 5)),
)  # fmt: skip
"""13 rows of which two of January stand around one of February, six more of February, three of this year."""
TABLES = ("audit_logs", "audit_anchors", "audit_heads", "audit_pending")


@pytest.fixture
def owner(store: Settings) -> Iterator[psycopg.Connection]:
    """The owner's connection, with partitions of the old months, which are gone afterwards."""
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as connection:
        connection.execute("SET ROLE regenesis_owner")
        connection.execute("SET timezone = 'UTC'")
        for month, end in ((JANUARY, FEBRUARY), (FEBRUARY, MARCH)):
            connection.execute(
                f"CREATE TABLE governance.audit_logs_p{month:%Y_%m} PARTITION OF governance.audit_logs "
                f"FOR VALUES FROM ('{month}') TO ('{end}')"
            )
        yield connection
        for month in (JANUARY, FEBRUARY):
            connection.execute(f"DROP TABLE IF EXISTS governance.audit_logs_p{month:%Y_%m}")


@pytest.fixture
def tenant(owner: psycopg.Connection) -> Iterator[UUID]:
    """A tenant that is long gone, with its log; the log is forgotten afterwards."""
    gone = uuid4()
    for moment in MOMENTS:
        write(owner, gone, moment)
    yield gone
    without_guards(
        owner, *(f"DELETE FROM governance.{table} WHERE tenant_id = %(tenant)s" for table in TABLES), tenant=gone
    )


def write(owner: psycopg.Connection, tenant: UUID, moment: datetime) -> None:
    owner.execute(
        "INSERT INTO governance.audit_pending (tenant_id, transaction_id, occurred_at, actor_role, action, waits) "
        "VALUES (%s, txid_current(), %s, 'system', 'counted', false)",
        [tenant, moment],
    )


def without_guards(owner: psycopg.Connection, *statements: str, tenant: UUID) -> None:
    """Do what only a superuser can, on purpose."""
    owner.execute("RESET ROLE")
    owner.execute("SET session_replication_role = replica")
    for table in TABLES:
        owner.execute(f"ALTER TABLE governance.{table} DISABLE TRIGGER ALL")
    for statement in statements:
        owner.execute(statement, {"tenant": tenant})
    for table in TABLES:
        owner.execute(f"ALTER TABLE governance.{table} ENABLE TRIGGER ALL")
        if table != "audit_pending":
            owner.execute(f"ALTER TABLE governance.{table} ENABLE ALWAYS TRIGGER keep, ENABLE ALWAYS TRIGGER keep_all")
    owner.execute("SET session_replication_role = origin")
    owner.execute("SET ROLE regenesis_owner")


def drop(owner: psycopg.Connection, month: date) -> dict[UUID, tuple[int, bytes]]:
    """Anchor the month, then drop it, as what archives it does; return each tenant's last entry of it."""
    rows = owner.execute("SELECT * FROM governance.anchor_month(%s)", [month]).fetchall()
    owner.execute(f"DROP TABLE governance.audit_logs_p{month:%Y_%m}")
    return {tenant: (sequence, bytes(last)) for tenant, sequence, last in rows}


async def check(tenant: UUID, newest: int | None = None) -> ChainState:
    async with tenant_session(Principal(tenant, "system")) as session:
        return await check_chain(session, newest=newest)


@pytest.mark.parametrize("batch", [1, 3, 50_000])
async def test_chain_holds_from_the_newest_dropped_place(
    owner: psycopg.Connection, tenant: UUID, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "BATCH", batch)
    assert len(MOMENTS) == 22
    state = await check(tenant)
    assert (state.fault, state.checked, state.dropped_until, state.length) == (None, 22, 0, 22)

    owner.execute("SELECT * FROM governance.anchor_month(%s)", [JANUARY])
    state = await check(tenant)  # anchored, not dropped yet; two rows tell of it
    assert (state.fault, state.checked, state.dropped_until, state.length) == (None, 24, 0, 24)

    last = owner.execute("SELECT hash FROM governance.audit_logs WHERE tenant_id = %s AND sequence = 13", [tenant])
    row = last.fetchone()
    assert row is not None
    assert drop(owner, JANUARY)[tenant] == (13, row[0])
    state = await check(tenant)
    assert (state.fault, state.checked, state.dropped_until, state.length) == (None, 24 - 12, 13, 24)

    drop(owner, FEBRUARY)
    state = await check(tenant)
    assert (state.fault, state.checked, state.dropped_until) == (None, 3 + 4, 19)
    assert state.length == 26
    write(owner, tenant, datetime.now(UTC))
    for newest in range(1, 28):
        state = await check(tenant, newest)
        assert (state.fault, state.length) == (None, 27), newest
        assert state.checked <= newest


async def test_anchors_say_where_and_by_which_archive(owner: psycopg.Connection, tenant: UUID) -> None:
    key = f"tenants/{tenant}/archives/governance.audit_logs/2021-01.parquet"
    for _ in range(2):
        owner.execute(
            "SELECT governance.anchor_month(%s, jsonb_build_object(%s::text, %s::text))", [JANUARY, tenant, key]
        )
    async with tenant_session(Principal(tenant, "system")) as session:
        anchors = list(await session.scalars(select(AuditAnchor).order_by(AuditAnchor.sequence)))
    assert [(a.first_sequence, a.sequence, a.month, a.archived_key) for a in anchors] == [
        (1, 11, JANUARY, key), (13, 13, JANUARY, key),
    ]  # fmt: skip
    told = owner.execute(
        "SELECT metadata - '{hash,database_role}'::text[] FROM governance.audit_logs "
        "WHERE tenant_id = %s AND action = 'audit_month_anchored' ORDER BY sequence",
        [tenant],
    ).fetchall()
    assert told == [({"month": "2021-01-01", "first": first, "last": last},) for first, last in ((1, 11), (13, 13))]


async def test_a_young_month_is_kept(owner: psycopg.Connection) -> None:
    today = datetime.now(UTC).date()
    for month in (today.replace(day=1), today - timedelta(days=360)):
        with pytest.raises(psycopg.errors.CheckViolation, match="at hand for a year"):
            owner.execute("SELECT governance.anchor_month(%s)", [month])


FORGED = (
    "INSERT INTO governance.audit_anchors (tenant_id, sequence, first_sequence, month, previous_hash, hash) "
    "SELECT tenant_id, 17, 15, '2021-02-01', (SELECT previous_hash FROM governance.audit_logs f "
    "WHERE f.tenant_id = l.tenant_id AND f.sequence = 15), hash FROM governance.audit_logs l "
    "WHERE tenant_id = %(tenant)s AND sequence = 17"
)
LIVE = "DELETE FROM governance.audit_logs WHERE tenant_id = %(tenant)s AND sequence "
ATTACKS = {
    "one between dropped ones removed": ([LIVE + "= 12"], 12, "removed"),
    "the first after the anchor removed": ([LIVE + "= 14"], 14, "removed"),
    "some removed and passed for dropped": ([FORGED, LIVE + "BETWEEN 15 AND 17"], 15, "removed"),
    "the newest anchor removed": (["DELETE FROM governance.audit_anchors WHERE sequence = 13"], 13, "removed"),
    "an older anchor removed": (["DELETE FROM governance.audit_anchors WHERE sequence = 11"], 1, "removed"),
    "an anchor's hash altered": (
        ["UPDATE governance.audit_anchors SET hash = sha256('x') WHERE sequence = 13"], 13, "removed",
    ),
    "an anchor made longer": (
        [LIVE + "= 14", "UPDATE governance.audit_anchors SET sequence = 14 WHERE sequence = 13"], 13, "removed",
    ),
    "the entry that tells of the drop removed": (
        ["DELETE FROM governance.audit_logs WHERE action = 'audit_month_anchored' AND tenant_id = %(tenant)s"],
        1, "removed",
    ),
    "one after the anchor altered": (
        ["UPDATE governance.audit_logs SET action = 'x' WHERE tenant_id = %(tenant)s AND sequence = 15"], 15, "altered",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("batch", [2, 50_000])
async def test_what_was_removed_is_not_taken_for_dropped(
    owner: psycopg.Connection, tenant: UUID, attack: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "BATCH", batch)
    drop(owner, JANUARY)
    assert (await check(tenant)).fault is None
    statements, place, wrong = ATTACKS[attack]
    without_guards(owner, *statements, tenant=tenant)
    fault = (await check(tenant)).fault
    assert fault is not None
    assert (fault.sequence, fault.wrong) == (place, wrong), fault.detail


async def test_anchors_are_never_changed(store: Settings, owner: psycopg.Connection, tenant: UUID) -> None:
    drop(owner, JANUARY)
    for change in ("UPDATE governance.audit_anchors SET month = '2020-01-01'", "DELETE FROM governance.audit_anchors",
                   "TRUNCATE governance.audit_anchors"):  # fmt: skip
        with pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
            owner.execute(change)


async def test_only_compliance_reads_anchors_of_its_own(
    organisation: Organisation, tenant: UUID, owner: psycopg.Connection
) -> None:
    drop(owner, JANUARY)
    for person in organisation.people.values():
        async with tenant_session(person) as session:
            assert list(await session.scalars(select(AuditAnchor))) == []
    with pytest.raises(DBAPIError):
        async with tenant_session(organisation.compliance) as session:
            session.add(
                AuditAnchor(
                    tenant_id=organisation.tenant_id, sequence=1, first_sequence=1, month=JANUARY, previous_hash=b"",
                    hash=b"",
                )
            )  # fmt: skip
