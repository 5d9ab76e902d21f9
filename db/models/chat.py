"""Schema `chat`: conversations with the assistant, what each answer cites, and every run behind it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, one_of, tenant_fk

MESSAGE_ROLES = ("user", "assistant", "system", "tool")


class ChatSession(TenantRow, Timestamped, Base):
    """One conversation of one person, about one client or the whole of what the person may read (seed 002 §5.1)."""

    __tablename__ = "chat_sessions"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("client_id", "identity.users"),
        Index("ix_chat_sessions_user", "tenant_id", "user_id", "updated_at"),
        {"schema": "chat"},
    )

    user_id: Mapped[UUID]
    client_id: Mapped[UUID | None]
    title: Mapped[str | None]
    system_prompt: Mapped[str | None]
    summary: Mapped[str | None]


class ChatMessage(TenantRow, Base):
    """One message, never changed; `references` lists its sentences with the citations each stands on (seed 002 §5.2).

    Partitioned by month of `created_at`.
    """

    __tablename__ = "chat_messages"
    __table_args__ = (
        tenant_fk("session_id", "chat.chat_sessions", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("role", MESSAGE_ROLES),
        Index("ix_chat_messages_session", "tenant_id", "session_id", "created_at"),
        {"schema": "chat", "postgresql_partition_by": "RANGE (created_at)"},
    )

    created_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.clock_timestamp())
    session_id: Mapped[UUID]
    user_id: Mapped[UUID]
    role: Mapped[str]
    content: Mapped[str]
    references: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class MessageCitation(TenantScoped, Base):
    """One numbered citation of one answer: exact characters of a source as it was then (seed 004's attribution).

    `content_hash` is the source's at that time; the words are read from the source's rows, so a
    reader sees them only while the source is there, unchanged and visible to them.
    """

    __tablename__ = "message_citations"
    __table_args__ = (
        tenant_fk(
            ("message_id", "message_created_at"), "chat.chat_messages(id, created_at)", ondelete="CASCADE"
        ),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("chunk_id", "rag.document_chunks", ondelete="SET NULL"),
        tenant_fk("transcript_id", "rag.transcripts", ondelete="CASCADE"),
        tenant_fk("document_id", "rag.documents", ondelete="CASCADE"),
        CheckConstraint("num_nonnulls(transcript_id, document_id) = 1", name="one_source"),
        CheckConstraint("char_end > char_start", name="range"),
        Index("ix_message_citations_chunk_id", "tenant_id", "chunk_id"),
        Index("ix_message_citations_transcript_id", "tenant_id", "transcript_id"),
        Index("ix_message_citations_document_id", "tenant_id", "document_id"),
        {"schema": "chat"},
    )  # fmt: skip

    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_created_at: Mapped[datetime]
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[UUID]
    chunk_id: Mapped[UUID | None]
    transcript_id: Mapped[UUID | None]
    document_id: Mapped[UUID | None]
    content_hash: Mapped[str]
    char_start: Mapped[int]
    char_end: Mapped[int]


class SharedLink(TenantRow, Base):
    """One answer or pack that a person shows a colleague for a while, who reads it under their own rights.

    Of the link's token only the SHA-256 is here.
    """

    __tablename__ = "shared_links"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("reader_id", "identity.users", ondelete="CASCADE"),
        tenant_fk(
            ("message_id", "message_created_at"), "chat.chat_messages(id, created_at)", ondelete="CASCADE"
        ),
        tenant_fk("pack_id", "evidence.evidence_packs", ondelete="CASCADE"),
        CheckConstraint("num_nonnulls(message_id, pack_id) = 1", name="one_thing"),
        CheckConstraint("num_nonnulls(message_id, message_created_at) IN (0, 2)", name="message"),
        CheckConstraint(
            "expires_at > created_at AND expires_at <= created_at + interval '30 days'", name="expires_at"
        ),
        CheckConstraint("reader_id <> user_id", name="reader"),
        CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name="token_hash"),
        UniqueConstraint("tenant_id", "token_hash"),
        Index("ix_shared_links_user", "tenant_id", "user_id", "created_at"),
        Index("ix_shared_links_message", "tenant_id", "message_id", postgresql_where=text("message_id IS NOT NULL")),
        Index("ix_shared_links_pack", "tenant_id", "pack_id", postgresql_where=text("pack_id IS NOT NULL")),
        {"schema": "chat"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    message_id: Mapped[UUID | None]
    message_created_at: Mapped[datetime | None]
    pack_id: Mapped[UUID | None]
    reader_id: Mapped[UUID | None]
    token_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    opened_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_opened_at: Mapped[datetime | None]


class AgentRun(TenantRow, Base):
    """One run of the assistant or of a pipeline's model, with what it cost (seed 002 §6.1)."""

    __tablename__ = "agent_runs"
    __table_args__ = (
        tenant_fk("session_id", "chat.chat_sessions", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("status", ("running", "succeeded", "failed", "refused", "cancelled")),
        Index("ix_agent_runs_session_id", "tenant_id", "session_id"),
        Index("ix_agent_runs_started_at", "tenant_id", "started_at"),
        {"schema": "chat"},
    )

    session_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    agent_type: Mapped[str]
    status: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    completed_at: Mapped[datetime | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))


class AgentFailure(TenantRow, Base):
    """One failure inside a run, such as a provider that did not answer (seed 002 §6.2)."""

    __tablename__ = "agent_failures"
    __table_args__ = (
        tenant_fk("agent_run_id", "chat.agent_runs", ondelete="CASCADE"),
        Index("ix_agent_failures_agent_run_id", "tenant_id", "agent_run_id"),
        {"schema": "chat"},
    )

    agent_run_id: Mapped[UUID]
    error_type: Mapped[str]
    error_message: Mapped[str]
    retryable: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
