"""Posts, comments, reactions, messages and projects on the wire."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, TypeAdapter

from api.schemas.text import CleanText

_LINK: Final = TypeAdapter(HttpUrl)


def _require_link(given: str) -> str:
    """Return the address as it was given, a string as the store keeps it; anything but http and https is refused."""
    _LINK.validate_python(given)
    return given


Category = Literal["discussion", "story", "question", "project", "announcement"]
PostStatus = Literal["draft", "pending", "published", "flagged", "removed"]
CommentStatus = Literal["published", "flagged", "removed"]
ProjectStage = Literal["idea", "prototype", "active", "scaling"]
ProjectStatus = Literal["pending", "approved", "rejected", "archived"]
Support = Literal["mentorship", "funding", "visibility", "partnership"]
WrittenFor = Literal["client_visible", "coach_only"]

Title = Annotated[CleanText, Field(min_length=1, max_length=500)]
Words = Annotated[CleanText, Field(min_length=1, max_length=50_000)]
ShortWords = Annotated[CleanText, Field(min_length=1, max_length=10_000)]
Note = Annotated[CleanText, Field(max_length=2_000)]
Tag = Annotated[CleanText, Field(min_length=1, max_length=100, pattern=r"\w")]
Link = Annotated[CleanText, Field(max_length=500, json_schema_extra={"format": "uri"}), AfterValidator(_require_link)]
People = Annotated[list[UUID], Field(max_length=20, description="ids of people to tell that they are mentioned")]


class MediaIn(BaseModel):
    """A picture, film or file shown with a text."""

    model_config = ConfigDict(extra="forbid")

    url: Link
    type: Literal["image", "video", "audio", "document"]
    thumbnail: Link | None = None
    asset_id: UUID | None = Field(None, description="of an uploaded file, which then counts this use")

    def stored(self) -> dict[str, Any]:
        """Return it as the row keeps it."""
        return self.model_dump(mode="json", exclude_none=True)


Media = Annotated[list[MediaIn], Field(max_length=20)]


class AuthorOut(BaseModel):
    """Who wrote it, as far as their profile shows."""

    id: UUID
    display_name: str | None = Field(description="null where their profile is private")
    photo_url: str | None


class PostIn(BaseModel):
    """A new post."""

    title: Title | None = None
    content: Words
    category: Category
    tags: list[Tag] = Field(default=[], max_length=10)
    media: Media = []
    visibility: WrittenFor = "client_visible"
    draft: bool = Field(False, description="keep it to yourself for now")
    mentions: People = []


class PostPatch(BaseModel):
    """What changes of a post of yours."""

    title: Title | None = None
    content: Words | None = None
    category: Category | None = None
    tags: list[Tag] | None = Field(None, max_length=10)
    media: Media | None = None
    visibility: WrittenFor | None = None
    draft: bool | None = Field(None, description="true hides it, false shows it")


class PostOut(BaseModel):
    """One post as the feed shows it."""

    id: UUID
    slug: str | None
    author: AuthorOut | None = Field(description="null where the author's account is gone")
    title: str | None
    content: str
    category: Category
    tags: list[str]
    media: list[dict[str, Any]]
    visibility: str
    status: PostStatus
    moderation_note: str | None
    is_pinned: bool
    is_featured: bool
    view_count: int
    like_count: int
    comment_count: int
    bookmark_count: int
    my_reactions: list[str]
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None


class ModerationIn(BaseModel):
    """What becomes of a post or comment."""

    status: CommentStatus
    note: Note | None = Field(None, description="the author of a post reads it")


class FeatureIn(BaseModel):
    """How a post stands out."""

    is_pinned: bool | None = None
    is_featured: bool | None = None
    featured_until: datetime | None = None


class CommentIn(BaseModel):
    """A new comment."""

    content: ShortWords
    parent_comment_id: UUID | None = Field(None, description="the comment it replies to")
    mentions: People = []


class CommentPatch(BaseModel):
    """A comment's new words."""

    content: ShortWords


class CommentOut(BaseModel):
    """One comment."""

    id: UUID
    post_id: UUID
    parent_comment_id: UUID | None
    depth: int
    author: AuthorOut | None = Field(description="null where the author's account is gone")
    content: str
    status: CommentStatus
    like_count: int
    my_reactions: list[str]
    created_at: datetime
    updated_at: datetime


class ReactionOut(BaseModel):
    """One of your reactions."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    entity_type: Literal["post", "comment", "project", "profile"]
    entity_id: UUID
    reaction_type: Literal["like", "love", "bookmark", "endorse"]
    created_at: datetime


class AttachmentIn(BaseModel):
    """A file sent with a message."""

    model_config = ConfigDict(extra="forbid")

    filename: CleanText = Field(min_length=1, max_length=500)
    url: Link
    type: CleanText = Field(min_length=1, max_length=100)
    size: int = Field(gt=0, le=10**12, description="bytes")


class MessageIn(BaseModel):
    """A new message."""

    recipient_id: UUID
    content: ShortWords
    attachments: list[AttachmentIn] = Field(default=[], max_length=10)


class MessageOut(BaseModel):
    """One message, readable to its two people only."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    conversation_id: UUID
    sender_id: UUID
    recipient_id: UUID
    content: str
    attachments: list[dict[str, Any]]
    read_at: datetime | None
    created_at: datetime


class ConversationOut(BaseModel):
    """One conversation by its last message."""

    id: UUID
    partner: AuthorOut
    last_message: MessageOut
    unread_count: int


class ReadIn(BaseModel):
    """Up to when you have read."""

    until: datetime | None = Field(None, description="null: everything so far")


class ReadOut(BaseModel):
    """How many were unread."""

    marked: int


class ProjectIn(BaseModel):
    """A new project."""

    title: Title
    problem_statement: ShortWords
    solution_description: ShortWords
    target_market: ShortWords | None = None
    stage: ProjectStage
    support_needed: list[Support] = Field(default=[], max_length=4)
    pitch_deck_url: Link | None = None
    demo_url: Link | None = None
    repo_url: Link | None = None
    media: Media = []
    visibility: WrittenFor = "client_visible"


class ProjectPatch(BaseModel):
    """What changes of a project of yours; changed words are reviewed again."""

    title: Title | None = None
    problem_statement: ShortWords | None = None
    solution_description: ShortWords | None = None
    target_market: ShortWords | None = None
    stage: ProjectStage | None = None
    support_needed: list[Support] | None = Field(None, max_length=4)
    pitch_deck_url: Link | None = None
    demo_url: Link | None = None
    repo_url: Link | None = None
    media: Media | None = None
    visibility: WrittenFor | None = None
    archived: bool | None = Field(None, description="true puts it away, false has it reviewed again")


class ProjectOut(BaseModel):
    """One project."""

    id: UUID
    slug: str | None
    author: AuthorOut | None = Field(description="null where the account of who brought it is gone")
    title: str
    problem_statement: str
    solution_description: str
    target_market: str | None
    stage: ProjectStage
    support_needed: list[str]
    pitch_deck_url: str | None
    demo_url: str | None
    repo_url: str | None
    media: list[dict[str, Any]]
    visibility: str
    status: ProjectStatus
    review_notes: str | None
    view_count: int
    endorsement_count: int
    collaboration_request_count: int
    my_reactions: list[str]
    created_at: datetime
    published_at: datetime | None


class ReviewIn(BaseModel):
    """An administrator's word on a project."""

    status: Literal["approved", "rejected", "archived"]
    notes: Note | None = None


class CollaborationIn(BaseModel):
    """A wish to work on a project."""

    role: CleanText | None = Field(None, max_length=100)
    message: Note | None = None


class CollaborationAnswer(BaseModel):
    """Whether the person joins."""

    accept: bool


class CollaboratorOut(BaseModel):
    """One person on a project, or who asked to be."""

    id: UUID
    user_id: UUID
    display_name: str | None
    role: str | None
    status: Literal["requested", "accepted", "declined"]
    message: str | None
    created_at: datetime
    joined_at: datetime | None
