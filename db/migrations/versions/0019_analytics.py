"""Tracked events, the materialised views over the store, and the guarded way to read them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import inner_key, tenant_key

revision = "0019"
down_revision = "0018"

COUNTED = (
    "commerce.transactions",
    "learning.programs",
    "learning.enrollments",
    "coaching.coaching_sessions",
    "coaching.session_feedback",
    "chat.agent_runs",
)
"""What the views count over. A materialised view is computed for all tenants at once by the owner, who is bound by
forced policies too: here those bind the app, and the owner may read, and only read."""

SMALLEST_GROUP = 5
"""People below which nothing is shown of a group (product.md)."""

ADMIN_DASHBOARD = """
CREATE MATERIALIZED VIEW analytics.admin_dashboard AS
SELECT t.id AS tenant_id,
       u.users, u.new_users_30d, u.active_users_7d,
       coalesce(m.revenue_monthly, '{}'::jsonb) AS revenue_monthly,
       coalesce(e.active_enrollments, 0) AS active_enrollments,
       coalesce(s.sessions_30d, 0) AS sessions_30d,
       now() AS computed_at
FROM platform.tenants t
CROSS JOIN LATERAL (
    SELECT count(*) AS users,
           count(*) FILTER (WHERE created_at >= now() - interval '30 days') AS new_users_30d,
           count(*) FILTER (WHERE last_login_at >= now() - interval '7 days') AS active_users_7d
    FROM identity.users WHERE tenant_id = t.id AND status <> 'deleted') u
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(currency, total) AS revenue_monthly FROM (
        SELECT currency, sum(CASE transaction_type WHEN 'refund' THEN -amount ELSE amount END) AS total
        FROM commerce.transactions
        WHERE tenant_id = t.id AND status = 'success' AND created_at >= now() - interval '1 month'
        GROUP BY currency) c) m ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS active_enrollments FROM learning.enrollments
    WHERE tenant_id = t.id AND status = 'active') e ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS sessions_30d FROM coaching.coaching_sessions
    WHERE tenant_id = t.id AND status = 'completed' AND scheduled_at >= now() - interval '30 days') s ON true
"""

PROGRAM_PERFORMANCE = """
CREATE MATERIALIZED VIEW analytics.program_performance AS
SELECT p.tenant_id, p.id AS program_id, p.title, p.category,
       count(DISTINCT e.user_id) AS enrollment_count,
       round(avg((e.status = 'completed')::int) FILTER (WHERE e.id IS NOT NULL), 4) AS completion_rate,
       round(avg(e.progress_percent), 1) AS average_progress,
       round(avg(e.rating), 2) AS avg_rating,
       count(e.rating) AS rating_count,
       now() AS computed_at
FROM learning.programs p
LEFT JOIN learning.enrollments e ON e.tenant_id = p.tenant_id AND e.program_id = p.id
GROUP BY p.tenant_id, p.id
"""

COACHING_OUTCOMES = """
CREATE MATERIALIZED VIEW analytics.coaching_outcomes AS
SELECT s.tenant_id, date_trunc('month', s.scheduled_at, 'UTC')::date AS month,
       count(*) FILTER (WHERE s.status = 'completed') AS sessions_completed,
       count(*) FILTER (WHERE s.status = 'cancelled') AS sessions_cancelled,
       count(*) FILTER (WHERE s.status = 'no_show') AS sessions_missed,
       count(DISTINCT s.client_id) AS clients, count(DISTINCT s.coach_id) AS coaches,
       round(avg(s.duration_minutes) FILTER (WHERE s.status = 'completed'), 1) AS average_minutes,
       round(avg(f.rating), 2) AS avg_rating, count(f.rating) AS rating_count,
       now() AS computed_at
FROM coaching.coaching_sessions s
LEFT JOIN coaching.session_feedback f ON f.tenant_id = s.tenant_id AND f.session_id = s.id
GROUP BY s.tenant_id, date_trunc('month', s.scheduled_at, 'UTC')::date
"""

RAG_USAGE = """
CREATE MATERIALIZED VIEW analytics.rag_usage AS
SELECT r.tenant_id, (r.started_at AT TIME ZONE 'UTC')::date AS day,
       count(*) AS runs, count(DISTINCT r.user_id) AS users,
       count(*) FILTER (WHERE r.status = 'succeeded') AS answered,
       count(*) FILTER (WHERE r.status = 'refused') AS refused,
       count(*) FILTER (WHERE r.status = 'failed') AS failed,
       (percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM r.completed_at - r.started_at)) * 1000)::int
           AS p50_ms,
       (percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM r.completed_at - r.started_at)) * 1000)::int
           AS p95_ms,
       now() AS computed_at
FROM chat.agent_runs r
GROUP BY r.tenant_id, (r.started_at AT TIME ZONE 'UTC')::date
"""

KEYS = {
    "admin_dashboard": "tenant_id",
    "program_performance": "tenant_id, program_id",
    "coaching_outcomes": "tenant_id, month",
    "rag_usage": "tenant_id, day",
}

HIDDEN = {
    "admin_dashboard": (),
    "program_performance": (("enrollment_count", ("completion_rate", "average_progress", "avg_rating")),),
    "coaching_outcomes": (("clients", ("average_minutes", "avg_rating")),),
    "rag_usage": (),
}
"""Per view: the column that counts people, and those that are not shown when it is small."""

REFRESH = """
CREATE FUNCTION analytics.refresh(view_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_matviews WHERE schemaname = 'analytics' AND matviewname = view_name) THEN
        RAISE EXCEPTION 'there is no materialised view analytics.%', view_name USING ERRCODE = 'undefined_table';
    END IF;
    EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY analytics.%I', view_name);
END $$
"""

# Words and names stay out; the hash is salted with the tenant, so that nobody can be followed from one to another.
READ_USERS = """
CREATE FUNCTION analytics.read_users() RETURNS TABLE (hashed_user_id text, signup_month date, country text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT encode(sha256(convert_to(u.tenant_id::text || u.id::text, 'UTF8')), 'hex'),
           date_trunc('month', u.created_at, 'UTC')::date, p.location ->> 'country'
    FROM identity.users u
    LEFT JOIN identity.user_profiles p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
    WHERE u.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND u.status <> 'deleted'
      AND (SELECT current_setting('app.role')) IN ('admin', 'executive', 'system')
$$;
CREATE VIEW analytics.analytics_users WITH (security_invoker) AS SELECT * FROM analytics.read_users()
"""


def aim(table: str, was: str, now: str) -> None:
    """Let every policy of the table that bound one role bind another."""
    op.execute(
        f"""DO $$ DECLARE p record; BEGIN
            FOR p IN SELECT policyname FROM pg_policies
                     WHERE schemaname || '.' || tablename = '{table}' AND roles = '{{{was}}}' LOOP
                EXECUTE format('ALTER POLICY %I ON {table} TO {now}', p.policyname);
            END LOOP; END $$"""
    )


def read(view: str) -> str:
    """Return the function through which the tenant's admin and executives read the view, small groups hidden."""
    hidden = {column: people for people, columns in HIDDEN[view] for column in columns}
    shown = "to_jsonb(v)" + "".join(
        f" || CASE WHEN v.{people} < {SMALLEST_GROUP} THEN jsonb_build_object('{column}', NULL) ELSE '{{}}'::jsonb END"
        for column, people in hidden.items()
    )
    return f"""
    CREATE FUNCTION analytics.read_{view}() RETURNS SETOF analytics.{view}
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT shown.*
        FROM analytics.{view} v CROSS JOIN LATERAL jsonb_populate_record(NULL::analytics.{view}, {shown}) shown
        WHERE v.tenant_id = (SELECT current_setting('app.tenant_id')::uuid)
          AND (SELECT current_setting('app.role')) IN ('admin', 'executive', 'system')
    $$
    """


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA analytics")
    op.execute("GRANT USAGE ON SCHEMA analytics TO regenesis_app")
    policies.view_audit("analytics")
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.String(length=63), nullable=False),
        sa.Column("event_data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("event_type ~ '^[a-z][a-z0-9_.]{1,62}$'", name=op.f("ck_events_event_type")),
        sa.CheckConstraint("octet_length(event_data::text) <= 8192", name=op.f("ck_events_event_data")),
        tenant_key("events"),
        inner_key("events", "user_id", "identity.users", "CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "id", "occurred_at", name="pk_events"),
        schema="analytics",
        postgresql_partition_by="RANGE (occurred_at)",
    )
    for name, columns in (
        ("user_id", ["tenant_id", "user_id"]),
        ("event_type", ["tenant_id", "event_type", "occurred_at"]),
        ("occurred_at", ["tenant_id", "occurred_at"]),
    ):
        op.create_index(f"ix_events_{name}", "events", columns, schema="analytics")
    op.execute("CREATE TABLE analytics.events_default PARTITION OF analytics.events DEFAULT")
    op.execute("SELECT platform.create_month_partitions(12)")
    policies.isolate_tenants("analytics.events")
    policies.allow("analytics.events", "own_insert", "INSERT", f"user_id = {policies.USER}")
    policies.grant("analytics.events", "SELECT, INSERT, DELETE")
    for table in COUNTED:
        aim(table, "public", "regenesis_app")
        policies.allow_owner_lookup(table)
        policies.isolate_owner_writes(table)
    for view in (ADMIN_DASHBOARD, PROGRAM_PERFORMANCE, COACHING_OUTCOMES, RAG_USAGE):
        op.execute(view)
    for view, key in KEYS.items():
        op.execute(f"CREATE UNIQUE INDEX uq_{view} ON analytics.{view} ({key})")
        op.execute(read(view))
        op.execute(f"GRANT EXECUTE ON FUNCTION analytics.read_{view}() TO regenesis_app")
    op.execute(REFRESH)
    op.execute(READ_USERS)
    op.execute("GRANT EXECUTE ON FUNCTION analytics.refresh(text), analytics.read_users() TO regenesis_app")
    op.execute("GRANT SELECT ON analytics.analytics_users TO regenesis_app")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA analytics CASCADE")
    for table in COUNTED:
        for policy in ("owner_lookup", "owner_insert", "owner_update", "owner_delete"):
            op.execute(f"DROP POLICY {policy} ON {table}")
        aim(table, "regenesis_app", "public")
