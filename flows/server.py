"""A Prefect server of our own, for machines that have none: started, waited for, and stopped again."""

import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil

from core.errors import Conflict, Unavailable
from core.logging import get_logger
from core.settings import Settings, ensure_home

HOST = "127.0.0.1"
START_SECONDS = 90  # 5 to 10 on a quiet machine with a new database
STOP_SECONDS = 10
HEARTBEAT_SECONDS = 30  # the shortest Prefect allows
NOTE = "server.json"

log = get_logger("flows.server")


class PortTaken(Conflict):
    """Another program listens on the port of the Prefect server; stop it, or choose another port."""


class ServerLeftOver(Conflict):
    """A Prefect server of an earlier start is still running on this home; stop it first."""


class ServerFailed(Unavailable):
    """The Prefect server did not start; read its log."""


def server_command(port: int) -> list[str]:
    """Return the command that serves Prefect's API and pages in the foreground."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def server_environment(folder: Path, port: int) -> dict[str, str]:
    """Return the environment of that command: everything it keeps is in this folder, and it tells nobody.

    The pages need their API's address whenever the port is not 4200. SQLite, because the embedded PostgreSQL lacks
    the extension that Prefect's schema wants.
    """
    return os.environ | client_environment(f"http://{HOST}:{port}/api", folder) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip


def client_environment(api_url: str, folder: Path) -> dict[str, str]:
    """Return what a process that runs flows against this server needs in its environment."""
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(folder),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }


async def answers(api_url: str) -> bool:
    """Tell whether a Prefect server answers at this address within two seconds."""
    try:
        async with httpx.AsyncClient(timeout=2) as client:
            reply = await client.get(f"{api_url.rstrip('/')}/health")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return reply.status_code == httpx.codes.OK and reply.text == "true"


def find_free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@asynccontextmanager
async def run_server(folder: Path, port: int) -> AsyncIterator[str]:
    """Serve Prefect from this folder and yield its API's address; it is stopped however the block ends.

    Raises `ServerLeftOver`, `PortTaken`, `ServerFailed`.
    """
    await asyncio.to_thread(_prepare, folder, port)
    note, written = folder / NOTE, folder / "server.log"
    with written.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *server_command(port),
            env=server_environment(folder, port),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on, in order
        )
    try:
        note.write_text(json.dumps({"pid": process.pid, "created": _read_start(process.pid), "port": port}))
        url = f"http://{HOST}:{port}/api"
        await _wait(process, url, written)
        yield url
    finally:
        await asyncio.shield(_stop(process))
        note.unlink(missing_ok=True)


@asynccontextmanager
async def prefect_session(settings: Settings) -> AsyncIterator[str]:
    """Let flows that are called inside run against a real server, and yield its API's address.

    That is the one PREFECT_API_URL names, or the one `regenesis up` noted in `<home>/run.json`, or else one started
    for the length of the block. Never Prefect's own ephemeral server: it loses the task runs at exit.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    found = settings.prefect_api_url or await find_noted_server(settings.home)
    if settings.prefect_api_url is not None and not await answers(settings.prefect_api_url):
        raise ServerFailed(f"No Prefect server answers at {settings.prefect_api_url}; check PREFECT_API_URL.")
    async with _use(found) if found else _run_temporary(settings) as url:
        with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_SECONDS}):
            try:
                yield url
            finally:
                await asyncio.shield(send_rest())


async def send_rest() -> None:
    """Send the logs and events that Prefect still holds, before their server goes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        sending = worker.drain_all(timeout=STOP_SECONDS)
        if inspect.isawaitable(sending):
            await sending


async def find_noted_server(home: Path) -> str | None:
    """Return the address of the server that runs on this home, None where none answers."""
    with suppress(OSError, ValueError, AttributeError):
        url = json.loads((home / "run.json").read_text()).get("prefect_api_url")
        if isinstance(url, str) and await answers(url):
            return url
    return None


@asynccontextmanager
async def _use(url: str) -> AsyncIterator[str]:
    yield url


@asynccontextmanager
async def _run_temporary(settings: Settings) -> AsyncIterator[str]:
    """Run a server on the home's own history; beside another one, which holds that, on a history thrown away."""
    own = ensure_home(settings) / "prefect"
    with tempfile.TemporaryDirectory(prefix="regenesis-prefect-") as thrown_away:
        held = _find_left_over(own) is not None
        if held:
            log.info("another command uses the flow history of this home; this run is not kept in it")
        async with run_server(Path(thrown_away) if held else own, find_free_port()) as url:
            yield url


def _find_left_over(folder: Path) -> tuple[int, int] | None:
    """Return process and port of the server that already runs from this folder."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        noted = json.loads((folder / NOTE).read_text())
        if _read_start(noted["pid"]) == noted["created"]:
            return noted["pid"], noted["port"]
    return None


def _prepare(folder: Path, port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    left_over = _find_left_over(folder)
    if left_over is not None:
        pid, its_port = left_over
        raise ServerLeftOver(
            f"A Prefect server of an earlier start (process {pid}, port {its_port}) is still running on {folder}; "
            f"stop it with `kill {pid}`, then start again."
        )
    _refuse_taken(port)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port}, meant for the Prefect server, can't be used ({error.strerror}); "
                "stop what listens there, or choose another port."
            ) from error


def _read_start(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


async def _wait(process: asyncio.subprocess.Process, url: str, written: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await answers(url):
        late = asyncio.get_running_loop().time() > deadline
        if process.returncode is not None or late:
            how = f"not answer within {START_SECONDS} s" if late else f"stop with exit code {process.returncode}"
            last = await asyncio.to_thread(_read_last_line, written)
            raise ServerFailed(f"The Prefect server did {how} ({last}); read {written}.")
        await asyncio.sleep(0.2)


def _read_last_line(written: Path) -> str:
    lines = written.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "nothing written"


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask the server to stop, and end it and whatever it started if it does not."""
    if process.returncode is None:
        below = _list_below(process.pid)
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        for child in below:
            with suppress(psutil.Error):
                child.kill()


def _list_below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def export(environment: Mapping[str, str]) -> None:
    """Set what is not set yet in this process's environment; call it before Prefect is imported."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)
