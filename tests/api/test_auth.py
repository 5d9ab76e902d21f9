"""From the first sign-in to the last key, over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyotp
import pytest
from sqlalchemy import select

from api.app import create_app
from core.settings import ApiSettings, AuthSettings, Settings
from db.models import AuditLog
from db.session import tenant_session
from domain import auth
from domain.auth import set_password
from rag.answer import Assistant
from tests.api.conftest import Connect, Keys, serve
from tests.factories.codes import make_earlier_code
from tests.factories.identity_provider import AUDIENCE, IdentityProvider
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id

PASSWORD = "lantern crab violin moss"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REFUSAL_SECONDS", 0.0)


@pytest.fixture
async def body(organisation: Organisation) -> dict[str, str]:
    """What coach_a signs in with."""
    async with tenant_session(organisation.system) as session:
        await set_password(session, user_id=require_id(organisation.coach_a), password=PASSWORD)
    return {
        "organisation": organisation.slug, "email": f"coach_a@{organisation.slug}.example", "password": PASSWORD,
    }  # fmt: skip


async def sign_in(connect: Connect, body: dict[str, str]) -> httpx.AsyncClient:
    reply = await connect(None).post("/v1/auth/sign-in", json=body)
    assert reply.status_code == 200, reply.text
    return connect(reply.json()["token"])


async def test_a_session_calls_like_a_key_and_ends(connect: Connect, body: dict[str, str]) -> None:
    client = await sign_in(connect, body)
    assert (await client.get("/v1/clients")).status_code == 200
    assert (await client.get("/v1/models")).status_code == 200
    (listed,) = (await client.get("/v1/auth/sessions")).json()["items"]
    assert listed["is_this"]
    assert listed["role"] == "coach"
    assert "token" not in json.dumps(listed)
    assert (await client.post("/v1/auth/sign-out")).status_code == 204
    gone = await client.get("/v1/clients")
    assert (gone.status_code, gone.json()["code"]) == (401, "Unauthenticated")


async def test_refusals_are_problems_that_tell_nothing(connect: Connect, body: dict[str, str]) -> None:
    wrong: list[dict[str, str]] = [
        {"password": "wrong"}, {"email": "nobody@x.example"}, {"organisation": "nowhere"}, {"email": "\x00\x00\x00"},
    ]  # fmt: skip
    answers = []
    for change in wrong:
        reply = await connect(None).post("/v1/auth/sign-in", json=body | change)
        assert reply.status_code == (422 if "\x00" in change.get("email", "") else 401)
        if reply.status_code == 401:
            answers.append({name: value for name, value in reply.json().items() if name != "request_id"})
            assert "set-cookie" not in reply.headers
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["code"] == "SignInRefused"
    unusable = await connect(None).post("/v1/auth/sign-in", json=body | {"password": "Secret" * 1000})
    assert unusable.status_code == 422
    assert "Secret" not in unusable.text


@pytest.mark.parametrize("hostile", ["\ud800", "a\x00b", "x" * 2000, "'; DROP TABLE identity.users; --", "%s{}"])
async def test_hostile_words_are_never_a_defect(connect: Connect, body: dict[str, str], hostile: str) -> None:
    client = await sign_in(connect, body)
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        *(("POST", "/v1/auth/sign-in", body | {name: hostile}) for name in body),
        ("POST", "/v1/auth/second-factor", {"challenge": hostile, "code": "123456"}),
        ("POST", "/v1/auth/second-factor", {"challenge": "rgc_x", "code": hostile}),
        ("POST", "/v1/auth/password", {"old": hostile, "new": hostile}),
        ("POST", "/v1/auth/totp/confirm", {"code": hostile}),
        ("DELETE", "/v1/auth/totp", {"password": hostile, "code": hostile}),
        ("POST", "/v1/api-keys", {"name": hostile, "scopes": ["read"]}),
    ]
    for method, path, sent in bodies:
        reply = await client.request(
            method, path, content=json.dumps(sent), headers={"Content-Type": "application/json"}
        )
        assert reply.status_code < 500, (path, reply.text)
    listed = await client.get("/v1/auth/sessions", params={"cursor": hostile.encode("utf-8", "replace")})
    assert listed.status_code == 422
    bearer = connect(None)
    for token in ("rgs_" + hostile, hostile, "rg_" + hostile):
        header = {"Authorization": f"Bearer {token}".encode("utf-8", "replace").replace(b"\x00", b"")}
        assert (await bearer.get("/v1/clients", headers=header)).status_code == 401  # type: ignore[arg-type]  # bytes are headers too


async def test_second_factor_from_set_up_to_taking_off(connect: Connect, body: dict[str, str]) -> None:
    client = await sign_in(connect, body)
    elsewhere = await sign_in(connect, body)
    assert (await client.post("/v1/auth/totp", json={"password": "wrong"})).status_code == 403
    made = (await client.post("/v1/auth/totp", json={"password": PASSWORD})).json()
    app = pyotp.TOTP(made["secret"])
    assert f"secret={app.secret}&" in made["uri"]
    before = await make_earlier_code(app)
    confirmed = await client.post("/v1/auth/totp/confirm", json={"code": before})
    codes = confirmed.json()["codes"]
    assert len(codes) == 10
    assert (await elsewhere.get("/v1/clients")).status_code == 401
    first = (await connect(None).post("/v1/auth/sign-in", json=body)).json()
    assert first["second_factor_required"]
    assert first["token"] is None
    assert (await connect(first["challenge"]).get("/v1/clients")).status_code == 401
    step = {"challenge": first["challenge"], "code": app.now()}
    second = (await connect(None).post("/v1/auth/second-factor", json=step)).json()
    assert (await connect(second["token"]).get("/v1/clients")).status_code == 200
    again = await connect(None).post("/v1/auth/second-factor", json=step)
    assert (again.status_code, again.json()["code"]) == (401, "SecondFactorRefused")
    renewed = (await client.post("/v1/auth/recovery-codes", json={"code": codes[0]})).json()["codes"]
    assert not set(renewed) & set(codes)
    off = await client.request("DELETE", "/v1/auth/totp", json={"password": PASSWORD, "code": renewed[0]})
    assert off.status_code == 204
    assert not (await connect(None).post("/v1/auth/sign-in", json=body)).json()["second_factor_required"]


async def test_a_changed_password_ends_other_sessions(connect: Connect, body: dict[str, str]) -> None:
    here, there = await sign_in(connect, body), await sign_in(connect, body)
    weak = await here.post("/v1/auth/password", json={"old": PASSWORD, "new": "password1234"})
    assert (weak.status_code, weak.json()["code"]) == (422, "PasswordTooCommon")
    changed = await here.post("/v1/auth/password", json={"old": PASSWORD, "new": "quiet otter seven maps"})
    assert changed.status_code == 204
    assert [(await one.get("/v1/clients")).status_code for one in (here, there)] == [200, 401]
    assert (await connect(None).post("/v1/auth/sign-in", json=body)).status_code == 401
    await sign_in(connect, body | {"password": "quiet otter seven maps"})


async def test_sessions_are_listed_by_page_and_ended(connect: Connect, body: dict[str, str]) -> None:
    clients = [await sign_in(connect, body) for _ in range(3)]
    first = (await clients[0].get("/v1/auth/sessions", params={"limit": 2})).json()
    rest = (await clients[0].get("/v1/auth/sessions", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    listed = first["items"] + rest["items"]
    assert [one["is_this"] for one in listed] == [False, False, True]
    assert (await connect("coach_b").get("/v1/auth/sessions")).json()["items"] == []
    for person, status in (("coach_b", 404), ("admin", 404), ("coach_a", 204)):
        ended = await connect(person).delete(f"/v1/auth/sessions/{listed[0]['id']}")
        assert ended.status_code == status, person
    assert (await clients[0].delete(f"/v1/auth/sessions/{uuid4()}")).status_code == 404
    assert (await clients[0].delete("/v1/auth/sessions")).json() == {"ended": 1}
    assert [(await one.get("/v1/clients")).status_code for one in clients] == [200, 401, 401]


async def test_a_key_can_not_do_what_needs_a_person(connect: Connect) -> None:
    client = connect("coach_a")
    sent: list[tuple[str, str, dict[str, str]]] = [
        ("POST", "/v1/auth/password", {"old": "x", "new": "y"}), ("POST", "/v1/auth/totp", {"password": "x"}),
        ("POST", "/v1/auth/totp/confirm", {"code": "123456"}), ("POST", "/v1/auth/recovery-codes", {"code": "123456"}),
        ("DELETE", "/v1/auth/totp", {"password": "x", "code": "123456"}), ("POST", "/v1/auth/sign-out", {}),
    ]  # fmt: skip
    for method, path, body in sent:
        reply = await client.request(method, path, json=body)
        assert (reply.status_code, reply.json()["code"]) == (403, "SignInNeeded"), path


async def test_keys_are_made_listed_and_revoked_by_their_owner(connect: Connect, body: dict[str, str]) -> None:
    client = await sign_in(connect, body)
    made = await client.post("/v1/api-keys", json={"name": "nightly", "scopes": ["search", "read", "search"]})
    assert made.status_code == 201
    key = made.json()
    assert key["scopes"] == ["search", "read"]
    assert (await connect(key["key"]).get("/v1/clients")).status_code == 200
    assert (await connect(key["key"]).get("/v1/models")).status_code == 403
    listed = (await client.get("/v1/api-keys")).text
    assert "nightly" in listed
    assert key["key"] not in listed
    for person in ("coach_b", "admin"):
        assert (await connect(person).delete(f"/v1/api-keys/{key['id']}")).status_code == 404
        assert "nightly" not in (await connect(person).get("/v1/api-keys")).text
    assert (await client.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
    assert (await connect(key["key"]).get("/v1/clients")).status_code == 401


async def test_a_key_never_exceeds_its_maker(connect: Connect, body: dict[str, str]) -> None:
    client = await sign_in(connect, body)
    key = (await client.post("/v1/api-keys", json={"name": "k", "scopes": ["write"]})).json()["key"]
    for maker, scopes in ((client, ["admin"]), (connect(key), ["write", "read"])):
        refused = await maker.post("/v1/api-keys", json={"name": "more", "scopes": scopes})
        assert (refused.status_code, refused.json()["code"]) == (403, "ScopeExceeded")
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    unusable: list[dict[str, Any]] = [{"scopes": []}, {"scopes": ["everything"]}, {"expires_at": past}, {"name": ""}]
    for wrong in unusable:
        reply = await client.post("/v1/api-keys", json={"name": "k", "scopes": ["read"]} | wrong)
        assert reply.status_code == 422, wrong


async def test_an_administrators_session_may_administer(
    organisation: Organisation, connect: Connect, body: dict[str, str]
) -> None:
    async with tenant_session(organisation.system) as session:
        await set_password(session, user_id=require_id(organisation.admin), password=PASSWORD)
    admin = await sign_in(connect, body | {"email": f"admin@{organisation.slug}.example"})
    made = await admin.post("/v1/api-keys", json={"name": "ops", "scopes": ["admin"]})
    assert made.status_code == 201


async def test_the_audit_log_tells_of_the_request(
    organisation: Organisation, connect: Connect, body: dict[str, str]
) -> None:
    given, words = uuid4(), "Mozilla/5.0 " + "x" * 500 + "\x07"
    headers = {"X-Request-ID": str(given), "User-Agent": words}
    await connect(None).post("/v1/auth/sign-in", json=body, headers=headers)
    await connect(None).post("/v1/auth/sign-in", json=body | {"password": "wrong"}, headers={"X-Request-ID": "build-7"})
    async with tenant_session(organisation.compliance) as session:
        rows = {
            row.action: row
            for row in await session.scalars(select(AuditLog).where(AuditLog.action.startswith("user_login")))
        }
    done, failed = rows["user_login"], rows["user_login_failed"]
    assert (done.request_id, str(done.ip_address), done.actor_id) == (given, "127.0.0.1", organisation.coach_a.user_id)
    assert done.user_agent == words[:400]
    assert isinstance(failed.request_id, UUID)
    assert failed.request_id.version == 5
    assert (failed.entity_id, failed.severity) == (organisation.coach_a.user_id, "warning")


async def test_a_providers_token_calls_as_its_user(
    api_settings: Settings, organisation: Organisation, keys: Keys
) -> None:
    provider = IdentityProvider()
    with serve(provider.app()) as url:
        provider.url = url
        provider.add_key("first")
        settings = api_settings.model_copy(
            update={
                "auth": AuthSettings(issuer=url, audience=AUDIENCE),
                "api": ApiSettings(web=False, rate_limit_key=2),
            }
        )
        transport = httpx.ASGITransport(create_app(settings, Assistant(EMBEDDER)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            claims = provider.claims(organisation.slug, f"coach_a@{organisation.slug}.example")
            good = {"Authorization": f"Bearer {provider.sign(claims, 'first')}"}
            assert (await client.get("/v1/clients", headers=good)).status_code == 200
            refused = await client.post("/v1/auth/sign-out", headers=good)
            assert refused.json()["code"] == "SignInNeeded"
            assert (await client.get("/v1/clients", headers=good)).status_code == 429
            stranger = provider.sign(claims | {"email": "nobody@x.example"}, "first")
            bad = await client.get("/v1/clients", headers={"Authorization": f"Bearer {stranger}"})
            assert (bad.status_code, bad.json()["code"]) == (401, "Unauthenticated")
            key = {"Authorization": f"Bearer {keys['coach_a']}"}
            assert (await client.get("/v1/clients", headers=key)).status_code == 200
