"""Starts flows on the flow server by deployment name, over its HTTP API, never by import."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import httpx

from core.errors import Unavailable
from core.logging import get_logger
from core.settings import Settings
from domain.chat import KeyReused

DERIVE: Final = "rederive-stale"
SOON_S: Final = 20
"""Within how long a run begins that people wait for; all who ask meanwhile wait for the same one."""

_TIMEOUT_S: Final = 10.0

log = get_logger("api.flow_server")


class FlowServerUnavailable(Unavailable):
    """The flow server does not answer, so nothing was started; check PREFECT_API_URL or run `regenesis doctor`."""


class DeploymentMissing(Unavailable):
    """The flow server has no deployment of this name; deploy the flows, or run `regenesis up`."""


async def start_flow(
    settings: Settings,
    deployment: str,
    parameters: Mapping[str, Any],
    *,
    key: str | None = None,
    at: datetime | None = None,
) -> UUID:
    """Start a run of the deployment, which bears its flow's name (see prefect.yaml), and return the flow run's id.

    It begins at once, or `at` that time. `parameters` are plain JSON. The same key starts one run only; raises
    `KeyReused` where that one was of other parameters, `FlowServerUnavailable`, `DeploymentMissing`.
    """
    if settings.prefect_api_url is None:
        raise FlowServerUnavailable(
            "No flow server is configured, so nothing was started; set PREFECT_API_URL or run `regenesis up`."
        )
    body: dict[str, Any] = {"parameters": dict(parameters)}
    if key is not None:
        body["idempotency_key"] = key
    if at is not None:
        body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": at.isoformat()}}
    try:
        async with httpx.AsyncClient(base_url=settings.prefect_api_url.rstrip("/"), timeout=_TIMEOUT_S) as client:
            found = await client.get(f"/deployments/name/{deployment}/{deployment}")
            if found.status_code == httpx.codes.NOT_FOUND:
                raise DeploymentMissing(
                    f"The flow server has no deployment {deployment!r}; deploy the flows, or run `regenesis up`."
                )
            found.raise_for_status()
            reply = await client.post(f"/deployments/{found.json()['id']}/create_flow_run", json=body)
            reply.raise_for_status()
            started = reply.json()
            run_id, kept = UUID(started["id"]), dict(started["parameters"])
    except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
        raise FlowServerUnavailable from error
    # the server may add parameters of the deployment's own, and answers a known key with the run it started first
    if any(kept.get(name) != value for name, value in parameters.items()):
        raise KeyReused
    return run_id


async def derive_soon(settings: Settings, tenant_id: UUID) -> None:
    """Have what just became stale derived anew now, not when the flow's schedule comes to it; call after the commit.

    Without a flow server it is left to that schedule.
    """
    turn = int(time.time() // SOON_S) + 1
    try:
        await start_flow(
            settings, DERIVE, {"tenant_id": str(tenant_id)}, key=f"soon-{tenant_id}-{turn}",
            at=datetime.fromtimestamp(turn * SOON_S, UTC),
        )  # fmt: skip
    except Unavailable as error:
        log.warning("deriving anew is left to the schedule", tenant_id=str(tenant_id), reason=error.message)
