"""People over HTTP: one's own account, and administration by administrators only."""

import httpx
import pytest

from db.session import tenant_session
from domain.identity import SCOPES, issue_api_key
from tests.api.conftest import Connect
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


@pytest.fixture
async def admin(organisation: Organisation, connect: Connect) -> httpx.AsyncClient:
    async with tenant_session(organisation.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(organisation.admin), name="admin", scopes=SCOPES)
    return connect(key)


async def test_me_is_whole_and_mine(connect: Connect, organisation: Organisation) -> None:
    coach = connect("coach_a")
    me = (await coach.get("/v1/me")).json()
    assert (me["id"], me["roles"], me["membership"]) == (str(organisation.coach_a.user_id), ["coach"], None)
    changed = await coach.patch(
        "/v1/me/profile",
        json={
            "bio": "I listen\x00.", "hourly_rate": "80.10", "skills": ["listening"], "location": {"country": "Kenya"},
            "certifications": [{"name": "ACC", "date": "2025-02-03"}],
        },
    )  # fmt: skip
    assert changed.status_code == 200, changed.text
    assert (changed.json()["bio"], changed.json()["hourly_rate"]) == ("I listen.", "80.10")
    assert (await coach.patch("/v1/me/profile", json={"bio": None})).json()["skills"] == ["listening"]
    settings = await coach.patch("/v1/me/settings", json={"timezone": "Europe/Berlin", "theme": "dark"})
    assert (settings.json()["theme"], settings.json()["language"]) == ("dark", "en")
    assert (
        await coach.patch("/v1/me", json={"full_name": " Amina Otieno ", "phone_number": "+254700000001"})
    ).is_success
    me = (await coach.get("/v1/me")).json()
    assert (me["full_name"], me["profile"]["display_name"]) == ("Amina Otieno", "Amina Otieno")
    path = f"/v1/users/{me['id']}/profile"
    assert (await connect("client_c").get(path)).json()["shown_phone"] is None
    await coach.patch("/v1/me/profile", json={"show_phone": True})
    assert (await connect("client_c").get(path)).json()["shown_phone"] == "+254700000001"
    await coach.patch("/v1/me/settings", json={"profile_visibility": "private"})
    assert (await connect("client_c").get(path)).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("profile", {"bio": "x" * 10_001}),
        ("profile", {"skills": ["x"] * 51}),
        ("profile", {"follower_count": 9}),
        ("profile", {"hourly_rate": -1}),
        ("profile", {"hourly_rate": "1.001"}),
        ("profile", {"profile_photo_url": "javascript:alert(1)"}),
        ("profile", {"location": {"timezone": "Mars/Olympus"}}),
        ("settings", {"timezone": "../../etc/passwd"}),
        ("settings", {"theme": "pink"}),
        ("settings", {"dashboard_layout": {str(i): 1 for i in range(51)}}),
        ("settings", {"language": None}),
    ],
)
async def test_bad_input_is_refused_in_one_sentence(connect: Connect, path: str, body: dict[str, object]) -> None:
    answer = await connect("client_a").patch(f"/v1/me/{path}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


async def test_consents_run_until_withdrawn(connect: Connect) -> None:
    client = connect("client_a")
    first = await client.post("/v1/me/consents", json={"purpose": "marketing", "version": "2026-01"})
    again = await client.post("/v1/me/consents", json={"purpose": "marketing", "version": "2026-01"})
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert (await client.delete("/v1/me/consents/marketing")).status_code == 204
    assert (await client.delete("/v1/me/consents/marketing")).status_code == 404
    assert (await client.get("/v1/me/consents", params={"running": True})).json()["items"] == []
    page = (await client.get("/v1/me/consents", params={"purpose": "marketing"})).json()["items"]
    assert [item["withdrawn_at"] is not None for item in page] == [True]


async def test_connections_are_listed_page_by_page(connect: Connect, organisation: Organisation) -> None:
    client = connect("client_a")
    for other in (organisation.coach_a, organisation.coach_b, organisation.admin):
        assert (await client.post(f"/v1/users/{other.user_id}/connection")).status_code == 204
    seen, cursor = [], None
    while True:
        page = (
            await client.get("/v1/me/connections", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [item["user_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(p.user_id) for p in (organisation.admin, organisation.coach_b, organisation.coach_a)]
    followers = (await connect("coach_a").get("/v1/me/connections", params={"direction": "followers"})).json()
    assert [item["user_id"] for item in followers["items"]] == [str(organisation.client_a.user_id)]
    assert (await client.delete(f"/v1/users/{organisation.admin.user_id}/connection")).status_code == 204
    assert (await client.post(f"/v1/users/{organisation.client_a.user_id}/connection")).status_code == 422


async def test_administrators_administer(
    admin: httpx.AsyncClient, connect: Connect, organisation: Organisation
) -> None:
    added = await admin.post("/v1/users", json={"email": "New@Org.example", "full_name": "Newcomer", "role": "client"})
    assert added.status_code == 201, added.text
    person = added.json()["id"]
    again = await admin.post("/v1/users", json={"email": "new@org.example", "full_name": "Twice"})
    assert again.status_code == 409
    found = await admin.get("/v1/users", params={"q": "newc", "role": "client", "status": "active"})
    assert [item["id"] for item in found.json()["items"]] == [person]
    assert (await admin.get("/v1/users", params={"q": "100%_"})).json()["items"] == []
    assert (await admin.get("/v1/users", params={"limit": 3})).json()["next_cursor"]

    grant = await admin.post(f"/v1/users/{person}/roles", json={"role": "coach"})
    assert (grant.status_code, grant.json()["granted_by"]) == (201, str(organisation.admin.user_id))
    assert (await admin.delete(f"/v1/users/{person}/roles/coach")).status_code == 204
    assert (await admin.delete(f"/v1/users/{person}/roles/coach")).status_code == 404
    held = (await admin.get(f"/v1/users/{person}/roles")).json()["items"]
    assert [(item["role_name"], item["revoked_at"] is None) for item in held] == [("coach", False), ("client", True)]
    own = organisation.admin.user_id
    for refused in (
        await admin.delete(f"/v1/users/{own}/roles/admin"),
        await admin.delete(f"/v1/users/{own}"),
        await admin.post(f"/v1/users/{own}/suspension"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "LastAdministrator")
    coach = organisation.coach_a.user_id
    assert (await connect("coach_a").get("/v1/me")).status_code == 200
    assert (await admin.post(f"/v1/users/{coach}/suspension")).status_code == 204
    assert (await connect("coach_a").get("/v1/me")).status_code == 401
    assert (await admin.delete(f"/v1/users/{coach}/suspension")).status_code == 204
    assert (await connect("coach_a").get("/v1/me")).status_code == 200
    assert (await admin.delete(f"/v1/users/{coach}")).status_code == 204
    assert (await connect("coach_a").get("/v1/me")).status_code == 401
    assert (await admin.post(f"/v1/users/{coach}/restore")).status_code == 204
    assert (await admin.post(f"/v1/users/{coach}/restore")).status_code == 409


async def test_nobody_else_administers(connect: Connect, organisation: Organisation, admin: httpx.AsyncClient) -> None:
    other = await found_organisation()
    async with tenant_session(organisation.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(organisation.coach_a), name="all", scopes=SCOPES)
    target = f"/v1/users/{organisation.client_a.user_id}"
    for caller in (connect(key), connect("client_a"), connect("executive")):
        for method, path, body in (
            ("GET", "/v1/users", None),
            ("POST", "/v1/users", {"email": "a@b.example", "full_name": "A"}),
            ("POST", f"{target}/roles", {"role": "admin"}),
            ("DELETE", f"{target}/roles/client", None),
            ("DELETE", target, None),
            ("POST", f"{target}/restore", None),
            ("POST", f"{target}/suspension", None),
        ):
            assert (await caller.request(method, path, json=body)).status_code == 403, (method, path)
    # Another organisation's people are not there.
    for path in (f"/v1/users/{other.coach_a.user_id}/profile", f"/v1/users/{other.coach_a.user_id}/roles"):
        assert (await admin.get(path)).status_code == 404
    assert (await admin.delete(f"/v1/users/{other.coach_a.user_id}")).status_code == 404
    assert (await connect("client_a").delete("/v1/me")).status_code == 403  # a key is no sign-in
