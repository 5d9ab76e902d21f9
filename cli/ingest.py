"""`regenesis ingest`: make a folder, a file or a bucket's prefix searchable, through the flow."""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from rich.console import Console

    from core.settings import Settings
    from pipelines.ingest import IngestReport

Visibility = Literal["client_visible", "coach_only", "admin_aggregate", "system_internal"]
MOST_ROWS = 200
COLOURS = {
    "indexed": "green", "unchanged": "dim", "vanished": "yellow", "erased": "yellow", "refused": "yellow",
    "failed": "red",
}  # fmt: skip


def ingest(
    sources: Annotated[list[str], typer.Argument(metavar="URI...", help="Folder, file or s3://bucket/prefix.")],
    tenant: TenantOption,
    *,
    client: Annotated[str | None, typer.Option(metavar="EMAIL", help="Whom the material is about.")] = None,
    coach: Annotated[str | None, typer.Option(metavar="EMAIL", help="Their coach.")] = None,
    held_at: Annotated[str | None, typer.Option(metavar="DATE", help="When it was said, ISO-8601.")] = None,
    visibility: Annotated[Visibility | None, typer.Option(help="Who may read it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make new and changed material searchable; what a manifest.jsonl beside it says of a file comes first."""
    said = {"client": client, "coach": coach, "held_at": held_at, "visibility": visibility}
    given = {name: value for name, value in said.items() if value is not None}
    console = get_console(stderr=True)
    reports = run_async(_ingest(sources, tenant, given, console))
    if as_json:
        print_json([asdict(report) for report in reports])
    else:
        for report in reports:
            _print_report(report)
    failed = sum(len(report.failed) for report in reports)
    if failed:
        print_error(f"{failed} could not be ingested; the rest is kept, and a new run tries those again.")
        raise typer.Exit(1)


async def _ingest(
    sources: list[str], tenant_slug: str, said: dict[str, Any], console: "Console"
) -> "list[IngestReport]":
    from core.settings import get_settings
    from domain.platform import get_tenant_by_slug

    settings = get_settings()
    tenant = await get_tenant_by_slug(tenant_slug)
    keep_prefect_quiet(settings)
    from flows.server import prefect_session

    async with AsyncExitStack() as exits:
        with console.status("Reaching the flow server …"):
            api_url = await exits.enter_async_context(prefect_session(settings))
        return [await _ingest_one(api_url, tenant.id, _absolute(source), said, console) for source in sources]


async def _ingest_one(
    api_url: str, tenant_id: UUID, source: str, said: dict[str, Any], console: "Console"
) -> "IngestReport":
    """Run the flow in this process, with a bar that follows the progress it publishes."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from cli.runs import follow_progress
    from flows.ingest_sources import ingest_sources

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(source, total=100)
        following = asyncio.create_task(
            follow_progress(api_url, f"ingest {source}", lambda percent: progress.update(bar, completed=percent))
        )
        try:
            report: IngestReport = await ingest_sources(tenant_id, source, **said)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return report


def _absolute(source: str) -> str:
    """Return the address so that its run means the same to everyone who reads it."""
    return source if "://" in source else str(Path(source).expanduser().absolute())


def keep_prefect_quiet(settings: "Settings") -> None:
    """Say what Prefect reads when it is imported: state in the home, no telemetry, its log to its server only."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_HOME", str(settings.home / "prefect"))
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def _print_report(report: "IngestReport") -> None:
    from rich.markup import escape
    from rich.table import Table

    console = get_console()
    table = Table(box=None, pad_edge=False)
    for heading in ("object", "outcome", "pieces", "seconds", ""):
        table.add_column(heading, justify="right" if heading in {"pieces", "seconds"} else "left")
    told = [one for one in report.outcomes if one.outcome != "unchanged"]
    for one in told[:MOST_ROWS]:
        said = one.error or " ".join(one.notes)
        outcome = f"[{COLOURS[one.outcome]}]{one.outcome}[/]"
        table.add_row(escape(one.key), outcome, str(one.pieces), f"{one.seconds:.2f}", escape(said))
    if told:
        console.print(table)
    if len(told) > MOST_ROWS:
        console.print(f"and {len(told) - MOST_ROWS:,} more; --json prints all")
    console.print(f"[bold]{escape(report.source)}[/]: {report.summarize()}")
