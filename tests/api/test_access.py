"""Who may call what: keys, scopes, tenants, roles."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from db.session import tenant_session
from domain.identity import issue_api_key, revoke_api_key
from tests.api.conftest import Connect, Keys, issue_keys
from tests.api.test_openapi import SIGN_IN
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id, store_document, store_session

TURNS = [("coach", "How was the week?"), ("client", "I will call the harbour master by Monday.")]
PUBLIC = {"/healthz", "/readyz", "/metrics", *SIGN_IN}


async def test_every_route_wants_a_key(app: Any, connect: Connect) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            if path in PUBLIC:
                continue
            url = path.replace("{model}", "sasha").replace("{session_id}", str(uuid4()))
            for name in ("transcript_id", "document_id", "object_id"):
                url = url.replace(f"{{{name}}}", str(uuid4()))
            for person in (None, "rg_wrong"):
                reply = await connect(person).request(method, url)
                assert reply.status_code == 401, (method, path)
                assert reply.headers["www-authenticate"] == "Bearer"
                assert reply.json()["code"] == "Unauthenticated"


async def test_revoked_and_expired_keys_are_refused(organisation: Organisation, connect: Connect) -> None:
    coach = require_id(organisation.coach_a)
    async with tenant_session(organisation.system) as session:
        row, revoked = await issue_api_key(session, user_id=coach, name="lost")
        _, expired = await issue_api_key(
            session, user_id=coach, name="old", expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )
    assert (await connect(revoked).get("/v1/models")).status_code == 200
    async with tenant_session(organisation.system) as session:
        await revoke_api_key(session, row.id)
    for key in (revoked, expired):
        assert (await connect(key).get("/v1/models")).status_code == 401


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("chat", "GET", "/v1/models"),
        ("chat", "GET", "/v1/chat/sessions"),
        ("search", "GET", "/v1/clients"),
        ("ingest", "GET", "/v1/ingestions"),
    ],
)
async def test_a_key_does_only_what_its_scopes_say(
    organisation: Organisation, connect: Connect, scope: str, method: str, path: str
) -> None:
    async with tenant_session(organisation.system) as session:
        coach = require_id(organisation.coach_a)
        _, able = await issue_api_key(session, user_id=coach, name="able", scopes=(scope,))
        others = tuple({"chat", "search", "ingest"} - {scope})
        _, unable = await issue_api_key(session, user_id=coach, name="unable", scopes=others)
    assert (await connect(able).request(method, path)).status_code == 200
    refused = await connect(unable).request(method, path)
    assert refused.status_code == 403
    assert scope in refused.json()["detail"]


async def test_ids_of_another_tenant_do_not_exist(organisation: Organisation, connect: Connect) -> None:
    transcript = await store_session(organisation, TURNS)
    document = await store_document(organisation, ["The harbour opens at nine."])
    created = await connect("coach_a").post("/v1/chat/sessions", json={})
    paths = [
        f"/v1/transcripts/{transcript.source_id}",
        f"/v1/documents/{document.source_id}",
        f"/v1/ingestions/{transcript.object_id}",
        f"/v1/chat/sessions/{created.json()['id']}",
        f"/v1/chat/sessions/{created.json()['id']}/messages",
    ]
    for path in paths:
        assert (await connect("coach_a").get(path)).status_code == 200, path
    foreign = (await issue_keys(await found_organisation()))["coach_a"]
    for path in paths:
        assert (await connect(foreign).get(path)).status_code == 404, path
        assert (await connect("client_c").get(path)).status_code == (200 if "documents" in path else 404), path
    asked = await connect(foreign).post(
        f"/v1/chat/sessions/{created.json()['id']}/messages", json={"content": "What was said?"}
    )
    assert asked.status_code == 404


async def test_roles_read_what_is_theirs(organisation: Organisation, connect: Connect) -> None:
    shared = await store_session(organisation, TURNS)
    private = await store_session(organisation, TURNS, visibility="coach_only")
    expected = {
        "coach_a": (200, 200), "client_a": (200, 404), "client_b": (404, 404), "coach_b": (404, 404),
        "admin": (404, 404), "executive": (404, 404), "compliance": (404, 404),
    }  # fmt: skip
    for person, statuses in expected.items():
        got = [
            (await connect(person).get(f"/v1/transcripts/{stored.source_id}")).status_code
            for stored in (shared, private)
        ]
        assert tuple(got) == statuses, person


async def test_clients_are_a_coachs_own(organisation: Organisation, connect: Connect, keys: Keys) -> None:
    await store_session(organisation, TURNS)
    names = {
        person: [item["full_name"] for item in (await connect(person).get("/v1/clients")).json()["items"]]
        for person in ("coach_a", "client_a", "admin", "executive")
    }
    assert names["coach_a"] == ["Amina Diallo", "Daniel Okafor"]
    assert names["client_a"] == ["Amina Diallo"]
    assert names["admin"] == ["Amina Diallo", "Amina Rahman", "Daniel Okafor"]
    assert names["executive"] == []
    first = (await connect("admin").get("/v1/clients", params={"limit": 2})).json()
    rest = (await connect("admin").get("/v1/clients", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["full_name"] for item in first["items"] + rest["items"]] == names["admin"]
    assert rest["next_cursor"] is None
    for name, found in (("okafor", ["Daniel Okafor"]), ("CLIENT_A@", ["Amina Diallo"]), ("_%", []), ("Rahman", [])):
        named = (await connect("coach_a").get("/v1/clients", params={"name": name})).json()
        assert [item["full_name"] for item in named["items"]] == found
    (diallo,) = [i for i in (await connect("coach_a").get("/v1/clients")).json()["items"] if i["sessions"]]
    assert diallo["sessions"] == 1
