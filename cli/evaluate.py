"""`regenesis eval`: how good this is, beside others on the same questions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import JsonOption, get_console, measure, print_json, run_async
from cli.evaluate_calibrate import calibrate
from cli.evaluate_cases import app as cases
from cli.evaluate_evidence import evidence
from cli.evaluate_online import online
from cli.evaluate_suites import compare_runs, list_runs, report, run

if TYPE_CHECKING:
    from evaluation.retrieval import RetrievalReport

app = typer.Typer(help="Score retrieval and answers.", no_args_is_help=True)


app.command()(run)
app.command("compare")(compare_runs)
app.command()(calibrate)
app.add_typer(cases, name="cases")
app.command()(evidence)
app.command("list")(list_runs)
app.command()(online)
app.command()(report)


@app.callback()
def group() -> None:
    """Score retrieval and answers."""


@app.command()
def retrieval(
    suite: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with turns or corpus, queries and qrels.")],
    scope: Annotated[
        Literal["group", "pooled"], typer.Option(help="Search each question's own group, or everything.")
    ] = "group",
    run: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the ranking, a JSON line a question.")] = None,
    against: Annotated[str, typer.Option(help="Compare with these, by commas: bm25, llamaindex.")] = "",
    *,
    every_kind: Annotated[bool, typer.Option("--every-kind", help="Ask general questions too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Index a suite into a throw-away organisation, ask its questions, score the passages."""
    from core.settings import get_settings

    async def work() -> "RetrievalReport":
        from evaluation.retrieval import evaluate_retrieval
        from pipelines.ingest import load_embedder

        settings = get_settings()
        return await evaluate_retrieval(
            suite,
            await load_embedder(settings),
            scope=scope,
            against=[name.strip() for name in against.split(",") if name.strip()],
            run_file=run,
            every_kind=every_kind,
        )

    report = run_async(measure(work()), needs_store=False)
    if as_json:
        print_json(report.to_json())
        return
    _print_report(report)


def _print_report(report: "RetrievalReport") -> None:
    from rich.markup import escape
    from rich.table import Table

    console = get_console()
    left_out = ", ".join(f"{count} {why}" for why, count in report.left_out.items() if count)
    console.print(
        f"[bold]{escape(report.suite)}[/], {report.scope}: {report.queries:,} questions over {report.chunks:,} chunks,"
        f" {escape(report.embedder)}{f'; left out: {escape(left_out)}' if left_out else ''}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    measures = list(report.systems[0].measures)
    for heading in (*measures, "p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for system in report.systems:
        values = [f"{one.mean:.3f} [dim]{one.low:.3f}-{one.high:.3f}[/]" for one in system.measures.values()]
        latencies = [f"{one.mean:.1f}" for one in (system.p50_ms, system.p95_ms)]
        table.add_row(system.name, *values, *latencies)
    console.print(table)
