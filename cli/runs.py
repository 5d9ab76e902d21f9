"""Runs of deployed flows: started by name through the flow server's API, watched until they end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx

from core.errors import Unavailable

POLL_SECONDS = 0.25
TRIES = 8
"""Prefect answers 503 while its SQLite database is locked, as at its start; its own client tries again too."""
BUSY = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class FlowServerSilent(Unavailable):
    """The flow server does not answer; run `regenesis doctor`."""


class RunFailed(Unavailable):
    """The run did not complete; open it in the flow server's pages."""


async def run_deployment(
    api_url: str, deployment: str, parameters: dict[str, Any], *, on_progress: Callable[[float], None]
) -> dict[str, Any]:
    """Start a run of `flow/deployment`, wait for its end and return it as the server tells it.

    `on_progress` gets the share done, 0 to 100. Raises `FlowServerSilent`, `RunFailed`.
    """
    wanted = {"parameters": parameters, "idempotency_key": str(uuid4())}
    try:
        async with httpx.AsyncClient(base_url=f"{api_url}/", timeout=30) as client:
            found = await _call(client, "GET", f"deployments/name/{deployment}")
            run: dict[str, Any] = await _call(client, "POST", f"deployments/{found['id']}/create_flow_run", wanted)
            try:
                while run["state_type"] not in FINAL:
                    await asyncio.sleep(POLL_SECONDS)
                    run = await _call(client, "GET", f"flow_runs/{run['id']}")
                    on_progress(await _read_progress(client, run["id"]))
            except asyncio.CancelledError:
                # Whoever waits for it is leaving; left alone it would run first thing at the next start.
                await asyncio.shield(_cancel(client, run["id"]))
                raise
    except httpx.HTTPError as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise FlowServerSilent(
            f"The flow server at {api_url} does not answer ({said}); run `regenesis doctor`."
        ) from error
    if run["state_type"] != "COMPLETED":
        reason = " ".join(str((run.get("state") or {}).get("message") or run["state_name"]).split())[:300]
        page = f"{api_url.removesuffix('/api')}/runs/flow-run/{run['id']}"
        raise RunFailed(f"The run {run['name']} ended as {run['state_name']} ({reason}); open {page} to see why.")
    return run


async def _cancel(client: httpx.AsyncClient, run_id: str) -> None:
    with suppress(httpx.HTTPError):
        wanted = {"state": {"type": "CANCELLED", "message": "Whoever started it left."}, "force": True}
        await client.post(f"flow_runs/{run_id}/set_state", json=wanted, timeout=2)


async def follow_progress(api_url: str, run_name: str, on_progress: Callable[[float], None]) -> None:
    """Report the progress of the newest run of this name for ever; a server that does not answer is asked again."""
    query = {"flow_runs": {"name": {"any_": [run_name]}}, "sort": "START_TIME_DESC", "limit": 1}
    async with httpx.AsyncClient(base_url=f"{api_url}/", timeout=30) as client:
        while True:
            with suppress(httpx.HTTPError):
                runs = await _call(client, "POST", "flow_runs/filter", query)
                if runs and runs[0]["state_type"] == "RUNNING":
                    on_progress(await _read_progress(client, runs[0]["id"]))
            await asyncio.sleep(POLL_SECONDS)


async def _read_progress(client: httpx.AsyncClient, run_id: str) -> float:
    query = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["progress"]}}, "limit": 1}
    found = await _call(client, "POST", "artifacts/filter", query)
    return float(found[0]["data"] or 0) if found else 0.0


async def _call(client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401  # JSON
    """Return the reply's JSON; a busy server is asked again."""
    for left in reversed(range(TRIES)):
        reply = await client.request(method, path, json=body)
        if reply.status_code not in BUSY or not left:
            break
        await asyncio.sleep(2 * POLL_SECONDS)
    return reply.raise_for_status().json()
