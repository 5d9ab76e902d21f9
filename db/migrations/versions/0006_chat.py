"""Conversations, citations and agent runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA chat")
    op.execute("GRANT USAGE ON SCHEMA chat TO regenesis_app")
    op.create_table(
        "chat_sessions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_chat_sessions_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_chat_sessions_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_chat_sessions_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_chat_sessions")),
        schema="chat",
    )
    op.create_index(
        "ix_chat_sessions_user", "chat_sessions", ["tenant_id", "user_id", "updated_at"], unique=False, schema="chat"
    )
    op.create_table(
        "agent_runs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("agent_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'refused', 'cancelled')", name=("ck_agent_runs_status")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "session_id"],
            ["chat.chat_sessions.tenant_id", "chat.chat_sessions.id"],
            name=("fk_agent_runs_tenant_id_session_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_agent_runs_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_agent_runs_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_agent_runs")),
        schema="chat",
    )
    op.create_index("ix_agent_runs_session_id", "agent_runs", ["tenant_id", "session_id"], unique=False, schema="chat")
    op.create_index("ix_agent_runs_started_at", "agent_runs", ["tenant_id", "started_at"], unique=False, schema="chat")
    op.create_table(
        "chat_messages",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("references", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("role IN ('user', 'assistant', 'system', 'tool')", name=("ck_chat_messages_role")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "session_id"],
            ["chat.chat_sessions.tenant_id", "chat.chat_sessions.id"],
            name=("fk_chat_messages_tenant_id_session_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_chat_messages_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_chat_messages_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", "created_at", name=("pk_chat_messages")),
        schema="chat",
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index(
        "ix_chat_messages_session",
        "chat_messages",
        ["tenant_id", "session_id", "created_at"],
        unique=False,
        schema="chat",
    )
    op.create_table(
        "agent_failures",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("agent_run_id", sa.Uuid(), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "agent_run_id"],
            ["chat.agent_runs.tenant_id", "chat.agent_runs.id"],
            name=("fk_agent_failures_tenant_id_agent_run_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_agent_failures_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_agent_failures")),
        schema="chat",
    )
    op.create_index(
        "ix_agent_failures_agent_run_id", "agent_failures", ["tenant_id", "agent_run_id"], unique=False, schema="chat"
    )
    op.create_table(
        "message_citations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("message_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=True),
        sa.Column("transcript_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("char_start", sa.Integer(), nullable=False),
        sa.Column("char_end", sa.Integer(), nullable=False),
        sa.CheckConstraint("char_end > char_start", name=("ck_message_citations_range")),
        sa.CheckConstraint("num_nonnulls(transcript_id, document_id) = 1", name=("ck_message_citations_one_source")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "chunk_id"],
            ["rag.document_chunks.tenant_id", "rag.document_chunks.id"],
            name=("fk_message_citations_tenant_id_chunk_id"),
            ondelete="SET NULL (chunk_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "document_id"],
            ["rag.documents.tenant_id", "rag.documents.id"],
            name=("fk_message_citations_tenant_id_document_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "message_id", "message_created_at"],
            ["chat.chat_messages.tenant_id", "chat.chat_messages.id", "chat.chat_messages.created_at"],
            name=("fk_message_citations_tenant_id_message_id_message_created_at"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "transcript_id"],
            ["rag.transcripts.tenant_id", "rag.transcripts.id"],
            name=("fk_message_citations_tenant_id_transcript_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_message_citations_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_message_citations_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "message_id", "ordinal", name=("pk_message_citations")),
        schema="chat",
    )
    op.create_index(
        "ix_message_citations_chunk_id", "message_citations", ["tenant_id", "chunk_id"], unique=False, schema="chat"
    )
    op.create_index(
        "ix_message_citations_document_id",
        "message_citations",
        ["tenant_id", "document_id"],
        unique=False,
        schema="chat",
    )
    op.create_index(
        "ix_message_citations_transcript_id",
        "message_citations",
        ["tenant_id", "transcript_id"],
        unique=False,
        schema="chat",
    )
    op.execute("CREATE TABLE chat.chat_messages_default PARTITION OF chat.chat_messages DEFAULT")
    op.execute("SELECT platform.create_month_partitions(12)")
    op.execute(
        "CREATE TRIGGER immutable BEFORE UPDATE ON chat.chat_messages "
        "FOR EACH ROW EXECUTE FUNCTION platform.refuse_change()"
    )
    policies.guard_private("chat.chat_sessions")
    policies.guard_private("chat.chat_messages", insert_only=True)
    policies.guard_private("chat.message_citations", insert_only=True)
    policies.guard_private("chat.agent_runs")
    policies.guard_where(
        "chat.agent_failures",
        "EXISTS (SELECT FROM chat.agent_runs r "
        "WHERE r.tenant_id = agent_failures.tenant_id AND r.id = agent_failures.agent_run_id)",
    )
    op.execute(
        "CREATE POLICY own_insert ON chat.agent_failures FOR INSERT WITH CHECK (EXISTS (SELECT FROM chat.agent_runs r "
        "WHERE r.tenant_id = agent_failures.tenant_id AND r.id = agent_failures.agent_run_id))"
    )
    policies.grant("chat.chat_sessions")
    policies.grant("chat.chat_messages", "SELECT, INSERT")
    policies.grant("chat.message_citations", "SELECT, INSERT")
    policies.grant("chat.agent_runs")
    policies.grant("chat.agent_failures", "SELECT, INSERT")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA chat CASCADE")
