"""What is remembered of backups and of the drills that proved them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "backups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("snapshot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("tables", sa.Integer(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("objects", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('good', 'failed', 'pruned')", name=op.f("ck_backups_status")),
        sa.CheckConstraint(
            "(status = 'failed') = (error IS NOT NULL) AND (status = 'failed') = (finished_at IS NULL)",
            name=op.f("ck_backups_failed"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_backups"),
        schema="platform",
    )
    op.create_index("ix_backups_started_at", "backups", ["started_at"], schema="platform")
    op.create_table(
        "drills",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("backup_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("recovery_point_seconds", sa.Float(), nullable=True),
        sa.Column("recovery_seconds", sa.Float(), nullable=True),
        sa.Column("phases", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("differences", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drills"),
        schema="platform",
    )
    op.create_index("ix_drills_started_at", "drills", ["started_at"], schema="platform")
    for table in ("backups", "drills"):
        # They are of the whole store and hold no tenant's words; only the owner writes them.
        policies.grant(f"platform.{table}", "SELECT")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TABLE platform.drills, platform.backups")
