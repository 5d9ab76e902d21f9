"""Writes a run's report into the object store, where its reader fetches it, and notes where it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.storage import ObjectStore
from db.models import Experiment, RagEvaluation, RagReport
from domain.identity import bound_tenant
from evaluation.compare import compare, parse_rule
from evaluation.records import CaseResult
from evaluation.report import ReportInput, render_html, render_markdown
from evaluation.store import ExperimentNotFound, load_results

FORMATS: Final = {"html": "html", "json": "json", "markdown": "md"}
MOST_RUNS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run in a list of runs, newest first; cost in USD, None where it is not known."""

    id: UUID
    suite: str
    status: str
    started_at: datetime
    completed_at: datetime | None
    answers: int
    failed: int
    cost_usd: Decimal | None


async def list_runs(session: AsyncSession, *, suite: str | None = None, limit: int = 20) -> list[RunRow]:
    """Return the newest runs, of one suite where it is named."""
    counted = (
        select(
            RagEvaluation.experiment_id, func.count().label("answers"),
            func.count().filter(RagEvaluation.status == "failed").label("failed"),
        ).group_by(RagEvaluation.experiment_id).subquery()
    )  # fmt: skip
    wanted = (
        select(Experiment, func.coalesce(counted.c.answers, 0), func.coalesce(counted.c.failed, 0))
        .outerjoin(counted, counted.c.experiment_id == Experiment.id)
        .order_by(Experiment.started_at.desc()).limit(min(limit, MOST_RUNS))
    )  # fmt: skip
    if suite is not None:
        wanted = wanted.where(Experiment.suite == suite)
    return [
        RunRow(
            id=run.id, suite=run.suite, status=run.status, started_at=run.started_at, completed_at=run.completed_at,
            answers=answers, failed=failed, cost_usd=run.cost_usd,
        )
        for run, answers, failed in (await session.execute(wanted)).tuples()
    ]  # fmt: skip


async def load_report(
    session: AsyncSession, experiment_id: UUID, *, baseline: Sequence[CaseResult] = (), rules: Sequence[str] = ()
) -> ReportInput:
    """Gather what a run's report needs, compared with the baseline where there is one; raises `ExperimentNotFound`."""
    run = await session.scalar(select(Experiment).where(Experiment.id == experiment_id))
    if run is None:
        raise ExperimentNotFound
    results = await load_results(session, experiment_id)
    if not results:
        raise ExperimentNotFound(f"The run {experiment_id} has no result yet; run its suite again.")
    comparison = compare(baseline, results, [parse_rule(text) for text in rules]) if baseline else None
    return ReportInput(
        suite=run.suite, run=str(run.id), asked_at=run.started_at, config=run.config, results=results,
        baseline=baseline, comparison=comparison, broken=comparison.broken if comparison else (),
        cost="not known" if run.cost_usd is None else f"${run.cost_usd:,.4f}",
    )  # fmt: skip


def render(report: ReportInput, kind: str) -> bytes:
    """Return the report as `html`, `json` or `markdown`."""
    if kind == "html":
        return render_html(report).encode()
    if kind == "markdown":
        return render_markdown(report).encode()
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(report, default=str, option=options)


async def publish_report(session: AsyncSession, store: ObjectStore, report: ReportInput) -> dict[str, str]:
    """Write the report in every format beside the tenant's other objects and return each one's address.

    Publishing again replaces what was there.
    """
    tenant = await bound_tenant(session)
    experiment_id = UUID(report.run)
    await session.execute(delete(RagReport).where(RagReport.experiment_id == experiment_id))
    addresses = {}
    for kind, ending in FORMATS.items():
        key = f"tenants/{tenant}/reports/{report.run}.{ending}"
        await store.write(key, render(report, kind))
        addresses[kind] = f"{store.url}/{key}"
        session.add(RagReport(tenant_id=tenant, experiment_id=experiment_id, report_url=addresses[kind], format=kind))
    await session.flush()
    return addresses
