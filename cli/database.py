"""`regenesis db`: bring the store to the newest revision, prove that it is what the models say."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from cli import backup, retention
from cli.console import JsonOption, get_console, print_error, print_json, run_async
from core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.findings import Finding
    from core.settings import Settings

app = typer.Typer(help="The relational store.", no_args_is_help=True)
app.command()(retention.archive)
app.command()(retention.reconcile)

app.command()(backup.backup)
app.command()(backup.backups)
app.command()(backup.restore)
app.command()(backup.drill)


class ModelsAhead(Invalid):
    """The models say what no migration does; write the migration."""


@app.command()
def migrate() -> None:
    """Create what is missing and migrate to the newest revision; safe to run again."""
    from core.settings import get_settings
    from db.locate import owner_url
    from db.migrate import current_and_head, upgrade

    url = owner_url(get_settings())
    before, head = current_and_head(url)
    if before == head:
        typer.echo(f"The database is at revision {head}, the newest.")
        return
    upgrade(url)
    typer.echo(f"Migrated from {before or 'nothing'} to revision {head}.")


@app.command()
def check(
    *,
    tenant: Annotated[
        str | None, typer.Option(metavar="SLUG", help="Look into this organisation's rows only, not into all.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Write the truth into counters that are off.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that the store is what it should be: its structure and guards, the audit log, the counters, the ledger."""
    from core.settings import get_settings

    with redirect_stdout(sys.stderr):  # Alembic, imported inside, talks to people
        findings = run_async(_check_store(get_settings(), tenant, repair=repair))
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.status:4}  {finding.name}: {finding.detail}")
    failed = [finding for finding in findings if finding.status != "ok"]
    for finding in failed:
        print_error(f"{finding.name}: {finding.detail}; {finding.cure}.")
    if failed:
        raise typer.Exit(1)


async def _check_store(settings: "Settings", tenant: str | None, *, repair: bool) -> "list[Finding]":
    from cli.checks import check_database, check_database_role, check_row_level_security, run_check

    structure = [
        await run_check("database", check_database, settings),
        await run_check("migrations", _check_migrations, settings),
        await run_check("database role", check_database_role, settings),
        await run_check("row-level security", check_row_level_security, settings),
    ]
    if structure[0].status != "ok":
        return structure  # rows of another revision can't be read
    return structure + await _check_rows(settings, tenant, repair=repair)


async def _check_rows(settings: "Settings", slug: str | None, *, repair: bool) -> "list[Finding]":
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from cli.checks import run_check
    from pipelines import store_checks as rows

    tenants = await asyncio.to_thread(rows.list_all_tenants, settings, slug)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=get_console(stderr=True), transient=True) as progress:

        async def look(name: str, check: "Callable[[Callable[[int, int], None]], Awaitable[Finding]]") -> "Finding":
            bar = progress.add_task(name, total=len(tenants))
            return await run_check(
                name, lambda _: check(lambda done, _all: progress.update(bar, completed=done)), settings, bounded=False
            )

        fix = (lambda tenant_id: rows.repair_counters(settings, tenant_id)) if repair else None
        return [
            await look("guards", lambda _: rows.check_guards()),
            await look("audit log", lambda tell: rows.check_audit_chains(tenants, tell)),
            await look("counters", lambda tell: rows.check_counters(tenants, tell, repair=fix)),
            await look("ledger", lambda tell: rows.check_ledger(tenants, tell)),
        ]


async def _check_migrations(settings: "Settings") -> "Finding":
    import asyncio

    from alembic.util import CommandError

    from core.findings import Finding
    from db.locate import owner_url
    from db.migrate import check as compare

    try:
        await asyncio.to_thread(lambda: compare(owner_url(settings)))
    except CommandError as error:
        raise ModelsAhead(f"The models say what no migration does ({error}); write the migration.") from error
    return Finding("migrations", "ok", "the migrations make what the models say")
