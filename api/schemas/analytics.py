"""What dashboards and reports look like over the wire."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field


class DashboardOut(BaseModel):
    """The organisation at a glance."""

    users: int
    new_users_30d: int
    active_users_7d: int
    revenue_monthly: dict[str, Decimal] = Field(description="payments less refunds of the last month, by currency")
    active_enrollments: int
    sessions_30d: int = Field(description="sessions held in the last 30 days")
    computed_at: datetime = Field(description="when these figures were counted; they are renewed every hour")


class ProgramFiguresOut(BaseModel):
    """How one program does; averages of fewer than five people are null."""

    program_id: UUID
    title: str
    category: str | None
    enrollment_count: int
    completion_rate: Decimal | None = Field(description="share of enrolments completed, 0 to 1")
    average_progress: Decimal | None = Field(description="percent")
    avg_rating: Decimal | None
    computed_at: datetime


class CoachingMonthOut(BaseModel):
    """One month of coaching; an average of what fewer than five clients did or said is null."""

    month: date
    sessions_completed: int
    sessions_cancelled: int
    sessions_missed: int
    clients: int
    coaches: int
    average_minutes: Decimal | None
    avg_rating: Decimal | None


class AnswerDayOut(BaseModel):
    """One day (UTC) of the assistant; times in milliseconds."""

    day: date
    runs: int
    users: int
    answered: int
    refused: int
    failed: int
    p50_ms: int | None
    p95_ms: int | None


class EventIn(BaseModel):
    """One thing the caller did."""

    event_type: str = Field(pattern=r"^[a-z][a-z0-9_.]{1,62}$", examples=["lesson.opened"])
    occurred_at: AwareDatetime | None = Field(None, description="unset: now")
    event_data: dict[str, Any] = Field(default_factory=dict, description="details, at most 8 kB; no personal words")


class EventsIn(BaseModel):
    """Events in one request."""

    events: list[EventIn] = Field(min_length=1, max_length=100)


class EventsStored(BaseModel):
    """How many were stored."""

    stored: int
