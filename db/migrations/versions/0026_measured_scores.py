"""Whoever measures reads which score is of which case, and how many there are, without reading anybody's words."""

from alembic import op

from db import policies
from db.ddl import read_sql

revision = "0026"
down_revision = "0025"

SQL = read_sql("0026_measured_scores")
FUNCTIONS = {"read_scores": "uuid", "count_answers": "uuid", "count_cases": "uuid, integer"}


def upgrade() -> None:
    """Apply."""
    # Answers themselves the owner's functions read since 0025.
    policies.allow("evaluation.dataset_cases", "measuring", "SELECT", "true", to="regenesis_owner")
    for name, arguments in FUNCTIONS.items():
        op.execute(SQL[name])
        op.execute(f"GRANT EXECUTE ON FUNCTION evaluation.{name}({arguments}) TO regenesis_app")


def downgrade() -> None:
    """Take back."""
    for name, arguments in FUNCTIONS.items():
        op.execute(f"DROP FUNCTION evaluation.{name}({arguments})")
    op.execute("DROP POLICY measuring ON evaluation.dataset_cases")
