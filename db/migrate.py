"""Bringing a database to a revision, for the CLI and the tests."""

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool, text
from sqlalchemy.engine import URL

from db.base import SCHEMAS
from db.closing import StoreClosed, find_closed

EXPECT_MANY_ROWS_A_TENANT = text("""
    SELECT pg_restore_attribute_stats(
        'schemaname', c.relnamespace::regnamespace::text, 'relname', c.relname::text, 'attname', 'tenant_id',
        'inherited', false, 'null_frac', 0::real, 'avg_width', 16, 'n_distinct', 2::real)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attname = 'tenant_id' AND c.relkind = 'r' AND NOT c.relispartition
      AND c.relnamespace::regnamespace::text = ANY (:schemas) AND c.reltuples < 0
      AND NOT EXISTS (SELECT FROM pg_statistic s WHERE s.starelid = c.oid)
""")
"""Of an empty table PostgreSQL expects one row a tenant, so every index that begins with the tenant seems to find a row
as well as the primary key does. A transaction that adds many rows keeps the plans it made at its start, and each check
of a foreign key would read all of the tenant's rows. The first ANALYZE puts what is true in the place of this."""


MIGRATIONS = Path(__file__).parent / "migrations"


def _config(url: URL) -> Config:
    config = Config(stdout=io.StringIO())  # Alembic talks to people, and so do we
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config


def upgrade(url: URL, revision: str = "head", *, even_closed: bool = False) -> None:
    """Migrate up to the revision; nothing happens where it is already there.

    Raises `StoreClosed` while a restore is not finished, unless it is the restore that migrates.
    """
    if not even_closed and find_closed(url) is not None:
        raise StoreClosed
    command.upgrade(_config(url), revision)
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(EXPECT_MANY_ROWS_A_TENANT, {"schemas": list(SCHEMAS)})
    engine.dispose()


def downgrade(url: URL, revision: str) -> None:
    """Migrate down to the revision, `base` for nothing at all."""
    command.downgrade(_config(url), revision)


def check(url: URL) -> None:
    """Raise when the models say something the migrations do not."""
    command.check(_config(url))


def current_and_head(url: URL) -> tuple[str | None, str | None]:
    """Return the revision the database is at and the newest one there is."""
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return current, ScriptDirectory.from_config(_config(url)).get_current_head()
