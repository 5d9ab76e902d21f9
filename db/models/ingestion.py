"""Schema `ingestion`: where material comes from, every object seen there, and what happened to it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Audience, Base, TenantRow, TenantScoped, Timestamped, audience_args, one_of, tenant_fk

STAGES = ("read", "parse", "chunk", "embed", "index")
OBJECT_STATES = ("received", "indexed", "failed", "vanished", "refused", "expired")
"""The last is what retention took out: its row stays, without words, so that it is not ingested again."""
ATTEMPT_OUTCOMES = ("running", "succeeded", "failed", "interrupted")


class DataSource(TenantRow, Base):
    """One place objects are listed from: a folder, an S3 prefix, or uploads (seed 002 §3.1)."""

    __tablename__ = "data_sources"
    __table_args__ = (
        UniqueConstraint("tenant_id", "uri"),
        one_of("type", ("text", "image", "audio", "video")),
        {"schema": "ingestion"},
    )

    name: Mapped[str]
    uri: Mapped[str]
    type: Mapped[str] = mapped_column(server_default="text")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))


class IngestedObject(TenantRow, Audience, Timestamped, Base):
    """One file as last seen in its source, and whether it is searchable (seed 002 §3.2).

    `checksum` is the SHA-256 of its bytes; with `sidecar_hash` and `pipeline_version` it decides whether
    the object must be indexed again. `error` is the one sentence a person reads when it failed, or was refused for
    want of quota, which the next run tries again.
    """

    __tablename__ = "ingested_objects"
    __table_args__ = audience_args(
        tenant_fk("data_source_id", "ingestion.data_sources", ondelete="CASCADE"),
        tenant_fk("coaching_session_id", "coaching.coaching_sessions", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "data_source_id", "key"),
        one_of("ingestion_status", OBJECT_STATES),
        one_of("kind", ("transcript", "document")),
        CheckConstraint("(error IS NULL) = (ingestion_status NOT IN ('failed', 'refused'))", name="error_when_failed"),
        Index("ix_ingested_objects_status", "tenant_id", "ingestion_status"),
        Index("ix_ingested_objects_created_at", "tenant_id", "created_at"),
        {"schema": "ingestion"},
    )

    data_source_id: Mapped[UUID]
    key: Mapped[str]
    cloudfront_url: Mapped[str | None]
    storage_key: Mapped[str | None]
    content_type: Mapped[str | None]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[str | None]
    checksum: Mapped[str | None]
    sidecar: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    sidecar_hash: Mapped[str | None]
    pipeline_version: Mapped[str | None]
    kind: Mapped[str | None]
    title: Mapped[str | None]
    held_at: Mapped[datetime | None]
    coaching_session_id: Mapped[UUID | None]
    ingestion_status: Mapped[str] = mapped_column(server_default="received")
    error: Mapped[str | None]
    pieces: Mapped[int] = mapped_column(server_default=text("0"))
    indexed_at: Mapped[datetime | None]
    program_id: Mapped[UUID | None] = mapped_column(sort_order=83)


class IngestionAttempt(TenantRow, Base):
    """One try of one stage on one object, with how it ended."""

    __tablename__ = "ingestion_attempts"
    __table_args__ = (
        tenant_fk("object_id", "ingestion.ingested_objects", ondelete="CASCADE"),
        one_of("stage", STAGES),
        one_of("outcome", ATTEMPT_OUTCOMES),
        CheckConstraint("(finished_at IS NULL) = (outcome = 'running')", name="finished"),
        Index("ix_ingestion_attempts_object", "tenant_id", "object_id", "started_at"),
        Index("ix_ingestion_attempts_running", "tenant_id", postgresql_where=text("outcome = 'running'")),
        {"schema": "ingestion"},
    )

    object_id: Mapped[UUID]
    run_id: Mapped[str]
    stage: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(server_default="running")
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    pieces: Mapped[int | None]


class ErasedKey(TenantScoped, Base):
    """One object of a source that is not ours and is not ingested again: hashes of both addresses, without a word."""

    __tablename__ = "erased_keys"
    __table_args__ = ({"schema": "ingestion"},)

    source_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
