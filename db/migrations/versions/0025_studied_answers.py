"""Stored answers that may become cases or are scored: only as long as everyone whose words they hold allows it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, read_sql, tenant_key

revision = "0025"
down_revision = "0024"

SQL = read_sql("0025_studied_answers")
FUNCTIONS = {
    "list_clients": "uuid, uuid[]", "list_allowed": "uuid, uuid[]", "may_study": "uuid, uuid", "require_allowed": "",
    "list_studied": "uuid", "forget_messages": "uuid, uuid[]", "follow_consent": "", "follow_feedback": "",
    "follow_source": "",
}  # fmt: skip
MESSAGE = "chat.chat_messages(id, created_at)"
DECIDED = (
    "status", "user_input", "reference", "reference_contexts", "answerable", "decided_by", "decided_at", "reason",
)  # fmt: skip
CITES_READABLE = """NOT EXISTS (
    SELECT FROM chat.chat_messages m
    CROSS JOIN LATERAL jsonb_to_recordset(m."references" -> 'citations') AS c (source_id uuid)
    WHERE m.tenant_id = case_proposals.tenant_id AND m.id = case_proposals.message_id
      AND NOT EXISTS (SELECT FROM rag.transcripts t WHERE t.tenant_id = m.tenant_id AND t.id = c.source_id)
      AND NOT EXISTS (SELECT FROM rag.documents d WHERE d.tenant_id = m.tenant_id AND d.id = c.source_id))"""
"""Under the policies of its reader: a case holds words of what it cites, which its asker may have lost the sight of."""

READ = (
    "identity.consents", "evidence.feedback", "chat.chat_messages", "chat.chat_sessions",
    "rag.documents", "rag.transcripts",
)  # fmt: skip
"""What the owner's functions read inside the bound tenant, and with it of two tables what they remove."""
REMOVED = ("evaluation.case_proposals", "evaluation.rag_evaluations")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "case_proposals",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("message_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="proposed", nullable=False),
        sa.Column("user_input", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reference_contexts", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("answerable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("origin IN ('feedback', 'production')", name=op.f("ck_case_proposals_origin")),
        sa.CheckConstraint("status IN ('proposed', 'confirmed', 'rejected')", name=op.f("ck_case_proposals_status")),
        sa.CheckConstraint("(status = 'proposed') = (decided_at IS NULL)", name=op.f("ck_case_proposals_decided")),
        sa.CheckConstraint(
            "(status = 'confirmed') = (user_input IS NOT NULL)", name=op.f("ck_case_proposals_confirmed")
        ),
        inner_key("case_proposals", "user_id", "identity.users", "CASCADE"),
        inner_key("case_proposals", "decided_by", "identity.users", "SET NULL"),
        inner_key("case_proposals", ("message_id", "message_created_at"), MESSAGE, "CASCADE"),
        tenant_key("case_proposals"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_case_proposals"),
        sa.UniqueConstraint("tenant_id", "message_id", name="uq_case_proposals_tenant_id_message_id"),
        schema="evaluation",
    )
    add_index("ix_case_proposals_user", "evaluation.case_proposals", "tenant_id", "user_id", "status", "created_at")
    add_index("ix_case_proposals_status", "evaluation.case_proposals", "tenant_id", "status", "created_at")
    _guard_proposals()
    _change_tables()
    for name in FUNCTIONS:
        op.execute(SQL[name])
    for name in ("may_study", "list_allowed"):
        op.execute(f"GRANT EXECUTE ON FUNCTION evaluation.{name}({FUNCTIONS[name]}) TO regenesis_app")
    for table in READ:
        policies.allow(table, "studying", "SELECT", "true", to="regenesis_owner")
    for table in REMOVED:
        policies.allow(table, "studying", "ALL", "true", to="regenesis_owner")
        op.execute(
            f"CREATE TRIGGER allowed BEFORE INSERT OR UPDATE OF message_id ON {table} FOR EACH ROW "
            "WHEN (NEW.message_id IS NOT NULL) EXECUTE FUNCTION evaluation.require_allowed()"
        )
    for event, condition in (
        ("UPDATE OF withdrawn_at", "NEW.withdrawn_at IS NOT NULL AND NEW.purpose = 'evaluation'"),
        ("DELETE", "OLD.purpose = 'evaluation'"),
    ):
        _watch(event, "identity.consents", condition, "follow_consent")
    for event, condition in (("UPDATE OF may_be_studied", "OLD.may_be_studied"), ("DELETE", "OLD.may_be_studied")):
        _watch(event, "evidence.feedback", f"OLD.target_type = 'message' AND {condition}", "follow_feedback")
    for table in ("rag.transcripts", "rag.documents"):
        op.execute(
            "CREATE CONSTRAINT TRIGGER evaluation_follows_source AFTER DELETE OR UPDATE OF content_hash, client_id "
            f"ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evaluation.follow_source()"
        )


def _guard_proposals() -> None:
    table = "evaluation.case_proposals"
    own = f"user_id = {policies.USER}"
    policies.guard_where(table, f"{own} AND {CITES_READABLE}")
    policies.allow(table, "own_update", "UPDATE", own)
    policies.grant(table, f"SELECT, INSERT, DELETE, UPDATE ({', '.join(DECIDED)})")
    policies.audit_changes(table, "origin", "status")


def _change_tables() -> None:
    op.add_column(
        "datasets",
        sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        schema="evaluation",
    )
    op.add_column("dataset_cases", sa.Column("proposal_id", sa.Uuid(), nullable=True), schema="evaluation")
    moment = sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("dataset_cases", moment, schema="evaluation")
    op.add_column("experiments", sa.Column("flow_run_id", sa.Uuid(), nullable=True), schema="evaluation")
    policies.audit_changes("evaluation.experiments", "status")
    op.add_column("rag_evaluations", sa.Column("message_id", sa.Uuid(), nullable=True), schema="evaluation")
    op.add_column(
        "rag_evaluations", sa.Column("message_created_at", sa.DateTime(timezone=True), nullable=True),
        schema="evaluation",
    )  # fmt: skip
    op.create_check_constraint(
        op.f("ck_rag_evaluations_message"), "rag_evaluations",
        "num_nulls(message_id, message_created_at) IN (0, 2)", schema="evaluation",
    )  # fmt: skip
    # The check of a new key reads as the owner, whom nobody has bound to a tenant.
    both = ("evaluation.dataset_cases", "evaluation.case_proposals", "evaluation.rag_evaluations", "chat.chat_messages")
    for table in both:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for table, columns, target in (
        ("dataset_cases", ("proposal_id",), "evaluation.case_proposals(id)"),
        ("rag_evaluations", ("message_id", "message_created_at"), MESSAGE),
    ):
        name, _, listed = target.removesuffix(")").partition("(")
        schema, _, bare = name.partition(".")
        op.create_foreign_key(
            f"fk_{table}_tenant_id_{'_'.join(columns)}", table, bare, ["tenant_id", *columns],
            ["tenant_id", *(part.strip() for part in listed.split(","))], source_schema="evaluation",
            referent_schema=schema, ondelete="CASCADE",
        )  # fmt: skip
    for table in both:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    add_index("ix_dataset_cases_proposal_id", "evaluation.dataset_cases", "tenant_id", "proposal_id")
    add_index(
        "uq_rag_evaluations_message", "evaluation.rag_evaluations", "tenant_id", "message_id", unique=True,
        where="message_id IS NOT NULL",
    )  # fmt: skip


def _watch(event: str, table: str, condition: str, function: str) -> None:
    op.execute(
        f"CREATE TRIGGER evaluation_follows_{event.split(maxsplit=1)[0].lower()} AFTER {event} ON {table} FOR EACH ROW "
        f"WHEN ({condition}) EXECUTE FUNCTION evaluation.{function}()"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER allowed ON evaluation.rag_evaluations")
    op.drop_column("rag_evaluations", "message_created_at", schema="evaluation")
    op.drop_column("rag_evaluations", "message_id", schema="evaluation")
    op.drop_column("experiments", "flow_run_id", schema="evaluation")
    policies.audit_changes("evaluation.experiments", "status")
    op.drop_column("dataset_cases", "asked_at", schema="evaluation")
    op.drop_column("dataset_cases", "proposal_id", schema="evaluation")
    op.drop_column("datasets", "settings", schema="evaluation")
    op.execute("DROP POLICY studying ON evaluation.rag_evaluations")
    for table in READ:
        op.execute(f"DROP POLICY studying ON {table}")
    op.drop_table("case_proposals", schema="evaluation")
    for name, arguments in FUNCTIONS.items():
        op.execute(f"DROP FUNCTION evaluation.{name}({arguments}) CASCADE")
