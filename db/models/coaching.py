"""Schema `coaching`: who coaches whom, and their sessions."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Numeric, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import VISIBILITIES, Base, TenantRow, Timestamped, one_of, tenant_fk


class Engagement(TenantRow, Base):
    """One coach works with one client for a time; while it lasts, the coach may read what is about the client."""

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
        {"schema": "coaching"},
    )  # fmt: skip

    coach_id: Mapped[UUID]
    client_id: Mapped[UUID]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CoachingSession(TenantRow, Timestamped, Base):
    """One meeting of a coach and a client (seed 001 §6.3, whose mentee is the client here)."""

    __tablename__ = "coaching_sessions"
    __table_args__ = (
        tenant_fk("coach_id", "identity.users"),
        tenant_fk("client_id", "identity.users"),
        tenant_fk("cancelled_by", "identity.users"),
        UniqueConstraint("tenant_id", "client_id", "external_id"),
        one_of("visibility", VISIBILITIES),
        one_of("session_type", ("one_on_one", "group", "discovery_call")),
        one_of("status", ("scheduled", "confirmed", "in_progress", "completed", "cancelled", "no_show")),
        one_of("payment_status", ("pending", "paid", "refunded", "cancelled")),
        CheckConstraint("coach_id <> client_id", name="no_self_coaching"),
        Index("ix_coaching_sessions_coach", "tenant_id", "coach_id", "scheduled_at"),
        Index("ix_coaching_sessions_client", "tenant_id", "client_id", "scheduled_at"),
        Index("ix_coaching_sessions_status", "tenant_id", "status"),
        {"schema": "coaching"},
    )

    external_id: Mapped[str | None]
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
    meeting_password: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20), server_default="scheduled")
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[UUID | None]
    cancellation_reason: Mapped[str | None]
    completed_at: Mapped[datetime | None]
    action_items: Mapped[list[Any] | None]
    payment_amount: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    payment_status: Mapped[str] = mapped_column(String(20), server_default="pending")
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)
