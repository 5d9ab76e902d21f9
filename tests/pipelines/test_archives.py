"""A month leaves the store only when it can be read again, row by row, from where it went."""

from datetime import date
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.models import AnalyticsEvent, Archive, Notification
from db.session import Principal, tenant_session, unbound_session
from domain.objects import tenant_store
from pipelines.archives.files import ArchiveDamaged
from pipelines.archives.months import MONTHLY, get_monthly
from pipelines.archives.read import list_archives, list_rows, match_ids, read_archive
from pipelines.archives.rewrite import drop_archive, rewrite_archive
from pipelines.archives.write import archive_month
from tests.factories.months import (
    as_owner,
    has_month,
    keep_for,
    make_month,
    notify_in,
    place_hold,
    release_hold,
    track_in,
)
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

NOTIFICATIONS = get_monthly("comms.notifications")
EVENTS = get_monthly("analytics.events")


async def drop(table: str, month: date) -> int | None:
    async with unbound_session() as session:
        gone: int | None = await session.scalar(select(func.platform.drop_month(table, month)))
    return gone


async def find(organisation: Organisation, table: str, month: date) -> Archive:
    async with tenant_session(organisation.system) as session:
        (archive,) = await list_archives(session, table=table, month=month)
    return archive


async def list_archived(archive: Archive) -> list[dict[str, Any]]:
    return [row async for batch in read_archive(archive) for row in list_rows(batch)]


async def list_stored(organisation: Organisation, table: str) -> list[dict[str, Any]]:
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(text(f"SELECT * FROM {table} ORDER BY created_at, id"))
        return [dict(row) for row in rows.mappings()]


async def count(organisation: Organisation, model: type) -> int:
    async with tenant_session(organisation.system) as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def test_the_database_and_the_code_name_the_same_tables(store: Settings) -> None:
    async with unbound_session() as session:
        rows = await session.execute(text("SELECT * FROM governance.monthly_tables()"))
    assert {tuple(row) for row in rows} == {(m.name, m.data_type, m.moment, m.is_partitioned) for m in MONTHLY}


async def test_an_archived_month_is_read_again_row_by_row(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 1, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month, 5)
    before = await list_stored(organisation, "comms.notifications")
    archived = await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    assert archived is not None
    assert (archived.rows, archived.written) == (5, True)
    archive = await find(organisation, "comms.notifications", month)
    assert archive.object_key == f"tenants/{organisation.tenant_id}/archives/comms.notifications/2019-01.parquet"
    assert await list_archived(archive) == before
    await keep_for(organisation, "notifications", "archive", 30)
    assert await drop("comms.notifications", month) == 5
    assert not has_month(store, "comms.notifications", month)
    assert await count(organisation, Notification) == 0
    dropped = await find(organisation, "comms.notifications", month)
    assert dropped.dropped_at is not None
    assert await list_archived(dropped) == before
    assert await drop("comms.notifications", month) is None


async def test_types_survive(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 2, 1)
    make_month(store, "analytics.events", month)
    await track_in(organisation, month, 2)
    await archive_month(organisation.tenant_id, EVENTS, month)
    archive = await find(organisation, "analytics.events", month)
    rows = await list_archived(archive)
    async with tenant_session(organisation.system) as session:
        texts = list(await session.scalars(text("SELECT event_data::text FROM analytics.events ORDER BY occurred_at")))
        stored = list(await session.scalars(select(AnalyticsEvent).order_by(AnalyticsEvent.occurred_at)))
    assert [row["event_data"] for row in rows] == texts
    assert [(row["id"], row["occurred_at"]) for row in rows] == [(one.id, one.occurred_at) for one in stored]


async def test_archiving_again_writes_nothing_until_rows_change(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 3, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    first = await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    again = await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    assert first is not None
    assert again is not None
    assert (first.written, again.written) == (True, False)
    notify_in(store, organisation, month, 1)
    third = await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    assert third is not None
    assert (third.rows, third.written) == (4, True)
    objects = await tenant_store(organisation.tenant_id)
    folder = f"tenants/{organisation.tenant_id}/archives/"
    assert [one.key async for one in objects.list(folder)] == [
        (await find(organisation, NOTIFICATIONS.name, month)).object_key
    ]


async def test_a_month_stays_while_anyone_needs_it(organisation: Organisation, store: Settings) -> None:
    month, other = date(2019, 4, 1), await found_organisation()
    make_month(store, "comms.notifications", month)
    for one in (organisation, other):
        notify_in(store, one, month)
        await keep_for(one, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    for sentence in ("its retention keeps it|are not archived",):
        with pytest.raises(DBAPIError, match=sentence):
            await drop("comms.notifications", month)
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    with pytest.raises(DBAPIError, match="its retention keeps it"):
        await drop("comms.notifications", month)
    await keep_for(other, "notifications", "archive", 30)
    with pytest.raises(DBAPIError, match="3 rows are not archived"):
        await drop("comms.notifications", month)
    await archive_month(other.tenant_id, NOTIFICATIONS, month)
    notify_in(store, other, month, 1)
    with pytest.raises(DBAPIError, match="its archive holds other rows"):
        await drop("comms.notifications", month)
    await archive_month(other.tenant_id, NOTIFICATIONS, month)
    assert await drop("comms.notifications", month) == 7


async def test_a_row_changed_since_keeps_the_month(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 5, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    async with tenant_session(organisation.client_a) as session:
        await session.execute(update(Notification).values(is_read=True, read_at=text("now()")))
    with pytest.raises(DBAPIError, match="its archive holds other rows"):
        await drop("comms.notifications", month)
    assert await count(organisation, Notification) == 3


async def test_what_is_beyond_its_time_is_dropped_unless_held(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 6, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    hold = await place_hold(organisation, "person", require_id(organisation.client_b))
    with pytest.raises(DBAPIError, match="a legal hold is open"):
        await drop("comms.notifications", month)
    await release_hold(organisation, hold)
    assert await drop("comms.notifications", month) == 3


async def test_one_organisation_s_rows_go_alone(organisation: Organisation, store: Settings) -> None:
    month, other = date(2019, 7, 1), await found_organisation()
    make_month(store, "comms.notifications", month)
    for one in (organisation, other):
        notify_in(store, one, month)
        await keep_for(one, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    clear = text("SELECT governance.clear_month('comms.notifications', :month)")
    with pytest.raises(DBAPIError, match="3 rows are not archived"):
        async with tenant_session(organisation.system) as session:
            await session.execute(clear, {"month": month})
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(clear, {"month": month}) == 3
    assert (await count(organisation, Notification), await count(other, Notification)) == (0, 3)
    assert (await find(organisation, NOTIFICATIONS.name, month)).dropped_at is not None


ATTACKS = {
    "a month that is not over": ("SELECT platform.drop_month('comms.notifications', now()::date)", "not over"),
    "a month to come": ("SELECT platform.drop_month('comms.notifications', (now() + '60 days')::date)", "not over"),
    "a table without months": ("SELECT platform.drop_month('identity.users', '2019-01-01')", "has no months"),
    "words of SQL": ("SELECT platform.drop_month('comms.notifications; DROP TABLE x', '2019-01-01')", "has no months"),
    "the log's rows": ("SELECT governance.clear_month('governance.audit_logs', '2019-01-01')", "never taken out"),
    "money": ("SELECT governance.clear_month('commerce.transactions', '2019-01-01')", "never taken out"),
    "a partition by itself": ("DROP TABLE comms.notifications_default", "must be owner"),
    "a detachment": ("ALTER TABLE comms.notifications DETACH PARTITION comms.notifications_default", "must be owner"),
}


@pytest.mark.parametrize(("attack", "said"), ATTACKS.values(), ids=ATTACKS.keys())
async def test_the_app_s_role_can_t_drop_what_is_needed(organisation: Organisation, attack: str, said: str) -> None:
    with pytest.raises(DBAPIError, match=said):
        async with tenant_session(organisation.system) as session:
            await session.execute(text(attack))


async def test_archives_can_t_be_made_up(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 8, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    insert = (
        "INSERT INTO governance.archives (tenant_id, table_name, month, object_key, rows, size_bytes, sha256, "
        "checksum, columns{more}) VALUES (current_setting('app.tenant_id')::uuid, 'comms.notifications', {month}, "
        "'x', 3, 1, sha256('x'), 1, '[]'{value})"
    )
    attacks: list[tuple[Principal, str, str]] = [
        (organisation.compliance, insert.format(more="", value="", month="'2019-09-01'"), "row-level security"),
        (organisation.admin, insert.format(more="", value="", month="'2019-09-01'"), "row-level security"),
        (
            organisation.system,
            insert.format(more=", dropped_at", value=", now()", month="'2019-09-01'"),
            "permission|dropped",
        ),
        (organisation.system, insert.format(more="", value="", month="date_trunc('month', now())"), "is over"),
        (organisation.system, "UPDATE governance.archives SET dropped_at = now()", "permission denied"),
        (organisation.system, "UPDATE governance.archives SET month = '2019-09-01'", "permission denied"),
    ]
    for person, attack, said in attacks:
        with pytest.raises(DBAPIError, match=said):
            async with tenant_session(person) as session:
                await session.execute(text(attack))
    await drop("comms.notifications", month)
    for attack, said in (
        ("UPDATE governance.archives SET rows = 4", "only become fewer"),
        ("DELETE FROM governance.archives", "kept by its retention"),
    ):
        with pytest.raises(DBAPIError, match=said):
            async with tenant_session(organisation.system) as session:
                await session.execute(text(attack))
    await keep_for(organisation, "notifications", "delete", 90)
    await place_hold(organisation, "tenant", organisation.tenant_id)
    with pytest.raises(DBAPIError, match="legal hold"):
        await drop_archive(organisation.tenant_id, NOTIFICATIONS.name, month)


async def test_rows_leave_an_archive_for_good(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 10, 1)
    make_month(store, "comms.notifications", month)
    ids = notify_in(store, organisation, month, 6)
    await keep_for(organisation, "notifications", "delete", 36500)
    await keep_for(organisation, "notifications", "archive", 30)
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    archive = await find(organisation, NOTIFICATIONS.name, month)
    wanted: set[UUID] = set(ids[:2])

    def keep(batch: pa.RecordBatch) -> pa.BooleanArray:
        return pc.invert(match_ids(batch, "id", wanted))

    rewritten = await rewrite_archive(organisation.tenant_id, archive.id, keep=keep)
    assert (rewritten.rows, rewritten.removed) == (4, 2)
    left = await find(organisation, NOTIFICATIONS.name, month)
    assert left.sha256 == rewritten.sha256 != archive.sha256
    assert [row["id"] for row in await list_archived(left)] == ids[2:]
    objects = await tenant_store(organisation.tenant_id)
    folder = f"tenants/{organisation.tenant_id}/archives/"
    assert [one.key async for one in objects.list(folder)] == [left.object_key]
    # the rows went from the store as well, so the archive still stands for what is there
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM comms.notifications WHERE id = ANY (:ids)"), {"ids": list(wanted)})
    assert await drop(NOTIFICATIONS.name, month) == 4
    same = await rewrite_archive(organisation.tenant_id, archive.id, keep=keep)
    assert (same.rows, same.removed, same.sha256) == (4, 0, left.sha256)
    wanted |= set(ids)
    gone = await rewrite_archive(organisation.tenant_id, archive.id, keep=keep)
    assert (gone.sha256, gone.removed) == (None, 4)
    assert [one.key async for one in objects.list(folder)] == []
    assert await count(organisation, Archive) == 0


async def test_words_are_blanked_in_an_archive(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 11, 1)
    make_month(store, "comms.notifications", month)
    ids = notify_in(store, organisation, month)
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    archive = await find(organisation, NOTIFICATIONS.name, month)

    def blank(batch: pa.RecordBatch) -> pa.RecordBatch:
        touched = match_ids(batch, "id", ids[:1])
        place = batch.schema.get_field_index("message")
        words = pc.if_else(touched, "", batch.column("message"))
        return batch.set_column(place, batch.schema.field(place), words)

    rewritten = await rewrite_archive(organisation.tenant_id, archive.id, change=blank)
    assert (rewritten.rows, rewritten.removed, rewritten.changed) == (3, 0, 1)
    left = await find(organisation, NOTIFICATIONS.name, month)
    assert left.checksum is None
    assert [row["message"] for row in await list_archived(left)] == ["", "Grüße 1 ☀", "Grüße 2 ☀"]


async def test_a_damaged_archive_is_told(organisation: Organisation, store: Settings) -> None:
    month = date(2019, 12, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month)
    await archive_month(organisation.tenant_id, NOTIFICATIONS, month)
    archive = await find(organisation, NOTIFICATIONS.name, month)
    objects = await tenant_store(organisation.tenant_id)
    content = await objects.read(archive.object_key, max_bytes=1 << 30)
    await objects.write(archive.object_key, content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(ArchiveDamaged):
        await list_archived(archive)


def test_drop_holds_nobody_up(store: Settings) -> None:
    """It waits two seconds for its locks, then gives up."""
    with as_owner(store) as connection:
        row = connection.execute(
            "SELECT proconfig FROM pg_proc WHERE oid = 'platform.drop_month(text, date)'::regprocedure"
        ).fetchone()
    assert row is not None
    assert "lock_timeout=2s" in row[0]
