"""Schema `coaching`: who coaches whom, when they can meet, their sessions and what came of them."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, Index, Numeric, String, Time, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import VISIBILITIES, Audience, Base, TenantRow, Timestamped, audience_args, encrypted, one_of, tenant_fk

SESSION_TYPES = ("one_on_one", "group", "discovery_call")
SESSION_STATUSES = ("scheduled", "confirmed", "in_progress", "completed", "cancelled", "no_show")
ACTIVE_STATUSES = ("scheduled", "confirmed", "in_progress")
"""A session in one of these takes the coach's and the client's time."""

PAYMENT_STATUSES = ("pending", "paid", "refunded", "cancelled")
MEETING_PLATFORMS = ("zoom", "google_meet", "teams", "phone", "in_person", "other")
NOTE_KINDS = ("coach_notes", "pre_session")
ATTENDANCE_ROLES = ("coach", "client", "observer")

PAIR = "hashtextextended(tenant_id::text || coach_id::text || client_id::text, 0)"


class Engagement(TenantRow, Base):
    """One coach works with one client for a time; while it lasts, the coach may read what is about the client.

    No two of one pair overlap. A GiST index compares ranges but, without an extension, no ids: the pair stands in it
    as the one-number range of its 64-bit hash.
    """

    __tablename__ = "engagements"
    __table_args__ = (
        tenant_fk("coach_id", "identity.users"),
        tenant_fk("client_id", "identity.users"),
        CheckConstraint("coach_id <> client_id", name="no_self_coaching"),
        CheckConstraint("ended_at IS NULL OR ended_at > started_at", name="ends_after_start"),
        Index(
            "uq_engagements_open", "tenant_id", "coach_id", "client_id",
            unique=True, postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_engagements_client_id", "tenant_id", "client_id"),
        ExcludeConstraint(
            (text(f"int8range({PAIR}, {PAIR}, '[]')"), "&&"),
            (text("tstzrange(started_at, ended_at)"), "&&"),
            name="ex_engagements_pair",
        ),
        {"schema": "coaching"},
    )  # fmt: skip

    coach_id: Mapped[UUID]
    client_id: Mapped[UUID]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CoachingSession(TenantRow, Timestamped, Base):
    """One meeting of a coach and a client (seed 001 §6.3, whose mentee is the client here).

    A trigger holds the steps of `status` and lets no coach have more sessions at a time than their availability
    allows (one, outside it), and no client two. Imported sessions name no platform, so there is no default. The
    coach's own notes are `session_notes`; `notes` is what the client wrote when booking. The meeting's password is
    ciphertext of the tenant's key. `booking_key` makes a repeated booking find the first.
    """

    __tablename__ = "coaching_sessions"
    __table_args__ = (
        tenant_fk("coach_id", "identity.users"),
        tenant_fk("client_id", "identity.users"),
        tenant_fk("cancelled_by", "identity.users"),
        tenant_fk("transaction_id", "commerce.transactions", ondelete="RESTRICT"),
        UniqueConstraint("tenant_id", "client_id", "external_id"),
        UniqueConstraint("tenant_id", "client_id", "booking_key"),
        one_of("visibility", VISIBILITIES),
        one_of("session_type", SESSION_TYPES),
        one_of("status", SESSION_STATUSES),
        one_of("payment_status", PAYMENT_STATUSES),
        CheckConstraint("coach_id <> client_id", name="no_self_coaching"),
        # A day at most: whoever looks for overlaps then looks one day back.
        CheckConstraint("duration_minutes BETWEEN 1 AND 1440", name="duration_minutes"),
        CheckConstraint("payment_amount >= 0", name="payment_amount"),
        Index("ix_coaching_sessions_coach", "tenant_id", "coach_id", "scheduled_at"),
        Index("ix_coaching_sessions_coach_status", "tenant_id", "coach_id", "status"),
        Index("ix_coaching_sessions_client", "tenant_id", "client_id", "scheduled_at"),
        Index("ix_coaching_sessions_status", "tenant_id", "status"),
        Index(
            "ix_coaching_sessions_upcoming", "tenant_id", "scheduled_at",
            postgresql_where=text("status IN ('scheduled', 'confirmed')"),
        ),
        Index(
            "ix_coaching_sessions_transaction", "tenant_id", "transaction_id",
            postgresql_where=text("transaction_id IS NOT NULL"),
        ),
        {"schema": "coaching"},
    )  # fmt: skip

    external_id: Mapped[str | None]
    booking_key: Mapped[str | None] = mapped_column(String(255))
    coach_id: Mapped[UUID]
    client_id: Mapped[UUID]
    scheduled_at: Mapped[datetime]
    duration_minutes: Mapped[int] = mapped_column(server_default=text("60"))
    timezone: Mapped[str] = mapped_column(String(50), server_default="UTC")
    session_type: Mapped[str] = mapped_column(String(20), server_default="one_on_one")
    topic: Mapped[str | None] = mapped_column(String(500))
    notes: Mapped[str | None]
    meeting_platform: Mapped[str | None] = mapped_column(String(20))
    meeting_link: Mapped[str | None] = mapped_column(String(500))
    meeting_id: Mapped[str | None] = mapped_column(String(100))
    meeting_password: Mapped[bytes | None] = encrypted()
    status: Mapped[str] = mapped_column(String(20), server_default="scheduled")
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[UUID | None]
    cancellation_reason: Mapped[str | None]
    completed_at: Mapped[datetime | None]
    action_items: Mapped[list[Any] | None]
    payment_amount: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    payment_status: Mapped[str] = mapped_column(String(20), server_default="pending")
    transaction_id: Mapped[UUID | None]
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)


class SessionNote(TenantRow, Timestamped, Audience, Base):
    """One person's notes on one session (seed 001 §6.3 `coach_notes`), apart from the session's row.

    Row-level security guards rows: what the coach writes for themself has a row and a visibility of its own
    (docs/decisions/0005). Client and coach are the session's, kept so by trigger.
    """

    __tablename__ = "session_notes"
    __table_args__ = audience_args(
        UniqueConstraint("tenant_id", "session_id", "author_id", "kind"),
        tenant_fk("session_id", "coaching.coaching_sessions", ondelete="CASCADE"),
        tenant_fk("author_id", "identity.users"),
        one_of("kind", NOTE_KINDS),
        CheckConstraint("char_length(content) BETWEEN 1 AND 50000", name="content"),
        Index("ix_session_notes_client", "tenant_id", "client_id"),
        {"schema": "coaching"},
    )

    session_id: Mapped[UUID]
    author_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(20))
    content: Mapped[str]
    visibility: Mapped[str] = mapped_column(server_default="coach_only", sort_order=80)
    client_id: Mapped[UUID] = mapped_column(sort_order=81)


class SessionAttendance(TenantRow, Base):
    """One stay of one person in one session (seed 000, store 6); who leaves and returns has two.

    `minutes` may come from the meeting's own report, so it is stored and not computed. Client and coach are the
    session's, kept so by trigger.
    """

    __tablename__ = "session_attendance"
    __table_args__ = (
        UniqueConstraint("tenant_id", "session_id", "user_id", "joined_at"),
        tenant_fk("session_id", "coaching.coaching_sessions", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users"),
        tenant_fk("client_id", "identity.users"),
        tenant_fk("coach_id", "identity.users"),
        one_of("role", ATTENDANCE_ROLES),
        CheckConstraint("left_at IS NULL OR left_at >= joined_at", name="leaves_after_joining"),
        CheckConstraint("minutes BETWEEN 0 AND 1440", name="minutes"),
        Index("ix_session_attendance_user", "tenant_id", "user_id", "joined_at"),
        {"schema": "coaching"},
    )

    session_id: Mapped[UUID]
    user_id: Mapped[UUID]
    role: Mapped[str] = mapped_column(String(20))
    joined_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    minutes: Mapped[int | None]
    client_id: Mapped[UUID]
    coach_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SessionFeedback(TenantRow, Audience, Base):
    """What a client says of one completed session, once (seed 001 §6.3).

    Client and coach are the session's, kept so by trigger; the coach's average rating follows by trigger.
    """

    __tablename__ = "session_feedback"
    __table_args__ = audience_args(
        UniqueConstraint("tenant_id", "session_id"),
        tenant_fk("session_id", "coaching.coaching_sessions", ondelete="CASCADE"),
        tenant_fk("submitted_by", "identity.users"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),
        CheckConstraint("submitted_by = client_id", name="by_the_client"),
        Index("ix_session_feedback_submitted_by", "tenant_id", "submitted_by"),
        # The average is taken from the index alone.
        Index("ix_session_feedback_coach", "tenant_id", "coach_id", postgresql_include=["rating"]),
        Index(
            "ix_session_feedback_public", "tenant_id", "is_public", "coach_id", postgresql_where=text("is_public")
        ),
        {"schema": "coaching"},
    )  # fmt: skip

    session_id: Mapped[UUID]
    submitted_by: Mapped[UUID]
    rating: Mapped[int]
    would_recommend: Mapped[bool | None]
    feedback_text: Mapped[str | None]
    highlights: Mapped[list[Any] | None]
    improvements: Mapped[list[Any] | None]
    is_public: Mapped[bool] = mapped_column(server_default=text("false"))
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)
    client_id: Mapped[UUID] = mapped_column(sort_order=81)
    coach_id: Mapped[UUID] = mapped_column(sort_order=82)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class CoachAvailability(TenantRow, Timestamped, Base):
    """Hours of one weekday at which a coach can be booked, in the coach's zone (seed 001 §6.3).

    The hours are cut into slots of `slot_minutes`, with `buffer_minutes` kept free after each. An `end_time` of
    23:59 means midnight: a day's last moment has no other name in a time of day.
    """

    __tablename__ = "coach_availability"
    __table_args__ = (
        tenant_fk("coach_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("day_of_week BETWEEN 0 AND 6", name="day_of_week"),
        CheckConstraint("start_time < end_time AND end_time < '24:00'", name="start_time"),
        CheckConstraint("effective_until IS NULL OR effective_until >= effective_from", name="effective_until"),
        CheckConstraint("max_sessions_per_slot BETWEEN 1 AND 100", name="max_sessions_per_slot"),
        CheckConstraint("slot_minutes BETWEEN 10 AND 480", name="slot_minutes"),
        CheckConstraint("buffer_minutes BETWEEN 0 AND 240", name="buffer_minutes"),
        Index("ix_coach_availability_coach", "tenant_id", "coach_id", "day_of_week"),
        Index(
            "ix_coach_availability_active", "tenant_id", "coach_id", "is_active", postgresql_where=text("is_active")
        ),
        {"schema": "coaching"},
    )  # fmt: skip

    coach_id: Mapped[UUID]
    day_of_week: Mapped[int]
    start_time: Mapped[time] = mapped_column(Time)
    end_time: Mapped[time] = mapped_column(Time)
    timezone: Mapped[str] = mapped_column(String(50))
    effective_from: Mapped[date] = mapped_column(Date)
    effective_until: Mapped[date | None] = mapped_column(Date)
    max_sessions_per_slot: Mapped[int] = mapped_column(server_default=text("1"))
    slot_minutes: Mapped[int] = mapped_column(server_default=text("60"))
    buffer_minutes: Mapped[int] = mapped_column(server_default=text("0"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))


class CoachBlockedTime(TenantRow, Base):
    """A time at which a coach can't be booked, whatever their availability says (seed 001 §6.3).

    Sessions that stand already stay; no new one may be put there. Its index by period serves look-ups by coach too.
    """

    __tablename__ = "coach_blocked_times"
    __table_args__ = (
        tenant_fk("coach_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("blocked_from < blocked_until", name="blocked_from"),
        Index("ix_coach_blocked_times_period", "tenant_id", "coach_id", "blocked_from", "blocked_until"),
        {"schema": "coaching"},
    )

    coach_id: Mapped[UUID]
    blocked_from: Mapped[datetime]
    blocked_until: Mapped[datetime]
    reason: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Rubric(TenantRow, Timestamped, Base):
    """One version of the criteria by which sessions are reviewed (seed 000, store 8).

    `criteria` is a list of {key, label, max_score, weight, description}; a review keeps the version it used.
    """

    __tablename__ = "rubrics"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name", "version"),
        tenant_fk("created_by", "identity.users", ondelete="SET NULL"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("jsonb_typeof(criteria) = 'array' AND jsonb_array_length(criteria) > 0", name="criteria"),
        {"schema": "coaching"},
    )

    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    description: Mapped[str | None]
    criteria: Mapped[list[Any]]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_by: Mapped[UUID | None]


class QaReview(TenantRow, Timestamped, Base):
    """One reviewer's judgement of one session by one rubric (seed 000, store 8), out of 100.

    Read by the reviewer, the coach and administrators, by role: there is no visibility that could let a client in.
    Client and coach are the session's, kept so by trigger.
    """

    __tablename__ = "qa_reviews"
    __table_args__ = (
        UniqueConstraint("tenant_id", "session_id", "rubric_id", "reviewer_id"),
        tenant_fk("session_id", "coaching.coaching_sessions", ondelete="CASCADE"),
        tenant_fk("rubric_id", "coaching.rubrics", ondelete="RESTRICT"),
        tenant_fk("reviewer_id", "identity.users"),
        tenant_fk("client_id", "identity.users"),
        tenant_fk("coach_id", "identity.users"),
        CheckConstraint("reviewer_id <> coach_id AND reviewer_id <> client_id", name="by_a_third"),
        CheckConstraint("jsonb_typeof(scores) = 'object'", name="scores"),
        CheckConstraint("total BETWEEN 0 AND 100", name="total"),
        Index("ix_qa_reviews_coach", "tenant_id", "coach_id", "created_at"),
        Index("ix_qa_reviews_reviewer", "tenant_id", "reviewer_id", "created_at"),
        {"schema": "coaching"},
    )

    session_id: Mapped[UUID]
    rubric_id: Mapped[UUID]
    reviewer_id: Mapped[UUID]
    scores: Mapped[dict[str, Any]]
    total: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    notes: Mapped[str | None]
    client_id: Mapped[UUID]
    coach_id: Mapped[UUID]
