"""Events, tickets and registrations on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, field_validator

from api.schemas.users import Code, Currency, LineText, LongText, Name, ShortText, Stored, Strict, WebAddress

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", min_length=3, max_length=200)]
Moment = Annotated[datetime, Field(description="with its offset from UTC")]
LocationType = Literal["virtual", "physical", "hybrid"]
EventStatus = Literal["draft", "published", "in_progress", "completed", "cancelled"]
RegistrationStatus = Literal[
    "registered", "waitlisted", "cancelled", "attended", "no_show", "pending_payment", "pending_approval"
]


class Speaker(Strict):
    """Who speaks at an event."""

    user_id: UUID | None = None
    name: LineText
    bio: Annotated[LongText, Field(max_length=2_000)] | None = None
    photo_url: WebAddress | None = None


class EventPatch(Strict):
    """What to change of an event; what is left out stays."""

    title: Name = ""
    slug: Slug = ""
    description: LongText | None = None
    agenda: LongText | None = None
    event_date: Moment = Field(default=None)  # type: ignore[assignment]  # never written: what is unset stays
    end_date: Moment | None = None
    timezone: Annotated[str, Field(max_length=50, description="a name of the IANA database")] = "Africa/Nairobi"
    duration_minutes: Annotated[int, Field(gt=0, le=100_000)] | None = None
    location_type: LocationType = "virtual"
    physical_address: Annotated[LongText, Field(max_length=1_000)] | None = None
    virtual_platform: Annotated[ShortText, Field(max_length=50)] | None = None
    co_organizers: Annotated[list[UUID], Field(max_length=20)] | None = None
    speakers: Annotated[list[Speaker], Field(max_length=50)] | None = None
    capacity_limit: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    banner_image_url: WebAddress | None = None
    registration_opens_at: Moment | None = None
    registration_closes_at: Moment | None = None
    requires_approval: bool = False
    meta_description: Annotated[LongText, Field(max_length=500)] | None = None
    virtual_link: WebAddress | None = Field(None, description="shown to organisers and those with a seat only")
    meeting_id: ShortText | None = Field(None, description="as the link")
    meeting_password: ShortText | None = Field(None, description="as the link; stored encrypted")
    recording_url: WebAddress | None = Field(None, description="as the link")

    @field_validator("event_date", "end_date", "registration_opens_at", "registration_closes_at")
    @classmethod
    def _has_offset(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("give the moment with its offset from UTC")
        return value

    def list_changes(self) -> dict[str, Any]:
        """Return the columns that were given, fit for the store."""
        changes = self.model_dump(exclude_unset=True)
        json = self.model_dump(mode="json", exclude_unset=True)
        return changes | {name: json[name] for name in ("co_organizers", "speakers") if name in json}


class EventIn(EventPatch):
    """An event to draft."""

    title: Name
    slug: Slug
    event_date: Moment
    location_type: LocationType


class EventOut(Stored):
    """One event as everyone sees it."""

    id: UUID
    title: str
    slug: str
    description: str | None
    agenda: str | None
    event_date: datetime
    end_date: datetime | None
    timezone: str
    duration_minutes: int | None
    location_type: str
    physical_address: str | None
    virtual_platform: str | None
    organizer_id: UUID
    co_organizers: list[UUID] | None
    speakers: list[Speaker] | None
    capacity_limit: int | None
    registration_count: int
    attendance_count: int
    banner_image_url: str | None
    status: str
    is_featured: bool
    registration_opens_at: datetime | None
    registration_closes_at: datetime | None
    requires_approval: bool
    meta_description: str | None
    published_at: datetime | None


class AccessOut(Stored):
    """How to get in, for organisers and those with a seat."""

    virtual_link: str | None
    meeting_id: str | None
    meeting_password: str | None = None
    recording_url: str | None


class TicketPatch(Strict):
    """What to change of a tier of tickets; what is left out stays."""

    name: Code = "General"
    description: Annotated[LongText, Field(max_length=2_000)] | None = None
    price: Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)] = Decimal(0)
    currency: Currency = "USD"
    quantity_available: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    sale_starts_at: Moment | None = None
    sale_ends_at: Moment | None = None
    perks: Annotated[list[ShortText], Field(max_length=30)] | None = None
    is_active: bool = True

    @field_validator("sale_starts_at", "sale_ends_at")
    @classmethod
    def _has_offset(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("give the moment with its offset from UTC")
        return value


class TicketIn(TicketPatch):
    """A tier of tickets to offer."""

    name: Code
    price: Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
    currency: Currency


class TicketOut(Stored):
    """One tier of tickets."""

    id: UUID
    event_id: UUID
    name: str
    description: str | None
    price: Decimal
    currency: str
    quantity_available: int | None
    quantity_sold: int
    sale_starts_at: datetime | None
    sale_ends_at: datetime | None
    perks: list[str] | None
    is_active: bool


class RegistrationIn(Strict):
    """A seat to ask for."""

    ticket_id: UUID | None = Field(None, description="needed where the event has tickets")
    payment_method: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{2,30}$")] = "card"
    metadata: Annotated[dict[ShortText, Annotated[ShortText, Field(max_length=1_000)]], Field(max_length=30)] | None = (
        Field(None, description="answers to the organisers' own questions")
    )


class RegistrationOut(Stored):
    """One person's place at an event."""

    id: UUID
    event_id: UUID
    user_id: UUID
    ticket_id: UUID | None
    status: str
    registration_date: datetime
    position: int | None = Field(None, description="place on the waiting list, 1 for the next")
    held_until: datetime | None = Field(description="until when the seat waits for its payment")
    transaction_id: UUID | None = Field(description="the payment to complete, or that was made")
    amount_paid: Decimal | None
    ticket_code: str | None
    checked_in_at: datetime | None
    cancelled_at: datetime | None
    refund_issued: bool


class VisitOut(EventOut):
    """One event as the caller sees it."""

    spots_remaining: int | None = Field(description="null: no limit")
    tickets: list[TicketOut]
    registration: RegistrationOut | None
    access: AccessOut | None


class CancelIn(Strict):
    """Why a seat or event is given up."""

    reason: Annotated[LongText, Field(max_length=1_000)] | None = None


class CheckInIn(Strict):
    """A ticket's code, as it is shown at the door."""

    ticket_code: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9-]{4,100}$", to_upper=True, strip_whitespace=True)
    ]
