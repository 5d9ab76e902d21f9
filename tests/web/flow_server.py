"""A stand-in for the flow server that also tells of runs."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.api.conftest import FlowServer


class KnowingServer(FlowServer):
    """A flow server that also tells of runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[dict[str, Any]] = []

    def add(self, tenant_id: UUID, flow: str, state: str, message: str | None = None, *, name: str = "") -> None:
        """Remember a run of an organisation, newer than those before it."""
        run = {
            "id": str(uuid4()), "flow_id": flow, "state_type": state, "state": {"message": message},
            "start_time": datetime.now(UTC).isoformat(), "total_run_time": 61.0, "name": f"run of {name}",
            "parameters": {"tenant_id": str(tenant_id)},
        }  # fmt: skip
        self.runs.insert(0, run)

    def app(self) -> Starlette:
        async def list_runs(request: Request) -> JSONResponse:
            assert (await request.json())["limit"] == 200
            return JSONResponse(self.runs)

        async def list_flows(request: Request) -> JSONResponse:
            wanted = (await request.json())["flows"]["id"]["any_"]
            return JSONResponse([{"id": name, "name": name} for name in wanted])

        app = super().app()
        app.routes.append(Route("/api/flow_runs/filter", list_runs, methods=["POST"]))
        app.routes.append(Route("/api/flows/filter", list_flows, methods=["POST"]))
        return app
