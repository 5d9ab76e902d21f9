"""Schema `comms`: what people and other systems are told, and the outbox that makes sure they are."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, String, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, encrypted, one_of, tenant_fk

DELIVERY_METHODS = ("in_app", "email", "sms", "push")
DELIVERY_STATES = ("pending", "delivered", "failed", "dead")

TOPIC = "^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$"
"""What a topic looks like: `enrollment.created`."""

PENDING = "delivered_at IS NULL AND dead_at IS NULL"


class Notification(TenantRow, Base):
    """One thing one person is told, kept for 90 days (seed 001 §6.7).

    Partitioned by month of `created_at`. `delivery_error` says in one sentence why it stayed in the app although
    another way was wanted; in the app it is readable from the start, whatever the way.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("actor_id", "identity.users", ondelete="SET NULL"),
        one_of("delivery_method", DELIVERY_METHODS),
        CheckConstraint("is_read = (read_at IS NOT NULL)", name="read"),
        CheckConstraint("delivered = (delivered_at IS NOT NULL)", name="delivered"),
        Index("ix_notifications_user", "tenant_id", "user_id", "is_read", "created_at"),
        Index(
            "ix_notifications_unread", "tenant_id", "user_id", "created_at",
            postgresql_where=text("is_read = false"),
        ),
        Index(
            "ix_notifications_delivery", "tenant_id", "delivery_method", "delivered",
            postgresql_where=text("delivered = false"),
        ),
        {"schema": "comms", "postgresql_partition_by": "RANGE (created_at)"},
    )  # fmt: skip

    created_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now())
    user_id: Mapped[UUID]
    notification_type: Mapped[str] = mapped_column(String(50))
    title: Mapped[str] = mapped_column(String(255))
    message: Mapped[str]
    action_url: Mapped[str | None] = mapped_column(String(500))
    reference_type: Mapped[str | None] = mapped_column(String(30))
    reference_id: Mapped[UUID | None]
    actor_id: Mapped[UUID | None]
    is_read: Mapped[bool] = mapped_column(server_default=text("false"))
    read_at: Mapped[datetime | None]
    delivery_method: Mapped[str] = mapped_column(String(20), server_default="in_app")
    delivered: Mapped[bool] = mapped_column(server_default=text("false"))
    delivered_at: Mapped[datetime | None]
    delivery_error: Mapped[str | None]
    expires_at: Mapped[datetime | None]


class NotificationKey(TenantScoped, Base):
    """One event one person was told of, so that telling again makes no second notification (seed 001 §8.5).

    A table of its own, because a unique key of the partitioned notifications would have to hold their time.
    """

    __tablename__ = "notification_keys"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        Index("ix_notification_keys_created_at", "tenant_id", "created_at"),
        {"schema": "comms"},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    deduplication_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    notification_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Outbox(TenantRow, Base):
    """One message that another transaction's commit promised to somebody outside it (seed 003's outbox).

    `payload` holds ids and closed vocabulary, no words of a person. A message is due from `available_at` on; claiming
    it moves that to the end of the claimant's lease, so a claimant that dies delays it and loses nothing. Messages of
    one `key` leave in the order of their ids.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint(f"topic ~ '{TOPIC}'", name="topic"),
        CheckConstraint("num_nonnulls(delivered_at, dead_at) <= 1", name="one_end"),
        CheckConstraint("octet_length(payload::text) <= 8192", name="payload"),
        Index("ix_outbox_due", "tenant_id", "available_at", "id", postgresql_where=text(PENDING)),
        Index("ix_outbox_key", "tenant_id", "key", "id", postgresql_where=text(f"key IS NOT NULL AND {PENDING}")),
        Index("ix_outbox_dead", "tenant_id", "dead_at", postgresql_where=text("dead_at IS NOT NULL")),
        Index("ix_outbox_delivered", "tenant_id", "delivered_at", postgresql_where=text("delivered_at IS NOT NULL")),
        Index("ix_outbox_created_at", "tenant_id", "created_at", "id"),
        {"schema": "comms"},
    )

    topic: Mapped[str] = mapped_column(String(100))
    key: Mapped[str | None] = mapped_column(String(200))
    payload: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    available_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_by: Mapped[UUID | None]
    last_error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]


class Webhook(TenantRow, Timestamped, Base):
    """One address of another system that is told of the events it asked for (seed 003's outbound webhooks).

    `events` are topics, or `*` for all. The secrets are encrypted with the tenant's key; while a rotation lasts, the
    previous one signs as well. `failure_count` counts deliveries that were given up or refused since the last success,
    `failing_since` says when that began.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        tenant_fk("created_by", "identity.users", ondelete="SET NULL"),
        CheckConstraint("cardinality(events) BETWEEN 1 AND 100", name="events"),
        CheckConstraint("is_active = (disabled_at IS NULL)", name="disabled"),
        CheckConstraint("(previous_secret IS NULL) = (previous_secret_until IS NULL)", name="rotation"),
        Index("ix_webhooks_active", "tenant_id", postgresql_where=text("is_active")),
        Index("ix_webhooks_created_at", "tenant_id", "created_at"),
        {"schema": "comms"},
    )

    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str | None] = mapped_column(String(500))
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    secret: Mapped[bytes] = encrypted()
    previous_secret: Mapped[bytes | None] = encrypted()
    previous_secret_until: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_by: Mapped[UUID | None]
    failure_count: Mapped[int] = mapped_column(server_default=text("0"))
    failing_since: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]


class WebhookDelivery(TenantRow, Timestamped, Base):
    """One event on its way to one webhook; the outbox drives its attempts, this row tells how they went.

    Its id is the `webhook-id` header, the same at every attempt, by which the receiver knows a repetition. `failed`
    will be tried again at `next_attempt_at`, `dead` only when an administrator replays it.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        tenant_fk("webhook_id", "comms.webhooks", ondelete="CASCADE"),
        # the event's own row may be cleared away before its deliveries, so no foreign key
        UniqueConstraint("tenant_id", "webhook_id", "outbox_id"),
        one_of("status", DELIVERY_STATES),
        CheckConstraint("(status = 'delivered') = (delivered_at IS NOT NULL)", name="delivered"),
        CheckConstraint("response_ms >= 0", name="response_ms"),
        Index("ix_webhook_deliveries_webhook", "tenant_id", "webhook_id", "created_at", "id"),
        Index("ix_webhook_deliveries_dead", "tenant_id", "webhook_id", postgresql_where=text("status = 'dead'")),
        {"schema": "comms"},
    )

    webhook_id: Mapped[UUID]
    outbox_id: Mapped[UUID]
    topic: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(20), server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime | None]
    last_status_code: Mapped[int | None]
    last_error: Mapped[str | None]
    response_ms: Mapped[int | None]
    delivered_at: Mapped[datetime | None]
