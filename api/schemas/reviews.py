"""Rubrics and reviews of quality, on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from api.schemas.text import CleanText
from api.schemas.users import Stored, Strict

CriterionKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
Score = Annotated[Decimal, Field(ge=0, le=100, max_digits=5, decimal_places=2)]
ReviewText = Annotated[CleanText, Field(max_length=10_000)]


class Criterion(Strict):
    """One thing a review looks at."""

    key: CriterionKey
    label: Annotated[CleanText, Field(min_length=1, max_length=200)]
    description: Annotated[CleanText, Field(max_length=2_000)] | None = None
    max_score: int = Field(5, ge=1, le=100)
    weight: float = Field(1, gt=0, le=100)


class RubricIn(Strict):
    """A rubric, or the next version of the one of this name."""

    name: Annotated[CleanText, Field(min_length=1, max_length=200)]
    description: Annotated[CleanText, Field(max_length=2_000)] | None = None
    criteria: list[Criterion] = Field(min_length=1, max_length=30)


class RubricOut(Stored):
    """One version of a rubric."""

    id: UUID
    name: str
    version: int
    description: str | None
    criteria: list[Criterion]
    is_active: bool
    created_at: datetime


class QaReviewIn(Strict):
    """One judgement of one session."""

    session_id: UUID
    rubric_id: UUID
    scores: dict[CriterionKey, Score] = Field(min_length=1, max_length=30)
    notes: ReviewText | None = None


class QaReviewPatch(Strict):
    """The judgement, made anew."""

    scores: dict[CriterionKey, Score] = Field(min_length=1, max_length=30)
    notes: ReviewText | None = None


class QaReviewOut(Stored):
    """One judgement of one session, out of 100."""

    id: UUID
    session_id: UUID
    rubric_id: UUID
    reviewer_id: UUID
    coach_id: UUID
    scores: dict[str, float]
    total: Decimal
    notes: str | None
    created_at: datetime
    updated_at: datetime
