"""Everything embedded, started in order: store, flow server, flows, API; each step shown, all of it stopped again."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.addresses import Addresses
from cli.checklist import Checklist
from cli.children import POLL_SECONDS, Children
from cli.console import run_together
from cli.run_file import RunNotes
from core.settings import Settings
from core.storage import open_store
from db import migrate
from db.embedded import start_embedded
from db.locate import owner_url
from flows.server import ServerFailed, answers, client_environment, run_server
from pipelines.ingest import load_embedder

INGEST = "ingest-sources/ingest-sources"
"""The deployment that makes a source searchable."""
READY_SECONDS = 120
"""The slowest needs about five seconds on two quiet cores; on a busy machine much longer."""


@dataclass(frozen=True, slots=True)
class _Start:
    """What every step of the start needs."""

    settings: Settings
    addresses: Addresses
    checklist: Checklist
    children: Children
    exits: AsyncExitStack


@asynccontextmanager
async def running_stack(
    settings: Settings, addresses: Addresses, checklist: Checklist, notes: RunNotes
) -> AsyncIterator[Children]:
    """Start everything, yield its processes, and stop them however the block ends.

    Raises what the first failing step raises.
    """
    children = Children(settings.home / "logs", notes, settings.home)
    async with AsyncExitStack() as exits:
        # The processes below are stopped before the flow server, which they talk to.
        start = _Start(settings, addresses, checklist, children, exits)
        try:
            await _start_all(start)
            notes.api_url = addresses.api_url
            notes.prefect_api_url, notes.prefect_ui_url = addresses.flow_api_url, addresses.flow_ui_url
            notes.write(settings.home)
            yield children
        finally:
            await asyncio.shield(asyncio.to_thread(children.stop))


async def _start_all(start: _Start) -> None:
    """Start in order, the flow server, which takes longest, and what needs it beside the store and the API."""

    async def run_flows() -> None:
        await _start_flow_server(start)
        await _start_flows(start)

    async def answer_requests() -> None:
        await _start_store(start)
        await _start_api(start)

    await run_together(run_flows(), answer_requests())


async def _start_store(start: _Start) -> None:
    settings, checklist = start.settings, start.checklist
    with checklist.step("PostgreSQL") as step:
        url = await asyncio.to_thread(owner_url, settings)
        if settings.db.url is None:
            # Joining again forgets the processes that were killed, for which the server would run on.
            start.exits.callback(start_embedded, settings.postgres_folder)
        step.detail = "embedded" if settings.db.url is None else f"{url.host}:{url.port or 5432}"
    with checklist.step("migrations") as step:
        before, _ = await asyncio.to_thread(migrate.current_and_head, url)
        await asyncio.to_thread(migrate.upgrade, url)
        after, _ = await asyncio.to_thread(migrate.current_and_head, url)
        step.detail = f"revision {after}" if before == after else f"from {before or 'nothing'} to revision {after}"
    with checklist.step("object store") as step:
        await open_store(settings.storage_url, settings.storage).find("regenesis")
        step.detail = settings.storage_url
    with checklist.step("embedding model") as step:
        step.detail = (await load_embedder(settings)).name


async def _start_flow_server(start: _Start) -> None:
    with start.checklist.step("flow server") as step:
        step.detail = start.addresses.flow_ui_url
        if start.addresses.given_flow_api_url is None:
            folder = start.settings.home / "prefect"
            noting = asyncio.create_task(_note_flow_server(start.children, folder))
            try:
                await start.exits.enter_async_context(run_server(folder, start.addresses.prefect_port))
                await noting
            finally:
                noting.cancel()
        elif not await answers(start.addresses.flow_api_url):
            raise ServerFailed(f"No flow server answers at {start.addresses.flow_api_url}; check PREFECT_API_URL.")


async def _note_flow_server(children: Children, folder: Path) -> None:
    """Note it once it runs: it becomes ready much later, and a start that is killed meanwhile must leave a trace."""
    while True:
        with suppress(OSError, ValueError, LookupError, psutil.Error):
            noted = json.loads((folder / "server.json").read_text())
            if psutil.Process(noted["pid"]).create_time() == noted["created"]:
                children.adopt("flow server", noted["pid"], folder / "server.log")
                return
        await asyncio.sleep(POLL_SECONDS)


async def _start_flows(start: _Start) -> None:
    with start.checklist.step("flows") as step:
        child = start.children.start("flows", [sys.executable, "-m", "flows.serving"], _environment(start))
        deployment = f"{start.addresses.flow_api_url}/deployments/name/{INGEST}"
        await start.children.wait_until_answers(child, deployment, seconds=READY_SECONDS)
        step.detail = "served"


async def _start_api(start: _Start) -> None:
    with start.checklist.step("API") as step:
        where = ["--host", start.addresses.host, "--port", str(start.addresses.port)]
        # whom X-Forwarded-For may speak for is the app's to decide, see REGENESIS_API__TRUSTED_PROXIES
        served = ["api.app:create_app", "--factory", "--no-access-log", "--no-proxy-headers"]
        command = [sys.executable, "-m", "uvicorn", *served, *where]
        child = start.children.start("API", command, _environment(start))
        await start.children.wait_until_answers(child, f"{start.addresses.api_url}/healthz", seconds=READY_SECONDS)
        step.detail = start.addresses.api_url


def _environment(start: _Start) -> dict[str, str]:
    folder = start.settings.home / "prefect"
    return {
        **os.environ,
        **client_environment(start.addresses.flow_api_url, folder),
        "REGENESIS_HOME": str(start.settings.home),
        "REGENESIS_API__HOST": start.addresses.host,
        "REGENESIS_API__PORT": str(start.addresses.port),
        "RAGAS_DO_NOT_TRACK": "true",
    }
