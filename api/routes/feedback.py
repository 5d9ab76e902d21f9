"""Feedback on what the assistant made: answers, insights, claims, patterns, quotes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import SessionDep, needs
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.insights import FeedbackIn, FeedbackOut
from db.models import Feedback
from domain.feedback import Target, give_feedback, select_feedback, take_back_feedback

router = APIRouter(prefix="/v1/feedback", tags=["feedback"])


@router.get("", operation_id="listFeedback", dependencies=[needs("read")], responses=list_problem_responses())
async def list_feedback(
    session: SessionDep,
    target_type: Annotated[Target | None, Query(alias="target", description="only on this kind of thing")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[FeedbackOut]:
    """List what you said, the newest first."""
    order = (Feedback.created_at, Feedback.id)
    rows, more = await fetch_page(session, select_feedback(target_type), order=order, limit=limit, cursor=cursor)
    return Page(items=[FeedbackOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "", operation_id="giveFeedback", status_code=status.HTTP_201_CREATED, dependencies=[needs("write")],
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_feedback(body: FeedbackIn, session: SessionDep) -> FeedbackOut:
    """Say what you think of a thing that you may see; said again, it replaces what you said before."""
    return FeedbackOut.model_validate(await give_feedback(session, **body.model_dump()))


@router.delete(
    "/{feedback_id}", operation_id="takeBackFeedback", status_code=status.HTTP_204_NO_CONTENT,
    dependencies=[needs("write")], responses=list_problem_responses(404),
)  # fmt: skip
async def delete_feedback(feedback_id: UUID, session: SessionDep) -> None:
    """Take back what you said."""
    await take_back_feedback(session, feedback_id)
