"""How sessions are judged: the client's feedback, and reviews of quality by rubrics."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import CoachingSession, QaReview, Rubric, SessionFeedback
from db.session import Principal
from db.violations import refusing
from domain.booking import CoachingSessionNotFound, tell
from domain.governance import name_action
from domain.identity import bound_tenant

MOST_CRITERIA: Final = 30


class FeedbackRefused(Forbidden):
    """Feedback on a session is given by its client; sign in as the client of this session."""


class FeedbackGiven(Conflict):
    """This session has its feedback already; a session is rated once."""


class SessionNotCompleted(Conflict):
    """Only a completed session can be rated; wait until its coach completes it."""


class FeedbackNotFound(NotFound):
    """There is no feedback of yours on this session; give it first."""


class RubricNotFound(NotFound):
    """There is no such active rubric; list the rubrics to see their ids."""


class RubricTaken(Conflict):
    """A rubric's version was made at the same moment; read the rubrics again and retry."""


class CriteriaUnusable(Invalid):
    """A rubric has 1 to 30 criteria with keys that differ; correct the list."""


class ScoresUnusable(Invalid):
    """A review scores every criterion of its rubric, from 0 to the criterion's most; correct the scores."""


class ReviewGiven(Conflict):
    """You reviewed this session by this rubric already; change that review instead."""


class ReviewNotFound(NotFound):
    """There is no such review of yours; list the reviews to see their ids."""


class ReviewRefused(Forbidden):
    """A session is reviewed by someone else than its coach or client; ask another reviewer."""


_FEEDBACK_RULES = {
    "uq_session_feedback_tenant_id_session_id": FeedbackGiven, "session_completed": SessionNotCompleted,
    "session_exists": CoachingSessionNotFound, "ck_session_feedback_by_the_client": FeedbackRefused,
}  # fmt: skip
_REVIEW_RULES = {
    "uq_qa_reviews_tenant_id_session_id_rubric_id_reviewer_id": ReviewGiven, "session_exists": CoachingSessionNotFound,
    "ck_qa_reviews_by_a_third": ReviewRefused,
}  # fmt: skip


async def give_feedback(
    session: AsyncSession, session_id: UUID, *, by: Principal, rating: int, would_recommend: bool | None = None,
    feedback_text: str | None = None, highlights: Sequence[str] = (), improvements: Sequence[str] = (),
    is_public: bool = False,
) -> SessionFeedback:  # fmt: skip
    """Rate a completed session, once, as its client; runs as the client themself.

    Raises `CoachingSessionNotFound`, `SessionNotCompleted`, `FeedbackGiven`, `FeedbackRefused`.
    """
    if by.role != "client" or by.user_id is None:
        raise FeedbackRefused
    about = await session.scalar(select(CoachingSession).where(CoachingSession.id == session_id))
    if about is None:
        raise CoachingSessionNotFound
    await name_action(session, "session_rated")
    given = SessionFeedback(
        tenant_id=by.tenant_id, session_id=session_id, submitted_by=by.user_id, rating=rating,
        would_recommend=would_recommend, feedback_text=feedback_text, highlights=list(highlights),
        improvements=list(improvements), is_public=is_public, client_id=by.user_id, coach_id=about.coach_id,
    )  # fmt: skip
    session.add(given)
    with refusing(_FEEDBACK_RULES):
        await session.flush()
    await session.refresh(given)
    await tell(session, about, "session_rated", by, title="Session rated", message="The session of {when} was rated.")
    return given


async def set_public(session: AsyncSession, session_id: UUID, *, by: Principal, is_public: bool) -> SessionFeedback:
    """Let others see the client's feedback, or take that back; runs as the client. Raises `FeedbackNotFound`."""
    found = await session.scalar(
        update(SessionFeedback)
        .where(SessionFeedback.session_id == session_id, SessionFeedback.submitted_by == by.user_id)
        .values(is_public=is_public)
        .returning(SessionFeedback),
        execution_options={"populate_existing": True},
    )
    if found is None:
        raise FeedbackNotFound
    return found


async def add_rubric(
    session: AsyncSession, *, by: Principal, name: str, criteria: Sequence[dict[str, Any]],
    description: str | None = None,
) -> Rubric:  # fmt: skip
    """Make a rubric, or the next version of the one of this name, which retires the earlier ones.

    Raises `CriteriaUnusable`, `RubricTaken`.
    """
    keys = {criterion["key"] for criterion in criteria}
    if not 1 <= len(criteria) <= MOST_CRITERIA or len(keys) != len(criteria):
        raise CriteriaUnusable
    newest = await session.scalar(select(func.max(Rubric.version)).where(Rubric.name == name))
    await session.execute(update(Rubric).where(Rubric.name == name, Rubric.is_active).values(is_active=False))
    rubric = Rubric(
        tenant_id=await bound_tenant(session), name=name, version=(newest or 0) + 1, description=description,
        criteria=list(criteria), created_by=by.user_id,
    )  # fmt: skip
    session.add(rubric)
    with refusing({"uq_rubrics_tenant_id_name_version": RubricTaken}):
        await session.flush()
    await session.refresh(rubric)
    return rubric


async def retire_rubric(session: AsyncSession, rubric_id: UUID) -> Rubric:
    """Let no new review use the rubric; reviews that did keep it. Raises `RubricNotFound`."""
    rubric = await session.scalar(
        update(Rubric).where(Rubric.id == rubric_id, Rubric.is_active).values(is_active=False).returning(Rubric),
        execution_options={"populate_existing": True},
    )
    if rubric is None:
        raise RubricNotFound
    return rubric


def weigh_scores(criteria: Sequence[dict[str, Any]], scores: dict[str, Decimal]) -> Decimal:
    """Return the weighted mean of score / max_score over all criteria, out of 100; raises `ScoresUnusable`."""
    if set(scores) != {criterion["key"] for criterion in criteria}:
        raise ScoresUnusable
    reached = possible = Decimal(0)
    for criterion in criteria:
        most, weight = Decimal(str(criterion["max_score"])), Decimal(str(criterion["weight"]))
        score = scores[criterion["key"]]
        if not 0 <= score <= most:
            raise ScoresUnusable
        reached, possible = reached + weight * score / most, possible + weight
    return (100 * reached / possible).quantize(Decimal("0.01"), ROUND_HALF_UP)


async def add_review(
    session: AsyncSession, *, by: Principal, session_id: UUID, rubric_id: UUID, scores: dict[str, Decimal],
    notes: str | None = None,
) -> QaReview:  # fmt: skip
    """Review a completed session by a rubric; needs a session bound as the pipelines.

    Administrators review any session, a coach one that another coach held with a client of theirs (the caller checks
    that they can read it). Raises `CoachingSessionNotFound`, `SessionNotCompleted`, `RubricNotFound`, `ScoresUnusable`,
    `ReviewGiven`, `ReviewRefused`.
    """
    about = await session.scalar(select(CoachingSession).where(CoachingSession.id == session_id))
    if about is None:
        raise CoachingSessionNotFound
    if about.status != "completed":
        raise SessionNotCompleted("Only a completed session can be reviewed; wait until its coach completes it.")
    rubric = await session.scalar(select(Rubric).where(Rubric.id == rubric_id, Rubric.is_active))
    if rubric is None:
        raise RubricNotFound
    await name_action(session, "session_reviewed")
    review = QaReview(
        tenant_id=about.tenant_id, session_id=session_id, rubric_id=rubric_id, reviewer_id=by.user_id,
        scores={key: float(score) for key, score in scores.items()}, total=weigh_scores(rubric.criteria, scores),
        notes=notes, client_id=about.client_id, coach_id=about.coach_id,
    )  # fmt: skip
    session.add(review)
    with refusing(_REVIEW_RULES):
        await session.flush()
    await session.refresh(review)
    return review


async def change_review(
    session: AsyncSession, review_id: UUID, *, by: Principal, scores: dict[str, Decimal], notes: str | None
) -> QaReview:
    """Change one's own review; needs a session bound as the pipelines. Raises `ReviewNotFound`, `ScoresUnusable`."""
    found = (
        await session.execute(
            select(QaReview, Rubric.criteria)
            .join(Rubric, Rubric.id == QaReview.rubric_id)
            .where(QaReview.id == review_id, QaReview.reviewer_id == by.user_id)
            .with_for_update(of=QaReview)
        )
    ).one_or_none()
    if found is None:
        raise ReviewNotFound
    review: QaReview = found[0]
    review.total = weigh_scores(found[1], scores)
    review.scores = {key: float(score) for key, score in scores.items()}
    review.notes = notes
    await session.flush()
    await session.refresh(review)
    return review
