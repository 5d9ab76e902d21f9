"""Coaches, their hours and their free slots, on the wire."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, model_validator

from api.schemas.practice import ZoneName
from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict


def whole_minute(given: time) -> time:
    """Return a wall-clock time of whole minutes and no zone: the zone is said beside it."""
    if given.tzinfo is not None or given.second or given.microsecond:
        raise ValueError("give hours and minutes, such as 09:30")
    return given


WallTime = Annotated[time, AfterValidator(whole_minute)]


class HoursIn(Strict):
    """Hours of one weekday at which a coach can be booked."""

    coach_id: UUID | None = Field(None, description="for administrators; a coach's own if not given")
    day_of_week: int = Field(ge=0, le=6, description="0 is Sunday")
    start_time: WallTime
    end_time: WallTime = Field(description="23:59 means midnight")
    timezone: ZoneName
    effective_from: date
    effective_until: date | None = None
    max_sessions_per_slot: int = Field(1, ge=1, le=100)
    slot_minutes: int = Field(60, ge=10, le=480)
    buffer_minutes: int = Field(0, ge=0, le=240, description="kept free after each slot")
    is_active: bool = True


class HoursPatch(Strict):
    """What to change of hours; what is left out stays."""

    day_of_week: int | None = Field(None, ge=0, le=6)
    start_time: WallTime | None = None
    end_time: WallTime | None = None
    timezone: ZoneName | None = None
    effective_from: date | None = None
    effective_until: date | None = Field(None, description="null opens the end again")
    max_sessions_per_slot: int | None = Field(None, ge=1, le=100)
    slot_minutes: int | None = Field(None, ge=10, le=480)
    buffer_minutes: int | None = Field(None, ge=0, le=240)
    is_active: bool | None = None

    @model_validator(mode="after")
    def _only_the_end_is_open(self) -> Self:
        empty = [name for name in self.model_fields_set - {"effective_until"} if getattr(self, name) is None]
        if empty:
            raise ValueError(f"{', '.join(sorted(empty))} can't be null; leave it out to keep it")
        return self


class HoursOut(Stored):
    """Hours of one weekday at which a coach can be booked."""

    id: UUID
    coach_id: UUID
    day_of_week: int
    start_time: time
    end_time: time
    timezone: str
    effective_from: date
    effective_until: date | None
    max_sessions_per_slot: int
    slot_minutes: int
    buffer_minutes: int
    is_active: bool
    created_at: datetime
    updated_at: datetime


class BlockIn(Strict):
    """A time at which a coach can't be booked."""

    coach_id: UUID | None = Field(None, description="for administrators; a coach's own if not given")
    blocked_from: AwareDatetime
    blocked_until: AwareDatetime
    reason: Annotated[CleanText, Field(max_length=500)] | None = Field(None, description="clients never see it")


class BlockOut(Stored):
    """A time at which a coach can't be booked."""

    id: UUID
    coach_id: UUID
    blocked_from: datetime
    blocked_until: datetime
    reason: str | None
    created_at: datetime


class CoachOut(Stored):
    """A coach, as the directory shows them."""

    user_id: UUID
    display_name: str
    tagline: str | None
    bio: str | None
    location: dict[str, Any] | None
    skills: list[Any] | None
    coaching_specialties: list[Any] | None
    profile_photo_url: str | None
    hourly_rate: Decimal | None
    currency: str
    availability_status: str | None
    average_rating: Decimal | None
    rating_count: int
    completed_session_count: int


class SlotOut(BaseModel):
    """A time at which the coach can be booked."""

    starts_at: datetime = Field(description="in the zone asked for")
    ends_at: datetime
    seats: int = Field(description="how many sessions more fit into it")


class TestimonialOut(Stored):
    """What a client lets everyone read of a coach; who said it is not told."""

    id: UUID
    rating: int
    feedback_text: str | None
    highlights: list[str] | None
    created_at: datetime
