"""The embedding service's replies are checked, and its failures are ours to read."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AppError
from rag.embedding import UnembeddableText, build_embedder
from rag.embedding import openai_compatible as subject
from rag.embedding.openai_compatible import OpenAIEmbedder, WrongDimensions, split_batches
from rag.providers.errors import (
    BrokenReply,
    CreditSpent,
    KeyRefused,
    ModelUnknown,
    ProviderBusy,
    ProviderUnavailable,
    RequestRejected,
)
from tests.rag.openai_server import ModelServer, Reply, error_reply, json_reply, serve_model


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with serve_model() as server:
        yield server


@pytest.fixture
async def embedder(server: ModelServer) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(model="m", dimensions=2, base_url=server.url, api_key="secret", retries=1)
    yield embedder
    await embedder.aclose()


def vectors(*rows: list[float], order: list[int] | None = None) -> Reply:
    return json_reply(
        {
            "object": "list",
            "model": "m",
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
            "data": [{"object": "embedding", "index": i, "embedding": rows[i]} for i in order or range(len(rows))],
        }
    )


async def test_rows_are_normalised_and_in_order(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    server.replies = [vectors([3, 4], [0, -2], order=[1, 0])]
    rows = await embedder.embed(["a", "b"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, -1.0]], atol=1e-6)
    (request,) = server.requests
    assert request.path == "/v1/embeddings"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.body == {"model": "m", "input": ["a", "b"], "encoding_format": "float"}


async def test_without_a_key_none_of_the_environment_is_sent(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "somebody's")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_ORG_ID", "their-company")
    server.replies = [vectors([1, 0])]
    embedder = OpenAIEmbedder(model="m", dimensions=2, base_url=server.url)
    await embedder.embed(["a"])
    await embedder.aclose()
    assert "somebody" not in str(server.requests[0].headers)
    assert "their-company" not in str(server.requests[0].headers)


async def test_batches_are_bounded(
    server: ModelServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "BATCH_TEXTS", 2)
    server.replies = [vectors([1, 0], [0, 1]), vectors([0, -1])]
    np.testing.assert_allclose(await embedder.embed(["a", "b", "c"]), [[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert [request.body["input"] for request in server.requests] == [["a", "b"], ["c"]]


@given(st.lists(st.text(min_size=1, max_size=20).map(lambda text: text * 20), max_size=30))
def test_batches_keep_every_text_in_order(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "BATCH_TEXTS", 4)
        patch.setattr(subject, "BATCH_TOKENS", 300)
        batches = [list(batch) for batch in split_batches(texts)]
    assert [text for batch in batches for text in batch] == texts
    for batch in batches:
        assert 1 <= len(batch) <= 4
        assert len(batch) == 1 or sum(map(subject.estimate_tokens, batch)) <= 300


async def test_no_texts_ask_for_nothing(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    assert (await embedder.embed([])).shape == (0, 2)
    with pytest.raises(UnembeddableText):
        await embedder.embed(["a", " "])
    assert server.requests == []


async def test_a_model_that_can_shorten_is_asked_to(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    server.replies = [vectors([1, 0, 0]), vectors([0, 1])]
    np.testing.assert_allclose(await embedder.embed(["a"]), [[0, 1]])
    await embedder.embed(["b"])
    assert [request.body.get("dimensions") for request in server.requests] == [None, 2, 2]


@pytest.mark.parametrize("row", [[1.0], [1.0, 0.0, 0.0]])
async def test_other_dimensions_are_refused(server: ModelServer, embedder: OpenAIEmbedder, row: list[float]) -> None:
    server.replies = [vectors(row)]
    with pytest.raises(WrongDimensions, match=str(len(row))):
        await embedder.embed(["a"])


async def test_passing_trouble_is_retried(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    server.replies = [error_reply(429), vectors([1, 0])]
    assert (await embedder.embed(["a"])).shape == (1, 2)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "expected", "attempts"),
    [
        (error_reply(400, message="input is too long"), RequestRejected, 1),
        (error_reply(401), KeyRefused, 1),
        (error_reply(403), KeyRefused, 1),
        (error_reply(404), ModelUnknown, 1),
        (error_reply(413), RequestRejected, 1),
        (error_reply(429, code="insufficient_quota"), CreditSpent, 2),
        (error_reply(429), ProviderBusy, 2),
        (error_reply(500), ProviderUnavailable, 2),
        (Reply((b'{"data": [',), cut=True), ProviderUnavailable, 2),
        (Reply((b'{"data": [',)), BrokenReply, 1),
        (Reply((b"<html>gateway</html>",), content_type="text/html"), BrokenReply, 1),
        (json_reply({"data": []}), BrokenReply, 1),
        (json_reply({"data": None}), BrokenReply, 1),
        (json_reply({"data": [1]}), BrokenReply, 1),
        (json_reply([]), BrokenReply, 1),
        (json_reply({"data": [{"index": 0, "embedding": ["x", "y"]}]}), BrokenReply, 1),
        (json_reply({"data": [{"index": 0, "embedding": [[1, 2]]}]}), BrokenReply, 1),
        (json_reply({"data": [{"index": 1, "embedding": [1, 2]}]}), BrokenReply, 1),
        (vectors([0, 0]), BrokenReply, 1),
        (vectors([float("nan"), 0]), BrokenReply, 1),
        (vectors([1, 0], [1, 0]), BrokenReply, 1),
    ],
    ids=lambda value: json.dumps(str(value))[:60] if isinstance(value, Reply) else None,
)
async def test_failures_are_translated(
    server: ModelServer, embedder: OpenAIEmbedder, reply: Reply, expected: type[AppError], attempts: int
) -> None:
    server.replies = [reply]
    with pytest.raises(AppError) as caught:
        await embedder.embed(["a"])
    assert type(caught.value) is expected or (expected is ProviderUnavailable and isinstance(caught.value, expected))
    assert len(server.requests) == attempts
    assert "secret" not in str(caught.value)


def test_settings_share_one_embedder(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"cache_dir": tmp_path, "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    embedder = build_embedder("openai", dimensions=2, **settings)
    assert (embedder.name, embedder.dimensions) == ("m/2", 2)
    assert build_embedder("openai", dimensions=2, **settings) is embedder
    assert build_embedder("openai", dimensions=3, **settings) is not embedder


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    embedder = OpenAIEmbedder(model="m", dimensions=2, base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(ProviderUnavailable):
        await embedder.embed(["a"])
    await embedder.aclose()


@pytest.mark.parametrize("address", ["localhost:80", "ftp://127.0.0.1/v1"])
async def test_an_address_that_is_none_is_named(address: str) -> None:
    embedder = OpenAIEmbedder(model="m", dimensions=2, base_url=address, retries=0)
    with pytest.raises(ModelUnknown):
        await embedder.embed(["a"])
    await embedder.aclose()
