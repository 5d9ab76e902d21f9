"""Name every check as the convention says; the steps before named each twice over."""

from alembic import op

revision = "0021"
down_revision = "0020"

# The names differ by table, so one loop says it; a partition's checks follow its parent's.
RENAME = r"""
DO $$ DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.conrelid::regclass AS table_name, c.conname, regexp_replace(c.conname, '^ck_(.+)_ck_\1_', 'ck_\1_') AS plain
        FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
        WHERE c.contype = 'c' AND c.coninhcount = 0 AND pg_get_userbyid(t.relowner) = current_user
          AND c.conname ~ '^ck_(.+)_ck_\1_'
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', found.table_name, found.conname, found.plain);
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.execute(RENAME)


def downgrade() -> None:
    """Take back nothing: the names were never meant, and nothing refers to them."""
