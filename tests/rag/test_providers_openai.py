"""The real client against a service on this machine that answers well, badly, slowly or not at all."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai
import pytest

from core.errors import AppError, Forbidden, Invalid, QuotaExceeded, Unavailable
from rag.providers import openai_client
from rag.providers.errors import (
    BrokenReply,
    CreditSpent,
    KeyRefused,
    ModelUnknown,
    ProviderBusy,
    ProviderTimedOut,
    ProviderUnavailable,
    RequestRejected,
)
from rag.providers.openai_client import Endpoint, find_translation
from rag.providers.openai_compatible import OpenAIChat, build_chat_provider
from rag.providers.protocol import Message, Usage
from tests.rag.openai_server import ModelServer, Reply, error_reply, json_reply, serve_model, stream_reply

QUESTION = [Message("system", "Cite."), Message("user", "What did Amina commit to?")]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with serve_model() as server:
        yield server


@pytest.fixture
async def chat(server: ModelServer) -> AsyncIterator[OpenAIChat]:
    chat = OpenAIChat("local", model="m", endpoint=Endpoint(server.url, "secret", retries=1))
    yield chat
    await chat.aclose()


@pytest.fixture
async def hasty(server: ModelServer) -> AsyncIterator[OpenAIChat]:
    chat = OpenAIChat("local", model="m", endpoint=Endpoint(server.url, read_timeout=1, retries=1))
    yield chat
    await chat.aclose()


def delta(text: object = None, *, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m-2026", "choices": [choice]}


def usage(read: int = 7, written: int = 2) -> dict[str, Any]:
    counts = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {**delta(), "choices": [], "usage": counts}


async def read(chat: OpenAIChat, **options: Any) -> tuple[list[str], Usage | None]:
    options = {"max_tokens": 50, "temperature": 0.2} | options
    pieces = [piece async for piece in chat.stream(QUESTION, **options)]
    return [piece.text for piece in pieces if piece.text], pieces[-1].usage


async def test_text_comes_in_pieces_and_the_usage_last(server: ModelServer, chat: OpenAIChat) -> None:
    server.replies = [stream_reply([delta(""), delta("A weekly "), delta("plan."), delta(finish="stop"), usage()])]
    assert await read(chat) == (["A weekly ", "plan."], Usage("m-2026", 7, 2))
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Cite."},
            {"role": "user", "content": "What did Amina commit to?"},
        ],
        "max_tokens": 50,
        "temperature": 0.2,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_service_that_does_not_count_gives_no_counts(server: ModelServer, chat: OpenAIChat) -> None:
    server.replies = [stream_reply([delta("Half"), delta(finish="length")])]
    assert await read(chat) == (["Half"], Usage("m-2026", None, None, truncated=True))


async def test_what_no_store_takes_is_left_out(server: ModelServer, chat: OpenAIChat) -> None:
    server.replies = [stream_reply([delta("a\0b\ud83d "), delta("\U0001f600"), delta("", finish="stop")])]
    assert "".join((await read(chat))[0]) == "ab? \U0001f600"


async def test_openai_itself_gets_its_newer_name_of_the_limit(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_client, "OPENAI_URL", server.url)
    monkeypatch.setattr("rag.providers.openai_compatible.OPENAI_URL", server.url)
    server.replies = [stream_reply([delta("Yes.", finish="stop")])]
    chat = OpenAIChat("openai", model="m", endpoint=Endpoint(api_key="secret"))
    await read(chat, temperature=None)
    await chat.aclose()
    assert server.requests[0].body["max_completion_tokens"] == 50
    assert not {"max_tokens", "temperature"} & set(server.requests[0].body)


async def test_the_first_piece_does_not_wait_for_the_last(server: ModelServer, chat: OpenAIChat) -> None:
    server.replies = [stream_reply([delta("First"), 600.0, delta(" last.", finish="stop")])]
    pieces = chat.stream(QUESTION, max_tokens=50)
    assert (await asyncio.wait_for(anext(pieces), 30)).text == "First"
    await pieces.aclose()


async def test_hanging_up_ends_the_request(server: ModelServer, chat: OpenAIChat) -> None:
    server.replies = [stream_reply([delta("First"), *([0.01, delta("more")] * 500)])]
    pieces = chat.stream(QUESTION, max_tokens=50_000)
    await anext(pieces)
    await pieces.aclose()
    server.replies = [stream_reply([delta("Again.", finish="stop")])]
    assert (await read(chat))[0] == ["Again."]  # on a new connection: the old one is not waited for


BEFORE_THE_FIRST_WORD: list[tuple[Reply, type[AppError], int]] = [
    (error_reply(400, kind="invalid_request_error", message="too many tokens"), RequestRejected, 1),
    (error_reply(400, code="model_not_found"), ModelUnknown, 1),
    (error_reply(401, code="invalid_api_key"), KeyRefused, 1),
    (error_reply(402), CreditSpent, 1),
    (error_reply(403), KeyRefused, 1),
    (error_reply(404), ModelUnknown, 1),
    (error_reply(408), ProviderTimedOut, 2),
    (error_reply(409), ProviderUnavailable, 2),
    (error_reply(413), RequestRejected, 1),
    (error_reply(422), RequestRejected, 1),
    (error_reply(429), ProviderBusy, 2),
    (error_reply(429, code="insufficient_quota"), CreditSpent, 2),
    (error_reply(500), ProviderUnavailable, 2),
    (error_reply(503), ProviderUnavailable, 2),
    (error_reply(504), ProviderTimedOut, 2),
    (Reply((b"<html>502</html>",), 502, "text/html"), ProviderUnavailable, 2),
    (Reply((b"<html>sign in</html>",), content_type="text/html"), BrokenReply, 1),
    (json_reply({"choices": []}), BrokenReply, 1),
    (stream_reply([]), BrokenReply, 1),
    (stream_reply([], done=False, cut=True), BrokenReply, 1),
    (stream_reply([delta(""), delta(finish="stop")]), BrokenReply, 1),
    (stream_reply([delta(finish="content_filter")]), RequestRejected, 1),
    (stream_reply([{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}]), ProviderBusy, 1),
    (stream_reply([{"error": {"message": "long", "type": "invalid_request_error"}}]), RequestRejected, 1),
    (stream_reply([{"error": {"message": "oops"}}]), ProviderUnavailable, 1),
    (stream_reply([{"error": "oops"}]), ProviderUnavailable, 1),
    (Reply((b"data: {half\n\n",), content_type="text/event-stream"), BrokenReply, 1),
    (Reply((b"data: \xff\xfe\n\n",), content_type="text/event-stream"), BrokenReply, 1),
    (stream_reply([[1, 2]]), BrokenReply, 1),
    (stream_reply(["text"]), BrokenReply, 1),
    (stream_reply([{"choices": "none"}]), BrokenReply, 1),
    (stream_reply([{"choices": [{"delta": None}]}]), BrokenReply, 1),
    (stream_reply([delta(["not", "text"])]), BrokenReply, 1),
    (stream_reply([{**usage(), "usage": "many"}]), BrokenReply, 1),
]


@pytest.mark.parametrize(
    ("reply", "expected", "attempts"),
    BEFORE_THE_FIRST_WORD,
    ids=[f"{n}-{case[0].status}-{case[1].__name__}" for n, case in enumerate(BEFORE_THE_FIRST_WORD)],
)
async def test_failures_before_the_first_word(
    server: ModelServer, chat: OpenAIChat, reply: Reply, expected: type[AppError], attempts: int
) -> None:
    server.replies = [reply]
    with pytest.raises(AppError) as caught:
        await read(chat)
    assert type(caught.value) is expected
    assert len(server.requests) == attempts
    assert "secret" not in f"{caught.value} {caught.value.context}"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (stream_reply([delta("Half")], done=False, cut=True), BrokenReply),
        (stream_reply([delta("Half")], done=False), BrokenReply),
        (stream_reply([delta("Half"), {"error": {"message": "oops"}}]), ProviderUnavailable),
        (stream_reply([delta("Half"), *[delta("x" * 640)] * 6]), BrokenReply),
        (stream_reply([delta("Half"), delta(finish="content_filter")]), RequestRejected),
    ],
)
async def test_failures_after_the_first_word_are_not_retried(
    server: ModelServer, chat: OpenAIChat, reply: Reply, expected: type[AppError]
) -> None:
    server.replies = [reply]
    pieces = chat.stream(QUESTION, max_tokens=50)
    first = await anext(pieces)
    with pytest.raises(AppError) as caught:
        [piece async for piece in pieces]
    assert type(caught.value) is expected
    assert first.text == "Half"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "attempts"),
    [
        (Reply(silence=5), 2),
        (Reply((5.0,)), 1),
        (stream_reply([5.0, delta("late", finish="stop")]), 1),
        (stream_reply([delta("Half"), 5.0, delta("late", finish="stop")]), 1),
    ],
    ids=["silence", "headers", "stream", "half"],
)
async def test_a_slow_service_is_left(server: ModelServer, hasty: OpenAIChat, reply: Reply, attempts: int) -> None:
    server.replies = [reply]
    with pytest.raises(ProviderTimedOut):
        await read(hasty)
    assert len(server.requests) == attempts


async def test_passing_trouble_before_the_first_word_is_retried(server: ModelServer, chat: OpenAIChat) -> None:
    server.replies = [error_reply(503), stream_reply([delta("Yes.", finish="stop")])]
    assert (await read(chat))[0] == ["Yes."]


async def test_keep_alive_comments_do_not_keep_a_dead_answer_alive(server: ModelServer) -> None:
    comments: tuple[bytes | float, ...] = (b": thinking\n\n", 0.05) * 100
    server.replies = [Reply(comments, content_type="text/event-stream")]
    chat = OpenAIChat("local", model="m", endpoint=Endpoint(server.url, read_timeout=1, retries=0), answer_timeout=0.4)
    with pytest.raises(ProviderTimedOut):
        await read(chat)
    await chat.aclose()


async def test_no_service_there_is_unavailable() -> None:
    chat = OpenAIChat("none", model="m", endpoint=Endpoint("http://127.0.0.1:9/v1", retries=0))
    with pytest.raises(ProviderUnavailable):
        await read(chat)
    await chat.aclose()


def test_one_provider_per_settings() -> None:
    endpoint = Endpoint("http://127.0.0.1:9/v1", "secret")
    chat = build_chat_provider("a", model="m", endpoint=endpoint)
    assert build_chat_provider("a", model="m", endpoint=Endpoint("http://127.0.0.1:9/v1", "secret")) is chat
    assert build_chat_provider("a", model="m", endpoint=Endpoint("http://127.0.0.1:9/v1", "other")) is not chat
    assert "secret" not in repr(endpoint)


def test_each_event_loop_has_a_client_of_its_own() -> None:
    pool = openai_client.ClientPool(Endpoint("http://127.0.0.1:9/v1"))

    async def visit() -> openai.AsyncOpenAI:
        client = pool.get_client()
        assert pool.get_client() is client
        return client

    with asyncio.Runner() as one, asyncio.Runner() as other:
        assert one.run(visit()) is not other.run(visit())
        for runner in (one, other):
            runner.run(pool.aclose())


def walk(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from walk(below)


@pytest.mark.parametrize(
    "kind",
    [*walk(openai.OpenAIError), *walk(httpx2.HTTPError), *walk(httpx2.StreamError), httpx2.InvalidURL],
    ids=lambda kind: kind.__name__,
)
def test_every_error_of_the_packages_has_a_translation(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    error.__dict__.update(message="m", code=None, type=None, status_code=getattr(kind, "status_code", 500))
    assert isinstance(find_translation(error), AppError)


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 600)])
def test_every_status_has_a_translation(status: int) -> None:
    request = httpx2.Request("POST", "http://127.0.0.1/v1")
    response = httpx2.Response(status, request=request, json={"error": {"message": "why"}})
    ours = find_translation(openai.APIStatusError("why", response=response, body=None))
    branch = {401: Forbidden, 402: QuotaExceeded, 403: Forbidden, 408: Unavailable, 409: Unavailable, 425: Unavailable}
    branch[429] = Unavailable
    assert isinstance(ours, branch.get(status, Unavailable if status >= 500 else Invalid))


def test_errors_of_our_own_making_pass() -> None:
    assert find_translation(AttributeError("a bug")) is None
    with pytest.raises(ZeroDivisionError), openai_client.translate_errors():
        raise ZeroDivisionError


def test_a_services_message_is_passed_on_in_one_short_line() -> None:
    request = httpx2.Request("POST", "http://127.0.0.1/v1")
    response = httpx2.Response(400, request=request)
    ours = find_translation(openai.APIStatusError("bad\n\n" + "x" * 9000, response=response, body=None))
    assert ours is not None
    assert "\n" not in ours.message
    assert len(ours.message) < 300
