"""Programs, modules and lessons on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, HttpUrl

from api.schemas.text import CleanText

PricingType = Literal["free", "one_time", "subscription"]
ProgramStatus = Literal["draft", "published", "archived"]
Difficulty = Literal["beginner", "intermediate", "advanced"]
ContentType = Literal["video", "text", "quiz", "assignment", "resource"]
Tier = Literal["discover", "build", "thrive", "impact"]

Title = Annotated[CleanText, Field(min_length=1, max_length=500)]
Summary = Annotated[CleanText, Field(max_length=5_000)]
Words = Annotated[CleanText, Field(max_length=100_000)]
Tag = Annotated[CleanText, Field(min_length=1, max_length=100)]
Slug = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Link = Annotated[HttpUrl, Field(max_length=500), AfterValidator(str)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
Minutes = Annotated[int, Field(ge=0, le=100_000)]
Place = Annotated[int, Field(ge=0, le=1_000_000, description="left out: at the end")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent, as rows keep them."""
        sent = self.model_dump(exclude_unset=True)
        for name in ("co_instructors", "resource_urls"):
            if sent.get(name) is not None:
                sent[name] = self.model_dump(mode="json", include={name})[name]
        return sent


class ProgramPatch(_In):
    """What to change of a program."""

    title: Title = ""
    slug: Slug = ""
    description: Summary | None = None
    long_description: Words | None = None
    category: Annotated[CleanText, Field(max_length=100)] | None = None
    tags: Annotated[list[Tag], Field(max_length=30)] | None = None
    difficulty_level: Difficulty | None = None
    co_instructors: Annotated[list[UUID], Field(max_length=20)] | None = Field(None, description="ids of coaches")
    pricing_type: PricingType = "free"
    price_amount: Amount | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    tier_access: Annotated[list[Tier], Field(max_length=4)] | None = Field(None, description="null: any membership")
    capacity: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(None, description="seats; null: no limit")
    duration_weeks: Annotated[int, Field(ge=0, le=520)] | None = None
    estimated_hours: Annotated[Decimal, Field(ge=0, max_digits=5, decimal_places=2)] | None = None
    thumbnail_url: Link | None = None
    preview_video_url: Link | None = None
    meta_description: Summary | None = None
    meta_keywords: Annotated[list[Tag], Field(max_length=30)] | None = None


class ProgramIn(ProgramPatch):
    """A new program, which begins as a draft."""

    title: Title
    instructor_id: UUID | None = Field(None, description="a coach, named by an administrator; left out: you")

    def changes(self) -> dict[str, Any]:
        """Return the fields of the new row."""
        sent = {"pricing_type": self.pricing_type, **super().changes()}
        return {name: value for name, value in sent.items() if name != "instructor_id" or value is not None}


class ProgramOut(BaseModel):
    """One program of the catalogue."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    slug: str
    description: str | None
    long_description: str | None
    category: str | None
    tags: list[str] | None
    difficulty_level: Difficulty | None
    instructor_id: UUID
    co_instructors: list[UUID] | None
    pricing_type: PricingType
    price_amount: Decimal | None
    currency: str
    tier_access: list[str] | None
    capacity: int | None
    seats_taken: int
    duration_weeks: int | None
    estimated_hours: Decimal | None
    module_count: int = Field(description="published modules")
    lesson_count: int = Field(description="published lessons")
    enrollment_count: int
    completion_count: int
    average_rating: Decimal | None
    review_count: int
    thumbnail_url: str | None
    preview_video_url: str | None
    status: ProgramStatus
    published_at: datetime | None
    meta_description: str | None
    meta_keywords: list[str] | None
    created_at: datetime
    updated_at: datetime


class ModulePatch(_In):
    """What to change of a module."""

    title: Title = ""
    description: Summary | None = None
    sequence_order: Place = 0
    unlock_after_module_id: UUID | None = Field(None, description="open when all lessons of this one are completed")
    unlock_date: AwareDatetime | None = Field(None, description="open from this moment on")
    estimated_duration_minutes: Minutes | None = None
    is_published: bool = True


class ModuleIn(ModulePatch):
    """A new module of a program."""

    title: Title


class ModuleOut(BaseModel):
    """One module."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    program_id: UUID
    title: str
    description: str | None
    sequence_order: int
    unlock_after_module_id: UUID | None
    unlock_date: datetime | None
    estimated_duration_minutes: int | None
    lesson_count: int
    is_published: bool


class ResourceIn(BaseModel):
    """A file to take along."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    url: Link
    type: Annotated[CleanText, Field(max_length=100)] | None = None
    size: Annotated[int, Field(ge=0)] | None = Field(None, description="bytes")


class LessonPatch(_In):
    """What to change of a lesson; `module_id` moves it within its program."""

    module_id: UUID | None = None
    title: Title = ""
    description: Summary | None = None
    sequence_order: Place = 0
    content_type: ContentType = "text"
    video_url: Link | None = None
    video_duration_seconds: Annotated[int, Field(ge=0, le=360_000)] | None = None
    text_content: Words | None = None
    resource_urls: Annotated[list[ResourceIn], Field(max_length=50)] | None = None
    is_preview: bool = Field(False, description="readable without enrolment")
    estimated_minutes: Minutes | None = None
    is_published: bool = True

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent; no module means the same module."""
        return {name: value for name, value in super().changes().items() if name != "module_id" or value is not None}


class LessonIn(LessonPatch):
    """A new lesson of a module."""

    title: Title
    content_type: ContentType


class LessonOut(BaseModel):
    """One lesson with your own progress; texts and links are null while its module is locked for you."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    program_id: UUID
    module_id: UUID
    title: str
    description: str | None
    sequence_order: int
    content_type: ContentType
    video_url: str | None
    video_duration_seconds: int | None
    text_content: str | None
    resource_urls: list[dict[str, Any]] | None
    is_preview: bool
    estimated_minutes: int | None
    is_published: bool
    progress_percent: int
    time_spent_seconds: int
    last_position_seconds: int | None
    completed_at: datetime | None
    is_locked: bool


class LessonsOut(BaseModel):
    """A module's lessons, in order."""

    items: list[LessonOut]


class OutlineLessonOut(BaseModel):
    """One line of an outline."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    sequence_order: int
    content_type: ContentType
    is_preview: bool
    estimated_minutes: int | None
    video_duration_seconds: int | None
    progress_percent: int
    completed_at: datetime | None


class OutlineModuleOut(BaseModel):
    """One chapter of an outline."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    description: str | None
    sequence_order: int
    unlock_date: datetime | None
    unlock_after_module_id: UUID | None
    lessons: list[OutlineLessonOut]


class OutlineOut(BaseModel):
    """What a program is made of, without its texts."""

    modules: list[OutlineModuleOut]


class OrderIn(BaseModel):
    """A new order: every id there is, once."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=1_000)]
