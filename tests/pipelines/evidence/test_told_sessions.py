"""From spoken sessions to patterns without a model: what two people planted is found, and nothing besides."""

from collections.abc import Sequence
from functools import cache

from evaluation.evidence_truth import ClientEvidence, build_evidence
from pipelines.evidence.records import SessionClaim, SessionText
from tests.pipelines.evidence.told_sessions import IVO, IVO_SESSIONS, NORA, NORA_SESSIONS, person


@cache
def build(name: str) -> ClientEvidence:
    texts: Sequence[SessionText] = {NORA: NORA_SESSIONS, IVO: IVO_SESSIONS}[name]
    return build_evidence(name, [(str(text.held_at), text) for text in texts])


def words(claim: SessionClaim) -> str:
    return " ".join(located.exact for located, _ in claim.quotes)


def list_settled(name: str) -> set[tuple[str, str, str]]:
    by_id = {claim.claim_id: claim for claim in build(name).claims}
    return {
        (claim.status, words(claim)[:30], words(by_id[claim.superseded_by])[:26])
        for claim in build(name).claims
        if claim.superseded_by
    }


def test_promises_kept_and_broken_are_told_from_each_other_with_their_answers() -> None:
    settled = list_settled(NORA)
    assert ("kept", "I'll send Petra the soup chapt", "I sent Petra the soup chap") in settled
    assert ("broken", "I'll phone the printer in Malm", "I never phoned the printer") in settled
    assert ("kept", "I'll phone the printer on Tues", "I phoned the printer!") in settled
    assert ("kept", "I'll ask her for the accounts ", "I wrote to Lenka on the Sa") in list_settled(IVO)


def test_nothing_else_is_settled() -> None:
    """Not the coach's template, the sister's call, what Tomas dug, or what somebody would do if they were brave."""
    outcomes = [claim for name in (NORA, IVO) for claim in build(name).claims if claim.status in ("kept", "broken")]
    assert len(outcomes) <= 6
    assert {claim.holder_id for claim in outcomes} == {person(NORA), person(IVO)}
    told = " ".join(words(claim) for claim in outcomes)
    assert not any(trap in told for trap in ("template", "sister", "Tomas", "resign", "garden"))


def test_changes_are_told_from_contradictions() -> None:
    nora = {pattern.kind: pattern.statement for pattern in build(NORA).patterns}
    assert "without an agent" in nora["change"]
    assert "changed my mind about the agent" in nora["change"]
    assert "haven't slept" in nora["contradiction"]
    assert "slept like a stone" in nora["contradiction"]
    ivo = [pattern for pattern in build(IVO).patterns if pattern.kind in ("change", "contradiction")]
    assert [pattern.kind for pattern in ivo] == ["change"]
    assert "resigned from the choir board" in ivo[0].statement


def test_a_rating_that_rises_is_a_trend_and_polishing_comes_back() -> None:
    [trend] = [pattern for pattern in build(NORA).patterns if pattern.kind == "trend"]
    assert "rose from 2" in trend.statement
    assert "to 7" in trend.statement
    [theme] = [pattern for pattern in build(NORA).patterns if pattern.kind == "recurrence"]
    assert theme.subject in ("recipe", "polish")


def test_every_quote_is_verbatim_and_every_pattern_spans_sessions() -> None:
    texts = {text.transcript_id: text.text for text in (*NORA_SESSIONS, *IVO_SESSIONS)}
    for name in (NORA, IVO):
        by_id = {claim.claim_id: claim for claim in build(name).claims}
        for claim in by_id.values():
            assert claim.quotes
            for located, _ in claim.quotes:
                assert texts[claim.transcript_id][located.char_start : located.char_end] == located.exact
        for pattern in build(name).patterns:
            assert len({by_id[one].transcript_id for one in pattern.supporting}) >= 2
            assert name in pattern.statement
