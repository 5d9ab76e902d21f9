"""Schema `community`: what people post, answer, like, write to each other and build together."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Audience, Base, TenantRow, TenantScoped, Timestamped, audience_args, encrypted, one_of, tenant_fk

CATEGORIES = ("discussion", "story", "question", "project", "announcement")
POST_STATUSES = ("draft", "pending", "published", "flagged", "removed")
COMMENT_STATUSES = ("published", "flagged", "removed")
ENTITY_TYPES = ("post", "comment", "project", "profile")
REACTION_TYPES = ("like", "love", "bookmark", "endorse")
PROJECT_STAGES = ("idea", "prototype", "active", "scaling")
PROJECT_STATUSES = ("pending", "approved", "rejected", "archived")
COLLABORATION_STATUSES = ("requested", "accepted", "declined")
MAX_DEPTH = 8
"""How deep replies nest below a comment of a post."""


def _is_list(column: str) -> CheckConstraint:
    return CheckConstraint(f"jsonb_typeof({column}) = 'array'", name=f"{column}_list")


class Post(TenantRow, Audience, Timestamped, Base):
    """One text a person shows their community (seed 001 §6.4 posts).

    `search_words` stands for 001's GIN index on the words, and there is none on `tags`: neither `@@` nor `@>` is
    leakproof, so under row-level security no query could use them.
    """

    __tablename__ = "posts"
    __table_args__ = audience_args(
        tenant_fk("author_id", "identity.users", ondelete="SET NULL"),
        tenant_fk("moderated_by", "identity.users", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "slug"),
        one_of("category", CATEGORIES),
        one_of("status", POST_STATUSES),
        _is_list("tags"),
        _is_list("media_urls"),
        CheckConstraint("status <> 'published' OR published_at IS NOT NULL", name="published_at"),
        Index("ix_posts_author_id", "tenant_id", "author_id", "created_at"),
        # The feed (001 §4 P3), newest first with the pinned before the rest, of one category and of all.
        Index(
            "ix_posts_category",
            "tenant_id", "category", text("is_pinned DESC"), text("published_at DESC"), text("id DESC"),
            postgresql_where=text("status = 'published'"),
        ),
        Index(
            "ix_posts_published", "tenant_id", text("is_pinned DESC"), text("published_at DESC"), text("id DESC"),
            postgresql_where=text("status = 'published'"),
        ),
        Index(
            "ix_posts_status", "tenant_id", "status", "created_at", "id",
            postgresql_where=text("status <> 'published'"),
        ),
        Index(
            "ix_posts_featured", "tenant_id", "is_featured", text("published_at DESC"),
            postgresql_where=text("is_featured"),
        ),
        {"schema": "community"},
    )  # fmt: skip

    author_id: Mapped[UUID | None]
    title: Mapped[str | None] = mapped_column(String(500))
    content: Mapped[str]
    category: Mapped[str] = mapped_column(String(50))
    tags: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    media_urls: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    view_count: Mapped[int] = mapped_column(server_default=text("0"))
    like_count: Mapped[int] = mapped_column(server_default=text("0"))
    comment_count: Mapped[int] = mapped_column(server_default=text("0"))
    bookmark_count: Mapped[int] = mapped_column(server_default=text("0"))
    share_count: Mapped[int] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(String(20), server_default="published")
    moderated_by: Mapped[UUID | None]
    moderation_note: Mapped[str | None]
    is_pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    is_featured: Mapped[bool] = mapped_column(server_default=text("false"))
    featured_until: Mapped[datetime | None]
    slug: Mapped[str | None] = mapped_column(String(500))
    published_at: Mapped[datetime | None]
    search_words: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(
            "to_tsvector('english'::regconfig, COALESCE(title, ''::character varying)::text || ' '::text || content)",
            persisted=True,
        ),
        deferred=True,
    )
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)


class Comment(TenantRow, Audience, Timestamped, Base):
    """One reply to a post or to another reply (seed 001 §6.4 comments).

    `visibility`, the audience and `is_post_published` are the post's, copied by trigger, so that reading a
    reply needs no look at its post.
    """

    __tablename__ = "comments"
    __table_args__ = audience_args(
        tenant_fk("post_id", "community.posts", ondelete="CASCADE"),
        tenant_fk("author_id", "identity.users", ondelete="SET NULL"),
        tenant_fk("moderated_by", "identity.users", ondelete="SET NULL"),
        # A reply stays under the post of what it replies to.
        UniqueConstraint("tenant_id", "post_id", "id"),
        tenant_fk(("post_id", "parent_comment_id"), "community.comments(post_id, id)", ondelete="CASCADE"),
        one_of("status", COMMENT_STATUSES),
        CheckConstraint(f"depth BETWEEN 0 AND {MAX_DEPTH}", name="depth"),
        Index("ix_comments_post_id", "tenant_id", "post_id", "created_at", "id"),
        Index("ix_comments_author_id", "tenant_id", "author_id"),
        Index(
            "ix_comments_parent_comment_id", "tenant_id", "post_id", "parent_comment_id",
            postgresql_where=text("parent_comment_id IS NOT NULL"),
        ),
        Index(
            "ix_comments_status", "tenant_id", "status", "created_at", "id",
            postgresql_where=text("status <> 'published'"),
        ),
        {"schema": "community"},
    )  # fmt: skip

    post_id: Mapped[UUID]
    author_id: Mapped[UUID | None]
    parent_comment_id: Mapped[UUID | None]
    content: Mapped[str]
    like_count: Mapped[int] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(String(20), server_default="published")
    moderated_by: Mapped[UUID | None]
    moderation_note: Mapped[str | None]
    depth: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    is_post_published: Mapped[bool] = mapped_column(server_default=text("true"))
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)


class Reaction(TenantRow, Base):
    """One person's like, love, bookmark or endorsement of something (seed 001 §6.4 reactions).

    `entity_id` is a post's, comment's or project's id, or for a profile its person's. A person either likes
    or loves a thing: the second unique index lets one turn into the other in one statement.
    """

    __tablename__ = "reactions"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "user_id", "entity_type", "entity_id", "reaction_type", name="uq_reactions_once"),
        Index(
            "uq_reactions_liked", "tenant_id", "user_id", "entity_type", "entity_id",
            unique=True, postgresql_where=text("reaction_type IN ('like', 'love')"),
        ),
        one_of("entity_type", ENTITY_TYPES),
        one_of("reaction_type", REACTION_TYPES),
        CheckConstraint("reaction_type <> 'endorse' OR entity_type IN ('project', 'profile')", name="endorse"),
        Index("ix_reactions_user_id", "tenant_id", "user_id", "reaction_type", "created_at", "id"),
        Index("ix_reactions_entity", "tenant_id", "entity_type", "entity_id"),
        {"schema": "community"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    entity_type: Mapped[str] = mapped_column(String(20))
    entity_id: Mapped[UUID]
    reaction_type: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ViewTally(TenantScoped, Base):
    """Views of one thing not yet added to its `view_count`, in one of eight slots so that readers don't queue."""

    __tablename__ = "view_tallies"
    __table_args__ = (
        one_of("entity_type", ("post", "project", "faq")),
        CheckConstraint("views > 0", name="views"),
        {"schema": "community"},
    )

    entity_type: Mapped[str] = mapped_column(String(20), primary_key=True)
    entity_id: Mapped[UUID] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    views: Mapped[int]


class Message(TenantRow, Base):
    """One message from one person to another (seed 001 §6.4 messages).

    Its words and attachments are encrypted with the tenant's key and bound to this row, so they are bytes where
    001 has text and JSON. `conversation_id` follows from the pair, whoever writes first.
    """

    __tablename__ = "messages"
    __table_args__ = (
        tenant_fk("sender_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("recipient_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("sender_id <> recipient_id", name="no_self_message"),
        CheckConstraint("octet_length(content) <= 65536", name="content_size"),
        CheckConstraint("octet_length(attachments) <= 65536", name="attachments_size"),
        CheckConstraint("is_read = (read_at IS NOT NULL)", name="read_at"),
        Index("ix_messages_conversation", "tenant_id", "conversation_id", text("created_at DESC"), text("id DESC")),
        Index("ix_messages_sender", "tenant_id", "sender_id", text("created_at DESC"), text("id DESC")),
        Index("ix_messages_recipient", "tenant_id", "recipient_id", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_messages_unread", "tenant_id", "recipient_id", "conversation_id", postgresql_where=text("NOT is_read")
        ),
        {"schema": "community"},
    )

    conversation_id: Mapped[UUID] = mapped_column(
        Computed(
            "md5(LEAST(sender_id, recipient_id)::text || GREATEST(sender_id, recipient_id)::text)::uuid", persisted=True
        )
    )
    sender_id: Mapped[UUID]
    recipient_id: Mapped[UUID]
    content: Mapped[bytes] = encrypted()
    attachments: Mapped[bytes | None] = encrypted()
    is_read: Mapped[bool] = mapped_column(server_default=text("false"))
    read_at: Mapped[datetime | None]
    is_deleted_by_sender: Mapped[bool] = mapped_column(server_default=text("false"))
    is_deleted_by_recipient: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Block(TenantRow, Base):
    """One person takes no messages from another."""

    __tablename__ = "blocks"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("blocked_id", "identity.users", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "user_id", "blocked_id"),
        CheckConstraint("user_id <> blocked_id", name="no_self_block"),
        Index("ix_blocks_blocked_id", "tenant_id", "blocked_id"),
        {"schema": "community"},
    )

    user_id: Mapped[UUID]
    blocked_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Project(TenantRow, Audience, Timestamped, Base):
    """One project a person brings to the community for support (seeds 001 §6.4 and 004)."""

    __tablename__ = "projects"
    __table_args__ = audience_args(
        tenant_fk("submitted_by", "identity.users", ondelete="SET NULL"),
        tenant_fk("reviewed_by", "identity.users", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "slug"),
        one_of("stage", PROJECT_STAGES),
        one_of("status", PROJECT_STATUSES),
        _is_list("support_needed"),
        _is_list("media_urls"),
        CheckConstraint("status <> 'approved' OR published_at IS NOT NULL", name="published_at"),
        CheckConstraint("reviewed_by <> submitted_by", name="no_self_review"),
        Index("ix_projects_submitted_by", "tenant_id", "submitted_by"),
        Index("ix_projects_status", "tenant_id", "status", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_projects_published", "tenant_id", text("published_at DESC"), text("id DESC"),
            postgresql_where=text("status = 'approved'"),
        ),
        Index(
            "ix_projects_stage", "tenant_id", "stage", text("published_at DESC"), text("id DESC"),
            postgresql_where=text("status = 'approved'"),
        ),
        {"schema": "community"},
    )  # fmt: skip

    submitted_by: Mapped[UUID | None]
    title: Mapped[str] = mapped_column(String(500))
    slug: Mapped[str | None] = mapped_column(String(500))
    problem_statement: Mapped[str]
    solution_description: Mapped[str]
    target_market: Mapped[str | None]
    stage: Mapped[str] = mapped_column(String(20))
    support_needed: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    pitch_deck_url: Mapped[str | None] = mapped_column(String(500))
    demo_url: Mapped[str | None] = mapped_column(String(500))
    repo_url: Mapped[str | None] = mapped_column(String(500))
    media_urls: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    view_count: Mapped[int] = mapped_column(server_default=text("0"))
    endorsement_count: Mapped[int] = mapped_column(server_default=text("0"))
    collaboration_request_count: Mapped[int] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(String(20), server_default="pending")
    reviewed_by: Mapped[UUID | None]
    review_notes: Mapped[str | None]
    is_featured: Mapped[bool] = mapped_column(server_default=text("false"))
    featured_until: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)


class ProjectCollaborator(TenantRow, Base):
    """One person asks to work on a project, or does (seed 001 §6.4 project_collaborators).

    001 has no way to ask: `status` and `answered_at` are ours, and `joined_at` waits for the answer.
    """

    __tablename__ = "project_collaborators"
    __table_args__ = (
        tenant_fk("project_id", "community.projects", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "project_id", "user_id"),
        one_of("status", COLLABORATION_STATUSES),
        CheckConstraint("(status = 'accepted') = (joined_at IS NOT NULL)", name="joined_at"),
        Index("ix_project_collaborators_user_id", "tenant_id", "user_id"),
        {"schema": "community"},
    )

    project_id: Mapped[UUID]
    user_id: Mapped[UUID]
    role: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20), server_default="requested")
    message: Mapped[str | None] = mapped_column(String(2000))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    answered_at: Mapped[datetime | None]
    joined_at: Mapped[datetime | None]
