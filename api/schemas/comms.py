"""Notifications, webhooks and the outbox on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.schemas.text import CleanText
from db.models.comms import TOPIC

EventName = Annotated[str, StringConstraints(max_length=100, pattern=rf"{TOPIC}|^[*]$")]
DeliveryStatus = Literal["pending", "delivered", "failed", "dead"]
OutboxState = Literal["pending", "failing", "dead", "delivered"]


class NotificationOut(BaseModel):
    """One thing you were told."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    notification_type: str = Field(serialization_alias="type")
    title: str
    message: str
    action_url: str | None
    reference_type: str | None
    reference_id: UUID | None
    actor_id: UUID | None
    is_read: bool
    read_at: datetime | None
    delivery_method: str
    delivered: bool = Field(description="whether it went the way it was meant to go")
    delivery_error: str | None = Field(description="why it stayed in the app although another way was wanted")
    created_at: datetime
    expires_at: datetime | None


class NotificationPage(BaseModel):
    """Notifications, the newest first."""

    items: list[NotificationOut]
    next_cursor: str | None = Field(None, description="send it as `cursor` for what follows; null at the end")
    unread: int = Field(description="how many you have not read, of all types")


class MarkReadIn(BaseModel):
    """Which notifications you have read: these, or all up to a moment."""

    model_config = ConfigDict(extra="forbid")

    ids: list[UUID] | None = Field(None, min_length=1, max_length=200)
    until: datetime | None = Field(None, description="all made up to this moment")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.ids is None) == (self.until is None):
            raise ValueError("give either ids or until")
        if self.until is not None and self.until.tzinfo is None:
            raise ValueError("until needs a time zone, such as 2026-03-01T12:00:00Z")
        return self


class MarkReadOut(BaseModel):
    """How many changed."""

    marked: int
    unread: int


class WebhookIn(BaseModel):
    """An address to tell of events."""

    model_config = ConfigDict(extra="forbid")

    url: CleanText = Field(min_length=1, max_length=2000, description="https:// address of a public host")
    events: list[EventName] = Field(min_length=1, max_length=100, description="topics, or `*` for all")
    description: CleanText | None = Field(None, max_length=500)


class WebhookPatch(BaseModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: CleanText | None = Field(None, min_length=1, max_length=2000)
    events: list[EventName] | None = Field(None, min_length=1, max_length=100)
    description: CleanText | None = Field(None, max_length=500)
    is_active: bool | None = Field(None, description="enabling forgets its failures")
    rotate_secret: bool = Field(False, description="return a new secret; the old one signs as well for 24 hours")


class WebhookOut(BaseModel):
    """One webhook and how it does."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    url: str
    description: str | None
    events: list[str]
    is_active: bool
    failure_count: int = Field(description="failed attempts since the last success")
    failing_since: datetime | None
    last_success_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    previous_secret_until: datetime | None = Field(description="until when the replaced secret signs as well")
    created_by: UUID | None
    created_at: datetime


class WebhookMade(WebhookOut):
    """A webhook with its secret, which is shown only when it is made."""

    secret: str | None = Field(None, description="verify `webhook-signature` with it; shown this once")


class DeliveryOut(BaseModel):
    """One event on its way to one webhook."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="the `webhook-id` header")
    topic: str
    payload: dict[str, Any]
    occurred_at: datetime
    status: DeliveryStatus = Field(description="failed is tried again, dead is not unless replayed")
    attempts: int
    next_attempt_at: datetime | None
    last_status_code: int | None
    last_error: str | None
    response_ms: int | None
    delivered_at: datetime | None
    created_at: datetime


class ReplayIn(BaseModel):
    """Which deliveries to send again: one that ended, or all that were given up since a moment."""

    model_config = ConfigDict(extra="forbid")

    delivery_id: UUID | None = None
    since: datetime | None = Field(None, description="given up since then; with neither field, all given up")

    @model_validator(mode="after")
    def _clear(self) -> Self:
        if self.delivery_id is not None and self.since is not None:
            raise ValueError("give delivery_id or since, not both")
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("since needs a time zone, such as 2026-03-01T12:00:00Z")
        return self


class ReplayOut(BaseModel):
    """How many are on their way again."""

    replayed: int


class OutboxOut(BaseModel):
    """One message to the outside."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    topic: str
    key: str | None
    payload: dict[str, Any]
    created_at: datetime
    available_at: datetime = Field(description="when it is due, or due again should its handler die")
    attempts: int
    last_error: str | None
    delivered_at: datetime | None
    dead_at: datetime | None


class OutboxPage(BaseModel):
    """Messages, the newest first, with the counts of all."""

    items: list[OutboxOut]
    next_cursor: str | None = None
    pending: int = Field(description="waiting or under way")
    failing: int = Field(description="of those, how many failed before")
    dead: int = Field(description="given up; replay them once the cause is gone")
