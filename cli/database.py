"""`regenesis db`: bring the store to the newest revision, prove that it is what the models say."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from cli.console import JsonOption, print_error, print_json, run_async
from core.errors import Invalid

if TYPE_CHECKING:
    from cli.checks import Finding
    from core.settings import Settings

app = typer.Typer(help="The relational store.", no_args_is_help=True)


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
def check(*, as_json: JsonOption = False) -> None:
    """Prove that migrations match the models, the role is harmless and row-level security is forced everywhere."""
    from core.settings import get_settings

    with redirect_stdout(sys.stderr):  # Alembic, imported inside, talks to people
        findings = run_async(_check_store(get_settings()))
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


async def _check_store(settings: "Settings") -> "list[Finding]":
    from cli.checks import check_database, check_database_role, check_row_level_security, run_check

    return [
        await run_check("database", check_database, settings),
        await run_check("migrations", _check_migrations, settings),
        await run_check("database role", check_database_role, settings),
        await run_check("row-level security", check_row_level_security, settings),
    ]


async def _check_migrations(settings: "Settings") -> "Finding":
    import asyncio

    from alembic.util import CommandError

    from cli.checks import Finding
    from db.locate import owner_url
    from db.migrate import check as compare

    try:
        await asyncio.to_thread(lambda: compare(owner_url(settings)))
    except CommandError as error:
        raise ModelsAhead(f"The models say what no migration does ({error}); write the migration.") from error
    return Finding("migrations", "ok", "the migrations make what the models say")
