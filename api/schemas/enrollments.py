"""Enrolments, progress and certificates on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas.text import CleanText
from domain.progress import LARGEST_BATCH, Outcome, ProgressMessage

EnrollmentStatus = Literal["active", "completed", "dropped", "suspended"]


class EnrollmentIn(BaseModel):
    """Who takes the program; an empty object is you."""

    model_config = ConfigDict(extra="forbid")

    user_id: UUID | None = Field(None, description="whom an administrator gives a scholarship; left out: you")


class EnrollmentOut(BaseModel):
    """One person takes one program."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    program_id: UUID
    status: EnrollmentStatus
    payment_type: Literal["subscription", "one_time", "scholarship", "free"] | None
    enrollment_date: datetime
    last_accessed_at: datetime | None
    progress_percent: int
    completed_lessons: int
    lesson_total: int
    current_module_id: UUID | None
    current_lesson_id: UUID | None
    completion_date: datetime | None
    certificate_issued: bool
    certificate_issued_at: datetime | None
    rating: int | None
    review: str | None


class StepIn(BaseModel):
    """What becomes of an enrolment."""

    model_config = ConfigDict(extra="forbid")

    step: Literal["drop", "suspend", "resume", "complete"] = Field(
        description="its person may drop it; the other steps are for those who teach the program"
    )


class RatingIn(BaseModel):
    """What you say of a program."""

    model_config = ConfigDict(extra="forbid")

    rating: Annotated[int, Field(ge=1, le=5)]
    review: Annotated[CleanText, Field(max_length=5_000)] | None = None


class ProgressIn(BaseModel):
    """One message of a player. Time adds up, so each message says only what passed since the one before."""

    model_config = ConfigDict(extra="forbid")

    event_id: UUID = Field(description="made by the player, kept when the message is sent again")
    lesson_id: UUID
    percent: Annotated[int, Field(ge=0, le=100)]
    seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    position_seconds: Annotated[int, Field(ge=0, le=360_000)] | None = None
    occurred_at: AwareDatetime | None = Field(None, description="when it was; left out, or in the future: now")

    def message(self) -> ProgressMessage:
        """Return it as the domain takes it."""
        return ProgressMessage(**dict(self))


class ProgressBatchIn(BaseModel):
    """A queue of messages, in any order; messages that were counted before are left out."""

    model_config = ConfigDict(extra="forbid")

    messages: Annotated[list[ProgressIn], Field(min_length=1, max_length=LARGEST_BATCH)]


class LessonStateOut(BaseModel):
    """Where you are in one lesson."""

    model_config = ConfigDict(from_attributes=True)

    lesson_id: UUID
    outcome: Outcome = Field(description="`locked` and `unknown` messages changed nothing; do not send them again")
    progress_percent: int
    time_spent_seconds: int
    last_position_seconds: int | None
    completed_at: datetime | None


class ProgressOut(BaseModel):
    """What a call came to."""

    lessons: list[LessonStateOut]
    enrollments: list[EnrollmentOut]


class LessonProgressOut(BaseModel):
    """How far one person is in one lesson."""

    model_config = ConfigDict(from_attributes=True)

    lesson_id: UUID
    progress_percent: int
    time_spent_seconds: int
    last_position_seconds: int | None
    completed_at: datetime | None
    first_accessed_at: datetime
    last_accessed_at: datetime


class CertificateOut(BaseModel):
    """One certificate."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    enrollment_id: UUID
    user_id: UUID
    program_id: UUID
    certificate_number: str
    verification_code: str = Field(description="whoever holds it can verify the certificate")
    title: str
    description: str | None
    issued_at: datetime
    issued_by: UUID | None
    completion_date: datetime
    completion_score: Decimal | None = Field(description="mean of the best scores, in percent; null without tests")
    certificate_url: str | None
    is_revoked: bool
    revoked_at: datetime | None
    revocation_reason: str | None


class RevocationIn(BaseModel):
    """Why a certificate is revoked."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[CleanText, Field(min_length=1, max_length=2_000)]


class VerificationOut(BaseModel):
    """What anybody may know who holds a certificate's code."""

    model_config = ConfigDict(from_attributes=True)

    holder: str
    title: str
    organisation: str
    certificate_number: str
    issued_at: datetime
    completion_date: datetime
    is_revoked: bool
