"""Copies of data over HTTP: who may ask, what a link opens and until when, and the proof of what was erased."""

import asyncio
import base64
import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select, update

from api.app import create_app
from core.settings import Settings
from db.models import AuditLog, DataExport, Tenant
from db.session import tenant_session
from domain import people, roles
from domain.objects import tenant_store
from domain.reading import link_tenant
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.export import expire_exports, make_export
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer
from tests.factories.erasure import verify_request
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER, require_id, store_session

EXPORTS, RECEIPTS = "/v1/privacy/exports", "/v1/privacy/receipts"
TURNS = [("coach", "How was the week?"), ("client", "I handed over the pager.")]


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


async def make(connect: Connect, app: Any, organisation: Organisation, person: str = "client_a", **body: Any) -> str:
    """Ask over HTTP, and do what the flow would."""
    reply = await connect(person).post(EXPORTS, json=body)
    assert reply.status_code == 202, reply.text
    export_id: str = reply.json()["id"]
    await make_export(organisation.tenant_id, UUID(export_id), settings=app.state.settings)
    return export_id


async def link(connect: Connect, export_id: str, person: str = "client_a") -> str:
    reply = await connect(person).post(f"{EXPORTS}/{export_id}/link")
    assert reply.status_code == 200, reply.text
    url: str = reply.json()["url"]
    return url


async def fetch(connect: Connect, url: str) -> httpx.Response:
    """Follow the link as a browser does, without any key."""
    parts = urlsplit(url)
    return await connect(None).get(f"{parts.path}?{parts.query}")


async def change(organisation: Organisation, export_id: str, **values: Any) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(update(DataExport).where(DataExport.id == UUID(export_id)).values(**values))


async def test_person_asks_waits_and_fetches(
    app: Any, connect: Connect, organisation: Organisation, flow_server: FlowServer
) -> None:
    await store_session(organisation, TURNS)
    asked = (await connect("client_a").post(EXPORTS, json={})).json()
    assert (asked["status"], asked["user_id"]) == ("requested", str(organisation.client_a.user_id))
    (run,) = flow_server.started
    assert run["parameters"] == {"tenant_id": str(organisation.tenant_id), "export_id": asked["id"]}
    again = await connect("client_a").post(EXPORTS, json={})
    assert again.json()["id"] == asked["id"]
    assert len({one["idempotency_key"] for one in flow_server.started}) == 1
    problem = await connect("client_a").post(f"{EXPORTS}/{asked['id']}/link")
    assert (problem.status_code, problem.json()["code"]) == (409, "ExportNotReady")
    await make_export(organisation.tenant_id, UUID(asked["id"]), settings=app.state.settings)
    shown = (await connect("client_a").get(f"{EXPORTS}/{asked['id']}")).json()
    assert shown["status"] == "ready"
    assert shown["counts"]["tables"]["rag.transcript_segments"] == 2
    reply = await fetch(connect, await link(connect, asked["id"]))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/zip"
    assert reply.headers["content-disposition"].startswith('attachment; filename="your-data-')
    assert reply.headers["cache-control"] == "no-store"
    assert int(reply.headers["content-length"]) == len(reply.content) == shown["size_bytes"]
    zipped = zipfile.ZipFile(io.BytesIO(reply.content))
    assert b"I handed over the pager." in zipped.read("data/rag.transcript_segments.jsonl")
    # what lies in the store is not what was fetched
    settings: Settings = app.state.settings
    stored = [file.read_bytes() for file in _files(settings) if file.suffix == ".zip"]
    assert stored
    assert all(not content.startswith(b"PK") for content in stored)
    await link_tenant(organisation.tenant_id)  # who fetched what is linked into the log soon after
    async with tenant_session(organisation.compliance) as session:
        acts = list(
            await session.scalars(
                select(AuditLog.action).where(AuditLog.entity_id == UUID(asked["id"])).order_by(AuditLog.sequence)
            )
        )
    assert acts[0] == "data_export_requested"
    assert acts[-2:] == ["data_export_link_made", "export_read"]


def _files(settings: Settings) -> list[Any]:
    from pathlib import Path

    return [file for file in Path(urlsplit(settings.storage_url).path).rglob("*") if file.is_file()]


async def test_who_may_ask_and_see(app: Any, connect: Connect, organisation: Organisation) -> None:
    other = str(organisation.client_b.user_id)
    for person in ("client_a", "coach_b", "admin", "executive"):
        reply = await connect(person).post(EXPORTS, json={"user_id": other})
        assert reply.status_code in (403, 404), (person, reply.text)
    stranger = await found_organisation()
    for unknown in (str(uuid4()), str(stranger.client_a.user_id)):
        assert (await connect("compliance").post(EXPORTS, json={"user_id": unknown})).status_code == 404
    for wrong in ({"user_id": "me"}, {"person": other}):
        assert (await connect("compliance").post(EXPORTS, json=wrong)).status_code == 422
    export_id = await make(connect, app, organisation, "compliance", user_id=other)
    for person in ("client_a", "coach_b", "admin"):
        assert (await connect(person).get(f"{EXPORTS}/{export_id}")).status_code == 404
        assert (await connect(person).post(f"{EXPORTS}/{export_id}/link")).status_code == 404
        assert (await connect(person).get(EXPORTS)).json()["items"] == []
    for person in ("client_b", "compliance"):
        assert [one["id"] for one in (await connect(person).get(EXPORTS)).json()["items"]] == [export_id]
        assert (await fetch(connect, await link(connect, export_id, person))).status_code == 200
    assert (await connect("compliance").get(EXPORTS, params={"status": "failed"})).json()["items"] == []
    assert (await connect(None).post(EXPORTS, json={})).status_code == 401


async def test_forged_links_open_nothing(app: Any, connect: Connect, organisation: Organisation) -> None:
    mine, other = await make(connect, app, organisation), await make(connect, app, organisation, "client_b")
    url = await link(connect, mine)
    token = parse_qs(urlsplit(url).query)["token"][0]
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))

    def write(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    stranger = await found_organisation()
    tokens = {
        "empty": "", "short": "AA", "no base64": "%00..", "long": "A" * 1_000, "cut": token[:-4],
        "altered": write(raw[:-1] + bytes([raw[-1] ^ 1])), "other tenant": write(stranger.tenant_id.bytes + raw[16:]),
        "no tenant": write(uuid4().bytes + raw[16:]), "no seal": write(raw[:16]), "zeroes": write(bytes(80)),
    }  # fmt: skip
    for name, forged in tokens.items():
        reply = await connect(None).get(f"{EXPORTS}/{mine}/download", params={"token": forged})
        assert (reply.status_code, reply.json()["code"]) == (403, "LinkRefused"), name
    for export_id in (other, str(uuid4())):
        reply = await connect(None).get(f"{EXPORTS}/{export_id}/download", params={"token": token})
        assert (reply.status_code, reply.json()["code"]) == (403, "LinkRefused")
    assert (await connect(None).get(f"{EXPORTS}/{mine}/download")).status_code == 422
    assert (
        await connect("client_a").get(f"{EXPORTS}/{mine}/download", params={"token": "x" * 1_001})
    ).status_code == 422
    assert (await fetch(connect, url)).status_code == 200


async def refused(connect: Connect, url: str) -> bool:
    reply = await fetch(connect, url)
    return reply.status_code == 403 and reply.json()["code"] == "LinkRefused"


async def test_links_expire(
    app: Any, connect: Connect, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = await make(connect, app, organisation)
    made = (await connect("client_a").post(f"{EXPORTS}/{export_id}/link")).json()
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    monkeypatch.setattr("domain.exports.LINK_LASTS", timedelta(seconds=0.3))
    short = await link(connect, export_id)
    await asyncio.sleep(0.4)
    assert await refused(connect, short)
    assert not await refused(connect, made["url"])
    # the copy's own end comes first
    await change(organisation, export_id, expires_at=func.now() + timedelta(minutes=1))
    monkeypatch.undo()
    last = (await connect("client_a").post(f"{EXPORTS}/{export_id}/link")).json()
    assert datetime.fromisoformat(last["expires_at"]) <= datetime.now(UTC) + timedelta(minutes=1)
    await change(organisation, export_id, expires_at=func.now() - timedelta(seconds=1))
    assert await refused(connect, made["url"])
    await expire_exports(organisation.tenant_id, settings=app.state.settings)
    assert await refused(connect, made["url"])
    assert (await connect("client_a").post(f"{EXPORTS}/{export_id}/link")).status_code == 409


async def test_links_end_with_the_right_to_them(app: Any, connect: Connect, organisation: Organisation) -> None:
    export_id = await make(connect, app, organisation)
    officer, person = await link(connect, export_id, "compliance"), await link(connect, export_id)
    async with tenant_session(organisation.system) as session:
        await roles.grant_role(session, user_id=require_id(organisation.compliance), role="client", granted_by=None)
        await roles.revoke_role(session, user_id=require_id(organisation.compliance), role="compliance")
    assert await refused(connect, officer)
    async with tenant_session(organisation.system) as session:
        await people.suspend_person(session, user_id=require_id(organisation.client_a))
    assert await refused(connect, person)
    async with tenant_session(organisation.system) as session:
        await people.reinstate_person(session, user_id=require_id(organisation.client_a))
    assert not await refused(connect, person)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Tenant).values(status="suspended"))
    assert await refused(connect, person)


async def test_lost_objects_are_said_before_anything_is_sent(
    app: Any, connect: Connect, organisation: Organisation
) -> None:
    export_id = await make(connect, app, organisation)
    url = await link(connect, export_id)
    store = await tenant_store(organisation.tenant_id, app.state.settings)
    await store.purge(f"tenants/{organisation.tenant_id}/exports/{export_id}.zip")
    assert await refused(connect, url)


async def test_erasure_ends_copies_and_leaves_a_receipt(app: Any, connect: Connect, organisation: Organisation) -> None:
    await store_session(organisation, TURNS)
    settings: Settings = app.state.settings
    export_id = await make(connect, app, organisation)
    person, officer = await link(connect, export_id), await link(connect, export_id, "compliance")
    request = await verify_request(organisation, "person", require_id(organisation.client_a))
    await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER, settings=settings)
    assert await refused(connect, person)
    assert await refused(connect, officer)
    assert not [file for file in _files(settings) if file.suffix == ".zip"]
    (listed,) = (await connect("compliance").get(RECEIPTS)).json()["items"]
    assert (listed["request_id"], listed["subject_kind"]) == (str(request), "person")
    document = (await connect("compliance").get(f"{RECEIPTS}/{listed['id']}")).json()
    assert document == (await connect("compliance").get(f"{RECEIPTS}/{request}")).json()
    assert document["signature"]
    assert document["stores"]["rag.transcript_segments"]["items"] == 2
    found = (await connect("compliance").post(f"{RECEIPTS}/{listed['id']}/verify")).json()
    assert (found["holds"], found["is_signed"], found["is_ours"]) == (True, True, True)
    assert found["left"]["rag.transcript_segments"] == 0
    assert set(found["left"].values()) == {0}
    assert (await connect("compliance").get(RECEIPTS, params={"subject_kind": "tenant"})).json()["items"] == []
    for person in ("client_b", "admin", "coach_a"):
        for reply in (
            await connect(person).get(RECEIPTS), await connect(person).get(f"{RECEIPTS}/{request}"),
            await connect(person).post(f"{RECEIPTS}/{request}/verify"),
        ):  # fmt: skip
            assert reply.status_code == 403
    for path in (f"{RECEIPTS}/{uuid4()}",):
        assert (await connect("compliance").get(path)).status_code == 404
        assert (await connect("compliance").post(f"{path}/verify")).status_code == 404
