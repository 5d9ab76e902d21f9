"""The clients a caller may see."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import func, select, tuple_

from api.deps import SessionDep, needs
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, read_cursor, write_cursor
from api.schemas.search import ClientOut, ClientPage
from db.models import Transcript, User

router = APIRouter(prefix="/v1/clients", tags=["clients"], dependencies=[needs("search")])


@router.get("", operation_id="listClients", responses=list_problem_responses())
async def list_clients(
    session: SessionDep,
    name: Annotated[str | None, Query(max_length=200, description="only whose name or address contains this")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> ClientPage:
    """List clients by name: a coach's own, a client themself, an administrator's whole organisation."""
    sessions = (
        select(Transcript.client_id, func.count().label("held"), func.max(Transcript.held_at).label("last"))
        .group_by(Transcript.client_id)
        .subquery()
    )
    query = (
        select(User.id, User.full_name, User.email, func.coalesce(sessions.c.held, 0), sessions.c.last)
        .outerjoin(sessions, sessions.c.client_id == User.id)
        .where(User.role == "client", User.status == "active")
        .order_by(User.full_name, User.id)
        .limit(limit + 1)
    )
    if (place := read_cursor(cursor, (str, UUID))) is not None:
        query = query.where(tuple_(User.full_name, User.id) > place)
    if name and (words := name.replace("\x00", "").strip()):
        query = query.where(
            User.full_name.icontains(words, autoescape=True) | User.email.icontains(words, autoescape=True)
        )
    rows = (await session.execute(query)).all()
    items = [
        ClientOut(id=row[0], full_name=row[1], email=row[2], sessions=row[3], last_session_at=row[4])
        for row in rows[:limit]
    ]
    following = write_cursor((items[-1].full_name, items[-1].id)) if len(rows) > limit else None
    return ClientPage(items=items, next_cursor=following)
