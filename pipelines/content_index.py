"""Keeps what people write inside the product findable: one changed row at a time, as the outbox tells of it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import QuotaExceeded
from db.models import DataSource, IngestedObject
from db.session import Principal, tenant_session
from domain.identity import bound_tenant
from domain.outbox import Message
from pipelines.chunk import CHUNKER_VERSION, DocumentText, chunk_document
from pipelines.content_sources import (
    CONTENT_VERSION,
    KINDS,
    SOURCE_URI,
    Place,
    Written,
    find_written,
    write_document,
)
from pipelines.index import (
    INDEX_VERSION,
    About,
    embed_allowed,
    ensure_registry,
    hash_text,
    index_document,
    lock_index,
    withdraw_objects,
)
from pipelines.outbox.messages import Handled, Settlement
from rag.embedding import Embedder, Matrix

PIPELINE_VERSION: Final = f"content {CONTENT_VERSION}, chunker {CHUNKER_VERSION}, index {INDEX_VERSION}"

LoadEmbedder = Callable[[], Awaitable[Embedder]]

_KEEP_TO_PROGRAM = tuple(
    text(
        f"UPDATE rag.{table} SET program_id = :program "
        "WHERE tenant_id = (SELECT current_setting('app.tenant_id')::uuid) "
        f"AND {mine} AND program_id IS DISTINCT FROM CAST(:program AS uuid)"
    )
    for table, mine in (
        ("documents", "object_id = :object"),
        ("document_chunks", "object_id = :object"),
        ("chunk_embeddings", "chunk_id IN (SELECT id FROM rag.document_chunks WHERE object_id = :object)"),
    )
)
_REMOVE = text(
    "DELETE FROM ingestion.ingested_objects WHERE tenant_id = (SELECT current_setting('app.tenant_id')::uuid) "
    "AND id = :object"
)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A row's words, parted and embedded."""

    source: DocumentText
    vectors: Matrix
    registry_id: UUID


async def handle_content(load: LoadEmbedder, message: Message) -> Handled:
    """Index the row anew, show it again where its words are the same, or take it out.

    What is written is what was read only if the row is still the same then; where it is not, another message about it
    follows, and until that one is handled nobody finds the row.
    """
    place = Place(kind=str(message.payload["kind"]), row_id=UUID(str(message.payload["id"])))
    if place.kind not in KINDS:
        return Handled(error=f"There is no content of the kind {place.kind!r} to index.", give_up=True)
    async with tenant_session(Principal(message.tenant_id, "system")) as session:
        written = await find_written(session, place)
        same = written is not None and await _is_indexed(session, place, written)
    if written is None:
        return Handled(write=partial(_withdraw, place))
    try:
        prepared = None if same else await _prepare(load, message.tenant_id, place, written)
    except QuotaExceeded as error:  # not again before there may be quota
        return Handled(error=error.message, retry_after=timedelta(seconds=int(str(error.context["retry_after"]))))
    if prepared is not None and not prepared.source.chunks:
        return Handled(write=partial(_withdraw, place))
    return Handled(write=partial(_index, place, written, prepared))


async def _is_indexed(session: AsyncSession, place: Place, written: Written) -> bool:
    """Tell whether the index holds these very words, whoever may see them at the moment."""
    o = IngestedObject
    query = select(o.checksum, o.sidecar_hash, o.pipeline_version).where(o.id == place.object_id)
    row = (await session.execute(query)).one_or_none()
    return row is not None and tuple(row) == (hash_text(written.words), _fingerprint(written), PIPELINE_VERSION)


def _fingerprint(written: Written) -> str:
    """Return a hash of what is indexed beside the words."""
    beside = (written.title, written.held_at, written.coaching_session_id)
    return hashlib.sha256(orjson.dumps(beside)).hexdigest()


async def _prepare(load: LoadEmbedder, tenant_id: UUID, place: Place, written: Written) -> _Prepared:
    """Part and embed the words; raises `OtherModelActive` where the tenant is searched with another model."""
    embedder = await load()
    async with tenant_session(Principal(tenant_id, "system")) as session:
        registry_id = await ensure_registry(session, embedder)
    source = await asyncio.to_thread(chunk_document, write_document(place.kind, written))
    words = [chunk.embedded_text for chunk in source.chunks]
    about = [written.client_id] * len(words)
    vectors = await embed_allowed(Principal(tenant_id, "system"), embedder, words, about)
    return _Prepared(source, vectors, registry_id)


async def _withdraw(place: Place, session: AsyncSession, settlement: Settlement) -> None:
    if settlement.outcome == "delivered":
        await withdraw_objects(session, [place.object_id])
        await session.execute(_REMOVE, {"object": place.object_id})


async def _index(
    place: Place, written: Written, prepared: _Prepared | None, session: AsyncSession, settlement: Settlement
) -> None:
    """Write the row's words; its lock makes whoever changes it wait, so their trigger finds what is written here."""
    if settlement.outcome != "delivered" or await find_written(session, place, lock=True) != written:
        return
    if prepared is not None:
        await lock_index(session, prepared.registry_id)
    await _store_object(session, place, written, prepared)
    if prepared is not None:
        about = About(
            object_id=place.object_id, title=written.title, visibility=written.visibility,
            client_id=written.client_id, coach_id=written.coach_id, held_at=written.held_at,
            coaching_session_id=written.coaching_session_id,
        )  # fmt: skip
        await index_document(
            session, prepared.registry_id, about, prepared.source, prepared.vectors, format=place.kind, page_count=None
        )
    if written.program_id is None and prepared is not None:
        return  # what was just written belongs to no program
    for statement in _KEEP_TO_PROGRAM:
        await session.execute(statement, {"program": written.program_id, "object": place.object_id})


async def _store_object(session: AsyncSession, place: Place, written: Written, prepared: _Prepared | None) -> None:
    """Record the row as an indexed object; passing its audience on to what is indexed is the database's affair."""
    tenant_id = await bound_tenant(session)
    source = insert(DataSource).values(tenant_id=tenant_id, name="Platform content", uri=SOURCE_URI)
    await session.execute(source.on_conflict_do_nothing())
    source_id = await session.scalar(select(DataSource.id).where(DataSource.uri == SOURCE_URI))
    values: dict[str, Any] = {
        "visibility": written.visibility, "client_id": written.client_id, "coach_id": written.coach_id,
        "program_id": written.program_id, "title": written.title, "held_at": written.held_at,
        "coaching_session_id": written.coaching_session_id, "kind": "document",
        "size_bytes": len(written.words.encode()), "checksum": hash_text(written.words),
        "sidecar_hash": _fingerprint(written), "pipeline_version": PIPELINE_VERSION, "ingestion_status": "indexed",
        "error": None, "indexed_at": func.now(), "updated_at": func.now(),
    }  # fmt: skip
    if prepared is not None:
        values["pieces"] = len(prepared.source.chunks)
    key = {"tenant_id": tenant_id, "id": place.object_id, "data_source_id": source_id, "key": place.key}
    statement = insert(IngestedObject).values(**key, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "id"], set_=values))
