"""Support rises with what stands in the sources, and names what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.support import score_likeness, score_support
from rag.fakes import HashEmbedder

SOURCE = (
    "Ingrid moved the Tuesday stand-up to half past nine. She asked Olu to keep notes for 6 weeks. "
    "The pilot in Bergen costs 4,200 euros and ends in October."
)


def test_words_of_the_source_are_wholly_supported() -> None:
    support = score_support("She asked Olu to keep notes for 6 weeks.", [SOURCE])
    assert support.score == 1.0
    assert (support.unknown_figures, support.unknown_names) == ((), ())


def test_words_from_elsewhere_are_not() -> None:
    assert score_support("Penguins prefer colder harbours.", [SOURCE]).score == 0.0


def test_same_words_shuffled_score_lower() -> None:
    straight = score_support("Olu keeps notes for six weeks.", [SOURCE]).score
    shuffled = score_support("Weeks for Olu six notes keeps.", [SOURCE]).score
    assert straight > shuffled > 0


def test_an_added_sentence_lowers_the_score_by_its_share() -> None:
    good = score_support("Ingrid moved the Tuesday stand-up to half past nine.", [SOURCE]).score
    both = score_support("Ingrid moved the Tuesday stand-up to half past nine. The board applauded loudly.", [SOURCE])
    assert good > both.score > good / 2
    assert [sentence.score > 0.5 for sentence in both.sentences] == [True, False]


def test_changed_figures_and_names_are_named() -> None:
    support = score_support("The pilot in Tromsø costs 4,700 euros. It was Ingrid's idea.", [SOURCE])
    assert support.unknown_figures == ("4,700",)
    assert support.unknown_names == ("Tromsø",)


@pytest.mark.parametrize("answer", ["", "   ", "…", "the of and", "!?"])
def test_an_answer_that_says_nothing_has_no_support(answer: str) -> None:
    assert score_support(answer, [SOURCE]).score == 0.0


def test_without_sources_nothing_is_supported() -> None:
    assert score_support("Ingrid moved the stand-up.", []).score == 0.0


@given(st.text(max_size=300), st.lists(st.text(max_size=300), max_size=4))
def test_any_text_gets_a_score_between_0_and_1(answer: str, sources: list[str]) -> None:
    assert 0 <= score_support(answer, sources).score <= 1


async def test_likeness_ranks_as_meaning_does() -> None:
    embedder = HashEmbedder()
    near = await score_likeness("Ingrid moved the stand-up.", [SOURCE], embedder)
    far = await score_likeness("Penguins prefer colder harbours.", [SOURCE], embedder)
    assert near > far
    assert await score_likeness("", [SOURCE], embedder) == 0.0
    assert await score_likeness("Ingrid moved.", [], embedder) == 0.0
