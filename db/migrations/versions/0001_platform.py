"""Tenants and what the operator configures for them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies

revision = "0001"
down_revision = None

REFUSE_CHANGE = """
CREATE FUNCTION platform.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is never changed', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""

CREATE_MONTH_PARTITIONS = """
CREATE FUNCTION platform.create_month_partitions(months_ahead int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent record;
    month date;
    made int := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'months_ahead must lie between 0 and 60';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('regenesis.partitions'));
    FOR parent IN
        SELECT n.nspname AS schema, c.relname AS name
        FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE p.partstrat = 'r' AND pg_get_userbyid(c.relowner) = current_user
    LOOP
        FOR ahead IN 0..months_ahead LOOP
            month := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date;
            IF to_regclass(format('%I.%I', parent.schema, parent.name || to_char(month, '"_p"YYYY_MM'))) IS NULL THEN
                BEGIN
                    EXECUTE format(
                        'CREATE TABLE %I.%I PARTITION OF %I.%I FOR VALUES FROM (%L) TO (%L)',
                        parent.schema, parent.name || to_char(month, '"_p"YYYY_MM'), parent.schema, parent.name,
                        to_char(month, 'YYYY-MM-DD'), to_char(month + interval '1 month', 'YYYY-MM-DD'));
                    made := made + 1;
                EXCEPTION WHEN check_violation THEN
                    -- Rows of that month are in the default partition already; they stay there.
                    RAISE WARNING 'no partition of %.% for %: its default holds rows', parent.schema, parent.name, month;
                END;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$
"""

FIND_TENANT = """
CREATE FUNCTION platform.find_tenant(wanted text) RETURNS TABLE (id uuid, slug text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT t.id, t.slug, t.name FROM platform.tenants t WHERE t.slug = wanted AND t.status = 'active' $$;
CREATE FUNCTION platform.list_tenants() RETURNS TABLE (id uuid, slug text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT t.id, t.slug, t.name FROM platform.tenants t WHERE t.status = 'active' ORDER BY t.slug $$
"""


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA platform")
    op.execute("GRANT USAGE ON SCHEMA platform TO regenesis_app")
    op.execute("GRANT SELECT ON alembic_version TO regenesis_app")
    # Functions made by the owner are for whom they are granted to, not for everyone.
    op.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    op.create_table(
        "llm_providers",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("type IN ('openai_compatible', 'extractive')", name=("ck_llm_providers_type")),
        sa.PrimaryKeyConstraint("id", name=("pk_llm_providers")),
        sa.UniqueConstraint("name", name=("uq_llm_providers_name")),
        schema="platform",
    )
    op.create_table(
        "system_admins",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("immutable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_system_admins")),
        sa.UniqueConstraint("email", name=("uq_system_admins_email")),
        schema="platform",
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{1,62}$'", name=("ck_tenants_slug")),
        sa.CheckConstraint("status IN ('active', 'suspended', 'deleted')", name=("ck_tenants_status")),
        sa.CheckConstraint("retention_days > 0", name=("ck_tenants_retention_days")),
        sa.PrimaryKeyConstraint("id", name=("pk_tenants")),
        sa.UniqueConstraint("slug", name=("uq_tenants_slug")),
        schema="platform",
    )
    op.create_table(
        "encryption_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("algorithm", sa.Text(), server_default="AES-256-GCM", nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("destroyed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(wrapped_key IS NULL) = (destroyed_at IS NOT NULL)", name=("ck_encryption_keys_destroyed")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_encryption_keys_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_encryption_keys")),
        sa.UniqueConstraint("tenant_id", "purpose", "version", name=("uq_encryption_keys_tenant_id_purpose_version")),
        schema="platform",
    )
    op.create_table(
        "entitlements",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("limits", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_entitlements_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_entitlements")),
        sa.UniqueConstraint("tenant_id", "tier", "feature", name=("uq_entitlements_tenant_id_tier_feature")),
        schema="platform",
    )
    op.create_table(
        "system_settings",
        sa.Column("setting_key", sa.String(length=100), nullable=False),
        sa.Column("setting_value", postgresql.JSONB(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_public", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["updated_by"], ["platform.system_admins.id"], name=("fk_system_settings_updated_by")),
        sa.PrimaryKeyConstraint("setting_key", name=("pk_system_settings")),
        schema="platform",
    )
    op.create_table(
        "tenant_llm_config",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), server_default=sa.text("1024"), nullable=False),
        sa.Column("temperature", sa.Float(), server_default=sa.text("0.2"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("max_tokens BETWEEN 16 AND 32768", name=("ck_tenant_llm_config_max_tokens")),
        sa.CheckConstraint("temperature BETWEEN 0 AND 2", name=("ck_tenant_llm_config_temperature")),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["platform.llm_providers.id"], name=("fk_tenant_llm_config_provider_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_tenant_llm_config_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_tenant_llm_config")),
        sa.UniqueConstraint("tenant_id", "priority", name=("uq_tenant_llm_config_tenant_id_priority")),
        schema="platform",
    )
    op.create_index(
        "ix_tenant_llm_config_provider_id", "tenant_llm_config", ["provider_id"], unique=False, schema="platform"
    )
    op.create_table(
        "tenant_quotas",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("max_tokens_per_day", sa.BigInteger(), nullable=True),
        sa.Column("max_ingestions_day", sa.Integer(), nullable=True),
        sa.Column("max_storage_bytes", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_tenant_quotas_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=("pk_tenant_quotas")),
        schema="platform",
    )
    op.create_table(
        "usage_metrics",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("feature", sa.Text(), server_default="all", nullable=False),
        sa.Column("tokens_used", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("requests", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("storage_used", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_usd", sa.Numeric(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_usage_metrics_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", "date", name=("pk_usage_metrics")),
        sa.UniqueConstraint("tenant_id", "date", "feature", name=("uq_usage_metrics_tenant_id_date_feature")),
        schema="platform",
        postgresql_partition_by="RANGE (date)",
    )
    op.execute(REFUSE_CHANGE)
    op.execute(CREATE_MONTH_PARTITIONS)
    op.execute("GRANT EXECUTE ON FUNCTION platform.create_month_partitions(int) TO regenesis_app")
    op.execute(FIND_TENANT)
    op.execute("GRANT EXECUTE ON FUNCTION platform.find_tenant(text), platform.list_tenants() TO regenesis_app")
    op.execute("CREATE TABLE platform.usage_metrics_default PARTITION OF platform.usage_metrics DEFAULT")
    op.execute("SELECT platform.create_month_partitions(12)")
    op.execute(
        "CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON platform.system_admins "
        "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
    )
    policies.isolate_tenants("platform.tenants", column="id", to="regenesis_app")
    policies.guard_reading("platform.tenants", "true", to="regenesis_app")
    policies.allow_owner_lookup("platform.tenants")
    for table in ("tenant_llm_config", "tenant_quotas", "entitlements"):
        policies.guard_shared(f"platform.{table}")
    policies.guard_where("platform.usage_metrics", f"{policies.ROLE} IN ('admin', 'executive')")
    policies.guard_internal("platform.encryption_keys")
    for table in ("tenants", "tenant_llm_config", "tenant_quotas", "usage_metrics", "encryption_keys", "entitlements"):
        policies.grant(f"platform.{table}")
    for table in ("system_admins", "system_settings", "llm_providers"):
        policies.grant(f"platform.{table}", "SELECT")
    op.execute(
        "INSERT INTO platform.llm_providers (name, type) VALUES "
        "('openai-compatible', 'openai_compatible'), ('extractive', 'extractive')"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC")
    op.execute("REVOKE SELECT ON alembic_version FROM regenesis_app")
    op.execute("DROP SCHEMA platform CASCADE")
