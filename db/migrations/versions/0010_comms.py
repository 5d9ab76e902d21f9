"""Notifications, webhooks and the transactional outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, tenant_key

revision = "0010"
down_revision = "0009"

# For code and for other schemas' triggers: whoever may change a row may promise a message about it. Where the whole
# tenant is being deleted there is nobody left to send one.
PUBLISH = """
CREATE FUNCTION comms.publish(topic text, payload jsonb, key text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    message uuid;
BEGIN
    INSERT INTO comms.outbox AS o (tenant_id, topic, payload, key)
    SELECT t.id, publish.topic, publish.payload, publish.key FROM platform.tenants t WHERE t.id = tenant
    RETURNING o.id INTO message;
    PERFORM pg_notify('regenesis_outbox', tenant::text);
    RETURN message;
END $$
"""

# A person's session speaks in that person's name only; the pipelines may name an actor or none.
NOTIFY = """
CREATE FUNCTION comms.notify(
    recipient uuid, kind text, title text, message text, action_url text DEFAULT NULL,
    reference_type text DEFAULT NULL, reference_id uuid DEFAULT NULL, actor uuid DEFAULT NULL,
    method text DEFAULT 'in_app', deduplication_key text DEFAULT NULL, expires_at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    speaker uuid := coalesce(nullif(current_setting('app.user_id'), '')::uuid, actor);
    made uuid := uuidv7();
BEGIN
    IF notify.deduplication_key IS NOT NULL THEN
        INSERT INTO comms.notification_keys VALUES (tenant, recipient, notify.deduplication_key, made)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO comms.notifications (
        tenant_id, id, user_id, notification_type, title, message, action_url, reference_type, reference_id, actor_id,
        delivery_method, delivered, delivered_at, expires_at
    ) VALUES (
        tenant, made, recipient, kind, notify.title, notify.message, notify.action_url, notify.reference_type,
        notify.reference_id, speaker, method, method = 'in_app', CASE method WHEN 'in_app' THEN now() END,
        notify.expires_at
    );
    IF method <> 'in_app' THEN
        PERFORM comms.publish('notification_delivery', jsonb_build_object('notification_id', made, 'created_at', now()));
    END IF;
    RETURN made;
END $$
"""

# Walks the index from tenant to tenant, so one tenant's hundred thousand messages cost as much as another's one.
LIST_DUE_TENANTS = """
CREATE FUNCTION comms.list_due_tenants(after uuid, most int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE first AS (
        (SELECT o.tenant_id, o.available_at FROM comms.outbox o
         WHERE o.tenant_id > after AND o.delivered_at IS NULL AND o.dead_at IS NULL
         ORDER BY o.tenant_id, o.available_at LIMIT 1)
        UNION ALL
        SELECT following.* FROM first, LATERAL (
            SELECT o.tenant_id, o.available_at FROM comms.outbox o
            WHERE o.tenant_id > first.tenant_id AND o.delivered_at IS NULL AND o.dead_at IS NULL
            ORDER BY o.tenant_id, o.available_at LIMIT 1
        ) following
    )
    SELECT first.tenant_id FROM first JOIN platform.tenants t ON t.id = first.tenant_id
    WHERE first.available_at <= clock_timestamp() AND t.status = 'active'
    ORDER BY first.tenant_id LIMIT least(most, 1000)
$$
"""


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA comms")
    op.execute("GRANT USAGE ON SCHEMA comms TO regenesis_app")
    policies.view_audit("comms")
    op.create_table(
        "outbox",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("payload", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "available_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_by", sa.Uuid(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("topic ~ '^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$'", name=op.f("ck_outbox_topic")),
        sa.CheckConstraint("num_nonnulls(delivered_at, dead_at) <= 1", name=op.f("ck_outbox_one_end")),
        sa.CheckConstraint("octet_length(payload::text) <= 8192", name=op.f("ck_outbox_payload")),
        tenant_key("outbox"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_outbox")),
        schema="comms",
    )
    add_index("ix_outbox_created_at", "comms.outbox", "tenant_id", "created_at", "id")
    add_index("ix_outbox_dead", "comms.outbox", "tenant_id", "dead_at", where="dead_at IS NOT NULL")
    add_index("ix_outbox_delivered", "comms.outbox", "tenant_id", "delivered_at", where="delivered_at IS NOT NULL")
    add_index(
        "ix_outbox_due",
        "comms.outbox",
        "tenant_id",
        "available_at",
        "id",
        where="delivered_at IS NULL AND dead_at IS NULL",
    )
    add_index(
        "ix_outbox_key",
        "comms.outbox",
        "tenant_id",
        "key",
        "id",
        where="key IS NOT NULL AND delivered_at IS NULL AND dead_at IS NULL",
    )
    op.create_table(
        "notification_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("deduplication_key", sa.String(length=255), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        inner_key("notification_keys", "user_id", "identity.users", "CASCADE"),
        tenant_key("notification_keys"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "deduplication_key", name=("pk_notification_keys")),
        schema="comms",
    )
    add_index("ix_notification_keys_created_at", "comms.notification_keys", "tenant_id", "created_at")
    op.create_table(
        "notifications",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("notification_type", sa.String(length=50), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("action_url", sa.String(length=500), nullable=True),
        sa.Column("reference_type", sa.String(length=30), nullable=True),
        sa.Column("reference_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("is_read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivery_method", sa.String(length=20), server_default="in_app", nullable=False),
        sa.Column("delivered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivery_error", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "delivery_method IN ('in_app', 'email', 'sms', 'push')", name=op.f("ck_notifications_delivery_method")
        ),
        sa.CheckConstraint("delivered = (delivered_at IS NOT NULL)", name=op.f("ck_notifications_delivered")),
        sa.CheckConstraint("is_read = (read_at IS NOT NULL)", name=op.f("ck_notifications_read")),
        inner_key("notifications", "actor_id", "identity.users", "SET NULL"),
        inner_key("notifications", "user_id", "identity.users", "CASCADE"),
        tenant_key("notifications"),
        sa.PrimaryKeyConstraint("tenant_id", "id", "created_at", name=("pk_notifications")),
        schema="comms",
        postgresql_partition_by="RANGE (created_at)",
    )
    add_index(
        "ix_notifications_delivery",
        "comms.notifications",
        "tenant_id",
        "delivery_method",
        "delivered",
        where="delivered = false",
    )
    add_index(
        "ix_notifications_unread", "comms.notifications", "tenant_id", "user_id", "created_at", where="is_read = false"
    )
    add_index("ix_notifications_user", "comms.notifications", "tenant_id", "user_id", "is_read", "created_at")
    op.create_table(
        "webhooks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=True),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("failure_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_until IS NULL)", name=op.f("ck_webhooks_rotation")
        ),
        sa.CheckConstraint("cardinality(events) BETWEEN 1 AND 100", name=op.f("ck_webhooks_events")),
        sa.CheckConstraint("is_active = (disabled_at IS NULL)", name=op.f("ck_webhooks_disabled")),
        inner_key("webhooks", "created_by", "identity.users", "SET NULL"),
        tenant_key("webhooks"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_webhooks")),
        schema="comms",
    )
    add_index("ix_webhooks_active", "comms.webhooks", "tenant_id", where="is_active")
    add_index("ix_webhooks_created_at", "comms.webhooks", "tenant_id", "created_at")
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("outbox_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status_code", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("response_ms", sa.Integer(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'delivered') = (delivered_at IS NOT NULL)", name=op.f("ck_webhook_deliveries_delivered")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed', 'dead')", name=op.f("ck_webhook_deliveries_status")
        ),
        sa.CheckConstraint("response_ms >= 0", name=op.f("ck_webhook_deliveries_response_ms")),
        inner_key("webhook_deliveries", "webhook_id", "comms.webhooks", "CASCADE"),
        tenant_key("webhook_deliveries"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "tenant_id", "webhook_id", "outbox_id", name=("uq_webhook_deliveries_tenant_id_webhook_id_outbox_id")
        ),
        schema="comms",
    )
    add_index(
        "ix_webhook_deliveries_dead", "comms.webhook_deliveries", "tenant_id", "webhook_id", where="status = 'dead'"
    )
    add_index(
        "ix_webhook_deliveries_webhook", "comms.webhook_deliveries", "tenant_id", "webhook_id", "created_at", "id"
    )

    op.execute("CREATE TABLE comms.notifications_default PARTITION OF comms.notifications DEFAULT")
    op.execute("SELECT platform.create_month_partitions(12)")
    for statement in (PUBLISH, NOTIFY, LIST_DUE_TENANTS):
        op.execute(statement)
    op.execute(
        "GRANT EXECUTE ON FUNCTION comms.publish(text, jsonb, text), comms.notify(uuid, text, text, text, text, text, "
        "uuid, uuid, text, text, timestamptz), comms.list_due_tenants(uuid, int) TO regenesis_app"
    )
    # Rows are made by the functions above alone, which run as the owner and may do nothing else.
    for table in ("notifications", "notification_keys"):
        policies.isolate_tenants(f"comms.{table}")
        policies.allow(f"comms.{table}", "made_by_function", "INSERT", "true", to="regenesis_owner")
    for command in ("SELECT", "UPDATE"):
        policies.allow("comms.notifications", f"own_{command.lower()}", command, f"user_id = {policies.USER}")
    policies.grant(
        "comms.notifications", "SELECT, DELETE, UPDATE (is_read, read_at, delivered, delivered_at, delivery_error)"
    )
    policies.grant("comms.notification_keys", "SELECT, DELETE")
    policies.isolate_tenants("comms.outbox", to="regenesis_app")
    policies.allow_owner_lookup("comms.outbox")
    policies.allow("comms.outbox", "made_by_function", "INSERT", policies.TENANT, to="regenesis_owner")
    policies.guard_reading("comms.outbox", f"{policies.ROLE} = 'admin'", to="regenesis_app")
    policies.grant("comms.outbox", "SELECT, UPDATE, DELETE")
    policies.isolate_tenants("comms.webhooks")
    policies.allow("comms.webhooks", "admin_all", "ALL", f"{policies.ROLE} = 'admin'")
    policies.grant("comms.webhooks")
    policies.guard_where("comms.webhook_deliveries", f"{policies.ROLE} = 'admin'")
    policies.grant("comms.webhook_deliveries")
    # How deliveries go is no change of the webhook, so its counters leave no audit row.
    policies.audit_changes(
        "comms.webhooks",
        of="url, description, events, secret, previous_secret, is_active, disabled_at, disabled_reason",
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA comms CASCADE")
