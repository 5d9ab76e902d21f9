"""Schema `rag`: transcripts and documents, their chunks, and the vectors they are found by.

Search reads it through `rag/retrieve.py`, which returns the types of `rag/passages.py`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC, SPARSEVEC
from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Computed,
    Double,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Audience, Base, TenantRow, TenantScoped, audience_args, one_of, tenant_fk

SOURCE_KINDS = ("transcript", "document")
REGISTRY_STATES = ("building", "active", "retired")
LEXICAL_DIMENSIONS = 2**29
"""Hashed stems live in this many dimensions: collisions are rare, and pgvector allows 10**9."""


class Transcript(TenantRow, Audience, Base):
    """One parsed session transcript (seed 000 store 3).

    Its text is its segments' texts joined by a newline; `content_hash` is the SHA-256 of that text, and
    every character offset in the product counts into it.
    """

    __tablename__ = "transcripts"
    __table_args__ = audience_args(
        tenant_fk("object_id", "ingestion.ingested_objects", ondelete="CASCADE"),
        tenant_fk("coaching_session_id", "coaching.coaching_sessions", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "object_id"),
        Index("ix_transcripts_client", "tenant_id", "client_id", "held_at"),
        {"schema": "rag"},
    )

    object_id: Mapped[UUID]
    coaching_session_id: Mapped[UUID | None]
    title: Mapped[str]
    format: Mapped[str]
    held_at: Mapped[datetime | None]
    duration_s: Mapped[float | None] = mapped_column(Double)
    segment_count: Mapped[int]
    content_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TranscriptSegment(TenantRow, Audience, Base):
    """One turn of one speaker; `char_start:char_end` is its place in the transcript's text, times in seconds."""

    __tablename__ = "transcript_segments"
    __table_args__ = audience_args(
        tenant_fk("transcript_id", "rag.transcripts", ondelete="CASCADE"),
        tenant_fk("speaker_id", "identity.users"),
        UniqueConstraint("tenant_id", "transcript_id", "segment_index"),
        CheckConstraint("char_end - char_start = length(text)", name="range"),
        Index("ix_transcript_segments_text_search", "text_search", postgresql_using="gin"),
        Index(
            "ix_transcript_segments_speaker", "tenant_id", "speaker_id", "transcript_id",
            postgresql_where=sql("speaker_id IS NOT NULL"),
        ),
        {"schema": "rag"},
    )  # fmt: skip

    transcript_id: Mapped[UUID]
    segment_index: Mapped[int]
    speaker: Mapped[str | None]
    speaker_id: Mapped[UUID | None]
    started_s: Mapped[float | None] = mapped_column(Double)
    ended_s: Mapped[float | None] = mapped_column(Double)
    char_start: Mapped[int]
    char_end: Mapped[int]
    text: Mapped[str]
    text_search: Mapped[Any] = mapped_column(TSVECTOR, Computed("to_tsvector('english', text)", persisted=True))


class Document(TenantRow, Audience, Base):
    """One parsed document with its whole text; `content_hash` is the SHA-256 of that text (seed 004's source).

    `program_id` keeps a lesson to those who take or teach its program. It has no foreign key: what is taken out with a
    program is its lessons, and each of them takes its document along.
    """

    __tablename__ = "documents"
    __table_args__ = audience_args(
        tenant_fk("object_id", "ingestion.ingested_objects", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "object_id"),
        {"schema": "rag"},
    )

    object_id: Mapped[UUID]
    title: Mapped[str]
    format: Mapped[str]
    held_at: Mapped[datetime | None]
    page_count: Mapped[int | None]
    content_hash: Mapped[str]
    text: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    program_id: Mapped[UUID | None] = mapped_column(sort_order=83)


class DocumentChunk(TenantRow, Audience, Base):
    """One passage that can be found: a run of turns of a transcript, or a part of a document (seed 002 §3.3).

    `char_start:char_end` is its place in the source's text. Segments are counted from 0 and inclusive,
    times in seconds, pages from 1.
    """

    __tablename__ = "document_chunks"
    __table_args__ = audience_args(
        tenant_fk("object_id", "ingestion.ingested_objects", ondelete="CASCADE"),
        tenant_fk("transcript_id", "rag.transcripts", ondelete="CASCADE"),
        tenant_fk("document_id", "rag.documents", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "object_id", "chunk_index"),
        CheckConstraint("num_nonnulls(transcript_id, document_id) = 1", name="one_source"),
        CheckConstraint("char_end - char_start = length(text)", name="range"),
        Index("ix_document_chunks_transcript_id", "tenant_id", "transcript_id", "chunk_index"),
        Index("ix_document_chunks_document_id", "tenant_id", "document_id", "chunk_index"),
        {"schema": "rag"},
    )

    object_id: Mapped[UUID]
    transcript_id: Mapped[UUID | None]
    document_id: Mapped[UUID | None]
    chunk_index: Mapped[int]
    cloudfront_url: Mapped[str | None]
    char_start: Mapped[int]
    char_end: Mapped[int]
    text: Mapped[str]
    segment_first: Mapped[int | None]
    segment_last: Mapped[int | None]
    started_s: Mapped[float | None] = mapped_column(Double)
    ended_s: Mapped[float | None] = mapped_column(Double)
    page_first: Mapped[int | None]
    page_last: Mapped[int | None]
    heading: Mapped[str | None]
    word_count: Mapped[int]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=sql("'{}'"))
    program_id: Mapped[UUID | None] = mapped_column(sort_order=83)


class EmbeddingsRegistry(TenantRow, Base):
    """One embedding model a tenant's chunks are embedded with (seed 002 §4.1).

    Exactly one is active and serves; another may be building beside it and takes over when complete.
    """

    __tablename__ = "embeddings_registry"
    __table_args__ = (
        UniqueConstraint("tenant_id", "model_name"),
        one_of("status", REGISTRY_STATES),
        Index("uq_embeddings_registry_active", "tenant_id", unique=True, postgresql_where=sql("status = 'active'")),
        {"schema": "rag"},
    )

    vector_store_id: Mapped[str] = mapped_column(server_default="pgvector")
    model_name: Mapped[str]
    dimensions: Mapped[int]
    status: Mapped[str] = mapped_column(server_default="building")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    activated_at: Mapped[datetime | None]


class SearchMetadata(TenantScoped, Base):
    """The words one chunk is found by: hashed stems for document frequencies, keywords and tags (seed 002 §4.2)."""

    __tablename__ = "search_metadata"
    __table_args__ = (
        tenant_fk("chunk_id", "rag.document_chunks", ondelete="CASCADE"),
        {"schema": "rag"},
    )

    chunk_id: Mapped[UUID] = mapped_column(primary_key=True)
    terms: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    keywords: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TermFrequency(TenantScoped, Base):
    """In how many chunks of the tenant one hashed stem occurs; term 0 counts the chunks. Kept by trigger."""

    __tablename__ = "term_frequencies"
    __table_args__ = ({"schema": "rag"},)

    term: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chunks: Mapped[int]


class ChunkEmbedding(TenantScoped, Audience, Base):
    """All that one search needs of one chunk under one model, so that a search reads this table alone.

    `embedding` is the unit-length dense vector (null where no model is configured), `lexical` the document
    side of BM25. Partitioned by tenant: small tenants share the default partition and are scanned
    exactly, a large one has its own with its own index.
    """

    __tablename__ = "chunk_embeddings"
    __table_args__ = audience_args(
        tenant_fk("registry_id", "rag.embeddings_registry", ondelete="CASCADE"),
        tenant_fk("chunk_id", "rag.document_chunks", ondelete="CASCADE"),
        one_of("source_kind", SOURCE_KINDS),
        Index("ix_chunk_embeddings_source", "tenant_id", "registry_id", "source_id", "chunk_index"),
        Index("ix_chunk_embeddings_chunk_id", "tenant_id", "chunk_id"),
        Index("ix_chunk_embeddings_client", "tenant_id", "registry_id", "client_id"),
        {"schema": "rag", "postgresql_partition_by": "LIST (tenant_id)"},
    )

    registry_id: Mapped[UUID] = mapped_column(primary_key=True)
    chunk_id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[UUID]
    source_kind: Mapped[str]
    chunk_index: Mapped[int]
    coaching_session_id: Mapped[UUID | None]
    held_at: Mapped[datetime | None]
    speakers: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    speaker_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=sql("'{}'"))
    embedding: Mapped[Any] = mapped_column(HALFVEC(), nullable=True)
    lexical: Mapped[Any] = mapped_column(SPARSEVEC(LEXICAL_DIMENSIONS))
    program_id: Mapped[UUID | None] = mapped_column(sort_order=83)
