"""An answer under way ends where its reader's rights do: between two of its words, and nothing of it is kept."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from api.app import create_app
from core.settings import Settings
from db.models import AgentRun, ChatMessage, User
from db.session import tenant_session
from domain.sessions import open_session
from rag import standing
from rag.answer import Assistant, settle
from rag.fakes import ScriptedChat
from tests.api.conftest import Connect, Keys, serve
from tests.api.test_chat import QUESTION, TURNS, read_events, use_model
from tests.factories.people import Organisation
from tests.factories.revocable import end_engagement, erase_sources, narrow_to, withdraw
from tests.factories.sessions import EMBEDDER, require_id, store_session

FIRST, SECOND = "Tobias gets the pager by Friday. [1]", "The pager wakes her twice a night. [1]"


class Meanwhile(ScriptedChat):
    """A model that says a sentence, lets something happen, and goes on."""

    happens: Callable[[], Awaitable[None]]

    async def stream(self, *args: Any, **more: Any) -> Any:
        said = 0
        async for piece in super().stream(*args, **more):
            if said == 1:
                await self.happens()
            said += 1
            yield piece


@pytest.fixture(autouse=True)
def ask_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask before every word: what happens here happens within less time than words may take."""
    monkeypatch.setattr(standing, "RECHECK_SECONDS", 0.0)


@pytest.fixture
async def session_url(organisation: Organisation, connect: Connect) -> str:
    await store_session(organisation, TURNS, held_at=datetime(2026, 3, 12, tzinfo=UTC))
    return f"/v1/chat/sessions/{(await connect('coach_a').post('/v1/chat/sessions', json={})).json()['id']}"


def tell_in_two(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[None]]) -> Meanwhile:
    model = Meanwhile([[f"{FIRST} And ", f"then. {SECOND} And ", "so on."]])
    model.happens = happens
    use_model(monkeypatch, model)
    return model


async def list_stored(organisation: Organisation) -> list[str]:
    await settle()
    async with tenant_session(organisation.system) as session:
        return list(await session.scalars(select(ChatMessage.content).where(ChatMessage.role == "assistant")))


async def list_runs(organisation: Organisation) -> list[str]:
    async with tenant_session(organisation.system) as session:
        return list(await session.scalars(select(AgentRun.status).where(AgentRun.agent_type == "assistant")))


ENDS = {
    "engagement": end_engagement,
    "visibility": narrow_to("system_internal"),
    "erased": erase_sources,
    "consent": withdraw("assistant"),
}


@pytest.mark.parametrize("kind", ENDS)
async def test_stream_ends_between_two_deltas(
    organisation: Organisation, connect: Connect, session_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    about: Any = type("About", (), {"organisation": organisation, "client_id": require_id(organisation.client_a)})

    async def end() -> None:
        await ENDS[kind](about, connect)

    tell_in_two(monkeypatch, end)
    reply = await connect("coach_a").post(f"{session_url}/messages", json=QUESTION)
    events = read_events(reply.text)
    assert [name for name, _ in events] == ["sources", "delta", "error"], events
    problem = events[-1][1]
    assert (problem["status"], problem["code"]) == (403, "SourcesWithdrawn")
    assert problem["detail"].count(".") == 1
    assert "wakes her" not in reply.text
    assert await list_stored(organisation) == []
    assert await list_runs(organisation) == ["cancelled"]
    # the question stays; asked again it finds what may be seen now
    items = (await connect("coach_a").get(f"{session_url}/messages")).json()["items"]
    assert [item["role"] for item in items] == ["user"]


async def test_what_still_may_be_seen_is_kept(
    organisation: Organisation, connect: Connect, session_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await store_session(
        organisation, [("client", "The pager goes to Miriam in May.")], client=organisation.client_b
    )
    assert other
    question = {"content": "What was said about the pager?"}
    model = ScriptedChat([["Nothing. [1]"]])
    use_model(monkeypatch, model)
    found = read_events((await connect("coach_a").post(f"{session_url}/messages", json=question)).text)[0][1]
    places = {source["client_id"]: n for n, source in enumerate(found["sources"], 1)} if found["sources"] else {}
    b, a = (places[str(require_id(one))] for one in (organisation.client_b, organisation.client_a))
    about: Any = type("About", (), {"organisation": organisation, "client_id": require_id(organisation.client_a)})

    async def end() -> None:
        await end_engagement(about, connect)

    model = Meanwhile(
        [[f"The pager goes to Miriam in May. [{b}] Tobias gets the pager by Friday. [{a}] And ", "then. More. "]]
    )
    model.happens = end
    use_model(monkeypatch, model)
    before = len(await list_stored(organisation))
    fresh = (await connect("coach_a").post("/v1/chat/sessions", json={})).json()["id"]
    reply = await connect("coach_a").post(f"/v1/chat/sessions/{fresh}/messages", json=question)
    assert read_events(reply.text)[-1][1].get("code") == "SourcesWithdrawn", reply.text
    kept = (await list_stored(organisation))[before:]
    assert len(kept) == 1
    assert "Miriam" in kept[0]
    assert "Tobias" not in kept[0]


@pytest.mark.parametrize("kind", ["suspended", "key revoked", "signed out"])
async def test_stream_ends_with_the_sign_in(  # noqa: PLR0917  # fixtures, by name
    organisation: Organisation, connect: Connect, session_url: str, api_settings: Settings,
    monkeypatch: pytest.MonkeyPatch, kind: str,
) -> None:  # fmt: skip
    person = require_id(organisation.coach_a)
    caller = connect("coach_a")
    if kind == "signed out":
        async with tenant_session(organisation.system) as session:
            opened = await open_session(session, user_id=person, role="coach", settings=api_settings.auth)
        caller = connect(opened.token)

    async def end() -> None:
        async with tenant_session(organisation.system) as session:
            if kind == "suspended":
                await session.execute(update(User).where(User.id == person).values(status="suspended"))
        if kind == "key revoked":
            mine = (await connect("coach_a").get("/v1/api-keys")).json()["items"]
            assert (await connect("coach_a").delete(f"/v1/api-keys/{mine[0]['id']}")).status_code == 204
        if kind == "signed out":
            assert (await connect(opened.token).post("/v1/auth/sign-out")).status_code == 204

    tell_in_two(monkeypatch, end)
    reply = await caller.post(f"{session_url}/messages", json=QUESTION)
    events = read_events(reply.text)
    assert [name for name, _ in events] == ["sources", "delta", "error"], events
    assert events[-1][1]["code"] == ("ReaderUnknown" if kind == "suspended" else "SignInEnded")
    stored = await list_stored(organisation)
    # what was said before is still theirs, but for someone who is not there any more
    assert stored == ([] if kind == "suspended" else [FIRST])
    assert await list_runs(organisation) == ["cancelled"]


async def test_openai_stream_and_plain_completion_end_too(
    organisation: Organisation, connect: Connect, session_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session_url
    about: Any = type("About", (), {"organisation": organisation, "client_id": require_id(organisation.client_a)})

    async def end() -> None:
        await end_engagement(about, connect)

    body = {"model": "sasha", "messages": [{"role": "user", "content": QUESTION["content"]}], "stream": True}
    tell_in_two(monkeypatch, end)
    reply = await connect("coach_a").post("/v1/chat/completions", json=body)
    assert "SourcesWithdrawn" in reply.text
    assert "wakes her" not in reply.text
    assert "[DONE]" not in reply.text
    again = await connect("coach_a").post("/v1/chat/completions", json=body | {"stream": False})
    assert "Tobias" not in again.text


async def test_silent_model_is_asked_no_longer_than_its_next_word(  # noqa: PLR0917  # fixtures, by name
    organisation: Organisation, keys: Keys, connect: Connect, api_settings: Settings, session_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Over a real port, with the product's own interval: no word leaves after it, however the model dawdles."""
    monkeypatch.setattr(standing, "RECHECK_SECONDS", 0.25)
    use_model(monkeypatch, ScriptedChat([[f"{FIRST} And ", 0.6, f"then. {SECOND} And ", "so on."]]))
    headers = {"Authorization": f"Bearer {keys['coach_a']}"}
    about: Any = type("About", (), {"organisation": organisation, "client_id": require_id(organisation.client_a)})
    seen = []
    with serve(create_app(api_settings, Assistant(EMBEDDER))) as url:
        async with (
            httpx.AsyncClient(base_url=url, headers=headers) as client,
            client.stream("POST", f"{session_url}/messages", json=QUESTION, timeout=30) as reply,
        ):
            async for line in reply.aiter_lines():
                if line.startswith("event: "):
                    seen.append(line.removeprefix("event: "))
                    if seen[-1] == "delta" and len(seen) == 2:
                        await end_engagement(about, connect)
                elif line.startswith("data: ") and seen[-1] == "error":
                    assert json.loads(line.removeprefix("data: "))["code"] == "SourcesWithdrawn"
    assert seen == ["sources", "delta", "error"]
