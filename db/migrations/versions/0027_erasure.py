"""What an erasure needs: its steps, and the changes of append-only rows that it alone may make."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import inner_key, read_sql, tenant_key

revision = "0027"
down_revision = "0026"

SQL = read_sql("0027_erasure")
OFFERED = {"erase_rows": "uuid, text", "redact_messages": "uuid, jsonb"}
"""What the app's role may call; each asks `require_erasure` first, which nobody else may."""
READ = ("governance.deletion_requests", "governance.legal_holds", "governance.erasure_scopes")


def upgrade() -> None:
    """Apply."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "erasure_scopes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("collected_at", moment, nullable=False),
        inner_key("erasure_scopes", "request_id", "governance.deletion_requests", "CASCADE"),
        tenant_key("erasure_scopes"),
        sa.PrimaryKeyConstraint("tenant_id", "request_id", "root", name="pk_erasure_scopes"),
        schema="governance",
    )
    op.create_table(
        "erasure_steps",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("treatment", sa.Text(), nullable=False),
        sa.Column("items", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("started_at", moment, nullable=True),
        sa.Column("finished_at", moment, nullable=True),
        sa.CheckConstraint("items >= 0", name=op.f("ck_erasure_steps_items")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_erasure_steps_sha256")),
        sa.CheckConstraint("finished_at >= started_at", name=op.f("ck_erasure_steps_ends_after_start")),
        inner_key("erasure_steps", "request_id", "governance.deletion_requests", "CASCADE"),
        tenant_key("erasure_steps"),
        sa.PrimaryKeyConstraint("tenant_id", "request_id", "ordinal", name="pk_erasure_steps"),
        schema="governance",
    )
    op.create_table(
        "erased_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("source_hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        tenant_key("erased_keys"),
        sa.PrimaryKeyConstraint("tenant_id", "source_hash", "key_hash", name="pk_erased_keys"),
        schema="ingestion",
    )
    for table in ("governance.erasure_scopes", "governance.erasure_steps", "ingestion.erased_keys"):
        policies.guard_internal(table)
        policies.grant(table)
    for name in ("require_erasure", "erase_rows", "redact_messages", "keep_message"):
        op.execute(SQL[name])
    for name, arguments in OFFERED.items():
        op.execute(f"GRANT EXECUTE ON FUNCTION governance.{name}({arguments}) TO regenesis_app")
    for table in READ:
        # Triggers read it as the owner, whoever is bound.
        policies.allow(table, "erasing", "SELECT", "true", to="regenesis_owner")
    op.execute("DROP TRIGGER immutable ON chat.chat_messages")
    op.execute(
        "CREATE TRIGGER immutable BEFORE UPDATE ON chat.chat_messages "
        "FOR EACH ROW EXECUTE FUNCTION chat.keep_message()"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER immutable ON chat.chat_messages")
    op.execute(
        "CREATE TRIGGER immutable BEFORE UPDATE ON chat.chat_messages "
        "FOR EACH ROW EXECUTE FUNCTION platform.refuse_change()"
    )
    op.execute("DROP FUNCTION chat.keep_message()")
    for name, arguments in OFFERED.items():
        op.execute(f"DROP FUNCTION governance.{name}({arguments})")
    op.execute("DROP FUNCTION governance.require_erasure(uuid)")
    op.drop_table("erased_keys", schema="ingestion")
    op.drop_table("erasure_steps", schema="governance")
    op.drop_table("erasure_scopes", schema="governance")
    for table in READ[:2]:
        op.execute(f"DROP POLICY erasing ON {table}")
