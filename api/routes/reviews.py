"""Rubrics, and the reviews of sessions by them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.reviews import QaReviewIn, QaReviewOut, QaReviewPatch, RubricIn, RubricOut
from db.models import CoachingSession, QaReview, Rubric
from db.session import tenant_session
from domain.booking import CoachingSessionNotFound
from domain.reviews import add_review, add_rubric, change_review, retire_rubric

router = APIRouter(prefix="/v1", tags=["reviews"])

READ = [needs("read"), needs_role("coach", "admin")]
WRITE = [needs("write"), needs_role("coach", "admin")]
ADMIN = [needs("admin"), needs_role("admin")]


@router.get("/rubrics", operation_id="listRubrics", dependencies=READ, responses=list_problem_responses())
async def list_rubrics(
    session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None,
    active: Annotated[bool | None, Query(description="only those in use, or only those retired")] = None,
) -> Page[RubricOut]:  # fmt: skip
    """List the rubrics with their versions, the newest first."""
    query = select(Rubric) if active is None else select(Rubric).where(Rubric.is_active.is_(active))
    rows, following = await fetch_page(session, query, order=(Rubric.created_at, Rubric.id), limit=limit, cursor=cursor)
    return Page(items=[RubricOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/rubrics", operation_id="addRubric", status_code=status.HTTP_201_CREATED, dependencies=ADMIN,
    responses=list_problem_responses(409),
)  # fmt: skip
async def post_rubric(body: RubricIn, principal: PrincipalDep, session: SessionDep) -> RubricOut:
    """Add a rubric, or the next version of the one of this name, which retires the earlier."""
    made = await add_rubric(
        session, by=principal, name=body.name, description=body.description,
        criteria=[criterion.model_dump() for criterion in body.criteria],
    )  # fmt: skip
    return RubricOut.model_validate(made)


@router.post(
    "/rubrics/{rubric_id}/retire", operation_id="retireRubric", dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_retirement(rubric_id: UUID, session: SessionDep) -> RubricOut:
    """Let no new review use a rubric."""
    return RubricOut.model_validate(await retire_rubric(session, rubric_id))


@router.get("/qa-reviews", operation_id="listQaReviews", dependencies=READ, responses=list_problem_responses())
async def list_reviews(  # FastAPI passes them by name
    session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None,
    coach: Annotated[UUID | None, Query(description="only of this coach")] = None,
    about: Annotated[UUID | None, Query(alias="session", description="only of this session")] = None,
) -> Page[QaReviewOut]:  # fmt: skip
    """List reviews, the newest first: of your own sessions, those you wrote, or as administrator all."""
    q = QaReview
    query = select(q)
    if coach is not None:
        query = query.where(q.coach_id == coach)
    if about is not None:
        query = query.where(q.session_id == about)
    rows, following = await fetch_page(session, query, order=(q.created_at, q.id), limit=limit, cursor=cursor)
    return Page(items=[QaReviewOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/qa-reviews", operation_id="addQaReview", status_code=status.HTTP_201_CREATED, dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def post_review(body: QaReviewIn, principal: PrincipalDep, session: SystemSessionDep) -> QaReviewOut:
    """Review a completed session that someone else held, as administrator or as a coach of the same client."""
    if principal.role == "coach":
        async with tenant_session(principal) as own:
            if await own.scalar(select(CoachingSession.id).where(CoachingSession.id == body.session_id)) is None:
                raise CoachingSessionNotFound
    made = await add_review(
        session, by=principal, session_id=body.session_id, rubric_id=body.rubric_id, scores=body.scores,
        notes=body.notes,
    )  # fmt: skip
    return QaReviewOut.model_validate(made)


@router.patch(
    "/qa-reviews/{review_id}", operation_id="updateQaReview", dependencies=WRITE, responses=list_problem_responses(404)
)
async def patch_review(
    review_id: UUID, body: QaReviewPatch, principal: PrincipalDep, session: SystemSessionDep
) -> QaReviewOut:
    """Make your own review anew."""
    changed = await change_review(session, review_id, by=principal, scores=body.scores, notes=body.notes)
    return QaReviewOut.model_validate(changed)
