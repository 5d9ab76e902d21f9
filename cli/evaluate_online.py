"""`regenesis eval online`: score stored answers now, as the flow does every night, and see what changed."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import JsonOption, TenantOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.nightly import Night


def online(
    tenant: TenantOption,
    count: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Answers of the window at most; else as the settings say.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Answers since this time, in UTC; else of the last window.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Score stored answers whose people allow it, and compare the newest with those before."""
    from dataclasses import asdict

    from evaluation.drift_alerts import write_trend

    night = run_async(_score(tenant, count, None if since is None else since.replace(tzinfo=UTC)))
    if as_json:
        trends = [write_trend(trend) for trend in night.watch.trends]
        print_json(asdict(night.report) | {"trends": trends, "told": list(night.watch.told)})
        return
    _show(get_console(), night)


async def _score(slug: str, count: int | None, since: datetime | None) -> "Night":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from core.settings import get_settings
    from domain.platform import get_tenant_by_slug
    from evaluation.nightly import score_window
    from pipelines.ingest import load_embedder

    found, settings = await get_tenant_by_slug(slug), get_settings()
    embedder = await load_embedder(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=get_console(stderr=True), transient=True) as progress:
        bar = progress.add_task("answers", total=None)
        return await score_window(
            found.id, settings, embedder, since=since, count=count,
            told=lambda done, whole: progress.update(bar, completed=done, total=whole),
        )  # fmt: skip


def _show(console: "Console", night: "Night") -> None:
    from rich.table import Table

    report = night.report
    console.print(report.summarize())
    if report.judge_note:
        console.print(report.judge_note, style="dim", markup=False)
    if report.judged:
        cost = "not known" if report.cost_usd is None else f"${report.cost_usd:,.4f}"
        console.print(f"[dim]Judging cost {cost}.[/]")
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "newest windows", "before", "now", "answers", "verdict"):
        table.add_column(heading, justify="left" if heading in {"metric", "verdict"} else "right")
    colours = {"drifted": "red", "better": "green"}
    for one in night.watch.trends:
        if not (one.answers or one.answers_before):
            continue
        before, now = ("–" if value is None else f"{value:,.4g}" for value in (one.before, one.now))
        name = f"{one.metric}, 95th percentile" if one.shown == "p95" else one.metric
        verdict = f"[{colours.get(one.verdict, 'dim')}]{one.verdict}[/]"
        counts = f"{one.answers:,} after {one.answers_before:,}"
        table.add_row(name, str(one.windows), before, now, counts, verdict)
    console.print(table if table.row_count else "No answer was scored yet that may be studied.")
    if night.watch.told:
        console.print(f"[red]Told evaluators, administrators and webhooks:[/] {', '.join(night.watch.told)}.")
