"""The app in this process, the app behind a real port, and a key for everyone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.app import create_app
from core.settings import Settings
from db.session import tenant_session
from domain.identity import issue_api_key
from rag.answer import Assistant
from tests.factories.people import Organisation
from tests.factories.redis_server import redis_server  # noqa: F401  # a fixture
from tests.factories.sessions import EMBEDDER, name_people, require_id


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """Serve an ASGI app on a free port of this machine, in a thread with a loop of its own."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


KNOWN_FLOWS = ({"ingest-sources"}, {"run-evaluation"}, {"erase-subject"}, {"export-subject"}, {"apply-retention"},
               {"rederive-stale"})  # fmt: skip


@dataclass
class FlowServer:
    """Stands where the flow server's HTTP API is, and remembers what was started."""

    url: str = ""
    started: list[dict[str, Any]] = field(default_factory=list)
    by_key: dict[str, dict[str, Any]] = field(default_factory=dict)
    deployed: bool = True

    def app(self) -> Starlette:
        async def health(_: Request) -> JSONResponse:
            return JSONResponse(True)

        async def find(request: Request) -> JSONResponse:
            named = {request.path_params["flow"], request.path_params["deployment"]}
            if not self.deployed or named not in KNOWN_FLOWS:
                return JSONResponse({"detail": "Not Found"}, 404)
            return JSONResponse({"id": str(uuid4())})

        async def start(request: Request) -> JSONResponse:
            body = await request.json()
            self.started.append(body)
            run = {"id": str(uuid4()), "parameters": body["parameters"]}
            return JSONResponse(self.by_key.setdefault(body.get("idempotency_key", run["id"]), run), 201)

        return Starlette(
            routes=[
                Route("/api/health", health),
                Route("/api/deployments/name/{flow}/{deployment}", find),
                Route("/api/deployments/{id}/create_flow_run", start, methods=["POST"]),
            ]
        )


@pytest.fixture
def flow_server() -> Iterator[FlowServer]:
    server = FlowServer()
    with serve(server.app()) as url:
        server.url = f"{url}/api"
        yield server


@pytest.fixture
def api_settings(store: Settings, tmp_path: Path) -> Settings:
    """Settings whose object store is this test's own."""
    storage = store.storage.model_copy(update={"url": (tmp_path / "objects").as_uri()})
    (tmp_path / "objects").mkdir()
    return store.model_copy(update={"storage": storage, "prefect_api_url": None})


@pytest.fixture
def app(api_settings: Settings) -> Any:
    return create_app(api_settings, Assistant(EMBEDDER))


Keys = dict[str, str]


@pytest.fixture
async def keys(organisation: Organisation) -> Keys:
    """A key for every person of an organisation whose people have names."""
    await name_people(organisation)
    return await issue_keys(organisation)


async def issue_keys(organisation: Organisation) -> Keys:
    issued = {}
    async with tenant_session(organisation.system) as session:
        for name, person in organisation.people.items():
            _, issued[name] = await issue_api_key(session, user_id=require_id(person), name="test")
    return issued


Connect = Callable[[str | None], httpx.AsyncClient]


@pytest.fixture
async def connect(app: Any, keys: Keys) -> AsyncIterator[Connect]:
    """Return a client that calls with a person's key, or with none."""
    clients: list[httpx.AsyncClient] = []

    def make(person: str | None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {keys.get(person, person)}"} if person else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers))
        return clients[-1]

    yield make
    await asyncio.gather(*(client.aclose() for client in clients))
