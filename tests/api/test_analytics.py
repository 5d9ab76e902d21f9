"""Dashboards over HTTP: figures, pages, ranges, events."""

import pytest

from tests.api.conftest import Connect
from tests.domain.test_analytics import enroll_everyone, refresh
from tests.factories.people import Organisation


async def test_figures_are_there_for_those_who_may(organisation: Organisation, connect: Connect) -> None:
    program = await enroll_everyone(organisation, more=2)
    await refresh()
    for person, status in (
        ("admin", 200),
        ("executive", 200),
        ("coach_a", 403),
        ("client_a", 403),
        ("compliance", 403),
    ):
        for path in ("dashboard", "programs", "coaching", "answers"):
            reply = await connect(person).get(f"/v1/analytics/{path}")
            assert reply.status_code == status, (person, path, reply.text)
    dashboard = (await connect("executive").get("/v1/analytics/dashboard")).json()
    assert dashboard["users"] == 11
    page = (await connect("executive").get("/v1/analytics/programs?limit=1")).json()
    assert page["items"][0]["program_id"] == str(program)
    assert page["next_cursor"] is None


@pytest.mark.parametrize("query", ["from=2026-03-01&until=2026-01-01", "from=2001-01-01&until=2026-01-01"])
async def test_a_range_that_means_nothing_is_refused(connect: Connect, query: str) -> None:
    reply = await connect("admin").get(f"/v1/analytics/coaching?{query}")
    assert (reply.status_code, reply.json()["code"]) == (422, "UnusableRange")


async def test_events_are_stored_within_bounds(connect: Connect) -> None:
    client = connect("client_a")
    good = {"event_type": "lesson.opened", "event_data": {"lesson": 3}}
    reply = await client.post("/v1/analytics/events", json={"events": [good, good]})
    assert (reply.status_code, reply.json()) == (201, {"stored": 2})
    large = {"event_type": "lesson.opened", "event_data": {"words": "x" * 9_000}}
    reply = await client.post("/v1/analytics/events", json={"events": [good, large]})
    assert (reply.status_code, reply.json()["code"]) == (422, "EventTooLarge")
    for events in ([], [good] * 101, [{"event_type": "Lesson Opened"}]):
        assert (await client.post("/v1/analytics/events", json={"events": events})).status_code == 422


async def test_the_oldest_cursor_is_no_statement(connect: Connect) -> None:
    for cursor in (
        "x",
        "WyIxIl0=",
        "WyI5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5IiwgIjAxOTRlMDAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMCJd",
    ):
        reply = await connect("admin").get("/v1/analytics/programs", params={"cursor": cursor})
        assert (reply.status_code, reply.json()["code"]) == (422, "BadCursor"), cursor
