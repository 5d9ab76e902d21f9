"""Schema `governance`: what was done and by whom, and the duties towards data subjects."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, declarative_mixin, mapped_column

from db.base import Base, TenantRow, TenantScoped, one_of, tenant_fk

SEVERITIES = ("debug", "info", "warning", "error", "critical")
SUBJECT_KINDS = ("person", "session", "document", "tenant")
"""What an erasure, an export or a hold is about."""
DATA_TYPES = (
    "accounts_deleted", "accounts_inactive", "analytics_events", "audit_logs", "community_posts", "conversations",
    "course_content", "deliveries", "material", "messages", "notifications", "sign_in_sessions", "transactions",
    "unused_media", "usage",
)  # fmt: skip
"""What has a retention of its own (seed 001 §10.1; events, conversations, deliveries, material and usage are ours)."""
VERIFICATION_METHODS = ("signed_in", "document", "in_person", "call_back", "court_order", "retention", "operator")
"""How it was made sure who asks: as they were signed in, by a paper, face to face, by calling them back, by a court; or
that nobody asked but a retention policy, or whoever runs this machine."""


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


class AuditAnchor(Base):
    """A run of a month's audit rows that were dropped after their time: where the chain goes on without them.

    The chain has a row that tells the same, so that a row removed can't be passed for one that was dropped.
    """

    __tablename__ = "audit_anchors"
    __table_args__ = (
        CheckConstraint("first_sequence BETWEEN 1 AND sequence", name="first_sequence"),
        CheckConstraint("extract(day FROM month) = 1", name="month"),
        Index("ix_audit_anchors_month", "tenant_id", "month"),
        {"schema": "governance"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-20)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, sort_order=-10)
    first_sequence: Mapped[int] = mapped_column(BigInteger)
    month: Mapped[date]
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    archived_key: Mapped[str | None]
    anchored_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditReading(Base):
    """That one row of the audit log is about the reading of one thing: a transcript, a quote, a pack, whom it is about.

    Made from the row as it joins the chain, to find who read what; it goes with the month of its row.
    """

    __tablename__ = "audit_readings"
    __table_args__ = ({"schema": "governance", "postgresql_partition_by": "RANGE (occurred_at)"},)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    target_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)


class ReadingWindow(TenantScoped, Base):
    """How much one person read within one hour or day: how many different things, and whether compliance was told."""

    __tablename__ = "reading_windows"
    __table_args__ = (
        tenant_fk("reader_id", "identity.users", ondelete="CASCADE"),
        one_of("span", ("hour", "day")),
        Index("ix_reading_windows_began", "tenant_id", "began_at"),
        {"schema": "governance"},
    )

    reader_id: Mapped[UUID] = mapped_column(primary_key=True)
    span: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[datetime] = mapped_column(primary_key=True)
    transcripts: Mapped[int]
    documents: Mapped[int]
    clients: Mapped[int]
    passages: Mapped[int]
    looked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    told_at: Mapped[datetime | None]


class DeletionRequest(TenantRow, Base):
    """One demand to erase a person, a session, a document or the whole tenant (seed 002 §10.1).

    `user_id` is who it concerns and becomes null with them; `subject_id` stays, as the receipt names it. A trigger
    holds the steps of `status`, lets nobody verify what they asked for, and nothing be verified or run under a hold.
    """

    __tablename__ = "deletion_requests"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="SET NULL"),
        tenant_fk("requested_by", "identity.users", ondelete="SET NULL"),
        tenant_fk("verified_by", "identity.users", ondelete="SET NULL"),
        tenant_fk("refused_by", "identity.users", ondelete="SET NULL"),
        one_of("subject_kind", SUBJECT_KINDS),
        one_of("verification_method", VERIFICATION_METHODS),
        one_of("scope", ("all", "content", "account")),
        one_of("status", ("requested", "verified", "running", "completed", "failed", "refused")),
        CheckConstraint("(status = 'refused') = (refused_at IS NOT NULL)", name="refused"),
        CheckConstraint("status <> 'refused' OR refusal_reason IS NOT NULL", name="refusal_reason"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed"),
        CheckConstraint("due_at >= requested_at", name="due"),
        CheckConstraint("(verified_at IS NULL) = (verification_method IS NULL)", name="verified"),
        CheckConstraint("status IN ('requested', 'refused') OR verified_at IS NOT NULL", name="verified_first"),
        CheckConstraint("status <> 'requested' OR verified_at IS NULL", name="not_verified_yet"),
        CheckConstraint("verified_by IS NULL OR verified_at IS NOT NULL", name="verified_by"),
        CheckConstraint("refused_by IS NULL OR refused_at IS NOT NULL", name="refused_by"),
        CheckConstraint("char_length(reason) BETWEEN 1 AND 2000", name="reason"),
        CheckConstraint("char_length(refusal_reason) BETWEEN 1 AND 2000", name="refusal_words"),
        Index("ix_deletion_requests_user", "tenant_id", "user_id"),
        Index("ix_deletion_requests_requested_by", "tenant_id", "requested_by"),
        Index("ix_deletion_requests_verified_by", "tenant_id", "verified_by"),
        Index("ix_deletion_requests_refused_by", "tenant_id", "refused_by"),
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
    reason: Mapped[str | None]
    verified_at: Mapped[datetime | None]
    verified_by: Mapped[UUID | None]
    verification_method: Mapped[str | None]
    completed_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]
    refused_by: Mapped[UUID | None]
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
    """One copy of a person's data made for them; the object goes when it expires (seed 001 §11.3).

    One of a person is in the making at a time.
    """

    __tablename__ = "data_exports"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("requested_by", "identity.users", ondelete="SET NULL"),
        one_of("status", ("requested", "running", "ready", "failed", "expired")),
        CheckConstraint("jsonb_typeof(counts) = 'object'", name="counts"),
        CheckConstraint("status <> 'ready' OR (object_key IS NOT NULL AND expires_at IS NOT NULL)", name="ready"),
        CheckConstraint("size_bytes >= 0", name="size_bytes"),
        CheckConstraint("error IS NULL OR status IN ('failed', 'expired')", name="error"),
        Index(
            "uq_data_exports_running", "tenant_id", "user_id", unique=True,
            postgresql_where=text("status IN ('requested', 'running')"),
        ),
        Index("ix_data_exports_user", "tenant_id", "user_id", "requested_at"),
        Index("ix_data_exports_requested_by", "tenant_id", "requested_by"),
        Index("ix_data_exports_expires", "tenant_id", "expires_at", postgresql_where=text("status = 'ready'")),
        {"schema": "governance"},
    )  # fmt: skip

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
    error: Mapped[str | None]


class LegalHold(TenantRow, Base):
    """One order to keep what a subject has, whatever retention or a deletion request says, until it is released.

    It covers what the subject is made of (`governance.list_material`): a person's sessions and documents, a session's
    documents, all of a tenant. Of a stored hold only the release is ever written, once.
    """

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


class Archive(TenantRow, Base):
    """One month of one table of a tenant, as a Parquet object of the object store.

    `columns` lists name and PostgreSQL type of each; `checksum` sums the hashes of the rows' texts, which no order
    changes and the database can compute again (null once words were blanked in it). `sha256` is of the Parquet file.
    With `dropped_at` the rows are here alone, with `narrowed_at` only those of them that are kept longer.
    """

    __tablename__ = "archives"
    __table_args__ = (
        UniqueConstraint("tenant_id", "table_name", "month"),
        UniqueConstraint("tenant_id", "object_key"),
        CheckConstraint("rows >= 0 AND size_bytes >= 0", name="counts"),
        CheckConstraint("month = date_trunc('month', month::timestamp)::date", name="month"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
        CheckConstraint("jsonb_typeof(columns) = 'array'", name="columns"),
        {"schema": "governance"},
    )

    table_name: Mapped[str] = mapped_column(String(127))
    month: Mapped[date]
    object_key: Mapped[str]
    rows: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    checksum: Mapped[Decimal | None]
    columns: Mapped[list[Any]]
    archived_at: Mapped[datetime] = mapped_column(server_default=func.now())
    dropped_at: Mapped[datetime | None]
    narrowed_at: Mapped[datetime | None]


class ErasureScope(TenantScoped, Base):
    """The ids of one kind that a running erasure takes, as they were collected; they move into its receipt."""

    __tablename__ = "erasure_scopes"
    __table_args__ = (
        tenant_fk("request_id", "governance.deletion_requests", ondelete="CASCADE"),
        {"schema": "governance"},
    )

    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    root: Mapped[str] = mapped_column(primary_key=True)
    ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    collected_at: Mapped[datetime]


class ErasureStep(TenantScoped, Base):
    """One step of one erasure: what a store held before it, by count and hash of keys, and when it was emptied."""

    __tablename__ = "erasure_steps"
    __table_args__ = (
        tenant_fk("request_id", "governance.deletion_requests", ondelete="CASCADE"),
        CheckConstraint("items >= 0", name="items"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("finished_at >= started_at", name="ends_after_start"),
        {"schema": "governance"},
    )

    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    store: Mapped[str]
    treatment: Mapped[str]
    items: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Correction(TenantRow, Base):
    """One request to correct data about a client: a turn's words or speaker, or a claim that its holder disputes.

    Of the words that were wrong only their SHA-256 is here; the proposed ones stay only where they were applied, so
    that the source read again is corrected again.
    """

    __tablename__ = "corrections"
    __table_args__ = (
        tenant_fk("requested_by", "identity.users", ondelete="CASCADE"),
        tenant_fk("client_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("speaker_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("decided_by", "identity.users", ondelete="SET NULL"),
        tenant_fk("object_id", "ingestion.ingested_objects", ondelete="CASCADE"),
        one_of("kind", ("turn_words", "turn_speaker", "claim")),
        one_of("status", ("requested", "applied", "refused", "withdrawn")),
        CheckConstraint("(status = 'requested') = (decided_at IS NULL)", name="decided"),
        CheckConstraint(
            "(kind = 'claim') = (claim_id IS NOT NULL) AND (kind <> 'claim') = "
            "(num_nonnulls(object_id, segment_index, turn_hash) = 3) AND (kind = 'turn_speaker') = "
            "(speaker_id IS NOT NULL) AND (kind = 'turn_words' OR proposed_text IS NULL) "
            "AND (kind <> 'turn_words' OR proposed_text IS NOT NULL OR status IN ('refused', 'withdrawn'))",
            name="subject",
        ),
        Index("ix_corrections_requested", "tenant_id", "requested_at"),
        Index("ix_corrections_object", "tenant_id", "object_id", postgresql_where=text("object_id IS NOT NULL")),
        Index("ix_corrections_claim", "tenant_id", "claim_id", postgresql_where=text("claim_id IS NOT NULL")),
        {"schema": "governance"},
    )

    kind: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), server_default="requested")
    requested_by: Mapped[UUID]
    client_id: Mapped[UUID]
    object_id: Mapped[UUID | None]
    segment_index: Mapped[int | None]
    turn_hash: Mapped[str | None]
    proposed_text: Mapped[str | None]
    speaker_id: Mapped[UUID | None]
    claim_id: Mapped[UUID | None]
    reason: Mapped[str | None]
    decided_by: Mapped[UUID | None]
    decision: Mapped[str | None]
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    decided_at: Mapped[datetime | None]
