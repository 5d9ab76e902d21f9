"""Writing parsed, chunked and embedded material into the store, so that it can be found; and taking it out again."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import orjson
from sqlalchemy import ARRAY, Uuid, bindparam, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict
from db.base import Base
from db.models import (
    ChunkEmbedding,
    Document,
    DocumentChunk,
    EmbeddingsRegistry,
    SearchMetadata,
    Transcript,
    TranscriptSegment,
)
from db.session import Principal, tenant_session
from domain.consents import list_withheld
from domain.identity import bound_tenant
from domain.speakers import fold_label
from pipelines.chunk import Chunk, DocumentText, TranscriptText
from rag.embedding import Embedder, Matrix, is_outside
from rag.lexical import document_vector, term_indices
from rag.spending import embed_within_quota

INDEX_VERSION = "1"
"""Raise it when the rows written for the same chunks change."""
STATEMENT_ROWS = 1_000  # about 4 MB of vectors


class OtherModelActive(Conflict):
    """This organisation is searched with another embedding model; re-embed its chunks, or set that model again."""


# Every table by its own clause: rows deleted by a foreign key's cascade would fire the counting trigger one by one.
WITHDRAW = text("""
WITH chunks AS (SELECT id FROM rag.document_chunks WHERE object_id = ANY (:object_ids)),
words AS (DELETE FROM rag.search_metadata WHERE chunk_id IN (SELECT id FROM chunks)),
vectors AS (DELETE FROM rag.chunk_embeddings WHERE chunk_id IN (SELECT id FROM chunks)),
parts AS (DELETE FROM rag.document_chunks WHERE object_id = ANY (:object_ids)),
turns AS (
    DELETE FROM rag.transcript_segments
    WHERE transcript_id IN (SELECT id FROM rag.transcripts WHERE object_id = ANY (:object_ids))
),
sessions AS (DELETE FROM rag.transcripts WHERE object_id = ANY (:object_ids))
DELETE FROM rag.documents WHERE object_id = ANY (:object_ids)
""").bindparams(bindparam("object_ids", type_=ARRAY(Uuid)))


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of a source beyond its words; visibility and audience must be those of its object's row."""

    object_id: UUID
    title: str
    visibility: str
    client_id: UUID | None = None
    coach_id: UUID | None = None
    held_at: datetime | None = None
    coaching_session_id: UUID | None = None
    speaker_ids: Mapping[str, UUID] = field(default_factory=dict)
    """User ids by speaker label; case and outer spaces do not matter."""

    @property
    def audience(self) -> dict[str, Any]:
        """The columns every row of the source inherits."""
        return {"visibility": self.visibility, "client_id": self.client_id, "coach_id": self.coach_id}

    def find_speaker(self, label: str | None) -> UUID | None:
        """Return the user the label stands for, None where nobody said so."""
        wanted = fold_label(label or "")
        return next((user for name, user in self.speaker_ids.items() if fold_label(name) == wanted), None)


async def ensure_registry(session: AsyncSession, embedder: Embedder) -> UUID:
    """Return the id of the tenant's active model, which becomes this embedder's where the tenant has none.

    Raises `OtherModelActive` where another one serves: vectors of two models can't be compared.
    """
    r = EmbeddingsRegistry
    values = {
        "tenant_id": await bound_tenant(session), "model_name": embedder.name, "dimensions": embedder.dimensions,
        "status": "active",
    }  # fmt: skip
    serving = select(r.id, r.model_name, r.dimensions).where(r.status == "active")
    row = (await session.execute(serving)).one_or_none()
    if row is None:
        await session.execute(insert(r).values(**values, activated_at=text("now()")).on_conflict_do_nothing())
        row = (await session.execute(serving)).one_or_none()
    if row is None or (row.model_name, row.dimensions) != (embedder.name, embedder.dimensions):
        active = row.model_name if row else "none yet"
        raise OtherModelActive(
            f"This organisation is searched with the embedding model {active}, not {embedder.name}; "
            "run the flow reembed-chunks for the new model, or set REGENESIS_EMBEDDING__* back."
        )
    return UUID(str(row.id))


async def lock_index(session: AsyncSession, registry_id: UUID) -> None:
    """Let this transaction alone write the tenant's index until it ends.

    Writers meet anyway on the counts of their common terms, where they would deadlock. It also keeps the model
    from being replaced while vectors for it are written. Raises `OtherModelActive` where that has happened.
    """
    r = EmbeddingsRegistry
    query = select(r.id).where(r.id == registry_id, r.status == "active").with_for_update(key_share=True)
    if await session.scalar(query) is None:
        raise OtherModelActive


async def index_transcript(
    session: AsyncSession, registry_id: UUID, about: About, source: TranscriptText, vectors: Matrix, *, format: str  # noqa: A002  # the column's name
) -> UUID:  # fmt: skip
    """Replace what the store holds of this object by this transcript, and return the transcript's id.

    `vectors` has one row a chunk, in order. The same words give the same ids, so chunks, segments and what
    refers to them survive a second indexing. Call `lock_index` first.
    """
    await withdraw_objects(session, [about.object_id])
    transcript_id = uuid5(about.object_id, "transcript")
    content_hash = hash_text(source.text)
    inherited = about.audience
    ends = [end for s in source.segments if (end := s.end if s.end is not None else s.start) is not None]
    await _insert(session, Transcript, [{
        **inherited, "id": transcript_id, "object_id": about.object_id, "title": about.title, "format": format,
        "coaching_session_id": about.coaching_session_id, "held_at": about.held_at,
        "duration_s": max(ends, default=None), "segment_count": len(source.segments), "content_hash": content_hash,
    }])  # fmt: skip
    speakers = {label: about.find_speaker(label) for label in {s.speaker for s in source.segments}}
    await _insert(session, TranscriptSegment, [{
        **inherited, "id": uuid5(transcript_id, f"{content_hash}/{index}"), "transcript_id": transcript_id,
        "segment_index": index, "speaker": s.speaker, "speaker_id": speakers[s.speaker], "started_s": s.start,
        "ended_s": s.end, "char_start": s.char_start, "char_end": s.char_end, "text": s.text,
    } for index, s in enumerate(source.segments)])  # fmt: skip
    place = _Place("transcript", transcript_id, registry_id, about, inherited, speakers)
    await _insert_chunks(session, place, source.chunks, vectors)
    return transcript_id


async def index_document(
    session: AsyncSession, registry_id: UUID, about: About, source: DocumentText, vectors: Matrix, *, format: str, page_count: int | None  # noqa: A002, E501  # the column's name
) -> UUID:  # fmt: skip
    """Replace what the store holds of this object by this document, and return the document's id.

    As `index_transcript` otherwise.
    """
    await withdraw_objects(session, [about.object_id])
    document_id = uuid5(about.object_id, "document")
    inherited = about.audience
    await _insert(session, Document, [{
        **inherited, "id": document_id, "object_id": about.object_id, "title": about.title, "format": format,
        "held_at": about.held_at, "page_count": page_count, "content_hash": hash_text(source.text),
        "text": source.text,
    }])  # fmt: skip
    place = _Place("document", document_id, registry_id, about, inherited, {})
    await _insert_chunks(session, place, source.chunks, vectors)
    return document_id


async def withdraw_objects(session: AsyncSession, object_ids: Collection[UUID]) -> None:
    """Take everything of these objects out of search."""
    await session.execute(WITHDRAW, {"object_ids": list(object_ids)})


async def embed_allowed(
    system: Principal, embedder: Embedder, texts: Sequence[str], about: Sequence[UUID | None]
) -> Matrix:
    """Return a row a text; of NaN, stored as no vector, for texts whose client lets no words leave this machine.

    `about` is the client of each text. What has no vector is found by its words alone. Call it while no transaction is
    open; raises what `embed_within_quota` does.
    """
    if not is_outside(embedder):
        return await embed_within_quota(system, embedder, texts, "embedding")
    async with tenant_session(system) as session:
        kept = await list_withheld(session, "external_model")
    sent = [place for place, client_id in enumerate(about) if client_id not in kept]
    vectors = np.full((len(texts), embedder.dimensions), np.nan, np.float32)
    if sent:
        allowed = [texts[place] for place in sent]
        vectors[sent] = await embed_within_quota(system, embedder, allowed, "embedding")
    return vectors


def hash_text(words: str) -> str:
    """Return the SHA-256 by which a version of a source's text is known."""
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Place:
    """The source chunks belong to, what they inherit from it, and the model their vectors are of."""

    kind: str
    source_id: UUID
    registry_id: UUID
    about: About
    inherited: Mapping[str, Any]
    speakers: Mapping[str | None, UUID | None]


async def _insert_chunks(session: AsyncSession, place: _Place, chunks: Sequence[Chunk], vectors: Matrix) -> None:
    if len(chunks) != len(vectors):
        raise ValueError(f"{len(chunks)} chunks but {len(vectors)} vectors")
    about, inherited = place.about, place.inherited
    ids = [
        uuid5(place.source_id, f"{index}/{chunk.char_start}/{chunk.char_end}/{hash_text(chunk.text)}")
        for index, chunk in enumerate(chunks)
    ]
    await _insert(session, DocumentChunk, [{
        **inherited, "id": chunk_id, "object_id": about.object_id, f"{place.kind}_id": place.source_id,
        "chunk_index": index, "char_start": chunk.char_start, "char_end": chunk.char_end, "text": chunk.text,
        "segment_first": chunk.segment_first, "segment_last": chunk.segment_last, "started_s": chunk.started_s,
        "ended_s": chunk.ended_s, "page_first": chunk.page_first, "page_last": chunk.page_last,
        "heading": chunk.heading, "word_count": chunk.word_count,
        # Another model must embed the same words one day.
        "metadata": {"embedded_text": chunk.embedded_text} if chunk.embedded_text != chunk.text else {},
    } for index, (chunk_id, chunk) in enumerate(zip(ids, chunks, strict=True))])  # fmt: skip
    await _insert(session, SearchMetadata, [
        {"chunk_id": chunk_id, "terms": term_indices(chunk.lexical_text)}
        for chunk_id, chunk in zip(ids, chunks, strict=True)
    ])  # fmt: skip
    rounded = np.asarray(vectors, np.float16)  # what a halfvec holds; JSON of it is shorter
    await _insert(session, ChunkEmbedding, [{
        **inherited, "registry_id": place.registry_id, "chunk_id": chunk_id, "source_id": place.source_id,
        "source_kind": place.kind, "chunk_index": index, "coaching_session_id": about.coaching_session_id,
        "held_at": about.held_at, "speakers": list(chunk.speakers),
        "speaker_ids": sorted({user for label in chunk.speakers if (user := place.speakers.get(label))}),
        "embedding": None if np.isnan(rounded[index, 0]) else rounded[index],
        "lexical": document_vector(chunk.lexical_text).to_text(),
    } for index, (chunk_id, chunk) in enumerate(zip(ids, chunks, strict=True))])  # fmt: skip


async def _insert(session: AsyncSession, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the bound tenant's rows, which all have the same columns, by statements of a thousand.

    One JSON parameter a statement: COPY is closed to tables with row-level security, the triggers of these tables
    work by the statement, and a VALUES list of ten thousand parameters takes longer to compile than to run.
    """
    waiting = iter(rows)
    while page := list(islice(waiting, STATEMENT_ROWS)):
        statement = text(_insert_statement(table, tuple(page[0])))
        payload = orjson.dumps(page, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        await session.execute(statement, {"rows": payload})


@lru_cache(maxsize=64)
def _insert_statement(table: type[Base], columns: tuple[str, ...]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    types = table.__table__.c
    listed = ", ".join(columns)
    declared = ", ".join(f"{name} {types[name].type.compile(dialect)}" for name in columns)
    return (
        f"INSERT INTO {table.__table__} (tenant_id, {listed}) "
        f"SELECT (SELECT current_setting('app.tenant_id')::uuid), {listed} "
        f"FROM json_to_recordset(CAST(:rows AS json)) AS r({declared})"
    )
