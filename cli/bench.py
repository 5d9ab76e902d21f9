"""`regenesis bench`: how fast this is on this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.console import JsonOption, get_console, measure, print_json, run_async

app = typer.Typer(help="Measure how fast this is here.", no_args_is_help=True)


@app.command()
def embed(
    chunks: Annotated[int, typer.Option(min=1, max=100_000, help="Chunks of 128 tokens a round.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; the median counts.")] = 5,
    *,
    as_json: JsonOption = False,
) -> None:
    """Embed chunks and single questions, beside the same model on torch where that is installed."""
    import asyncio

    from core.settings import get_settings
    from evaluation.bench_embed import bench_embed

    settings = get_settings()
    chosen = settings.embedding
    result = asyncio.run(
        bench_embed(
            settings.home / "models", precision=chosen.precision, threads=chosen.threads, chunks=chunks, rounds=rounds
        )
    )
    if as_json:
        print_json(asdict(result))
        return
    for speed in filter(None, (result.speed, result.torch)):
        typer.echo(
            f"{speed.name}: {speed.chunks_per_second:,.0f} chunks/s"
            f" ({speed.slowest_round:,.0f} to {speed.fastest_round:,.0f}), a question {speed.query_p50_ms:.2f} ms"
        )
    typer.echo(
        f"{result.threads} threads, ready in {result.start_seconds:.1f} s, peak memory {result.peak_memory_mb:,.0f} MB"
    )
    if result.ratio is not None:
        typer.echo(f"{result.ratio:.1f} times the same model on torch")


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Files to ingest, without a manifest.")],
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; the median counts.")] = 1,
    *,
    peer: Annotated[bool, typer.Option(help="Let LlamaIndex's pipeline ingest it too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Ingest a folder into a throw-away organisation, again without a change, and beside LlamaIndex."""
    from evaluation.bench_ingest import bench_ingest

    report = run_async(measure(bench_ingest(folder, rounds=rounds, peer=peer)), needs_store=False)
    if as_json:
        print_json(report.to_json())
        return
    typer.echo(f"{report.objects:,} objects ({report.failed:,} failed) in {report.first_seconds:.1f} s")
    typer.echo(f"{report.chunks:,} chunks, {report.chunks_per_second:,.0f} a second")
    typer.echo(f"{report.embedder_share:.0%} of the time in the embedder")
    typer.echo(
        f"again: {report.again_seconds:.2f} s ({report.again_share:.1%}), {report.again_rows_changed:,} rows changed"
    )
    if report.peer_seconds is not None:
        typer.echo(f"LlamaIndex: {report.peer_seconds:.1f} s, {report.ratio:.1f} times as long")


@app.command()
def retrieval(
    sizes: Annotated[str, typer.Option(help="Chunks of the organisations, by commas.")] = "500,5000,50000",
    questions: Annotated[int, typer.Option(min=1, max=10_000, help="Questions asked of each.")] = 50,
    *,
    peer: Annotated[bool, typer.Option(help="Ask LlamaIndex's hybrid search too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Search growing organisations, with and without the policies, beside LlamaIndex."""
    from rich.table import Table

    from core.errors import Invalid
    from evaluation.bench_retrieval import bench_retrieval

    try:
        chunks = [int(size) for size in sizes.split(",")]
    except ValueError as error:
        raise Invalid(f"{sizes!r} are no sizes; give whole numbers with commas, such as 500,5000.") from error
    if not chunks or not all(1 <= size <= 1_000_000 for size in chunks):
        raise Invalid("A size lies between 1 and 1,000,000 chunks; choose within.")
    report = run_async(measure(bench_retrieval(chunks, questions=questions, llamaindex=peer)), needs_store=False)
    if as_json:
        print_json(report.to_json())
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("chunks", "p50 ms", "p95 ms", "without policies", "same results", "LlamaIndex"):
        table.add_column(heading, justify="right")
    for one in report.sizes:
        others = f"{one.llamaindex.p50_ms:.1f} / {one.llamaindex.p95_ms:.1f}" if one.llamaindex else ""
        bare = f"{one.without_policies.p50_ms:.1f} / {one.without_policies.p95_ms:.1f}"
        own = (f"{one.product.p50_ms:.1f}", f"{one.product.p95_ms:.1f}")
        table.add_row(f"{one.chunks:,}", *own, bare, f"{one.same_results:.0%}", others)
    get_console().print(table)
