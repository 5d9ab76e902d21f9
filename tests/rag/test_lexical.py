"""The inner product of the sparse vectors is BM25."""

from collections import Counter
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pgvector import SparseVector

from rag import lexical as subject
from rag.lexical import DIMENSIONS, TermWeights, document_vector, list_words, query_vector, term_indices


def score(query: TermWeights, document: TermWeights) -> float:
    return sum(weight * document.weights.get(index, 0) for index, weight in query.weights.items())


def test_the_inner_product_is_bm25() -> None:
    documents = ["Amina plans and plans.", "The plan is hers.", "Rain, rain, rain."]
    frequencies = Counter(index for document in documents for index in term_indices(document))
    query = query_vector("plans of Amina", frequencies, len(documents))
    rarity = {"amina": log(1 + 2.5 / 1.5), "plan": log(1 + 1.5 / 2.5)}
    norm = 1.2 * (0.25 + 0.75 * 3 / 64)  # "and" is no term
    expected = rarity["amina"] * 2.2 / (1 + norm) + rarity["plan"] * 2 * 2.2 / (2 + norm)
    assert score(query, document_vector(documents[0])) == pytest.approx(expected)
    assert score(query, document_vector(documents[1])) == pytest.approx(
        rarity["plan"] * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 64))
    )
    assert score(query, document_vector(documents[2])) == 0


def test_a_term_has_the_same_index_for_ever() -> None:
    # stored vectors depend on these; another hash, stem or fold needs every vector written anew
    assert term_indices("commitments") == [150501792]
    assert term_indices("Zürich 1,000") == [5208739, 376173059]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Commitments", "committing committed"),
        ("José\u2019s café", "jose's cafe"),
        ("ﬁnance", "FINANCE"),
        ("1,000 steps", "1000 step"),
        ("snake_case", "snake case"),
        ("e\u0301clair", "\u00e9clair"),
    ],
)
def test_spellings_of_a_word_are_one_term(one: str, other: str) -> None:
    assert term_indices(one) == term_indices(other)


def test_numbers_and_negations_are_terms_and_function_words_are_not() -> None:
    assert len(term_indices("not never 42 3.5 don't")) == 5
    assert term_indices("The one of it is") == term_indices("one")
    assert term_indices("Is it the ... ?") == []
    assert list_words("It's 3.50, isn't it?") == ["it's", "3.50", "isn't", "it"]


def test_function_words_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "DROP_FUNCTION_WORDS", False)
    subject.term_index.cache_clear()
    try:
        assert len(term_indices("the one")) == 2
    finally:
        subject.term_index.cache_clear()


def test_rare_terms_weigh_more_and_none_is_negative() -> None:
    (rare,), (common,) = term_indices("rare"), term_indices("common")
    query = query_vector("rare common", {rare: 1, common: 90}, 80)  # a count that has outrun the total
    assert query.weights[rare] > query.weights[common] > 0
    assert query_vector("rare rare", {rare: 1}, 80).weights[rare] == 2 * query.weights[rare]
    assert query_vector("rare", {}, 0).weights[rare] == pytest.approx(log(2))


def test_a_vector_fits_what_pgvector_stores() -> None:
    vector = document_vector(" ".join(f"word{n}" for n in range(17_000)) + " kept" * 3)
    assert len(vector.weights) == subject.MAX_TERMS
    assert term_indices("kept")[0] in vector.weights


def test_both_renderings_agree() -> None:
    vector = TermWeights({7: 0.5, 1: 1.25, DIMENSIONS: 2.0})
    assert vector.to_text() == f"{{1:1.25,7:0.5,{DIMENSIONS}:2}}/{DIMENSIONS}"
    assert SparseVector.from_text(vector.to_text()) == vector.to_sparsevec()
    assert TermWeights({}).to_text() == f"{{}}/{DIMENSIONS}"


@given(st.text(max_size=300))
def test_any_text_gives_a_valid_vector(text: str) -> None:
    vector = document_vector(text)
    assert sorted(vector.weights) == term_indices(text)
    assert all(1 <= index <= DIMENSIONS and 0 < weight < 2.2 for index, weight in vector.weights.items())
    parsed = SparseVector.from_text(vector.to_text())
    assert parsed.values() == pytest.approx(vector.to_sparsevec().values(), rel=1e-6)
