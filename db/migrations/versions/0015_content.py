"""Approvals, media, tags, FAQs, blog posts and skills."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, read_sql, tenant_key
from db.counting import keep_counts

revision = "0015"
down_revision = "0014"

SQL = read_sql("0015_content")

USER, ROLE = policies.USER, policies.ROLE
SHOWN = f"visibility = ANY ({policies.VISIBILITIES}) AND ({policies.AUDIENCE})"
TAKES_PART = f"{ROLE} IN ('client', 'coach', 'admin')"
WRITES = f"visibility = ANY ({policies.VISIBILITIES}) AND client_id IS NULL AND coach_id IS NULL"

DEFINER = "RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

STEP_APPROVAL = SQL["step_approval"]
HASH_CONTENT = SQL["hash_content"]
NAME_TAG = SQL["name_tag"]
ADD_TAGS = SQL["add_tags"]
ADD_MEDIA = SQL["add_media"]
COUNT_LISTED = SQL["count_listed"]
SETTLE_BLOG_POST = SQL["settle_blog_post"]

LISTED = (
    ("community.posts", "tags", "tags"),
    ("learning.programs", "tags", "tags"),
    ("community.posts", "media", "media_urls"),
    ("community.projects", "media", "media_urls"),
    ("content.blog_posts", "media", "media_urls"),
)
"""Table, what its lists name, the column."""


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA content")
    op.execute("GRANT USAGE ON SCHEMA content TO regenesis_app")
    _create_tables()
    for statement in (STEP_APPROVAL, HASH_CONTENT, NAME_TAG, ADD_TAGS, ADD_MEDIA, SETTLE_BLOG_POST):
        op.execute(statement)
    for noun, column in (("tags", "tags"), ("media", "media_urls")):
        op.execute(COUNT_LISTED % {"noun": noun, "column": column})
    _attach_triggers()
    _guard()
    _audit()


def _attach_triggers() -> None:
    op.execute(
        "CREATE TRIGGER step BEFORE INSERT OR UPDATE ON content.content_approvals "
        "FOR EACH ROW EXECUTE FUNCTION content.step_approval()"
    )
    op.execute(
        "CREATE TRIGGER settle BEFORE INSERT OR UPDATE ON content.blog_posts "
        "FOR EACH ROW EXECUTE FUNCTION content.settle_blog_post()"
    )
    for table, noun, column in LISTED:
        op.execute(
            f"CREATE TRIGGER {noun}_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS added "
            f"FOR EACH STATEMENT EXECUTE FUNCTION content.count_{noun}()"
        )
        op.execute(
            f"CREATE TRIGGER {noun}_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone "
            f"FOR EACH STATEMENT EXECUTE FUNCTION content.count_{noun}()"
        )
        op.execute(
            f"CREATE TRIGGER {noun}_update AFTER UPDATE OF {column} ON {table} FOR EACH ROW "
            f"WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION content.count_{noun}()"
        )
    op.execute("GRANT EXECUTE ON FUNCTION content.hash_content(text, uuid) TO regenesis_app")
    op.execute("GRANT EXECUTE ON FUNCTION content.name_tag(text) TO regenesis_app")
    keep_counts("content.faq_votes", ("content.faqs", "id", "faq_id", {"helpful_count": "true"}))


def _guard() -> None:
    tables = (
        "content_approvals", "media_assets", "tags", "faqs", "faq_votes", "blog_posts", "skills", "user_skills",
        "project_skills", "blog_post_skills",
    )  # fmt: skip
    for table in tables:
        policies.isolate_tenants(f"content.{table}")
    for table in ("media_assets", "tags", "faqs"):
        # The triggers run as the owner, whoever writes.
        policies.allow(f"content.{table}", "keeper", "ALL", "true", to="regenesis_owner")

    approvals = "content.content_approvals"
    policies.guard_reading(approvals, f"submitted_by = {USER} OR {ROLE} = 'admin'")
    policies.allow(approvals, "own_insert", "INSERT", f"submitted_by = {USER} AND {TAKES_PART}")
    policies.allow(approvals, "own_update", "UPDATE", f"submitted_by = {USER}")
    policies.allow(approvals, "reviewer_update", "UPDATE", f"{ROLE} = 'admin'")
    policies.grant(
        approvals,
        "SELECT, INSERT, UPDATE (current_stage, editorial_reviewer_id, editorial_reviewed_at, editorial_notes, "
        "brand_reviewer_id, brand_reviewed_at, brand_notes, final_approver_id, final_approved_at, legal_notes, "
        "rejected_by, rejected_at, rejection_reason, updated_at)",
    )

    media = "content.media_assets"
    policies.guard_reading(media, f"uploaded_by = {USER} OR {ROLE} = 'admin'")
    policies.allow(media, "own_insert", "INSERT", f"uploaded_by = {USER} AND {TAKES_PART}")
    policies.allow(media, "own_delete", "DELETE", f"(uploaded_by = {USER} OR {ROLE} = 'admin') AND usage_count = 0")
    policies.grant(
        media,
        "SELECT, DELETE, INSERT (tenant_id, id, filename, file_type, file_size_bytes, storage_provider, storage_bucket, "
        "storage_key, uploaded_by, usage_type, width_px, height_px, duration_seconds), "
        "UPDATE (public_url, cdn_url, usage_type, width_px, height_px, duration_seconds, thumbnail_url, processing_status)",
    )

    tags = "content.tags"
    policies.guard_reading(tags, "true")
    policies.allow(tags, "admin_insert", "INSERT", f"{ROLE} = 'admin'")
    policies.allow(tags, "admin_update", "UPDATE", f"{ROLE} = 'admin'")
    policies.allow(tags, "admin_delete", "DELETE", f"{ROLE} = 'admin' AND usage_count = 0")
    policies.grant(tags, "SELECT, DELETE, INSERT (tenant_id, id, name, slug, category), UPDATE (name, category)")

    faqs = "content.faqs"
    policies.guard_reading(faqs, f"is_published AND {SHOWN}")
    writes_faqs = f"({ROLE} = 'admin' OR {ROLE} = 'coach' AND visibility = 'coach_only') AND {WRITES}"
    policies.allow(faqs, "writer_all", "ALL", writes_faqs)
    words = "category, question, answer, sequence_order, is_published, visibility"
    policies.grant(faqs, f"SELECT, DELETE, INSERT (tenant_id, id, {words}), UPDATE ({words}, updated_at)")
    policies.allow(
        "content.faq_votes", "own_all", "ALL",
        f"user_id = {USER} AND EXISTS (SELECT FROM content.faqs f WHERE f.tenant_id = faq_votes.tenant_id AND f.id = faq_id)",
    )  # fmt: skip
    policies.grant("content.faq_votes", "SELECT, INSERT, DELETE")

    articles = "content.blog_posts"
    policies.guard_reading(articles, f"status = 'published' AND {SHOWN}")
    own_article = f"author_id = {USER} AND {ROLE} IN ('coach', 'admin')"
    policies.allow(articles, "own_reading", "SELECT", own_article)
    policies.allow(articles, "editor_reading", "SELECT", f"{ROLE} = 'admin' AND {SHOWN}")
    policies.allow(articles, "own_insert", "INSERT", f"{own_article} AND {WRITES}")
    policies.allow(articles, "own_update", "UPDATE", f"{own_article} AND {WRITES}")
    policies.allow(articles, "editor_update", "UPDATE", f"{ROLE} = 'admin' AND {WRITES}")
    policies.allow(articles, "own_delete", "DELETE", own_article)
    policies.allow(articles, "editor_delete", "DELETE", f"{ROLE} = 'admin' AND {WRITES}")
    policies.grant(articles)

    policies.guard_reading("content.skills", "true")
    policies.allow("content.skills", "writer_insert", "INSERT", f"{ROLE} IN ('coach', 'admin')")
    policies.allow("content.skills", "admin_update", "UPDATE", f"{ROLE} = 'admin'")
    policies.allow("content.skills", "admin_delete", "DELETE", f"{ROLE} = 'admin'")
    policies.grant("content.skills", "SELECT, DELETE, INSERT, UPDATE (name, category)")
    policies.guard_reading(
        "content.user_skills", f"user_id = {USER} OR user_id = ANY ({policies.CLIENTS}) OR {ROLE} = 'admin'"
    )
    policies.allow("content.user_skills", "own_all", "ALL", f"user_id = {USER}")
    policies.grant("content.user_skills", "SELECT, INSERT, DELETE, UPDATE (level)")
    # Whoever reads the project or article reads its skills; whoever wrote it chooses them.
    for table, key, parent, writer in (
        ("project_skills", "project_id", "community.projects", "submitted_by"),
        ("blog_post_skills", "blog_post_id", "content.blog_posts", "author_id"),
    ):
        named = f"SELECT FROM {parent} o WHERE o.tenant_id = {table}.tenant_id AND o.id = {table}.{key}"
        policies.guard_reading(f"content.{table}", f"EXISTS ({named})")
        policies.allow(f"content.{table}", "writer_all", "ALL", f"EXISTS ({named} AND o.{writer} = {USER})")
        policies.grant(f"content.{table}", "SELECT, INSERT, DELETE")


def _audit() -> None:
    policies.view_audit("content")
    policies.audit_changes("content.content_approvals", "content_type", "current_stage")
    policies.audit_changes(
        "content.media_assets", "file_type", "storage_provider", "usage_type", "processing_status",
        of="public_url, cdn_url, usage_type, width_px, height_px, duration_seconds, thumbnail_url, processing_status",
    )  # fmt: skip
    # A tag's use is counted by triggers, a question's views too.
    policies.audit_changes("content.tags", of="name, category")
    policies.audit_changes(
        "content.faqs", "visibility", of="category, question, answer, sequence_order, is_published, visibility"
    )
    policies.audit_changes("content.blog_posts", "status", "visibility")
    for table in ("faq_votes", "skills", "project_skills", "blog_post_skills"):
        policies.audit_changes(f"content.{table}")
    policies.audit_changes("content.user_skills", "level")


def downgrade() -> None:
    """Take back."""
    for table, noun, _ in LISTED:
        for event in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER {noun}_{event} ON {table}")
    op.execute("DROP SCHEMA content CASCADE")


def _create_tables() -> None:
    op.create_table(
        "skills",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("category", sa.String(length=50), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        tenant_key("skills"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_skills")),
        sa.UniqueConstraint("tenant_id", "name", name=("uq_skills_tenant_id_name")),
        schema="content",
    )
    add_index("ix_skills_category", "content.skills", "tenant_id", "category")
    op.create_table(
        "tags",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("slug", sa.String(length=100), nullable=False),
        sa.Column("category", sa.String(length=50), nullable=True),
        sa.Column("usage_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("slug <> ''", name=op.f("ck_tags_slug")),
        sa.CheckConstraint("usage_count >= 0", name=op.f("ck_tags_usage_count")),
        tenant_key("tags"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_tags")),
        sa.UniqueConstraint("tenant_id", "name", name=("uq_tags_tenant_id_name")),
        sa.UniqueConstraint("tenant_id", "slug", name=("uq_tags_tenant_id_slug")),
        schema="content",
    )
    add_index("ix_tags_category", "content.tags", "tenant_id", "category")
    add_index("ix_tags_usage_count", "content.tags", "tenant_id", "usage_count DESC", "id DESC")
    op.create_table(
        "blog_posts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=False),
        sa.Column("summary", sa.String(length=2000), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column(
            "media_urls", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("status", sa.String(length=20), server_default="draft", nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("jsonb_typeof(media_urls) = 'array'", name=op.f("ck_blog_posts_media_urls_list")),
        sa.CheckConstraint(
            "status <> 'published' OR published_at IS NOT NULL", name=op.f("ck_blog_posts_published_at")
        ),
        sa.CheckConstraint("status IN ('draft', 'published', 'archived')", name=op.f("ck_blog_posts_status")),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_blog_posts_visibility"),
        ),
        inner_key("blog_posts", "author_id", "identity.users", "SET NULL"),
        inner_key("blog_posts", "client_id", "identity.users"),
        inner_key("blog_posts", "coach_id", "identity.users"),
        tenant_key("blog_posts"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_blog_posts")),
        sa.UniqueConstraint("tenant_id", "slug", name=("uq_blog_posts_tenant_id_slug")),
        schema="content",
    )
    add_index("ix_blog_posts_author_id", "content.blog_posts", "tenant_id", "author_id")
    add_index(
        "ix_blog_posts_published",
        "content.blog_posts",
        "tenant_id",
        "published_at DESC",
        "id DESC",
        where="status = 'published'",
    )
    op.create_table(
        "content_approvals",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("content_type", sa.String(length=30), nullable=False),
        sa.Column("content_id", sa.Uuid(), nullable=False),
        sa.Column("current_stage", sa.String(length=30), nullable=False),
        sa.Column("submitted_by", sa.Uuid(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("editorial_reviewer_id", sa.Uuid(), nullable=True),
        sa.Column("editorial_reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("editorial_notes", sa.Text(), nullable=True),
        sa.Column("brand_reviewer_id", sa.Uuid(), nullable=True),
        sa.Column("brand_reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("brand_notes", sa.Text(), nullable=True),
        sa.Column("final_approver_id", sa.Uuid(), nullable=True),
        sa.Column("final_approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("legal_notes", sa.Text(), nullable=True),
        sa.Column("rejected_by", sa.Uuid(), nullable=True),
        sa.Column("rejected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("previous_approval_id", sa.Uuid(), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(current_stage = 'approved') = (final_approved_at IS NOT NULL)",
            name=op.f("ck_content_approvals_final_approved_at"),
        ),
        sa.CheckConstraint(
            "(current_stage = 'rejected') = (rejected_at IS NOT NULL)", name=op.f("ck_content_approvals_rejected_at")
        ),
        sa.CheckConstraint(
            "content_type IN ('post', 'program', 'project', 'event')", name=op.f("ck_content_approvals_content_type")
        ),
        sa.CheckConstraint(
            "current_stage IN ('draft', 'editorial_review', 'brand_review', 'legal_review', 'approved', 'rejected')",
            name=op.f("ck_content_approvals_current_stage"),
        ),
        sa.CheckConstraint(
            "submitted_by <> ALL (ARRAY[editorial_reviewer_id, brand_reviewer_id, final_approver_id]) IS NOT FALSE",
            name=op.f("ck_content_approvals_no_self_review"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_content_approvals_version")),
        inner_key("content_approvals", "brand_reviewer_id", "identity.users", "SET NULL"),
        inner_key("content_approvals", "editorial_reviewer_id", "identity.users", "SET NULL"),
        inner_key("content_approvals", "final_approver_id", "identity.users", "SET NULL"),
        inner_key("content_approvals", "previous_approval_id", "content.content_approvals", "SET NULL"),
        inner_key("content_approvals", "rejected_by", "identity.users", "SET NULL"),
        inner_key("content_approvals", "submitted_by", "identity.users", "SET NULL"),
        tenant_key("content_approvals"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_content_approvals")),
        sa.UniqueConstraint(
            "tenant_id",
            "content_type",
            "content_id",
            "version",
            name=("uq_content_approvals_tenant_id_content_type_content_id_version"),
        ),
        schema="content",
    )
    add_index(
        "ix_content_approvals_pending",
        "content.content_approvals",
        "tenant_id",
        "submitted_at",
        where="current_stage IN ('editorial_review', 'brand_review', 'legal_review')",
    )
    add_index("ix_content_approvals_stage", "content.content_approvals", "tenant_id", "current_stage", "submitted_at")
    add_index("ix_content_approvals_submitted_by", "content.content_approvals", "tenant_id", "submitted_by")
    add_index(
        "uq_content_approvals_open",
        "content.content_approvals",
        "tenant_id",
        "content_type",
        "content_id",
        unique=True,
        where="current_stage NOT IN ('approved', 'rejected')",
    )
    op.create_table(
        "faqs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("category", sa.String(length=100), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("sequence_order", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("view_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("helpful_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=op.f("ck_faqs_visibility"),
        ),
        inner_key("faqs", "client_id", "identity.users"),
        inner_key("faqs", "coach_id", "identity.users"),
        tenant_key("faqs"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_faqs")),
        schema="content",
    )
    add_index("ix_faqs_category", "content.faqs", "tenant_id", "category", "sequence_order", "id")
    add_index("ix_faqs_published", "content.faqs", "tenant_id", "sequence_order", "id", where="is_published")
    op.create_table(
        "media_assets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("filename", sa.String(length=500), nullable=False),
        sa.Column("file_type", sa.String(length=50), nullable=False),
        sa.Column("file_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_provider", sa.String(length=30), server_default="s3", nullable=False),
        sa.Column("storage_bucket", sa.String(length=255), nullable=True),
        sa.Column("storage_key", sa.String(length=500), nullable=False),
        sa.Column("public_url", sa.String(length=1000), nullable=True),
        sa.Column("cdn_url", sa.String(length=1000), nullable=True),
        sa.Column("uploaded_by", sa.Uuid(), nullable=False),
        sa.Column("usage_type", sa.String(length=30), nullable=True),
        sa.Column("usage_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=True),
        sa.Column("height_px", sa.Integer(), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("thumbnail_url", sa.String(length=500), nullable=True),
        sa.Column("processing_status", sa.String(length=20), server_default="uploaded", nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "processing_status IN ('uploaded', 'processing', 'ready', 'failed')",
            name=op.f("ck_media_assets_processing_status"),
        ),
        sa.CheckConstraint(
            "storage_provider IN ('s3', 'cloudinary', 'local')", name=op.f("ck_media_assets_storage_provider")
        ),
        sa.CheckConstraint("duration_seconds >= 0", name=op.f("ck_media_assets_duration")),
        sa.CheckConstraint("file_size_bytes > 0", name=op.f("ck_media_assets_file_size")),
        sa.CheckConstraint("width_px > 0 AND height_px > 0", name=op.f("ck_media_assets_pixels")),
        inner_key("media_assets", "uploaded_by", "identity.users", "CASCADE"),
        tenant_key("media_assets"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_media_assets")),
        sa.UniqueConstraint("tenant_id", "storage_key", name=("uq_media_assets_tenant_id_storage_key")),
        schema="content",
    )
    add_index("ix_media_assets_processing_status", "content.media_assets", "tenant_id", "processing_status")
    add_index("ix_media_assets_uploaded_by", "content.media_assets", "tenant_id", "uploaded_by", "uploaded_at", "id")
    add_index("ix_media_assets_usage_type", "content.media_assets", "tenant_id", "usage_type")
    op.create_table(
        "user_skills",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("skill_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "level IN ('beginner', 'intermediate', 'advanced', 'expert')", name=op.f("ck_user_skills_level")
        ),
        inner_key("user_skills", "skill_id", "content.skills", "CASCADE"),
        inner_key("user_skills", "user_id", "identity.users", "CASCADE"),
        tenant_key("user_skills"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "skill_id", name=("pk_user_skills")),
        schema="content",
    )
    add_index("ix_user_skills_skill_id", "content.user_skills", "tenant_id", "skill_id")
    op.create_table(
        "blog_post_skills",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("blog_post_id", sa.Uuid(), nullable=False),
        sa.Column("skill_id", sa.Uuid(), nullable=False),
        inner_key("blog_post_skills", "blog_post_id", "content.blog_posts", "CASCADE"),
        inner_key("blog_post_skills", "skill_id", "content.skills", "CASCADE"),
        tenant_key("blog_post_skills"),
        sa.PrimaryKeyConstraint("tenant_id", "blog_post_id", "skill_id", name=("pk_blog_post_skills")),
        schema="content",
    )
    add_index("ix_blog_post_skills_skill_id", "content.blog_post_skills", "tenant_id", "skill_id")
    op.create_table(
        "faq_votes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("faq_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        inner_key("faq_votes", "faq_id", "content.faqs", "CASCADE"),
        inner_key("faq_votes", "user_id", "identity.users", "CASCADE"),
        tenant_key("faq_votes"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_faq_votes")),
        sa.UniqueConstraint("tenant_id", "faq_id", "user_id", name=("uq_faq_votes_tenant_id_faq_id_user_id")),
        schema="content",
    )
    add_index("ix_faq_votes_user_id", "content.faq_votes", "tenant_id", "user_id")
    op.create_table(
        "project_skills",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("skill_id", sa.Uuid(), nullable=False),
        inner_key("project_skills", "project_id", "community.projects", "CASCADE"),
        inner_key("project_skills", "skill_id", "content.skills", "CASCADE"),
        tenant_key("project_skills"),
        sa.PrimaryKeyConstraint("tenant_id", "project_id", "skill_id", name=("pk_project_skills")),
        schema="content",
    )
    add_index("ix_project_skills_skill_id", "content.project_skills", "tenant_id", "skill_id")
