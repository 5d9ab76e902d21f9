"""The flow that runs a stored suite and fails where a rule is broken; its pages show scores, never anyone's words."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from core.errors import Unavailable
from core.settings import Settings, get_settings
from db.session import Principal, tenant_session
from domain.objects import tenant_store
from domain.prices import load_prices
from evaluation.compare import parse_rule
from evaluation.datasets import load_stored_suite
from evaluation.forecast import forecast_suite, get_version, split_suite
from evaluation.judge import RagasJudge
from evaluation.publish import make_report, publish_report
from evaluation.records import CaseResult
from evaluation.run import RunReport, run_suite
from evaluation.runs import get_run, set_baseline
from evaluation.store import load_results
from evaluation.suites import Suite
from flows.evaluation_pages import describe_cases, describe_forecast, describe_scores, summarize_run
from flows.starts import begin_run, end_run
from flows.usage_pages import publish_usage
from pipelines.ingest import load_embedder
from rag.answer import Assistant

RETRY_DELAYS = [2.0, 10.0, 30.0]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOutcome:
    """How a run ended, by ids and counts; `reports` are the addresses of its report by format."""

    run_id: UUID
    answers: int
    failed: int
    cost_usd: Decimal | None
    reports: dict[str, str]


class _Work:
    """What the one task asks; a class of its own, as Prefect looks into the parameters it knows."""

    def __init__(self, assistant: Assistant, suite: Suite, **options: Any) -> None:  # noqa: ANN401  # those of run_suite
        self.assistant, self.suite, self.options = assistant, suite, options


class _Progress:
    """Shows how far the run is, as often as the flow server takes it, and never holds the run up."""

    def __init__(self, artifact: UUID) -> None:
        self._artifact, self._news, self._told = artifact, asyncio.Event(), (0, 0)

    def hear(self, done: int, whole: int) -> None:
        self._told = done, whole
        self._news.set()

    async def show(self) -> None:
        while await self._news.wait():
            self._news.clear()
            done, whole = self._told
            told = f"{done:,} of {whole:,} answers"
            await aupdate_progress_artifact(self._artifact, progress=100 * done / max(whole, 1), description=told)


def _is_unavailable(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Retry only where something outside failed; the run goes on where it was."""
    return isinstance(state.data, Unavailable) or isinstance(getattr(state.data, "exception", None), Unavailable)


@task(
    name="ask-suite",
    task_run_name="ask {label}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_unavailable,
    cache_policy=NO_CACHE,
)
async def ask_suite(label: str, work: _Work) -> RunReport:  # noqa: ARG001  # names the task run
    """Ask and score what is not answered yet."""
    return await run_suite(work.assistant, work.suite, **work.options)


@flow(name="run-evaluation", flow_run_name="evaluation of {suite}", validate_parameters=True)
async def run_evaluation(  # noqa: PLR0917  # Prefect's parameters, given by name
    tenant_id: UUID,
    suite: str,
    repeats: int | None = None,
    limit: int | None = None,
    budget_usd: float | None = None,
    judge: Literal["none", "ragas"] | None = None,
    baseline: UUID | None = None,
    fail_on: list[str] | None = None,
) -> EvaluationOutcome:
    """Run a stored suite (`name` or `name@version`) as the people it names, compare it, and publish its report.

    What is left out is as the suite says. `baseline` is an earlier run. Fails where a rule is broken, the run got worse
    than the baseline, or the budget ended it; started again, a run that broke off goes on where it was.
    """
    await begin_run()
    settings = get_settings()
    try:
        return await _run(  # type: ignore[return-value]  # Prefect unwraps the state
            Principal(tenant_id, "system"), settings, suite, baseline, fail_on, judge=judge, repeats=repeats,
            limit=limit, budget_usd=None if budget_usd is None else Decimal(str(budget_usd)),
        )  # fmt: skip
    finally:
        await end_run()


async def _run(
    system: Principal, settings: Settings, said: str, baseline_id: UUID | None, fail_on: Sequence[str] | None, *,
    judge: str | None, repeats: int | None, limit: int | None, budget_usd: Decimal | None,
) -> State[Any]:  # fmt: skip
    async with tenant_session(system) as session:
        suite = await load_stored_suite(session, *split_suite(said))
        before = await load_results(session, baseline_id) if baseline_id else []
    rules = [parse_rule(text).text for text in (suite.fail_on if fail_on is None else fail_on)]
    embedder = await load_embedder(settings)
    limits: dict[str, Any] = {"repeats": repeats, "limit": limit, "budget_usd": budget_usd}
    async with AsyncExitStack() as exits:
        chosen = None
        if (judge or suite.judge) == "ragas":
            kept = settings.home / "judgements"
            async with tenant_session(system) as session:
                prices = await load_prices(session)
            judging = RagasJudge(settings.judging_model, embedder, cache=kept, prices=prices)
            chosen = await exits.enter_async_context(aclosing(judging))
        async with tenant_session(system) as session:
            version = await get_version(session, suite.cases)
            expected = await forecast_suite(session, version, model=settings.llm, judge=chosen, **limits)
        await acreate_markdown_artifact(describe_forecast(expected), key="evaluation-forecast")
        run_id = UUID(flow_run.id) if flow_run.id else None
        work = _Work(Assistant(embedder, settings.llm), suite, judge=chosen, flow_run_id=run_id, **limits)
        done = await _ask(said, work)
    return await _conclude(system, settings, done, baseline_id, before=before, rules=rules)


async def _ask(said: str, work: _Work) -> RunReport:
    described = f"Asking {said}"
    artifact = await acreate_progress_artifact(0.0, key="evaluation-progress", description=described)
    progress = _Progress(artifact)
    work.options["told"] = progress.hear
    showing = asyncio.create_task(progress.show())
    try:
        done = await ask_suite(said, work)
    finally:
        showing.cancel()
        (ended,) = await asyncio.gather(showing, return_exceptions=True)
        if isinstance(ended, Exception):  # a page that could not be written is no reason to lose a run
            get_run_logger().warning("the progress could not be shown: %s", type(ended).__name__)
    ended_as = f"{len(done.results):,} answers, {done.status.replace('_', ' ')}"
    await aupdate_progress_artifact(artifact, progress=100.0, description=ended_as)
    return done


async def _conclude(
    system: Principal, settings: Settings, done: RunReport, baseline_id: UUID | None, *,
    before: Sequence[CaseResult], rules: Sequence[str],
) -> State[Any]:  # fmt: skip
    """Compare, publish and show; the state says the first rule that is broken, or how it went."""
    async with tenant_session(system) as session:
        await set_baseline(session, done.experiment_id, baseline_id)
        run = await get_run(session, done.experiment_id)
        report = await asyncio.to_thread(make_report, run, done.results, baseline=before, rules=rules)
        store = await tenant_store(system.tenant_id, settings, session=session)
        reports = await publish_report(session, store, report)
    await acreate_markdown_artifact(describe_scores(report), key="evaluation-scores")
    await acreate_markdown_artifact(describe_cases(report), key="evaluation-cases")
    await publish_usage(system.tenant_id)
    api = settings.api
    link = f"http://{api.host}:{api.port}/v1/evaluations/{done.experiment_id}/report?format=html"
    await acreate_link_artifact(link, link_text=f"report of {done.suite}", key="evaluation-report")
    for sentence in report.broken:
        get_run_logger().warning(sentence)
    if report.broken:
        return Failed(message=report.broken[0])
    outcome = EvaluationOutcome(
        run_id=done.experiment_id, answers=len(done.results), failed=len(done.failed), cost_usd=done.cost_usd,
        reports=reports,
    )  # fmt: skip
    return Completed(message=summarize_run(report, done.failed), data=outcome)
