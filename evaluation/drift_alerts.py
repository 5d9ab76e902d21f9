"""Holds a tenant's newest scores against those before them, and tells whoever asked to be told, once a week at most.

What leaves are names of metrics and numbers, never anybody's words.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal, tenant_session
from domain.comms import notify_role, publish
from domain.outbox import DELIVERED_DAYS
from evaluation.drift import BAND, LOOKS, WATCHED, WINDOWS, Trend, find_trends
from evaluation.records import BY_JUDGE

TOPIC: Final = "evaluation.drifted"
KIND: Final = "evaluation_drifted"
TOLD: Final = ("evaluator", "admin")
"""Roles that are notified."""
QUIET: Final = timedelta(days=DELIVERED_DAYS)
"""How long a metric's drift is not told again: as long as the outbox keeps that it was."""

_SCORES: Final = text(
    """
    SELECT e.message_created_at, e.details->>'embedder' AS embedder, e.details->>'judge' AS judge, m.scores
    FROM evaluation.rag_evaluations e
    JOIN evaluation.rag_metrics m ON m.tenant_id = e.tenant_id AND m.evaluation_id = e.id
    WHERE e.message_id IS NOT NULL AND e.message_created_at >= :since AND e.message_created_at < :until
    ORDER BY e.message_created_at DESC
    """
)
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('drift:' || current_setting('app.tenant_id'), 0))")
_TOLD_BEFORE: Final = text(
    """
    SELECT DISTINCT told->>'metric' FROM comms.outbox CROSS JOIN LATERAL jsonb_array_elements(payload->'metrics') told
    WHERE topic = :topic AND created_at > clock_timestamp() - CAST(:quiet AS interval)
    """
)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the newest scores say, and of which metrics' drift people and webhooks were told just now."""

    trends: Sequence[Trend]
    told: Sequence[str] = field(default=())

    @property
    def drifted(self) -> list[Trend]:
        """The trends that got worse beyond doubt."""
        return [trend for trend in self.trends if trend.drifted]


async def watch_scores(tenant_id: UUID, *, now: datetime, window: timedelta, band: float = BAND) -> Watch:
    """Compare the newest windows before `now` with those before them, and tell of drift that was not told this week."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        trends = find_trends(await load_scores(session, now, window), band=band)
        return Watch(trends, await tell_drift(session, trends, now))


async def load_scores(session: AsyncSession, now: datetime, window: timedelta) -> dict[str, list[tuple[int, float]]]:
    """Return each watched metric's (age in windows, value) of every scored answer, the newest first.

    Scores of another embedder or judge than the newest answer's are left out: they would tell a change of the ruler.
    """
    span = {"since": now - window * (WINDOWS + max(LOOKS)), "until": now}
    found: dict[str, list[tuple[int, float]]] = {}
    ruler: dict[str, str] = {}
    for row in await session.execute(_SCORES, span):
        age = int((now - row.message_created_at) / window)
        for metric in WATCHED.keys() & row.scores.keys():
            value = row.scores[metric]
            used = row.judge if metric in BY_JUDGE else row.embedder if metric == "answer_relevance" else ""
            if value is not None and ruler.setdefault(metric, used) == used:
                found.setdefault(metric, []).append((age, float(value)))
    return found


async def tell_drift(session: AsyncSession, trends: Sequence[Trend], now: datetime) -> list[str]:
    """Tell webhooks, evaluators and administrators of metrics that drifted; return those not told within `QUIET`.

    Needs a session of the pipelines; two runs at once tell once.
    """
    drifted = list({trend.metric: trend for trend in trends if trend.drifted}.values())  # of two looks, the longer
    if not drifted:
        return []
    await session.execute(_LOCK)
    before = set(await session.scalars(_TOLD_BEFORE, {"topic": TOPIC, "quiet": QUIET}))
    fresh = [trend for trend in drifted if trend.metric not in before]
    if not fresh:
        return []
    await publish(session, TOPIC, {"until": now.isoformat(), "metrics": [write_trend(one) for one in fresh]}, key=TOPIC)
    names = [trend.metric for trend in fresh]
    for role in TOLD:
        await notify_role(
            session, role=role, kind=KIND, title="Answers got worse: " + ", ".join(names),
            message=" ".join(_word(trend) for trend in fresh) + " `regenesis eval online` shows every metric.",
            deduplication_key=f"{KIND}:{','.join(names)}:{now:%Y-%m-%d}",
        )  # fmt: skip
    return names


def write_trend(trend: Trend) -> dict[str, Any]:
    """Return the trend as JSON, its numbers to six digits."""
    rounded = {name: value and float(f"{value:.6g}") for name, value in (("before", trend.before), ("now", trend.now))}
    return asdict(trend) | rounded


def _word(trend: Trend) -> str:
    of = "the 95th percentile of " if trend.shown == "p95" else ""
    return (
        f"{of}{trend.metric} was {trend.before:.4g} and is {trend.now:.4g} over the newest {trend.answers:,} answers."
    )
