"""The log's old months leave the store, and what was in them can still be proven and still not be altered."""

from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.locate import owner_url
from db.models import Archive, AuditLog
from db.provision import to_libpq_url
from db.session import tenant_session, unbound_session
from domain.audit_chain import check_chain
from pipelines.archives.log import check_archived_log
from pipelines.archives.read import list_archives
from pipelines.archives.rewrite import rewrite_archive
from pipelines.archives.run import archive_months
from tests.factories.months import has_month, make_month, moment, place_hold
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

pytestmark = pytest.mark.whole_store

LOG = "governance.audit_logs"
MONTHS = iter([date(2024, month, 1) for month in range(1, 13)])
"""More than a year old, and less than three; no two tests share one."""


def age(store: Settings, organisation: Organisation, month: date, *, last: int) -> None:
    """Move the first rows of the organisation's log into that month, and chain it anew as if it had been written so."""
    with psycopg.connect(to_libpq_url(owner_url(store))) as connection:
        for place in ("governance.audit_logs", "governance.audit_heads"):
            connection.execute(f"ALTER TABLE {place} DISABLE TRIGGER USER")
        rows = connection.execute(
            "SELECT id, sequence FROM governance.audit_logs WHERE tenant_id = %s ORDER BY sequence",
            [organisation.tenant_id],
        ).fetchall()
        for row_id, place in rows[:last]:
            connection.execute(
                "UPDATE governance.audit_logs SET occurred_at = %s WHERE tenant_id = %s AND id = %s",
                [moment(month, place), organisation.tenant_id, row_id],
            )
        chained = b""
        for row_id, _ in rows:
            values = {"before": chained, "tenant": organisation.tenant_id, "id": row_id}
            mine = "WHERE tenant_id = %(tenant)s AND id = %(id)s"
            connection.execute(f"UPDATE governance.audit_logs SET previous_hash = %(before)s {mine}", values)
            found = connection.execute(
                f"UPDATE governance.audit_logs a SET hash = governance.hash_entry(%(before)s, a) {mine} RETURNING hash",
                values,
            ).fetchone()
            assert found is not None
            chained = found[0]
        connection.execute(
            "UPDATE governance.audit_heads SET hash = %s WHERE tenant_id = %s", [chained, organisation.tenant_id]
        )
        connection.execute("ALTER TABLE governance.audit_logs ENABLE TRIGGER USER")
        connection.execute("ALTER TABLE governance.audit_heads ENABLE TRIGGER USER")
        for table in ("audit_logs", "audit_heads"):
            connection.execute(
                f"ALTER TABLE governance.{table} ENABLE ALWAYS TRIGGER keep, ENABLE ALWAYS TRIGGER keep_all"
            )


async def find(organisation: Organisation) -> Archive:
    async with tenant_session(organisation.system) as session:
        (archive,) = await list_archives(session, table=LOG)
    return archive


async def assert_sound(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        state = await check_chain(session)
    assert state.fault is None, state.fault
    return state.dropped_until


@pytest.fixture
async def archived(organisation: Organisation, store: Settings) -> Organisation:
    """An organisation whose first twelve entries are archived and dropped."""
    month = next(MONTHS)
    make_month(store, LOG, month)
    age(store, organisation, month, last=12)
    assert await assert_sound(organisation) == 0
    lines = [line for line in await archive_months() if (line.table, line.month) == (LOG, month)]
    assert [(line.did, line.rows) for line in lines][:2] == [("archived", 12), ("dropped", 12)], lines
    assert not has_month(store, LOG, month)
    return organisation


async def test_archived_months_can_be_proven(archived: Organisation) -> None:
    assert await assert_sound(archived) == 12
    async with tenant_session(archived.system) as session:
        assert await session.scalar(select(func.min(AuditLog.sequence))) == 13
    (state,) = await check_archived_log(archived.tenant_id)
    assert (state.rows, state.redacted, state.fault) == (12, 0, None)


def change_word(batch: pa.RecordBatch) -> pa.RecordBatch:
    place = batch.schema.get_field_index("action")
    words = ["nothing_happened" if n == 3 else word for n, word in enumerate(batch.column("action").to_pylist())]
    return batch.set_column(place, batch.schema.field(place), pa.array(words))


def leave_out(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pa.array([place != 5 for place in batch.column("sequence").to_pylist()])


def forge(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give a row another hash, and the next one that as the hash before it."""
    place, hashes = batch.schema.get_field_index("hash"), batch.column("hash").to_pylist()
    hashes[-1] = b"\1" * 32
    return batch.set_column(place, batch.schema.field(place), pa.array(hashes, type=pa.binary()))


ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "a word": ({"change": change_word}, "row 4 does not have the hash"),
    "a row taken out": ({"keep": leave_out}, "not those that the chain's anchors hold"),
    "a forged end": ({"change": forge}, "does not have the hash"),
}


@pytest.mark.parametrize(("how", "said"), ATTACKS.values(), ids=ATTACKS.keys())
async def test_whoever_alters_an_archive_is_told(archived: Organisation, how: dict[str, Any], said: str) -> None:
    archive = await find(archived)
    await rewrite_archive(archived.tenant_id, archive.id, **how)
    (state,) = await check_archived_log(archived.tenant_id)
    assert said in str(state.fault)


async def test_entries_of_the_erased_stand_by_their_neighbours(archived: Organisation, store: Settings) -> None:
    archive = await find(archived)
    actor = require_id(archived.client_a)

    def blank(batch: pa.RecordBatch) -> pa.RecordBatch:
        place = batch.schema.get_field_index("actor_id")
        people = [actor.bytes if n == 2 else one for n, one in enumerate(batch.column("actor_id").to_pylist())]
        return batch.set_column(place, batch.schema.field(place), pa.array(people, type=pa.binary(16)))

    await rewrite_archive(archived.tenant_id, archive.id, change=blank)
    (state,) = await check_archived_log(archived.tenant_id)
    assert "row 3 does not have the hash" in str(state.fault)
    async with tenant_session(archived.system) as session:
        for status in ("'verified'", "'running'"):
            await session.execute(
                text(
                    "INSERT INTO governance.deletion_requests (tenant_id, subject_kind, subject_id, user_id, status, "
                    "verified_at, verification_method) VALUES (:tenant, 'person', :actor, :actor, 'verified', now(), "
                    "'operator')"
                    if status == "'verified'"
                    else "UPDATE governance.deletion_requests SET status = 'running' WHERE subject_id = :actor "
                    "AND tenant_id = :tenant"
                ),
                {"tenant": archived.tenant_id, "actor": actor},
            )
    (state,) = await check_archived_log(archived.tenant_id)
    assert (state.redacted, state.fault) == (1, None)


async def test_the_log_s_months_are_refused_before_they_are_archived(
    organisation: Organisation, store: Settings
) -> None:
    month = date(2016, 2, 1)
    make_month(store, LOG, month)
    age(store, organisation, month, last=4)
    with pytest.raises(DBAPIError, match="4 rows are not archived"):
        async with unbound_session() as session:
            await session.execute(select(func.platform.drop_month(LOG, month)))
    await assert_sound(organisation)


async def test_after_three_years_only_money_and_what_is_held_stays(organisation: Organisation, store: Settings) -> None:
    month = date(2021, 4, 1)
    make_month(store, LOG, month)
    age(store, organisation, month, last=30)
    async with tenant_session(organisation.system) as session:
        rows = (await session.scalars(select(AuditLog).order_by(AuditLog.sequence).limit(30))).all()
    held = next(row.entity_id for row in rows if row.entity_type == "user")
    assert isinstance(held, UUID)
    hold = await place_hold(organisation, "person", held)
    expected = [row.sequence for row in rows if held in (row.entity_id, row.actor_id)]
    await archive_months()
    archive = await find(organisation)
    assert (archive.rows, archive.narrowed_at) == (len(expected), None)
    with psycopg.connect(to_libpq_url(owner_url(store))) as connection:
        connection.execute("UPDATE governance.legal_holds SET released_at = now() WHERE id = %s", [hold])
    await archive_months()
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Archive)) == 0
    await assert_sound(organisation)
