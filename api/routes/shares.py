"""Links to answers and packs, for colleagues who read them under their own rights."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, status

from api.deps import SessionDep, needs
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.shares import SharedOut, ShareIn, ShareMade, ShareOut, show_shared
from db.models import SharedLink
from domain import shared_links

router = APIRouter(prefix="/v1/shares", tags=["shares"])

READ, WRITE = [needs("read")], [needs("write")]
Token = Annotated[str, Path(min_length=20, max_length=100, pattern=r"^rgl_[\w-]+$")]


@router.post(
    "", operation_id="shareAnswer", status_code=status.HTTP_201_CREATED, dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_share(body: ShareIn, session: SessionDep) -> ShareMade:
    """Share one of your answers or packs with colleagues: each sees of it what they may read themself."""
    link, token = await shared_links.share(
        session, message_id=body.message_id, pack_id=body.pack_id, reader_id=body.reader_id,
        lasts=timedelta(hours=body.hours),
    )  # fmt: skip
    return ShareMade(**ShareOut.model_validate(link).model_dump(), token=token)


@router.get("", operation_id="listShares", dependencies=READ, responses=list_problem_responses())
async def list_shares(session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[ShareOut]:
    """List your links, the newest first, with how often each was opened."""
    order = (SharedLink.created_at, SharedLink.id)
    rows, more = await fetch_page(session, shared_links.select_links(), order=order, limit=limit, cursor=cursor)
    return Page(items=[ShareOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/{token}", operation_id="openShare", dependencies=READ, responses=list_problem_responses(404))
async def open_share(token: Token, session: SessionDep) -> SharedOut:
    """Open a link that a colleague gave you, as you may see it now."""
    return show_shared(await shared_links.open_link(session, token))


@router.delete(
    "/{share_id}", operation_id="revokeShare", status_code=204, dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_share(share_id: UUID, session: SessionDep) -> None:
    """Revoke one of your links, at once."""
    await shared_links.revoke_link(session, share_id)
