"""How evidence is written: many rows a statement, and only those that differ from what is stored."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import Base

_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Rows that one write added, changed and removed; nothing of either where all was stored already."""

    added: int = 0
    changed: int = 0
    removed: int = 0


def declare(table: type[Base], columns: Sequence[str]) -> str:
    """Return the columns with their types, as `json_to_recordset` wants them."""
    types = table.__table__.c
    return ", ".join(f"{name} {types[name].type.compile(_POSTGRESQL)}" for name in columns)


async def insert_rows(session: AsyncSession, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the bound tenant's rows, which all have the same columns, by one statement.

    The guards of these tables work by the statement, so a row each would cost many times as much.
    """
    if rows:
        await session.execute(text(_insert_statement(table, tuple(rows[0]))), {"rows": orjson.dumps(rows).decode()})


@lru_cache(maxsize=16)
def _insert_statement(table: type[Base], columns: tuple[str, ...]) -> str:
    listed = ", ".join(columns)
    return (
        f"INSERT INTO {table.__table__} (tenant_id, {listed}) "
        f"SELECT (SELECT current_setting('app.tenant_id')::uuid), {listed} "
        f"FROM json_to_recordset(CAST(:rows AS json)) AS r({declare(table, columns)})"
    )


async def update_rows(session: AsyncSession, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> int:
    """Set the bound tenant's rows of these ids to the other columns given, and return how many differed."""
    if not rows:
        return 0
    statement = text(_update_statement(table, tuple(rows[0])))
    changed = await session.scalars(statement, {"rows": orjson.dumps(rows).decode()})
    return len(changed.all())


@lru_cache(maxsize=16)
def _update_statement(table: type[Base], columns: tuple[str, ...]) -> str:
    names = [name for name in columns if name != "id"]
    settings = ", ".join(f"{name} = r.{name}" for name in names)
    old, new = (", ".join(f"{row}.{name}" for name in names) for row in ("t", "r"))
    return (
        f"UPDATE {table.__table__} t SET {settings} "
        f"FROM json_to_recordset(CAST(:rows AS json)) AS r({declare(table, columns)}) "
        "WHERE t.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND t.id = r.id "
        f"AND ({old}) IS DISTINCT FROM ({new}) RETURNING t.id"
    )


async def delete_rows(session: AsyncSession, table: type[Base], ids: Collection[UUID]) -> None:
    """Delete the bound tenant's rows of these ids; what hangs on them goes or is marked stale by the store itself."""
    if ids:
        statement = text(
            f"DELETE FROM {table.__table__} WHERE tenant_id = (SELECT current_setting('app.tenant_id')::uuid) "
            "AND id = ANY (:ids)"
        ).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
        await session.execute(statement, {"ids": sorted(ids)})
