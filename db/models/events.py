"""Schema `events`: masterclasses, webinars and conferences, their tickets, and who comes."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Numeric, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, encrypted, one_of, tenant_fk

LOCATION_TYPES = ("virtual", "physical", "hybrid")
EVENT_STATUSES = ("draft", "published", "in_progress", "completed", "cancelled")
REGISTRATION_STATUSES = (
    "registered", "waitlisted", "cancelled", "attended", "no_show", "pending_payment", "pending_approval",
)  # fmt: skip
SEATED = ("registered", "attended", "no_show", "pending_payment")
"""Registrations that take a seat, and one of their ticket's quantity: what the counters count."""


class Event(TenantRow, Timestamped, Base):
    """One event of the tenant (seed 001 §6.6); how to get in stands in `event_access`, for those who may.

    A trigger keeps `registration_count` (seats taken) and `attendance_count`; the checks on them hold the capacity
    whoever writes. 001's index of upcoming events asks for the time, so the one on dates serves both.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        tenant_fk("organizer_id", "identity.users"),
        one_of("location_type", LOCATION_TYPES),
        one_of("status", EVENT_STATUSES),
        CheckConstraint("end_date >= event_date", name="end_date"),
        CheckConstraint("duration_minutes > 0", name="duration_minutes"),
        CheckConstraint("registration_closes_at > registration_opens_at", name="registration_window"),
        CheckConstraint("attendance_count BETWEEN 0 AND registration_count", name="attendance_count"),
        CheckConstraint("registration_count <= capacity_limit", name="capacity"),
        Index("ix_events_organizer", "tenant_id", "organizer_id"),
        Index("ix_events_date", "tenant_id", "event_date", "id", postgresql_where=text("status = 'published'")),
        Index("ix_events_status", "tenant_id", "status"),
        {"schema": "events"},
    )

    title: Mapped[str] = mapped_column(String(500))
    slug: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    agenda: Mapped[str | None]
    event_date: Mapped[datetime]
    end_date: Mapped[datetime | None]
    timezone: Mapped[str] = mapped_column(String(50))
    duration_minutes: Mapped[int | None]
    location_type: Mapped[str] = mapped_column(String(20))
    physical_address: Mapped[str | None]
    virtual_platform: Mapped[str | None] = mapped_column(String(50))
    organizer_id: Mapped[UUID]
    co_organizers: Mapped[list[Any] | None]
    speakers: Mapped[list[Any] | None]
    capacity_limit: Mapped[int | None]
    registration_count: Mapped[int] = mapped_column(server_default=text("0"))
    attendance_count: Mapped[int] = mapped_column(server_default=text("0"))
    banner_image_url: Mapped[str | None] = mapped_column(String(500))
    status: Mapped[str] = mapped_column(String(20), server_default="draft")
    is_featured: Mapped[bool] = mapped_column(server_default=text("false"))
    registration_opens_at: Mapped[datetime | None]
    registration_closes_at: Mapped[datetime | None]
    requires_approval: Mapped[bool] = mapped_column(server_default=text("false"))
    meta_description: Mapped[str | None]
    published_at: Mapped[datetime | None]


class EventAccess(TenantScoped, Base):
    """How one event is entered: read by its organisers and those with a seat only (columns of seed 001's events).

    The password is ciphertext of the tenant's key.
    """

    __tablename__ = "event_access"
    __table_args__ = (tenant_fk("event_id", "events.events", ondelete="CASCADE"), {"schema": "events"})

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    virtual_link: Mapped[str | None] = mapped_column(String(500))
    meeting_id: Mapped[str | None] = mapped_column(String(100))
    meeting_password: Mapped[bytes | None] = encrypted("event_id")
    recording_url: Mapped[str | None] = mapped_column(String(500))


class EventTicket(TenantRow, Base):
    """One tier of tickets of one event (seed 001 §6.6); a trigger keeps `quantity_sold`."""

    __tablename__ = "event_tickets"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id", "event_id"),
        tenant_fk("event_id", "events.events", ondelete="CASCADE"),
        CheckConstraint("price >= 0", name="price"),
        CheckConstraint("quantity_sold >= 0 AND quantity_sold <= quantity_available", name="quantity"),
        CheckConstraint("sale_ends_at > sale_starts_at", name="sale_window"),
        Index("ix_event_tickets_event", "tenant_id", "event_id"),
        Index("ix_event_tickets_active", "tenant_id", "event_id", "is_active", postgresql_where=text("is_active")),
        {"schema": "events"},
    )

    event_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None]
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    quantity_available: Mapped[int | None]
    quantity_sold: Mapped[int] = mapped_column(server_default=text("0"))
    sale_starts_at: Mapped[datetime | None]
    sale_ends_at: Mapped[datetime | None]
    perks: Mapped[list[Any] | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class EventRegistration(TenantRow, Base):
    """One person's place at one event, held, waited for or given up (seed 001 §6.6).

    Two states more than 001 has: `pending_payment` holds a seat until `held_until`, `pending_approval` holds none.
    """

    __tablename__ = "event_registrations"
    __table_args__ = (
        UniqueConstraint("tenant_id", "event_id", "user_id"),
        UniqueConstraint("tenant_id", "ticket_code"),
        UniqueConstraint("tenant_id", "transaction_id"),
        tenant_fk("event_id", "events.events"),
        tenant_fk(("ticket_id", "event_id"), "events.event_tickets(id, event_id)"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("transaction_id", "commerce.transactions", ondelete="RESTRICT"),
        tenant_fk("checked_in_by", "identity.users", ondelete="SET NULL"),
        one_of("status", REGISTRATION_STATUSES),
        CheckConstraint("amount_paid >= 0", name="amount_paid"),
        CheckConstraint("checked_in = (checked_in_at IS NOT NULL)", name="checked_in_at"),
        CheckConstraint("(status = 'pending_payment') = (held_until IS NOT NULL)", name="held_until"),
        Index("ix_event_registrations_user", "tenant_id", "user_id", "registration_date"),
        Index("ix_event_registrations_status", "tenant_id", "event_id", "status", "registration_date"),
        Index(
            "ix_event_registrations_held", "tenant_id", "held_until", postgresql_where=text("held_until IS NOT NULL")
        ),
        {"schema": "events"},
    )  # fmt: skip

    event_id: Mapped[UUID]
    ticket_id: Mapped[UUID | None]
    user_id: Mapped[UUID]
    registration_date: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    status: Mapped[str] = mapped_column(String(20), server_default="registered")
    held_until: Mapped[datetime | None]
    amount_paid: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    transaction_id: Mapped[UUID | None]
    ticket_code: Mapped[str | None] = mapped_column(String(100))
    qr_code_url: Mapped[str | None] = mapped_column(String(500))
    checked_in: Mapped[bool] = mapped_column(server_default=text("false"))
    checked_in_at: Mapped[datetime | None]
    checked_in_by: Mapped[UUID | None]
    cancelled_at: Mapped[datetime | None]
    cancellation_reason: Mapped[str | None]
    refund_issued: Mapped[bool] = mapped_column(server_default=text("false"))
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
