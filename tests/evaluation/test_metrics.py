"""Each score of words alone means what it says."""

import pytest

from evaluation.metrics import flag_answer, holds, score_answer, score_failure
from evaluation.records import BY_WORDS, Cited, Response
from evaluation.suites import Case
from rag.fakes import HashEmbedder

WANTED = "I'll send the draft budget to Hanneke before Thursday lunch."
OTHER = "The allotment flooded again and nobody had closed the sluice."
CASE = Case(
    id="budget", user_input="What did Piet promise about the budget?", reference="Piet will send the draft budget.",
    reference_contexts=(WANTED,),
)  # fmt: skip


def make_response(**more: object) -> Response:
    values: dict[str, object] = {
        "text": f"Piet said: “{WANTED}” [1]", "refused": False, "provider": "extractive",
        "contexts": (f"So. {WANTED} That is all.", OTHER), "citations": (Cited(quote=WANTED, speaker="Piet Vos"),),
        "sessions_in_scope": 4, "sessions_examined": 3, "timings": {"total_ms": 12.0},
        "input_tokens": 10, "output_tokens": 5,
    }  # fmt: skip
    return Response(**(values | more))  # type: ignore[arg-type]  # as above


async def test_a_good_answer() -> None:
    scores = await score_answer(CASE, make_response(), HashEmbedder())
    assert scores["support"] is not None
    assert scores["support"] > 0.75
    assert scores["claim_coverage"] is not None
    expected = {
        "refusal_correct": 1.0, "context_precision": 1.0, "context_recall": 1.0, "citation_precision": 1.0,
        "citation_recall": 1.0, "scope_coverage": 0.75, "tokens": 15.0, "cost_usd": None, "total_ms": 12.0,
    }  # fmt: skip
    assert {name: scores[name] for name in expected} == expected


async def test_dropped_citations_are_seen() -> None:
    scores = await score_answer(CASE, make_response(citations=()), None)
    assert (scores["citation_recall"], scores["citation_precision"]) == (0.0, 0.0)
    assert scores["answer_relevance"] is None


async def test_the_rank_of_what_was_wanted_counts() -> None:
    late = await score_answer(CASE, make_response(contexts=(OTHER, OTHER, WANTED)), None)
    assert late["context_precision"] == pytest.approx(1 / 3)
    lost = await score_answer(CASE, make_response(contexts=(OTHER,)), None)
    assert (lost["context_precision"], lost["context_recall"]) == (0.0, 0.0)


async def test_refusing_what_can_be_answered_is_wrong_and_the_other_way_right() -> None:
    refusal = make_response(text="Nothing was found.", refused=True, citations=())
    scores = await score_answer(CASE, refusal, None)
    assert (scores["refusal_correct"], scores["citation_recall"], scores["support"]) == (0.0, 0.0, None)
    unanswerable = Case(id="none", user_input="What is Piet's salary?", answerable=False)
    assert (await score_answer(unanswerable, refusal, None))["refusal_correct"] == 1.0
    assert (await score_answer(unanswerable, make_response(), None))["refusal_correct"] == 0.0


async def test_unknown_stays_unknown() -> None:
    scores = await score_answer(CASE, make_response(input_tokens=None, sessions_in_scope=0), None)
    assert (scores["tokens"], scores["scope_coverage"]) == (None, None)


def test_a_failure_is_worst_where_it_would_have_been_scored() -> None:
    scores = score_failure(CASE)
    assert set(scores) == set(BY_WORDS)
    assert set(scores.values()) == {0.0}
    unanswerable = score_failure(Case(id="none", user_input="Why?", answerable=False))
    assert (unanswerable["refusal_correct"], unanswerable["support"], unanswerable["citation_recall"]) == (
        0.0,
        None,
        None,
    )


def test_what_no_source_holds_is_flagged() -> None:
    response = make_response(text="Piet Vos owes Hanneke 300 euros by Thursday, says Willem. [1]")
    assert flag_answer(response) == ["No source holds the figure 300.", "No source holds the name Willem."]
    assert flag_answer(make_response(refused=True)) == []


def test_holding_bears_cut_edges_not_other_words() -> None:
    assert holds("I'll send the draft budget to Hanneke before Thursday", WANTED)
    assert holds(f"Well, fine. {WANTED} And then?", WANTED)
    assert not holds(OTHER, WANTED)
    assert not holds("the budget", WANTED)
