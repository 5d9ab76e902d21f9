"""The audit log, hash-chained per tenant, the triggers that fill it, and the duties towards data subjects."""

from datetime import datetime

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem

from db import policies
from db.ddl import add_index, read_sql

revision = "0008"
down_revision = "0007"

SQL = read_sql("0008_governance")

NOTE = SQL["note"]
RECORD_CHANGE = SQL["record_change"]
RECORD_EVENT = SQL["record_event"]
WATCH_TABLE = SQL["watch_table"]
TOLD = SQL["told"]
HASH_ENTRY = SQL["hash_entry"]

ENTRY_COLUMNS = (
    "actor_id, actor_role, impersonating_user_id, action, entity_schema, entity_type, entity_id, description, changes, "
    "metadata, ip_address, user_agent, request_id, severity"
)
LINK_ENTRIES = SQL["link_entries"]
SEED_RETENTION = SQL["seed_retention"]
SEAL_PARTITIONS = SQL["seal_partitions"]
UNSEAL_MESSAGES = SQL["unseal_messages"]

WATCHED = {
    "platform.tenants": ("status",),
    "platform.tenant_llm_config": ("model_name",),
    "platform.tenant_quotas": (),
    "platform.entitlements": ("tier", "feature"),
    "platform.encryption_keys": ("purpose", "algorithm"),
    "identity.api_keys": ("scope",),
    "coaching.engagements": (),
    "coaching.coaching_sessions": (
        "session_type", "meeting_platform", "status", "currency", "payment_status", "visibility",
    ),
    "ingestion.data_sources": ("type",),
    "chat.chat_sessions": (),
    "governance.deletion_requests": ("subject_kind", "scope", "status"),
    "governance.deletion_records": ("subject_kind",),
    "governance.retention_policies": ("data_type", "action"),
    "governance.data_retention_jobs": ("data_type", "action", "status"),
    "governance.data_exports": ("status",),
    "governance.legal_holds": ("subject_kind",),
}  # fmt: skip
"""What is watched here, and the words of it that the log keeps: closed lists and the operator's own terms."""


def _entry(table: str) -> list[SchemaItem]:
    """Return what the log says of one act, as columns of the table."""
    return [
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_role", sa.Text(), nullable=False),
        sa.Column("impersonating_user_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("entity_schema", sa.String(length=63), nullable=True),
        sa.Column("entity_type", sa.String(length=63), nullable=True),
        sa.Column("entity_id", sa.Uuid(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("changes", postgresql.JSONB(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), nullable=True),
        sa.Column("ip_address", postgresql.INET(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("severity", sa.String(length=20), server_default="info", nullable=False),
        sa.CheckConstraint(
            "severity IN ('debug', 'info', 'warning', 'error', 'critical')", name=(f"ck_{table}_severity")
        ),
    ]


def _create_log() -> None:
    op.create_table(
        "audit_logs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        *_entry("audit_logs"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", "occurred_at", name=("pk_audit_logs")),
        schema="governance",
        postgresql_partition_by="RANGE (occurred_at)",
    )
    for name, columns, where in (
        ("sequence", ["tenant_id", "sequence"], None),
        ("actor", ["tenant_id", "actor_id", "occurred_at"], None),
        ("entity", ["tenant_id", "entity_type", "entity_id"], None),
        ("action", ["tenant_id", "action", "occurred_at"], None),
        ("severity", ["tenant_id", "severity", "occurred_at"], "severity IN ('error', 'critical')"),
    ):
        op.create_index(
            f"ix_audit_logs_{name}", "audit_logs", columns, schema="governance",
            postgresql_where=sa.text(where) if where else None,
        )  # fmt: skip
    op.create_table(
        "audit_pending",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column(
            "occurred_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        *_entry("audit_pending"),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "transaction_id", "id", name=("pk_audit_pending")),
        schema="governance",
    )
    add_index('ix_audit_pending_waiting', "governance.audit_pending", 'tenant_id', where='waits')  # fmt: skip
    op.create_table(
        "audit_heads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=("pk_audit_heads")),
        schema="governance",
    )
    op.execute("CREATE TABLE governance.audit_logs_default PARTITION OF governance.audit_logs DEFAULT")


def _guard_log() -> None:
    for statement in (NOTE, RECORD_CHANGE, RECORD_EVENT, WATCH_TABLE, HASH_ENTRY, LINK_ENTRIES):
        op.execute(statement)
    op.execute(
        "CREATE CONSTRAINT TRIGGER link AFTER INSERT ON governance.audit_pending DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION governance.link_at_commit()"
    )
    op.execute(
        "CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON governance.audit_logs "
        "FOR EACH ROW EXECUTE FUNCTION platform.refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON governance.deletion_records "
        "FOR EACH ROW EXECUTE FUNCTION platform.refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER keep BEFORE DELETE ON governance.audit_heads "
        "FOR EACH ROW EXECUTE FUNCTION platform.refuse_change()"
    )
    for table in ("audit_logs", "audit_heads", "deletion_records"):
        op.execute(
            f"CREATE TRIGGER keep_all BEFORE TRUNCATE ON governance.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
        )
        # Bulk loads switch ordinary triggers off; these stay on.
        op.execute(f"ALTER TABLE governance.{table} ENABLE ALWAYS TRIGGER keep, ENABLE ALWAYS TRIGGER keep_all")
    op.execute(
        "CREATE TRIGGER keep_all BEFORE TRUNCATE ON chat.chat_messages "
        "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
    )
    for table in ("audit_logs", "audit_heads", "audit_pending"):
        # The triggers run as the owner, whoever writes, also when nobody is bound; so the app alone is bound here.
        policies.isolate_tenants(f"governance.{table}", to=policies.APP)
        policies.allow(f"governance.{table}", "chain", "ALL", "true", to="regenesis_owner")
        policies.grant(f"governance.{table}", "SELECT")
    for table in ("audit_logs", "audit_heads"):
        policies.guard_reading(f"governance.{table}", f"{policies.ROLE} = 'compliance'", to=policies.APP)
    op.execute(
        "GRANT EXECUTE ON FUNCTION governance.record_event(text, text, text, uuid, text, jsonb, text), "
        "governance.link_waiting(), governance.hash_entry(bytea, governance.audit_logs) TO regenesis_app"
    )


def _replace_partition_maker() -> None:
    # Partitions made later are sealed against TRUNCATE as well.
    made_before: str = context.script.get_revision("0001").module.CREATE_MONTH_PARTITIONS
    sealing = made_before.replace("    RETURN made;\n", SEAL_PARTITIONS)
    op.execute(sealing.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def _create_duties() -> None:
    def tenant(table: str) -> sa.ForeignKeyConstraint:
        return sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=(f"fk_{table}_tenant_id"), ondelete="CASCADE"
        )

    def person(table: str, column: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
        return sa.ForeignKeyConstraint(
            ["tenant_id", column],
            ["identity.users.tenant_id", "identity.users.id"],
            name=(f"fk_{table}_tenant_id_{column}"),
            ondelete=ondelete or f"SET NULL ({column})",
        )

    def closed(table: str, column: str, *values: str) -> sa.CheckConstraint:
        listed = ", ".join(f"'{value}'" for value in values)
        return sa.CheckConstraint(f"{column} IN ({listed})", name=(f"ck_{table}_{column}"))

    def row() -> list[SchemaItem]:
        return [
            sa.Column("tenant_id", sa.Uuid(), nullable=False),
            sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        ]

    def moment(name: str, default: str | None = None) -> sa.Column[datetime]:
        return sa.Column(
            name, sa.DateTime(timezone=True), server_default=sa.text(default) if default else None,
            nullable=default is None,
        )  # fmt: skip

    subjects = ("person", "session", "document", "tenant")
    data_types = (
        "accounts_deleted", "accounts_inactive", "audit_logs", "community_posts", "course_content", "messages",
        "notifications", "sign_in_sessions", "transactions", "unused_media",
    )  # fmt: skip
    op.create_table(
        "deletion_requests",
        *row(),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("subject_kind", sa.Text(), server_default="person", nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), server_default="all", nullable=False),
        sa.Column("status", sa.Text(), server_default="requested", nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        moment("requested_at", "now()"),
        moment("due_at", "now() + interval '30 days'"),
        moment("verified_at"),
        moment("completed_at"),
        moment("refused_at"),
        sa.Column("refusal_reason", sa.Text(), nullable=True),
        closed("deletion_requests", "subject_kind", *subjects),
        closed("deletion_requests", "scope", "all", "content", "account"),
        closed("deletion_requests", "status", "requested", "verified", "running", "completed", "failed", "refused"),
        sa.CheckConstraint(
            "(status = 'refused') = (refused_at IS NOT NULL)", name=op.f("ck_deletion_requests_refused")
        ),
        sa.CheckConstraint(
            "status <> 'refused' OR refusal_reason IS NOT NULL", name=op.f("ck_deletion_requests_refusal_reason")
        ),
        sa.CheckConstraint(
            "(status = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_deletion_requests_completed")
        ),
        sa.CheckConstraint("due_at >= requested_at", name=op.f("ck_deletion_requests_due")),
        tenant("deletion_requests"),
        person("deletion_requests", "user_id"),
        person("deletion_requests", "requested_by"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_deletion_requests")),
        schema="governance",
    )
    op.create_table(
        "deletion_records",
        *row(),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("stores", postgresql.JSONB(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signing_key", sa.String(length=100), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        moment("created_at", "now()"),
        closed("deletion_records", "subject_kind", *subjects),
        sa.CheckConstraint("jsonb_typeof(stores) = 'object'", name=op.f("ck_deletion_records_stores")),
        sa.CheckConstraint("completed_at >= started_at", name=op.f("ck_deletion_records_ends_after_start")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_deletion_records")),
        sa.UniqueConstraint("tenant_id", "request_id", name=("uq_deletion_records_tenant_id_request_id")),
        schema="governance",
    )
    op.create_table(
        "retention_policies",
        *row(),
        sa.Column("data_type", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        moment("created_at", "now()"),
        moment("updated_at", "now()"),
        closed("retention_policies", "data_type", *data_types),
        closed("retention_policies", "action", "archive", "delete"),
        sa.CheckConstraint("days BETWEEN 1 AND 36500", name=op.f("ck_retention_policies_days")),
        sa.CheckConstraint(
            "action <> 'delete' OR data_type <> 'transactions'", name=op.f("ck_retention_policies_money_stays")
        ),
        sa.CheckConstraint(
            "action <> 'delete' OR data_type <> 'audit_logs' OR days >= 1095",
            name=op.f("ck_retention_policies_log_stays"),
        ),
        tenant("retention_policies"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_retention_policies")),
        sa.UniqueConstraint(
            "tenant_id", "data_type", "action", name=("uq_retention_policies_tenant_id_data_type_action")
        ),
        schema="governance",
    )
    op.create_table(
        "data_retention_jobs",
        *row(),
        sa.Column("data_type", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        moment("scheduled_at", "now()"),
        moment("executed_at"),
        sa.Column("status", sa.Text(), server_default="scheduled", nullable=False),
        sa.Column("dry_run", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("counts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        closed("data_retention_jobs", "data_type", *data_types),
        closed("data_retention_jobs", "action", "archive", "delete"),
        closed("data_retention_jobs", "status", "scheduled", "running", "completed", "failed", "held"),
        sa.CheckConstraint("jsonb_typeof(counts) = 'object'", name=op.f("ck_data_retention_jobs_counts")),
        tenant("data_retention_jobs"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_data_retention_jobs")),
        schema="governance",
    )
    op.create_table(
        "data_exports",
        *row(),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="requested", nullable=False),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("counts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        moment("requested_at", "now()"),
        moment("completed_at"),
        moment("expires_at"),
        closed("data_exports", "status", "requested", "running", "ready", "failed", "expired"),
        sa.CheckConstraint("jsonb_typeof(counts) = 'object'", name=op.f("ck_data_exports_counts")),
        sa.CheckConstraint(
            "status <> 'ready' OR (object_key IS NOT NULL AND expires_at IS NOT NULL)",
            name=op.f("ck_data_exports_ready"),
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_data_exports_size_bytes")),
        tenant("data_exports"),
        person("data_exports", "user_id", "CASCADE"),
        person("data_exports", "requested_by"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_data_exports")),
        schema="governance",
    )
    op.create_table(
        "legal_holds",
        *row(),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Uuid(), nullable=True),
        moment("placed_at", "now()"),
        sa.Column("released_by", sa.Uuid(), nullable=True),
        moment("released_at"),
        closed("legal_holds", "subject_kind", *subjects),
        sa.CheckConstraint("char_length(reason) BETWEEN 1 AND 2000", name=op.f("ck_legal_holds_reason")),
        sa.CheckConstraint("released_at >= placed_at", name=op.f("ck_legal_holds_released_after")),
        sa.CheckConstraint("released_by IS NULL OR released_at IS NOT NULL", name=op.f("ck_legal_holds_released")),
        tenant("legal_holds"),
        person("legal_holds", "placed_by"),
        person("legal_holds", "released_by"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_legal_holds")),
        schema="governance",
    )
    open_requests = "status NOT IN ('completed', 'refused')"
    for table, name, columns, where in (
        ("deletion_requests", "ix_deletion_requests_user", ["user_id"], None),
        ("deletion_requests", "ix_deletion_requests_requested_by", ["requested_by"], None),
        ("deletion_requests", "ix_deletion_requests_due", ["due_at"], open_requests),
        ("deletion_requests", "uq_deletion_requests_open", ["subject_kind", "subject_id", "scope"], open_requests),
        ("deletion_records", "ix_deletion_records_subject", ["subject_kind", "subject_id"], None),
        ("data_retention_jobs", "ix_data_retention_jobs_status", ["status", "scheduled_at"], None),
        ("data_exports", "ix_data_exports_user", ["user_id", "requested_at"], None),
        ("data_exports", "ix_data_exports_requested_by", ["requested_by"], None),
        ("data_exports", "ix_data_exports_expires", ["expires_at"], "status = 'ready'"),
        ("legal_holds", "ix_legal_holds_placed_by", ["placed_by"], None),
        ("legal_holds", "ix_legal_holds_released_by", ["released_by"], None),
        ("legal_holds", "ix_legal_holds_open", ["subject_kind", "subject_id"], "released_at IS NULL"),
    ):
        op.create_index(
            name, table, ["tenant_id", *columns], unique=name.startswith("uq"), schema="governance",
            postgresql_where=sa.text(where) if where else None,
        )  # fmt: skip


def _guard_duties() -> None:
    compliance = f"{policies.ROLE} = 'compliance'"
    for table in ("deletion_requests", "data_exports"):
        policies.guard_where(f"governance.{table}", f"user_id = {policies.USER} OR {compliance}")
    # Anyone may ask for their own; who verifies and carries it out are others.
    policies.allow(
        "governance.deletion_requests", "own_insert", "INSERT",
        f"user_id = {policies.USER} AND requested_by = {policies.USER} AND subject_kind = 'person' "
        f"AND subject_id = {policies.USER} AND status = 'requested' AND verified_at IS NULL",
    )  # fmt: skip
    policies.allow(
        "governance.data_exports", "own_insert", "INSERT",
        f"user_id = {policies.USER} AND requested_by = {policies.USER} AND status = 'requested' AND object_key IS NULL",
    )  # fmt: skip
    policies.allow("governance.deletion_requests", "compliance_insert", "INSERT", compliance)
    policies.allow("governance.deletion_requests", "compliance_update", "UPDATE", compliance)
    for table in ("deletion_records", "data_retention_jobs"):
        policies.guard_where(f"governance.{table}", compliance)
    policies.guard_where("governance.retention_policies", f"{policies.ROLE} IN ('admin', 'compliance')")
    policies.allow("governance.retention_policies", "compliance_all", "ALL", compliance)
    policies.guard_where("governance.legal_holds", compliance)
    policies.allow("governance.legal_holds", "compliance_insert", "INSERT", compliance)
    policies.allow("governance.legal_holds", "compliance_update", "UPDATE", compliance)
    policies.grant("governance.deletion_records", "SELECT, INSERT")
    policies.grant("governance.legal_holds", "SELECT, INSERT, UPDATE")
    for table in ("deletion_requests", "retention_policies", "data_retention_jobs", "data_exports"):
        policies.grant(f"governance.{table}")
    op.execute(SEED_RETENTION)
    op.execute("GRANT EXECUTE ON FUNCTION governance.retention_defaults() TO regenesis_app")
    op.execute(
        "CREATE TRIGGER seed_retention AFTER INSERT ON platform.tenants "
        "FOR EACH ROW EXECUTE FUNCTION governance.seed_retention()"
    )


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA governance")
    op.execute("GRANT USAGE ON SCHEMA governance TO regenesis_app")
    _create_log()
    _create_duties()
    _guard_log()
    _guard_duties()
    _replace_partition_maker()
    op.execute("SELECT platform.create_month_partitions(12)")
    for table, recorded in WATCHED.items():
        policies.audit_changes(table, *recorded)
    for table in ("rag.documents", "rag.transcripts"):
        # Who may read it is business state; the rest is the pipelines' own.
        policies.audit_changes(table, "visibility", of="visibility, client_id, coach_id")
    for schema in ("platform", "identity", "coaching", "ingestion", "rag", "chat", "governance"):
        policies.view_audit(schema)


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA governance CASCADE")  # takes the triggers and views in other schemas along
    op.execute(UNSEAL_MESSAGES)
    made_before: str = context.script.get_revision("0001").module.CREATE_MONTH_PARTITIONS
    op.execute(made_before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
