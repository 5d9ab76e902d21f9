"""Sources, objects and attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA ingestion")
    op.execute("GRANT USAGE ON SCHEMA ingestion TO regenesis_app")
    op.create_table(
        "data_sources",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), server_default="text", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("type IN ('text', 'image', 'audio', 'video')", name=("ck_data_sources_type")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_data_sources_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_data_sources")),
        sa.UniqueConstraint("tenant_id", "uri", name=("uq_data_sources_tenant_id_uri")),
        schema="ingestion",
    )
    op.create_table(
        "ingested_objects",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("data_source_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("cloudfront_url", sa.Text(), nullable=True),
        sa.Column("storage_key", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("checksum", sa.Text(), nullable=True),
        sa.Column("sidecar", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("sidecar_hash", sa.Text(), nullable=True),
        sa.Column("pipeline_version", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("coaching_session_id", sa.Uuid(), nullable=True),
        sa.Column("ingestion_status", sa.Text(), server_default="received", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("pieces", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(error IS NULL) = (ingestion_status <> 'failed')", name=("ck_ingested_objects_error_when_failed")
        ),
        sa.CheckConstraint(
            "ingestion_status IN ('received', 'indexed', 'failed', 'vanished')",
            name=("ck_ingested_objects_ingestion_status"),
        ),
        sa.CheckConstraint("kind IN ('transcript', 'document')", name=("ck_ingested_objects_kind")),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_ingested_objects_visibility"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_ingested_objects_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_ingested_objects_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coaching_session_id"],
            ["coaching.coaching_sessions.tenant_id", "coaching.coaching_sessions.id"],
            name=("fk_ingested_objects_tenant_id_coaching_session_id"),
            ondelete="SET NULL (coaching_session_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "data_source_id"],
            ["ingestion.data_sources.tenant_id", "ingestion.data_sources.id"],
            name=("fk_ingested_objects_tenant_id_data_source_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_ingested_objects_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_ingested_objects")),
        sa.UniqueConstraint(
            "tenant_id", "data_source_id", "key", name=("uq_ingested_objects_tenant_id_data_source_id_key")
        ),
        schema="ingestion",
    )
    op.create_index(
        "ix_ingested_objects_created_at",
        "ingested_objects",
        ["tenant_id", "created_at"],
        unique=False,
        schema="ingestion",
    )
    op.create_index(
        "ix_ingested_objects_status",
        "ingested_objects",
        ["tenant_id", "ingestion_status"],
        unique=False,
        schema="ingestion",
    )
    op.create_table(
        "ingestion_attempts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="running", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("pieces", sa.Integer(), nullable=True),
        sa.CheckConstraint("(finished_at IS NULL) = (outcome = 'running')", name=("ck_ingestion_attempts_finished")),
        sa.CheckConstraint(
            "outcome IN ('running', 'succeeded', 'failed', 'interrupted')", name=("ck_ingestion_attempts_outcome")
        ),
        sa.CheckConstraint(
            "stage IN ('read', 'parse', 'chunk', 'embed', 'index')", name=("ck_ingestion_attempts_stage")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "object_id"],
            ["ingestion.ingested_objects.tenant_id", "ingestion.ingested_objects.id"],
            name=("fk_ingestion_attempts_tenant_id_object_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_ingestion_attempts_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_ingestion_attempts")),
        schema="ingestion",
    )
    op.create_index(
        "ix_ingestion_attempts_object",
        "ingestion_attempts",
        ["tenant_id", "object_id", "started_at"],
        unique=False,
        schema="ingestion",
    )
    op.create_index(
        "ix_ingestion_attempts_running",
        "ingestion_attempts",
        ["tenant_id"],
        unique=False,
        schema="ingestion",
        postgresql_where=sa.text("outcome = 'running'"),
    )
    policies.guard_where("ingestion.data_sources", f"{policies.ROLE} IN ('coach', 'admin')")
    policies.guard_content("ingestion.ingested_objects")
    # An attempt is readable by whoever may read its object.
    policies.guard_where(
        "ingestion.ingestion_attempts",
        "EXISTS (SELECT FROM ingestion.ingested_objects o "
        "WHERE o.tenant_id = ingestion_attempts.tenant_id AND o.id = ingestion_attempts.object_id)",
    )
    for table in ("data_sources", "ingested_objects", "ingestion_attempts"):
        policies.grant(f"ingestion.{table}")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA ingestion CASCADE")
