"""Schema `learning`: programs, what they are made of, who takes them, and what they earned.

A text of a program is read by those who take it, teach it or administer it. That is a matter of enrolment, not of
a visibility a row could carry, so the tables have none; migration 0013 holds the policies.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    FetchedValue,
    ForeignKeyConstraint,
    Index,
    Numeric,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, one_of, tenant_fk

PRICING_TYPES = ("free", "one_time", "subscription")
PROGRAM_STATUSES = ("draft", "published", "archived")
DIFFICULTIES = ("beginner", "intermediate", "advanced")
CONTENT_TYPES = ("video", "text", "quiz", "assignment", "resource")
ENROLLMENT_STATUSES = ("active", "completed", "dropped", "suspended")
PAYMENT_TYPES = ("subscription", "one_time", "scholarship", "free")
ASSESSMENT_TYPES = ("quiz", "assignment", "project", "peer_review")
SUBMISSION_STATUSES = ("in_progress", "submitted", "graded", "returned")

_ZERO = text("0")
_TRUE, _FALSE = text("true"), text("false")


def _of_same_program(column: str, target: str) -> ForeignKeyConstraint:
    """Return a foreign key into the row's own program, which is emptied when its target goes.

    With program_id in it, the index on program_id finds the rows to empty.
    """
    return ForeignKeyConstraint(
        ("tenant_id", "program_id", column),
        [f"{target}.{name}" for name in ("tenant_id", "program_id", "id")],
        ondelete=f"SET NULL ({column})",
    )


class Program(TenantRow, Timestamped, Base):
    """One course of the tenant, from draft to archive (seed 001 §6.2).

    The counts are kept by triggers: `lesson_count` and `module_count` say what is published, `enrollment_count` who
    ever enrolled, `seats_taken` who did not drop out. A seat above `capacity` is refused by the check itself.
    """

    __tablename__ = "programs"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        tenant_fk("instructor_id", "identity.users"),
        one_of("status", PROGRAM_STATUSES),
        one_of("pricing_type", PRICING_TYPES),
        one_of("difficulty_level", DIFFICULTIES),
        CheckConstraint("price_amount >= 0", name="price_amount"),
        CheckConstraint(
            "status <> 'published' OR pricing_type <> 'one_time' OR price_amount IS NOT NULL",
            name="published_has_price",
        ),
        CheckConstraint("capacity > 0 AND seats_taken <= capacity", name="capacity"),
        Index("ix_programs_category", "tenant_id", "category"),
        Index("ix_programs_instructor", "tenant_id", "instructor_id"),
        Index("ix_programs_status", "tenant_id", "status", postgresql_where=text("status = 'published'")),
        # GIN has no operators for uuid here; a tenant's own programs are few, so these narrow what is left of them.
        Index("ix_programs_tags", "tags", postgresql_using="gin"),
        Index("ix_programs_tier", "tier_access", postgresql_using="gin"),
        Index(
            "ix_programs_fts",
            text("to_tsvector('english', (COALESCE(title, '') || ' ') || COALESCE(description, ''))"),
            postgresql_using="gin",
        ),
        {"schema": "learning"},
    )

    title: Mapped[str] = mapped_column(String(500))
    slug: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    long_description: Mapped[str | None]
    category: Mapped[str | None] = mapped_column(String(100))
    tags: Mapped[list[Any] | None]
    difficulty_level: Mapped[str | None] = mapped_column(String(20))
    instructor_id: Mapped[UUID]
    co_instructors: Mapped[list[Any] | None]
    pricing_type: Mapped[str] = mapped_column(String(20))
    price_amount: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    tier_access: Mapped[list[Any] | None]
    capacity: Mapped[int | None]
    duration_weeks: Mapped[int | None]
    estimated_hours: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    module_count: Mapped[int] = mapped_column(server_default=_ZERO)
    lesson_count: Mapped[int] = mapped_column(server_default=_ZERO)
    enrollment_count: Mapped[int] = mapped_column(server_default=_ZERO)
    seats_taken: Mapped[int] = mapped_column(server_default=_ZERO)
    completion_count: Mapped[int] = mapped_column(server_default=_ZERO)
    review_count: Mapped[int] = mapped_column(server_default=_ZERO)
    rating_sum: Mapped[int] = mapped_column(server_default=_ZERO)
    average_rating: Mapped[Decimal | None] = mapped_column(
        Numeric(3, 2), Computed("round(rating_sum::numeric / NULLIF(review_count, 0), 2)", persisted=True)
    )
    thumbnail_url: Mapped[str | None] = mapped_column(String(500))
    preview_video_url: Mapped[str | None] = mapped_column(String(500))
    status: Mapped[str] = mapped_column(String(20), server_default="draft")
    published_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    meta_description: Mapped[str | None]
    meta_keywords: Mapped[list[Any] | None]


class Module(TenantRow, Timestamped, Base):
    """One chapter of a program (seed 001 §6.2); `is_visible` says that it and its program are published."""

    __tablename__ = "modules"
    __table_args__ = (
        # Deferrable, so that one statement can give all of them new places; its index serves reads in order too.
        UniqueConstraint("tenant_id", "program_id", "sequence_order", deferrable=True),
        UniqueConstraint("tenant_id", "program_id", "id"),
        tenant_fk("program_id", "learning.programs", ondelete="CASCADE"),
        _of_same_program("unlock_after_module_id", "learning.modules"),
        CheckConstraint("unlock_after_module_id <> id", name="unlocks_after_another"),
        {"schema": "learning"},
    )

    program_id: Mapped[UUID]
    title: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    sequence_order: Mapped[int]
    unlock_after_module_id: Mapped[UUID | None]
    unlock_date: Mapped[datetime | None]
    estimated_duration_minutes: Mapped[int | None]
    lesson_count: Mapped[int] = mapped_column(server_default=_ZERO)
    is_published: Mapped[bool] = mapped_column(server_default=_TRUE)
    is_visible: Mapped[bool] = mapped_column(server_default=_FALSE)


class Lesson(TenantRow, Timestamped, Base):
    """One unit of a module: a video, a text, a quiz (seed 001 §6.2).

    `program_id` repeats the module's and `is_visible` says that the lesson, its module and its program are published
    (or archived, for those who take it already); triggers keep both, so that policies test columns only.
    """

    __tablename__ = "lessons"
    __table_args__ = (
        UniqueConstraint("tenant_id", "module_id", "sequence_order", deferrable=True),
        UniqueConstraint("tenant_id", "program_id", "id"),
        tenant_fk(("program_id", "module_id"), "learning.modules(program_id, id)", ondelete="CASCADE"),
        one_of("content_type", CONTENT_TYPES),
        Index("ix_lessons_preview", "tenant_id", "is_preview", postgresql_where=text("is_preview")),
        {"schema": "learning"},
    )

    program_id: Mapped[UUID] = mapped_column(FetchedValue())
    module_id: Mapped[UUID]
    title: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    sequence_order: Mapped[int]
    content_type: Mapped[str] = mapped_column(String(20))
    video_url: Mapped[str | None] = mapped_column(String(500))
    video_duration_seconds: Mapped[int | None]
    text_content: Mapped[str | None]
    resource_urls: Mapped[list[Any] | None]
    is_preview: Mapped[bool] = mapped_column(server_default=_FALSE)
    estimated_minutes: Mapped[int | None]
    is_published: Mapped[bool] = mapped_column(server_default=_TRUE)
    is_visible: Mapped[bool] = mapped_column(server_default=_FALSE)


class Enrollment(TenantRow, Timestamped, Base):
    """One person takes one program (seed 001 §6.2).

    Triggers keep `completed_lessons` and `lesson_total` by adding and subtracting, and derive from them
    `progress_percent`, rounded down, so 100 means all. A lesson added later does not take a completion back.
    `rating` and `review` are what the person says of it; the seed reads a rating in A2 but keeps it nowhere.
    """

    __tablename__ = "enrollments"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id", "program_id"),
        UniqueConstraint("tenant_id", "id", "user_id", "program_id"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("program_id", "learning.programs", ondelete="CASCADE"),
        _of_same_program("current_module_id", "learning.modules"),
        _of_same_program("current_lesson_id", "learning.lessons"),
        tenant_fk("transaction_id", "commerce.transactions"),
        one_of("status", ENROLLMENT_STATUSES),
        one_of("payment_type", PAYMENT_TYPES),
        CheckConstraint("progress_percent BETWEEN 0 AND 100", name="progress"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),
        CheckConstraint("status <> 'completed' OR completion_date IS NOT NULL", name="completed_has_date"),
        Index("ix_enrollments_user", "tenant_id", "user_id", "status"),
        Index("ix_enrollments_program", "tenant_id", "program_id", "status"),
        Index("ix_enrollments_active", "tenant_id", "user_id", postgresql_where=text("status = 'active'")),
        {"schema": "learning"},
    )

    user_id: Mapped[UUID]
    program_id: Mapped[UUID]
    enrollment_date: Mapped[datetime] = mapped_column(server_default=func.now())
    last_accessed_at: Mapped[datetime | None]
    progress_percent: Mapped[int] = mapped_column(server_default=_ZERO)
    completed_lessons: Mapped[int] = mapped_column(server_default=_ZERO)
    lesson_total: Mapped[int] = mapped_column(server_default=_ZERO)
    current_module_id: Mapped[UUID | None]
    current_lesson_id: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(String(20), server_default="active")
    completion_date: Mapped[datetime | None]
    payment_type: Mapped[str | None] = mapped_column(String(20))
    transaction_id: Mapped[UUID | None]
    certificate_issued: Mapped[bool] = mapped_column(server_default=_FALSE)
    certificate_issued_at: Mapped[datetime | None]
    rating: Mapped[int | None]
    review: Mapped[str | None]
    rated_at: Mapped[datetime | None]


class LessonProgress(TenantRow, Base):
    """How far one person is in one lesson (seed 001 §6.2); lesson and enrolment are of the same program."""

    __tablename__ = "lesson_progress"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id", "lesson_id"),
        tenant_fk(
            ("enrollment_id", "user_id", "program_id"), "learning.enrollments(id, user_id, program_id)",
            ondelete="CASCADE",
        ),
        tenant_fk(("program_id", "lesson_id"), "learning.lessons(program_id, id)", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("progress_percent BETWEEN 0 AND 100", name="progress"),
        CheckConstraint("time_spent_seconds >= 0", name="time_spent"),
        Index("ix_lesson_progress_enrollment", "tenant_id", "enrollment_id"),
        Index("ix_lesson_progress_lesson", "tenant_id", "lesson_id"),
        {"schema": "learning"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    program_id: Mapped[UUID]
    lesson_id: Mapped[UUID]
    enrollment_id: Mapped[UUID]
    progress_percent: Mapped[int] = mapped_column(server_default=_ZERO)
    time_spent_seconds: Mapped[int] = mapped_column(server_default=_ZERO)
    last_position_seconds: Mapped[int | None]
    completed_at: Mapped[datetime | None]
    first_accessed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_accessed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ProgressEvent(TenantScoped, Base):
    """One progress message that counted, so that its repetition adds no time (seed 001 §8.5 adds it every time)."""

    __tablename__ = "progress_events"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        Index("ix_progress_events_received_at", "tenant_id", "received_at"),
        {"schema": "learning"},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Assessment(TenantRow, Timestamped, Base):
    """One quiz, assignment or project of a lesson or of a whole program (seed 001 §6.2).

    `questions` holds what takers see; the right answers stand in `assessment_keys`. `program_id` is filled in for a
    lesson's assessment too (the seed leaves it null there), so that policies test a column.
    """

    __tablename__ = "assessments"
    __table_args__ = (
        UniqueConstraint("tenant_id", "program_id", "id"),
        tenant_fk(("program_id", "lesson_id"), "learning.lessons(program_id, id)", ondelete="CASCADE"),
        tenant_fk("program_id", "learning.programs", ondelete="CASCADE"),
        one_of("assessment_type", ASSESSMENT_TYPES),
        CheckConstraint("passing_score BETWEEN 0 AND 100", name="passing_score"),
        CheckConstraint("max_attempts > 0", name="max_attempts"),
        CheckConstraint("time_limit_minutes > 0", name="time_limit"),
        Index("ix_assessments_lesson", "tenant_id", "lesson_id"),
        {"schema": "learning"},
    )

    lesson_id: Mapped[UUID | None]
    program_id: Mapped[UUID] = mapped_column(FetchedValue())
    title: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    assessment_type: Mapped[str] = mapped_column(String(20))
    passing_score: Mapped[int | None]
    max_attempts: Mapped[int | None] = mapped_column(server_default=text("3"))
    time_limit_minutes: Mapped[int | None]
    questions: Mapped[list[Any] | None]
    instructions: Mapped[str | None]
    rubric: Mapped[list[Any] | None]
    is_auto_graded: Mapped[bool] = mapped_column(server_default=_TRUE)
    is_published: Mapped[bool] = mapped_column(server_default=_TRUE)


class AssessmentKey(TenantRow, Base):
    """The right answers of one assessment, whose id it bears; nobody who takes it can read this."""

    __tablename__ = "assessment_keys"
    __table_args__ = (
        tenant_fk(("program_id", "id"), "learning.assessments(program_id, id)", ondelete="CASCADE"),
        {"schema": "learning"},
    )

    program_id: Mapped[UUID]
    answers: Mapped[dict[str, Any]]


class AssessmentSubmission(TenantRow, Base):
    """One attempt of one person at an assessment (seed 001 §6.2)."""

    __tablename__ = "assessment_submissions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "assessment_id", "user_id", "attempt_number"),
        tenant_fk(("program_id", "assessment_id"), "learning.assessments(program_id, id)", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk(
            ("enrollment_id", "user_id", "program_id"), "learning.enrollments(id, user_id, program_id)",
            ondelete="CASCADE",
        ),
        tenant_fk("graded_by", "identity.users", ondelete="SET NULL"),
        one_of("status", SUBMISSION_STATUSES),
        CheckConstraint("score BETWEEN 0 AND 100", name="score"),
        CheckConstraint("attempt_number > 0", name="attempt_number"),
        Index("ix_assessment_submissions_user", "tenant_id", "user_id", "status"),
        Index(
            "ix_assessment_submissions_grading", "tenant_id", "program_id", "submitted_at",
            postgresql_where=text("status = 'submitted'"),
        ),
        Index(
            "uq_assessment_submissions_open", "tenant_id", "assessment_id", "user_id",
            unique=True, postgresql_where=text("status = 'in_progress'"),
        ),
        {"schema": "learning"},
    )  # fmt: skip

    program_id: Mapped[UUID]
    assessment_id: Mapped[UUID]
    user_id: Mapped[UUID]
    enrollment_id: Mapped[UUID]
    attempt_number: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    submitted_at: Mapped[datetime | None]
    time_taken_seconds: Mapped[int | None]
    answers: Mapped[dict[str, Any] | None]
    submission_files: Mapped[list[Any] | None]
    score: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    passed: Mapped[bool | None]
    graded_by: Mapped[UUID | None]
    graded_at: Mapped[datetime | None]
    feedback: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(20), server_default="in_progress")


class Certificate(TenantRow, Base):
    """One program completed by one person, proved to whoever holds its code (seed 001 §6.2)."""

    __tablename__ = "certificates"
    __table_args__ = (
        UniqueConstraint("tenant_id", "enrollment_id"),
        UniqueConstraint("tenant_id", "certificate_number"),
        UniqueConstraint("tenant_id", "verification_code"),
        tenant_fk(
            ("enrollment_id", "user_id", "program_id"), "learning.enrollments(id, user_id, program_id)",
            ondelete="CASCADE",
        ),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("program_id", "learning.programs", ondelete="CASCADE"),
        tenant_fk("issued_by", "identity.users", ondelete="SET NULL"),
        CheckConstraint("is_revoked = (revoked_at IS NOT NULL)", name="revoked_has_date"),
        Index("ix_certificates_user", "tenant_id", "user_id"),
        Index("ix_certificates_program", "tenant_id", "program_id"),
        # The one look-up that does not know its tenant. It finds revoked ones too, to say that they are.
        Index("ix_certificates_verification_code", "verification_code"),
        {"schema": "learning"},
    )  # fmt: skip

    enrollment_id: Mapped[UUID]
    user_id: Mapped[UUID]
    program_id: Mapped[UUID]
    certificate_number: Mapped[str] = mapped_column(String(50))
    issued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    issued_by: Mapped[UUID | None]
    title: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    certificate_url: Mapped[str | None] = mapped_column(String(500))
    verification_code: Mapped[str] = mapped_column(String(100))
    is_revoked: Mapped[bool] = mapped_column(server_default=_FALSE)
    revoked_at: Mapped[datetime | None]
    revocation_reason: Mapped[str | None]
    completion_score: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    completion_date: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
