"""Insights and feedback over HTTP."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import Connect
from tests.factories.evidence import store_claim, store_insight, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import require_id, store_session

MARCH, APRIL = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4))
Told = dict[str, str]


@pytest.fixture
async def told(organisation: Organisation, keys: dict[str, str]) -> Told:
    march = await store_session(organisation, [("client", "I'll call Bea.")], held_at=MARCH)
    april = await store_session(organisation, [("client", "I called Bea.")], held_at=APRIL)
    secrets = await store_session(organisation, [("client", "Bea left.")], held_at=APRIL, visibility="coach_only")
    claims = [
        await store_claim(organisation, march, "I'll call Bea."),
        await store_claim(organisation, april, "I called Bea."),
    ]
    secret = await store_claim(organisation, secrets, "Bea left.", claim_type="obstacle")
    pattern = await store_pattern(organisation, claims)
    made = {
        "claim": claims[0], "secret": secret, "pattern": pattern, "client": require_id(organisation.client_a),
        "open": await store_insight(organisation, patterns=[pattern]),
        "private": await store_insight(organisation, claims=[secret], title="Bea"),
    }  # fmt: skip
    return {name: str(key) for name, key in made.items()}


async def call(connect: Connect, person: str, method: str, path: str, expected: int, /, **body: Any) -> Any:
    reply = await connect(person).request(method, f"/v1{path}", json=body or None)
    assert reply.status_code == expected, (person, method, path, reply.text)
    return reply.json() if reply.content else None


async def test_draft_goes_to_the_client_through_the_coach(connect: Connect, told: Told) -> None:
    path = f"/insights/{told['open']}"
    await call(connect, "client_a", "GET", path, 404)
    await call(connect, "client_a", "POST", f"{path}/accept", 403, share=True)
    edited = await call(connect, "coach_a", "PATCH", path, 200, title="Bea was called")
    assert (edited["title"], edited["body"], edited["status"]) == ("Bea was called", "It comes back. Ask why.", "draft")
    accepted = await call(connect, "coach_a", "POST", f"{path}/accept", 200, reason="She did.")
    assert (accepted["status"], accepted["visibility"]) == ("accepted", "client_visible")
    assert accepted["updated_at"] > edited["created_at"]
    seen = await call(connect, "client_a", "GET", path, 200)
    assert [one["id"] for one in seen["patterns"]] == [told["pattern"]]
    assert {quote["exact"] for one in seen["claims"] for quote in one["quotes"]} == {"I'll call Bea.", "I called Bea."}
    listed = await call(connect, "client_a", "GET", "/insights", 200)
    assert [one["id"] for one in listed["items"]] == [told["open"]]
    history = await call(connect, "coach_a", "GET", f"{path}/reviews?limit=1", 200)
    older = await call(connect, "coach_a", "GET", f"{path}/reviews?cursor={history['next_cursor']}", 200)
    assert [one["verdict"] for one in (*history["items"], *older["items"])] == ["accepted", "edited"]
    assert older["items"][0]["title_before"] == "The rota"
    assert (await call(connect, "client_a", "GET", f"{path}/reviews", 200))["items"] == []
    problem = await call(connect, "coach_a", "POST", f"{path}/reject", 409, reason="Too late.")
    assert problem["code"] == "InsightDecided"


async def test_private_words_are_a_conflict_that_names_them(connect: Connect, told: Told) -> None:
    problem = await call(connect, "coach_a", "POST", f"/insights/{told['private']}/accept", 409, share=True)
    assert problem["code"] == "InsightNotShareable"
    assert "Session of 2026-04-12" in problem["detail"]
    kept = await call(connect, "coach_a", "POST", f"/insights/{told['private']}/accept", 200)
    assert (kept["status"], kept["visibility"]) == ("accepted", "coach_only")


async def test_lists_narrow_to_client_and_status(connect: Connect, told: Told) -> None:
    await call(connect, "coach_a", "POST", f"/insights/{told['private']}/reject", 200, reason="No.")
    for query, expected in (
        ("?status=draft", ["open"]), ("?status=rejected", ["private"]),
        (f"?client={told['client']}&status=draft", ["open"]), (f"?client={uuid4()}", []),
        ("?visibility=coach_only&status=draft", ["open"]), ("?visibility=client_visible", []),
    ):  # fmt: skip
        found = await call(connect, "coach_a", "GET", f"/insights{query}", 200)
        assert [one["id"] for one in found["items"]] == [told[name] for name in expected]
    first = await call(connect, "coach_a", "GET", "/insights?limit=1", 200)
    second = await call(connect, "coach_a", "GET", f"/insights?limit=1&cursor={first['next_cursor']}", 200)
    assert {first["items"][0]["id"], second["items"][0]["id"]} == {told["open"], told["private"]}


async def test_everyone_else_is_turned_away(organisation: Organisation, connect: Connect, told: Told) -> None:
    path = f"/insights/{told['open']}"
    for person in organisation.people.keys() - {"coach_a"}:
        judges = 404 if person == "coach_b" else 403
        await call(connect, person, "POST", f"{path}/accept", judges, share=None)
        await call(connect, person, "POST", f"{path}/reject", judges, reason="Mine.")
        await call(connect, person, "PATCH", path, judges, title="Mine")
        await call(connect, person, "GET", path, 404)
        await call(connect, person, "GET", f"{path}/reviews", 404)
        assert (await call(connect, person, "GET", "/insights", 200))["items"] == []


@pytest.mark.parametrize(
    ("method", "end", "body"),
    [
        ("POST", "/reject", {"reason": " "}), ("POST", "/reject", {"reason": "x" * 2_001}),
        ("POST", "/reject", {"why": "x"}), ("PATCH", "", {"title": ""}), ("PATCH", "", {"title": "x" * 201}),
        ("PATCH", "", {"body": "\n"}), ("PATCH", "", {"status": "accepted"}), ("POST", "/accept", {"share": "perhaps"}),
    ],
)  # fmt: skip
async def test_unusable_verdicts_are_refused(
    connect: Connect, told: Told, method: str, end: str, body: dict[str, Any]
) -> None:
    await call(connect, "coach_a", method, f"/insights/{told['open']}{end}", 422, **body)


async def test_feedback_is_given_changed_listed_and_taken_back(connect: Connect, told: Told) -> None:
    about = {"target_type": "claim", "target_id": told["claim"]}
    first = await call(connect, "client_a", "POST", "/feedback", 201, **about, rating=-1, comment="I did not say so.")
    again = await call(connect, "client_a", "POST", "/feedback", 201, **about, rating=1, may_be_studied=True)
    assert (again["id"], again["rating"], again["comment"]) == (first["id"], 1, None)
    listed = await call(connect, "client_a", "GET", "/feedback?target=claim", 200)
    assert listed["items"] == [again]
    assert (await call(connect, "client_a", "GET", "/feedback?target=quote", 200))["items"] == []
    assert (await call(connect, "coach_a", "GET", "/feedback", 200))["items"] == []
    await call(connect, "coach_a", "DELETE", f"/feedback/{first['id']}", 404)
    await call(connect, "client_a", "DELETE", f"/feedback/{first['id']}", 204)
    await call(connect, "client_a", "DELETE", f"/feedback/{first['id']}", 404)


async def test_feedback_on_what_one_may_not_see_is_refused(connect: Connect, told: Told) -> None:
    hidden = {"target_type": "claim", "target_id": told["secret"], "rating": 1}
    await call(connect, "client_a", "POST", "/feedback", 404, **hidden)
    for body in (
        hidden | {"rating": 2}, hidden | {"target_type": "pack"}, hidden | {"comment": ""},
        hidden | {"comment": "x" * 4_001},
    ):  # fmt: skip
        await call(connect, "coach_a", "POST", "/feedback", 422, **body)
