"""What a tenant used and may use: counted a day, feature and flow run, and held to its quotas."""

import sqlalchemy as sa
from alembic import op

from db import policies
from db.ddl import read_sql, tenant_key

revision = "0029"
down_revision = "0028"

SQL = read_sql("0029_usage")
FUNCTIONS = {
    "require_system": "", "name_period": "text", "end_period": "text", "add_used": "uuid, text, numeric",
    "lock_quotas": "uuid", "reserve_usage": "uuid, bigint, int, bigint, numeric, interval, boolean",
    "reserve_objects": "uuid[], bigint[], interval", "settle_usage": "uuid[], jsonb, uuid, bigint, numeric",
    "hand_over_upload": "uuid",
}  # fmt: skip
CALLED = ("name_period", "end_period", "reserve_usage", "reserve_objects", "settle_usage", "hand_over_upload")
METRIC = "platform.usage_metrics"
COUNTED = {
    "ingestion.ingested_objects": "ingestion.count_object_bytes", "content.media_assets": "content.count_media_bytes",
}  # fmt: skip
NO_FLOW = "00000000-0000-0000-0000-000000000000"
REFERENCING = {
    "INSERT": "NEW TABLE AS added", "UPDATE": "NEW TABLE AS added OLD TABLE AS gone", "DELETE": "OLD TABLE AS gone",
}  # fmt: skip
TAKEN_OVER = (
    METRIC, "platform.quota_counters", "chat.agent_runs", "ingestion.ingested_objects", "content.media_assets",
)  # fmt: skip


def upgrade() -> None:
    """Apply."""
    _change_metrics()
    _create_tables()
    for name in FUNCTIONS:
        op.execute(SQL[name])
    for name in CALLED:
        op.execute(f"GRANT EXECUTE ON FUNCTION platform.{name}({FUNCTIONS[name]}) TO regenesis_app")
    _take_over()
    for table, function in COUNTED.items():
        op.execute(SQL[function.rpartition(".")[2]])
        for event, referencing in REFERENCING.items():
            op.execute(
                f"CREATE TRIGGER count_bytes_{event.lower()} AFTER {event} ON {table} REFERENCING {referencing} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )
    op.execute(SQL["end_reservation"])
    op.execute(
        "CREATE TRIGGER end_reservation AFTER UPDATE OF status ON chat.agent_runs FOR EACH ROW "
        "WHEN (OLD.status = 'running' AND NEW.status <> 'running') EXECUTE FUNCTION chat.end_reservation()"
    )


def _change_metrics() -> None:
    for name, kind in (
        ("input_tokens", sa.BigInteger()), ("output_tokens", sa.BigInteger()), ("ingestions", sa.Integer()),
        ("unpriced", sa.Integer()),
    ):  # fmt: skip
        op.add_column(
            "usage_metrics", sa.Column(name, kind, server_default=sa.text("0"), nullable=False), schema="platform"
        )
    op.add_column(
        "usage_metrics", sa.Column("flow_run_id", sa.Uuid(), server_default=NO_FLOW, nullable=False), schema="platform"
    )
    op.drop_constraint("uq_usage_metrics_tenant_id_date_feature", "usage_metrics", schema="platform")
    op.create_unique_constraint(
        "uq_usage_metrics_tenant_id_date_feature_flow_run_id", "usage_metrics",
        ["tenant_id", "date", "feature", "flow_run_id"], schema="platform",
    )  # fmt: skip
    op.create_check_constraint(
        op.f("ck_usage_metrics_feature"), "usage_metrics",
        "feature IN ('all', 'chat', 'search', 'embedding', 'evidence', 'evaluation', 'ingestion')", schema="platform",
    )  # fmt: skip
    op.create_check_constraint(
        op.f("ck_usage_metrics_counted_up"), "usage_metrics",
        "least(tokens_used, input_tokens, output_tokens, requests, ingestions, unpriced, storage_used, cost_usd) >= 0",
        schema="platform",
    )  # fmt: skip
    op.execute(f"REVOKE INSERT, UPDATE ON {METRIC} FROM regenesis_app")
    op.drop_constraint(op.f("ck_ingested_objects_ingestion_status"), "ingested_objects", schema="ingestion")
    op.create_check_constraint(
        op.f("ck_ingested_objects_ingestion_status"), "ingested_objects",
        "ingestion_status IN ('received', 'indexed', 'failed', 'vanished', 'refused')", schema="ingestion",
    )  # fmt: skip
    op.drop_constraint(op.f("ck_ingested_objects_error_when_failed"), "ingested_objects", schema="ingestion")
    op.create_check_constraint(
        op.f("ck_ingested_objects_error_when_failed"), "ingested_objects",
        "(error IS NULL) = (ingestion_status NOT IN ('failed', 'refused'))", schema="ingestion",
    )  # fmt: skip


def _create_tables() -> None:
    op.create_table(
        "quota_counters",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Date(), nullable=False),
        sa.Column("used", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('tokens', 'ingestions', 'storage', 'usd')", name=op.f("ck_quota_counters_kind")
        ),
        sa.CheckConstraint("used >= 0", name=op.f("ck_quota_counters_used")),
        tenant_key("quota_counters"),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "period", name="pk_quota_counters"),
        schema="platform",
    )
    op.create_table(
        "quota_reservations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("ingestions", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("usd", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("lapses_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("least(tokens, ingestions, bytes, usd) >= 0", name=op.f("ck_quota_reservations_amounts")),
        tenant_key("quota_reservations"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_quota_reservations"),
        schema="platform",
    )
    op.create_table(
        "model_prices",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("service", sa.Text(), server_default="*", nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("input_usd", sa.Numeric(), nullable=False),
        sa.Column("output_usd", sa.Numeric(), nullable=False),
        sa.Column("cached_usd", sa.Numeric(), nullable=True),
        sa.Column("valid_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "length(service) BETWEEN 1 AND 300 AND length(model) BETWEEN 1 AND 200",
            name=op.f("ck_model_prices_names"),
        ),
        sa.CheckConstraint("least(input_usd, output_usd, cached_usd) >= 0", name=op.f("ck_model_prices_prices")),
        tenant_key("model_prices"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_model_prices"),
        sa.UniqueConstraint(
            "tenant_id", "service", "model", "valid_from", name="uq_model_prices_tenant_id_service_model_valid_from"
        ),
        schema="platform",
    )
    for table in ("platform.quota_counters", "platform.quota_reservations"):
        policies.guard_where(table, "true")  # everyone may read what is left
        policies.allow(table, "counting", "ALL", policies.TENANT, to="regenesis_owner")
        policies.grant(table, "SELECT")
    policies.guard_shared("platform.model_prices")
    policies.grant("platform.model_prices")
    policies.audit_changes("platform.model_prices", "service", "model")


def _take_over() -> None:
    """Count what runs cost so far and what is stored, as the owner, whom nobody has bound to a tenant."""
    for table in TAKEN_OVER:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for name in ("take_over_usage", "take_over_counters", "take_over_storage"):
        op.execute(SQL[name])
    for table in TAKEN_OVER:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    """Take back; of usage by flow run, the sums stay."""
    op.execute("DROP TRIGGER end_reservation ON chat.agent_runs")
    op.execute("DROP FUNCTION chat.end_reservation()")
    for table, function in COUNTED.items():
        for event in REFERENCING:
            op.execute(f"DROP TRIGGER count_bytes_{event.lower()} ON {table}")
        op.execute(f"DROP FUNCTION {function}()")
    for name, arguments in reversed(FUNCTIONS.items()):
        op.execute(f"DROP FUNCTION platform.{name}({arguments})")
    for table in ("model_prices", "quota_reservations", "quota_counters"):
        op.drop_table(table, schema="platform")
    op.execute(f"ALTER TABLE {METRIC} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        f"WITH gone AS (DELETE FROM {METRIC} WHERE flow_run_id <> '{NO_FLOW}' RETURNING *) "
        f"INSERT INTO {METRIC} AS m (tenant_id, date, feature, tokens_used, requests, storage_used, cost_usd) "
        "SELECT tenant_id, date, feature, sum(tokens_used), sum(requests), sum(storage_used), sum(cost_usd) "
        f"FROM gone GROUP BY 1, 2, 3 ON CONFLICT (tenant_id, date, feature, flow_run_id) DO UPDATE SET "
        "tokens_used = m.tokens_used + excluded.tokens_used, requests = m.requests + excluded.requests, "
        "storage_used = m.storage_used + excluded.storage_used, "
        "cost_usd = coalesce(m.cost_usd + excluded.cost_usd, m.cost_usd, excluded.cost_usd)"
    )
    op.execute(f"ALTER TABLE {METRIC} FORCE ROW LEVEL SECURITY")
    op.drop_constraint(op.f("ck_usage_metrics_counted_up"), "usage_metrics", schema="platform")
    op.drop_constraint(op.f("ck_usage_metrics_feature"), "usage_metrics", schema="platform")
    op.drop_constraint("uq_usage_metrics_tenant_id_date_feature_flow_run_id", "usage_metrics", schema="platform")
    op.create_unique_constraint(
        "uq_usage_metrics_tenant_id_date_feature", "usage_metrics", ["tenant_id", "date", "feature"], schema="platform"
    )
    for column in ("unpriced", "ingestions", "output_tokens", "input_tokens", "flow_run_id"):
        op.drop_column("usage_metrics", column, schema="platform")
    op.execute(f"GRANT INSERT, UPDATE ON {METRIC} TO regenesis_app")
    op.execute("ALTER TABLE ingestion.ingested_objects NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "UPDATE ingestion.ingested_objects SET ingestion_status = 'received', error = NULL "
        "WHERE ingestion_status = 'refused'"
    )
    op.execute("ALTER TABLE ingestion.ingested_objects FORCE ROW LEVEL SECURITY")
    op.drop_constraint(op.f("ck_ingested_objects_error_when_failed"), "ingested_objects", schema="ingestion")
    op.create_check_constraint(
        op.f("ck_ingested_objects_error_when_failed"), "ingested_objects",
        "(error IS NULL) = (ingestion_status <> 'failed')", schema="ingestion",
    )  # fmt: skip
    op.drop_constraint(op.f("ck_ingested_objects_ingestion_status"), "ingested_objects", schema="ingestion")
    op.create_check_constraint(
        op.f("ck_ingested_objects_ingestion_status"), "ingested_objects",
        "ingestion_status IN ('received', 'indexed', 'failed', 'vanished')", schema="ingestion",
    )  # fmt: skip
