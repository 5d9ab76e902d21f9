"""Events over HTTP: organised by those who may, joined by members, entered with a code."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from db.session import tenant_session
from domain.identity import issue_api_key
from tests.api.conftest import Connect, issue_keys
from tests.factories.people import Organisation, found_organisation

NEXT_WEEK = (datetime.now(UTC) + timedelta(days=7)).isoformat()
EVENT = {
    "title": "Listening in pairs", "slug": "listening-in-pairs", "event_date": NEXT_WEEK, "location_type": "virtual",
    "timezone": "Africa/Nairobi", "virtual_link": "https://meet.example/x", "meeting_password": "swordfish",
    "speakers": [{"name": "Guest"}], "capacity_limit": 1,
}  # fmt: skip


async def hold(coach: httpx.AsyncClient, **values: Any) -> str:
    made = await coach.post("/v1/events", json=EVENT | values)
    assert made.status_code == 201, made.text
    event_id: str = made.json()["id"]
    assert (await coach.post(f"/v1/events/{event_id}/steps/publish")).status_code == 200
    return event_id


async def test_from_draft_to_check_in(connect: Connect, organisation: Organisation) -> None:
    coach, client, other = connect("coach_a"), connect("client_a"), connect("client_b")
    draft = (await coach.post("/v1/events", json=EVENT)).json()
    path = f"/v1/events/{draft['id']}"
    assert "virtual_link" not in draft
    assert (await coach.post("/v1/events", json=EVENT)).json()["code"] == "SlugTaken"
    assert (await client.get(path)).status_code == 404
    assert (await client.post(f"{path}/registrations", json={})).json()["code"] == "RegistrationClosed"
    assert (await coach.patch(path, json={"title": "Listening", "co_organizers": []})).json()["title"] == "Listening"
    assert (await coach.post(f"{path}/steps/publish")).json()["status"] == "published"
    assert (await coach.post(f"{path}/steps/publish")).json()["code"] == "EventStepRefused"

    seen = (await client.get(path)).json()
    assert (seen["spots_remaining"], seen["access"], seen["registration"], seen["tickets"]) == (1, None, None, [])
    seat = (await client.post(f"{path}/registrations", json={"metadata": {"diet": "none"}})).json()
    again = (await client.post(f"{path}/registrations", json={})).json()
    assert (seat["status"], again["id"]) == ("registered", seat["id"])
    seen = (await client.get(path)).json()
    assert (seen["spots_remaining"], seen["access"]["meeting_password"]) == (0, "swordfish")
    assert seen["access"]["virtual_link"] == "https://meet.example/x"

    waiting = (await other.post(f"{path}/registrations", json={})).json()
    assert (waiting["status"], waiting["position"], waiting["ticket_code"]) == ("waitlisted", 1, None)
    assert (await other.get(path)).json()["access"] is None
    assert (await client.delete(f"{path}/registration")).json()["status"] == "cancelled"
    assert (await client.delete(f"{path}/registration")).json()["code"] == "RegistrationOver"
    assert (await client.get(path)).json()["access"] is None
    mine = (await other.get(f"{path}/registration")).json()
    assert (mine["status"], mine["position"]) == ("registered", None)

    listed = (await coach.get(f"{path}/registrations", params={"status": "registered"})).json()["items"]
    assert [row["user_id"] for row in listed] == [str(organisation.client_b.user_id)]
    entered = await coach.post(f"{path}/check-ins", json={"ticket_code": mine["ticket_code"].lower()})
    assert (entered.status_code, entered.json()["status"]) == (201, "attended")
    assert (await coach.post(f"{path}/check-ins", json={"ticket_code": mine["ticket_code"]})).status_code == 409
    assert (await coach.post(f"{path}/check-ins", json={"ticket_code": "EV-0000"})).status_code == 404
    assert (await coach.post(f"{path}/steps/complete")).json()["attendance_count"] == 1


async def test_tickets_and_payments(connect: Connect) -> None:
    coach, client = connect("coach_a"), connect("client_a")
    path = f"/v1/events/{await hold(coach)}"
    ticket = await coach.post(f"{path}/tickets", json={"name": "VIP", "price": "1500.00", "currency": "KES"})
    assert ticket.status_code == 201, ticket.text
    tier = f"{path}/tickets/{ticket.json()['id']}"
    assert (await client.post(f"{path}/registrations", json={})).json()["code"] == "TicketNeeded"
    held = (await client.post(f"{path}/registrations", json={"ticket_id": ticket.json()["id"]})).json()
    assert (held["status"], held["ticket_code"]) == ("pending_payment", None)
    assert held["transaction_id"]
    assert (await client.get(path)).json()["access"] is None  # not before it is paid
    assert (await coach.delete(tier)).json()["code"] == "TicketInUse"
    assert (await coach.patch(tier, json={"quantity_available": 0})).json()["code"] == "CapacityBelowSeats"
    assert (await coach.patch(tier, json={"is_active": False})).json()["quantity_sold"] == 1
    for bad in ({"price": "-1"}, {"price": "1.005"}, {"price": "1", "currency": "XXX"}, {"price": None}):
        answer = await coach.post(f"{path}/tickets", json={"name": "Bad", "currency": "KES", "price": "1"} | bad)
        assert answer.status_code == 422, answer.text
    off = await coach.post(f"{path}/cancellation", json={"reason": "storm"})
    assert (off.json()["status"], off.json()["registration_count"]) == ("cancelled", 0)
    assert (await client.get(f"{path}/registration")).json()["status"] == "cancelled"


async def test_approval(connect: Connect) -> None:
    coach, client = connect("coach_a"), connect("client_a")
    path = f"/v1/events/{await hold(coach, requires_approval=True)}"
    asked = (await client.post(f"{path}/registrations", json={})).json()
    assert asked["status"] == "pending_approval"
    own = f"{path}/registrations/{asked['id']}"
    assert (await client.post(f"{own}/approval")).status_code == 403
    assert (await coach.post(f"{own}/approval")).json()["status"] == "registered"
    assert (await coach.post(f"{own}/cancellation", json={"reason": "double"})).json()["status"] == "cancelled"


async def test_only_organisers_organise(connect: Connect, organisation: Organisation) -> None:
    coach = connect("coach_a")
    event_id = await hold(coach)
    other = await found_organisation()
    stranger = connect((await issue_keys(other))["admin"])
    for caller, expected in ((connect("coach_b"), 403), (connect("client_a"), 403), (stranger, 404)):
        for method, path, body in (
            ("PATCH", "", {"title": "Mine"}),
            ("POST", "/steps/start", None),
            ("POST", "/cancellation", {}),
            ("POST", "/tickets", {"name": "Free", "price": "0", "currency": "KES"}),
            ("GET", "/registrations", None),
            ("POST", "/check-ins", {"ticket_code": "EV-0000"}),
        ):
            answer = await caller.request(method, f"/v1/events/{event_id}{path}", json=body)
            assert answer.status_code == expected, (method, path, answer.text)
    assert (await connect("executive").get("/v1/events")).json()["items"] == []
    # A co-organiser may; who is none of the organisation can't be one.
    named = await coach.patch(f"/v1/events/{event_id}", json={"co_organizers": [str(organisation.coach_b.user_id)]})
    assert named.status_code == 200
    assert (await connect("coach_b").get(f"/v1/events/{event_id}/registrations")).status_code == 200
    named = await coach.patch(f"/v1/events/{event_id}", json={"co_organizers": [str(other.coach_a.user_id)]})
    assert named.json()["code"] == "OrganizerUnknown"


@pytest.mark.parametrize(
    "bad",
    [
        {"slug": "Not a slug"}, {"timezone": "Mars/Olympus"}, {"event_date": "2027-01-01T10:00:00"}, {"title": " "},
        {"virtual_link": "javascript:alert(1)"}, {"capacity_limit": -1}, {"registration_count": 3},
        {"speakers": [{"name": "x"}] * 51}, {"event_date": None},
    ],
)  # fmt: skip
async def test_bad_events_are_refused(connect: Connect, bad: dict[str, Any]) -> None:
    answer = await connect("coach_a").post("/v1/events", json=EVENT | bad)
    assert answer.status_code == 422, answer.text


async def test_events_are_listed_page_by_page(connect: Connect, organisation: Organisation) -> None:
    coach = connect("coach_a")
    made = [await hold(coach, slug=f"event-{n}", event_date=f"2030-01-0{n + 1}T10:00:00+03:00") for n in range(3)]
    seen, cursor = [], None
    while True:
        params: dict[str, Any] = {"limit": 2, "status": "published", "since": "2030-01-01T00:00:00Z"}
        if cursor is not None:
            params["cursor"] = cursor
        page = (await connect("client_a").get("/v1/events", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made
    async with tenant_session(organisation.system) as session:
        reader = organisation.coach_a.user_id
        assert reader is not None
        _, key = await issue_api_key(session, user_id=reader, name="reader", scopes=("read",))
    assert (await connect(key).post("/v1/events", json=EVENT)).status_code == 403
