"""Cursors: opaque to clients, a place in an order to us."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Row, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.errors import Invalid

Item = TypeVar("Item")

LimitQuery = Annotated[int, Query(alias="limit", ge=1, le=200, description="how many at most")]
CursorQuery = Annotated[
    str | None, Query(alias="cursor", max_length=400, description="`next_cursor` of the page before")
]


class BadCursor(Invalid):
    """This cursor can't be used; take `next_cursor` from the page before, or leave it out to begin."""


class Page(BaseModel, Generic[Item]):
    """Some of a list, in its order."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="send it as `cursor` for what follows; null at the end")


PLACE: Final = (datetime, UUID)
"""The types of the commonest place: a time and an id."""

_READ: dict[type, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat, date: date.fromisoformat, UUID: UUID, Decimal: Decimal, int: int, str: str,
    bool: lambda part: bool(("False", "True").index(part)),
}  # fmt: skip


async def fetch_page(
    session: AsyncSession,
    query: Select[Any],
    *,
    order: Sequence[InstrumentedAttribute[Any] | ColumnElement[Any]],
    limit: int,
    cursor: str | None,
    descending: bool = True,
) -> tuple[list[Row[Any]], str | None]:
    """Return one page of the query's rows and the cursor of the next; raises `BadCursor`.

    `order` are columns or expressions, never null and together unique, such as `(Post.created_at, Post.id)`; they are
    added to the selection to make the cursor and cut from the rows again. The page is a range of that order, so an
    index on it serves any page at the same cost.
    """
    query = query.add_columns(*order)
    place = read_cursor(cursor, [column.type.python_type for column in order])
    if place is not None:
        query = query.where(tuple_(*order) < tuple_(*place) if descending else tuple_(*order) > tuple_(*place))
    query = query.order_by(*(column.desc() if descending else column.asc() for column in order)).limit(limit + 1)
    rows = list((await session.execute(query)).all())
    more = write_cursor(rows[limit - 1][-len(order) :]) if len(rows) > limit else None
    return rows[:limit], more


def write_cursor(values: Sequence[Any]) -> str:
    """Return the cursor of the row whose place in the list's order these values are."""
    parts = [value.isoformat() if isinstance(value, date) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


def read_cursor(cursor: str | None, types: Sequence[type]) -> tuple[Any, ...] | None:
    """Return the values of a cursor, of these types (times with a zone), or None without one; raises `BadCursor`."""
    if cursor is None:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        values = tuple(_READ[kind](part) for kind, part in zip(types, parts, strict=True))
    except (ValueError, TypeError, ArithmeticError, AttributeError, binascii.Error) as error:
        raise BadCursor from error
    if not all(map(_is_storable, values)):
        raise BadCursor
    return values


def _is_storable(value: object) -> bool:
    """Tell whether PostgreSQL can compare the value: a forged cursor must not become a failed statement."""
    match value:
        case datetime():
            return value.tzinfo is not None
        case str():
            return "\x00" not in value
        case int():
            return abs(value) < 2**63
    return True
