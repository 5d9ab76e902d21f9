"""Partners over HTTP: kept by administrators, read by those concerned."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from db.session import tenant_session
from domain.identity import SCOPES, issue_api_key
from tests.api.conftest import Connect
from tests.factories.commerce import offer_program
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

PARTNER = {"organization_name": "Ujima Trust", "slug": "ujima-trust", "partner_type": "ngo"}


@pytest.fixture
async def admin(organisation: Organisation, connect: Connect) -> httpx.AsyncClient:
    async with tenant_session(organisation.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(organisation.admin), name="admin", scopes=SCOPES)
    return connect(key)


async def test_from_partner_to_enrolled_members(
    admin: httpx.AsyncClient, connect: Connect, organisation: Organisation
) -> None:
    made = await admin.post(
        "/v1/partners",
        json=PARTNER | {
            "contact_phone": "+254700000001", "primary_contact_user_id": str(organisation.coach_b.user_id),
            "headquarters_location": {"city": "Nairobi"}, "brand_colors": {"primary": "#102030"},
            "partnership_start_date": "2026-01-01",
        },
    )  # fmt: skip
    assert made.status_code == 201, made.text
    path = f"/v1/partners/{made.json()['id']}"
    assert (await admin.post("/v1/partners", json=PARTNER)).json()["code"] == "SlugTaken"
    assert (await admin.get(path)).json()["phone"] == "+254700000001"
    assert (await connect("client_a").get(path)).json()["phone"] is None
    assert (await admin.patch(path, json={"partnership_end_date": "2025-01-01"})).json()["code"] == "DatesReversed"
    assert (await admin.patch(path, json={"description": "Together."})).json()["slug"] == "ujima-trust"

    program = str(await offer_program(organisation, None))
    cohort = await admin.post(
        f"{path}/cohorts",
        json={"cohort_name": "Spring", "start_date": "2026-03-01", "program_id": program, "max_participants": 2},
    )
    assert cohort.status_code == 201, cohort.text
    group = f"/v1/cohorts/{cohort.json()['id']}"
    email, other = f"client_a@{organisation.slug}.example", str(organisation.client_b.user_id)
    added = await admin.post(
        f"{group}/members", json={"members": [{"email": email, "department": "Care"}, {"user_id": other}]}
    )
    assert (added.status_code, len(added.json()["added"])) == (201, 2)
    third = {"members": [{"user_id": str(organisation.client_c.user_id)}]}
    assert (await admin.post(f"{group}/members", json=third)).json()["code"] == "CohortFull"
    assert (await admin.post(f"{group}/enrollments")).json() == {"enrolled": 2}
    assert (await admin.post(f"{group}/enrollments")).json() == {"enrolled": 0}
    seen = (await connect("coach_b").get(f"{group}/members", params={"status": "active"})).json()["items"]
    assert {row["department"] for row in seen} == {"Care", None}
    assert len((await connect("client_a").get(f"{group}/members")).json()["items"]) == 1
    assert (await connect("client_c").get(f"{path}/cohorts")).json()["items"] == []
    out = await admin.patch(f"{group}/members/{other}", json={"status": "dropped"})
    assert out.json()["status"] == "dropped"
    assert (await admin.patch(group, json={"status": "completed"})).json()["enrolled_count"] == 1
    assert (await admin.post(f"{group}/members", json=third)).json()["code"] == "CohortClosed"
    partner = (await admin.get(path)).json()
    assert (partner["total_participants"], partner["active_participants"]) == (2, 1)

    assert (await admin.delete(path)).status_code == 204
    assert (await connect("client_a").get(path)).status_code == 404
    assert [row["id"] for row in (await admin.get("/v1/partners", params={"deleted": True})).json()["items"]] == [
        partner["id"]
    ]
    assert (await admin.post(f"{path}/restore")).json()["deleted_at"] is None
    assert len((await connect("client_a").get("/v1/partners", params={"partner_type": "ngo"})).json()["items"]) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"slug": "No slug"}, {"organization_name": "  "}, {"contact_phone": "0700"}, {"website_url": "ftp://x.example"},
        {"brand_colors": {"primary": "red"}}, {"total_participants": 5}, {"operating_regions": ["x"] * 101},
        {"partnership_start_date": "2026-02-01", "partnership_end_date": "2026-01-01"}, {"partner_type": "friend"},
    ],
)  # fmt: skip
async def test_bad_partners_are_refused(admin: httpx.AsyncClient, bad: dict[str, Any]) -> None:
    answer = await admin.post("/v1/partners", json=PARTNER | bad)
    assert answer.status_code == 422, answer.text


async def test_only_administrators_write(
    admin: httpx.AsyncClient, connect: Connect, organisation: Organisation
) -> None:
    made = (await admin.post("/v1/partners", json=PARTNER)).json()["id"]
    async with tenant_session(organisation.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(organisation.coach_a), name="all", scopes=SCOPES)
    for method, path in (
        ("POST", "/v1/partners"), ("PATCH", f"/v1/partners/{made}"), ("DELETE", f"/v1/partners/{made}"),
        ("POST", f"/v1/partners/{made}/cohorts"), ("POST", f"/v1/cohorts/{uuid4()}/members"),
    ):  # fmt: skip
        for caller in (connect(key), connect("client_a")):
            assert (await caller.request(method, path, json={})).status_code == 403
    other = await found_organisation()
    async with tenant_session(other.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(other.admin), name="admin", scopes=SCOPES)
    stranger = connect(key)
    assert (await stranger.get(f"/v1/partners/{made}")).status_code == 404
    assert (await stranger.patch(f"/v1/partners/{made}", json={"description": "x"})).status_code == 404
    both = {"members": [{"user_id": str(uuid4()), "email": "a@b.example"}]}
    assert (await admin.post(f"/v1/cohorts/{uuid4()}/members", json=both)).status_code == 422
    assert (await admin.post(f"/v1/cohorts/{uuid4()}/members", json={"members": []})).status_code == 422
