"""`regenesis up`: everything embedded, with sample material and a first cited answer, until Ctrl-C."""

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import get_console

if TYPE_CHECKING:
    from rich.console import Console

    from cli.addresses import Addresses
    from cli.run_file import RunNotes
    from core.settings import Settings

INTERRUPTED = 130
"""What shells expect of a command that Ctrl-C ended before it was done."""


def up(
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop after the first answer instead of serving.")] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the API; else REGENESIS_API__PORT.")
    ] = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the flow server and its pages.")] = 4200,
    sample: Annotated[bool, typer.Option(help="Load the sample organisations into an empty store.")] = True,
) -> None:
    """Start everything: database, object store, flow server with its pages, flows, API; Ctrl-C stops it."""
    from cli.addresses import Addresses
    from cli.run_file import hold_home
    from core.settings import ensure_home, get_settings

    settings = get_settings()
    addresses = Addresses(settings.api.host, port or settings.api.port, prefect_port, settings.prefect_api_url)
    with hold_home(ensure_home(settings)) as notes:
        addresses.ensure_free()
        this = _Up(
            settings=settings,
            addresses=addresses,
            notes=notes,
            console=get_console(),
            once=once,
            wants_sample=sample,
        )
        code = asyncio.run(_serve(this))
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Up:
    """What one `up` works with."""

    settings: "Settings"
    addresses: "Addresses"
    notes: "RunNotes"
    console: "Console"
    once: bool
    wants_sample: bool


async def _serve(up: _Up) -> int:
    """Return the exit code once it is done, or a signal asked it to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work, stopped = asyncio.create_task(_run(up)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return 0
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        with contextlib.suppress(OSError):  # the terminal may be gone
            up.console.print("Stopped.")
        return 0 if up.notes.is_serving else INTERRUPTED
    finally:
        from db.session import close_store

        stopped.cancel()
        await close_store()


async def _run(up: _Up) -> None:
    from contextlib import AsyncExitStack

    from cli import first_start, welcome
    from cli.checklist import Checklist
    from cli.stack import running_stack

    async with AsyncExitStack() as exits:
        with Checklist(up.console) as checklist:
            children = await exits.enter_async_context(running_stack(up.settings, up.addresses, checklist, up.notes))
            greeting = None
            if up.wants_sample and await first_start.is_wanted():
                greeting = await children.run_beside(welcome.prepare(up.settings, up.addresses, checklist))
        welcome.show(up.console, up.settings, up.addresses, greeting, once=up.once)
        if up.once:
            return
        up.notes.is_serving = True
        up.notes.write(up.settings.home)
        await children.watch()
