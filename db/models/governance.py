"""Schema `governance`: what was done and by whom, and the duties towards data subjects."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, declarative_mixin, mapped_column

from db.base import Base, TenantRow, one_of, tenant_fk

SEVERITIES = ("debug", "info", "warning", "error", "critical")
SUBJECT_KINDS = ("person", "session", "document", "tenant")
"""What an erasure, an export or a hold is about."""
DATA_TYPES = (
    "accounts_deleted", "accounts_inactive", "audit_logs", "community_posts", "course_content", "messages",
    "notifications", "sign_in_sessions", "transactions", "unused_media",
)  # fmt: skip
"""What has a retention of its own (seed 001 §10.1)."""


@declarative_mixin
class AuditEntry:
    """What the log says of one act. It outlives people and tenants, so it references neither by foreign key."""

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-20)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"), sort_order=-10)
    actor_id: Mapped[UUID | None]
    actor_role: Mapped[str]
    impersonating_user_id: Mapped[UUID | None]
    action: Mapped[str] = mapped_column(String(100))
    entity_schema: Mapped[str | None] = mapped_column(String(63))
    entity_type: Mapped[str | None] = mapped_column(String(63))
    entity_id: Mapped[UUID | None]
    description: Mapped[str | None]
    changes: Mapped[dict[str, Any] | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    request_id: Mapped[UUID | None]
    severity: Mapped[str] = mapped_column(String(20), server_default="info")


class AuditLog(AuditEntry, Base):
    """One thing that was done, append-only, carrying the hash of the tenant's row before it (001 §6.8, 002 §2.2, 003).

    `sequence` counts a tenant's rows from 1 without a gap, in the order their transactions were committed.
    """

    __tablename__ = "audit_logs"
    __table_args__ = (
        one_of("severity", SEVERITIES),
        Index("ix_audit_logs_sequence", "tenant_id", "sequence"),
        Index("ix_audit_logs_actor", "tenant_id", "actor_id", "occurred_at"),
        Index("ix_audit_logs_entity", "tenant_id", "entity_type", "entity_id"),
        Index("ix_audit_logs_action", "tenant_id", "action", "occurred_at"),
        Index(
            "ix_audit_logs_severity", "tenant_id", "severity", "occurred_at",
            postgresql_where=text("severity IN ('error', 'critical')"),
        ),
        {"schema": "governance", "postgresql_partition_by": "RANGE (occurred_at)"},
    )  # fmt: skip

    occurred_at: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-5)
    sequence: Mapped[int] = mapped_column(BigInteger)
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditPending(AuditEntry, Base):
    """One act whose transaction has not come to its end yet, or which waits for its place in the chain.

    A transaction's rows move into `audit_logs` as it commits; those of a serializable one as the next commits, because
    the chain's head would make any two of them clash.
    """

    __tablename__ = "audit_pending"
    __table_args__ = (
        one_of("severity", SEVERITIES),
        Index("ix_audit_pending_waiting", "tenant_id", postgresql_where=text("waits")),
        {"schema": "governance"},
    )

    transaction_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, sort_order=-15)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), sort_order=-5)
    waits: Mapped[bool]


class AuditHead(Base):
    """The end of one tenant's audit chain: how many rows it has and the hash of the last."""

    __tablename__ = "audit_heads"
    __table_args__ = ({"schema": "governance"},)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class DeletionRequest(TenantRow, Base):
    """One demand to erase a person, a session, a document or the whole tenant (seed 002 §10.1).

    `user_id` is who it concerns and becomes null with them; `subject_id` stays, as the receipt names it.
    """

    __tablename__ = "deletion_requests"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="SET NULL"),
        tenant_fk("requested_by", "identity.users", ondelete="SET NULL"),
        one_of("subject_kind", SUBJECT_KINDS),
        one_of("scope", ("all", "content", "account")),
        one_of("status", ("requested", "verified", "running", "completed", "failed", "refused")),
        CheckConstraint("(status = 'refused') = (refused_at IS NOT NULL)", name="refused"),
        CheckConstraint("status <> 'refused' OR refusal_reason IS NOT NULL", name="refusal_reason"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed"),
        CheckConstraint("due_at >= requested_at", name="due"),
        Index("ix_deletion_requests_user", "tenant_id", "user_id"),
        Index("ix_deletion_requests_requested_by", "tenant_id", "requested_by"),
        Index(
            "ix_deletion_requests_due", "tenant_id", "due_at",
            postgresql_where=text("status NOT IN ('completed', 'refused')"),
        ),
        Index(
            "uq_deletion_requests_open", "tenant_id", "subject_kind", "subject_id", "scope", unique=True,
            postgresql_where=text("status NOT IN ('completed', 'refused')"),
        ),
        {"schema": "governance"},
    )  # fmt: skip

    user_id: Mapped[UUID | None]
    subject_kind: Mapped[str] = mapped_column(server_default="person")
    subject_id: Mapped[UUID]
    scope: Mapped[str] = mapped_column(server_default="all")
    status: Mapped[str] = mapped_column(server_default="requested")
    requested_by: Mapped[UUID | None]
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(server_default=text("now() + interval '30 days'"))
    verified_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]
    refusal_reason: Mapped[str | None]


class DeletionRecord(Base):
    """The receipt of one erasure: counts and hashes per store, never a word of what was there (seed 000 store 10).

    It proves the erasure of a whole tenant too, so it references nothing by foreign key.
    """

    __tablename__ = "deletion_records"
    __table_args__ = (
        one_of("subject_kind", SUBJECT_KINDS),
        CheckConstraint("jsonb_typeof(stores) = 'object'", name="stores"),
        CheckConstraint("completed_at >= started_at", name="ends_after_start"),
        UniqueConstraint("tenant_id", "request_id"),
        Index("ix_deletion_records_subject", "tenant_id", "subject_kind", "subject_id"),
        {"schema": "governance"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-20)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"), sort_order=-10)
    request_id: Mapped[UUID | None]
    subject_kind: Mapped[str]
    subject_id: Mapped[UUID]
    stores: Mapped[dict[str, Any]]
    started_at: Mapped[datetime]
    completed_at: Mapped[datetime]
    signing_key: Mapped[str] = mapped_column(String(100))
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RetentionPolicy(TenantRow, Base):
    """What happens to one kind of a tenant's data after how many days; no row means it is kept (seed 001 §10.1).

    A tenant is founded with the seed's rows. Money is never deleted, and the log not before three years.
    """

    __tablename__ = "retention_policies"
    __table_args__ = (
        UniqueConstraint("tenant_id", "data_type", "action"),
        one_of("data_type", DATA_TYPES),
        one_of("action", ("archive", "delete")),
        CheckConstraint("days BETWEEN 1 AND 36500", name="days"),
        CheckConstraint("action <> 'delete' OR data_type <> 'transactions'", name="money_stays"),
        CheckConstraint("action <> 'delete' OR data_type <> 'audit_logs' OR days >= 1095", name="log_stays"),
        {"schema": "governance"},
    )

    data_type: Mapped[str]
    action: Mapped[str]
    days: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class DataRetentionJob(TenantRow, Base):
    """One run of a retention policy, planned or done (seed 002 §10.2)."""

    __tablename__ = "data_retention_jobs"
    __table_args__ = (
        one_of("data_type", DATA_TYPES),
        one_of("action", ("archive", "delete")),
        one_of("status", ("scheduled", "running", "completed", "failed", "held")),
        CheckConstraint("jsonb_typeof(counts) = 'object'", name="counts"),
        Index("ix_data_retention_jobs_status", "tenant_id", "status", "scheduled_at"),
        {"schema": "governance"},
    )

    data_type: Mapped[str]
    action: Mapped[str]
    scheduled_at: Mapped[datetime] = mapped_column(server_default=func.now())
    executed_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(server_default="scheduled")
    dry_run: Mapped[bool] = mapped_column(server_default=text("false"))
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    error: Mapped[str | None]


class DataExport(TenantRow, Base):
    """One copy of a person's data made for them; the object goes when it expires (seed 001 §11.3)."""

    __tablename__ = "data_exports"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("requested_by", "identity.users", ondelete="SET NULL"),
        one_of("status", ("requested", "running", "ready", "failed", "expired")),
        CheckConstraint("jsonb_typeof(counts) = 'object'", name="counts"),
        CheckConstraint("status <> 'ready' OR (object_key IS NOT NULL AND expires_at IS NOT NULL)", name="ready"),
        CheckConstraint("size_bytes >= 0", name="size_bytes"),
        Index("ix_data_exports_user", "tenant_id", "user_id", "requested_at"),
        Index("ix_data_exports_requested_by", "tenant_id", "requested_by"),
        Index("ix_data_exports_expires", "tenant_id", "expires_at", postgresql_where=text("status = 'ready'")),
        {"schema": "governance"},
    )

    user_id: Mapped[UUID]
    requested_by: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(server_default="requested")
    object_key: Mapped[str | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class LegalHold(TenantRow, Base):
    """One order to keep what a subject has, whatever retention or a deletion request says, until it is released."""

    __tablename__ = "legal_holds"
    __table_args__ = (
        tenant_fk("placed_by", "identity.users", ondelete="SET NULL"),
        tenant_fk("released_by", "identity.users", ondelete="SET NULL"),
        one_of("subject_kind", SUBJECT_KINDS),
        CheckConstraint("char_length(reason) BETWEEN 1 AND 2000", name="reason"),
        CheckConstraint("released_at >= placed_at", name="released_after"),
        CheckConstraint("released_by IS NULL OR released_at IS NOT NULL", name="released"),
        Index("ix_legal_holds_placed_by", "tenant_id", "placed_by"),
        Index("ix_legal_holds_released_by", "tenant_id", "released_by"),
        Index(
            "ix_legal_holds_open", "tenant_id", "subject_kind", "subject_id",
            postgresql_where=text("released_at IS NULL"),
        ),
        {"schema": "governance"},
    )  # fmt: skip

    subject_kind: Mapped[str]
    subject_id: Mapped[UUID]
    reason: Mapped[str]
    placed_by: Mapped[UUID | None]
    placed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    released_by: Mapped[UUID | None]
    released_at: Mapped[datetime | None]
