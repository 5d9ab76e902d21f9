"""Starts flows on the flow server by deployment name, over its HTTP API, never by import."""

from typing import Any, Final
from uuid import UUID

import httpx

from core.errors import Unavailable
from core.settings import Settings

INGEST: Final = ("ingest-sources", "ingest-sources")
"""Flow and deployment that index a source; see prefect.yaml."""

_TIMEOUT_S: Final = 10.0


class FlowServerUnavailable(Unavailable):
    """The flow server does not answer, so nothing was started; check PREFECT_API_URL or run `regenesis doctor`."""


class DeploymentMissing(Unavailable):
    """The flow server has no deployment that ingests; deploy the flows, or run `regenesis up`."""


async def start_ingest(settings: Settings, *, tenant_id: UUID, source: str, key: str | None = None) -> UUID:
    """Start indexing a source and return the flow run's id; the same key starts one run only."""
    if settings.prefect_api_url is None:
        raise FlowServerUnavailable(
            "No flow server is configured, so nothing was started; set PREFECT_API_URL or run `regenesis up`."
        )
    flow, deployment = INGEST
    body: dict[str, Any] = {"parameters": {"tenant_id": str(tenant_id), "source": source}}
    if key is not None:
        body["idempotency_key"] = key
    try:
        async with httpx.AsyncClient(base_url=settings.prefect_api_url.rstrip("/"), timeout=_TIMEOUT_S) as client:
            found = await client.get(f"/deployments/name/{flow}/{deployment}")
            if found.status_code == httpx.codes.NOT_FOUND:
                raise DeploymentMissing
            found.raise_for_status()
            started = await client.post(f"/deployments/{found.json()['id']}/create_flow_run", json=body)
            started.raise_for_status()
            return UUID(started.json()["id"])
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise FlowServerUnavailable from error
