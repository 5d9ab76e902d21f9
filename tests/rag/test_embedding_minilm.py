"""The embedded model gives the published model's vectors, whatever else is embedded beside a text."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from rag.embedding import TokenCounter, UnembeddableText, build_embedder
from rag.embedding import minilm as subject
from rag.embedding.minilm import MiniLMEmbedder, TextTooLong, UntrustedWeights, UnwritableModelCache

SENTENCES = [
    "How do I reverse a list?",
    "list.reverse() reverses it in place.",
    "The weather is nice.",
    "Amina wants to ask her manager for a smaller team.",
    "She said it in March; nothing has changed since.",
]

# The first six components that sentence-transformers 6.2 gives on torch 2.13, from the published model
PUBLISHED = [
    [0.0064, 0.0510, 0.0620, 0.0140, -0.0538, -0.0068],
    [-0.0299, 0.0568, 0.0615, 0.0452, -0.0229, -0.0651],
    [-0.0339, 0.0617, 0.1477, 0.1086, -0.0151, -0.0022],
    [0.0222, 0.0780, -0.0188, 0.0096, -0.0312, -0.0239],
    [0.0098, 0.0074, 0.0487, 0.0169, 0.0068, 0.0293],
]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def int8(cache_dir: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(cache_dir)


@pytest.fixture(scope="module")
def fp32(cache_dir: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(cache_dir, precision="fp32")


async def test_rows_are_unit_vectors_in_order(int8: MiniLMEmbedder) -> None:
    rows = await int8.embed(SENTENCES)
    assert rows.shape == (5, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    likeness = rows @ rows[0]
    assert np.argsort(-likeness)[:2].tolist() == [0, 1]
    assert likeness[1] > 0.6
    assert likeness[2] < 0.2


async def test_a_vector_does_not_depend_on_its_neighbours(int8: MiniLMEmbedder) -> None:
    texts = [*SENTENCES, "word " * 700, SENTENCES[0]]
    together = await int8.embed(texts)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_array_equal((await int8.embed([text]))[0], row)


async def test_fp32_is_the_published_model(fp32: MiniLMEmbedder) -> None:
    np.testing.assert_allclose((await fp32.embed(SENTENCES))[:, :6], PUBLISHED, atol=6e-5)


async def test_int8_stays_close_to_fp32(int8: MiniLMEmbedder, fp32: MiniLMEmbedder) -> None:
    cosine = np.sum(await int8.embed(SENTENCES) * await fp32.embed(SENTENCES), axis=1)
    assert cosine.min() > 0.985
    assert cosine.max() < 0.999999  # else one of them is not what it says
    assert (int8.name, fp32.name) == ("all-MiniLM-L6-v2/int8", "all-MiniLM-L6-v2/fp32")


async def test_many_texts_come_back_in_order_over_several_slices(
    int8: MiniLMEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SLICE", 7)
    texts = [f"{'very ' * (i % 5)}short note {i}" for i in range(24)]
    rows = await int8.embed(texts)
    np.testing.assert_array_equal(rows[20], (await int8.embed([texts[20]]))[0])
    assert np.argmax(rows @ rows[13]) == 13


async def test_nothing_of_a_long_text_is_dropped(int8: MiniLMEmbedder) -> None:
    filler = "We talked about the plan for the coming quarter. " * 60
    assert int8.count_tokens(filler) > 2 * subject.WINDOW
    plain, with_end, question = await int8.embed([filler, filler + "The dog bit the postman.", "A dog bit a postman."])
    assert with_end @ question > plain @ question + 0.02


async def test_a_long_text_is_the_mean_of_its_windows(int8: MiniLMEmbedder) -> None:
    pieces = 2 * subject.WINDOW  # "coach" is one word piece, so the cut falls between two words
    whole, half = await int8.embed(["coach " * pieces, "coach " * (pieces // 2)])
    np.testing.assert_allclose(whole, half, atol=1e-6)


def test_count_tokens_counts_word_pieces(int8: MiniLMEmbedder) -> None:
    assert isinstance(int8, TokenCounter)
    assert int8.count_tokens("coaching") == 1
    assert int8.count_tokens("coach " * 300) == 300
    assert int8.count_tokens("") == 0


@pytest.mark.parametrize("blank", ["", "  \n", "\u200b", "\x00"])
@pytest.mark.parametrize("neighbours", [[], ["some words"]])
async def test_text_without_words_is_refused(int8: MiniLMEmbedder, blank: str, neighbours: list[str]) -> None:
    with pytest.raises(UnembeddableText):
        await int8.embed([*neighbours, blank])


async def test_half_a_surrogate_pair_is_refused(int8: MiniLMEmbedder) -> None:
    with pytest.raises(UnembeddableText, match="Unicode"):
        await int8.embed(["a\ud800b"])


async def test_an_endless_text_is_refused(int8: MiniLMEmbedder) -> None:
    with pytest.raises(TextTooLong):
        await int8.embed(["x" * (subject.LONGEST_TEXT + 1), "y"])


async def test_one_string_is_not_taken_for_a_sequence(int8: MiniLMEmbedder) -> None:
    with pytest.raises(TypeError):
        await int8.embed("letters")


async def test_no_texts_give_no_rows(int8: MiniLMEmbedder) -> None:
    assert (await int8.embed([])).shape == (0, 384)


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=400))
async def test_any_text_is_embedded_or_refused(int8: MiniLMEmbedder, text: str) -> None:
    try:
        rows = await int8.embed([text])
    except UnembeddableText:
        return
    assert abs(float(np.linalg.norm(rows[0])) - 1) < 1e-5


async def test_a_question_does_not_wait_behind_an_ingestion(int8: MiniLMEmbedder) -> None:
    ingestion = asyncio.create_task(int8.embed(["a passage of some length " * 30] * 5000))
    await asyncio.sleep(0.05)
    await int8.embed(["a question"])
    assert not ingestion.done()
    ingestion.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ingestion
    # the cancelled work leaves the threads at once, so the next batch is not stuck behind it
    await asyncio.wait_for(int8.embed(["one", "two"]), 20)


async def test_a_damaged_cache_file_is_written_anew(cache_dir: Path, int8: MiniLMEmbedder, tmp_path: Path) -> None:
    path = tmp_path / f"{subject.MODEL}-int8-{subject.GRAPH_VERSION}.onnx"
    path.write_bytes(b"half a file")
    again = MiniLMEmbedder(tmp_path)
    np.testing.assert_array_equal(await again.embed(["one text"]), await int8.embed(["one text"]))
    again.close()
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208 - nothing else waits in this loop; no part is left


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PUBLISHED_SHA256", "0" * 64)
    with pytest.raises(UntrustedWeights):
        MiniLMEmbedder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableModelCache, match="file"):
        MiniLMEmbedder(tmp_path / "file")


def test_settings_share_one_embedder(cache_dir: Path) -> None:
    first = build_embedder("minilm", cache_dir=cache_dir, threads=1)
    assert build_embedder("minilm", cache_dir=cache_dir / ".." / cache_dir.name, threads=1) is first
    assert first.dimensions == 384


@pytest.mark.parametrize("wrong", [{"model": "other"}, {"dimensions": 768}])
def test_contradicting_settings_are_refused(cache_dir: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="openai"):
        build_embedder("minilm", cache_dir=cache_dir, **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_service_needs_model_and_dimensions(cache_dir: Path) -> None:
    with pytest.raises(Invalid, match="DIMENSIONS"):
        build_embedder("openai", cache_dir=cache_dir, model="m")
