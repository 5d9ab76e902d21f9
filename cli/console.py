"""What every command shares: what goes to which stream, how async work runs, how a foreseen error ends it."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from core.errors import AppError, Invalid

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PLAIN_WIDTH = 200
MISSING = frozenset({"42883", "42P01", "3F000"})
"""PostgreSQL's codes for a function, a table and a schema that is not there."""


class StoreNotReady(Invalid):
    """The database has no tables of this version yet; run `regenesis up` or `regenesis db migrate`."""


TenantOption = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="The organisation.")]
UserOption = Annotated[str, typer.Option("--user", metavar="EMAIL", help="Who asks: only what they may see is used.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class CommandGroup(TyperGroup):
    """Ends a command that meets a foreseen error with its one sentence on standard error and exit code 1."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # whatever the command line takes and returns
        """Run the chosen command."""
        try:
            return super().main(*args, **options)
        except AppError as error:
            print_error(error.message)
            sys.exit(1)


def print_error(sentence: str) -> None:
    """Print the sentence to standard error, red on a terminal."""
    typer.secho(sentence, err=True, fg=typer.colors.RED)


def print_json(value: Any) -> None:  # noqa: ANN401  # whatever JSON can hold, plus dates and ids as strings
    """Print the value to standard output as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def get_console(*, stderr: bool = False) -> "Console":
    """Return a rich console; on anything but a terminal it writes plain text in long lines."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def run_async(work: Coroutine[Any, Any, T], *, needs_store: bool = True) -> T:
    """Run the work to its end and close the store's connections, also when it fails.

    Raises `StoreNotReady` where the work needs a store and there is none of this version.
    """
    from sqlalchemy.exc import ProgrammingError

    from db.session import close_store
    from domain.reading import reading_through

    async def closing() -> T:
        try:
            with reading_through("cli"):
                return await work
        finally:
            await close_store()

    if needs_store and not has_store():
        work.close()
        raise StoreNotReady
    try:
        return asyncio.run(closing())
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) in MISSING and not _is_migrated():
            raise StoreNotReady from error
        raise  # something else is missing, which is a defect


async def run_together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all to their ends; the first foreseen error ends the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except* AppError as failures:
        raise failures.exceptions[0] from None


async def measure(work: Coroutine[Any, Any, T]) -> T:
    """Run work that founds a throw-away organisation, on a store that is made or migrated first where it must be."""
    from core.settings import get_settings
    from db.locate import owner_url
    from db.migrate import upgrade

    await asyncio.to_thread(lambda: upgrade(owner_url(get_settings())))
    return await work


def _is_migrated() -> bool:
    from core.settings import get_settings
    from db.locate import app_url
    from db.migrate import current_and_head
    from db.provision import to_driver_url

    current, head = current_and_head(to_driver_url(app_url(get_settings())))
    return current == head


def has_store() -> bool:
    """Tell whether the settings name a database, or the embedded one was started before."""
    from core.settings import get_settings

    settings = get_settings()
    return settings.db.url is not None or (settings.postgres_folder / "PG_VERSION").exists()
