"""Data keys by purpose and version: rotated, and destroyed for good."""

import sqlalchemy as sa
from alembic import op

from db import policies
from db.ddl import read_sql

revision = "0030"
down_revision = "0029"

SQL = read_sql("0030_data_keys")
BEFORE = read_sql("0008_governance")

KEYS = "platform.encryption_keys"
ENCRYPTED = {
    "coaching.coaching_sessions.meeting_password": "id",
    "commerce.orders.shipping_address": "id",
    "commerce.payment_gateways.secret": "id",
    "comms.webhooks.previous_secret": "id",
    "comms.webhooks.secret": "id",
    "community.messages.attachments": "id",
    "community.messages.content": "id",
    "events.event_access.meeting_password": "event_id",
    "identity.integrations.access_token": "id",
    "identity.integrations.refresh_token": "id",
    "identity.users.phone_number": "id",
    "identity.users.two_factor_secret": "id",
    "partners.partners.contact_phone": "id",
}
"""The encrypted columns there are by now, and the column that binds each value to its row."""

CALLED = (
    "find_key_state(text)", "add_key_version(text, int, text, bytea)",
    "rewrap_data_key(text, int, bytea, text, bytea)", "retire_data_keys(text)",
    "destroy_retired_keys(text, timestamptz)", "destroy_data_keys()", "list_encrypted_columns()",
    "read_key_version(bytea)", "count_fields()", "reencrypt_fields(text, text, uuid[], bytea[], bytea[])",
    "require_pipelines()",
)  # fmt: skip
"""The functions that the app calls; each says itself who may."""


def upgrade() -> None:
    """Apply."""
    for column in (
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reencrypting", sa.BigInteger(), nullable=True),
        sa.Column("reencrypted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    ):
        op.add_column("encryption_keys", column, schema="platform")
    for name, bound_to in ENCRYPTED.items():
        op.execute(f"COMMENT ON COLUMN {name} IS 'encrypted, bound to {bound_to}'")
    op.execute(SQL["key_functions"])
    op.execute(SQL["field_functions"])
    op.execute(SQL["record_change"])
    listed = ", ".join(f"platform.{name}" for name in CALLED)
    op.execute(f"GRANT EXECUTE ON FUNCTION {listed} TO regenesis_app")
    # Rows are made and changed by these functions alone.
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON {KEYS} FROM regenesis_app")
    policies.allow("identity.users", "renewer", "UPDATE", policies.TENANT, to="regenesis_owner")
    changes = "purpose, version, algorithm, master_key_id, wrapped_key, retired_at, destroyed_at"
    policies.audit_changes(KEYS, "purpose", "algorithm", of=changes)


def downgrade() -> None:
    """Take back."""
    op.execute(f"DROP TRIGGER audit ON {KEYS}")
    op.execute("DROP POLICY renewer ON identity.users")
    policies.grant(KEYS)
    op.execute(BEFORE["record_change"].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute(f"DROP TRIGGER guard ON {KEYS}")
    listed = ", ".join(f"platform.{name}" for name in ("guard_data_key()", *CALLED))
    op.execute(f"DROP FUNCTION {listed}")
    op.execute(read_sql("0009_identity_people")["data_keys"].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    for name in ENCRYPTED:
        op.execute(f"COMMENT ON COLUMN {name} IS NULL")
    for column in ("reencrypted", "reencrypting", "retired_at"):
        op.drop_column("encryption_keys", column, schema="platform")
    policies.audit_changes(KEYS, "purpose", "algorithm")
