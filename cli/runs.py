"""Runs of deployed flows: started by name through the flow server's API, watched until they end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from core.errors import Unavailable

POLL_SECONDS = 0.25
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
    try:
        async with httpx.AsyncClient(base_url=f"{api_url}/", timeout=30) as client:
            found = (await client.get(f"deployments/name/{deployment}")).raise_for_status().json()
            created = await client.post(f"deployments/{found['id']}/create_flow_run", json={"parameters": parameters})
            run: dict[str, Any] = created.raise_for_status().json()
            while run["state_type"] not in FINAL:
                await asyncio.sleep(POLL_SECONDS)
                run = (await client.get(f"flow_runs/{run['id']}")).raise_for_status().json()
                on_progress(await _read_progress(client, run["id"]))
    except httpx.HTTPError as error:
        raise FlowServerSilent(
            f"The flow server at {api_url} does not answer ({error}); run `regenesis doctor`."
        ) from error
    if run["state_type"] != "COMPLETED":
        reason = " ".join(str((run.get("state") or {}).get("message") or run["state_name"]).split())[:300]
        page = f"{api_url.removesuffix('/api')}/runs/flow-run/{run['id']}"
        raise RunFailed(f"The run {run['name']} ended as {run['state_name']} ({reason}); open {page} to see why.")
    return run


async def follow_progress(api_url: str, run_name: str, on_progress: Callable[[float], None]) -> None:
    """Report the progress of the newest run of this name for ever; a server that does not answer is asked again."""
    query = {"flow_runs": {"name": {"any_": [run_name]}}, "sort": "START_TIME_DESC", "limit": 1}
    async with httpx.AsyncClient(base_url=f"{api_url}/", timeout=30) as client:
        while True:
            with suppress(httpx.HTTPError):
                runs = (await client.post("flow_runs/filter", json=query)).raise_for_status().json()
                if runs and runs[0]["state_type"] == "RUNNING":
                    on_progress(await _read_progress(client, runs[0]["id"]))
            await asyncio.sleep(POLL_SECONDS)


async def _read_progress(client: httpx.AsyncClient, run_id: str) -> float:
    query = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["progress"]}}, "limit": 1}
    found = (await client.post("artifacts/filter", json=query)).raise_for_status().json()
    return float(found[0]["data"] or 0) if found else 0.0
