"""Starts the flow erase-subject for verified requests that no run carries out."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import PrefectException

from db.session import Principal, tenant_session
from pipelines.reconcile_runs import list_waiting_erasures

ERASE = "erase-subject"


async def start_waiting(tenant_id: UUID) -> int:
    """Start a run for each request of the organisation that waits, once a day at most, and return how many wait.

    A run that is under way already keeps the second one off. What could not be started is tried again by the next run.
    """
    async with tenant_session(Principal(tenant_id, "system")) as session:
        waiting = await list_waiting_erasures(session)
    for request_id in waiting:
        try:
            await arun_deployment(
                f"{ERASE}/{ERASE}",
                parameters={"tenant_id": str(tenant_id), "request_id": str(request_id)},
                idempotency_key=f"{ERASE}-{request_id}-{datetime.now(UTC):%Y-%m-%d}",
                timeout=0,
                as_subflow=False,
            )
        except (PrefectException, httpx.HTTPError, ValueError) as error:
            get_run_logger().warning("the erasure %s was not started (%s)", request_id, type(error).__name__)
    return len(waiting)
