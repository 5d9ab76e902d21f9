"""Who read which words: noted in the audit log, without the words; and a log that is redacted and dropped provably."""

import sqlalchemy as sa
from alembic import op

from db import policies
from db.ddl import add_index, inner_key, read_sql, tenant_key

revision = "0031"
down_revision = "0030"

SQL = read_sql("0031_reading_log")
BEFORE = read_sql("0008_governance")
NOTE = (
    BEFORE["note"]
    .replace("metadata jsonb, severity text\n", "metadata jsonb, severity text, may_wait boolean DEFAULT false\n")
    .replace("tenant, txid_current(), current_setting", "tenant, txid_current(), may_wait OR current_setting")
)
COMPLIANCE = f"{policies.ROLE} = 'compliance'"


def _replacing(statement: str) -> str:
    return statement.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def _keep(table: str, function: str, changes: str = "UPDATE OR DELETE") -> None:
    """Let the function decide on each change of a row of the log, also where bulk loads switch triggers off."""
    op.execute(
        f"CREATE TRIGGER keep BEFORE {changes} ON governance.{table} FOR EACH ROW EXECUTE FUNCTION {function}()"
    )
    op.execute(f"ALTER TABLE governance.{table} ENABLE ALWAYS TRIGGER keep")


def _create_anchors() -> None:
    op.create_table(
        "audit_anchors",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("archived_key", sa.Text(), nullable=True),
        sa.Column("anchored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("first_sequence BETWEEN 1 AND sequence", name=op.f("ck_audit_anchors_first_sequence")),
        sa.CheckConstraint("extract(day FROM month) = 1", name=op.f("ck_audit_anchors_month")),
        sa.PrimaryKeyConstraint("tenant_id", "sequence", name="pk_audit_anchors"),
        schema="governance",
    )
    add_index("ix_audit_anchors_month", "governance.audit_anchors", "tenant_id", "month")
    policies.isolate_tenants("governance.audit_anchors", to=policies.APP)
    policies.allow("governance.audit_anchors", "chain", "ALL", "true", to="regenesis_owner")
    policies.guard_reading("governance.audit_anchors", COMPLIANCE, to=policies.APP)
    policies.grant("governance.audit_anchors", "SELECT")
    _keep("audit_anchors", "platform.refuse_change")
    op.execute(
        "CREATE TRIGGER keep_all BEFORE TRUNCATE ON governance.audit_anchors "
        "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
    )
    op.execute("ALTER TABLE governance.audit_anchors ENABLE ALWAYS TRIGGER keep_all")
    op.execute(SQL["anchor_month"])
    op.execute("GRANT EXECUTE ON FUNCTION governance.anchor_month(date, jsonb) TO regenesis_app")


def _allow_redaction() -> None:
    op.execute(SQL["without_traces"])
    op.execute(SQL["keep_log"])
    op.execute("DROP TRIGGER keep ON governance.audit_logs")
    _keep("audit_logs", "governance.keep_log")
    op.execute(SQL["redact_entries"])
    op.execute(SQL["record_event"])
    op.execute(
        "GRANT EXECUTE ON FUNCTION governance.redact_entries(uuid, uuid, int), "
        "governance.hash_remains(governance.audit_logs) TO regenesis_app"
    )


def _create_readings() -> None:
    op.create_table(
        "audit_readings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "target_id", "kind", "sequence", "occurred_at", name="pk_audit_readings"
        ),
        schema="governance",
        postgresql_partition_by="RANGE (occurred_at)",
    )
    op.execute("CREATE TABLE governance.audit_readings_default PARTITION OF governance.audit_readings DEFAULT")
    policies.isolate_tenants("governance.audit_readings", to=policies.APP)
    policies.allow("governance.audit_readings", "chain", "ALL", "true", to="regenesis_owner")
    policies.guard_reading("governance.audit_readings", COMPLIANCE, to=policies.APP)
    policies.grant("governance.audit_readings", "SELECT")
    _keep("audit_readings", "platform.refuse_change")
    op.execute(
        "CREATE TRIGGER keep_all BEFORE TRUNCATE ON governance.audit_readings "
        "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
    )
    op.execute("ALTER TABLE governance.audit_readings ENABLE ALWAYS TRIGGER keep_all")
    op.execute("SELECT platform.create_month_partitions(12)")
    op.execute("DROP FUNCTION governance.note(uuid, text, text, text, uuid, text, jsonb, jsonb, text)")
    op.execute(NOTE)
    op.execute(SQL["link_entries"])
    op.execute("DROP TRIGGER link ON governance.audit_pending")
    op.execute(
        "CREATE CONSTRAINT TRIGGER link AFTER INSERT ON governance.audit_pending DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (NOT NEW.waits) EXECUTE FUNCTION governance.link_at_commit()"
    )
    for name in ("record_reading", "list_waiting", "prune_readings"):
        op.execute(SQL[name])
    op.execute(
        "GRANT EXECUTE ON FUNCTION governance.link_waiting(), governance.list_waiting(), governance.prune_readings(), "
        "governance.record_reading(text, text, text, uuid, text[], uuid[], text, int) TO regenesis_app"
    )


def _create_windows() -> None:
    op.create_table(
        "reading_windows",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("reader_id", sa.Uuid(), nullable=False),
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("transcripts", "documents", "clients", "passages")),
        sa.Column("looked_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("span IN ('hour', 'day')", name=op.f("ck_reading_windows_span")),
        tenant_key("reading_windows"),
        inner_key("reading_windows", "reader_id", "identity.users", "CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "reader_id", "span", "began_at", name="pk_reading_windows"),
        schema="governance",
    )
    add_index("ix_reading_windows_began", "governance.reading_windows", "tenant_id", "began_at")
    policies.guard_where("governance.reading_windows", COMPLIANCE)
    policies.grant("governance.reading_windows")


def upgrade() -> None:
    """Apply."""
    _create_anchors()
    _allow_redaction()
    _create_readings()
    _create_windows()


def _restore_linking() -> None:
    for function in (
        "record_reading(text, text, text, uuid, text[], uuid[], text, int)", "list_waiting()", "prune_readings()",
        "note(uuid, text, text, text, uuid, text, jsonb, jsonb, text, boolean)", "link_waiting()",
        "link_entries(uuid, int)",
    ):  # fmt: skip
        op.execute(f"DROP FUNCTION governance.{function}")
    op.execute(BEFORE["note"])
    op.execute(_replacing(BEFORE["link_entries"]))
    op.execute("GRANT EXECUTE ON FUNCTION governance.link_waiting() TO regenesis_app")
    op.execute("DROP TRIGGER link ON governance.audit_pending")
    op.execute(
        "CREATE CONSTRAINT TRIGGER link AFTER INSERT ON governance.audit_pending DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION governance.link_at_commit()"
    )


def downgrade() -> None:
    """Take back."""
    _restore_linking()
    op.drop_table("reading_windows", schema="governance")
    op.drop_table("audit_readings", schema="governance")
    op.execute(_replacing(BEFORE["record_event"]))
    op.execute("DROP TRIGGER keep ON governance.audit_logs")
    _keep("audit_logs", "platform.refuse_change")
    for function in (
        "redact_entries(uuid, uuid, int)", "keep_log()", "hash_remains(governance.audit_logs)",
        "redacted(governance.audit_logs)", "without_traces(jsonb)", "anchor_month(date, jsonb)",
    ):  # fmt: skip
        op.execute(f"DROP FUNCTION governance.{function}")
    op.drop_table("audit_anchors", schema="governance")
