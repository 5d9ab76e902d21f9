"""Indexed material written straight into the store, one object with one row in every content table."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from pgvector import HalfVector
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import (
    ChunkEmbedding,
    DataSource,
    Document,
    DocumentChunk,
    EmbeddingsRegistry,
    IngestedObject,
    SearchMetadata,
    Transcript,
    TranscriptSegment,
)
from rag.lexical import document_vector, term_indices

CONTENT_TABLES = {
    "object": IngestedObject.id,
    "transcript": Transcript.object_id,
    "segment": TranscriptSegment.transcript_id,
    "document": Document.object_id,
    "chunk": DocumentChunk.object_id,
    "embedding": ChunkEmbedding.source_id,
}
"""Every content table, with the column that tells which object a row came from (all ids are the object's)."""


@dataclass(frozen=True)
class Material:
    """One object: its id (also that of its transcript or document and of its chunk) and who may read it."""

    id: UUID
    kind: str
    visibility: str
    client_id: UUID | None
    coach_id: UUID | None


async def ensure_source(session: AsyncSession, tenant_id: UUID) -> tuple[UUID, UUID]:
    """Return the ids of the tenant's test source and test registry, made on first use."""
    source = await session.scalar(select(DataSource.id).where(DataSource.uri == "test:"))
    if source is None:
        source = uuid4()
        await session.execute(insert(DataSource).values(tenant_id=tenant_id, id=source, name="test", uri="test:"))
    registry = await session.scalar(select(EmbeddingsRegistry.id))
    if registry is None:
        registry = uuid4()
        await session.execute(
            insert(EmbeddingsRegistry).values(
                tenant_id=tenant_id, id=registry, model_name="test", dimensions=4, status="active"
            )
        )
    return source, registry


async def store_material(session: AsyncSession, tenant_id: UUID, materials: list[Material]) -> None:
    """Write the objects and a row of each content table for each; bind the session to the system."""
    source, registry = await ensure_source(session, tenant_id)
    now = datetime.now(UTC)

    def who(material: Material) -> dict[str, object]:
        return {
            "tenant_id": tenant_id,
            "visibility": material.visibility,
            "client_id": material.client_id,
            "coach_id": material.coach_id,
        }

    rows: dict[type, list[dict[str, object]]] = {
        IngestedObject: [], Transcript: [], TranscriptSegment: [], Document: [], DocumentChunk: [],
        SearchMetadata: [], ChunkEmbedding: [],
    }  # fmt: skip
    for m in materials:
        words = f"word {m.id}"
        rows[IngestedObject].append(
            who(m) | {"id": m.id, "data_source_id": source, "key": str(m.id), "size_bytes": 1, "kind": m.kind,
                      "ingestion_status": "indexed"}
        )  # fmt: skip
        if m.kind == "transcript":
            rows[Transcript].append(
                who(m) | {"id": m.id, "object_id": m.id, "title": "t", "format": "vtt", "held_at": now,
                          "segment_count": 1, "content_hash": "h"}
            )  # fmt: skip
            rows[TranscriptSegment].append(
                who(m) | {"id": uuid4(), "transcript_id": m.id, "segment_index": 0, "char_start": 0,
                          "char_end": len(words), "text": words}
            )  # fmt: skip
        else:
            rows[Document].append(
                who(m)
                | {"id": m.id, "object_id": m.id, "title": "d", "format": "md", "content_hash": "h", "text": words}
            )
        rows[DocumentChunk].append(
            who(m) | {"id": m.id, "object_id": m.id, f"{m.kind}_id": m.id, "chunk_index": 0, "char_start": 0,
                      "transcript_id": m.id if m.kind == "transcript" else None,
                      "document_id": m.id if m.kind == "document" else None,
                      "segment_first": 0, "segment_last": 0,
                      "char_end": len(words), "text": words, "word_count": 2}
        )  # fmt: skip
        rows[SearchMetadata].append({"tenant_id": tenant_id, "chunk_id": m.id, "terms": term_indices(words)})
        rows[ChunkEmbedding].append(
            who(m) | {"registry_id": registry, "chunk_id": m.id, "source_id": m.id, "source_kind": m.kind,
                      "chunk_index": 0, "held_at": now, "embedding": HalfVector([1, 0, 0, 0]),
                      "lexical": document_vector(words).to_sparsevec()}
        )  # fmt: skip
    for model, values in rows.items():
        if values:
            await session.execute(insert(model), values)
