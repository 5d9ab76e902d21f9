"""Uploading over HTTP, with a stand-in for the flow server's API and the real pipeline behind it."""

from typing import Any

import pytest

from api.app import create_app
from core.settings import Settings
from pipelines.ingest import ingest_source
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER

VTT = b"""WEBVTT

00:00:01.000 --> 00:00:04.000
Coach: What will you do about the pager?

00:00:05.000 --> 00:00:09.000
Client: I'll hand the pager to Tobias by Friday.
"""


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


async def upload(connect: Connect, person: str, *, headers: dict[str, str] | None = None, **form: str) -> Any:
    return await connect(person).post(
        "/v1/ingestions", files={"file": ("../talk.vtt", VTT)}, data=form, headers=headers or {}
    )


async def test_upload_starts_the_flow_and_shows_what_becomes_of_it(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer
) -> None:
    reply = await upload(
        connect, "coach_a", client=f"client_a@{organisation.slug}.example", visibility="client_visible",
        held_at="2026-03-12T09:00:00Z", session="amina-01",
    )  # fmt: skip
    assert reply.status_code == 202, reply.text
    received = reply.json()
    assert (received["key"], received["status"], received["attempts"]) == ("talk.vtt", "received", [])
    (started,) = flow_server.started
    assert started["parameters"]["tenant_id"] == str(organisation.tenant_id)
    await ingest_source(
        organisation.tenant_id, started["parameters"]["source"], embedder=EMBEDDER, settings=app.state.settings
    )
    for person in ("coach_a", "client_a"):
        shown = (await connect(person).get(f"/v1/ingestions/{received['id']}")).json()
        assert shown["status"] == "indexed"
        assert {attempt["stage"] for attempt in shown["attempts"]} == {"read", "parse", "chunk", "embed", "index"}
    found = (await connect("client_a").post("/v1/search", json={"query": "pager Tobias"})).json()
    assert "Tobias" in found["items"][0]["text"]
    assert (await connect("client_b").get(f"/v1/ingestions/{received['id']}")).status_code == 404


async def test_failed_object_says_why_and_is_retried(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer
) -> None:
    reply = await connect("coach_a").post("/v1/ingestions", files={"file": ("empty.docx", b"PK\x03\x04broken")})
    (started,) = flow_server.started
    await ingest_source(
        organisation.tenant_id, started["parameters"]["source"], embedder=EMBEDDER, settings=app.state.settings
    )
    url = f"/v1/ingestions/{reply.json()['id']}"
    shown = (await connect("coach_a").get(url)).json()
    assert shown["status"] == "failed"
    assert "empty.docx" in shown["error"]
    listed = (await connect("coach_a").get("/v1/ingestions", params={"status": "failed"})).json()
    assert [item["id"] for item in listed["items"]] == [shown["id"]]
    retried = await connect("coach_a").post(f"{url}/retry")
    assert retried.status_code == 202
    assert flow_server.started[1]["parameters"] == started["parameters"]
    assert (await connect("coach_b").post(f"{url}/retry")).status_code == 404


async def test_same_key_uploads_once(connect: Connect, flow_server: FlowServer) -> None:
    key = {"Idempotency-Key": "upload-1"}
    replies = [await upload(connect, "coach_a", headers=key) for _ in range(2)]
    assert replies[0].json()["id"] == replies[1].json()["id"]
    assert len({started["idempotency_key"] for started in flow_server.started}) == 1
    assert (await upload(connect, "coach_a", headers=key, title="Another")).status_code == 409


async def test_people_share_only_what_is_theirs_to_share(connect: Connect, organisation: Organisation) -> None:
    def mail(name: str) -> str:
        return f"{name}@{organisation.slug}.example"

    for person in ("client_a", "executive", "compliance"):
        assert (await upload(connect, person)).status_code == 403
    assert (await upload(connect, "coach_a", client=mail("client_c"))).status_code == 422
    assert (await upload(connect, "coach_a", coach=mail("coach_b"))).status_code == 422
    assert (await upload(connect, "coach_a", visibility="admin_aggregate")).status_code == 403
    assert (await upload(connect, "coach_a", visibility="system_internal")).status_code == 422
    assert (await upload(connect, "admin", visibility="admin_aggregate")).status_code == 202
    for_coaches = await upload(connect, "admin", client=mail("client_a"))
    assert for_coaches.status_code == 202, for_coaches.text
    assert (await connect("admin").get(f"/v1/ingestions/{for_coaches.json()['id']}")).status_code == 404
    assert (await connect("coach_a").get(f"/v1/ingestions/{for_coaches.json()['id']}")).status_code == 200
    mine = (await upload(connect, "coach_a")).json()
    assert (mine["visibility"], mine["coach_id"]) == ("coach_only", str(organisation.coach_a.user_id))


async def test_missing_flow_server_is_said(connect: Connect, flow_server: FlowServer, app: Any) -> None:
    flow_server.deployed = False
    reply = await upload(connect, "coach_a")
    assert (reply.status_code, reply.json()["code"]) == (503, "DeploymentMissing")
    app.state.settings = app.state.settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    reply = await upload(connect, "coach_a")
    assert (reply.status_code, reply.json()["code"]) == (503, "FlowServerUnavailable")
    assert reply.headers["retry-after"]


async def test_large_files_are_refused(api_settings: Settings, connect: Connect, app: Any) -> None:
    api = api_settings.api.model_copy(update={"max_upload_bytes": 10})
    app.state.settings = app.state.settings.model_copy(update={"api": api})
    reply = await upload(connect, "coach_a")
    assert (reply.status_code, reply.json()["code"]) == (422, "UploadTooLarge")
