"""What the flow server knows of one organisation's runs, over its HTTP API: kinds, states and times, no words."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import httpx

from api.flow_server import FlowServerUnavailable
from core.settings import Settings

FLOWS: Final = (
    "ingest-sources", "build-evidence", "rederive-stale", "review-insights", "run-evaluation", "score-answers",
    "erase-subject", "export-subject", "index-content", "reembed-chunks", "reconcile-store", "apply-retention",
    "rotate-keys",
)  # fmt: skip
"""Those that may run for one organisation; what runs for all of them is the operator's."""
LOOKED_THROUGH: Final = 200  # as many as the server gives at once
_TIMEOUT_S: Final = 5.0
_BEGUN: Final = ("RUNNING", "PENDING", "PAUSED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING")
_ERROR: Final = re.compile(r"exception: (?:\w+\.)*([A-Z]\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun:
    """One run: of which flow, how it stands, when it began, and the seconds it took so far.

    `cause` is the name of the error that ended it, where the server tells one.
    """

    id: UUID
    flow: str
    state: str
    started_at: datetime | None
    seconds: float
    cause: str | None
    page: str

    @property
    def is_running(self) -> bool:
        """Whether it is under way."""
        return self.state in {"RUNNING", "PENDING", "PAUSED", "CANCELLING"}

    @property
    def is_bad(self) -> bool:
        """Whether it ended without doing all of its work."""
        return self.state in {"FAILED", "CRASHED"}


def find_flow_page(settings: Settings, run_id: UUID | str | None = None) -> str | None:
    """Return the address of the flow server's pages, or of one run's; None where no server is configured."""
    if settings.prefect_api_url is None:
        return None
    pages = settings.prefect_api_url.rstrip("/").removesuffix("/api")
    return f"{pages}/runs/flow-run/{run_id}" if run_id else pages


async def list_flow_runs(settings: Settings, tenant_id: UUID) -> list[FlowRun]:
    """Return the organisation's runs among the newest two hundred, the newest first; raises `FlowServerUnavailable`."""
    if settings.prefect_api_url is None:
        raise FlowServerUnavailable("No flow server is configured; set PREFECT_API_URL or run `regenesis up`.")
    asked = {
        "limit": LOOKED_THROUGH, "sort": "START_TIME_DESC", "flows": {"name": {"any_": FLOWS}},
        "flow_runs": {"state": {"type": {"any_": _BEGUN}}},
    }  # fmt: skip
    try:
        async with httpx.AsyncClient(base_url=settings.prefect_api_url.rstrip("/"), timeout=_TIMEOUT_S) as client:
            runs = await _post(client, "/flow_runs/filter", asked)
            # the server can't filter by a parameter
            ours = [run for run in runs if run["parameters"].get("tenant_id") == str(tenant_id)]
            wanted = {"flows": {"id": {"any_": sorted({run["flow_id"] for run in ours})}}}
            names = {flow["id"]: flow["name"] for flow in await _post(client, "/flows/filter", wanted)} if ours else {}
            return [_read(run, names, settings) for run in ours]
    except (httpx.HTTPError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FlowServerUnavailable(
            "The flow server does not answer, so its runs can't be shown; try again shortly, or run `regenesis doctor`."
        ) from error


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = await client.post(path, json=body)
    reply.raise_for_status()
    found: list[dict[str, Any]] = reply.json()
    return found


def _read(run: dict[str, Any], names: dict[str, str], settings: Settings) -> FlowRun:
    began = run.get("start_time")
    said = _ERROR.search((run.get("state") or {}).get("message") or "")
    return FlowRun(
        id=UUID(run["id"]), flow=names.get(run["flow_id"], "flow"), state=run["state_type"],
        started_at=datetime.fromisoformat(began) if began else None, seconds=float(run.get("total_run_time") or 0),
        cause=said[1] if said else None, page=find_flow_page(settings, run["id"]) or "",
    )  # fmt: skip
