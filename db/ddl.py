"""What migrations say again and again: keys inside the tenant, indexes, and SQL that is long enough for a file."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

FOLDER = Path(__file__).parent / "migrations" / "sql"


def tenant_key(table: str, *, ondelete: str | None = "CASCADE") -> sa.ForeignKeyConstraint:
    """Return the key of a row to its tenant."""
    return sa.ForeignKeyConstraint(
        ["tenant_id"], ["platform.tenants.id"], name=f"fk_{table}_tenant_id", ondelete=ondelete
    )


def inner_key(
    table: str, columns: str | tuple[str, ...], target: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    """Return a key that can't leave the tenant, named as `db.base.tenant_fk` names it.

    `target` is `schema.table`, referenced by id, or `schema.table(column, …)`; `SET NULL` empties the named columns.
    """
    own = (columns,) if isinstance(columns, str) else columns
    name, _, listed = target.removesuffix(")").partition("(")
    others = tuple(part.strip() for part in listed.split(",")) if listed else ("id",)
    return sa.ForeignKeyConstraint(
        ["tenant_id", *own],
        [f"{name}.{column}" for column in ("tenant_id", *others)],
        name=f"fk_{table}_tenant_id_{'_'.join(own)}",
        ondelete=f"SET NULL ({', '.join(own)})" if ondelete == "SET NULL" else ondelete,
    )


def add_index(
    name: str, table: str, *columns: str, unique: bool = False, using: str | None = None, where: str | None = None
) -> None:
    """Create an index on columns or expressions of `schema.table`; what is no plain name is taken as SQL."""
    schema, _, bare = table.partition(".")
    op.create_index(
        name,
        bare,
        [column if re.fullmatch(r"\w+", column) else sa.text(column) for column in columns],
        schema=schema,
        unique=unique,
        postgresql_using=using or "btree",
        postgresql_where=None if where is None else sa.text(where),
    )


def read_sql(name: str) -> dict[str, str]:
    """Return the named parts of a migration's SQL file, each headed by a line `-- name: …`."""
    parts = re.split(r"^-- name: (\w+)\n", (FOLDER / f"{name}.sql").read_text(), flags=re.MULTILINE)
    return {key: body.strip() for key, body in zip(parts[1::2], parts[2::2], strict=True)}
