"""Approvals, questions, articles, tags, skills and files on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.schemas.community import AuthorOut, Media, Note, Title, Words
from api.schemas.text import CleanText

ContentType = Literal["post", "program", "project", "event"]
Stage = Literal["draft", "editorial_review", "brand_review", "legal_review", "approved", "rejected"]
ReviewStage = Literal["editorial_review", "brand_review", "legal_review"]
ArticleStatus = Literal["draft", "published", "archived"]
Shown = Literal["client_visible", "coach_only", "admin_aggregate"]
Name = Annotated[CleanText, Field(min_length=1, max_length=100, pattern=r"\w")]
Sort = Annotated[CleanText, Field(min_length=1, max_length=50)]


class SubmissionIn(BaseModel):
    """Content of yours to have reviewed."""

    content_type: ContentType
    content_id: UUID


class VerdictIn(BaseModel):
    """A review's outcome at one stage."""

    stage: ReviewStage = Field(description="the stage you reviewed, so that two reviewers don't pass two")
    notes: Note | None = None


class RejectionIn(BaseModel):
    """Why a submission goes back."""

    stage: ReviewStage
    reason: CleanText = Field(min_length=1, max_length=2_000)


class ApprovalOut(BaseModel):
    """One submission and how far it is."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    content_type: ContentType
    content_id: UUID
    version: int
    previous_approval_id: UUID | None
    current_stage: Stage
    submitted_by: UUID | None
    submitted_at: datetime
    editorial_reviewer_id: UUID | None
    editorial_reviewed_at: datetime | None
    editorial_notes: str | None
    brand_reviewer_id: UUID | None
    brand_reviewed_at: datetime | None
    brand_notes: str | None
    final_approver_id: UUID | None
    final_approved_at: datetime | None
    legal_notes: str | None
    rejected_by: UUID | None
    rejected_at: datetime | None
    rejection_reason: str | None


class FaqIn(BaseModel):
    """A new question with its answer."""

    category: Name
    question: CleanText = Field(min_length=1, max_length=2_000)
    answer: Words
    sequence_order: int = Field(0, ge=-1_000_000, le=1_000_000, description="its place, the lowest first")
    is_published: bool = True
    visibility: Shown = "client_visible"


class FaqPatch(BaseModel):
    """What changes of a question."""

    category: Name | None = None
    question: CleanText | None = Field(None, min_length=1, max_length=2_000)
    answer: Words | None = None
    sequence_order: int | None = Field(None, ge=-1_000_000, le=1_000_000)
    is_published: bool | None = None
    visibility: Shown | None = None


class FaqOut(BaseModel):
    """One question with its answer."""

    id: UUID
    category: str
    question: str
    answer: str
    sequence_order: int
    is_published: bool
    visibility: str
    view_count: int
    helpful_count: int
    is_helpful: bool = Field(description="whether you found it so")
    updated_at: datetime


class ArticleIn(BaseModel):
    """A new article."""

    title: Title
    summary: Note | None = None
    content: Words
    media: Media = []
    status: ArticleStatus = "draft"
    visibility: Shown = "client_visible"


class ArticlePatch(BaseModel):
    """What changes of an article."""

    title: Title | None = None
    summary: Note | None = None
    content: Words | None = None
    media: Media | None = None
    status: ArticleStatus | None = None
    visibility: Shown | None = None


class ArticleOut(BaseModel):
    """One article."""

    id: UUID
    slug: str
    author: AuthorOut | None = Field(description="null where the author's account is gone")
    title: str
    summary: str | None
    content: str
    media: list[dict[str, Any]]
    status: ArticleStatus
    visibility: str
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None


class TagIn(BaseModel):
    """A tag to sort by."""

    name: Name
    category: Sort | None = None


class TagPatch(BaseModel):
    """A tag's category."""

    category: Sort | None


class TagOut(BaseModel):
    """One tag and how often it is borne."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    slug: str
    category: str | None
    usage_count: int


class SkillIn(BaseModel):
    """A skill to choose from."""

    name: Name
    category: Sort | None = None


class SkillOut(BaseModel):
    """One skill."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    category: str | None


class OwnSkill(BaseModel):
    """A skill of yours."""

    skill_id: UUID
    level: Literal["beginner", "intermediate", "advanced", "expert"] | None = None


class OwnSkillsIn(BaseModel):
    """All your skills."""

    skills: list[OwnSkill] = Field(max_length=100)


class PersonSkillOut(BaseModel):
    """One skill of a person."""

    skill: SkillOut
    level: str | None


class SkillsIn(BaseModel):
    """All skills a project or article is about."""

    skill_ids: list[UUID] = Field(max_length=50)


class MediaForm(BaseModel):
    """A file to keep."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile = Field(description="an image, a video, a recording or a PDF")
    usage_type: CleanText | None = Field(None, min_length=1, max_length=30, description="such as profile_photo")


class MediaAssetOut(BaseModel):
    """One uploaded file."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    filename: str
    file_type: str
    file_size_bytes: int
    uploaded_by: UUID
    usage_type: str | None
    usage_count: int
    width_px: int | None
    height_px: int | None
    duration_seconds: int | None
    public_url: str | None
    cdn_url: str | None
    thumbnail_url: str | None
    processing_status: Literal["uploaded", "processing", "ready", "failed"]
    uploaded_at: datetime
