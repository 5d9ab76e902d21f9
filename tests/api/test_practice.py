"""The practice over HTTP: from finding a coach to judging a session."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from db.session import tenant_session
from domain.identity import issue_api_key
from tests.api.conftest import Connect, Keys
from tests.factories.people import Organisation
from tests.factories.practice import at, give_hours, hold, make_past, next_day, set_rate
from tests.factories.sessions import require_id

MONDAY = next_day(0)


@pytest.fixture
async def keys(organisation: Organisation) -> Keys:
    """Keys that may also administer."""
    issued = {}
    async with tenant_session(organisation.system) as session:
        for name, person in organisation.people.items():
            _, issued[name] = await issue_api_key(
                session, user_id=require_id(person), name="test", scopes=("read", "write", "admin")
            )
    return issued


def read(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def test_from_finding_a_coach_to_judging_the_session(organisation: Organisation, connect: Connect) -> None:
    client, coach, admin = connect("client_a"), connect("coach_a"), connect("admin")
    coach_id = str(organisation.coach_a.user_id)
    hours = {"day_of_week": 1, "start_time": "09:00", "end_time": "12:00", "timezone": "Europe/Berlin",
             "effective_from": "2020-01-01", "slot_minutes": 60}  # fmt: skip
    made = read(await coach.post("/v1/availability", json=hours), 201)
    assert (
        read(await coach.patch(f"/v1/availability/{made['id']}", json={"buffer_minutes": 30}))["buffer_minutes"] == 30
    )
    await set_rate(organisation, organisation.coach_a, "90", "EUR")

    listed = read(await client.get("/v1/coaches", params={"price_until": "100"}))["items"]
    assert [found["user_id"] for found in listed] == [coach_id]
    window = {"from": at(MONDAY, 0).isoformat(), "until": at(MONDAY, 23).isoformat(), "zone": "Europe/Berlin"}
    slots = read(await client.get(f"/v1/coaches/{coach_id}/slots", params=window))["items"]
    assert [slot["starts_at"][11:16] for slot in slots] == ["09:00", "10:30"]

    body = {"coach_id": coach_id, "scheduled_at": slots[0]["starts_at"], "timezone": "Europe/Berlin", "topic": "Plans"}
    headers = {"Idempotency-Key": "first"}
    booked = read(await client.post("/v1/sessions", json=body, headers=headers), 201)
    assert read(await client.post("/v1/sessions", json=body, headers=headers), 201)["id"] == booked["id"]
    assert (booked["payment_amount"], booked["currency"], booked["payment_status"]) == ("90.00", "EUR", "pending")
    assert read(await client.post("/v1/sessions", json=body), 409)["code"] == "SlotTaken"
    path = f"/v1/sessions/{booked['id']}"
    moved = read(await client.post(f"{path}/reschedule", json={"scheduled_at": slots[1]["starts_at"]}))
    assert moved["scheduled_at"] != booked["scheduled_at"]
    assert read(await coach.post(f"{path}/confirm"))["status"] == "confirmed"
    assert read(await client.post(f"{path}/confirm"), 403)["code"] == "NotYourStep"
    meeting = {"platform": "zoom", "link": "https://meet.example/7", "meeting_id": "7", "password": "hush"}
    assert "hush" not in (await coach.put(f"{path}/meeting", json=meeting)).text
    assert read(await client.get(path))["meeting_password"] == "hush"
    assert read(await admin.get(path), 404)["code"] == "CoachingSessionNotFound"

    await make_past(organisation, booked["id"])
    assert read(await coach.post(f"{path}/start"))["status"] == "in_progress"
    done = {"coach_notes": "Keep going.", "action_items": [{"item": "Write", "due_date": "2030-05-01"}]}
    completed = read(await coach.post(f"{path}/complete", json=done))
    item = completed["action_items"][0]["id"]
    assert read(await client.patch(f"{path}/action-items/{item}", json={"status": "done"}))["action_items"][0] == {
        "id": item, "item": "Write", "due_date": "2030-05-01", "status": "done",
    }  # fmt: skip
    assert [note["content"] for note in read(await coach.get(f"{path}/notes"))["items"]] == ["Keep going."]
    assert read(await client.get(f"{path}/notes"))["items"] == []
    stay = {"user_id": str(organisation.client_a.user_id), "joined_at": "2026-01-01T09:00:00Z",
            "left_at": "2026-01-01T09:50:00Z"}  # fmt: skip
    assert read(await coach.post(f"{path}/attendance", json=stay))["minutes"] == 50
    assert len(read(await client.get(f"{path}/attendance"))["items"]) == 1

    said = {"rating": 5, "feedback_text": "It helped.", "improvements": ["Longer"], "is_public": True}
    read(await client.post(f"{path}/feedback", json=said), 201)
    assert read(await client.post(f"{path}/feedback", json=said), 409)["code"] == "FeedbackGiven"
    shown = read(await connect("client_c").get(f"/v1/coaches/{coach_id}/testimonials"))["items"]
    assert [(s["rating"], s["feedback_text"]) for s in shown] == [(5, "It helped.")]
    assert not {"client_id", "submitted_by", "improvements"} & shown[0].keys()
    assert read(await client.patch(f"{path}/feedback", json={"is_public": False}))["is_public"] is False
    assert read(await connect("client_c").get(f"/v1/coaches/{coach_id}/testimonials"))["items"] == []
    found = read(await client.get("/v1/coaches", params={"minimum_rating": "4.5"}))["items"]
    assert [(c["average_rating"], c["completed_session_count"]) for c in found] == [("5.00", 1)]


async def test_reviews_over_http(organisation: Organisation, connect: Connect) -> None:
    session_id = str(await hold(organisation))
    admin, coach = connect("admin"), connect("coach_a")
    rubric = {"name": "Basics", "criteria": [{"key": "listening", "label": "Listening", "max_score": 4}]}
    made = read(await admin.post("/v1/rubrics", json=rubric), 201)
    assert read(await coach.post("/v1/rubrics", json=rubric), 403)["code"] == "RoleMissing"
    body = {"session_id": session_id, "rubric_id": made["id"], "scores": {"listening": "3"}}
    review = read(await admin.post("/v1/qa-reviews", json=body), 201)
    assert review["total"] == "75.00"
    assert (
        read(await admin.patch(f"/v1/qa-reviews/{review['id']}", json={"scores": {"listening": "4"}}))["total"]
        == "100.00"
    )
    assert read(await coach.patch(f"/v1/qa-reviews/{review['id']}", json={"scores": {"listening": "4"}}), 404)
    assert read(await coach.post("/v1/qa-reviews", json=body), 403)["code"] == "ReviewRefused"
    assert read(await connect("coach_b").post("/v1/qa-reviews", json=body), 404)["code"] == "CoachingSessionNotFound"
    assert [r["id"] for r in read(await coach.get("/v1/qa-reviews"))["items"]] == [review["id"]]
    assert read(await connect("client_a").get("/v1/qa-reviews"), 403)
    assert read(await admin.post(f"/v1/rubrics/{made['id']}/retire"))["is_active"] is False


async def test_administrators_engage_people(organisation: Organisation, connect: Connect) -> None:
    admin = connect("admin")
    pair = {"coach_id": str(organisation.coach_b.user_id), "client_id": str(organisation.client_a.user_id)}
    made = read(await admin.post("/v1/engagements", json=pair), 201)
    assert read(await admin.post("/v1/engagements", json=pair), 409)["code"] == "EngagementOverlaps"
    assert read(await connect("coach_b").post("/v1/engagements", json=pair), 403)
    params = {"client": pair["client_id"], "running": "true"}
    assert len(read(await admin.get("/v1/engagements", params=params))["items"]) == 2
    assert len(read(await connect("coach_b").get("/v1/engagements", params=params))["items"]) == 1
    read(await admin.post(f"/v1/engagements/{made['id']}/end"), 204)
    assert read(await admin.post(f"/v1/engagements/{made['id']}/end"), 404)["code"] == "EngagementNotFound"
    assert len(read(await admin.get("/v1/engagements", params=params))["items"]) == 1
    stranger = pair | {"client_id": str(uuid4())}
    assert read(await admin.post("/v1/engagements", json=stranger), 404)["code"] == "PersonNotFound"
    selfish = pair | {"client_id": pair["coach_id"]}
    assert read(await admin.post("/v1/engagements", json=selfish), 422)["code"] == "EngagementUnusable"


async def test_lists_come_in_pages_and_filters(organisation: Organisation, connect: Connect) -> None:
    for _ in range(5):
        await hold(organisation)
    await hold(organisation, client=organisation.client_b)
    coach = connect("coach_a")
    seen: list[str] = []
    cursor = None
    while True:
        page = read(await coach.get("/v1/sessions", params={"limit": "2"} | ({"cursor": cursor} if cursor else {})))
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 6
    params = {"client": str(organisation.client_b.user_id), "status": ["completed", "cancelled"]}
    assert len(read(await coach.get("/v1/sessions", params=params))["items"]) == 1
    assert read(await coach.get("/v1/sessions", params={"status": "scheduled"}))["items"] == []
    assert read(await connect("client_c").get("/v1/sessions"))["items"] == []

    await give_hours(organisation, organisation.coach_a)
    slots: list[str] = []
    cursor = None
    path = f"/v1/coaches/{organisation.coach_a.user_id}/slots"
    window: dict[str, str] = {
        "from": at(MONDAY, 0).isoformat(), "until": at(MONDAY + timedelta(days=8), 0).isoformat(), "limit": "5",
    }  # fmt: skip
    while True:
        page = read(await connect("client_a").get(path, params=window | ({"cursor": cursor} if cursor else {})))
        slots += [item["starts_at"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(slots) == len(set(slots)) == 16
    assert slots == sorted(slots)


async def test_what_can_not_be_is_said_in_one_sentence(organisation: Organisation, connect: Connect) -> None:
    client, coach, admin = connect("client_a"), connect("coach_a"), connect("admin")
    coach_id = str(organisation.coach_a.user_id)
    soon = at(MONDAY, 9).isoformat()
    hours = {
        "day_of_week": 1,
        "start_time": "09:00",
        "end_time": "12:00",
        "timezone": "UTC",
        "effective_from": "2020-01-01",
    }
    block = {"blocked_from": soon, "blocked_until": soon}
    for caller, method, path, body, status in (
        (client, "POST", "/v1/sessions", {"scheduled_at": soon}, 422),
        (client, "POST", "/v1/sessions", {"coach_id": coach_id, "scheduled_at": "2030-01-01T09:00:00"}, 422),
        (client, "POST", "/v1/sessions", {"coach_id": coach_id, "scheduled_at": soon, "timezone": "Nowhere"}, 422),
        (client, "POST", "/v1/sessions", {"coach_id": str(uuid4()), "scheduled_at": soon}, 404),
        (client, "POST", "/v1/sessions", {"coach_id": coach_id, "scheduled_at": soon, "topic": "x" * 501}, 422),
        (client, "POST", f"/v1/sessions/{uuid4()}/cancel", {}, 404),
        (client, "POST", "/v1/availability", hours, 403),
        (admin, "POST", "/v1/availability", hours, 422),
        (coach, "POST", "/v1/availability", hours | {"end_time": "08:00"}, 422),
        (coach, "POST", "/v1/availability", hours | {"timezone": "../etc/passwd"}, 422),
        (coach, "POST", "/v1/availability", hours | {"coach_id": str(uuid4())}, 422),
        (coach, "POST", "/v1/blocked-times", block, 422),
        (coach, "DELETE", f"/v1/blocked-times/{uuid4()}", None, 404),
        (coach, "DELETE", f"/v1/availability/{uuid4()}", None, 404),
        (admin, "POST", "/v1/availability", hours | {"coach_id": str(uuid4())}, 404),
        (
            coach,
            "POST",
            "/v1/sessions",
            {"client_id": coach_id, "scheduled_at": soon, "session_type": "discovery_call"},
            422,
        ),
        (
            coach,
            "POST",
            "/v1/sessions",
            {"client_id": str(uuid4()), "scheduled_at": soon, "session_type": "discovery_call"},
            404,
        ),
        (client, "GET", f"/v1/coaches/{uuid4()}/slots", None, 404),
        (client, "GET", f"/v1/coaches/{coach_id}/slots?until=2099-01-01T00:00:00Z", None, 422),
        (client, "GET", "/v1/coaches?cursor=nonsense", None, 422),
    ):
        answer = await caller.request(method, path, json=body)
        assert answer.status_code == status, (method, path, body, answer.text)
        problem = answer.json()
        assert problem["detail"].endswith(".")
    made = read(await coach.post("/v1/blocked-times", json=block | {"blocked_until": at(MONDAY, 10).isoformat()}), 201)
    assert read(await client.get("/v1/blocked-times"), 403)
    assert read(await connect("coach_b").get("/v1/blocked-times"))["items"] == []
    read(await connect("coach_b").delete(f"/v1/blocked-times/{made['id']}"), 404)
    read(await coach.delete(f"/v1/blocked-times/{made['id']}"), 204)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(text("SELECT count(*) FROM coaching.coach_blocked_times")) == 0
