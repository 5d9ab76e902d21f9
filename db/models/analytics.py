"""Schema `analytics`: what people did, as numbers; the materialised views over the rest of the store live there too."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, tenant_fk


class AnalyticsEvent(TenantRow, Base):
    """One thing a person did in the product, for counting; never shown about one person (seed 004 §2).

    Partitioned by month of `occurred_at`.
    """

    __tablename__ = "events"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("event_type ~ '^[a-z][a-z0-9_.]{1,62}$'", name="event_type"),
        CheckConstraint("octet_length(event_data::text) <= 8192", name="event_data"),
        Index("ix_events_user_id", "tenant_id", "user_id"),
        Index("ix_events_event_type", "tenant_id", "event_type", "occurred_at"),
        Index("ix_events_occurred_at", "tenant_id", "occurred_at"),
        {"schema": "analytics", "postgresql_partition_by": "RANGE (occurred_at)"},
    )

    occurred_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now())
    user_id: Mapped[UUID]
    event_type: Mapped[str] = mapped_column(String(63))
    event_data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
