"""How a suite's run and a comparison look on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.compare import Comparison
    from evaluation.latency import Latency, LatencyChange
    from evaluation.retrieval_metrics import Interval
    from evaluation.run import Forecast, RunReport

MOST_SHOWN = 5


def show_forecast(console: "Console", forecast: "Forecast") -> None:
    """Print what the run was going to cost."""
    cost = "not known" if forecast.cost_usd is None else f"${forecast.cost_usd:,.4f}"
    console.print(f"[dim]{forecast.questions:,} questions; forecast {cost} ({forecast.basis}).[/]")


def show_run(console: "Console", report: "RunReport") -> None:
    """Print every metric over all cases, what failed, and what it cost."""
    from rich.markup import escape
    from rich.table import Table

    from evaluation.compare import WHOLE, find_flaky, say_unjudged, summarize
    from evaluation.latency import measure_latencies
    from evaluation.records import EFFORT, LATENCIES

    summary = summarize(report.results)
    groups = [name for name in summary if name != WHOLE and name.startswith("answerable=")]
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    for heading in ("all", *groups):
        table.add_column(heading, justify="right")
    for metric in summary.get(WHOLE, {}):
        if metric in LATENCIES:  # in a table of their own, as no mean tells them
            continue
        values = (summary[group].get(metric) for group in (WHOLE, *groups))
        table.add_row(metric, *(_show(one, effort=metric in EFFORT) for one in values))
    answers = f"{len(report.results):,} answers" + (
        f", {report.resumed:,} of them from before" if report.resumed else ""
    )
    console.print(f"[bold]{escape(report.suite)}[/], version {report.dataset_version}: {answers}")
    console.print(table)
    _show_latencies(console, measure_latencies(report.results))
    for one in report.failed[:MOST_SHOWN]:
        console.print(f"[red]failed[/] {escape(one.case_id)}: {escape(one.error or '')}")
    if len(report.failed) > MOST_SHOWN:
        console.print(f"[red]and {len(report.failed) - MOST_SHOWN} more failed.[/]")
    for sentence in say_unjudged(report.results):
        console.print(f"[red]not judged[/] {escape(sentence)}")
    if flaky := find_flaky(report.results):
        console.print(f"[yellow]flaky[/] {', '.join(flaky[:MOST_SHOWN])}{' …' if len(flaky) > MOST_SHOWN else ''}")
    cost = "not known" if report.cost_usd is None else f"${report.cost_usd:,.4f}"
    console.print(f"[dim]Cost {cost}. Run {report.experiment_id}.[/]")


def show_comparison(console: "Console", comparison: "Comparison") -> None:
    """Print what changed over all cases, the slices that changed for certain, and the answers that got worse."""
    from rich.markup import escape
    from rich.table import Table

    from evaluation.compare import WHOLE
    from evaluation.records import EFFORT, LATENCIES

    table = Table(box=None, pad_edge=False)
    for heading in ("against the baseline", "slice"):
        table.add_column(heading)
    for heading in ("cases", "before", "after", "difference", ""):
        table.add_column(heading, justify="right")
    for one in comparison.changes:
        if one.metric in LATENCIES or (one.group != WHOLE and not (one.worse or one.better)):
            continue
        digits = 1 if one.metric in EFFORT else 3
        step = one.difference
        verdict = "[red]worse[/]" if one.worse else "[green]better[/]" if one.better else "[dim]same[/]"
        if one.unjudged_before or one.unjudged_after:
            verdict += f" [red]not judged: {one.unjudged_before} → {one.unjudged_after}[/]"
        table.add_row(
            one.metric, escape(one.group), f"{one.cases:,}", f"{one.before:.{digits}f}", f"{one.after:.{digits}f}",
            f"{step.mean:+z.{digits}f} [dim]{step.low:+z.{digits}f} to {step.high:+z.{digits}f}[/]", verdict,
        )  # fmt: skip
    console.print(table)
    _show_latency_changes(console, comparison.latencies)
    for worse in comparison.regressions[:MOST_SHOWN]:
        console.print(f"\n[bold]{escape(worse.case_id)}[/] {worse.metric} {worse.before:.2f} → {worse.after:.2f}")
        console.print(f"  asked   {escape(worse.user_input)}")
        console.print(f"  before  {escape(_shorten(worse.answer_before))}")
        console.print(f"  after   {escape(_shorten(worse.answer_after))}")
        if worse.judge_error:
            console.print(f"  [red]not judged[/] {escape(worse.judge_error)}")
    hidden = len(comparison.regressions) - MOST_SHOWN
    if hidden > 0:
        console.print(f"\n[dim]and {hidden} more cases got worse; --json lists them.[/]")


def show_verdict(console: "Console", broken: Sequence[str]) -> None:
    """Print why the run fails, or that it holds."""
    from rich.markup import escape

    for sentence in broken:
        console.print(f"[red]✗[/] {escape(sentence)}")
    if not broken:
        console.print("[green]✓[/] No rule is broken.")


def _show_latencies(console: "Console", latencies: "Sequence[Latency]") -> None:
    """Print the median and the slow end of every stage."""
    if not latencies:
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("time by stage")
    for heading in ("answers", "p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for one in latencies:
        table.add_row(one.metric, f"{one.answers:,}", _show(one.p50, effort=True), _show(one.p95, effort=True))
    console.print()
    console.print(table)


def _show_latency_changes(console: "Console", latencies: "Sequence[LatencyChange]") -> None:
    if not latencies:
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("time by stage")
    for heading in ("answers", "p50 ms before", "after", "difference", "p95 ms before", "after", "difference"):
        table.add_column(heading, justify="right")
    for one in latencies:
        table.add_row(
            one.metric, f"{one.answers:,}", f"{one.p50_before:,.1f}", f"{one.p50_after:,.1f}",
            _show_step(one.p50_difference), f"{one.p95_before:,.1f}", f"{one.p95_after:,.1f}",
            _show_step(one.p95_difference),
        )  # fmt: skip
    console.print()
    console.print(table)


def _show_step(step: "Interval") -> str:
    return f"{step.mean:+z,.1f} [dim]{step.low:+z,.1f} to {step.high:+z,.1f}[/]"


def _show(interval: "Interval | None", *, effort: bool) -> str:
    if interval is None:
        return "[dim]–[/]"
    digits = 1 if effort else 3
    return f"{interval.mean:,.{digits}f} [dim]{interval.low:,.{digits}f}-{interval.high:,.{digits}f}[/]"


def _shorten(text: str, width: int = 300) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
