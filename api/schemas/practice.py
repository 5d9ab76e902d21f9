"""Engagements, sessions and what is kept of them, on the wire."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict

SessionStatus = Literal["scheduled", "confirmed", "in_progress", "completed", "cancelled", "no_show"]
SessionKind = Literal["one_on_one", "group", "discovery_call"]
Platform = Literal["zoom", "google_meet", "teams", "phone", "in_person", "other"]
ZoneName = Annotated[CleanText, Field(min_length=1, max_length=50, description="such as Europe/Berlin")]
NoteText = Annotated[CleanText, Field(min_length=1, max_length=50_000)]
Phrase = Annotated[CleanText, Field(min_length=1, max_length=200)]


class EngagementIn(Strict):
    """Who works with whom, from when until when."""

    coach_id: UUID
    client_id: UUID
    started_at: AwareDatetime | None = Field(None, description="now if not given; may lie ahead")
    ended_at: AwareDatetime | None = Field(None, description="open if not given")


class EngagementOut(Stored):
    """One coach works with one client for a time."""

    id: UUID
    coach_id: UUID
    client_id: UUID
    started_at: datetime
    ended_at: datetime | None
    created_at: datetime


class BookingIn(Strict):
    """Which time to book with whom; a client books for themself, a coach with themself."""

    coach_id: UUID | None = Field(None, description="needed unless you are the coach")
    client_id: UUID | None = Field(None, description="needed unless you are the client")
    scheduled_at: AwareDatetime = Field(description="when a free slot of the coach begins")
    timezone: ZoneName = "UTC"
    session_type: SessionKind = "one_on_one"
    topic: Annotated[CleanText, Field(max_length=500)] | None = None
    notes: Annotated[CleanText, Field(max_length=10_000, description="what the coach should know before")] | None = None
    duration_minutes: int | None = Field(None, ge=10, le=480, description="the slot's length if not given")
    platform: Platform | None = None


class RescheduleIn(Strict):
    """Where the session moves to."""

    scheduled_at: AwareDatetime
    timezone: ZoneName | None = None


class CancelIn(Strict):
    """Why the session is called off."""

    reason: Annotated[CleanText, Field(max_length=1_000)] | None = None


class TaskIn(Strict):
    """One thing somebody agreed to do."""

    item: Annotated[CleanText, Field(min_length=1, max_length=500)]
    due_date: date | None = None


class TasksIn(Strict):
    """Action items to add."""

    items: list[TaskIn] = Field(min_length=1, max_length=50)


class TaskMark(Strict):
    """How far an action item is."""

    status: Literal["open", "done", "dropped"]


class TaskOut(BaseModel):
    """One action item of a session."""

    model_config = ConfigDict(extra="ignore")

    id: UUID | None = None
    item: str
    due_date: date | None = None
    status: str = "open"


class CompletionIn(Strict):
    """What came of the session."""

    coach_notes: NoteText | None = Field(None, description="only coaches read them")
    action_items: list[TaskIn] = Field([], max_length=50)


class MeetingIn(Strict):
    """Where the session is held."""

    platform: Platform | None = None
    link: Annotated[CleanText, Field(max_length=500, pattern=r"^https://\S+$")] | None = None
    meeting_id: Annotated[CleanText, Field(max_length=100)] | None = None
    password: Annotated[CleanText, Field(min_length=1, max_length=100)] | None = None


class SessionOut(Stored):
    """One session of a coach and a client."""

    id: UUID
    coach_id: UUID
    client_id: UUID
    scheduled_at: datetime
    duration_minutes: int
    timezone: str
    session_type: str
    topic: str | None
    notes: str | None
    status: str
    meeting_platform: str | None
    cancelled_at: datetime | None
    cancelled_by: UUID | None
    cancellation_reason: str | None
    completed_at: datetime | None
    action_items: list[TaskOut] | None
    payment_amount: Decimal | None
    currency: str
    payment_status: str
    transaction_id: UUID | None
    created_at: datetime
    updated_at: datetime


class SessionDetail(SessionOut):
    """One session, with what its own client and coach need to meet."""

    meeting_link: str | None = None
    meeting_id: str | None = None
    meeting_password: str | None = None


class NoteIn(Strict):
    """What to note on the session."""

    content: NoteText
    visibility: Literal["client_visible", "coach_only"] | None = Field(
        None, description="for coaches; coach_only if not given"
    )


class NoteOut(Stored):
    """One person's note on one session."""

    id: UUID
    session_id: UUID
    author_id: UUID
    kind: str
    content: str
    visibility: str
    created_at: datetime
    updated_at: datetime


class AttendanceIn(Strict):
    """Who was there, from when until when."""

    user_id: UUID
    joined_at: AwareDatetime
    left_at: AwareDatetime | None = None
    minutes: int | None = Field(None, ge=0, le=1440, description="counted from the two moments if not given")


class AttendanceOut(Stored):
    """One stay of one person in one session."""

    id: UUID
    session_id: UUID
    user_id: UUID
    role: str
    joined_at: datetime
    left_at: datetime | None
    minutes: int | None


class FeedbackIn(Strict):
    """How the session was."""

    rating: int = Field(ge=1, le=5)
    would_recommend: bool | None = None
    feedback_text: Annotated[CleanText, Field(max_length=5_000)] | None = None
    highlights: list[Phrase] = Field([], max_length=20)
    improvements: list[Phrase] = Field([], max_length=20)
    is_public: bool = Field(False, description="rating, text and highlights may be shown, without your name")


class FeedbackMark(Strict):
    """Whether the feedback may be shown."""

    is_public: bool


class FeedbackOut(Stored):
    """What a client said of a session."""

    id: UUID
    session_id: UUID
    rating: int
    would_recommend: bool | None
    feedback_text: str | None
    highlights: list[str] | None
    improvements: list[str] | None
    is_public: bool
    created_at: datetime
