"""The hashing embedder keeps the embedders' promise without a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.embedding import Embedder, UnembeddableText
from rag.fakes import HashEmbedder


async def test_shared_stems_bring_texts_near() -> None:
    embedder: Embedder = HashEmbedder()
    commit, committed, weather = await embedder.embed(
        ["Amina commits to a weekly plan", "plans that Amina committed to", "sunny skies over Lisbon"]
    )
    assert commit @ committed > 0.7
    assert abs(commit @ weather) < 0.3


async def test_vectors_are_the_same_on_every_machine() -> None:
    row = (await HashEmbedder(8).embed(["coaching"]))[0] * np.sqrt(6)
    np.testing.assert_allclose(row, [2, 1, 0, 0, 0, 0, 0, -1], atol=1e-5)


@given(st.text(min_size=1).filter(lambda text: not text.isspace()), st.integers(1, 400))
async def test_any_text_has_one_unit_vector(text: str, dimensions: int) -> None:
    rows = await HashEmbedder(dimensions).embed([text, "other words", text])
    assert rows.shape == (3, dimensions)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows[0], rows[2])


async def test_blank_text_is_refused() -> None:
    with pytest.raises(UnembeddableText):
        await HashEmbedder().embed(["\n"])
