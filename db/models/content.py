"""Schema `content`: what is reviewed before it is shown, files, tags, questions, articles and skills."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Audience, Base, TenantRow, TenantScoped, Timestamped, audience_args, one_of, tenant_fk

CONTENT_TYPES = ("post", "program", "project", "event")
STAGES = ("draft", "editorial_review", "brand_review", "legal_review", "approved", "rejected")
BLOG_STATUSES = ("draft", "published", "archived")
LEVELS = ("beginner", "intermediate", "advanced", "expert")


class ContentApproval(TenantRow, Timestamped, Base):
    """One version of a content on its way through the reviews (seed 001 §6.8 content_approvals).

    The legal review is the last, so 001's final approver is its reviewer. `content_hash` holds the submission to
    what was submitted.
    """

    __tablename__ = "content_approvals"
    __table_args__ = (
        *(
            tenant_fk(column, "identity.users", ondelete="SET NULL")
            for column in ("editorial_reviewer_id", "brand_reviewer_id", "final_approver_id", "rejected_by")
        ),
        tenant_fk("submitted_by", "identity.users", ondelete="SET NULL"),
        tenant_fk("previous_approval_id", "content.content_approvals", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "content_type", "content_id", "version"),
        one_of("content_type", CONTENT_TYPES),
        one_of("current_stage", STAGES),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint(
            "submitted_by <> ALL (ARRAY[editorial_reviewer_id, brand_reviewer_id, final_approver_id]) IS NOT FALSE",
            name="no_self_review",
        ),
        CheckConstraint("(current_stage = 'rejected') = (rejected_at IS NOT NULL)", name="rejected_at"),
        CheckConstraint("(current_stage = 'approved') = (final_approved_at IS NOT NULL)", name="final_approved_at"),
        Index(
            "uq_content_approvals_open", "tenant_id", "content_type", "content_id",
            unique=True, postgresql_where=text("current_stage NOT IN ('approved', 'rejected')"),
        ),
        Index("ix_content_approvals_stage", "tenant_id", "current_stage", "submitted_at"),
        Index("ix_content_approvals_submitted_by", "tenant_id", "submitted_by"),
        Index(
            "ix_content_approvals_pending", "tenant_id", "submitted_at",
            postgresql_where=text("current_stage IN ('editorial_review', 'brand_review', 'legal_review')"),
        ),
        {"schema": "content"},
    )  # fmt: skip

    content_type: Mapped[str] = mapped_column(String(30))
    content_id: Mapped[UUID]
    current_stage: Mapped[str] = mapped_column(String(30))
    submitted_by: Mapped[UUID | None]
    submitted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    editorial_reviewer_id: Mapped[UUID | None]
    editorial_reviewed_at: Mapped[datetime | None]
    editorial_notes: Mapped[str | None]
    brand_reviewer_id: Mapped[UUID | None]
    brand_reviewed_at: Mapped[datetime | None]
    brand_notes: Mapped[str | None]
    final_approver_id: Mapped[UUID | None]
    final_approved_at: Mapped[datetime | None]
    legal_notes: Mapped[str | None]
    rejected_by: Mapped[UUID | None]
    rejected_at: Mapped[datetime | None]
    rejection_reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    previous_approval_id: Mapped[UUID | None]
    content_hash: Mapped[bytes] = mapped_column(LargeBinary)


class MediaAsset(TenantRow, Base):
    """One uploaded file: where it lies and what it is, never its bytes (seeds 001 §6.8 and 004)."""

    __tablename__ = "media_assets"
    __table_args__ = (
        tenant_fk("uploaded_by", "identity.users", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "storage_key"),
        CheckConstraint("file_size_bytes > 0", name="file_size"),
        CheckConstraint("width_px > 0 AND height_px > 0", name="pixels"),
        CheckConstraint("duration_seconds >= 0", name="duration"),
        one_of("storage_provider", ("s3", "cloudinary", "local")),
        one_of("processing_status", ("uploaded", "processing", "ready", "failed")),
        Index("ix_media_assets_uploaded_by", "tenant_id", "uploaded_by", "uploaded_at", "id"),
        Index("ix_media_assets_usage_type", "tenant_id", "usage_type"),
        Index("ix_media_assets_processing_status", "tenant_id", "processing_status"),
        {"schema": "content"},
    )

    filename: Mapped[str] = mapped_column(String(500))
    file_type: Mapped[str] = mapped_column(String(50))
    file_size_bytes: Mapped[int] = mapped_column(BigInteger)
    storage_provider: Mapped[str] = mapped_column(String(30), server_default="s3")
    storage_bucket: Mapped[str | None] = mapped_column(String(255))
    storage_key: Mapped[str] = mapped_column(String(500))
    public_url: Mapped[str | None] = mapped_column(String(1000))
    cdn_url: Mapped[str | None] = mapped_column(String(1000))
    uploaded_by: Mapped[UUID]
    usage_type: Mapped[str | None] = mapped_column(String(30))
    usage_count: Mapped[int] = mapped_column(server_default=text("0"))
    width_px: Mapped[int | None]
    height_px: Mapped[int | None]
    duration_seconds: Mapped[int | None]
    thumbnail_url: Mapped[str | None] = mapped_column(String(500))
    processing_status: Mapped[str] = mapped_column(String(20), server_default="uploaded")
    uploaded_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Tag(TenantRow, Base):
    """One word the tenant's posts and programs are sorted by (seed 001 §6.8 tags).

    Which thing bears it stands in that thing's own list; a word first used there becomes a tag by trigger.
    """

    __tablename__ = "tags"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("tenant_id", "slug"),
        CheckConstraint("slug <> ''", name="slug"),
        CheckConstraint("usage_count >= 0", name="usage_count"),
        Index("ix_tags_category", "tenant_id", "category"),
        Index("ix_tags_usage_count", "tenant_id", text("usage_count DESC"), text("id DESC")),
        {"schema": "content"},
    )

    name: Mapped[str] = mapped_column(String(100))
    slug: Mapped[str] = mapped_column(String(100))
    category: Mapped[str | None] = mapped_column(String(50))
    usage_count: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Faq(TenantRow, Audience, Timestamped, Base):
    """One question that is asked often, with its answer (seed 001 §6.8 faqs)."""

    __tablename__ = "faqs"
    __table_args__ = audience_args(
        Index("ix_faqs_category", "tenant_id", "category", "sequence_order", "id"),
        Index("ix_faqs_published", "tenant_id", "sequence_order", "id", postgresql_where=text("is_published")),
        {"schema": "content"},
    )

    category: Mapped[str] = mapped_column(String(100))
    question: Mapped[str]
    answer: Mapped[str]
    # 001 leaves the place open; a page by cursor needs one.
    sequence_order: Mapped[int] = mapped_column(server_default=text("0"))
    view_count: Mapped[int] = mapped_column(server_default=text("0"))
    helpful_count: Mapped[int] = mapped_column(server_default=text("0"))
    is_published: Mapped[bool] = mapped_column(server_default=text("true"))
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)


class FaqVote(TenantRow, Base):
    """One person found the answer helpful; it makes `faqs.helpful_count` countable."""

    __tablename__ = "faq_votes"
    __table_args__ = (
        tenant_fk("faq_id", "content.faqs", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "faq_id", "user_id"),
        Index("ix_faq_votes_user_id", "tenant_id", "user_id"),
        {"schema": "content"},
    )

    faq_id: Mapped[UUID]
    user_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class BlogPost(TenantRow, Audience, Timestamped, Base):
    """One article of the tenant (seed 004 BlogPosts)."""

    __tablename__ = "blog_posts"
    __table_args__ = audience_args(
        tenant_fk("author_id", "identity.users", ondelete="SET NULL"),
        UniqueConstraint("tenant_id", "slug"),
        one_of("status", BLOG_STATUSES),
        CheckConstraint("status <> 'published' OR published_at IS NOT NULL", name="published_at"),
        CheckConstraint("jsonb_typeof(media_urls) = 'array'", name="media_urls_list"),
        Index("ix_blog_posts_author_id", "tenant_id", "author_id"),
        Index(
            "ix_blog_posts_published", "tenant_id", text("published_at DESC"), text("id DESC"),
            postgresql_where=text("status = 'published'"),
        ),
        {"schema": "content"},
    )  # fmt: skip

    author_id: Mapped[UUID | None]
    title: Mapped[str] = mapped_column(String(500))
    slug: Mapped[str] = mapped_column(String(500))
    summary: Mapped[str | None] = mapped_column(String(2000))
    content: Mapped[str]
    media_urls: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    status: Mapped[str] = mapped_column(String(20), server_default="draft")
    published_at: Mapped[datetime | None]
    visibility: Mapped[str] = mapped_column(server_default="client_visible", sort_order=80)


class Skill(TenantRow, Base):
    """One skill that people have and that projects and articles are about (seed 004 Skills)."""

    __tablename__ = "skills"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        Index("ix_skills_category", "tenant_id", "category"),
        {"schema": "content"},
    )

    name: Mapped[str] = mapped_column(String(100))
    category: Mapped[str | None] = mapped_column(String(50))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserSkill(TenantScoped, Base):
    """One person has one skill (seed 004 UserSkill)."""

    __tablename__ = "user_skills"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("skill_id", "content.skills", ondelete="CASCADE"),
        one_of("level", LEVELS),
        Index("ix_user_skills_skill_id", "tenant_id", "skill_id"),
        {"schema": "content"},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    skill_id: Mapped[UUID] = mapped_column(primary_key=True)
    level: Mapped[str | None] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ProjectSkill(TenantScoped, Base):
    """One project asks for one skill (seed 004 ProjectSkill)."""

    __tablename__ = "project_skills"
    __table_args__ = (
        tenant_fk("project_id", "community.projects", ondelete="CASCADE"),
        tenant_fk("skill_id", "content.skills", ondelete="CASCADE"),
        Index("ix_project_skills_skill_id", "tenant_id", "skill_id"),
        {"schema": "content"},
    )

    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    skill_id: Mapped[UUID] = mapped_column(primary_key=True)


class BlogPostSkill(TenantScoped, Base):
    """One article is about one skill (seed 004 BlogPostSkill)."""

    __tablename__ = "blog_post_skills"
    __table_args__ = (
        tenant_fk("blog_post_id", "content.blog_posts", ondelete="CASCADE"),
        tenant_fk("skill_id", "content.skills", ondelete="CASCADE"),
        Index("ix_blog_post_skills_skill_id", "tenant_id", "skill_id"),
        {"schema": "content"},
    )

    blog_post_id: Mapped[UUID] = mapped_column(primary_key=True)
    skill_id: Mapped[UUID] = mapped_column(primary_key=True)
