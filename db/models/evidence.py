"""Schema `evidence`: verbatim quotes, claims of one session, patterns across sessions, and what was made of them."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Double, Index, SmallInteger, Text, UniqueConstraint, Uuid, func
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, declarative_mixin, mapped_column

from db.base import Audience, Base, TenantRow, TenantScoped, audience_args, one_of, tenant_fk

CLAIM_TYPES = ("goal", "commitment", "obstacle", "belief", "emotion", "progress", "decision", "feedback")
CLAIM_STATES = ("asserted", "retracted", "superseded", "kept", "broken")
PATTERN_KINDS = ("recurrence", "trend", "change", "contradiction", "commitment_record")
INSIGHT_STATES = ("draft", "accepted", "rejected")
ONE_SOURCE = "num_nonnulls(transcript_id, document_id) = 1"


def stale_index(table: str) -> Index:
    """Return the index by which what has to be derived again is found."""
    return Index(f"ix_{table}_stale", "tenant_id", postgresql_where=sql("stale_at IS NOT NULL"))


@declarative_mixin
class Derived:
    """Something derived: by which method and run, and since when it no longer stands on what it was derived from."""

    method: Mapped[str] = mapped_column(sort_order=60)
    model_name: Mapped[str | None] = mapped_column(sort_order=61)
    prompt_hash: Mapped[str | None] = mapped_column(sort_order=62)
    run_id: Mapped[UUID | None] = mapped_column(sort_order=63)
    support_score: Mapped[float | None] = mapped_column(Double, sort_order=64)
    scorer: Mapped[str | None] = mapped_column(sort_order=65)
    stale_at: Mapped[datetime | None] = mapped_column(sort_order=70)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class Quote(TenantRow, Derived, Audience, Base):
    """L0: verbatim words of one speaker in one transcript, or of one document (seed 000 store 5).

    `exact` is characters `char_start:char_end` of the source's text whose SHA-256 is `content_hash`; `prefix` and
    `suffix` are its neighbours (W3C text quote selector). Segments count from 0, inclusive; times in seconds.
    """

    __tablename__ = "quotes"
    __table_args__ = audience_args(
        tenant_fk("transcript_id", "rag.transcripts", ondelete="CASCADE"),
        tenant_fk("document_id", "rag.documents", ondelete="CASCADE"),
        tenant_fk("speaker_id", "identity.users"),
        tenant_fk("run_id", "chat.agent_runs", ondelete="SET NULL"),
        CheckConstraint(ONE_SOURCE, name="one_source"),
        CheckConstraint("char_end - char_start = length(exact) AND length(exact) > 0", name="range"),
        CheckConstraint("(transcript_id IS NULL) = (segment_first IS NULL)", name="segments"),
        Index(
            "uq_quotes_transcript", "tenant_id", "transcript_id", "content_hash", "char_start", "char_end",
            unique=True, postgresql_where=sql("transcript_id IS NOT NULL"),
        ),
        Index(
            "uq_quotes_document", "tenant_id", "document_id", "content_hash", "char_start", "char_end",
            unique=True, postgresql_where=sql("document_id IS NOT NULL"),
        ),
        Index("ix_quotes_client", "tenant_id", "client_id", "created_at"),
        stale_index("quotes"),
        {"schema": "evidence"},
    )  # fmt: skip

    transcript_id: Mapped[UUID | None]
    document_id: Mapped[UUID | None]
    content_hash: Mapped[str]
    segment_first: Mapped[int | None]
    segment_last: Mapped[int | None]
    speaker: Mapped[str | None]
    speaker_id: Mapped[UUID | None]
    char_start: Mapped[int]
    char_end: Mapped[int]
    started_s: Mapped[float | None] = mapped_column(Double)
    ended_s: Mapped[float | None] = mapped_column(Double)
    exact: Mapped[str]
    prefix: Mapped[str] = mapped_column(server_default="")
    suffix: Mapped[str] = mapped_column(server_default="")


class Claim(TenantRow, Derived, Audience, Base):
    """L1: one self-contained proposition from one session, standing on its quotes (seed 000 stores 4, 5)."""

    __tablename__ = "claims"
    __table_args__ = audience_args(
        tenant_fk("transcript_id", "rag.transcripts", ondelete="CASCADE"),
        tenant_fk("document_id", "rag.documents", ondelete="CASCADE"),
        tenant_fk("holder_id", "identity.users"),
        tenant_fk("superseded_by", "evidence.claims", ondelete="SET NULL"),
        tenant_fk("run_id", "chat.agent_runs", ondelete="SET NULL"),
        CheckConstraint(ONE_SOURCE, name="one_source"),
        one_of("claim_type", CLAIM_TYPES),
        one_of("polarity", ("positive", "negative", "neutral")),
        one_of("modality", ("stated", "reported", "inferred")),
        one_of("status", CLAIM_STATES),
        CheckConstraint("valid_to IS NULL OR valid_from IS NULL OR valid_to >= valid_from", name="validity"),
        CheckConstraint("superseded_by IS NULL OR status <> 'asserted'", name="superseded"),
        CheckConstraint("length(statement) BETWEEN 1 AND 2000", name="statement"),
        CheckConstraint("support_score BETWEEN 0 AND 1", name="support_score"),
        Index("ix_claims_client", "tenant_id", "client_id", "claim_type", "valid_from"),
        Index("ix_claims_transcript_id", "tenant_id", "transcript_id"),
        Index("ix_claims_document_id", "tenant_id", "document_id"),
        Index(
            "ix_claims_superseded_by", "tenant_id", "superseded_by", postgresql_where=sql("superseded_by IS NOT NULL")
        ),
        stale_index("claims"),
        {"schema": "evidence"},
    )

    transcript_id: Mapped[UUID | None]
    document_id: Mapped[UUID | None]
    claim_type: Mapped[str]
    statement: Mapped[str]
    holder: Mapped[str | None]
    holder_id: Mapped[UUID | None]
    subject: Mapped[str | None]
    polarity: Mapped[str] = mapped_column(server_default="neutral")
    modality: Mapped[str]
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    status: Mapped[str] = mapped_column(server_default="asserted")
    superseded_by: Mapped[UUID | None]


class ClaimQuote(TenantScoped, Base):
    """One quote that supports or opposes one claim; by `ordinal`, the main one first. A trigger derives the edge."""

    __tablename__ = "claim_quotes"
    __table_args__ = (
        tenant_fk("claim_id", "evidence.claims", ondelete="CASCADE"),
        tenant_fk("quote_id", "evidence.quotes", ondelete="CASCADE"),
        one_of("role", ("supporting", "opposing")),
        Index("ix_claim_quotes_quote_id", "tenant_id", "quote_id"),
        {"schema": "evidence"},
    )

    claim_id: Mapped[UUID] = mapped_column(primary_key=True)
    quote_id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str]
    ordinal: Mapped[int] = mapped_column(SmallInteger, server_default=sql("0"))


class Pattern(TenantRow, Derived, Audience, Base):
    """L2: what recurs, trends, changes or contradicts itself across sessions of one client or a declared cohort."""

    __tablename__ = "patterns"
    __table_args__ = audience_args(
        tenant_fk("cohort_id", "partners.partner_cohorts", ondelete="CASCADE"),
        tenant_fk("run_id", "chat.agent_runs", ondelete="SET NULL"),
        one_of("kind", PATTERN_KINDS),
        CheckConstraint("num_nonnulls(client_id, cohort_id) = 1", name="one_subject"),
        CheckConstraint(
            "0 <= sessions_supporting AND sessions_supporting <= sessions_examined "
            "AND sessions_examined <= sessions_in_scope",
            name="sessions",
        ),
        CheckConstraint("last_seen >= first_seen", name="seen"),
        CheckConstraint("length(statement) BETWEEN 1 AND 2000", name="statement"),
        Index("ix_patterns_client", "tenant_id", "client_id", "kind"),
        Index("ix_patterns_cohort_id", "tenant_id", "cohort_id"),
        stale_index("patterns"),
        {"schema": "evidence"},
    )

    kind: Mapped[str]
    cohort_id: Mapped[UUID | None]
    subject: Mapped[str | None]
    statement: Mapped[str]
    sessions_in_scope: Mapped[int]
    sessions_examined: Mapped[int]
    sessions_supporting: Mapped[int]
    first_seen: Mapped[datetime | None]
    last_seen: Mapped[datetime | None]


class PatternClaim(TenantScoped, Base):
    """One claim that supports or counters one pattern; a trigger derives the edge."""

    __tablename__ = "pattern_claims"
    __table_args__ = (
        tenant_fk("pattern_id", "evidence.patterns", ondelete="CASCADE"),
        tenant_fk("claim_id", "evidence.claims", ondelete="CASCADE"),
        one_of("role", ("supporting", "counter")),
        Index("ix_pattern_claims_claim_id", "tenant_id", "claim_id"),
        {"schema": "evidence"},
    )

    pattern_id: Mapped[UUID] = mapped_column(primary_key=True)
    claim_id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str]


class Insight(TenantRow, Derived, Audience, Base):
    """One proposal over claims and patterns; it reaches its client only when a coach accepted it (seed 000 store 4)."""

    __tablename__ = "insights"
    __table_args__ = audience_args(
        tenant_fk("run_id", "chat.agent_runs", ondelete="SET NULL"),
        tenant_fk("decided_by", "identity.users"),
        one_of("status", INSIGHT_STATES),
        CheckConstraint("(status = 'draft') = (decided_at IS NULL)", name="decided"),
        CheckConstraint("visibility <> 'client_visible' OR status = 'accepted'", name="accepted_before_client"),
        CheckConstraint("status <> 'rejected' OR reason IS NOT NULL", name="rejected_with_reason"),
        Index("ix_insights_client", "tenant_id", "client_id", "status"),
        stale_index("insights"),
        {"schema": "evidence"},
    )

    title: Mapped[str]
    body: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="draft")
    reason: Mapped[str | None]
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now(), sort_order=91)


class InsightReview(TenantRow, Base):
    """One verdict or edit of one insight by a coach, never changed."""

    __tablename__ = "insight_reviews"
    __table_args__ = (
        tenant_fk("insight_id", "evidence.insights", ondelete="CASCADE"),
        tenant_fk("reviewer_id", "identity.users"),
        one_of("verdict", ("edited", "accepted", "rejected")),
        Index("ix_insight_reviews_insight_id", "tenant_id", "insight_id", "created_at"),
        {"schema": "evidence"},
    )

    insight_id: Mapped[UUID]
    reviewer_id: Mapped[UUID]
    verdict: Mapped[str]
    reason: Mapped[str | None]
    title_before: Mapped[str | None]
    title_after: Mapped[str | None]
    body_before: Mapped[str | None]
    body_after: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Derivation(TenantRow, Base):
    """One edge: a child was derived from a parent in one run; never changed, gone only with its ends."""

    __tablename__ = "derivations"
    __table_args__ = (
        tenant_fk("child_claim_id", "evidence.claims", ondelete="CASCADE"),
        tenant_fk("child_pattern_id", "evidence.patterns", ondelete="CASCADE"),
        tenant_fk("child_insight_id", "evidence.insights", ondelete="CASCADE"),
        tenant_fk("child_pack_id", "evidence.evidence_packs", ondelete="CASCADE"),
        tenant_fk("parent_quote_id", "evidence.quotes", ondelete="CASCADE"),
        tenant_fk("parent_claim_id", "evidence.claims", ondelete="CASCADE"),
        tenant_fk("parent_pattern_id", "evidence.patterns", ondelete="CASCADE"),
        tenant_fk("run_id", "chat.agent_runs"),
        CheckConstraint(
            "num_nonnulls(child_claim_id, child_pattern_id, child_insight_id, child_pack_id) = 1", name="one_child"
        ),
        CheckConstraint("num_nonnulls(parent_quote_id, parent_claim_id, parent_pattern_id) = 1", name="one_parent"),
        one_of("role", ("supporting", "opposing", "counter")),
        *(
            Index(f"ix_derivations_{end}_id", "tenant_id", f"{end}_id", postgresql_where=sql(f"{end}_id IS NOT NULL"))
            for end in (
                "child_claim", "child_pattern", "child_insight", "child_pack",
                "parent_quote", "parent_claim", "parent_pattern",
            )
        ),
        {"schema": "evidence"},
    )  # fmt: skip

    child_claim_id: Mapped[UUID | None]
    child_pattern_id: Mapped[UUID | None]
    child_insight_id: Mapped[UUID | None]
    child_pack_id: Mapped[UUID | None]
    parent_quote_id: Mapped[UUID | None]
    parent_claim_id: Mapped[UUID | None]
    parent_pattern_id: Mapped[UUID | None]
    role: Mapped[str]
    run_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class EvidencePack(TenantRow, Base):
    """All evidence one viewer could see for one question or client at one moment, with its hash and coverage.

    `visibilities` and `client_ids` are those of all it was derived from; a reader who may not see one of them any more
    may not see the pack. A trigger keeps them.
    """

    __tablename__ = "evidence_packs"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("client_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("num_nonnulls(question, client_id) >= 1", name="about"),
        CheckConstraint(
            "0 <= sessions_supporting AND sessions_supporting <= sessions_examined "
            "AND sessions_examined <= sessions_in_scope",
            name="sessions",
        ),
        UniqueConstraint("tenant_id", "user_id", "content_hash"),
        Index("ix_evidence_packs_client", "tenant_id", "client_id", "created_at"),
        stale_index("evidence_packs"),
        {"schema": "evidence"},
    )

    user_id: Mapped[UUID]
    client_id: Mapped[UUID | None]
    question: Mapped[str | None]
    content: Mapped[dict[str, Any]]
    content_hash: Mapped[str]
    sessions_in_scope: Mapped[int]
    sessions_examined: Mapped[int]
    sessions_supporting: Mapped[int]
    stale_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    visibilities: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    client_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=sql("'{}'"))


class Extraction(TenantScoped, Base):
    """What building the evidence of one transcript gave, and by which version of its text and of the rules.

    `candidates` were proposed as quotes, `rejections` counts those refused and `dropped` the claims that fell, by
    reason. The row goes when any of its quotes or claims goes stale: then the transcript is to be read again.
    """

    __tablename__ = "extractions"
    __table_args__ = (
        tenant_fk("transcript_id", "rag.transcripts", ondelete="CASCADE"),
        tenant_fk("run_id", "chat.agent_runs", ondelete="SET NULL"),
        {"schema": "evidence"},
    )

    transcript_id: Mapped[UUID] = mapped_column(primary_key=True)
    content_hash: Mapped[str]
    version: Mapped[str]
    candidates: Mapped[int]
    rejections: Mapped[dict[str, Any]]
    dropped: Mapped[dict[str, Any]]
    claims: Mapped[int]
    run_id: Mapped[UUID | None]
    built_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Feedback(TenantRow, Base):
    """What one person thought of one thing the assistant made (seeds 000 store 7 and 004)."""

    __tablename__ = "feedback"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("target_type", ("message", "insight", "claim", "pattern", "quote")),
        CheckConstraint("rating BETWEEN -1 AND 1", name="rating"),
        CheckConstraint("length(comment) <= 4000", name="comment"),
        UniqueConstraint("tenant_id", "user_id", "target_type", "target_id"),
        Index("ix_feedback_target", "tenant_id", "target_type", "target_id"),
        {"schema": "evidence"},
    )

    user_id: Mapped[UUID]
    target_type: Mapped[str]
    target_id: Mapped[UUID]
    rating: Mapped[int] = mapped_column(SmallInteger)
    reason: Mapped[str | None]
    comment: Mapped[str | None]
    may_be_studied: Mapped[bool] = mapped_column(server_default=sql("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
