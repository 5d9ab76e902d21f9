"""Who listens where: free ports before a start, and whether the flow server and the API answer."""

import socket
from contextlib import suppress

import httpx
import psutil

from cli.run_file import RunNotes, find_run
from core.errors import Conflict
from core.findings import Finding
from core.settings import Settings


class PortInUse(Conflict):
    """This port is in use; choose another one."""


def ensure_port_free(host: str, port: int, flag: str) -> None:
    """Raise `PortInUse`, naming who holds the port and the flag that chooses another."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise PortInUse(f"Port {port} needs rights you don't have; choose another with {flag}.") from error
        except OSError as error:
            holder = _find_holder(port)
            raise PortInUse(
                f"Port {port} is in use{f' by {holder}' if holder else ''}; stop that, or choose another with {flag}."
            ) from error


def _find_holder(port: int) -> str | None:
    with suppress(psutil.Error):  # macOS shows other users' connections to root only
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return None


async def answers(url: str) -> bool:
    """Tell whether a GET of the URL succeeds within two seconds."""
    try:
        async with httpx.AsyncClient(timeout=2) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


async def check_cache(settings: Settings) -> Finding:
    """Look whether Redis answers, where it is what processes share."""
    from core.cache import open_cache

    cache = open_cache(settings.cache.url)
    if not cache.is_shared:
        return Finding("cache", "ok", "in memory: each process has its own (REGENESIS_CACHE__URL names a Redis)")
    try:
        await cache.get("doctor")
    finally:
        await cache.close()
    return Finding("cache", "ok", "Redis answers")


async def check_flow_server(settings: Settings) -> Finding:
    """Look whether the flow server that commands would use answers."""
    run = find_run(settings.home)
    url = settings.prefect_api_url or (run.prefect_api_url if run else None)
    if url is None:
        return Finding("flow server", "warn", "not running", "run `regenesis up`; what needs one starts it")
    if not await answers(f"{url}/health"):
        cure = "check PREFECT_API_URL" if settings.prefect_api_url else "restart `regenesis up`"
        return Finding("flow server", "fail", f"{url} does not answer", cure)
    return Finding("flow server", "ok", url)


async def check_api(settings: Settings) -> Finding:
    """Look whether the API is ready, or could start."""
    run = find_run(settings.home)
    if run is None or run.api_url is None:
        return _check_port(settings, run)
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            reply = await client.get(f"{run.api_url}/readyz")
    except httpx.HTTPError as error:
        return Finding("API", "fail", f"{run.api_url} does not answer ({error})", "restart `regenesis up`")
    if reply.is_error:
        return Finding("API", "fail", f"{run.api_url} is not ready: {reply.text[:300]}", "mend what it names")
    return Finding("API", "ok", run.api_url)


def _check_port(settings: Settings, run: RunNotes | None) -> Finding:
    if run is None:
        try:
            ensure_port_free(settings.api.host, settings.api.port, "`regenesis up --port` or REGENESIS_API__PORT")
        except PortInUse as error:
            finding, _, cure = error.message.partition("; ")
            return Finding("API", "warn", f"not running; {finding[0].lower()}{finding[1:]}", cure)
    return Finding("API", "warn", "not running" if run is None else "still starting", "run `regenesis up`")
