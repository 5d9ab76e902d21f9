"""Keep what a measured answer quoted beside the answer, which only its asker reads, not beside its scores."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "rag_evaluations",
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        schema="evaluation",
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("rag_evaluations", "details", schema="evaluation")
