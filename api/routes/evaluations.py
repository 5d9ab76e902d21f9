"""Runs of suites: starting one, its scores for whoever measures, its words for whoever asked.

Scores hold no words, so evaluators and administrators read them all. Answers are joined under row-level security, and
an evaluator reads them as whoever asked. A report is made anew for each reader: what is kept in the object store can't
ask who reads it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from api.deps import AssistantDep, IdempotencyKey, PrincipalDep, SessionDep, SettingsDep, needs, needs_role
from api.errors import list_problem_responses
from api.flow_server import start_flow
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.evaluations import (
    MOST_NAMED,
    CaseChangeOut,
    CaseResultOut,
    ChangeOut,
    ComparisonOut,
    EvaluationDetailOut,
    EvaluationIn,
    EvaluationOut,
    ForecastOut,
    IntervalOut,
    LatencyChangeOut,
    Rule,
    RunStatus,
    SpreadOut,
    StartedOut,
    SuiteName,
    SuiteOut,
    show_case,
    show_failures,
    show_suite,
)
from core.errors import Invalid
from core.settings import ModelSettings
from db.models import Dataset, Experiment
from db.session import Principal, tenant_session
from domain.prices import load_prices
from evaluation.compare import UnusableRule, find_flaky, list_unjudged, parse_rule, summarize
from evaluation.forecast import SuiteForecast, forecast_suite, get_version
from evaluation.judge import NoJudge, RagasJudge
from evaluation.publish import make_report, render
from evaluation.records import CaseResult
from evaluation.report import ReportInput
from evaluation.runs import (
    RunRow,
    get_run,
    load_visible_results,
    read_results,
    record_results_read,
    select_datasets,
    select_results,
    select_runs,
)
from evaluation.spread import measure_spread
from rag.answer import Assistant

router = APIRouter(
    prefix="/v1/evaluations", tags=["evaluations"], dependencies=[needs("read"), needs_role("evaluator", "admin")]
)

EVALUATE: Final = "run-evaluation"
MEDIA: Final = {"html": "text/html", "json": "application/json", "markdown": "text/markdown"}
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""A report is text and drawings: nothing in it is ever run or fetched."""

_worker: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="evaluations")
"""Means with their intervals take up to seconds of a processor: one run at a time, and never on the event loop."""

T = TypeVar("T")
BaselineQuery = Annotated[UUID | None, Query(alias="baseline", description="a run; unset: the one it was held against")]
RulesQuery = Annotated[
    list[Rule] | None, Query(alias="fail_on", max_length=100, description="rules; unset: those of the suite")
]


class BaselineMissing(Invalid):
    """This run was held against no other; name one as `baseline`."""


class BaselineUnfit(Invalid):
    """This baseline is a run of another suite; choose an earlier run of the same one."""


@router.get("", operation_id="listEvaluations", responses=list_problem_responses())
async def list_evaluations(
    *,
    session: SessionDep,
    suite: Annotated[str | None, Query(max_length=100, description="only of this suite")] = None,
    run_status: Annotated[RunStatus | None, Query(alias="status", description="only with this status")] = None,
    flow_run_id: Annotated[UUID | None, Query(alias="flow_run", description="what this flow run began")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[EvaluationOut]:
    """List runs of suites, the newest first."""
    order = (Experiment.started_at, Experiment.id)
    query = select_runs(suite, run_status, flow_run_id)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[EvaluationOut.model_validate(row) for row in rows], next_cursor=more)


@router.post(
    "", operation_id="startEvaluation", status_code=status.HTTP_202_ACCEPTED, dependencies=[needs("write")],
    responses=list_problem_responses(404, 409, 429),
)  # fmt: skip
async def start_evaluation(
    body: EvaluationIn, principal: PrincipalDep, settings: SettingsDep, assistant: AssistantDep,
    key: IdempotencyKey = None,
) -> StartedOut:  # fmt: skip
    """Start a run of a stored suite, as the people its cases name, unless its cost fits no budget.

    The run is listed once the flow has begun; the same key starts one run only.
    """
    for rule in body.fail_on or ():
        parse_rule(rule)
    expected = await _forecast(principal, assistant, settings.judging_model, body)
    if body.baseline_id is not None:
        async with tenant_session(principal) as session:
            _require_same(expected.suite, await get_run(session, body.baseline_id))
    given = body.model_dump(mode="json", exclude={"baseline_id"})
    given |= {"tenant_id": str(principal.tenant_id), "baseline": body.baseline_id and str(body.baseline_id)}
    run_key = f"evaluation-{principal.tenant_id}-{principal.user_id}-{key}" if key else None
    run_id = await start_flow(settings, EVALUATE, given, key=run_key)
    return StartedOut(flow_run_id=run_id, forecast=ForecastOut.model_validate(expected))


@router.get("/forecast", operation_id="forecastEvaluation", responses=list_problem_responses(404, 429))
async def forecast_evaluation(
    *,
    principal: PrincipalDep,
    assistant: AssistantDep,
    settings: SettingsDep,
    suite: Annotated[SuiteName, Query(description="`name` or `name@version`")],
    repeats: Annotated[int | None, Query(ge=1, le=100)] = None,
    limit: Annotated[int | None, Query(ge=1, le=20_000, description="ask the first cases only")] = None,
    budget_usd: Annotated[float | None, Query(ge=0, le=1_000_000)] = None,
    judge: Annotated[Literal["none", "ragas"] | None, Query()] = None,
) -> ForecastOut:
    """Tell what a run would cost, and whether it fits the budgets there are, without starting it."""
    asked = EvaluationIn(suite=suite, repeats=repeats, limit=limit, budget_usd=budget_usd, judge=judge)
    return ForecastOut.model_validate(await _forecast(principal, assistant, settings.judging_model, asked))


@router.get("/suites", operation_id="listEvaluationSuites", responses=list_problem_responses())
async def list_suites(
    session: SessionDep,
    name: Annotated[str | None, Query(max_length=100, description="only the versions of this suite")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[SuiteOut]:
    """List the versions of stored suites, the newest first, with their cases by slice."""
    order = (Dataset.created_at, Dataset.id)
    rows, more = await fetch_page(session, select_datasets(name), order=order, limit=limit, cursor=cursor)
    return Page(items=[show_suite(row) for row in rows], next_cursor=more)


@router.get("/{evaluation_id}", operation_id="getEvaluation", responses=list_problem_responses(404))
async def get_evaluation(evaluation_id: UUID, principal: PrincipalDep) -> EvaluationDetailOut:
    """Read a run's means by slice, what failed, and which of the suite's rules it breaks."""
    run, results = await _load(principal, evaluation_id)
    return await _work_out(_summarize, run, results)


@router.get("/{evaluation_id}/spread", operation_id="readEvaluationSpread", responses=list_problem_responses(404))
async def read_spread(evaluation_id: UUID, principal: PrincipalDep) -> SpreadOut:
    """Read how a run's scores are spread: a histogram a metric, quality against cost and time, times by stage."""
    _, results = await _load(principal, evaluation_id)
    return SpreadOut.model_validate(await _work_out(measure_spread, results))


@router.get("/{evaluation_id}/cases", operation_id="listEvaluationCases", responses=list_problem_responses(404))
async def list_cases(
    *,
    evaluation_id: UUID,
    session: SessionDep,
    worst_by: Annotated[
        str | None, Query(max_length=50, description="the worst first by this metric, without those it says nothing of")
    ] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[CaseResultOut]:
    """List a run's answers with their scores, by case; with question, answer and passages where you may read them."""
    query, order = select_results(evaluation_id, worst_by)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    if not rows:
        await get_run(session, evaluation_id)
    results = await read_results(session, rows)
    await record_results_read(session, results, evaluation_id)
    return Page(items=[show_case(row, one) for row, one in zip(rows, results, strict=True)], next_cursor=more)


@router.get(
    "/{evaluation_id}/comparison", operation_id="compareEvaluation", responses=list_problem_responses(404)
)  # fmt: skip
async def compare_evaluation(
    evaluation_id: UUID, principal: PrincipalDep, baseline: BaselineQuery = None, rules: RulesQuery = None
) -> ComparisonOut:
    """Compare a run with an earlier one of its suite, case by case: what changed, how sure that is, what got worse."""
    run, report = await _compare(principal, evaluation_id, baseline, rules)
    found = report.comparison
    if found is None:
        raise BaselineMissing
    return ComparisonOut(
        baseline_id=baseline or run.baseline_id or evaluation_id,
        changes=[ChangeOut.model_validate(one) for one in found.changes],
        regressions=[CaseChangeOut.model_validate(one) for one in found.regressions],
        improvements=[CaseChangeOut.model_validate(one) for one in found.improvements], missing=list(found.missing),
        added=list(found.added), flaky=list(found.flaky), broken=list(report.broken),
        latencies=[LatencyChangeOut.model_validate(one) for one in found.latencies],
    )  # fmt: skip


@router.get(
    "/{evaluation_id}/report", operation_id="readEvaluationReport", response_class=Response,
    responses=list_problem_responses(404) | {
        200: {"content": {kind: {"schema": {"type": "string"}} for kind in MEDIA.values()}, "description": "The report"}
    },
)  # fmt: skip
async def read_report(
    *,
    evaluation_id: UUID,
    principal: PrincipalDep,
    kind: Annotated[Literal["html", "json", "markdown"], Query(alias="format")] = "html",
    baseline: BaselineQuery = None,
    rules: RulesQuery = None,
) -> Response:
    """Read a run's report as one page, made of what you may see: scores always, words where you may read them."""
    _, report = await _compare(principal, evaluation_id, baseline, rules)
    content = await _work_out(render, report, kind)
    headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return Response(content, media_type=MEDIA[kind], headers=headers)


async def _forecast(
    principal: Principal, assistant: Assistant, judging: ModelSettings, asked: EvaluationIn
) -> SuiteForecast:
    """Forecast as the pipelines, which know what the month has cost; the caller's role was asked for before."""
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        version = await get_version(session, asked.suite)
        judge = None
        if (asked.judge or version.settings.get("judge")) == "ragas":
            if assistant.embedder is None:
                raise NoJudge
            judge = RagasJudge(judging, assistant.embedder, prices=await load_prices(session))
        return await forecast_suite(
            session, version, model=assistant.model, judge=judge, repeats=asked.repeats, limit=asked.limit,
            budget_usd=None if asked.budget_usd is None else Decimal(str(asked.budget_usd)),
        )  # fmt: skip


async def _load(principal: Principal, evaluation_id: UUID) -> tuple[RunRow, list[CaseResult]]:
    """Return a run with its results as the reader may see them, in a transaction that ends before the work begins."""
    async with tenant_session(principal) as session:
        run = await get_run(session, evaluation_id)
        return run, await load_visible_results(session, run)


async def _compare(
    principal: Principal, evaluation_id: UUID, baseline_id: UUID | None, rules: Sequence[str] | None
) -> tuple[RunRow, ReportInput]:
    run, results = await _load(principal, evaluation_id)
    before: list[CaseResult] = []
    if (chosen := baseline_id or run.baseline_id) is not None:
        other, before = await _load(principal, chosen)
        _require_same(run.suite, other)
    async with tenant_session(principal) as session:  # before a word of either leaves
        await record_results_read(session, [*results, *before], run.id, chosen)
    held = run.settings.get("fail_on") or () if rules is None else rules
    return run, await _work_out(partial(make_report, run, results, baseline=before, rules=held))


def _require_same(suite: str, baseline: RunRow) -> None:
    if baseline.suite != suite:
        raise BaselineUnfit(f"This baseline is a run of {baseline.suite}; choose an earlier run of {suite}.")


def _summarize(run: RunRow, results: Sequence[CaseResult]) -> EvaluationDetailOut:
    try:
        broken = make_report(run, results, rules=run.settings.get("fail_on") or ()).broken if results else []
    except UnusableRule as error:
        broken = [error.message]
    failed = [one for one in results if one.status == "failed"]
    return EvaluationDetailOut(
        **EvaluationOut.model_validate(run).model_dump(), config=run.config,
        metrics={
            group: {metric: IntervalOut.model_validate(mean) for metric, mean in means.items()}
            for group, means in (summarize(results) if results else {}).items()
        },
        failures=show_failures(failed, list_unjudged(results)), flaky=find_flaky(results)[:MOST_NAMED],
        broken=list(broken),
    )  # fmt: skip


async def _work_out(work: Callable[..., T], *given: Any) -> T:  # noqa: ANN401  # whatever the work takes
    return await asyncio.get_running_loop().run_in_executor(_worker, work, *given)
