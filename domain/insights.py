"""Verdicts on insights: a coach of the client accepts, rejects or edits; the client sees what was accepted, no more.

Whether a client may see one is decided by the store: an insight shows no more than the words it stands on.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import Insight, InsightReview
from db.session import BOUND_TO, Principal, acting_as_system
from db.violations import refusing
from domain.evidence import read_pyramid
from domain.evidence_views import ClaimView, PatternView
from domain.governance import name_action
from domain.reading import Kind

Verdict = Literal["accepted", "rejected"]

LONGEST_TITLE: Final = 200  # characters
LONGEST_BODY: Final = 4_000
LONGEST_REASON: Final = 2_000


class InsightNotFound(NotFound):
    """There is no such insight that you may see; list the insights to see their ids."""


class VerdictRefused(Forbidden):
    """Insights are decided and edited by a coach of the client; sign in as one."""


class InsightDecided(Conflict):
    """This insight was accepted or rejected already; read it again to see the verdict."""


class InsightStale(Conflict):
    """What this insight stands on has changed since you read it; list the insights again for what still stands."""


class InsightNotShareable(Conflict):
    """This insight stands on words that its client may not read; accept it without sharing it."""


class InsightUnusable(Invalid):
    """An insight has a title of up to 200 characters and a body of up to 4,000, a rejection a reason; fill them in."""


_RULES: Final = {"inherited": InsightNotShareable, "stale_stays": InsightStale}
"""What the store refuses where a source changed at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightDetail:
    """An insight with what it stands on, as far as its reader may see that."""

    insight: Insight
    patterns: tuple[PatternView, ...]
    claims: tuple[ClaimView, ...]


_PARENTS: Final = text(
    """
    SELECT coalesce(array_agg(parent_pattern_id) FILTER (WHERE parent_pattern_id IS NOT NULL), '{}') AS patterns,
           coalesce(array_agg(parent_claim_id) FILTER (WHERE parent_claim_id IS NOT NULL), '{}') AS claims
    FROM evidence.derivations WHERE child_insight_id = :insight_id
    """
)
# A row shows no more than the sources it was derived from in the end: these tell which session holds an insight back.
_HELD_BACK: Final = text(
    """
    WITH RECURSIVE under AS (
        SELECT parent_claim_id AS id FROM evidence.derivations WHERE child_insight_id = :insight_id
        UNION SELECT pc.claim_id FROM evidence.derivations e
            JOIN evidence.pattern_claims pc ON pc.tenant_id = e.tenant_id AND pc.pattern_id = e.parent_pattern_id
            WHERE e.child_insight_id = :insight_id
    ), settled AS (
        SELECT id FROM under
        UNION SELECT c.superseded_by FROM settled JOIN evidence.claims c ON c.id = settled.id
            WHERE c.superseded_by IS NOT NULL
    )
    SELECT DISTINCT coalesce(t.title, d.title) AS title, coalesce(t.held_at, d.held_at) AS held_at
    FROM settled JOIN evidence.claims c ON c.id = settled.id
    LEFT JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id
    LEFT JOIN rag.documents d ON d.tenant_id = c.tenant_id AND d.id = c.document_id
    WHERE coalesce(t.visibility, d.visibility) <> 'client_visible' ORDER BY 2 NULLS LAST, 1
    """
)
_ACT_FOR: Final = text(
    """
    SELECT set_config('app.context', (coalesce(nullif(current_setting('app.context', true), ''), '{}')::jsonb
        || jsonb_build_object('actor_id', CAST(:actor AS text)))::text, true)
    """
)


def select_insights(
    client_id: UUID | None = None, status: str | None = None, visibility: str | None = None
) -> Select[Any]:
    """Return the insights that the reader may see; order it by `(created_at, id)`."""
    narrowed = (Insight.client_id, client_id), (Insight.status, status), (Insight.visibility, visibility)
    return select(Insight).where(*(column == value for column, value in narrowed if value is not None))


def list_insights_read(shown: Iterable[Insight]) -> dict[Kind, list[UUID | None]]:
    """Return what whoever gets these insights reads."""
    read: dict[Kind, list[UUID | None]] = {"insight": [], "client": []}
    for insight in shown:
        read["insight"].append(insight.id)
        read["client"].append(insight.client_id)
    return read


def select_reviews(insight_id: UUID) -> Select[Any]:
    """Return verdicts and edits of the insight, which coaches may see; order it by `(created_at, id)`."""
    return select(InsightReview).where(InsightReview.insight_id == insight_id)


async def find_insight(session: AsyncSession, insight_id: UUID) -> Insight | None:
    """Return the insight if the reader may see it."""
    found: Insight | None = await session.scalar(
        select(Insight).where(Insight.id == insight_id).execution_options(populate_existing=True)
    )
    return found


async def get_insight(session: AsyncSession, insight_id: UUID) -> InsightDetail:
    """Return the insight with the patterns and claims it stands on; raises `InsightNotFound`."""
    insight = await find_insight(session, insight_id)
    if insight is None:
        raise InsightNotFound
    # Edges are the pipelines' to read; what they lead to is read as the reader again.
    async with acting_as_system(session):
        parents = (await session.execute(_PARENTS, {"insight_id": insight_id})).one()
    patterns, claims = await read_pyramid(session, pattern_ids=parents.patterns, claim_ids=parents.claims)
    return InsightDetail(insight=insight, patterns=patterns, claims=claims)


async def accept_insight(
    session: AsyncSession, insight_id: UUID, *, share: bool | None = None, reason: str | None = None
) -> Insight:
    """Accept a draft, as a coach of its client, whose session this is.

    `share`: None shows it to the client where everything it stands on may be shown to them, True insists on that, False
    keeps it among coaches. Raises `InsightNotFound`, `VerdictRefused`, `InsightDecided`, `InsightStale`,
    `InsightNotShareable`.
    """
    async with _reviewing(session, insight_id, "insight_accepted") as (insight, coach):
        _require_draft(insight)
        held_back = [] if share is False else (await session.execute(_HELD_BACK, {"insight_id": insight_id})).all()
        if share and held_back:
            first, others = held_back[0], len(held_back) - 1
            raise InsightNotShareable(
                f"This insight stands on {first.title!r}{f' and {others} more' if others else ''}, which its client "
                "may not read; accept it without sharing it."
            )
        insight.visibility = "coach_only" if share is False or held_back else "client_visible"
        return await _decide(session, insight, coach, "accepted", reason)


async def reject_insight(session: AsyncSession, insight_id: UUID, *, reason: str) -> Insight:
    """Reject a draft and say why, as a coach of its client, whose session this is; it is never drafted again.

    Raises `InsightNotFound`, `VerdictRefused`, `InsightDecided`, `InsightStale`, `InsightUnusable`.
    """
    if not reason.strip():
        raise InsightUnusable
    async with _reviewing(session, insight_id, "insight_rejected") as (insight, coach):
        _require_draft(insight)
        return await _decide(session, insight, coach, "rejected", reason)


async def edit_insight(
    session: AsyncSession, insight_id: UUID, *, title: str | None = None, body: str | None = None
) -> Insight:
    """Word an insight that is not rejected anew, as a coach of its client; what it said before is kept in its history.

    Raises `InsightNotFound`, `VerdictRefused`, `InsightDecided`, `InsightStale`, `InsightUnusable`.
    """
    if any(given is not None and not given.strip() for given in (title, body)):
        raise InsightUnusable
    if len(title or "") > LONGEST_TITLE or len(body or "") > LONGEST_BODY:
        raise InsightUnusable
    async with _reviewing(session, insight_id, "insight_edited") as (insight, coach):
        if insight.status == "rejected":
            raise InsightDecided("This insight was rejected; a rejected one is not worded anew.")
        before = insight.title, insight.body
        insight.title, insight.body = title or insight.title, body or insight.body
        if before != (insight.title, insight.body):
            session.add(
                InsightReview(
                    tenant_id=insight.tenant_id, insight_id=insight.id, reviewer_id=coach.user_id, verdict="edited",
                    title_before=before[0], title_after=insight.title, body_before=before[1], body_after=insight.body,
                )
            )  # fmt: skip
        await session.flush()
        return await _read_again(session, insight)


@asynccontextmanager
async def _reviewing(session: AsyncSession, insight_id: UUID, action: str) -> AsyncIterator[tuple[Insight, Principal]]:
    """Yield the locked insight, in a transaction bound to the pipelines, once its reader has the right to judge it."""
    coach: Principal = session.info[BOUND_TO]
    if await find_insight(session, insight_id) is None:
        raise InsightNotFound
    if coach.role != "coach":
        raise VerdictRefused
    await name_action(session, action)
    await session.execute(_ACT_FOR, {"actor": str(coach.user_id)})
    async with acting_as_system(session):
        # Whoever judged it first holds the row until they are done; this reads what they left.
        insight = await session.scalar(
            select(Insight).where(Insight.id == insight_id).with_for_update(),
            execution_options={"populate_existing": True},
        )
        if insight is None:
            raise InsightNotFound
        if insight.stale_at is not None:
            raise InsightStale
        yield insight, coach


def _require_draft(insight: Insight) -> None:
    if insight.status != "draft":
        raise InsightDecided(f"This insight was {insight.status} already; read it again to see the verdict.")


async def _decide(
    session: AsyncSession, insight: Insight, coach: Principal, verdict: Verdict, reason: str | None
) -> Insight:
    insight.status, insight.reason = verdict, reason.strip() if reason else None
    insight.decided_by, insight.decided_at = coach.user_id, func.clock_timestamp()
    session.add(
        InsightReview(
            tenant_id=insight.tenant_id, insight_id=insight.id, reviewer_id=coach.user_id, verdict=verdict,
            reason=insight.reason,
        )
    )  # fmt: skip
    with refusing(_RULES):
        await session.flush()
    return await _read_again(session, insight)


async def _read_again(session: AsyncSession, insight: Insight) -> Insight:
    await session.refresh(insight)
    return insight
