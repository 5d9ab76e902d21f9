"""Months that leave the store: archived, anchored, dropped; and what retention takes away."""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import read_sql, tenant_key

revision = "0032"
down_revision = "0031"

SQL = read_sql("0032_archives")
FUNCTIONS = {
    "monthly_tables": "governance.monthly_tables()",
    "retention_days": "governance.retention_days(text, text)",
    "is_month_due": "governance.is_month_due(text, text, date)",
    "list_held": "governance.list_held()",
    "held": "governance.held(text), governance.is_held(text, uuid)",
    "fingerprint_month": "governance.fingerprint_month(text, date)",
    "find_reason": "governance.find_reason(text, date, bigint, numeric)",
    "clear_month": "governance.clear_month(text, date)",
    "list_months": "governance.list_months(text)",
    "list_partitions": "governance.list_partitions(text)",
    "drop_month": "platform.drop_month(text, date)",
}
"""What the app may call, by its place in the SQL file, in the order it is made."""

EARLIER = (
    "accounts_deleted", "accounts_inactive", "audit_logs", "community_posts", "course_content", "messages",
    "notifications", "sign_in_sessions", "transactions", "unused_media",
)  # fmt: skip
ADDED = ("analytics_events", "conversations", "deliveries", "material", "usage")
TYPED = ("retention_policies", "data_retention_jobs")


def _name_types(types: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{name}'" for name in sorted(types))
    for table in TYPED:
        op.drop_constraint(op.f(f"ck_{table}_data_type"), table, schema="governance", type_="check")
        op.create_check_constraint(
            op.f(f"ck_{table}_data_type"), table, f"data_type IN ({listed})", schema="governance"
        )


def _name_states(*states: str) -> None:
    name, listed = op.f("ck_ingested_objects_ingestion_status"), ", ".join(f"'{state}'" for state in states)
    op.drop_constraint(name, "ingested_objects", schema="ingestion", type_="check")
    op.create_check_constraint(name, "ingested_objects", f"ingestion_status IN ({listed})", schema="ingestion")


def _change_rows(table: str, statement: str) -> None:
    """Run a statement over all tenants' rows, which forced policies hide from the owner."""
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def upgrade() -> None:
    """Apply."""
    _name_types(EARLIER + ADDED)
    _name_states("received", "indexed", "failed", "vanished", "refused", "expired")
    op.execute(SQL["retention_defaults"])
    _change_rows(
        "governance.retention_policies",
        "INSERT INTO governance.retention_policies (tenant_id, data_type, action, days) "
        "SELECT t.id, d.data_type, d.action, d.days FROM platform.tenants t, governance.retention_defaults() d "
        "WHERE d.data_type IN ('analytics_events', 'deliveries') ON CONFLICT DO NOTHING",
    )
    op.create_table(
        "archives",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("table_name", sa.String(length=127), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.Numeric(), nullable=True),
        sa.Column("columns", postgresql.JSONB(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("narrowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("rows >= 0 AND size_bytes >= 0", name=op.f("ck_archives_counts")),
        sa.CheckConstraint("month = date_trunc('month', month::timestamp)::date", name=op.f("ck_archives_month")),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_archives_sha256")),
        sa.CheckConstraint("jsonb_typeof(columns) = 'array'", name=op.f("ck_archives_columns")),
        tenant_key("archives"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_archives"),
        sa.UniqueConstraint("tenant_id", "table_name", "month", name="uq_archives_tenant_id_table_name_month"),
        sa.UniqueConstraint("tenant_id", "object_key", name="uq_archives_tenant_id_object_key"),
        schema="governance",
    )
    policies.guard_where("governance.archives", f"{policies.ROLE} = 'compliance'")
    policies.grant(
        "governance.archives",
        "SELECT, INSERT, DELETE, UPDATE (object_key, rows, size_bytes, sha256, checksum, columns, archived_at, narrowed_at)",
    )
    # That a month was dropped is noted afterwards: drop_month holds the log itself.
    policies.audit_changes("governance.archives", "table_name", of="object_key, rows, sha256")
    for name, functions in FUNCTIONS.items():
        op.execute(SQL[name])
        op.execute(f"GRANT EXECUTE ON FUNCTION {functions} TO regenesis_app")
    op.execute(SQL["guard_archive"])
    op.execute(
        "CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON governance.archives "
        "FOR EACH ROW EXECUTE FUNCTION governance.guard_archive()"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("archives", schema="governance")
    op.execute("DROP FUNCTION governance.guard_archive()")
    for functions in reversed(FUNCTIONS.values()):
        op.execute(f"DROP FUNCTION {functions}")
    made_before: str = context.script.get_revision("0008").module.SEED_RETENTION
    defaults = (
        "CREATE OR REPLACE FUNCTION governance.retention_defaults"
        + made_before.partition("CREATE FUNCTION governance.retention_defaults")[2]
    )
    op.execute(defaults)
    _change_rows(
        "ingestion.ingested_objects",
        "UPDATE ingestion.ingested_objects SET ingestion_status = 'vanished' WHERE ingestion_status = 'expired'",
    )
    _name_states("received", "indexed", "failed", "vanished")
    listed = ", ".join(f"'{name}'" for name in ADDED)
    for table in TYPED:
        _change_rows(f"governance.{table}", f"DELETE FROM governance.{table} WHERE data_type IN ({listed})")
    _name_types(EARLIER)
