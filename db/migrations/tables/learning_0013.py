"""The tables of migration 0013: programs, their lessons, and who takes them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.ddl import add_index, inner_key, tenant_key


def create_tables() -> None:
    """Create the tables and their indexes, without a word on who may read them."""
    op.create_table(
        "programs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("long_description", sa.Text(), nullable=True),
        sa.Column("category", sa.String(length=100), nullable=True),
        sa.Column("tags", postgresql.JSONB(), nullable=True),
        sa.Column("difficulty_level", sa.String(length=20), nullable=True),
        sa.Column("instructor_id", sa.Uuid(), nullable=False),
        sa.Column("co_instructors", postgresql.JSONB(), nullable=True),
        sa.Column("pricing_type", sa.String(length=20), nullable=False),
        sa.Column("price_amount", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("tier_access", postgresql.JSONB(), nullable=True),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("duration_weeks", sa.Integer(), nullable=True),
        sa.Column("estimated_hours", sa.Numeric(precision=5, scale=2), nullable=True),
        sa.Column("module_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lesson_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("enrollment_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("seats_taken", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("completion_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("review_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rating_sum", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "average_rating",
            sa.Numeric(precision=3, scale=2),
            sa.Computed("round(rating_sum::numeric / NULLIF(review_count, 0), 2)", persisted=True),
            nullable=True,
        ),
        sa.Column("thumbnail_url", sa.String(length=500), nullable=True),
        sa.Column("preview_video_url", sa.String(length=500), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="draft", nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("meta_description", sa.Text(), nullable=True),
        sa.Column("meta_keywords", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "difficulty_level IN ('beginner', 'intermediate', 'advanced')", name=op.f("ck_programs_difficulty_level")
        ),
        sa.CheckConstraint(
            "pricing_type IN ('free', 'one_time', 'subscription')", name=op.f("ck_programs_pricing_type")
        ),
        sa.CheckConstraint(
            "status <> 'published' OR pricing_type <> 'one_time' OR price_amount IS NOT NULL",
            name=op.f("ck_programs_published_has_price"),
        ),
        sa.CheckConstraint("status IN ('draft', 'published', 'archived')", name=op.f("ck_programs_status")),
        sa.CheckConstraint("capacity > 0 AND seats_taken <= capacity", name=op.f("ck_programs_capacity")),
        sa.CheckConstraint("price_amount >= 0", name=op.f("ck_programs_price_amount")),
        inner_key("programs", "instructor_id", "identity.users"),
        tenant_key("programs"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_programs")),
        sa.UniqueConstraint("tenant_id", "slug", name=op.f("uq_programs_tenant_id_slug")),
        schema="learning",
    )
    add_index("ix_programs_category", "learning.programs", "tenant_id", "category")
    add_index(
        "ix_programs_fts",
        "learning.programs",
        "to_tsvector('english', (COALESCE(title, '') || ' ') || COALESCE(description, ''))",
        using="gin",
    )
    add_index("ix_programs_instructor", "learning.programs", "tenant_id", "instructor_id")
    add_index("ix_programs_status", "learning.programs", "tenant_id", "status", where="status = 'published'")
    add_index("ix_programs_tags", "learning.programs", "tags", using="gin")
    add_index("ix_programs_tier", "learning.programs", "tier_access", using="gin")
    op.create_table(
        "modules",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("sequence_order", sa.Integer(), nullable=False),
        sa.Column("unlock_after_module_id", sa.Uuid(), nullable=True),
        sa.Column("unlock_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("estimated_duration_minutes", sa.Integer(), nullable=True),
        sa.Column("lesson_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_visible", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("unlock_after_module_id <> id", name=op.f("ck_modules_unlocks_after_another")),
        inner_key(
            "modules",
            ("program_id", "unlock_after_module_id"),
            "learning.modules(program_id, id)",
            "SET NULL (unlock_after_module_id)",
        ),
        inner_key("modules", "program_id", "learning.programs", "CASCADE"),
        tenant_key("modules"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_modules")),
        sa.UniqueConstraint("tenant_id", "program_id", "id", name=op.f("uq_modules_tenant_id_program_id_id")),
        sa.UniqueConstraint(
            "tenant_id",
            "program_id",
            "sequence_order",
            deferrable=True,
            name=op.f("uq_modules_tenant_id_program_id_sequence_order"),
        ),
        schema="learning",
    )
    op.create_table(
        "lessons",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("program_id", sa.Uuid(), server_default=sa.FetchedValue(), nullable=False),
        sa.Column("module_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("sequence_order", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.String(length=20), nullable=False),
        sa.Column("video_url", sa.String(length=500), nullable=True),
        sa.Column("video_duration_seconds", sa.Integer(), nullable=True),
        sa.Column("text_content", sa.Text(), nullable=True),
        sa.Column("resource_urls", postgresql.JSONB(), nullable=True),
        sa.Column("is_preview", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("estimated_minutes", sa.Integer(), nullable=True),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_visible", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('video', 'text', 'quiz', 'assignment', 'resource')", name=op.f("ck_lessons_content_type")
        ),
        inner_key("lessons", ("program_id", "module_id"), "learning.modules(program_id, id)", "CASCADE"),
        tenant_key("lessons"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_lessons")),
        sa.UniqueConstraint(
            "tenant_id",
            "module_id",
            "sequence_order",
            deferrable=True,
            name=op.f("uq_lessons_tenant_id_module_id_sequence_order"),
        ),
        sa.UniqueConstraint("tenant_id", "program_id", "id", name=op.f("uq_lessons_tenant_id_program_id_id")),
        schema="learning",
    )
    add_index("ix_lessons_preview", "learning.lessons", "tenant_id", "is_preview", where="is_preview")
    op.create_table(
        "enrollments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_date", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_accessed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progress_percent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("completed_lessons", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lesson_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("current_module_id", sa.Uuid(), nullable=True),
        sa.Column("current_lesson_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("completion_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payment_type", sa.String(length=20), nullable=True),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("certificate_issued", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("certificate_issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "payment_type IN ('subscription', 'one_time', 'scholarship', 'free')",
            name=op.f("ck_enrollments_payment_type"),
        ),
        sa.CheckConstraint(
            "status <> 'completed' OR completion_date IS NOT NULL", name=op.f("ck_enrollments_completed_has_date")
        ),
        sa.CheckConstraint(
            "status IN ('active', 'completed', 'dropped', 'suspended')", name=op.f("ck_enrollments_status")
        ),
        sa.CheckConstraint("progress_percent BETWEEN 0 AND 100", name=op.f("ck_enrollments_progress")),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name=op.f("ck_enrollments_rating")),
        inner_key(
            "enrollments",
            ("program_id", "current_lesson_id"),
            "learning.lessons(program_id, id)",
            "SET NULL (current_lesson_id)",
        ),
        inner_key(
            "enrollments",
            ("program_id", "current_module_id"),
            "learning.modules(program_id, id)",
            "SET NULL (current_module_id)",
        ),
        inner_key("enrollments", "program_id", "learning.programs", "CASCADE"),
        inner_key("enrollments", "transaction_id", "commerce.transactions"),
        inner_key("enrollments", "user_id", "identity.users", "CASCADE"),
        tenant_key("enrollments"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_enrollments")),
        sa.UniqueConstraint(
            "tenant_id", "id", "user_id", "program_id", name=op.f("uq_enrollments_tenant_id_id_user_id_program_id")
        ),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "program_id", name=op.f("uq_enrollments_tenant_id_user_id_program_id")
        ),
        schema="learning",
    )
    add_index("ix_enrollments_active", "learning.enrollments", "tenant_id", "user_id", where="status = 'active'")
    add_index("ix_enrollments_program", "learning.enrollments", "tenant_id", "program_id", "status")
    add_index("ix_enrollments_user", "learning.enrollments", "tenant_id", "user_id", "status")
    op.create_table(
        "lesson_progress",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("lesson_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.Column("progress_percent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("time_spent_seconds", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_position_seconds", sa.Integer(), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_accessed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_accessed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("progress_percent BETWEEN 0 AND 100", name=op.f("ck_lesson_progress_progress")),
        sa.CheckConstraint("time_spent_seconds >= 0", name=op.f("ck_lesson_progress_time_spent")),
        inner_key(
            "lesson_progress",
            ("enrollment_id", "user_id", "program_id"),
            "learning.enrollments(id, user_id, program_id)",
            "CASCADE",
        ),
        inner_key("lesson_progress", ("program_id", "lesson_id"), "learning.lessons(program_id, id)", "CASCADE"),
        inner_key("lesson_progress", "user_id", "identity.users", "CASCADE"),
        tenant_key("lesson_progress"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_lesson_progress")),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "lesson_id", name=op.f("uq_lesson_progress_tenant_id_user_id_lesson_id")
        ),
        schema="learning",
    )
    add_index("ix_lesson_progress_enrollment", "learning.lesson_progress", "tenant_id", "enrollment_id")
    add_index("ix_lesson_progress_lesson", "learning.lesson_progress", "tenant_id", "lesson_id")
    op.create_table(
        "progress_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        inner_key("progress_events", "user_id", "identity.users", "CASCADE"),
        tenant_key("progress_events"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "event_id", name=op.f("pk_progress_events")),
        schema="learning",
    )
    add_index("ix_progress_events_received_at", "learning.progress_events", "tenant_id", "received_at")
    op.create_table(
        "assessments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("lesson_id", sa.Uuid(), nullable=True),
        sa.Column("program_id", sa.Uuid(), server_default=sa.FetchedValue(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("assessment_type", sa.String(length=20), nullable=False),
        sa.Column("passing_score", sa.Integer(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), server_default=sa.text("3"), nullable=True),
        sa.Column("time_limit_minutes", sa.Integer(), nullable=True),
        sa.Column("questions", postgresql.JSONB(), nullable=True),
        sa.Column("instructions", sa.Text(), nullable=True),
        sa.Column("rubric", postgresql.JSONB(), nullable=True),
        sa.Column("is_auto_graded", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "assessment_type IN ('quiz', 'assignment', 'project', 'peer_review')",
            name=op.f("ck_assessments_assessment_type"),
        ),
        sa.CheckConstraint("max_attempts > 0", name=op.f("ck_assessments_max_attempts")),
        sa.CheckConstraint("passing_score BETWEEN 0 AND 100", name=op.f("ck_assessments_passing_score")),
        sa.CheckConstraint("time_limit_minutes > 0", name=op.f("ck_assessments_time_limit")),
        inner_key("assessments", ("program_id", "lesson_id"), "learning.lessons(program_id, id)", "CASCADE"),
        inner_key("assessments", "program_id", "learning.programs", "CASCADE"),
        tenant_key("assessments"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_assessments")),
        sa.UniqueConstraint("tenant_id", "program_id", "id", name=op.f("uq_assessments_tenant_id_program_id_id")),
        schema="learning",
    )
    add_index("ix_assessments_lesson", "learning.assessments", "tenant_id", "lesson_id")
    op.create_table(
        "assessment_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("answers", postgresql.JSONB(), nullable=False),
        inner_key("assessment_keys", ("program_id", "id"), "learning.assessments(program_id, id)", "CASCADE"),
        tenant_key("assessment_keys"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_assessment_keys")),
        schema="learning",
    )
    op.create_table(
        "assessment_submissions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("assessment_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("time_taken_seconds", sa.Integer(), nullable=True),
        sa.Column("answers", postgresql.JSONB(), nullable=True),
        sa.Column("submission_files", postgresql.JSONB(), nullable=True),
        sa.Column("score", sa.Numeric(precision=5, scale=2), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("graded_by", sa.Uuid(), nullable=True),
        sa.Column("graded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("feedback", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="in_progress", nullable=False),
        sa.CheckConstraint(
            "status IN ('in_progress', 'submitted', 'graded', 'returned')",
            name=op.f("ck_assessment_submissions_status"),
        ),
        sa.CheckConstraint("attempt_number > 0", name=op.f("ck_assessment_submissions_attempt_number")),
        sa.CheckConstraint("score BETWEEN 0 AND 100", name=op.f("ck_assessment_submissions_score")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "enrollment_id", "user_id", "program_id"],
            [
                "learning.enrollments.tenant_id",
                "learning.enrollments.id",
                "learning.enrollments.user_id",
                "learning.enrollments.program_id",
            ],
            name=op.f("fk_assessment_submissions_tenant_id_enrollment_id_user__0a23"),
            ondelete="CASCADE",
        ),
        inner_key("assessment_submissions", "graded_by", "identity.users", "SET NULL"),
        inner_key(
            "assessment_submissions", ("program_id", "assessment_id"), "learning.assessments(program_id, id)", "CASCADE"
        ),
        inner_key("assessment_submissions", "user_id", "identity.users", "CASCADE"),
        tenant_key("assessment_submissions"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_assessment_submissions")),
        sa.UniqueConstraint(
            "tenant_id",
            "assessment_id",
            "user_id",
            "attempt_number",
            name=op.f("uq_assessment_submissions_tenant_id_assessment_id_user__9f52"),
        ),
        schema="learning",
    )
    add_index(
        "ix_assessment_submissions_grading",
        "learning.assessment_submissions",
        "tenant_id",
        "program_id",
        "submitted_at",
        where="status = 'submitted'",
    )
    add_index("ix_assessment_submissions_user", "learning.assessment_submissions", "tenant_id", "user_id", "status")
    add_index(
        "uq_assessment_submissions_open",
        "learning.assessment_submissions",
        "tenant_id",
        "assessment_id",
        "user_id",
        unique=True,
        where="status = 'in_progress'",
    )
    op.create_table(
        "certificates",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("certificate_number", sa.String(length=50), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("issued_by", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("certificate_url", sa.String(length=500), nullable=True),
        sa.Column("verification_code", sa.String(length=100), nullable=False),
        sa.Column("is_revoked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revocation_reason", sa.Text(), nullable=True),
        sa.Column("completion_score", sa.Numeric(precision=5, scale=2), nullable=True),
        sa.Column("completion_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("is_revoked = (revoked_at IS NOT NULL)", name=op.f("ck_certificates_revoked_has_date")),
        inner_key(
            "certificates",
            ("enrollment_id", "user_id", "program_id"),
            "learning.enrollments(id, user_id, program_id)",
            "CASCADE",
        ),
        inner_key("certificates", "issued_by", "identity.users", "SET NULL"),
        inner_key("certificates", "program_id", "learning.programs", "CASCADE"),
        inner_key("certificates", "user_id", "identity.users", "CASCADE"),
        tenant_key("certificates"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_certificates")),
        sa.UniqueConstraint(
            "tenant_id", "certificate_number", name=op.f("uq_certificates_tenant_id_certificate_number")
        ),
        sa.UniqueConstraint("tenant_id", "enrollment_id", name=op.f("uq_certificates_tenant_id_enrollment_id")),
        sa.UniqueConstraint("tenant_id", "verification_code", name=op.f("uq_certificates_tenant_id_verification_code")),
        schema="learning",
    )
    add_index("ix_certificates_program", "learning.certificates", "tenant_id", "program_id")
    add_index("ix_certificates_user", "learning.certificates", "tenant_id", "user_id")
    add_index("ix_certificates_verification_code", "learning.certificates", "verification_code")
