"""Bringing a database to a revision, for the CLI and the tests."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import URL


def _config(url: URL) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config


def upgrade(url: URL, revision: str = "head") -> None:
    """Migrate up to the revision; nothing happens where it is already there."""
    command.upgrade(_config(url), revision)


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
