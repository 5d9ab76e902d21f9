"""Insights, verdicts and feedback on the wire."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from api.schemas.evidence import ClaimOut, PatternOut
from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict
from domain.feedback import Rating, Target
from domain.insights import LONGEST_BODY, LONGEST_REASON, LONGEST_TITLE

InsightStatus = Literal["draft", "accepted", "rejected"]
Title = Annotated[CleanText, StringConstraints(min_length=1, max_length=LONGEST_TITLE, pattern=r"\S")]
Body = Annotated[CleanText, StringConstraints(min_length=1, max_length=LONGEST_BODY, pattern=r"\S")]
Reason = Annotated[CleanText, StringConstraints(min_length=1, max_length=LONGEST_REASON, pattern=r"\S")]


class InsightOut(Stored):
    """A proposal over claims and patterns, and a coach's verdict on it."""

    id: UUID
    client_id: UUID | None
    coach_id: UUID | None
    title: str
    body: str
    status: InsightStatus
    reason: str | None = Field(description="what the coach said with the verdict")
    decided_by: UUID | None
    decided_at: datetime | None
    visibility: str = Field(description="client_visible once accepted and shared, else coach_only")
    method: str
    created_at: datetime
    updated_at: datetime


class InsightDetailOut(InsightOut):
    """An insight with what it stands on."""

    patterns: list[PatternOut]
    claims: list[ClaimOut] = Field(description="those under the patterns as well, with their quotes")


class InsightPatch(Strict):
    """Words to use instead; what is left out stays."""

    title: Title | None = None
    body: Body | None = None


class AcceptIn(Strict):
    """A verdict for an insight."""

    share: bool | None = Field(
        None,
        description="unset: shown to the client where all it stands on may be; true: refuse where it may not; "
        "false: kept among coaches",
    )
    reason: Reason | None = None


class RejectIn(Strict):
    """A verdict against an insight."""

    reason: Reason


class InsightReviewOut(Stored):
    """One verdict or edit of an insight."""

    id: UUID
    insight_id: UUID
    reviewer_id: UUID
    verdict: Literal["edited", "accepted", "rejected"]
    reason: str | None
    title_before: str | None
    title_after: str | None
    body_before: str | None
    body_after: str | None
    created_at: datetime


class FeedbackIn(Strict):
    """What you think of a thing the assistant made; said again, it replaces what you said before."""

    target_type: Target
    target_id: UUID
    rating: Rating = Field(description="-1 wrong or unhelpful, 0 neither, 1 right and helpful")
    reason: Annotated[CleanText, Field(min_length=1, max_length=200)] | None = None
    comment: Annotated[CleanText, Field(min_length=1, max_length=4_000)] | None = None
    may_be_studied: bool = Field(False, description="whether it may become part of evaluations")


class FeedbackOut(Stored):
    """What you said of a thing."""

    id: UUID
    target_type: Target
    target_id: UUID
    rating: Rating
    reason: str | None
    comment: str | None
    may_be_studied: bool
    created_at: datetime
