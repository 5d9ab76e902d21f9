"""`regenesis up`: everything embedded, with sample material and a first cited answer, until Ctrl-C."""

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import get_console

if TYPE_CHECKING:
    from rich.console import Console

    from cli.stack import Addresses
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
    from cli.stack import Addresses
    from core.settings import ensure_home, get_settings

    settings = get_settings()
    ensure_home(settings)
    addresses = Addresses(settings.api.host, port or settings.api.port, prefect_port, settings.prefect_api_url)
    code = asyncio.run(_serve(settings, addresses, once=once, wants_sample=sample))
    raise typer.Exit(code)


async def _serve(settings: "Settings", addresses: "Addresses", *, once: bool, wants_sample: bool) -> int:
    """Return the exit code once it is done, or a signal asked it to stop."""
    from db.session import close_store

    stop, serving = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = get_console()
    work = asyncio.create_task(_run(settings, addresses, console, serving, once=once, wants_sample=wants_sample))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            with contextlib.suppress(OSError):  # the terminal may be gone
                console.print("Stopped.")
            return 0 if serving.is_set() else INTERRUPTED
        work.result()
        return 0
    finally:
        stopped.cancel()
        await close_store()


async def _run(
    settings: "Settings",
    addresses: "Addresses",
    console: "Console",
    serving: asyncio.Event,
    *,
    once: bool,
    wants_sample: bool,
) -> None:
    from contextlib import AsyncExitStack

    from cli import first_start, welcome
    from cli.checklist import Checklist
    from cli.run_file import hold_home
    from cli.stack import running_stack

    with hold_home(settings.home) as notes:
        addresses.ensure_free()
        async with AsyncExitStack() as exits:
            with Checklist(console) as checklist:
                children = await exits.enter_async_context(running_stack(settings, addresses, checklist, notes))
                greeting = None
                if wants_sample and await first_start.is_wanted():
                    greeting = await children.run_beside(welcome.prepare(settings, addresses, checklist))
            welcome.show(console, settings, addresses, greeting, once=once)
            if once:
                return
            serving.set()
            notes.is_serving = True
            notes.write(settings.home)
            await children.watch()
