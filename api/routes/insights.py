"""Insights: drafts for the coach, verdicts, and what was shared with the client."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from api.deps import SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.evidence import VisibilityQuery
from api.schemas.evidence import ClaimOut, PatternOut
from api.schemas.insights import (
    AcceptIn,
    InsightDetailOut,
    InsightOut,
    InsightPatch,
    InsightReviewOut,
    InsightStatus,
    RejectIn,
)
from db.models import Insight, InsightReview
from domain import insights
from domain.insights import list_insights_read
from domain.reading import list_evidence_read, record_reading

router = APIRouter(prefix="/v1/insights", tags=["insights"])

READ = [needs("read")]
JUDGE = [needs("write"), needs_role("coach")]
VERDICTS = list_problem_responses(404, 409)


@router.get("", operation_id="listInsights", dependencies=READ, responses=list_problem_responses())
async def list_insights(
    *,
    session: SessionDep,
    client_id: Annotated[UUID | None, Query(alias="client", description="only of this client")] = None,
    insight_status: Annotated[InsightStatus | None, Query(alias="status", description="only with this status")] = None,
    visibility: VisibilityQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[InsightOut]:
    """List insights, the newest first: a coach's clients', or as client those accepted and shared with you."""
    query = insights.select_insights(client_id, insight_status, visibility)
    order = (Insight.created_at, Insight.id)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    await record_reading(session, "insight_read", list_insights_read(row[0] for row in rows))
    return Page(items=[InsightOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/{insight_id}", operation_id="getInsight", dependencies=READ, responses=list_problem_responses(404))
async def get_insight(insight_id: UUID, session: SessionDep) -> InsightDetailOut:
    """Read an insight with the patterns, claims and quotes it stands on."""
    found = await insights.get_insight(session, insight_id)
    read = list_evidence_read(found.claims, found.patterns)
    await record_reading(
        session, "insight_read", list_insights_read([found.insight]), read, entity=("insight", insight_id)
    )
    return InsightDetailOut(
        **InsightOut.model_validate(found.insight).model_dump(),
        patterns=[PatternOut.model_validate(one) for one in found.patterns],
        claims=[ClaimOut.model_validate(one) for one in found.claims],
    )


@router.patch("/{insight_id}", operation_id="editInsight", dependencies=JUDGE, responses=VERDICTS)
async def edit_insight(insight_id: UUID, body: InsightPatch, session: SessionDep) -> InsightOut:
    """Word an insight anew, as a coach of its client; the words before stay in its history."""
    return InsightOut.model_validate(
        await insights.edit_insight(session, insight_id, title=body.title, body=body.body)
    )  # fmt: skip


@router.post("/{insight_id}/accept", operation_id="acceptInsight", dependencies=JUDGE, responses=VERDICTS)
async def accept_insight(insight_id: UUID, session: SessionDep, body: AcceptIn | None = None) -> InsightOut:
    """Accept a draft, as a coach of its client, and show it to them where all it stands on may be shown."""
    given = body or AcceptIn()
    return InsightOut.model_validate(
        await insights.accept_insight(session, insight_id, share=given.share, reason=given.reason)
    )


@router.post("/{insight_id}/reject", operation_id="rejectInsight", dependencies=JUDGE, responses=VERDICTS)
async def reject_insight(insight_id: UUID, body: RejectIn, session: SessionDep) -> InsightOut:
    """Reject a draft and say why, as a coach of its client; it is not drafted again."""
    return InsightOut.model_validate(await insights.reject_insight(session, insight_id, reason=body.reason))


@router.get(
    "/{insight_id}/reviews", operation_id="listInsightReviews", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_reviews(
    insight_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[InsightReviewOut]:
    """List the verdicts and edits of an insight, the newest first; only coaches of its client see them."""
    insight = await session.scalar(select(Insight).where(Insight.id == insight_id))
    if insight is None:
        raise insights.InsightNotFound
    order = (InsightReview.created_at, InsightReview.id)
    query = insights.select_reviews(insight_id)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    if rows:
        await record_reading(session, "insight_read", list_insights_read([insight]), entity=("insight", insight_id))
    return Page(items=[InsightReviewOut.model_validate(row[0]) for row in rows], next_cursor=more)
