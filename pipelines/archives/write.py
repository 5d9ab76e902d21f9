"""One month of one table of one tenant, written to the object store and proven there before anything may go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import TextClause, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict
from core.settings import Settings
from core.storage import ObjectStore
from db.holds import hold
from db.models import Archive
from db.session import Principal, tenant_session
from domain.objects import tenant_store
from pipelines.archives.columns import (
    FINGERPRINT,
    Column,
    digest,
    list_columns,
    make_schema,
    sum_fingerprints,
    to_batch,
)
from pipelines.archives.files import (
    ROWS_AT_ONCE,
    fetch_file,
    hash_file,
    nameless_file,
    open_writer,
    read_groups,
    store_file,
)
from pipelines.archives.months import Monthly, archive_key, next_key

WAIT_S = 600.0

_COUNT = text("SELECT * FROM governance.fingerprint_month(:table, CAST(:month AS date))")


class ArchivesBusy(Conflict):
    """The organisation's archives are being written; try again when that has ended."""


class ArchiveUnproven(Conflict):
    """What was read back from the object store is not what was written; nothing was dropped, look at the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What became of one month: how many rows its archive holds, and whether it was written now or stood already."""

    table: str
    month: date
    rows: int
    size_bytes: int
    written: bool


async def archive_month(
    tenant_id: UUID, monthly: Monthly, month: date, *, settings: Settings | None = None
) -> Archived | None:
    """Write the tenant's rows of this month as one Parquet object, prove it, and note it; None where there are none.

    Nothing is removed from the store. A month whose archive still says what the rows say is left as it is; a run that
    was killed leaves at most an object that the next one overwrites. Raises `ArchiveUnproven`.
    """
    async with hold_archives(tenant_id):
        return await _archive(Principal(tenant_id, "system"), monthly, month, settings)


@asynccontextmanager
async def hold_archives(tenant_id: UUID) -> AsyncIterator[None]:
    """Keep others from writing the tenant's archives for so long; raises `ArchivesBusy` after waiting."""
    async with hold(tenant_id, "archives", busy=ArchivesBusy(), wait_s=WAIT_S):
        yield


async def _archive(system: Principal, monthly: Monthly, month: date, settings: Settings | None) -> Archived | None:
    tenant_id = system.tenant_id
    async with tenant_session(system) as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        there = (await session.execute(_COUNT, {"table": monthly.name, "month": month})).one()
        kept = await find_archive(session, monthly.name, month)
    if not there.rows:
        return None
    if kept is not None and kept.dropped_at is not None:
        raise ArchiveUnproven(
            f"{monthly.name} of {month:%Y-%m} was archived and dropped, and has {there.rows} rows again; "
            "look at who wrote them, and move or delete them."
        )
    if kept is not None and (kept.rows, kept.checksum) == (there.rows, there.checksum):
        return Archived(
            table=monthly.name, month=month, rows=kept.rows, size_bytes=kept.size_bytes, written=False
        )  # fmt: skip
    store = await tenant_store(tenant_id, settings)
    first = archive_key(tenant_id, monthly.name, month)
    key = next_key(kept.object_key, tenant_id, monthly.name, month) if kept else first
    written = await _write(system, monthly, month, store, key)
    async with tenant_session(system) as session:
        await _note(session, monthly, month, key, written)
    if kept is not None:
        await store.purge(kept.object_key)
    return Archived(
        table=monthly.name, month=month, rows=written.rows, size_bytes=written.size_bytes, written=True
    )  # fmt: skip


async def find_archive(session: AsyncSession, table: str, month: date) -> Archive | None:
    """Return the bound tenant's archive of this month, if there is one."""
    found: Archive | None = await session.scalar(
        select(Archive).where(Archive.table_name == table, Archive.month == month)
    )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    rows: int
    size_bytes: int
    sha256: bytes
    checksum: int
    columns: list[Column]


async def _write(system: Principal, monthly: Monthly, month: date, store: ObjectStore, key: str) -> _Written:
    rows = checksum = 0
    digests: list[bytes] = []
    with nameless_file() as file:
        # One snapshot, so that what is written is one state of the month.
        async with tenant_session(system, isolation="REPEATABLE READ") as session:
            await session.execute(text("SET LOCAL statement_timeout = 0"))
            await _speak_plainly(session)
            columns = await list_columns(session, monthly.name)
            schema = make_schema(columns)
            with open_writer(file, schema) as writer:
                result = await session.stream(
                    _select(monthly, columns), {"month": month}, execution_options={"yield_per": ROWS_AT_ONCE}
                )
                async for page in result.partitions():
                    batch = await asyncio.to_thread(to_batch, schema, page)
                    await asyncio.to_thread(writer.write_batch, batch, row_group_size=ROWS_AT_ONCE)
                    digests.append(await asyncio.to_thread(digest, batch))
                    rows += batch.num_rows
                    checksum += sum_fingerprints(batch)
        size, sha256 = await asyncio.to_thread(hash_file, file)
        await store_file(store, key, file)
    await prove(store, key, Proof(sha256=sha256, digests=digests, rows=rows, checksum=checksum))
    return _Written(rows=rows, size_bytes=size, sha256=sha256, checksum=checksum, columns=columns)


async def _speak_plainly(session: AsyncSession) -> None:
    """Let rows' texts be what `governance.fingerprint_month` reads, whatever the server is set to."""
    for name, value in (
        ("timezone", "UTC"), ("datestyle", "ISO, YMD"), ("intervalstyle", "postgres"), ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
    ):  # fmt: skip
        await session.execute(select(func.set_config(name, value, True)))


def _select(monthly: Monthly, columns: list[Column]) -> TextClause:
    listed = ", ".join(column.sql.replace(":", r"\:") for column in columns)
    return text(
        f"SELECT {listed}, hashtextextended(t\\:\\:text, 0) AS {FINGERPRINT} FROM {monthly.name} t "
        f"WHERE t.tenant_id = (SELECT current_setting('app.tenant_id')\\:\\:uuid) "
        f"AND t.{monthly.moment} >= CAST(:month AS date) "
        f"AND t.{monthly.moment} < CAST(:month AS date) + interval '1 month' ORDER BY {monthly.order}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What an archive must read back as: its bytes, each row group's values, how many rows, their checksum."""

    sha256: bytes
    digests: list[bytes]
    rows: int
    checksum: int


async def prove(store: ObjectStore, key: str, proof: Proof) -> None:
    """Read the object back and compare it; raises `ArchiveUnproven`."""
    with nameless_file() as file:
        _, found = await fetch_file(store, key, file)

        def count() -> tuple[list[bytes], int, int]:
            seen: list[bytes] = []
            total = hashes = 0
            for batch in read_groups(file):
                seen.append(digest(batch))
                total += batch.num_rows
                hashes += sum_fingerprints(batch)
            return seen, total, hashes

        expected = (proof.digests, proof.rows, proof.checksum)
        if found != proof.sha256 or await asyncio.to_thread(count) != expected:
            raise ArchiveUnproven(
                f"{key} reads back other than it was written; nothing was dropped, look at the store."
            )


async def _note(session: AsyncSession, monthly: Monthly, month: date, key: str, written: _Written) -> None:
    values = {
        "object_key": key, "rows": written.rows, "size_bytes": written.size_bytes, "sha256": written.sha256,
        "checksum": written.checksum, "archived_at": func.now(),
        "columns": bindparam("columns", [[c.name, c.type] for c in written.columns], type_=JSONB),
    }  # fmt: skip
    tenant = func.current_setting("app.tenant_id").cast(Archive.tenant_id.type)
    await session.execute(
        insert(Archive)
        .values(tenant_id=tenant, table_name=monthly.name, month=month, **values)
        .on_conflict_do_update(
            index_elements=(Archive.tenant_id, Archive.table_name, Archive.month), set_=values,
            where=Archive.dropped_at.is_(None),
        )
    )  # fmt: skip
