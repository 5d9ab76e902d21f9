"""Engagements and coaching sessions, and the binding of a reader."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies

revision = "0003"
down_revision = "0002"

BIND_READER = """
CREATE FUNCTION platform.bind_reader(tenant uuid, reader uuid, reader_role text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    actual text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)) THEN
        RAISE EXCEPTION 'role % goes around row-level security; sign in as regenesis_app', current_user
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM set_config('app.tenant_id', tenant::text, true),
            set_config('app.user_id', coalesce(reader::text, ''), true),
            set_config('app.role', reader_role, true),
            set_config('app.clients', CASE reader_role WHEN 'client' THEN reader::text ELSE '' END, true),
            set_config('app.visibilities', CASE reader_role
                WHEN 'client' THEN 'client_visible'
                WHEN 'coach' THEN 'client_visible,coach_only'
                WHEN 'admin' THEN 'client_visible,admin_aggregate'
                WHEN 'executive' THEN 'admin_aggregate'
                WHEN 'system' THEN 'client_visible,coach_only,admin_aggregate,system_internal'
                ELSE '' END, true);
    IF reader_role = 'system' THEN
        IF reader IS NOT NULL THEN
            RAISE EXCEPTION 'the system role belongs to no user' USING ERRCODE = 'invalid_authorization_specification';
        END IF;
        RETURN;
    END IF;
    SELECT u.role INTO actual
    FROM identity.users u JOIN platform.tenants t ON t.id = u.tenant_id
    WHERE u.tenant_id = tenant AND u.id = reader AND u.status = 'active' AND t.status = 'active';
    IF actual IS DISTINCT FROM reader_role THEN
        RAISE EXCEPTION 'user % is not an active % of this tenant', reader, reader_role
            USING ERRCODE = 'invalid_authorization_specification';
    END IF;
    IF reader_role = 'coach' THEN
        PERFORM set_config('app.clients', coalesce((
            SELECT string_agg(DISTINCT e.client_id::text, ',') FROM coaching.engagements e
            WHERE e.tenant_id = tenant AND e.coach_id = reader
              AND e.started_at <= now() AND (e.ended_at IS NULL OR e.ended_at > now())), ''), true);
    END IF;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA coaching")
    op.execute("GRANT USAGE ON SCHEMA coaching TO regenesis_app")
    op.create_table(
        "coaching_sessions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_minutes", sa.Integer(), server_default=sa.text("60"), nullable=False),
        sa.Column("timezone", sa.String(length=50), server_default="UTC", nullable=False),
        sa.Column("session_type", sa.String(length=20), server_default="one_on_one", nullable=False),
        sa.Column("topic", sa.String(length=500), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("meeting_platform", sa.String(length=20), nullable=True),
        sa.Column("meeting_link", sa.String(length=500), nullable=True),
        sa.Column("meeting_id", sa.String(length=100), nullable=True),
        sa.Column("meeting_password", sa.String(length=100), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="scheduled", nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.Uuid(), nullable=True),
        sa.Column("cancellation_reason", sa.Text(), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("action_items", postgresql.JSONB(), nullable=True),
        sa.Column("payment_amount", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("payment_status", sa.String(length=20), server_default="pending", nullable=False),
        sa.Column("visibility", sa.Text(), server_default="client_visible", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "payment_status IN ('pending', 'paid', 'refunded', 'cancelled')",
            name=("ck_coaching_sessions_payment_status"),
        ),
        sa.CheckConstraint(
            "session_type IN ('one_on_one', 'group', 'discovery_call')", name=("ck_coaching_sessions_session_type")
        ),
        sa.CheckConstraint(
            "status IN ('scheduled', 'confirmed', 'in_progress', 'completed', 'cancelled', 'no_show')",
            name=("ck_coaching_sessions_status"),
        ),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_coaching_sessions_visibility"),
        ),
        sa.CheckConstraint("coach_id <> client_id", name=("ck_coaching_sessions_no_self_coaching")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "cancelled_by"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_coaching_sessions_tenant_id_cancelled_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_coaching_sessions_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_coaching_sessions_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_coaching_sessions_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_coaching_sessions")),
        sa.UniqueConstraint(
            "tenant_id", "client_id", "external_id", name=("uq_coaching_sessions_tenant_id_client_id_external_id")
        ),
        schema="coaching",
    )
    op.create_index(
        "ix_coaching_sessions_client",
        "coaching_sessions",
        ["tenant_id", "client_id", "scheduled_at"],
        unique=False,
        schema="coaching",
    )
    op.create_index(
        "ix_coaching_sessions_coach",
        "coaching_sessions",
        ["tenant_id", "coach_id", "scheduled_at"],
        unique=False,
        schema="coaching",
    )
    op.create_index(
        "ix_coaching_sessions_status", "coaching_sessions", ["tenant_id", "status"], unique=False, schema="coaching"
    )
    op.create_table(
        "engagements",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("coach_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("coach_id <> client_id", name=("ck_engagements_no_self_coaching")),
        sa.CheckConstraint("ended_at IS NULL OR ended_at > started_at", name=("ck_engagements_ends_after_start")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_engagements_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_engagements_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_engagements_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_engagements")),
        schema="coaching",
    )
    op.create_index(
        "ix_engagements_client_id", "engagements", ["tenant_id", "client_id"], unique=False, schema="coaching"
    )
    op.create_index(
        "uq_engagements_open",
        "engagements",
        ["tenant_id", "coach_id", "client_id"],
        unique=True,
        schema="coaching",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    policies.guard_where(
        "coaching.engagements",
        f"coach_id = {policies.USER} OR client_id = {policies.USER} OR {policies.ROLE} IN ('admin', 'compliance')",
    )
    policies.guard_content("coaching.coaching_sessions")
    for table in ("engagements", "coaching_sessions"):
        policies.grant(f"coaching.{table}")
    # A client may see who coaches them.
    op.execute(
        "CREATE POLICY coaches ON identity.users FOR SELECT TO regenesis_app USING (EXISTS (SELECT FROM coaching.engagements e "
        f"WHERE e.tenant_id = users.tenant_id AND e.coach_id = users.id AND e.client_id = {policies.USER}))"
    )
    op.execute(BIND_READER)
    op.execute("GRANT EXECUTE ON FUNCTION platform.bind_reader(uuid, uuid, text) TO regenesis_app")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP FUNCTION platform.bind_reader(uuid, uuid, text)")
    op.execute("DROP POLICY coaches ON identity.users")
    op.execute("DROP SCHEMA coaching CASCADE")
