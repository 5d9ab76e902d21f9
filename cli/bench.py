"""`regenesis bench`: how fast this is on this machine."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import JsonOption, print_json

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
