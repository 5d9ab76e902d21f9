"""Who reads a source, decided over HTTP: by whom, with what becomes stale, at once, and kept by later ingestions."""

from typing import Any
from uuid import uuid4

import pytest

from api.app import create_app
from core.settings import Settings
from pipelines.ingest import ingest_source
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer
from tests.api.test_ingestion import upload
from tests.factories.evidence_world import build_world
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, store_document, store_session


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


async def test_what_stands_on_a_source_is_counted_then_stale_and_its_client_reads_it_no_more(
    connect: Connect, organisation: Organisation
) -> None:
    world = await build_world(organisation)
    first = world.sessions[0]
    url, mail = f"/v1/ingestions/{first.object_id}/readers", f"client_a@{organisation.slug}.example"
    shown = (await connect("coach_a").get(url)).json()
    assert shown["visibility"] == "client_visible"
    assert shown["may_change"] is True
    assert shown["standing"] == {"claims": 2, "patterns": 1, "insights": 1, "packs": 1}
    assert (await connect("client_a").get(f"/v1/transcripts/{first.source_id}")).status_code == 200
    changed = await connect("coach_a").put(url, json={"visibility": "coach_only", "client": mail})
    assert changed.status_code == 200, changed.text
    assert changed.json()["standing"] == shown["standing"]
    assert (await connect("coach_a").get(url)).json()["standing"] == dict.fromkeys(shown["standing"], 0)
    assert (await connect("client_a").get(f"/v1/transcripts/{first.source_id}")).status_code == 404
    assert (await connect("coach_a").get(f"/v1/transcripts/{first.source_id}")).status_code == 200


async def test_only_who_may_decide_decides_and_nothing_becomes_nobodys(
    connect: Connect, organisation: Organisation
) -> None:
    def mail(name: str) -> str:
        return f"{name}@{organisation.slug}.example"

    async def put(person: str, where: Any, visibility: str = "coach_only", **about: str) -> tuple[int, str | None]:
        url = f"/v1/ingestions/{where.object_id}/readers"
        reply = await connect(person).put(url, json={"visibility": visibility, **about})
        return reply.status_code, reply.json().get("code")

    talk = await store_session(organisation, [("coach", "How was the week?"), ("client", "Long.")])
    guide = await store_document(organisation, ["Everyone reads this guide."])
    own = await store_document(organisation, ["My plan."], coach=organisation.coach_a, visibility="coach_only")
    assert await put("coach_b", talk, client=mail("client_a")) == (404, "SourceNotFound")
    assert await put("client_a", talk) == (403, "RoleMissing")
    assert await put("compliance", talk) == (403, "RoleMissing")
    assert await put("admin", talk) == (404, "SourceNotFound")
    assert await put("coach_a", talk, client=mail("client_b")) == (409, "ClientFixed")
    assert await put("coach_a", talk) == (409, "ClientFixed")
    assert await put("coach_a", guide) == (403, "ReadersNotYours")
    assert await put("coach_a", own, "admin_aggregate") == (403, "ReadersNotYours")
    assert await put("coach_a", own, client=mail("client_c")) == (422, "PersonUnknown")
    assert await put("coach_a", own, coach=mail("coach_b")) == (422, "PersonUnknown")
    assert await put("coach_a", own, "system_internal") == (422, "UnusableRequest")
    assert await put("admin", guide, "admin_aggregate", client=mail("client_a")) == (422, "ReadersUnusable")
    url = f"/v1/documents/{own.source_id}"
    assert (await put("coach_a", own, "client_visible", client=mail("client_b")))[0] == 200
    assert [(await connect(one).get(url)).status_code for one in ("client_b", "coach_b", "client_a")] == [200, 200, 404]
    assert await put("coach_b", own) == (403, "ReadersNotYours")
    assert (await put("coach_a", own))[0] == 200  # about nobody now, so its coach's alone
    assert [(await connect(one).get(url)).status_code for one in ("client_b", "coach_b", "coach_a")] == [404, 404, 200]
    assert (await put("admin", guide, "admin_aggregate"))[0] == 200
    assert (await connect("coach_a").get(f"/v1/documents/{guide.source_id}")).status_code == 404
    assert (await connect("admin").get(f"/v1/ingestions/{uuid4()}/readers")).status_code == 404


async def test_later_ingestions_keep_to_the_decision(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = f"client_a@{organisation.slug}.example"
    sent = (await upload(connect, "coach_a", client=mail, visibility="client_visible")).json()
    source = flow_server.started[0]["parameters"]["source"]

    async def ingest() -> str:
        report = await ingest_source(organisation.tenant_id, source, embedder=EMBEDDER, settings=app.state.settings)
        return report.outcomes[0].outcome

    async def is_found(person: str) -> bool:
        reply = await connect(person).post("/v1/search", json={"query": "pager Tobias"})
        return bool(reply.json()["items"])

    assert await ingest() == "indexed"
    assert await is_found("client_a")
    url = f"/v1/ingestions/{sent['id']}/readers"
    await connect("coach_a").put(url, json={"visibility": "coach_only", "client": mail})
    assert not await is_found("client_a")
    assert await ingest() == "unchanged"
    monkeypatch.setattr(
        "pipelines.ingest.PIPELINE_VERSION", "later"
    )  # all is indexed anew, its manifest says as before
    assert await ingest() == "indexed"
    assert not await is_found("client_a")
    assert await is_found("coach_a")
    assert (await connect("coach_a").get(url)).json()["visibility"] == "coach_only"


async def test_a_decision_made_while_the_file_is_read_is_kept(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = f"client_a@{organisation.slug}.example"
    sent = (await upload(connect, "coach_a", client=mail, visibility="client_visible")).json()
    embed = EMBEDDER.embed

    async def decide_then_embed(texts: Any) -> Any:
        url = f"/v1/ingestions/{sent['id']}/readers"
        reply = await connect("coach_a").put(url, json={"visibility": "coach_only", "client": mail})
        assert reply.status_code == 200, reply.text
        return await embed(texts)

    monkeypatch.setattr(type(EMBEDDER), "embed", lambda _, texts: decide_then_embed(texts))
    await ingest_source(
        organisation.tenant_id, flow_server.started[0]["parameters"]["source"], embedder=EMBEDDER,
        settings=app.state.settings,
    )  # fmt: skip
    monkeypatch.undo()
    assert (await connect("client_a").get(f"/v1/ingestions/{sent['id']}")).status_code == 404
    assert (await connect("coach_a").get(f"/v1/ingestions/{sent['id']}")).json()["visibility"] == "coach_only"
