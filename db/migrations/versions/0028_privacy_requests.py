"""Requests of data subjects, holds and exports: what the people behind them may do."""

import sqlalchemy as sa
from alembic import op

from db import policies
from db.ddl import add_index, read_sql

revision = "0028"
down_revision = "0027"

SQL = read_sql("0028_privacy_requests")
FUNCTIONS = {
    "list_material": "uuid, text, uuid", "covering_holds": "uuid, text, uuid", "find_holds": "text, uuid",
    "subject_exists": "text, uuid", "is_forgotten": "uuid, uuid",
    "keep_request": "governance.deletion_requests, governance.deletion_requests, boolean", "guard_request": "",
    "guard_hold": "", "guard_export": "",
}  # fmt: skip
FOR_THE_APP = ("find_holds", "subject_exists")
METHODS = ("signed_in", "document", "in_person", "call_back", "court_order", "retention", "operator")
COMPLIANCE = f"{policies.ROLE} = 'compliance'"


def upgrade() -> None:
    """Apply."""
    _widen_requests()
    _widen_exports()
    add_index(
        "ix_transcript_segments_speaker", "rag.transcript_segments", "tenant_id", "speaker_id", "transcript_id",
        where="speaker_id IS NOT NULL",
    )  # fmt: skip
    # The guards read as the owner, inside the bound tenant.
    policies.allow("governance.legal_holds", "guarding", "SELECT", "true", to="regenesis_owner")
    for name in FUNCTIONS:
        op.execute(SQL[name])
    for name in FOR_THE_APP:
        op.execute(f"GRANT EXECUTE ON FUNCTION governance.{name}({FUNCTIONS[name]}) TO regenesis_app")
    for table, events, function in (
        ("deletion_requests", "INSERT OR UPDATE", "guard_request"),
        ("legal_holds", "INSERT OR UPDATE OR DELETE", "guard_hold"),
        ("data_exports", "INSERT OR UPDATE", "guard_export"),
    ):
        op.execute(
            f"CREATE TRIGGER guard BEFORE {events} ON governance.{table} "
            f"FOR EACH ROW EXECUTE FUNCTION governance.{function}()"
        )
    policies.allow(
        "governance.data_exports", "compliance_insert", "INSERT",
        f"{COMPLIANCE} AND requested_by = {policies.USER} AND status = 'requested' AND object_key IS NULL",
    )  # fmt: skip


def _widen_requests() -> None:
    table = "deletion_requests"
    for words in ("reason", "verification_method"):
        op.add_column(table, sa.Column(words, sa.Text(), nullable=True), schema="governance")
    for person in ("verified_by", "refused_by"):
        op.add_column(table, sa.Column(person, sa.Uuid(), nullable=True), schema="governance")
    listed = ", ".join(f"'{method}'" for method in METHODS)
    for name, condition in (
        ("verification_method", f"verification_method IN ({listed})"),
        ("verified", "(verified_at IS NULL) = (verification_method IS NULL)"),
        ("verified_first", "status IN ('requested', 'refused') OR verified_at IS NOT NULL"),
        ("not_verified_yet", "status <> 'requested' OR verified_at IS NULL"),
        ("verified_by", "verified_by IS NULL OR verified_at IS NOT NULL"),
        ("refused_by", "refused_by IS NULL OR refused_at IS NOT NULL"),
        ("reason", "char_length(reason) BETWEEN 1 AND 2000"),
        ("refusal_words", "char_length(refusal_reason) BETWEEN 1 AND 2000"),
    ):
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition, schema="governance")
    # The check of a new key reads as the owner, whom nobody has bound to a tenant.
    for name in ("governance.deletion_requests", "identity.users"):
        op.execute(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
    for column in ("verified_by", "refused_by"):
        op.create_foreign_key(
            f"fk_{table}_tenant_id_{column}", table, "users", ["tenant_id", column], ["tenant_id", "id"],
            source_schema="governance", referent_schema="identity", ondelete=f"SET NULL ({column})",
        )  # fmt: skip
        add_index(f"ix_{table}_{column}", f"governance.{table}", "tenant_id", column)
    for name in ("governance.deletion_requests", "identity.users"):
        op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    policies.audit_changes(f"governance.{table}", "subject_kind", "scope", "status", "verification_method")


def _widen_exports() -> None:
    table = "data_exports"
    op.add_column(table, sa.Column("error", sa.Text(), nullable=True), schema="governance")
    op.create_check_constraint(
        op.f(f"ck_{table}_error"), table, "error IS NULL OR status IN ('failed', 'expired')", schema="governance"
    )
    # Two at once would read everything twice, and the person would not know which to take.
    add_index(
        f"uq_{table}_running", f"governance.{table}", "tenant_id", "user_id", unique=True,
        where="status IN ('requested', 'running')",
    )  # fmt: skip


def downgrade() -> None:
    """Take back."""
    op.execute("DROP POLICY compliance_insert ON governance.data_exports")
    for table in ("deletion_requests", "legal_holds", "data_exports"):
        op.execute(f"DROP TRIGGER guard ON governance.{table}")
    for name, arguments in reversed(FUNCTIONS.items()):
        op.execute(f"DROP FUNCTION governance.{name}({arguments})")
    op.execute("DROP POLICY guarding ON governance.legal_holds")
    op.execute("DROP INDEX rag.ix_transcript_segments_speaker")
    op.execute("DROP INDEX governance.uq_data_exports_running")
    op.drop_column("data_exports", "error", schema="governance")
    for column in ("refused_by", "verification_method", "verified_by", "reason"):
        op.drop_column("deletion_requests", column, schema="governance")
    op.drop_constraint(op.f("ck_deletion_requests_refusal_words"), "deletion_requests", schema="governance")
    for name in ("verified_first", "not_verified_yet"):
        op.drop_constraint(op.f(f"ck_deletion_requests_{name}"), "deletion_requests", schema="governance")
    policies.audit_changes("governance.deletion_requests", "subject_kind", "scope", "status")
