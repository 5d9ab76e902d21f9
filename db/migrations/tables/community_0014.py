"""The tables of migration 0014: posts, comments, reactions, messages and projects."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.ddl import add_index, inner_key, tenant_key


def create_tables() -> None:
    """Create the tables and their indexes, without a word on who may read them."""
    op.create_table(
        "view_tallies",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("entity_type", sa.String(length=20), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("views", sa.Integer(), nullable=False),
        sa.CheckConstraint("entity_type IN ('post', 'project', 'faq')", name=op.f("ck_view_tallies_entity_type")),
        sa.CheckConstraint("views > 0", name=op.f("ck_view_tallies_views")),
        tenant_key("view_tallies"),
        sa.PrimaryKeyConstraint("tenant_id", "entity_type", "entity_id", "slot", name=("pk_view_tallies")),
        schema="community",
    )
    op.create_table(
        "blocks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("blocked_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("user_id <> blocked_id", name=op.f("ck_blocks_no_self_block")),
        inner_key("blocks", "blocked_id", "identity.users", "CASCADE"),
        inner_key("blocks", "user_id", "identity.users", "CASCADE"),
        tenant_key("blocks"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_blocks")),
        sa.UniqueConstraint("tenant_id", "user_id", "blocked_id", name=("uq_blocks_tenant_id_user_id_blocked_id")),
        schema="community",
    )
    add_index("ix_blocks_blocked_id", "community.blocks", "tenant_id", "blocked_id")
    op.create_table(
        "messages",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column(
            "conversation_id",
            sa.Uuid(),
            sa.Computed(
                "md5(LEAST(sender_id, recipient_id)::text || GREATEST(sender_id, recipient_id)::text)::uuid",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("sender_id", sa.Uuid(), nullable=False),
        sa.Column("recipient_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("attachments", sa.LargeBinary(), nullable=True),
        sa.Column("is_read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_deleted_by_sender", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_deleted_by_recipient", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("is_read = (read_at IS NOT NULL)", name=op.f("ck_messages_read_at")),
        sa.CheckConstraint("octet_length(attachments) <= 65536", name=op.f("ck_messages_attachments_size")),
        sa.CheckConstraint("octet_length(content) <= 65536", name=op.f("ck_messages_content_size")),
        sa.CheckConstraint("sender_id <> recipient_id", name=op.f("ck_messages_no_self_message")),
        inner_key("messages", "recipient_id", "identity.users", "CASCADE"),
        inner_key("messages", "sender_id", "identity.users", "CASCADE"),
        tenant_key("messages"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_messages")),
        schema="community",
    )
    add_index(
        "ix_messages_conversation", "community.messages", "tenant_id", "conversation_id", "created_at DESC", "id DESC"
    )
    add_index("ix_messages_recipient", "community.messages", "tenant_id", "recipient_id", "created_at DESC", "id DESC")
    add_index("ix_messages_sender", "community.messages", "tenant_id", "sender_id", "created_at DESC", "id DESC")
    add_index(
        "ix_messages_unread", "community.messages", "tenant_id", "recipient_id", "conversation_id", where="NOT is_read"
    )
    op.create_table(
        "posts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=500), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("category", sa.String(length=50), nullable=False),
        sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column(
            "media_urls", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("view_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("like_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("comment_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("bookmark_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("share_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="published", nullable=False),
        sa.Column("moderated_by", sa.Uuid(), nullable=True),
        sa.Column("moderation_note", sa.Text(), nullable=True),
        sa.Column("is_pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("featured_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slug", sa.String(length=500), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "search_words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('english'::regconfig, COALESCE(title, ''::character varying)::text || ' '::text || content)",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "category IN ('discussion', 'story', 'question', 'project', 'announcement')", name=op.f("ck_posts_category")
        ),
        sa.CheckConstraint("jsonb_typeof(media_urls) = 'array'", name=op.f("ck_posts_media_urls_list")),
        sa.CheckConstraint("jsonb_typeof(tags) = 'array'", name=op.f("ck_posts_tags_list")),
        sa.CheckConstraint("status <> 'published' OR published_at IS NOT NULL", name=op.f("ck_posts_published_at")),
        sa.CheckConstraint(
            "status IN ('draft', 'pending', 'published', 'flagged', 'removed')", name=op.f("ck_posts_status")
        ),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_posts_visibility"),
        ),
        inner_key("posts", "author_id", "identity.users", "SET NULL"),
        inner_key("posts", "client_id", "identity.users"),
        inner_key("posts", "coach_id", "identity.users"),
        inner_key("posts", "moderated_by", "identity.users", "SET NULL"),
        tenant_key("posts"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_posts")),
        sa.UniqueConstraint("tenant_id", "slug", name=("uq_posts_tenant_id_slug")),
        schema="community",
    )
    add_index("ix_posts_author_id", "community.posts", "tenant_id", "author_id", "created_at")
    add_index(
        "ix_posts_category",
        "community.posts",
        "tenant_id",
        "category",
        "is_pinned DESC",
        "published_at DESC",
        "id DESC",
        where="status = 'published'",
    )
    add_index(
        "ix_posts_featured", "community.posts", "tenant_id", "is_featured", "published_at DESC", where="is_featured"
    )
    add_index(
        "ix_posts_published",
        "community.posts",
        "tenant_id",
        "is_pinned DESC",
        "published_at DESC",
        "id DESC",
        where="status = 'published'",
    )
    add_index(
        "ix_posts_status", "community.posts", "tenant_id", "status", "created_at", "id", where="status <> 'published'"
    )
    op.create_table(
        "projects",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("submitted_by", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=True),
        sa.Column("problem_statement", sa.Text(), nullable=False),
        sa.Column("solution_description", sa.Text(), nullable=False),
        sa.Column("target_market", sa.Text(), nullable=True),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column(
            "support_needed", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("pitch_deck_url", sa.String(length=500), nullable=True),
        sa.Column("demo_url", sa.String(length=500), nullable=True),
        sa.Column("repo_url", sa.String(length=500), nullable=True),
        sa.Column(
            "media_urls", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("view_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("endorsement_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("collaboration_request_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="pending", nullable=False),
        sa.Column("reviewed_by", sa.Uuid(), nullable=True),
        sa.Column("review_notes", sa.Text(), nullable=True),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("featured_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("jsonb_typeof(media_urls) = 'array'", name=op.f("ck_projects_media_urls_list")),
        sa.CheckConstraint("jsonb_typeof(support_needed) = 'array'", name=op.f("ck_projects_support_needed_list")),
        sa.CheckConstraint("stage IN ('idea', 'prototype', 'active', 'scaling')", name=op.f("ck_projects_stage")),
        sa.CheckConstraint("status <> 'approved' OR published_at IS NOT NULL", name=op.f("ck_projects_published_at")),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'archived')", name=op.f("ck_projects_status")
        ),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_projects_visibility"),
        ),
        sa.CheckConstraint("reviewed_by <> submitted_by", name=op.f("ck_projects_no_self_review")),
        inner_key("projects", "client_id", "identity.users"),
        inner_key("projects", "coach_id", "identity.users"),
        inner_key("projects", "reviewed_by", "identity.users", "SET NULL"),
        inner_key("projects", "submitted_by", "identity.users", "SET NULL"),
        tenant_key("projects"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_projects")),
        sa.UniqueConstraint("tenant_id", "slug", name=("uq_projects_tenant_id_slug")),
        schema="community",
    )
    add_index(
        "ix_projects_published",
        "community.projects",
        "tenant_id",
        "published_at DESC",
        "id DESC",
        where="status = 'approved'",
    )
    add_index(
        "ix_projects_stage",
        "community.projects",
        "tenant_id",
        "stage",
        "published_at DESC",
        "id DESC",
        where="status = 'approved'",
    )
    add_index("ix_projects_status", "community.projects", "tenant_id", "status", "created_at DESC", "id DESC")
    add_index("ix_projects_submitted_by", "community.projects", "tenant_id", "submitted_by")
    op.create_table(
        "reactions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("entity_type", sa.String(length=20), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("reaction_type", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "entity_type IN ('post', 'comment', 'project', 'profile')", name=op.f("ck_reactions_entity_type")
        ),
        sa.CheckConstraint(
            "reaction_type <> 'endorse' OR entity_type IN ('project', 'profile')", name=op.f("ck_reactions_endorse")
        ),
        sa.CheckConstraint(
            "reaction_type IN ('like', 'love', 'bookmark', 'endorse')", name=op.f("ck_reactions_reaction_type")
        ),
        inner_key("reactions", "user_id", "identity.users", "CASCADE"),
        tenant_key("reactions"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_reactions")),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "entity_type", "entity_id", "reaction_type", name="uq_reactions_once"
        ),
        schema="community",
    )
    add_index("ix_reactions_entity", "community.reactions", "tenant_id", "entity_type", "entity_id")
    add_index(
        "ix_reactions_user_id", "community.reactions", "tenant_id", "user_id", "reaction_type", "created_at", "id"
    )
    add_index(
        "uq_reactions_liked",
        "community.reactions",
        "tenant_id",
        "user_id",
        "entity_type",
        "entity_id",
        unique=True,
        where="reaction_type IN ('like', 'love')",
    )
    op.create_table(
        "comments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("parent_comment_id", sa.Uuid(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("like_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="published", nullable=False),
        sa.Column("moderated_by", sa.Uuid(), nullable=True),
        sa.Column("moderation_note", sa.Text(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_post_published", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('published', 'flagged', 'removed')", name=op.f("ck_comments_status")),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_comments_visibility"),
        ),
        sa.CheckConstraint("depth BETWEEN 0 AND 8", name=op.f("ck_comments_depth")),
        inner_key("comments", "author_id", "identity.users", "SET NULL"),
        inner_key("comments", "client_id", "identity.users"),
        inner_key("comments", "coach_id", "identity.users"),
        inner_key("comments", "moderated_by", "identity.users", "SET NULL"),
        inner_key("comments", ("post_id", "parent_comment_id"), "community.comments(post_id, id)", "CASCADE"),
        inner_key("comments", "post_id", "community.posts", "CASCADE"),
        tenant_key("comments"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_comments")),
        sa.UniqueConstraint("tenant_id", "post_id", "id", name=("uq_comments_tenant_id_post_id_id")),
        schema="community",
    )
    add_index("ix_comments_author_id", "community.comments", "tenant_id", "author_id")
    add_index(
        "ix_comments_parent_comment_id",
        "community.comments",
        "tenant_id",
        "post_id",
        "parent_comment_id",
        where="parent_comment_id IS NOT NULL",
    )
    add_index("ix_comments_post_id", "community.comments", "tenant_id", "post_id", "created_at", "id")
    add_index(
        "ix_comments_status",
        "community.comments",
        "tenant_id",
        "status",
        "created_at",
        "id",
        where="status <> 'published'",
    )
    op.create_table(
        "project_collaborators",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=100), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="requested", nullable=False),
        sa.Column("message", sa.String(length=2000), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'accepted') = (joined_at IS NOT NULL)", name=op.f("ck_project_collaborators_joined_at")
        ),
        sa.CheckConstraint(
            "status IN ('requested', 'accepted', 'declined')", name=op.f("ck_project_collaborators_status")
        ),
        inner_key("project_collaborators", "project_id", "community.projects", "CASCADE"),
        inner_key("project_collaborators", "user_id", "identity.users", "CASCADE"),
        tenant_key("project_collaborators"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_project_collaborators")),
        sa.UniqueConstraint(
            "tenant_id", "project_id", "user_id", name=("uq_project_collaborators_tenant_id_project_id_user_id")
        ),
        schema="community",
    )
    add_index("ix_project_collaborators_user_id", "community.project_collaborators", "tenant_id", "user_id")
