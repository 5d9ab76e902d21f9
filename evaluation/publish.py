"""Makes a run's report, writes it into the object store without anybody's words, and notes where it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Unavailable
from core.storage import ObjectStore
from db.models import Experiment, RagReport
from domain.identity import bound_tenant
from evaluation.compare import check_limits, compare, parse_rule
from evaluation.latency import measure_latencies
from evaluation.records import CaseResult
from evaluation.report import ReportInput, render_html, render_markdown
from evaluation.runs import HIDDEN, RunRow, get_run, hide_words, select_runs
from evaluation.store import ExperimentNotFound, load_results

FORMATS: Final = {"html": "html", "json": "json", "markdown": "md"}
MOST_RUNS: Final = 200


class ReportPagesMissing(Unavailable):
    """Pages are made by libraries that are not installed; install the extra `eval`, or ask for markdown or json."""


async def list_runs(session: AsyncSession, *, suite: str | None = None, limit: int = 20) -> list[RunRow]:
    """Return the newest runs, of one suite where it is named."""
    wanted = select_runs(suite).order_by(Experiment.started_at.desc(), Experiment.id.desc())
    found = await session.execute(wanted.limit(min(limit, MOST_RUNS)))
    return [RunRow(**row) for row in found.mappings()]


async def load_report(
    session: AsyncSession, experiment_id: UUID, *, baseline: Sequence[CaseResult] = (), rules: Sequence[str] = ()
) -> ReportInput:
    """Gather a run's report with all its words, in a session of the pipelines; raises `ExperimentNotFound`."""
    run = await get_run(session, experiment_id)
    return make_report(run, await load_results(session, experiment_id), baseline=baseline, rules=rules)


def make_report(
    run: RunRow, results: Sequence[CaseResult], *, baseline: Sequence[CaseResult] = (), rules: Sequence[str] = ()
) -> ReportInput:
    """Return the run's report with the words its results have, compared with the baseline where there is one.

    Takes up to some seconds of a processor. Of a run that was limited to some cases, only those of the baseline count.
    Raises `ExperimentNotFound` for a run without a result, and `UnusableRule`.
    """
    if not results:
        raise ExperimentNotFound(f"The run {run.id} has no result yet; run its suite again.")
    parsed = [parse_rule(text) for text in rules]
    if run.config.get("limit") is not None:
        there = {one.case_id for one in results}
        baseline = [one for one in baseline if one.case_id in there]
    comparison = compare(baseline, results, parsed) if baseline else None
    # the whole is enough for rules, and means of every slice take their time
    broken = comparison.broken if comparison else check_limits([replace(one, groups={}) for one in results], parsed)
    if run.status in {"over_budget", "interrupted"}:
        said = run.status.replace("_", " ")
        broken = [f"The run is not whole: {said} after {len(results):,} answers; run it again to go on.", *broken]
    return ReportInput(
        suite=run.suite, run=str(run.id), asked_at=run.started_at, config=run.config, results=results,
        baseline=baseline, comparison=comparison, broken=broken, latencies=measure_latencies(results),
        cost="not known" if run.cost_usd is None else f"${run.cost_usd:,.4f}",
    )  # fmt: skip


def without_words(report: ReportInput) -> ReportInput:
    """Return the report with everything that scores say, and nobody's words: those stay where their reader is asked."""
    comparison = report.comparison
    if comparison is not None:
        regressions, improvements = (
            [replace(one, user_input="", answer_before="", answer_after="", judge_error=None) for one in moved]
            for moved in (comparison.regressions, comparison.improvements)
        )
        unjudged = [replace(one, error=HIDDEN) for one in comparison.unjudged]
        comparison = replace(comparison, regressions=regressions, improvements=improvements, unjudged=unjudged)
    return replace(
        report, results=hide_words(report.results), baseline=hide_words(report.baseline), comparison=comparison
    )


def render(report: ReportInput, kind: str) -> bytes:
    """Return the report as `html`, `json` or `markdown`; raises `ReportPagesMissing`."""
    if kind == "html":
        try:
            return render_html(report).encode()
        except ModuleNotFoundError as error:
            raise ReportPagesMissing from error
    if kind == "markdown":
        return render_markdown(report).encode()
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(report, default=str, option=options)


async def publish_report(session: AsyncSession, store: ObjectStore, report: ReportInput) -> dict[str, str]:
    """Write the report in every format beside the tenant's other objects and return each one's address.

    What is written holds nobody's words: nobody asks there who reads, and no erasure or withdrawn consent would reach
    them. Publishing again replaces what was there.
    """
    tenant = await bound_tenant(session)
    experiment_id = UUID(report.run)
    kept = without_words(report)
    written = {kind: await asyncio.to_thread(render, kept, kind) for kind in FORMATS}
    await session.execute(delete(RagReport).where(RagReport.experiment_id == experiment_id))
    addresses = {}
    for kind, content in written.items():
        key = f"tenants/{tenant}/reports/{report.run}.{FORMATS[kind]}"
        await store.write(key, content)
        addresses[kind] = f"{store.url}/{key}"
        session.add(RagReport(tenant_id=tenant, experiment_id=experiment_id, report_url=addresses[kind], format=kind))
    await session.flush()
    return addresses
