"""One organisation's window: its stored answers scored, judged within budget, and held against those before."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from core.errors import Invalid
from core.settings import Settings
from evaluation.drift_alerts import Watch, watch_scores
from evaluation.online import ScoringReport, Told, score_answers
from evaluation.online_judge import open_judge
from rag.embedding.protocol import Embedder


class EmptyWindow(Invalid):
    """The window begins in the future; give a moment that has passed."""


@dataclass(frozen=True, slots=True)
class Night:
    """What was scored, and what the newest scores say."""

    report: ScoringReport
    watch: Watch


async def score_window(
    tenant_id: UUID, settings: Settings, embedder: Embedder | None, *, since: datetime | None = None,
    count: int | None = None, told: Told = lambda _done, _all: None,
) -> Night:  # fmt: skip
    """Score what was answered since then, a window ago unless told, and tell of drift; as the settings say.

    Raises `EmptyWindow`, and what the store does.
    """
    chosen, now = settings.evaluation, datetime.now(UTC)
    window = timedelta(hours=chosen.window_hours)
    since = now - window if since is None else since if since.tzinfo else since.replace(tzinfo=UTC)
    if since >= now:
        raise EmptyWindow
    async with open_judge(tenant_id, settings, embedder, since=since) as (judge, why):
        report = await score_answers(
            tenant_id, embedder, since=since, until=now, count=count or chosen.sample_count, share=chosen.sample_share,
            judge=judge, told=told,
        )  # fmt: skip
    report.judge_note = report.judge_note or why
    return Night(report, await watch_scores(tenant_id, now=now, window=window, band=chosen.drift_band))
