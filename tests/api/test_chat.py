"""Conversations over HTTP: opening, asking, reading again, leaving."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api.app import create_app
from core.settings import Settings
from db.session import tenant_session
from domain import coaching
from domain.chat import WITHHELD
from rag import answer_models
from rag.answer import Assistant
from rag.fakes import ScriptedChat
from tests.api.conftest import Connect, Keys, serve
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id, store_session

TURNS = [
    ("coach", "What will you do about the pager?"),
    ("client", "I'll hand the pager to Tobias by Friday the thirteenth."),
    ("coach", "And how is the sleep?"),
    ("client", "Five hours. The pager wakes me twice a night."),
]
QUESTION = {"content": "What did Amina Diallo say about the pager?"}


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    events = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


@pytest.fixture
async def session_url(organisation: Organisation, connect: Connect) -> str:
    await store_session(organisation, TURNS, held_at=datetime(2026, 3, 12, tzinfo=UTC))
    created = await connect("coach_a").post("/v1/chat/sessions", json={})
    assert created.status_code == 201
    return f"/v1/chat/sessions/{created.json()['id']}"


async def test_events_come_in_their_order(connect: Connect, session_url: str) -> None:
    reply = await connect("coach_a").post(f"{session_url}/messages", json=QUESTION)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = read_events(reply.text)
    names = [name for name, _ in events]
    assert names[0] == "sources"
    assert names[-2:] == ["citations", "done"]
    assert set(names[1:-2]) == {"delta"}
    done = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "delta") == done["text"]
    assert events[-2][1]["citations"] == done["citations"]
    assert done["coverage"]["sessions_in_scope"] == 1
    assert done["citations"][0]["speaker"] == "Amina Diallo"
    assert all(source["text"] for source in events[0][1]["sources"])
    (_, message) = (await connect("coach_a").get(f"{session_url}/messages")).json()["items"]
    assert (message["id"], message["text"]) == (done["message_id"], done["text"])
    assert message["coverage"] == done["coverage"]


async def test_old_answer_is_withheld_once_the_engagement_ended(
    organisation: Organisation, connect: Connect, session_url: str
) -> None:
    await connect("coach_a").post(f"{session_url}/messages", json=QUESTION)
    async with tenant_session(organisation.system) as session:
        await coaching.end_engagement(
            session, coach_id=require_id(organisation.coach_a), client_id=require_id(organisation.client_a)
        )
    items = (await connect("coach_a").get(f"{session_url}/messages")).json()["items"]
    assert items[1]["text"] == WITHHELD
    assert items[1]["citations"] == []
    assert "Tobias" not in json.dumps(items)


async def test_same_key_opens_and_asks_once(connect: Connect, session_url: str) -> None:
    coach, key = connect("coach_a"), {"Idempotency-Key": "once"}
    opened = [(await coach.post("/v1/chat/sessions", json={"title": "T"}, headers=key)).json() for _ in range(2)]
    assert opened[0]["id"] == opened[1]["id"]
    clash = await coach.post("/v1/chat/sessions", json={"title": "Other"}, headers=key)
    assert (clash.status_code, clash.json()["code"]) == (409, "KeyReused")
    texts = [
        read_events((await coach.post(f"{session_url}/messages", json=QUESTION, headers=key)).text)[-1][1]["text"]
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert len((await coach.get(f"{session_url}/messages")).json()["items"]) == 2
    clash = await coach.post(f"{session_url}/messages", json={"content": "Another?"}, headers=key)
    assert clash.status_code == 409


async def test_pages_follow_each_other(connect: Connect, session_url: str) -> None:
    coach = connect("coach_a")
    for _ in range(4):
        await coach.post("/v1/chat/sessions", json={})
    seen, cursor = [], None
    for _ in range(5):
        page = (
            await coach.get("/v1/chat/sessions", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [item["id"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(seen) == len(set(seen)) == 5
    for _ in range(2):
        await coach.post(f"{session_url}/messages", json=QUESTION)
    first = (await coach.get(f"{session_url}/messages", params={"limit": 3})).json()
    rest = (await coach.get(f"{session_url}/messages", params={"cursor": first["next_cursor"]})).json()
    assert [item["role"] for item in first["items"] + rest["items"]] == ["user", "assistant"] * 2
    assert rest["next_cursor"] is None
    for bad in ("x", "WzEsMl0=", "bm90anNvbg=="):
        assert (await coach.get("/v1/chat/sessions", params={"cursor": bad})).status_code == 422


async def test_sessions_about_people_one_may_not_see_are_refused(organisation: Organisation, connect: Connect) -> None:
    for person in (organisation.client_c, organisation.coach_b):
        reply = await connect("coach_a").post("/v1/chat/sessions", json={"client_id": str(person.user_id)})
        assert (reply.status_code, reply.json()["code"]) == (404, "ClientNotFound")


async def test_session_about_a_client_keeps_to_them(organisation: Organisation, connect: Connect) -> None:
    await store_session(organisation, TURNS)
    await store_session(organisation, [("client", "The pager is Daniel's own idea.")], client=organisation.client_b)
    created = await connect("coach_a").post("/v1/chat/sessions", json={"client_id": str(organisation.client_b.user_id)})
    reply = await connect("coach_a").post(
        f"/v1/chat/sessions/{created.json()['id']}/messages", json={"content": "What was said about the pager?"}
    )
    done = read_events(reply.text)[-1][1]
    assert done["coverage"]["sessions_in_scope"] == 1
    assert "Tobias" not in done["text"]


async def test_unusable_questions_are_plain_problems(connect: Connect, session_url: str) -> None:
    for question in ("", "   ", "x" * 4_001):
        reply = await connect("coach_a").post(f"{session_url}/messages", json={"content": question})
        assert reply.status_code == 422
        assert reply.headers["content-type"] == "application/problem+json"


def use_model(monkeypatch: pytest.MonkeyPatch, model: ScriptedChat) -> None:
    async def chosen(*_: object) -> list[answer_models.ModelChoice]:
        return [answer_models.ModelChoice(model, 200, None)]

    monkeypatch.setattr("rag.answer.list_models", chosen)


async def test_what_breaks_in_the_middle_becomes_an_event(
    connect: Connect, session_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_model(monkeypatch, ScriptedChat([["Tobias gets the pager by Friday. [1] Then ", RuntimeError("secret")]]))
    reply = await connect("coach_a").post(f"{session_url}/messages", json=QUESTION)
    assert reply.status_code == 200
    events = read_events(reply.text)
    assert events[0][0] == "sources"
    name, problem = events[-1]
    assert name == "error"
    assert problem["status"] == 500
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert "secret" not in reply.text


async def test_caller_who_hangs_up_ends_the_work_and_keeps_what_was_said(
    api_settings: Settings, keys: Keys, connect: Connect, session_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = []

    class Endless(ScriptedChat):
        async def stream(self, *args: Any, **more: Any) -> Any:
            try:
                async for piece in super().stream(*args, **more):
                    yield piece
            finally:
                stopped.append(True)

    use_model(monkeypatch, Endless([["Tobias gets the pager by Friday. [1] Then ", 60.0, "more."]]))
    headers = {"Authorization": f"Bearer {keys['coach_a']}"}
    with serve(create_app(api_settings, Assistant(EMBEDDER))) as url:
        async with (
            httpx.AsyncClient(base_url=url, headers=headers) as client,
            client.stream("POST", f"{session_url}/messages", json=QUESTION, timeout=20) as reply,
        ):
            async for line in reply.aiter_lines():
                if line.startswith("event: delta"):
                    break
        for _ in range(100):
            items = (await connect("coach_a").get(f"{session_url}/messages")).json()["items"]
            if len(items) == 2:
                break
            await asyncio.sleep(0.05)
    assert stopped == [True]
    assert items[1]["text"].startswith("Tobias gets the pager by Friday.")
