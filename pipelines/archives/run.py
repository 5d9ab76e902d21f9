"""Every month whose time has come: archived for each organisation that wants it, then out of the store."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.errors import AppError
from core.logging import get_logger
from db.models import Archive
from db.session import Principal, tenant_session, unbound_session
from domain.governance import record_event
from domain.platform import list_tenants
from pipelines.archives.months import MONTHLY, Monthly
from pipelines.archives.read import list_archives, match_ids, read_archive
from pipelines.archives.rewrite import drop_archive, rewrite_archive
from pipelines.archives.write import archive_month

MONEY: Final = ("commerce", "accounting")
"""What the log says of these is kept for seven years, the rest for three."""

Did = Literal["archived", "stood", "cleared", "dropped", "expired", "stays", "failed"]

_MONTHS = text("SELECT month, tenant_id FROM governance.list_months(:table) ORDER BY month, tenant_id")
_DUE = text(
    "SELECT governance.is_month_due(:kind, 'archive', :month) AS archive, "
    "governance.is_month_due(:kind, 'delete', :month) AS expire, "
    "(SELECT rows FROM governance.fingerprint_month(:table, :month)) AS rows"
)
_ANCHOR = text("SELECT governance.anchor_month(:month, CAST(:keys AS jsonb))")
_OLD_MONEY = text(
    "SELECT DISTINCT date_trunc('month', t.created_at AT TIME ZONE 'UTC')::date AS month FROM commerce.transactions t "
    "WHERE t.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) "
    "AND t.created_at < now() - make_interval(days => governance.retention_days('transactions', 'archive')) ORDER BY 1"
)
_OVER = text(
    "SELECT governance.is_month_due(:kind, 'delete', :month) AS due, "
    "CAST(:month AS date) + interval '1 month' + interval '2557 days' <= now() AT TIME ZONE 'UTC' AS is_old_money, "
    "EXISTS (SELECT FROM governance.legal_holds h WHERE h.released_at IS NULL) AS is_held"
)
_HELD_PEOPLE = text("SELECT governance.held('person')")
_WHOLE_HELD = text("SELECT EXISTS (SELECT FROM governance.held('tenant'))")

log = get_logger("pipelines.archives")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthLine:
    """What became of one month of one table, of one organisation or (`tenant_id` null) of all together."""

    table: str
    month: date
    tenant_id: UUID | None
    did: Did
    rows: int
    reason: str | None = None


OnLine = Callable[[MonthLine], None]


class _Place(NamedTuple):
    """One month of one table of one organisation, or of all."""

    monthly: Monthly
    month: date
    tenant_id: UUID | None


class _Run:
    """One pass over all tables; `dry_run` says what it would do, by the same questions."""

    def __init__(self, *, dry_run: bool, only: Collection[UUID] | None, on_line: OnLine | None) -> None:
        self.dry_run, self.only, self._on_line = dry_run, only, on_line
        self.lines: list[MonthLine] = []

    def tell(self, place: _Place, did: Did, rows: int, why: str | None = None) -> None:
        line = MonthLine(
            table=place.monthly.name, month=place.month, tenant_id=place.tenant_id, did=did, rows=rows, reason=why
        )
        self.lines.append(line)
        if self._on_line is not None:
            self._on_line(line)

    @contextmanager
    def telling(self, place: _Place) -> Iterator[None]:
        """Let a foreseen error, or a refusal of the database, be one line of the run."""
        try:
            yield
        except AppError as error:
            self.tell(place, "failed", 0, error.message)
        except DBAPIError as error:
            said = getattr(getattr(error.orig, "diag", None), "message_primary", None) or type(error.orig).__name__
            self.tell(place, "stays", 0, said)


async def archive_months(
    *, dry_run: bool = False, only: Collection[UUID] | None = None, on_line: OnLine | None = None
) -> list[MonthLine]:
    """Archive what is due, drop what nobody needs any more, and delete archives whose time is over.

    `only` narrows whose months are archived and cleared; a whole month is dropped all the same once nobody needs it.
    What fails for one organisation or month leaves the others alone and is a line. Killed anywhere, the next run goes
    on: nothing leaves the store before its archive was read back.
    """
    run = _Run(dry_run=dry_run, only=only, on_line=on_line)
    for monthly in MONTHLY:
        if monthly.is_partitioned:
            await _take_months(run, monthly)
        else:
            await _copy_money(run, monthly)
    await _expire_archives(run)
    return run.lines


async def _take_months(run: _Run, monthly: Monthly) -> None:
    async with unbound_session() as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        rows = (await session.execute(_MONTHS, {"table": monthly.name})).tuples().all()
        parts = set(await session.scalars(select(func.governance.list_partitions(monthly.name))))
    for month, every in groupby(rows, key=itemgetter(0)):
        tenants = [tenant_id for _, tenant_id in every]
        ready: dict[UUID, int] = {}
        for tenant_id in tenants:
            with run.telling(_Place(monthly, month, tenant_id)):
                count = await _archive_one(run, monthly, month, tenant_id)
                if count is not None:
                    ready[tenant_id] = count
        if len(ready) == len(tenants) and month in parts and monthly.name != "chat.chat_messages":
            await _drop(run, monthly, month, ready)
        elif monthly.is_cleared:
            for tenant_id, count in ready.items():
                await _clear(run, monthly, month, tenant_id, count)
            if len(ready) == len(tenants) and month in parts:
                await _drop(run, monthly, month, {})


async def _archive_one(run: _Run, monthly: Monthly, month: date, tenant_id: UUID) -> int | None:
    """Archive the month where its time has come; return its rows if they may go now, else None."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        values = {"kind": monthly.data_type, "month": month, "table": monthly.name}
        due = (await session.execute(_DUE, values)).one()
        held = bool((await session.execute(_OVER, values)).one().is_held)
    if due.expire and not held and monthly.name != "governance.audit_logs":
        return int(due.rows)
    if not due.archive:
        if due.expire:
            run.tell(_Place(monthly, month, tenant_id), "stays", due.rows, "a legal hold is open")
        return None
    if run.only is not None and tenant_id not in run.only:
        return None
    if run.dry_run:
        run.tell(_Place(monthly, month, tenant_id), "archived", due.rows)
        return int(due.rows)
    archived = await archive_month(tenant_id, monthly, month)
    if archived is not None and archived.written:
        run.tell(_Place(monthly, month, tenant_id), "archived", archived.rows)
    return archived.rows if archived else 0


async def _drop(run: _Run, monthly: Monthly, month: date, tenants: dict[UUID, int]) -> None:
    """Take the whole month out, and note in each organisation's log that it went."""
    if run.dry_run:
        run.tell(_Place(monthly, month, None), "dropped", sum(tenants.values()))
        return
    with run.telling(_Place(monthly, month, None)):
        if monthly.name == "governance.audit_logs":
            await _anchor(monthly, month, tenants)
        async with unbound_session() as session:
            await session.execute(text("SET LOCAL statement_timeout = 0"))
            gone = await session.scalar(select(func.platform.drop_month(monthly.name, month)))
        if gone is None:
            return
        run.tell(_Place(monthly, month, None), "dropped", gone)
        for tenant_id, rows in tenants.items():
            await _record(tenant_id, monthly, month, rows)


async def _anchor(monthly: Monthly, month: date, tenants: Collection[UUID]) -> None:
    """Keep what the chains are held by beyond this month; apart from the drop, which would wait crosswise for it."""
    keys: dict[str, str] = {}
    for tenant_id in tenants:
        async with tenant_session(Principal(tenant_id, "system")) as session:
            for archive in await list_archives(session, table=monthly.name, month=month):
                keys[str(tenant_id)] = archive.object_key
    async with unbound_session() as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        await session.execute(_ANCHOR, {"month": month, "keys": json.dumps(keys)})


async def _clear(run: _Run, monthly: Monthly, month: date, tenant_id: UUID, rows: int) -> None:
    if run.only is not None and tenant_id not in run.only:
        return
    if run.dry_run:
        run.tell(_Place(monthly, month, tenant_id), "cleared", rows)
        return
    with run.telling(_Place(monthly, month, tenant_id)):
        async with tenant_session(Principal(tenant_id, "system")) as session:
            await session.execute(text("SET LOCAL statement_timeout = 0"))
            gone = await session.scalar(select(func.governance.clear_month(monthly.name, month)))
        run.tell(_Place(monthly, month, tenant_id), "cleared", gone or 0)
        await _record(tenant_id, monthly, month, gone or 0)


async def _record(tenant_id: UUID, monthly: Monthly, month: date, rows: int) -> None:
    async with tenant_session(Principal(tenant_id, "system")) as session:
        await record_event(
            session, action="month_dropped", entity_type="archive",
            metadata={"table": monthly.name, "month": f"{month:%Y-%m}", "rows": rows},
        )  # fmt: skip


async def _copy_money(run: _Run, monthly: Monthly) -> None:
    """Write copies of old months of money; its rows stay."""
    for tenant in await list_tenants():
        if run.only is not None and tenant.id not in run.only:
            continue
        async with tenant_session(Principal(tenant.id, "system")) as session:
            months = list(await session.scalars(_OLD_MONEY))
            due = [m for m in months if (await _is_due(session, monthly, m))]
            there = {one.month for one in await list_archives(session, table=monthly.name)}
        for month in due:
            with run.telling(_Place(monthly, month, tenant.id)):
                if run.dry_run:
                    if month not in there:
                        run.tell(_Place(monthly, month, tenant.id), "archived", 0)
                    continue
                archived = await archive_month(tenant.id, monthly, month)
                if archived is not None and archived.written:
                    run.tell(_Place(monthly, month, tenant.id), "archived", archived.rows)


async def _is_due(session: Any, monthly: Monthly, month: date) -> bool:  # noqa: ANN401  # a session
    return bool(await session.scalar(select(func.governance.is_month_due(monthly.data_type, "archive", month))))


async def _expire_archives(run: _Run) -> None:
    """Delete archives whose time is over; of the log, what it says of money stays four years more."""
    known = {monthly.name: monthly for monthly in MONTHLY if monthly.is_partitioned}
    for tenant in await list_tenants():
        if run.only is not None and tenant.id not in run.only:
            continue
        async with tenant_session(Principal(tenant.id, "system")) as session:
            archives = [one for one in await list_archives(session) if one.table_name in known]
        for archive in archives:
            place = _Place(known[archive.table_name], archive.month, tenant.id)
            with run.telling(place):
                await _expire(run, place, archive)


async def _expire(run: _Run, place: _Place, archive: Archive) -> None:
    is_log = archive.table_name == "governance.audit_logs"
    async with tenant_session(Principal(archive.tenant_id, "system")) as session:
        over = (await session.execute(_OVER, {"kind": place.monthly.data_type, "month": archive.month})).one()
        whole = bool(await session.scalar(_WHOLE_HELD))
        people = list(await session.scalars(_HELD_PEOPLE)) if over.is_held else []
    if not over.due or (is_log and archive.dropped_at is None):
        return
    if is_log and not over.is_old_money:
        if not whole and archive.narrowed_at is None:
            await _keep_money(run, place, archive, people, finally_=not over.is_held)
    elif over.is_held:
        run.tell(place, "stays", archive.rows, "a legal hold is open")
    elif run.dry_run:
        run.tell(place, "expired", archive.rows)
    else:
        run.tell(place, "expired", await drop_archive(archive.tenant_id, archive.table_name, archive.month))


async def _keep_money(run: _Run, place: _Place, archive: Archive, people: list[UUID], *, finally_: bool) -> None:
    """Take out of an archived month of the log what is neither about money nor about people under a hold."""

    def keep(batch: pa.RecordBatch) -> pa.BooleanArray:
        money = pc.fill_null(pc.is_in(batch.column("entity_schema"), value_set=pa.array(MONEY)), False)
        return pc.or_(pc.or_(money, match_ids(batch, "actor_id", people)), match_ids(batch, "entity_id", people))

    if run.dry_run:
        removed = 0
        async for batch in read_archive(archive):
            removed += batch.num_rows - (pc.sum(keep(batch)).as_py() or 0)
    else:
        removed = (await rewrite_archive(archive.tenant_id, archive.id, keep=keep)).removed
        if finally_:
            async with tenant_session(Principal(archive.tenant_id, "system")) as session:
                await session.execute(
                    update(Archive).where(Archive.id == archive.id).values(narrowed_at=func.now()),
                    execution_options={"synchronize_session": False},
                )
    if removed:
        run.tell(place, "expired", removed, "what it says of money stays")


def to_rows(lines: Collection[MonthLine]) -> list[dict[str, Any]]:
    """Return the lines as rows of a table, of what JSON can hold."""
    return [
        asdict(line)
        | {"month": f"{line.month:%Y-%m}", "tenant_id": None if line.tenant_id is None else str(line.tenant_id)}
        for line in lines
    ]
