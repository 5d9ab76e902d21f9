"""Assessments, attempts and grades on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl

from api.schemas.text import CleanText, clean_text
from domain.questions import MOST_QUESTIONS, Given, Question

AssessmentType = Literal["quiz", "assignment", "project", "peer_review"]
SubmissionStatus = Literal["in_progress", "submitted", "graded", "returned"]


def _clean_all(given: object) -> object:
    """Return what was sent with every text in it made such that a database can store it."""
    if isinstance(given, dict):
        return {clean_text(name): _clean_all(value) for name, value in given.items()}
    if isinstance(given, list):
        return [_clean_all(value) for value in given]
    return clean_text(given)


Questions = Annotated[list[Question], BeforeValidator(_clean_all), Field(max_length=MOST_QUESTIONS)]
Answers = Annotated[
    dict[Annotated[str, Field(max_length=64)], Given], BeforeValidator(_clean_all), Field(max_length=MOST_QUESTIONS)
]
Title = Annotated[CleanText, Field(min_length=1, max_length=500)]
Words = Annotated[CleanText, Field(max_length=20_000)]


class CriterionIn(BaseModel):
    """One line of a grading rubric."""

    model_config = ConfigDict(extra="forbid")

    name: Title
    description: Annotated[CleanText, Field(max_length=2_000)] | None = None
    points: Annotated[int, Field(ge=0, le=100)]


class AssessmentPatch(BaseModel):
    """What to change of an assessment; attempts handed in before keep their score."""

    model_config = ConfigDict(extra="forbid")

    title: Title = ""
    description: Words | None = None
    passing_score: Annotated[int, Field(ge=0, le=100)] | None = Field(None, description="percent; null: any")
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(3, description="null: no limit")
    time_limit_minutes: Annotated[int, Field(ge=1, le=10_000)] | None = None
    questions: Questions = []
    instructions: Words | None = None
    rubric: Annotated[list[CriterionIn], Field(max_length=50)] | None = None
    is_auto_graded: bool = True
    is_published: bool = True

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent, but the questions."""
        return self.model_dump(exclude_unset=True, exclude={"questions", "lesson_id"})


class AssessmentIn(AssessmentPatch):
    """A new assessment of a program or of one of its lessons."""

    title: Title
    lesson_id: UUID | None = Field(None, description="left out: of the whole program")
    assessment_type: AssessmentType


class AssessmentOut(BaseModel):
    """One assessment, as those see it who take it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    program_id: UUID
    lesson_id: UUID | None
    title: str
    description: str | None
    assessment_type: AssessmentType
    passing_score: int | None
    max_attempts: int | None
    time_limit_minutes: int | None
    questions: list[dict[str, Any]] | None = Field(description="without answers")
    instructions: str | None
    rubric: list[dict[str, Any]] | None
    is_auto_graded: bool
    is_published: bool


class QuestionsOut(BaseModel):
    """An assessment's questions with their answers, for those who teach."""

    questions: list[Question]


class FileIn(BaseModel):
    """A file handed in."""

    model_config = ConfigDict(extra="forbid")

    filename: Annotated[CleanText, Field(min_length=1, max_length=255)]
    url: Annotated[HttpUrl, Field(max_length=500), AfterValidator(str)]
    size: Annotated[int, Field(ge=0)] | None = Field(None, description="bytes")


class HandInIn(BaseModel):
    """What you hand in: answers by question id; where there are no questions, one named `text`."""

    model_config = ConfigDict(extra="forbid")

    answers: Answers = {}
    files: Annotated[list[FileIn], Field(max_length=20)] = []


class GradeIn(BaseModel):
    """A grade."""

    model_config = ConfigDict(extra="forbid")

    score: Annotated[Decimal, Field(ge=0, le=100, max_digits=5, decimal_places=2, description="percent")]
    feedback: Words | None = None


class ReturnIn(BaseModel):
    """Why work goes back to its author."""

    model_config = ConfigDict(extra="forbid")

    feedback: Annotated[CleanText, Field(min_length=1, max_length=20_000)]


class SubmissionOut(BaseModel):
    """One attempt."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    assessment_id: UUID
    program_id: UUID
    user_id: UUID
    attempt_number: int
    status: SubmissionStatus
    started_at: datetime
    submitted_at: datetime | None
    time_taken_seconds: int | None
    answers: dict[str, Any] | None
    submission_files: list[dict[str, Any]] | None
    score: Decimal | None
    passed: bool | None
    graded_by: UUID | None = Field(description="null where it was graded at once")
    graded_at: datetime | None
    feedback: str | None
