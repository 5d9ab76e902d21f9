"""`regenesis eval run` and `compare`: score the assistant on a suite, and hold a run against another."""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from cli.console import JsonOption, TenantOption, get_console, print_json, run_async
from cli.evaluate_show import show_comparison, show_forecast, show_run, show_verdict

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from evaluation.compare import Comparison
    from evaluation.records import CaseResult
    from evaluation.run import RunReport
    from evaluation.suites import Suite

T = TypeVar("T")
RuleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="RULE",
        help="Exit 1 where this holds, such as `support < baseline - 0.02`; again for more.",
    ),
]


def run(  # noqa: PLR0917  # options of a command line, given by name
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="Its YAML file or folder; with --tenant, a stored NAME[@VERSION].")
    ],
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="SLUG", help="The organisation that keeps a stored suite.")
    ] = None,
    repeat: Annotated[int | None, typer.Option(min=1, max=100, help="Ask every question this often.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first questions only.")] = None,
    baseline: Annotated[Path | None, typer.Option(metavar="FILE", help="Compare with this committed run.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, metavar="USD", help="Stop before it costs more.")] = None,
    fail_on: RuleOption = None,
    write_baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this run as a baseline to commit.")
    ] = None,
    judge: Annotated[
        Literal["none", "ragas"] | None,
        typer.Option(help="Let the model of the settings judge too."),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Count answers below this calibration's threshold of support.")
    ] = None,
    corpus: Annotated[str, typer.Option(metavar="NAME", help="The corpus whose threshold is taken.")] = "",
    *,
    anew: Annotated[bool, typer.Option("--anew", help="Ask all again, also what a run that broke off has.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the assistant a suite's questions as the people it names, score the answers, compare with a baseline."""
    from evaluation.baseline import read_baseline
    from evaluation.baseline import write_baseline as write
    from evaluation.compare import check_limits, compare, parse_rule
    from evaluation.suites import load_suite
    from evaluation.thresholds import mark_unsupported, read_threshold

    loaded = run_async(_load_stored(suite, tenant)) if tenant else load_suite(Path(suite))
    rules = [parse_rule(text) for text in fail_on or loaded.fail_on]
    kept = read_baseline(baseline).results if baseline else None
    threshold = read_threshold(thresholds, corpus) if thresholds else None
    limit_usd = None if budget is None else Decimal(str(budget))
    report = run_async(_run(loaded, repeat, limit, limit_usd, judge=(judge or loaded.judge) == "ragas", anew=anew))
    asked = {case.id for case in loaded.loaded[:limit]}
    if threshold is not None:
        report.results = mark_unsupported(report.results, threshold)
        kept = kept and mark_unsupported(kept, threshold)
    comparison = (
        compare([one for one in kept if limit is None or one.case_id in asked], report.results, rules) if kept else None
    )
    broken = list(comparison.broken) if comparison else check_limits(report.results, rules)
    if report.status != "completed":
        broken.append(f"The run is not whole: {report.status.replace('_', ' ')} after {len(report.results)} answers.")
    if write_baseline:
        write(write_baseline, report)
    if as_json:
        print_json(_to_json(report, comparison, broken))
    else:
        console = get_console()
        show_forecast(console, report.forecast)
        show_run(console, report)
        if comparison:
            show_comparison(console, comparison)
        show_verdict(console, broken)
    raise typer.Exit(1 if broken else 0)


def compare_runs(
    before: Annotated[str, typer.Argument(metavar="A", help="A baseline file, or a run's id.")],
    after: Annotated[str, typer.Argument(metavar="B", help="A baseline file, or a run's id.")],
    tenant: TenantOption,
    fail_on: RuleOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs case by case: what changed, how sure that is, which answers got worse."""
    from evaluation.compare import compare, parse_rule

    rules = [parse_rule(text) for text in fail_on or ()]
    was, now = run_async(_load_both(before, after, tenant))
    comparison = compare(was, now, rules)
    if as_json:
        print_json(_compare_json(comparison))
    else:
        console = get_console()
        show_comparison(console, comparison)
        show_verdict(console, comparison.broken)
    raise typer.Exit(1 if comparison.broken else 0)


def list_runs(
    tenant: TenantOption,
    suite: Annotated[str | None, typer.Option(help="Of this suite only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="The newest so many.")] = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the runs of an organisation's suites, newest first."""
    from dataclasses import asdict

    from evaluation.publish import list_runs

    rows = run_async(_in_tenant(tenant, lambda session: list_runs(session, suite=suite, limit=limit)))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("run", "suite", "begun", "status", "answers", "failed", "cost"):
        table.add_column(heading, justify="right" if heading in {"answers", "failed", "cost"} else "left")
    for row in rows:
        cost = "not known" if row.cost_usd is None else f"${row.cost_usd:,.4f}"
        begun = f"{row.started_at:%Y-%m-%d %H:%M}"
        table.add_row(str(row.id), row.suite, begun, row.status, f"{row.answers:,}", f"{row.failed:,}", cost)
    get_console().print(table if rows else "No suite was run yet; `regenesis eval run SUITE` runs one.")


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as `regenesis eval list` shows it.")],
    tenant: TenantOption,
    baseline: Annotated[Path | None, typer.Option(metavar="FILE", help="Compare with this committed run.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write here (.html, .md or .json) and nowhere else.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: scores in pictures, slices, the worst answers; their words only into a file of yours."""
    from uuid import UUID

    from core.settings import get_settings
    from db.session import BOUND_TO
    from domain.objects import tenant_store
    from evaluation.baseline import read_baseline
    from evaluation.publish import FORMATS, load_report, publish_report, render
    from evaluation.runs import record_results_read
    from evaluation.store import ExperimentNotFound

    try:
        run_id = UUID(run)
    except ValueError as error:
        raise ExperimentNotFound(
            f"{run} is no run's id; `regenesis eval list --tenant {tenant}` shows them."
        ) from error
    kept = read_baseline(baseline).results if baseline else ()
    settings = get_settings()

    async def work(session: "AsyncSession") -> dict[str, str]:
        found = await load_report(session, run_id, baseline=kept)
        if output is None:
            store = await tenant_store(session.info[BOUND_TO].tenant_id, settings, session=session)
            return await publish_report(session, store, found)
        await record_results_read(session, found.results, run_id)  # what is published holds no words, this does
        kinds = {ending: kind for kind, ending in FORMATS.items()}
        kind = kinds.get(output.suffix.removeprefix("."), "html")
        output.write_bytes(render(found, kind))
        return {kind: str(output)}

    written = run_async(_in_tenant(tenant, work))
    if as_json:
        print_json(written)
        return
    for kind, address in written.items():
        typer.echo(f"{kind:9} {address}")


async def _in_tenant(slug: str, work: "Callable[[AsyncSession], Awaitable[T]]") -> "T":
    from db.session import Principal, tenant_session
    from domain.platform import get_tenant_by_slug

    found = await get_tenant_by_slug(slug)
    async with tenant_session(Principal(found.id, "system")) as session:
        return await work(session)


async def _load_stored(said: str, tenant: str) -> "Suite":
    from evaluation.datasets import load_stored_suite, parse_suite_name

    name, version = parse_suite_name(said)
    return await _in_tenant(tenant, lambda session: load_stored_suite(session, name, version))


async def _run(
    suite: "Suite", repeat: int | None, limit: int | None, budget: Decimal | None, *, judge: bool, anew: bool
) -> "RunReport":
    from contextlib import AsyncExitStack, aclosing

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from core.settings import get_settings
    from domain.prices import load_prices
    from evaluation.judge import RagasJudge
    from evaluation.run import run_suite
    from pipelines.ingest import load_embedder
    from rag.answer import Assistant

    settings = get_settings()
    embedder = await load_embedder(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with AsyncExitStack() as exits:
        chosen = None
        if judge:
            kept = settings.home / "judgements"
            prices = await _in_tenant(suite.tenant, load_prices)
            judging = RagasJudge(settings.judging_model, embedder, cache=kept, prices=prices)
            chosen = await exits.enter_async_context(aclosing(judging))
        progress = exits.enter_context(Progress(*columns, console=get_console(stderr=True), transient=True))
        bar = progress.add_task(suite.name, total=None)
        return await run_suite(
            Assistant(embedder, settings.llm), suite, judge=chosen, repeats=repeat, limit=limit, budget_usd=budget,
            anew=anew, told=lambda done, whole: progress.update(bar, completed=done, total=whole),
        )  # fmt: skip


async def _load_both(before: str, after: str, tenant: str) -> "tuple[Sequence[CaseResult], Sequence[CaseResult]]":
    return await _load(before, tenant), await _load(after, tenant)


async def _load(name: str, tenant: str) -> "Sequence[CaseResult]":
    from uuid import UUID

    from evaluation.baseline import read_baseline
    from evaluation.runs import record_results_read
    from evaluation.store import load_results

    try:
        experiment_id = UUID(name)
    except ValueError:
        return read_baseline(Path(name)).results

    async def work(session: "AsyncSession") -> "Sequence[CaseResult]":
        found = await load_results(session, experiment_id)
        await record_results_read(session, found, experiment_id)
        return found

    return await _in_tenant(tenant, work)


def _to_json(report: "RunReport", comparison: "Comparison | None", broken: Sequence[str]) -> dict[str, Any]:
    from dataclasses import asdict

    from evaluation.compare import find_flaky, list_unjudged, summarize
    from evaluation.latency import measure_latencies

    metrics = {
        group: {metric: asdict(one) for metric, one in found.items()}
        for group, found in summarize(report.results).items()
    }
    return {
        "suite": report.suite, "dataset_version": report.dataset_version, "run": report.experiment_id,
        "status": report.status, "forecast_usd": report.forecast.cost_usd, "cost_usd": report.cost_usd,
        "answers": len(report.results), "failed": [{"case": one.case_id, "error": one.error} for one in report.failed],
        "not_judged": [asdict(one) for one in list_unjudged(report.results)],
        "flaky": find_flaky(report.results), "metrics": metrics,
        "latencies": [asdict(one) for one in measure_latencies(report.results)],
        "comparison": _compare_json(comparison) if comparison else None, "broken": list(broken),
    }  # fmt: skip


def _compare_json(comparison: "Comparison") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(comparison)
