"""What a rule of cue phrases passes over: answers, habits, lasting states, figures; and what is none of them."""

from collections.abc import Sequence

import pytest

from pipelines.evidence.gate import admit
from pipelines.evidence.patterns_measures import propose_measures
from pipelines.evidence.patterns_reports import complete_proposals, propose_reports
from pipelines.evidence.records import Candidate, Method, ProposedClaim
from tests.pipelines.evidence.told_sessions import NORA_SESSIONS, tell


def report(*lines: str) -> list[ProposedClaim]:
    return propose_reports(tell("Vera Brandt", "2026-03-02", lines))


def said(claims: Sequence[ProposedClaim]) -> list[str]:
    return [claim.quotes[0][0].exact for claim in claims]


@pytest.mark.parametrize(
    ("asked", "answer", "about"),
    [
        ("Tell me about the deposit list.", "Done, on the Thursday.", "deposit"),
        ("And Hugo?", "I told him.", "hugo"),
        ("What about the welding course?", "Signed up in March.", "welding"),
        ("How did it go with the roof?", "I almost phoned them.", "roof"),
    ],
)
def test_an_answer_is_about_what_was_asked(asked: str, answer: str, about: str) -> None:
    [claim] = report(f"C: {asked}", f"K: {answer}")
    assert (claim.claim_type, said([claim])) == ("progress", [answer])
    assert about in (claim.subject or "")


@pytest.mark.parametrize(
    ("words", "claim_type"),
    [
        ("I write instead of talking.", "progress"),
        ("Forty-three years old and waiting on a call.", "progress"),
        ("Since Easter I haven't opened the ledger.", "progress"),
        ("Beate's been against it since January.", "belief"),
        ("I've changed my mind about the roof.", "decision"),
    ],
)
def test_habits_lasting_states_and_changes_of_mind_are_heard(words: str, claim_type: str) -> None:
    [claim] = report(f"K: {words}")
    assert (claim.claim_type, said([claim])) == (claim_type, [words])


@pytest.mark.parametrize(
    "words",
    [
        "I think so.",
        "I know Hugo.",
        "If I phone him, he'll shout.",
        "Since Easter, would you believe it?",
        "He writes instead of talking.",
        'Hugo said, "I write instead of talking."',
        "I'll phone him.",
        "Hm.",
    ],
)
def test_what_is_none_of_them_is_left_alone(words: str) -> None:
    assert report(f"K: {words}") == []


def test_the_coachs_words_are_never_the_clients() -> None:
    assert report("K: Hello.", "C: I write instead of talking, since Easter.") == []
    assert propose_measures(tell("Vera Brandt", "2026-03-02", ["C: I'm getting five hours of sleep."])) == []


def test_what_carries_an_answer_on_is_quoted_with_it() -> None:
    [claim] = report("C: And the archive?", "K: Beate, running the archive. Which she does. Since the first of June.")
    assert [one.exact for one, _ in claim.quotes] == [
        "Beate, running the archive.",
        "Which she does.",
        "Since the first of June.",
    ]


def test_figures_take_their_subject_from_the_question_or_the_words_before() -> None:
    text = tell(
        "Vera Brandt",
        "2026-03-02",
        ["C: And sleep?", "K: Five hours.", "C: How sure are you, zero to ten?", "K: Four.", "C: Hm.", "K: It's nine."],
    )
    assert [(claim.subject, claim.quotes[0][0].exact) for claim in propose_measures(text)] == [
        ("sleep hours", "Five hours."),
        ("rating", "Four."),
    ]


def test_a_sentence_already_taken_is_not_proposed_twice() -> None:
    words = "I write instead of talking."
    text = tell("Vera Brandt", "2026-03-02", [f"K: {words}"])
    taken = ProposedClaim(
        claim_type="obstacle", statement="Vera Brandt writes.", modality="stated", method=Method(name="test"),
        quotes=((Candidate(exact=words, turn_index=0), "supporting"),),
    )  # fmt: skip
    assert complete_proposals(text, [taken]) == [taken]
    assert said(complete_proposals(text, [])) == [words]


def test_every_report_stands_in_the_text_and_keeps_to_what_the_store_takes() -> None:
    for text in NORA_SESSIONS:
        proposed = complete_proposals(text, [])
        extraction = admit(text, proposed)
        assert proposed
        assert extraction.rejected == []
        assert not extraction.dropped
        assert all(1 <= len(claim.statement) <= 2000 for claim in extraction.claims)
