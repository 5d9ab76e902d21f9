"""Cursors: opaque to clients, a place in an order to us."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query

from core.errors import Invalid

LimitQuery = Annotated[int, Query(alias="limit", ge=1, le=200, description="how many at most")]
CursorQuery = Annotated[
    str | None, Query(alias="cursor", max_length=400, description="`next_cursor` of the page before")
]


class BadCursor(Invalid):
    """This cursor can't be used; take `next_cursor` from the page before, or leave it out to begin."""


def encode_place(moment: datetime, row_id: UUID) -> str:
    """Return the cursor of a row by its time and id."""
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), str(row_id)]).encode()).decode()


def decode_place(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Return the time and id of a cursor; raises `BadCursor`."""
    if cursor is None:
        return None
    try:
        moment, row_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        place = datetime.fromisoformat(moment), UUID(row_id)
    except (ValueError, TypeError, binascii.Error, AttributeError) as error:
        raise BadCursor from error
    if place[0].tzinfo is None:
        raise BadCursor
    return place
