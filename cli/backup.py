"""`regenesis db backup`, `backups`, `restore` and `drill`: copies of the whole store, and the proof that they help."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import JsonOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from pipelines.backup.drill import DrillReport
    from pipelines.backup.manifest import Manifest
    from pipelines.backup.objects import ObjectsCheck

FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="FOLDER|URL", help="Where the backups are; unset: as REGENESIS_BACKUP__URL says."),
]
BackupArgument = Annotated[str | None, typer.Argument(metavar="BACKUP", help="Its name; unset: the newest.")]


def backup(
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|URL", help="A folder or s3://bucket/prefix; unset: REGENESIS_BACKUP__URL."),
    ] = None,
    with_objects: Annotated[
        bool | None, typer.Option("--with-objects/--without-objects", help="Copy the objects too, not only their list.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the whole store: one moment of it, encrypted, while everybody goes on working."""
    from core.settings import get_settings
    from pipelines.backup.write import back_up

    with _bars() as told:
        work = back_up(get_settings(), to=_address(to), with_objects=with_objects, told=told)
        manifest = run_async(work)
    if as_json:
        print_json(manifest.to_json())
        return
    typer.echo(describe_backup(manifest))


def backups(*, address: FromOption = None, as_json: JsonOption = False) -> None:
    """List the backups that are whole, newest first."""
    from core.settings import get_settings
    from core.storage import open_store
    from pipelines.backup.manifest import list_backups

    settings = get_settings()
    store = open_store(_address(address) or settings.backup_url, settings.storage)
    found = list(reversed(run_async(list_backups(store), needs_store=False)))
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(found) or f"There is none in {store.url}; make one with `regenesis db backup`.")


def restore(
    backup_id: BackupArgument = None,
    *,
    address: FromOption = None,
    into: Annotated[
        str | None, typer.Option(metavar="URL", help="An operator's URL of the database; unset: that of the settings.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a store that is there already.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Go on with a restore that was interrupted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before a store is replaced.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup, prove it, erase again what was erased since, and only then open the store."""
    from core.settings import get_settings
    from pipelines.backup.restore import restore as run

    if replace and not yes:
        typer.confirm("Everything in this database is replaced by the backup. Go on?", abort=True, err=True)
    with _bars() as told:
        work = run(
            get_settings(), backup_id, address=_address(address), into=into, replace=replace, finish=finish, told=told
        )
        report = run_async(work, needs_store=False)
    if as_json:
        print_json(report.to_json())
        return
    typer.echo(
        f"Restored {report.rows:,} rows of the backup {report.backup_id} in {report.seconds:.1f} s: every count and "
        f"checksum is as it was on {report.snapshot_at:%Y-%m-%d at %H:%M:%S} UTC."
    )
    if report.revision != report.revision_before:
        typer.echo(f"Migrated from revision {report.revision_before} to {report.revision}.")
    typer.echo(f"{report.erased:,} erasures since then were done again; the store is open.")
    _print_objects(report.objects)


def drill(backup_id: BackupArgument = None, *, address: FromOption = None, as_json: JsonOption = False) -> None:
    """Restore a backup into a fresh server, compare every table, check it, ask it a question, take it away."""
    from core.settings import get_settings
    from pipelines.backup.drill import drill as run

    with _bars() as told:
        report = run_async(run(get_settings(), backup_id, address=_address(address), told=told), needs_store=False)
    if as_json:
        print_json(report.to_json())
    else:
        print_drill(report)
    if not report.passed:
        more = f" (and {len(report.differences) - 1} more)" if len(report.differences) > 1 else ""
        print_error(f"The drill of {report.backup_id} failed{more}: {report.differences[0]}")
        raise typer.Exit(1)


def describe_backup(manifest: "Manifest") -> str:
    """Return what was backed up, for people."""
    took = (manifest.finished_at - manifest.started_at).total_seconds()
    objects = f"{manifest.objects:,} objects ({'copied' if manifest.copies else 'listed'})"
    return (
        f"{manifest.id}: {manifest.rows:,} rows of {len(manifest.tables)} tables and {objects} in {took:.1f} s, "
        f"{manifest.size / 1e6:,.1f} MB."
    )


def print_drill(report: "DrillReport") -> None:
    """Print the phases, the two figures that count, and what differs."""
    from rich.markup import escape
    from rich.table import Table

    console = get_console()
    table = Table.grid(padding=(0, 2))
    for phase, took in report.phases.items():
        table.add_row(phase, f"{took:,.1f} s")
    console.print(table)
    console.print(
        f"\n{report.rows:,} rows of {report.tables} tables, {report.size / 1e6:,.1f} MB. "
        f"Recovery point: {describe_seconds(report.recovery_point_seconds)} old. "
        f"Recovery time: {report.recovery_seconds:,.1f} s."
    )
    if report.answered is None:
        console.print("No organisation has transcripts that a client could ask about.")
    elif report.answered.citations:
        console.print(f"A client's question was answered with {report.answered.citations} citations.")
    _print_objects(report.objects)
    for difference in report.differences:
        console.print(f"[red]✗[/] {escape(difference)}")
    if report.passed:
        console.print("[green]✓[/] Every count, checksum and invariant holds.")


def _print_objects(objects: "ObjectsCheck") -> None:
    if objects.written:
        typer.echo(f"{objects.written:,} objects were put back from their copies.")
    if objects.changed or objects.gone:
        named = f", such as {objects.examples[0]}" if objects.examples else ""
        typer.echo(
            f"Of the objects the backup lists, {objects.same:,} are as they were, {objects.changed:,} changed, and "
            f"{objects.gone:,} are gone{named}."
        )


def describe_seconds(seconds: float) -> str:
    """Return a span of time in the largest unit that says it well."""
    for unit, length in (("day", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "day"):
            number = int(seconds // length)
            return f"{number} {unit}{'s' if unit == 'day' and number > 1 else ''}"
    return f"{seconds:.0f} s"


def _address(given: str | None) -> str | None:
    """Return what was given as a URL; a plain path is a folder."""
    from pathlib import Path

    if given is None or "://" in given:
        return given
    return Path(given).expanduser().resolve().as_uri()


@contextmanager
def _bars() -> "Iterator[Callable[[str, int, int], None]]":
    """Show a bar for every phase that is told of, on a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = get_console(stderr=True)
    if not console.is_terminal:
        yield lambda _phase, _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars: dict[str, Any] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def told(phase: str, done: int, total: int) -> None:
            if phase not in bars:
                for earlier in bars.values():
                    progress.update(earlier, total=1, completed=1)
                bars[phase] = progress.add_task(phase, total=None)
            progress.update(bars[phase], completed=done, total=total or None)

        yield told
