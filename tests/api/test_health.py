"""Whether it lives, whether it can serve, what it counts."""

from typing import Any

import pytest

from api.app import create_app
from core.settings import Settings
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, store_session


async def read_checks(connect: Connect, status: int) -> dict[str, dict[str, Any]]:
    reply = await connect(None).get("/readyz")
    assert reply.status_code == status, reply.text
    assert reply.json()["ready"] == (status == 200)
    return {check["name"]: check for check in reply.json()["checks"]}


async def test_it_lives(connect: Connect) -> None:
    assert (await connect(None).get("/healthz")).json() == {"status": "ok"}


async def test_readiness_names_each_thing(connect: Connect, app: Any, flow_server: FlowServer) -> None:
    checks = await read_checks(connect, 200)
    assert checks["database"]["ok"]
    assert checks["object store"]["ok"]
    assert not checks["flow server"]["ok"]
    assert "PREFECT_API_URL" in checks["flow server"]["detail"]
    app.state.settings = app.state.settings.model_copy(update={"prefect_api_url": flow_server.url})
    assert (await read_checks(connect, 200))["flow server"]["ok"]


async def test_unready_without_its_database_revision(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.health.find_newest_revision", lambda: "9999")
    checks = await read_checks(connect, 503)
    assert "regenesis db migrate" in checks["database"]["detail"]


async def test_unready_without_its_object_store(api_settings: Settings, connect: Connect, app: Any) -> None:
    storage = api_settings.storage.model_copy(update={"url": "s3://nowhere", "endpoint_url": "http://127.0.0.1:9"})
    app.state.settings = api_settings.model_copy(update={"storage": storage})
    assert not (await read_checks(connect, 503))["object store"]["ok"]


async def test_counts_have_routes_and_no_ids(connect: Connect, organisation: Organisation) -> None:
    stored = await store_session(organisation, [("client", "I will call the harbour.")])
    await connect("coach_a").get(f"/v1/transcripts/{stored.source_id}")
    await connect("coach_a").post(
        "/v1/chat/completions", json={"model": "sasha", "messages": [{"role": "user", "content": "The harbour?"}]}
    )
    text = (await connect(None).get("/metrics")).text
    assert 'route="/v1/transcripts/{transcript_id}"' in text
    assert str(stored.source_id) not in text
    assert 'regenesis_answers_total{outcome="answered",provider="extractive"}' in text


async def test_app_loads_its_own_assistant(api_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(_: Settings) -> Assistant:
        return Assistant(EMBEDDER)

    async def keep_open() -> None:
        """The test's loop goes on using the store."""

    monkeypatch.setattr("api.app.load_assistant", load)
    monkeypatch.setattr("api.app.close_store", keep_open)
    app = create_app(api_settings)
    async with app.router.lifespan_context(app):
        assert app.state.assistant.embedder is EMBEDDER
