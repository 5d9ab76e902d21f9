"""A remembered vector is the embedder's own, each tenant's for itself, and not for long."""

from collections.abc import Sequence
from uuid import uuid4

import numpy as np
import pytest

from rag.answer import Assistant
from rag.embedding import UnembeddableText
from rag.embedding.memory import SECONDS, RememberingEmbedder, VectorMemory
from rag.embedding.protocol import Matrix
from rag.fakes import HashEmbedder

TENANT = uuid4()


class Counting(HashEmbedder):
    """Notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> Matrix:
        self.asked.append(list(texts))
        return await super().embed(texts)


async def test_only_what_is_new_is_embedded_and_every_row_is_the_embedder_s() -> None:
    behind = Counting()
    embedder = RememberingEmbedder(behind, VectorMemory(), TENANT)
    await embedder.embed(["the canoe", "the lock"])
    texts = ["the ferry", "the lock", "the ferry", "the canoe"]
    rows = await embedder.embed(texts)
    assert behind.asked == [["the canoe", "the lock"], ["the ferry"]]
    np.testing.assert_array_equal(rows, await HashEmbedder().embed(texts))
    rows[:] = 0  # a caller's own
    np.testing.assert_array_equal(await embedder.embed(texts), await HashEmbedder().embed(texts))
    assert (await embedder.embed([])).shape == (0, 384)
    assert (embedder.name, embedder.dimensions) == (behind.name, 384)


async def test_no_tenant_finds_another_s() -> None:
    behind, memory = Counting(), VectorMemory()
    await RememberingEmbedder(behind, memory, TENANT).embed(["the canoe"])
    await RememberingEmbedder(behind, memory, uuid4()).embed(["the canoe"])
    await RememberingEmbedder(behind, memory, TENANT).embed(["the canoe"])
    assert behind.asked == [["the canoe"], ["the canoe"]]


async def test_another_model_s_vectors_are_not_taken() -> None:
    memory = VectorMemory()
    await RememberingEmbedder(HashEmbedder(384), memory, TENANT).embed(["the canoe"])
    rows = await RememberingEmbedder(HashEmbedder(96), memory, TENANT).embed(["the canoe"])
    np.testing.assert_array_equal(rows, await HashEmbedder(96).embed(["the canoe"]))


async def test_vectors_go_after_a_while_and_the_least_used_first() -> None:
    now = 0.0
    behind, memory = Counting(), VectorMemory(2, clock=lambda: now)
    embedder = RememberingEmbedder(behind, memory, TENANT)
    for text in ("one", "two", "one", "three", "one"):
        await embedder.embed([text])
    assert behind.asked == [["one"], ["two"], ["three"]]
    await embedder.embed(["two"])
    assert behind.asked[-1] == ["two"]
    behind.asked.clear()
    now = SECONDS - 1
    await embedder.embed(["one"])
    assert behind.asked == []
    now = SECONDS  # having been used meanwhile keeps it no longer
    await embedder.embed(["one"])
    assert behind.asked == [["one"]]


async def test_blank_texts_are_refused_by_their_place() -> None:
    with pytest.raises(UnembeddableText, match="Text 2 of 2"):
        await RememberingEmbedder(HashEmbedder(), VectorMemory(), TENANT).embed(["one", " "])


def test_an_assistant_without_embedder_has_none_for_a_tenant() -> None:
    assert Assistant(None).find_embedder(TENANT) is None
