"""Rows about a person in months that were archived as Parquet and dropped from the store."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Table, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from core.storage import ObjectStore
from db.base import Base
from pipelines.archives.read import list_archives, list_rows, read_archive
from pipelines.privacy.export_rows import Reader, Record, show_row
from pipelines.privacy.store import Store

PEOPLE: Final = ("user_id", "actor_id")
"""Columns of archived tables that name a person."""

_TOLD: Final = text(
    "SELECT t.id FROM rag.transcripts t WHERE t.id = ANY (:cited) AND coalesce(t.client_id, :subject) = :subject "
    "UNION SELECT d.id FROM rag.documents d WHERE d.id = ANY (:cited) AND coalesce(d.client_id, :subject) = :subject"
).bindparams(bindparam("cited", type_=ARRAY(Uuid)), bindparam("subject", type_=Uuid()))


async def read_archived(
    session: AsyncSession, store: ObjectStore, about: Store, reader: Reader
) -> AsyncGenerator[Record, None]:  # fmt: skip
    """Iterate over the rows about the person in the table's archived months; months still in the store are skipped."""
    table = Base.metadata.tables[about.table]
    for archive in await list_archives(session, table=about.table):
        if archive.dropped_at is None:
            continue
        async for batch in read_archive(archive, store):
            rows = [_complete(table, row) for row in list_rows(batch) if _is_about(row, reader)]
            theirs = await _list_told(session, rows, reader.scope.subject_id)
            for row in rows:
                yield show_row(about, table, row | {"_tells_others": not set(_list_cited(row)) <= theirs}, reader)


def _is_about(row: Mapping[str, Any], reader: Reader) -> bool:
    if any(row.get(name) == reader.scope.subject_id for name in PEOPLE):
        return True
    chat = row.get("session_id")
    return isinstance(chat, UUID) and chat in reader.scope["chats"]


def _list_cited(row: Mapping[str, Any]) -> list[UUID]:
    """Return the sources that a stored answer cites."""
    told = row.get("references")
    cited = told.get("citations") if isinstance(told, dict) else None
    return [UUID(one["source_id"]) for one in cited or () if one.get("source_id")]


async def _list_told(session: AsyncSession, rows: Sequence[Mapping[str, Any]], subject: UUID) -> set[UUID]:
    """Return those of the cited sources that are no other client's; what is gone may have been anybody's."""
    cited = sorted({one for row in rows for one in _list_cited(row)})
    return set(await session.scalars(_TOLD, {"cited": cited, "subject": subject})) if cited else set()


def _complete(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the table's columns of today, and JSON as what it says."""
    found = {column.name: row.get(column.name) for column in table.columns}
    for column in table.columns:
        value = found[column.name]
        if isinstance(column.type, JSONB) and isinstance(value, str):
            found[column.name] = orjson.loads(value)
    return found
