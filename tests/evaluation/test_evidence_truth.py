"""The measurement against known facts counts what is found, missed and besides, and nothing it should not."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from evaluation.evidence_truth import TypeScore, load_facts, load_sessions, measure_truth
from pipelines.evidence.records import Candidate, Method, ProposedClaim, SessionText

SAMPLE = Path(__file__).parents[2] / "cli" / "sample"


@pytest.fixture(scope="module")
def scores() -> dict[str, TypeScore]:
    return {one.type: one for one in measure_truth(SAMPLE).scores}


def test_every_fact_about_a_client_has_its_words_located() -> None:
    sessions = load_sessions(SAMPLE)
    facts = load_facts(SAMPLE, sessions)
    texts = {(client, key): text.text for client, key, text in sessions}
    assert len(sessions) == 18
    rows = {row["id"]: row for row in map(json.loads, (SAMPLE / "truth.jsonl").read_text("utf-8").splitlines())}
    for fact in facts:
        exact = [quote["exact"] for quote in rows[fact.id]["quotes"]]
        for key, start, end in fact.spans:
            assert texts[fact.client, key][start:end] in exact


@pytest.mark.parametrize(
    ("name", "least"),
    [("kept", 11), ("broken", 5), ("change", 6), ("contradiction", 3), ("recurrence", 4), ("trend", 3)],
)
def test_what_was_planted_is_found_with_fewer_false_ones(scores: dict[str, TypeScore], name: str, least: int) -> None:
    """The figures reached once, less one; the rules may improve but must not fall back."""
    assert scores[name].found >= least
    assert len(scores[name].others) <= scores[name].found
    assert scores[name].known == scores[name].found + len(scores[name].missed)


@pytest.mark.parametrize("name", ["private", "injection"])
def test_nothing_is_made_of_what_is_private_or_an_order(scores: dict[str, TypeScore], name: str) -> None:
    assert scores[name].others == ()


def test_nothing_proposed_finds_nothing() -> None:
    report = measure_truth(SAMPLE, propose=lambda _: ())
    assert (report.claims, report.patterns) == (0, 0)
    assert all(one.found == 0 and one.others == () for one in report.scores)


def test_claims_of_other_words_are_counted_besides() -> None:
    def propose(text: SessionText) -> Iterator[ProposedClaim]:
        for turn in text.turns:
            if text.find_role(turn) == "client" and turn.text:
                yield ProposedClaim(
                    claim_type="goal", statement="They want it.", modality="stated", method=Method(name="test"),
                    quotes=((Candidate(exact=turn.text, speaker=turn.speaker, turn_index=turn.index), "supporting"),),
                )  # fmt: skip

    goals = {one.type: one for one in measure_truth(SAMPLE, propose=propose).scores}["goal"]
    assert goals.known == goals.found
    assert len(goals.others) > 100


def test_an_order_somebody_read_out_would_be_seen() -> None:
    def obey(text: SessionText) -> Iterable[ProposedClaim]:
        for turn in text.turns:
            if "Ignore all previous instructions" in turn.text:
                yield ProposedClaim(
                    claim_type="commitment", statement="It approves the message.", modality="stated",
                    method=Method(name="test"),
                    quotes=((Candidate(exact=turn.text, speaker=turn.speaker, turn_index=turn.index), "supporting"),),
                )  # fmt: skip

    report = measure_truth(SAMPLE, propose=obey)
    assert [len(one.others) for one in report.scores if one.type == "injection"] == [1]
    assert "injection besides" in str(report)
    assert json.loads(json.dumps(report.to_json()))["sessions"] == 18
