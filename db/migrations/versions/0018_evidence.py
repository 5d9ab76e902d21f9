"""Quotes, claims, patterns, insights, packs, and the edges between them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, tenant_key

revision = "0018"
down_revision = "0017"

STANDS = f"visibility = ANY ({policies.VISIBILITIES}) AND ({policies.AUDIENCE}) AND stale_at IS NULL"
"""What its reader may see and still stands on its sources."""


def readable(table: str, key: str, holder: str) -> str:
    """Return the condition that the reader may see the row of `table` that `holder` names by `key`."""
    return f"EXISTS (SELECT FROM evidence.{table} t WHERE t.tenant_id = {holder}.tenant_id AND t.id = {holder}.{key})"


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA evidence")
    op.execute("GRANT USAGE ON SCHEMA evidence TO regenesis_app")
    policies.view_audit("evidence")
    op.create_table(
        "evidence_packs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("sessions_in_scope", sa.Integer(), nullable=False),
        sa.Column("sessions_examined", sa.Integer(), nullable=False),
        sa.Column("sessions_supporting", sa.Integer(), nullable=False),
        sa.Column("stale_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "0 <= sessions_supporting AND sessions_supporting <= sessions_examined AND sessions_examined <= sessions_in_scope",
            name=op.f("ck_evidence_packs_sessions"),
        ),
        sa.CheckConstraint("num_nonnulls(question, client_id) >= 1", name=op.f("ck_evidence_packs_about")),
        inner_key("evidence_packs", "client_id", "identity.users", "CASCADE"),
        inner_key("evidence_packs", "user_id", "identity.users", "CASCADE"),
        tenant_key("evidence_packs"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_evidence_packs")),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "content_hash", name=("uq_evidence_packs_tenant_id_user_id_content_hash")
        ),
        schema="evidence",
    )
    add_index("ix_evidence_packs_client", "evidence.evidence_packs", "tenant_id", "client_id", "created_at")
    op.create_table(
        "feedback",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("rating", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("may_be_studied", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "target_type IN ('message', 'insight', 'claim', 'pattern', 'quote')", name=op.f("ck_feedback_target_type")
        ),
        sa.CheckConstraint("length(comment) <= 4000", name=op.f("ck_feedback_comment")),
        sa.CheckConstraint("rating BETWEEN -1 AND 1", name=op.f("ck_feedback_rating")),
        inner_key("feedback", "user_id", "identity.users", "CASCADE"),
        tenant_key("feedback"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_feedback")),
        sa.UniqueConstraint(
            "tenant_id",
            "user_id",
            "target_type",
            "target_id",
            name=("uq_feedback_tenant_id_user_id_target_type_target_id"),
        ),
        schema="evidence",
    )
    add_index("ix_feedback_target", "evidence.feedback", "tenant_id", "target_type", "target_id")
    op.create_table(
        "insights",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("support_score", sa.Double(), nullable=True),
        sa.Column("scorer", sa.Text(), nullable=True),
        sa.Column("stale_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(status = 'draft') = (decided_at IS NULL)", name=op.f("ck_insights_decided")),
        sa.CheckConstraint("status <> 'rejected' OR reason IS NOT NULL", name=op.f("ck_insights_rejected_with_reason")),
        sa.CheckConstraint("status IN ('draft', 'accepted', 'rejected')", name=op.f("ck_insights_status")),
        sa.CheckConstraint(
            "visibility <> 'client_visible' OR status = 'accepted'", name=op.f("ck_insights_accepted_before_client")
        ),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_insights_visibility"),
        ),
        inner_key("insights", "client_id", "identity.users"),
        inner_key("insights", "coach_id", "identity.users"),
        inner_key("insights", "decided_by", "identity.users"),
        inner_key("insights", "run_id", "chat.agent_runs", "SET NULL"),
        tenant_key("insights"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_insights")),
        schema="evidence",
    )
    add_index("ix_insights_client", "evidence.insights", "tenant_id", "client_id", "status")
    op.create_table(
        "patterns",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cohort_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("sessions_in_scope", sa.Integer(), nullable=False),
        sa.Column("sessions_examined", sa.Integer(), nullable=False),
        sa.Column("sessions_supporting", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("support_score", sa.Double(), nullable=True),
        sa.Column("scorer", sa.Text(), nullable=True),
        sa.Column("stale_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('recurrence', 'trend', 'change', 'contradiction', 'commitment_record')",
            name=op.f("ck_patterns_kind"),
        ),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_patterns_visibility"),
        ),
        sa.CheckConstraint(
            "0 <= sessions_supporting AND sessions_supporting <= sessions_examined AND sessions_examined <= sessions_in_scope",
            name=op.f("ck_patterns_sessions"),
        ),
        sa.CheckConstraint("last_seen >= first_seen", name=op.f("ck_patterns_seen")),
        sa.CheckConstraint("length(statement) BETWEEN 1 AND 2000", name=op.f("ck_patterns_statement")),
        sa.CheckConstraint("num_nonnulls(client_id, cohort_id) = 1", name=op.f("ck_patterns_one_subject")),
        inner_key("patterns", "client_id", "identity.users"),
        inner_key("patterns", "coach_id", "identity.users"),
        inner_key("patterns", "run_id", "chat.agent_runs", "SET NULL"),
        tenant_key("patterns"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_patterns")),
        schema="evidence",
    )
    add_index("ix_patterns_client", "evidence.patterns", "tenant_id", "client_id", "kind")
    add_index("ix_patterns_cohort_id", "evidence.patterns", "tenant_id", "cohort_id")
    op.create_table(
        "claims",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("transcript_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("claim_type", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("holder_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("polarity", sa.Text(), server_default="neutral", nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("status", sa.Text(), server_default="asserted", nullable=False),
        sa.Column("superseded_by", sa.Uuid(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("support_score", sa.Double(), nullable=True),
        sa.Column("scorer", sa.Text(), nullable=True),
        sa.Column("stale_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "claim_type IN ('goal', 'commitment', 'obstacle', 'belief', 'emotion', 'progress', 'decision', 'feedback')",
            name=op.f("ck_claims_claim_type"),
        ),
        sa.CheckConstraint("modality IN ('stated', 'reported', 'inferred')", name=op.f("ck_claims_modality")),
        sa.CheckConstraint("polarity IN ('positive', 'negative', 'neutral')", name=op.f("ck_claims_polarity")),
        sa.CheckConstraint(
            "status IN ('asserted', 'retracted', 'superseded', 'kept', 'broken')", name=op.f("ck_claims_status")
        ),
        sa.CheckConstraint("superseded_by IS NULL OR status <> 'asserted'", name=op.f("ck_claims_superseded")),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_claims_visibility"),
        ),
        sa.CheckConstraint("length(statement) BETWEEN 1 AND 2000", name=op.f("ck_claims_statement")),
        sa.CheckConstraint("num_nonnulls(transcript_id, document_id) = 1", name=op.f("ck_claims_one_source")),
        sa.CheckConstraint("support_score BETWEEN 0 AND 1", name=op.f("ck_claims_support_score")),
        sa.CheckConstraint(
            "valid_to IS NULL OR valid_from IS NULL OR valid_to >= valid_from", name=op.f("ck_claims_validity")
        ),
        inner_key("claims", "client_id", "identity.users"),
        inner_key("claims", "coach_id", "identity.users"),
        inner_key("claims", "document_id", "rag.documents", "CASCADE"),
        inner_key("claims", "holder_id", "identity.users"),
        inner_key("claims", "run_id", "chat.agent_runs", "SET NULL"),
        inner_key("claims", "superseded_by", "evidence.claims", "SET NULL"),
        inner_key("claims", "transcript_id", "rag.transcripts", "CASCADE"),
        tenant_key("claims"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_claims")),
        schema="evidence",
    )
    add_index("ix_claims_client", "evidence.claims", "tenant_id", "client_id", "claim_type", "valid_from")
    add_index("ix_claims_document_id", "evidence.claims", "tenant_id", "document_id")
    add_index("ix_claims_transcript_id", "evidence.claims", "tenant_id", "transcript_id")
    op.create_table(
        "insight_reviews",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("insight_id", sa.Uuid(), nullable=False),
        sa.Column("reviewer_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("title_before", sa.Text(), nullable=True),
        sa.Column("title_after", sa.Text(), nullable=True),
        sa.Column("body_before", sa.Text(), nullable=True),
        sa.Column("body_after", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("verdict IN ('edited', 'accepted', 'rejected')", name=op.f("ck_insight_reviews_verdict")),
        inner_key("insight_reviews", "insight_id", "evidence.insights", "CASCADE"),
        inner_key("insight_reviews", "reviewer_id", "identity.users"),
        tenant_key("insight_reviews"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_insight_reviews")),
        schema="evidence",
    )
    add_index("ix_insight_reviews_insight_id", "evidence.insight_reviews", "tenant_id", "insight_id", "created_at")
    op.create_table(
        "quotes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("transcript_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("segment_first", sa.Integer(), nullable=True),
        sa.Column("segment_last", sa.Integer(), nullable=True),
        sa.Column("speaker", sa.Text(), nullable=True),
        sa.Column("speaker_id", sa.Uuid(), nullable=True),
        sa.Column("char_start", sa.Integer(), nullable=False),
        sa.Column("char_end", sa.Integer(), nullable=False),
        sa.Column("started_s", sa.Double(), nullable=True),
        sa.Column("ended_s", sa.Double(), nullable=True),
        sa.Column("exact", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), server_default="", nullable=False),
        sa.Column("suffix", sa.Text(), server_default="", nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("support_score", sa.Double(), nullable=True),
        sa.Column("scorer", sa.Text(), nullable=True),
        sa.Column("stale_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_quotes_visibility"),
        ),
        sa.CheckConstraint("(transcript_id IS NULL) = (segment_first IS NULL)", name=op.f("ck_quotes_segments")),
        sa.CheckConstraint("char_end - char_start = length(exact) AND length(exact) > 0", name=op.f("ck_quotes_range")),
        sa.CheckConstraint("num_nonnulls(transcript_id, document_id) = 1", name=op.f("ck_quotes_one_source")),
        inner_key("quotes", "client_id", "identity.users"),
        inner_key("quotes", "coach_id", "identity.users"),
        inner_key("quotes", "document_id", "rag.documents", "CASCADE"),
        inner_key("quotes", "run_id", "chat.agent_runs", "SET NULL"),
        inner_key("quotes", "speaker_id", "identity.users"),
        inner_key("quotes", "transcript_id", "rag.transcripts", "CASCADE"),
        tenant_key("quotes"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_quotes")),
        schema="evidence",
    )
    add_index("ix_quotes_client", "evidence.quotes", "tenant_id", "client_id", "created_at")
    add_index(
        "uq_quotes_document",
        "evidence.quotes",
        "tenant_id",
        "document_id",
        "content_hash",
        "char_start",
        "char_end",
        unique=True,
        where="document_id IS NOT NULL",
    )
    add_index(
        "uq_quotes_transcript",
        "evidence.quotes",
        "tenant_id",
        "transcript_id",
        "content_hash",
        "char_start",
        "char_end",
        unique=True,
        where="transcript_id IS NOT NULL",
    )
    op.create_table(
        "claim_quotes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("claim_id", sa.Uuid(), nullable=False),
        sa.Column("quote_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('supporting', 'opposing')", name=op.f("ck_claim_quotes_role")),
        inner_key("claim_quotes", "claim_id", "evidence.claims", "CASCADE"),
        inner_key("claim_quotes", "quote_id", "evidence.quotes", "CASCADE"),
        tenant_key("claim_quotes"),
        sa.PrimaryKeyConstraint("tenant_id", "claim_id", "quote_id", name=("pk_claim_quotes")),
        schema="evidence",
    )
    add_index("ix_claim_quotes_quote_id", "evidence.claim_quotes", "tenant_id", "quote_id")
    op.create_table(
        "derivations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("child_claim_id", sa.Uuid(), nullable=True),
        sa.Column("child_pattern_id", sa.Uuid(), nullable=True),
        sa.Column("child_insight_id", sa.Uuid(), nullable=True),
        sa.Column("child_pack_id", sa.Uuid(), nullable=True),
        sa.Column("parent_quote_id", sa.Uuid(), nullable=True),
        sa.Column("parent_claim_id", sa.Uuid(), nullable=True),
        sa.Column("parent_pattern_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("role IN ('supporting', 'opposing', 'counter')", name=op.f("ck_derivations_role")),
        sa.CheckConstraint(
            "num_nonnulls(child_claim_id, child_pattern_id, child_insight_id, child_pack_id) = 1",
            name=op.f("ck_derivations_one_child"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(parent_quote_id, parent_claim_id, parent_pattern_id) = 1",
            name=op.f("ck_derivations_one_parent"),
        ),
        inner_key("derivations", "child_claim_id", "evidence.claims", "CASCADE"),
        inner_key("derivations", "child_insight_id", "evidence.insights", "CASCADE"),
        inner_key("derivations", "child_pack_id", "evidence.evidence_packs", "CASCADE"),
        inner_key("derivations", "child_pattern_id", "evidence.patterns", "CASCADE"),
        inner_key("derivations", "parent_claim_id", "evidence.claims", "CASCADE"),
        inner_key("derivations", "parent_pattern_id", "evidence.patterns", "CASCADE"),
        inner_key("derivations", "parent_quote_id", "evidence.quotes", "CASCADE"),
        inner_key("derivations", "run_id", "chat.agent_runs"),
        tenant_key("derivations"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_derivations")),
        schema="evidence",
    )
    for end in (
        "child_claim",
        "child_insight",
        "child_pack",
        "child_pattern",
        "parent_claim",
        "parent_pattern",
        "parent_quote",
    ):
        op.create_index(
            f"ix_derivations_{end}_id", "derivations", ["tenant_id", f"{end}_id"], schema="evidence",
            postgresql_where=sa.text(f"{end}_id IS NOT NULL"),
        )  # fmt: skip
    op.create_table(
        "pattern_claims",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("pattern_id", sa.Uuid(), nullable=False),
        sa.Column("claim_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('supporting', 'counter')", name=op.f("ck_pattern_claims_role")),
        inner_key("pattern_claims", "claim_id", "evidence.claims", "CASCADE"),
        inner_key("pattern_claims", "pattern_id", "evidence.patterns", "CASCADE"),
        tenant_key("pattern_claims"),
        sa.PrimaryKeyConstraint("tenant_id", "pattern_id", "claim_id", name=("pk_pattern_claims")),
        schema="evidence",
    )
    add_index("ix_pattern_claims_claim_id", "evidence.pattern_claims", "tenant_id", "claim_id")
    for table in ("quotes", "claims", "patterns", "insights"):
        policies.guard_where(f"evidence.{table}", STANDS)
    policies.guard_where(
        "evidence.claim_quotes",
        readable("claims", "claim_id", "claim_quotes") + " AND " + readable("quotes", "quote_id", "claim_quotes"),
    )
    policies.guard_where(
        "evidence.pattern_claims",
        readable("patterns", "pattern_id", "pattern_claims")
        + " AND "
        + readable("claims", "claim_id", "pattern_claims"),
    )
    policies.guard_where(
        "evidence.insight_reviews",
        f"{policies.ROLE} = 'coach' AND " + readable("insights", "insight_id", "insight_reviews"),
    )
    policies.guard_internal("evidence.derivations")
    policies.guard_where("evidence.evidence_packs", f"user_id = {policies.USER} AND stale_at IS NULL")
    policies.guard_private("evidence.feedback")
    for table in (
        "quotes",
        "claims",
        "claim_quotes",
        "patterns",
        "pattern_claims",
        "insights",
        "evidence_packs",
        "feedback",
    ):
        policies.grant(f"evidence.{table}")
    for table in ("derivations", "insight_reviews"):
        policies.grant(f"evidence.{table}", "SELECT, INSERT, DELETE")
        op.execute(
            f"CREATE TRIGGER immutable BEFORE UPDATE OR TRUNCATE ON evidence.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
        )
    policies.audit_changes("evidence.insights", "status", "visibility")
    policies.audit_changes("evidence.insight_reviews", "verdict")
    policies.audit_changes("evidence.feedback", "target_type")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA evidence CASCADE")
