"""People and their API keys, and the look-ups that find a tenant."""

import sqlalchemy as sa
from alembic import op

from db import policies

revision = "0002"
down_revision = "0001"

FIND_PRINCIPAL = """
CREATE FUNCTION identity.find_api_key(wanted text)
RETURNS TABLE (tenant_id uuid, user_id uuid, role text, scope text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.tenant_id, k.user_id, u.role, k.scope
    FROM identity.api_keys k
    JOIN identity.users u ON u.tenant_id = k.tenant_id AND u.id = k.user_id AND u.status = 'active'
    JOIN platform.tenants t ON t.id = k.tenant_id AND t.status = 'active'
    WHERE k.hashed_key = wanted AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
CREATE FUNCTION identity.find_user(tenant_slug text, wanted text)
RETURNS TABLE (tenant_id uuid, user_id uuid, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.tenant_id, u.id, u.role
    FROM identity.users u JOIN platform.tenants t ON t.id = u.tenant_id AND t.status = 'active'
    WHERE t.slug = tenant_slug AND lower(u.email) = lower(wanted) AND u.status = 'active'
$$
"""


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA identity")
    op.execute("GRANT USAGE ON SCHEMA identity TO regenesis_app")
    op.create_table(
        "users",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("username", sa.String(length=100), nullable=True),
        sa.Column("email_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("full_name", sa.String(length=255), nullable=False),
        sa.Column("phone_number", sa.String(length=50), nullable=True),
        sa.Column("phone_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_login_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("two_factor_enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("two_factor_secret", sa.String(length=255), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("email ~* '^[A-Za-z0-9._%%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}$'", name=("ck_users_email")),
        sa.CheckConstraint(
            "role IN ('client', 'coach', 'admin', 'executive', 'compliance', 'evaluator')", name=("ck_users_role")
        ),
        sa.CheckConstraint(
            "status IN ('active', 'suspended', 'deleted', 'pending_verification')", name=("ck_users_status")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_users_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_users")),
        sa.UniqueConstraint("tenant_id", "email", name=("uq_users_tenant_id_email")),
        sa.UniqueConstraint("tenant_id", "username", name=("uq_users_tenant_id_username")),
        schema="identity",
    )
    op.create_index("ix_users_created_at", "users", ["tenant_id", "created_at"], unique=False, schema="identity")
    op.create_index("ix_users_status", "users", ["tenant_id", "status"], unique=False, schema="identity")
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hashed_key", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), server_default="chat search ingest", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_api_keys_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_api_keys_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_api_keys")),
        sa.UniqueConstraint("tenant_id", "hashed_key", name=("uq_api_keys_tenant_id_hashed_key")),
        schema="identity",
    )
    op.create_index("ix_api_keys_hashed_key", "api_keys", ["hashed_key"], unique=False, schema="identity")
    op.create_index("ix_api_keys_user_id", "api_keys", ["tenant_id", "user_id"], unique=False, schema="identity")
    op.execute(FIND_PRINCIPAL)
    op.execute("GRANT EXECUTE ON FUNCTION identity.find_api_key(text), identity.find_user(text, text) TO regenesis_app")
    for table in ("identity.users", "identity.api_keys"):
        policies.isolate_tenants(table, to="regenesis_app")
        policies.allow_owner_lookup(table)
        policies.grant(table)
    policies.guard_reading(
        "identity.users",
        f"id = {policies.USER} OR id = ANY ({policies.CLIENTS}) OR {policies.ROLE} IN ('admin', 'compliance')",
        to="regenesis_app",
    )
    policies.guard_reading(
        "identity.api_keys", f"user_id = {policies.USER} OR {policies.ROLE} = 'admin'", to="regenesis_app"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA identity CASCADE")
