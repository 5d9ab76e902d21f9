"""The openai package's own client, over real HTTP, against the app."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import openai
import pytest

from api.app import create_app
from core.settings import Settings
from rag.answer import Assistant
from tests.api.conftest import Keys, serve
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, store_session

TURNS = [
    ("coach", "What will you do about the pager?"),
    ("client", "I'll hand the pager to Tobias by Friday the thirteenth."),
]
LATER = [("coach", "How did it go?"), ("client", "Tobias has had the pager for a month, and I sleep.")]


@pytest.fixture
def url(api_settings: Settings) -> Iterator[str]:
    with serve(create_app(api_settings, Assistant(EMBEDDER))) as served:
        yield f"{served}/v1"


@pytest.fixture
async def client(url: str, keys: Keys, organisation: Organisation) -> openai.AsyncOpenAI:
    await store_session(organisation, TURNS, held_at=datetime(2026, 3, 12, tzinfo=UTC))
    await store_session(organisation, LATER, held_at=datetime(2026, 4, 16, tzinfo=UTC))
    return openai.AsyncOpenAI(base_url=url, api_key=keys["coach_a"], max_retries=0)


def say(*said: str) -> list[Any]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in await client.models.list()] == ["sasha"]
    assert (await client.models.retrieve("sasha")).owned_by == "regenesis"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt")
    await client.close()


async def test_whole_answer_carries_its_citations(client: openai.AsyncOpenAI) -> None:
    question = "What did Amina Diallo say about the pager in the first session?"
    whole = await client.chat.completions.create(model="sasha", messages=say(question))
    assert "Tobias by Friday" in (whole.choices[0].message.content or "")
    assert whole.choices[0].finish_reason == "stop"
    extra = whole.model_extra or {}
    assert extra["citations"][0]["quote"] == TURNS[1][1]
    assert extra["coverage"]["sessions_in_scope"] == 1
    assert extra["provider"] == "extractive"
    follow_up = await client.chat.completions.create(
        model="sasha", messages=say(question, "Tobias.", "And in the last session?")
    )
    assert "for a month" in (follow_up.choices[0].message.content or "")
    await client.close()


async def test_streamed_answer_is_the_same(client: openai.AsyncOpenAI) -> None:
    question = "What did Amina Diallo say about the pager in the first session?"
    whole = await client.chat.completions.create(model="sasha", messages=say(question))
    stream = await client.chat.completions.create(
        model="sasha", messages=say(question), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    last = [chunk for chunk in chunks if chunk.choices][-1]
    assert last.choices[0].finish_reason == "stop"
    assert (last.model_extra or {})["citations"] == (whole.model_extra or {})["citations"]
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1
    await client.close()


async def test_errors_reach_the_client_as_its_own(client: openai.AsyncOpenAI, url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="sasha"):
        await client.chat.completions.create(model="gpt", messages=say("Hello?"))
    with pytest.raises(openai.UnprocessableEntityError):
        await client.chat.completions.create(model="sasha", messages=say("Hello?", "I end with the assistant."))
    wrong = openai.AsyncOpenAI(base_url=url, api_key="rg_wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        await wrong.models.list()
    await wrong.close()
    await client.close()


async def test_parallel_answers_do_not_mix(client: openai.AsyncOpenAI) -> None:
    questions = ["What did Amina Diallo say about the pager in the first session?", "Which opera plays in Vienna?"] * 4
    answers = await asyncio.gather(
        *(client.chat.completions.create(model="sasha", messages=say(question)) for question in questions)
    )
    assert [(one.model_extra or {})["refused"] for one in answers] == [False, True] * 4
    await client.close()
