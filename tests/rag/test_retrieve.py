"""Search ranks as its formula says, keeps to its scope, and gives the source's own words."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.session import tenant_session
from domain.ingestion import ensure_source, list_known, receive_objects
from pipelines.chunk import TranscriptText, chunk_document, chunk_transcript
from pipelines.index import About, ensure_registry, index_document, index_transcript, lock_index
from pipelines.parsed import Block, ParsedDocument, Turn
from rag.embedding import Embedder
from rag.fakes import HashEmbedder
from rag.lexical import document_vector, query_vector, term_indices
from rag.passages import Passage, Scope
from rag.retrieve import LIKENESS, UNITS_A_PASSAGE, UnusableQuestion, choose_terms, grow, retrieve
from rag.retrieve_sql import DISCOUNT, STRETCHES, SUPPORT
from tests.factories.people import Organisation

WORDS = ("goal", "plan", "week", "team", "sleep", "walk", "budget", "trust", "feedback", "list", "doubt", "nurse")
Scores = np.ndarray[tuple[int], np.dtype[np.float64]]
QUESTION = "What did she say about the budget and her doubt?"


class OtherEmbedder(HashEmbedder):
    """A model the tenant's chunks are not embedded by, of other dimensions."""

    def __init__(self) -> None:
        super().__init__(16)


@dataclass
class Session:
    """One stored source of the test."""

    id: UUID
    text: TranscriptText
    held_at: datetime


@pytest.fixture
async def sessions(organisation: Organisation) -> list[Session]:
    """Six long sessions of random words, stored in the organisation."""
    rng = random.Random(7)
    embedder = HashEmbedder(64)
    made = []
    async with tenant_session(organisation.system) as session:
        registry = await ensure_registry(session, embedder)
        data_source = await ensure_source(session, "test:")
        await receive_objects(session, data_source, {f"s{n}": 1 for n in range(6)})
        known = await list_known(session, data_source)
        await lock_index(session, registry)
        for n in range(6):
            turns = [
                Turn(("Coach", "Amina", "Björn")[k % (2 + n % 2)], " ".join(rng.choices(WORDS, k=30)) + ".", 10.0 * k)
                for k in range(60)
            ]
            held_at = datetime(2026, 1 + n, 3, tzinfo=UTC)
            text = chunk_transcript(turns, held_at=held_at)
            about = About(
                object_id=known[f"s{n}"].id, title=f"Session {n}", visibility="system_internal", held_at=held_at
            )
            vectors = await embedder.embed([chunk.embedded_text for chunk in text.chunks])
            id_ = await index_transcript(session, registry, about, text, vectors, format="test")
            made.append(Session(id_, text, held_at))
    return made


async def search(
    organisation: Organisation, embedder: Embedder | None, question: str = QUESTION, **options: object
) -> tuple[Passage, ...]:
    async with tenant_session(organisation.system) as session:
        found = await retrieve(session, embedder, question, **options)  # type: ignore[arg-type]  # passed on
    return found.passages


def rank_by_hand(sessions: Sequence[Session], *scores: Scores) -> list[tuple[UUID, int, float]]:
    """Return (source, chunk, score), best first, by the formula over every chunk."""
    z = sum((s - s.mean()) / s.std() for s in scores)
    ranked, offset = [], 0
    for one in sessions:
        own = z[offset : offset + len(one.text.chunks)]
        offset += len(own)
        padded = np.pad(own, 1)
        own = own + SUPPORT * (padded[:-2] + padded[2:])
        best = own.copy()
        for n in STRETCHES:
            for end in range(len(own)):
                total = own[max(0, end - n + 1) : end + 1].sum() / n**DISCOUNT
                held = slice(max(0, end - n + 1), end + 1)
                best[held] = np.maximum(best[held], total)
        ranked += [(one.id, n, float(score)) for n, score in enumerate(own + best)]
    return sorted(ranked, key=lambda unit: -unit[2])


async def score_by_hand(sessions: Sequence[Session], embedder: Embedder | None) -> list[tuple[UUID, int, float]]:
    chunks = [chunk for one in sessions for chunk in one.text.chunks]
    counts: dict[int, int] = {}
    for chunk in chunks:
        for term in term_indices(chunk.lexical_text):
            counts[term] = counts.get(term, 0) + 1
    asked = query_vector("budget doubt", counts, len(chunks)).weights
    documents = [document_vector(chunk.lexical_text).weights for chunk in chunks]
    words = np.array([sum(weight * document.get(term, 0) for term, weight in asked.items()) for document in documents])
    if embedder is None:
        return rank_by_hand(sessions, words)
    vectors = await embedder.embed([chunk.embedded_text for chunk in chunks])
    return rank_by_hand(sessions, words, vectors @ (await embedder.embed([QUESTION]))[0])


@pytest.mark.parametrize("embedder", [HashEmbedder(64), None], ids=["words and meaning", "words alone"])
async def test_ranks_as_the_formula_says(
    organisation: Organisation, sessions: list[Session], embedder: HashEmbedder | None
) -> None:
    expected = await score_by_hand(sessions, embedder)
    passages = await search(organisation, embedder, top_k=8)
    best = passages[0]
    assert best.source_id == expected[0][0]
    score_of = {(source, index): score for source, index, score in expected}
    index_of = {(one.id, c.char_start): n for one in sessions for n, c in enumerate(one.text.chunks)}
    for passage in passages:
        first = index_of[passage.source_id, passage.char_start]
        held = [score_of[passage.source_id, first + n] for n in range(len(passage.chunk_ids))]
        assert passage.score == pytest.approx(max(held), rel=0.01)  # half vectors keep three digits
        assert min(held) >= (LIKENESS - 0.02) * max(held)
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
    heads = {unit[:2] for unit in expected[:8]}
    taken = {
        (passage.source_id, index_of[passage.source_id, passage.char_start] + n)
        for passage in passages
        for n in range(len(passage.chunk_ids))
    }
    assert len(heads & taken) >= 7  # two that all but tie may change places


async def test_a_passage_is_the_sources_own_text(organisation: Organisation, sessions: list[Session]) -> None:
    by_id = {one.id: one for one in sessions}
    passages = await search(organisation, HashEmbedder(64), top_k=20)
    assert any(len(passage.chunk_ids) > 1 for passage in passages)
    for passage in passages:
        source = by_id[passage.source_id].text
        assert source.text[passage.char_start : passage.char_end] == passage.text
        assert passage.segment_first is not None
        assert passage.segment_last is not None
        held = source.segments[passage.segment_first : passage.segment_last + 1]
        assert passage.text == "\n".join(segment.text for segment in held)
        assert set(passage.speakers) == {segment.speaker for segment in held}
        assert passage.started_s == held[0].start
        assert passage.title.startswith("Session")
    chunks = [chunk for passage in passages for chunk in passage.chunk_ids]
    assert len(chunks) == len(set(chunks))


async def test_another_model_leaves_words_alone(organisation: Organisation, sessions: list[Session]) -> None:
    assert await search(organisation, OtherEmbedder()) == await search(organisation, None)


async def test_each_filter_narrows(organisation: Organisation, sessions: list[Session]) -> None:
    async def sources(**scope: object) -> set[UUID]:
        passages = await search(organisation, HashEmbedder(64), top_k=100, scope=Scope(**scope))  # type: ignore[arg-type]  # names are Scope's
        return {passage.source_id for passage in passages}

    ids = [one.id for one in sessions]
    assert await sources(source_ids=(ids[2], uuid4())) == {ids[2]}
    assert await sources(held_from=sessions[2].held_at, held_until=sessions[4].held_at) == set(ids[2:4])
    assert await sources(source_kinds=("document",)) == set()
    assert await sources(client_ids=(uuid4(),)) == set()
    assert await sources(coaching_session_ids=(uuid4(),)) == set()
    assert await sources(speakers=("BJÖRN",)) == {ids[1], ids[3], ids[5]}


async def test_counts_what_was_searched(organisation: Organisation, sessions: list[Session]) -> None:
    async with tenant_session(organisation.system) as session:
        everything = await retrieve(session, None, QUESTION)
        nothing = await retrieve(session, None, QUESTION, scope=Scope(source_ids=(uuid4(),)))
        unsaid = await retrieve(session, None, "zeppelins")
    assert everything.chunks_in_scope == sum(len(one.text.chunks) for one in sessions)
    assert (everything.sources_in_scope, unsaid.sources_in_scope) == (6, 6)
    assert (nothing.passages, nothing.chunks_in_scope, nothing.sources_in_scope) == ((), 0, 0)
    assert unsaid.passages == ()


async def test_an_empty_store_is_searched_without_complaint(organisation: Organisation) -> None:
    async with tenant_session(organisation.coach_a) as session:
        assert (await retrieve(session, HashEmbedder(), "Anything?")).passages == ()


async def test_documents_are_found_with_their_page_and_heading(organisation: Organisation) -> None:
    embedder = HashEmbedder(64)
    blocks = (
        Block("Sleep", "heading", 3, 1), Block("Rest seven hours. " * 30, page=3), Block("Then a walk. " * 30, page=4),
        Block("Money", "heading", 5, 1), Block("Plan the budget in May.", page=5),
    )  # fmt: skip
    text = chunk_document(ParsedDocument("md", blocks, title="Handbook", page_count=5))
    async with tenant_session(organisation.system) as session:
        registry = await ensure_registry(session, embedder)
        data_source = await ensure_source(session, "test:")
        await receive_objects(session, data_source, {"d": 1})
        object_id = (await list_known(session, data_source))["d"].id
        about = About(object_id=object_id, title="Handbook", visibility="system_internal")
        vectors = await embedder.embed([chunk.embedded_text for chunk in text.chunks])
        await lock_index(session, registry)
        await index_document(session, registry, about, text, vectors, format="md", page_count=5)
    first, *rest = await search(organisation, embedder, "When is the budget planned?")
    assert (first.heading, first.page_first, first.page_last) == ("Money", 5, 5)
    assert first.segment_first is None
    assert (first.source_kind, first.title, first.object_id) == ("document", "Handbook", object_id)
    for passage in (first, *rest):
        assert text.text[passage.char_start : passage.char_end] == passage.text


@pytest.mark.parametrize(("question", "top_k"), [(" \n", 10), ("why " * 5_000, 10), ("Why?", 0), ("Why?", 101)])
async def test_what_can_not_be_searched_is_said(organisation: Organisation, question: str, top_k: int) -> None:
    with pytest.raises(UnusableQuestion):
        await search(organisation, None, question, top_k=top_k)


def test_words_that_ask_are_not_searched_for() -> None:
    assert choose_terms("What did Amina say about the budget?") == term_indices("Amina budget")
    assert choose_terms("Who said what?") == term_indices("Who said what")


@dataclass(frozen=True)
class Unit:
    """What growing needs of a chunk."""

    source_id: int
    chunk_index: int
    score: float


UNITS = st.lists(
    st.builds(Unit, st.integers(0, 2), st.integers(0, 12), st.floats(-3, 9)),
    unique_by=lambda unit: (unit.source_id, unit.chunk_index),
    max_size=30,
).map(lambda units: sorted(units, key=lambda unit: -unit.score))


@given(UNITS, st.integers(1, 12))
def test_passages_grow_to_neighbours_alike(units: list[Unit], most: int) -> None:
    runs = grow(units, most)
    assert len(runs) <= most
    heads = [max(run, key=lambda unit: unit.score) for run in runs]
    assert [head.score for head in heads] == sorted((head.score for head in heads), reverse=True)
    held = [unit for run in runs for unit in run]
    assert len(held) == len(set(held))
    for run, head in zip(runs, heads, strict=True):
        assert 1 <= len(run) <= UNITS_A_PASSAGE
        assert all(a.source_id == b.source_id and b.chunk_index - a.chunk_index == 1 for a, b in pairwise(run))
        assert all(unit.score >= LIKENESS * head.score for unit in run if unit != head)
    if len(runs) < most:
        assert set(held) == set(units)
