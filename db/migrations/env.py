"""How Alembic reaches the store: as the owner, over the product's schemas only."""

import re
from typing import Any

from alembic import context
from sqlalchemy import create_engine, pool, text

import db.models  # noqa: F401  # fills the metadata
from core.settings import get_settings
from db.base import SCHEMAS, Base
from db.locate import owner_url
from db.provision import OWNER

PARTITION = re.compile(r"_(default|p\d{4}_\d{2}|t[0-9a-f]{32})$")
"""Partitions belong to their parent, not to the models."""


def include_name(name: str | None, kind: str, parents: Any) -> bool:  # noqa: ANN401  # Alembic's own type is a union of maps
    """Tell whether autogenerate and `alembic check` look at this."""
    if kind == "schema":
        return name in SCHEMAS
    if kind == "table":
        return parents["schema_name"] in SCHEMAS and not PARTITION.search(name or "")
    return True


def include_object(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:  # noqa: ANN401, ARG001  # Alembic's signature
    """Leave out the copies of a foreign key that PostgreSQL keeps for each partition of its target."""
    if kind == "foreign_key_constraint" and reflected:
        return not PARTITION.search(item.elements[0].target_fullname.rsplit(".", 1)[0])
    return True


def run() -> None:
    """Run the migrations in one transaction each, giving up on a lock rather than blocking the service."""
    engine = create_engine(context.config.attributes.get("url") or owner_url(get_settings()), poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"SET ROLE {OWNER}"))
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET search_path = public"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_schemas=True,
            include_name=include_name,
            include_object=include_object,
            compare_server_default=False,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
