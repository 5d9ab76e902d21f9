"""Reading archives again: for an export, for a search, for whoever asks what a month held."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from datetime import date
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.storage import ObjectStore
from db.models import Archive
from domain.objects import tenant_store
from pipelines.archives.columns import FINGERPRINT
from pipelines.archives.files import ArchiveDamaged, fetch_file, nameless_file, read_groups


async def list_archives(session: AsyncSession, *, table: str | None = None, month: date | None = None) -> list[Archive]:
    """Return the bound tenant's archives, by table and month."""
    query = select(Archive).order_by(Archive.table_name, Archive.month)
    if table is not None:
        query = query.where(Archive.table_name == table)
    if month is not None:
        query = query.where(Archive.month == month)
    return list(await session.scalars(query))


async def read_archive(archive: Archive, store: ObjectStore | None = None) -> AsyncIterator[pa.RecordBatch]:
    """Iterate over an archive's rows in batches, after its bytes were compared with what was noted of them.

    Its columns bear the table's names; ids are 16 bytes, JSON and whatever Parquet has no type for is text, and
    `row_fingerprint` is the last. Raises `ArchiveDamaged`, `ObjectMissing`.
    """
    with nameless_file() as file:
        _, found = await fetch_file(store or await tenant_store(archive.tenant_id), archive.object_key, file)
        if found != archive.sha256:
            raise ArchiveDamaged(f"{archive.object_key} is not the object that was written; restore it from a backup.")
        batches = read_groups(file)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            yield batch


def match_ids(batch: pa.RecordBatch, column: str, ids: Collection[UUID]) -> pa.BooleanArray:
    """Return for each row whether the column of ids holds one of these; null is none."""
    wanted = pa.array([one.bytes for one in ids], type=pa.binary(16))
    return pc.fill_null(pc.is_in(batch.column(column), value_set=wanted), False)


def list_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Iterate over a batch's rows as Python has them: ids as UUID, JSON as the text it is."""
    ids = {f.name for f in batch.schema if (f.metadata or {}).get(b"postgresql") == b"uuid"}
    for row in batch.drop_columns([FINGERPRINT]).to_pylist():
        yield {
            name: UUID(bytes=value) if name in ids and value is not None else value for name, value in row.items()
        }  # fmt: skip
