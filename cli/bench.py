"""`regenesis bench`: how fast this is on this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.bench_keys import rotation
from cli.console import JsonOption, get_console, measure, print_json, run_async

app = typer.Typer(help="Measure how fast this is here.", no_args_is_help=True)
app.command()(rotation)


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


@app.command()
def store(
    users: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="People of the measured world.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Times each question is asked.")] = 5,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the world for the next measurement.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a world of people, courses, posts, sessions and payments, and measure every access pattern in it."""
    import asyncio

    from rich.table import Table

    from core.settings import get_settings
    from evaluation.bench_store import bench_store
    from evaluation.store_tables import World

    with get_console(stderr=True).status("building the world") as status:
        report = asyncio.run(bench_store(get_settings(), World(users), rounds=rounds, keep=keep, told=status.update))
    if as_json:
        print_json(report.to_json())
        return
    console = get_console()
    console.print(
        f"{sum(report.rows.values()):,} rows of {report.users:,} people built in {report.build_seconds:.0f} s, "
        f"migrations {report.migrate_seconds:.1f} s"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("pattern")
    for heading in ("at once", "p50 ms", "p95 ms", "p99 ms", "wanted p95", "with binding p95", "to bare", "big scans"):
        table.add_column(heading, justify="right")
    for one in report.patterns:
        for times in one.times:
            wanted = f"{one.wanted_p95_ms:g}" if one.wanted_p95_ms and times.connections == 8 else ""
            ratio = f"{one.ratio_to_bare:.2f}" if one.ratio_to_bare and times.connections == 1 else ""
            table.add_row(
                one.name, str(times.connections), f"{times.p50_ms:.2f}", f"{times.p95_ms:.2f}", f"{times.p99_ms:.2f}",
                wanted, f"{times.bound_p95_ms:.2f}", ratio, ", ".join(one.big_scans),
            )  # fmt: skip
    console.print(table)


@app.command()
def reading(
    chunks: Annotated[int, typer.Option(min=500, max=100_000, help="Chunks of the organisation.")] = 5_000,
    searches: Annotated[int, typer.Option(min=32, max=10_000, help="Searches a round and way.")] = 200,
    *,
    as_json: JsonOption = False,
) -> None:
    """Search with and without noting who read what, alone and by 32 readers at once."""
    from rich.table import Table

    from evaluation.bench_reading import bench_reading

    report = run_async(measure(bench_reading(chunks=chunks, searches=searches)), needs_store=False)
    if as_json:
        print_json(report.to_json())
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("noted")
    for heading in ("readers", "p50 ms", "p95 ms", "p99 ms", "a second"):
        table.add_column(heading, justify="right")
    for one in report.times:
        times = (f"{ms:.2f}" for ms in (one.p50_ms, one.p95_ms, one.p99_ms))
        table.add_row(one.way, str(one.readers), *times, f"{one.per_second:,.0f}")
    get_console().print(table)
    typer.echo(
        f"{report.ids:.0f} ids an entry; {report.linked_per_second:,.0f} entries linked a second, "
        f"{report.bytes_per_entry:,.0f} bytes each"
    )


@app.command()
def evidence(
    sessions: Annotated[int, typer.Option(min=2, max=10_000, help="Sessions of the made client.")] = 100,
    public: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Public sessions instead: a folder with annomi/ and qmsum/.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Build, rebuild and verify the evidence of a throw-away organisation; exit 1 if an invariant is broken."""
    from cli.console import print_error
    from evaluation.bench_evidence import bench_evidence

    with get_console(stderr=True).status("founding an organisation") as status:
        work = bench_evidence(sessions=sessions, public=public, note=status.update)
        report = run_async(measure(work), needs_store=False)
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo(f"{report.sessions:,} sessions of {report.words:,} words, {report.failed} failed")
        for name, built in (("first", report.first), ("again", report.again), ("rebuilt", report.rebuilt),
                            ("one more", report.added)):  # fmt: skip
            if built is not None:
                typer.echo(f"{name}: {built.seconds:.2f} s, {built.rows_changed:,} rows changed")
        typer.echo(f"the slowest session: {report.slowest_session_seconds:.3f} s")
        typer.echo(f"{report.quotes:,} quotes")
        for name, counts in (("claims", report.claims), ("patterns", report.patterns), ("refused", report.rejections),
                             ("proposed, not stored", report.dropped), ("broken", report.broken)):  # fmt: skip
            listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
            typer.echo(f"{name}: {sum(counts.values()):,}{f' ({listed})' if listed else ''}")
    if report.broken:
        print_error(f"{sum(report.broken.values()):,} rows break an invariant.")
        raise typer.Exit(1)


@app.command()
def backup(
    users: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="People of the measured world.")] = 100_000,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the world for the next measurement.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up the measured world and restore it into a fresh server; exit 1 on any difference."""
    import asyncio

    from cli.backup import print_drill
    from core.settings import get_settings
    from evaluation.bench_backup import bench_backup
    from evaluation.store_tables import World

    with get_console(stderr=True).status("building the world") as status:
        report = asyncio.run(bench_backup(get_settings(), World(users), keep=keep, told=status.update))
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo(f"{report.rows:,} rows backed up in {report.backup_seconds:.1f} s, {report.size / 1e6:,.1f} MB")
        print_drill(report.drill)
    if not report.drill.passed:
        raise typer.Exit(1)


@app.command()
def erasure(
    chunks: Annotated[int, typer.Option(min=1_000, max=10_000_000, help="Chunks of others in the store.")] = 1_000_000,
    canaries: Annotated[int, typer.Option(min=150, max=100_000, help="Words planted in the client's data.")] = 1_000,
    *,
    whole: Annotated[bool, typer.Option("--organisation", help="Erase their whole organisation instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase one client from a large store and look for what is left everywhere; exit 1 if anything is."""
    import asyncio

    from rich.table import Table

    from core.settings import get_settings
    from evaluation.bench_erasure import bench_erasure

    with get_console(stderr=True).status("making a database") as status:
        report = asyncio.run(
            bench_erasure(
                get_settings(), subject="tenant" if whole else "person", chunks=chunks, canaries=canaries,
                told=status.update,
            )
        )  # fmt: skip
    if as_json:
        print_json(report.to_json())
    else:
        console = get_console()
        console.print(
            f"{'an organisation' if whole else 'a client'} with {report.sessions:,} sessions erased "
            f"{'with all its' if whole else 'from'} {report.chunks:,} chunks "
            f"in {report.erase_seconds:.1f} s (built in {report.build_seconds:.0f} s)"
        )
        table = Table(box=None, pad_edge=False)
        for heading in ("step", "s"):
            table.add_column(heading, justify="right" if heading == "s" else "left")
        for step, seconds in report.step_seconds.items():
            table.add_row(step, f"{seconds:.2f}")
        console.print(table)
        table = Table(box=None, pad_edge=False)
        for heading in ("store", "canaries before", "after"):
            table.add_column(heading, justify="left" if heading == "store" else "right")
        for store in sorted(report.before | report.after):
            table.add_row(store, f"{report.before.get(store, 0):,}", f"{report.after.get(store, 0):,}")
        console.print(table)
    if report.after or not report.receipt_holds:
        raise typer.Exit(1)
