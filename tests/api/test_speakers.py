"""Who speaks in a transcript, said over HTTP: by whom, of whom, at once, and kept by later ingestions."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.app import create_app
from core.settings import Settings
from pipelines.ingest import ingest_source
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, store_document, store_session

TALK = b"""WEBVTT

00:00:01.000 --> 00:00:04.000
Speaker 1: What will you do about the pager?

00:00:05.000 --> 00:00:09.000
Speaker 2: I'll hand the pager to Tobias by Friday.
"""


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


async def add(connect: Connect, **form: str) -> str:
    reply = await connect("coach_a").post("/v1/ingestions", files={"file": ("talk.vtt", TALK)}, data=form)
    assert reply.status_code == 202, reply.text
    return f"/v1/ingestions/{reply.json()['id']}/speakers"


async def read(connect: Connect, url: str) -> dict[str, Any]:
    reply = await connect("coach_a").get(url)
    assert reply.status_code == 200, reply.text
    return {one["label"]: (one["user_id"], one["is_said"]) for one in reply.json()["speakers"]}


async def ingest(app: Any, organisation: Organisation, source: str) -> str:
    report = await ingest_source(organisation.tenant_id, source, embedder=EMBEDDER, settings=app.state.settings)
    return next(one for one in report.outcomes if one.key == "talk.vtt").outcome


async def test_who_may_say_it_and_of_whom(connect: Connect, organisation: Organisation) -> None:
    def mail(name: str) -> str:
        return f"{name}@{organisation.slug}.example"

    async def patch(person: str, object_id: Any, who: str | None, label: str = "Speaker 1") -> tuple[int, str | None]:
        url = f"/v1/ingestions/{object_id}/speakers"
        reply = await connect(person).patch(url, json={"speakers": {label: who}})
        return reply.status_code, reply.json().get("code")

    turns = [("Speaker 1", "How was it?"), ("Speaker 2", "Long.")]
    talk = await store_session(organisation, turns)
    shared = await store_session(organisation, turns, client=organisation.client_b, coach=organisation.coach_b)
    guide = await store_document(organisation, ["Everyone reads this guide."])
    assert await patch("coach_b", talk.object_id, "client") == (404, "TranscriptMissing")
    assert await patch("admin", talk.object_id, "client") == (404, "TranscriptMissing")
    assert await patch("client_a", talk.object_id, "client") == (403, "RoleMissing")
    assert await patch("compliance", talk.object_id, "client") == (403, "RoleMissing")
    assert await patch("coach_a", guide.object_id, "client") == (404, "TranscriptMissing")
    assert await patch("coach_a", uuid4(), "client") == (404, "TranscriptMissing")
    assert await patch("coach_a", talk.object_id, "client", "Speaker 3") == (422, "LabelUnknown")
    assert await patch("coach_a", talk.object_id, mail("client_c")) == (422, "PersonUnknown")
    assert await patch("coach_a", talk.object_id, mail("coach_b")) == (422, "PersonUnknown")
    assert await patch("coach_a", talk.object_id, "client", "x" * 501) == (422, "UnusableRequest")
    assert (await connect("coach_a").patch(
        f"/v1/ingestions/{talk.object_id}/speakers", json={"speakers": {}})).status_code == 422  # fmt: skip
    shown = (await connect("coach_a").get(f"/v1/ingestions/{talk.object_id}/speakers")).json()
    assert all(one["user_id"] is None for one in shown["speakers"])
    # a colleague, who is not shown to them, is still who coached this session
    assert (await patch("coach_a", shared.object_id, "coach"))[0] == 200
    assert (await patch("coach_a", shared.object_id, mail("client_a"), "speaker 2"))[0] == 200
    shown = (await connect("coach_a").get(f"/v1/ingestions/{shared.object_id}/speakers")).json()
    people = [organisation.coach_b, organisation.client_a]
    assert [one["user_id"] for one in shown["speakers"]] == [str(one.user_id) for one in people]
    assert shown["is_asked"] is False
    assert (await connect("client_b").get(f"/v1/ingestions/{shared.object_id}/speakers")).status_code == 403


async def test_an_administrator_says_it_of_what_is_for_all(
    app: Any, connect: Connect, organisation: Organisation, tmp_path: Path
) -> None:
    (tmp_path / "talk.vtt").write_bytes(TALK)
    said = {"key": "talk.vtt", "visibility": "client_visible"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(said))
    assert await ingest(app, organisation, str(tmp_path)) == "indexed"
    listed = (await connect("admin").get("/v1/ingestions")).json()["items"]
    url = f"/v1/ingestions/{listed[0]['id']}/speakers"
    said_of = {"speakers": {"Speaker 1": f"coach_b@{organisation.slug}.example"}}
    assert (await connect("coach_a").get(url)).json()["may_say"] is False
    refused = await connect("coach_a").patch(url, json={"speakers": {"Speaker 1": None}})
    assert (refused.status_code, refused.json()["code"]) == (403, "SpeakersNotYours")
    refused = await connect("admin").patch(url, json={"speakers": {"Speaker 2": "client"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "PartUnfilled")
    assert (await connect("admin").patch(url, json=said_of)).status_code == 200
    assert (await read(connect, url))["Speaker 1"] == (str(organisation.coach_b.user_id), True)


async def test_later_ingestions_keep_to_it(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = f"client_a@{organisation.slug}.example"
    url = await add(connect, client=mail, visibility="client_visible")
    assert (await connect("coach_a").get(url)).status_code == 404  # it is not read yet
    source = flow_server.started[0]["parameters"]["source"]
    assert await ingest(app, organisation, source) == "indexed"
    assert (await connect("coach_a").get(url)).json()["is_asked"] is True
    coach, client = str(organisation.coach_a.user_id), str(organisation.client_a.user_id)
    both = {"speakers": {"Speaker 1": "coach", "SPEAKER  2": "client"}}
    said = await connect("coach_a").patch(url, json=both)
    assert said.status_code == 200, said.text
    named = {"Speaker 1": (coach, True), "Speaker 2": (client, True)}
    assert await read(connect, url) == named
    assert await ingest(app, organisation, source) == "unchanged"
    # who reads it is another decision; neither undoes the other
    readers = url.replace("speakers", "readers")
    assert (await connect("coach_a").put(readers, json={"visibility": "coach_only", "client": mail})).status_code == 200
    assert await ingest(app, organisation, source) == "unchanged"
    monkeypatch.setattr("pipelines.ingest.PIPELINE_VERSION", "later")
    assert await ingest(app, organisation, source) == "indexed"
    assert await read(connect, url) == named
    assert (await connect("coach_a").get(readers)).json()["visibility"] == "coach_only"


async def test_what_became_stale_is_derived_anew_soon_and_once_for_all_who_ask(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.flow_server.SOON_S", 10**7)  # a turn that does not end while this runs
    talk = await store_session(organisation, [("Speaker 1", "How was it?"), ("Speaker 2", "Long.")])
    base = f"/v1/ingestions/{talk.object_id}"
    said, readers = {"speakers": {"Speaker 2": "client"}}, {"visibility": "coach_only"}
    assert (await connect("coach_a").patch(f"{base}/speakers", json=said)).status_code == 200
    readers["client"] = f"client_a@{organisation.slug}.example"
    assert (await connect("coach_a").put(f"{base}/readers", json=readers)).status_code == 200
    assert len(flow_server.started) == 2
    assert len(flow_server.by_key) == 1
    asked = flow_server.started[0]
    assert asked["parameters"] == {"tenant_id": str(organisation.tenant_id)}
    begins = datetime.fromisoformat(asked["state"]["state_details"]["scheduled_time"])
    assert timedelta(0) < begins - datetime.now(UTC) <= timedelta(seconds=10**7)
    # refused, nothing is stale; without a flow server it is said all the same
    assert (await connect("coach_b").patch(f"{base}/speakers", json=said)).status_code == 404
    assert len(flow_server.started) == 2
    app.state.settings = app.state.settings.model_copy(update={"prefect_api_url": None})
    assert (await connect("coach_a").patch(f"{base}/speakers", json=said)).status_code == 200


async def test_it_outweighs_a_manifest_that_is_written_later_too(
    app: Any, connect: Connect, organisation: Organisation, tmp_path: Path
) -> None:
    def write(**also: Any) -> None:
        line = {"key": "talk.vtt", "client": f"client_a@{organisation.slug}.example", "visibility": "coach_only"}
        line |= {"speakers": {"Speaker 1": f"client_a@{organisation.slug}.example"}} | also
        (tmp_path / "manifest.jsonl").write_text(json.dumps(line))

    (tmp_path / "talk.vtt").write_bytes(TALK)
    write()
    assert await ingest(app, organisation, str(tmp_path)) == "indexed"
    (found,) = (await connect("coach_a").get("/v1/ingestions")).json()["items"]
    url = f"/v1/ingestions/{found['id']}/speakers"
    client = str(organisation.client_a.user_id)
    assert await read(connect, url) == {"Speaker 1": (client, False), "Speaker 2": (None, False)}
    said = await connect("coach_a").patch(url, json={"speakers": {"Speaker 1": None, "Speaker 2": "client"}})
    assert said.status_code == 200, said.text
    write(title="The pager")
    assert await ingest(app, organisation, str(tmp_path)) == "indexed"
    assert await read(connect, url) == {"Speaker 1": (None, True), "Speaker 2": (client, True)}
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"key": "talk.vtt", "named": {"Speaker 1": None}}))
    assert await ingest(app, organisation, str(tmp_path)) == "failed"  # no manifest says what a person does


async def test_what_is_said_while_the_file_is_read_again_is_kept(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await add(connect, client=f"client_a@{organisation.slug}.example")
    source = flow_server.started[0]["parameters"]["source"]
    assert await ingest(app, organisation, source) == "indexed"
    embed = EMBEDDER.embed

    async def say_then_embed(texts: Any) -> Any:
        reply = await connect("coach_a").patch(url, json={"speakers": {"Speaker 2": "client"}})
        assert reply.status_code == 200, reply.text
        return await embed(texts)

    monkeypatch.setattr("pipelines.ingest.PIPELINE_VERSION", "later")
    monkeypatch.setattr(type(EMBEDDER), "embed", lambda _, texts: say_then_embed(texts))
    assert await ingest(app, organisation, source) == "indexed"
    monkeypatch.setattr(type(EMBEDDER), "embed", lambda _, texts: embed(texts))
    client = str(organisation.client_a.user_id)
    assert await read(connect, url) == {"Speaker 1": (None, False), "Speaker 2": (client, True)}
    assert await ingest(app, organisation, source) == "unchanged"
