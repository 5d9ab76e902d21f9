"""The tables of migration 0012: when coaches can meet, what came of sessions, and the guards that let no hour be given twice."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.ddl import add_index, inner_key, tenant_key


def create_tables() -> None:
    """Create the tables and their indexes, without a word on who may read them."""
    op.create_table(
        "coach_availability",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("day_of_week", sa.Integer(), nullable=False),
        sa.Column("start_time", sa.Time(), nullable=False),
        sa.Column("end_time", sa.Time(), nullable=False),
        sa.Column("timezone", sa.String(length=50), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("effective_until", sa.Date(), nullable=True),
        sa.Column("max_sessions_per_slot", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("slot_minutes", sa.Integer(), server_default=sa.text("60"), nullable=False),
        sa.Column("buffer_minutes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "start_time < end_time AND end_time < '24:00'", name=op.f("ck_coach_availability_start_time")
        ),
        sa.CheckConstraint("buffer_minutes BETWEEN 0 AND 240", name=op.f("ck_coach_availability_buffer_minutes")),
        sa.CheckConstraint("day_of_week BETWEEN 0 AND 6", name=op.f("ck_coach_availability_day_of_week")),
        sa.CheckConstraint(
            "effective_until IS NULL OR effective_until >= effective_from",
            name=op.f("ck_coach_availability_effective_until"),
        ),
        sa.CheckConstraint(
            "max_sessions_per_slot BETWEEN 1 AND 100", name=op.f("ck_coach_availability_max_sessions_per_slot")
        ),
        sa.CheckConstraint("slot_minutes BETWEEN 10 AND 480", name=op.f("ck_coach_availability_slot_minutes")),
        inner_key("coach_availability", "coach_id", "identity.users", "CASCADE"),
        tenant_key("coach_availability"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_coach_availability"),
        schema="coaching",
    )
    add_index(
        "ix_coach_availability_active",
        "coaching.coach_availability",
        "tenant_id",
        "coach_id",
        "is_active",
        where="is_active",
    )
    add_index("ix_coach_availability_coach", "coaching.coach_availability", "tenant_id", "coach_id", "day_of_week")
    op.create_table(
        "coach_blocked_times",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("blocked_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("blocked_from < blocked_until", name=op.f("ck_coach_blocked_times_blocked_from")),
        inner_key("coach_blocked_times", "coach_id", "identity.users", "CASCADE"),
        tenant_key("coach_blocked_times"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_coach_blocked_times"),
        schema="coaching",
    )
    add_index(
        "ix_coach_blocked_times_period",
        "coaching.coach_blocked_times",
        "tenant_id",
        "coach_id",
        "blocked_from",
        "blocked_until",
    )
    op.create_table(
        "rubrics",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("criteria", postgresql.JSONB(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "jsonb_typeof(criteria) = 'array' AND jsonb_array_length(criteria) > 0", name=op.f("ck_rubrics_criteria")
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_rubrics_version")),
        inner_key("rubrics", "created_by", "identity.users", "SET NULL"),
        tenant_key("rubrics"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_rubrics"),
        sa.UniqueConstraint("tenant_id", "name", "version", name="uq_rubrics_tenant_id_name_version"),
        schema="coaching",
    )
    op.create_table(
        "session_notes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("visibility", sa.Text(), server_default="coach_only", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('coach_notes', 'pre_session')", name=op.f("ck_session_notes_kind")),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_session_notes_visibility"),
        ),
        sa.CheckConstraint("char_length(content) BETWEEN 1 AND 50000", name=op.f("ck_session_notes_content")),
        inner_key("session_notes", "author_id", "identity.users"),
        inner_key("session_notes", "client_id", "identity.users"),
        inner_key("session_notes", "coach_id", "identity.users"),
        inner_key("session_notes", "session_id", "coaching.coaching_sessions", "CASCADE"),
        tenant_key("session_notes"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_session_notes"),
        sa.UniqueConstraint(
            "tenant_id", "session_id", "author_id", "kind", name="uq_session_notes_tenant_id_session_id_author_id_kind"
        ),
        schema="coaching",
    )
    add_index("ix_session_notes_client", "coaching.session_notes", "tenant_id", "client_id")
    op.create_table(
        "session_attendance",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("minutes", sa.Integer(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('coach', 'client', 'observer')", name=op.f("ck_session_attendance_role")),
        sa.CheckConstraint(
            "left_at IS NULL OR left_at >= joined_at", name=op.f("ck_session_attendance_leaves_after_joining")
        ),
        sa.CheckConstraint("minutes BETWEEN 0 AND 1440", name=op.f("ck_session_attendance_minutes")),
        inner_key("session_attendance", "client_id", "identity.users"),
        inner_key("session_attendance", "coach_id", "identity.users"),
        inner_key("session_attendance", "session_id", "coaching.coaching_sessions", "CASCADE"),
        inner_key("session_attendance", "user_id", "identity.users"),
        tenant_key("session_attendance"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_session_attendance"),
        sa.UniqueConstraint(
            "tenant_id",
            "session_id",
            "user_id",
            "joined_at",
            name="uq_session_attendance_tenant_id_session_id_user_id_joined_at",
        ),
        schema="coaching",
    )
    add_index("ix_session_attendance_user", "coaching.session_attendance", "tenant_id", "user_id", "joined_at")
    op.create_table(
        "session_feedback",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("submitted_by", sa.Uuid(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("would_recommend", sa.Boolean(), nullable=True),
        sa.Column("feedback_text", sa.Text(), nullable=True),
        sa.Column("highlights", postgresql.JSONB(), nullable=True),
        sa.Column("improvements", postgresql.JSONB(), nullable=True),
        sa.Column("is_public", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_session_feedback_visibility"),
        ),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name=op.f("ck_session_feedback_rating")),
        sa.CheckConstraint("submitted_by = client_id", name=op.f("ck_session_feedback_by_the_client")),
        inner_key("session_feedback", "client_id", "identity.users"),
        inner_key("session_feedback", "coach_id", "identity.users"),
        inner_key("session_feedback", "session_id", "coaching.coaching_sessions", "CASCADE"),
        inner_key("session_feedback", "submitted_by", "identity.users"),
        tenant_key("session_feedback"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_session_feedback"),
        sa.UniqueConstraint("tenant_id", "session_id", name="uq_session_feedback_tenant_id_session_id"),
        schema="coaching",
    )
    op.create_index(
        "ix_session_feedback_coach",
        "session_feedback",
        ["tenant_id", "coach_id"],
        schema="coaching",
        postgresql_include=["rating"],
    )
    add_index(
        "ix_session_feedback_public",
        "coaching.session_feedback",
        "tenant_id",
        "is_public",
        "coach_id",
        where="is_public",
    )
    add_index("ix_session_feedback_submitted_by", "coaching.session_feedback", "tenant_id", "submitted_by")
    op.create_table(
        "qa_reviews",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("rubric_id", sa.Uuid(), nullable=False),
        sa.Column("reviewer_id", sa.Uuid(), nullable=False),
        sa.Column("scores", postgresql.JSONB(), nullable=False),
        sa.Column("total", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("jsonb_typeof(scores) = 'object'", name=op.f("ck_qa_reviews_scores")),
        sa.CheckConstraint(
            "reviewer_id <> coach_id AND reviewer_id <> client_id", name=op.f("ck_qa_reviews_by_a_third")
        ),
        sa.CheckConstraint("total BETWEEN 0 AND 100", name=op.f("ck_qa_reviews_total")),
        inner_key("qa_reviews", "client_id", "identity.users"),
        inner_key("qa_reviews", "coach_id", "identity.users"),
        inner_key("qa_reviews", "reviewer_id", "identity.users"),
        inner_key("qa_reviews", "rubric_id", "coaching.rubrics", "RESTRICT"),
        inner_key("qa_reviews", "session_id", "coaching.coaching_sessions", "CASCADE"),
        tenant_key("qa_reviews"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_qa_reviews"),
        sa.UniqueConstraint(
            "tenant_id",
            "session_id",
            "rubric_id",
            "reviewer_id",
            name="uq_qa_reviews_tenant_id_session_id_rubric_id_reviewer_id",
        ),
        schema="coaching",
    )
    add_index("ix_qa_reviews_coach", "coaching.qa_reviews", "tenant_id", "coach_id", "created_at")
    add_index("ix_qa_reviews_reviewer", "coaching.qa_reviews", "tenant_id", "reviewer_id", "created_at")
