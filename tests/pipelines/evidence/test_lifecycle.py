"""What later sessions make of a promise, a goal, a decision; and what they must leave alone."""

from dataclasses import replace

import pytest

from pipelines.evidence.lifecycle import settle
from pipelines.evidence.records import SessionClaim
from tests.pipelines.evidence.told_claims import apply, say, settle_all

JAN, FEB, MAR, APR = "2026-01-12", "2026-02-09", "2026-03-09", "2026-04-13"


@pytest.mark.parametrize(
    ("promise", "answer", "status"),
    [
        ("I'll send Hugo the garden plan by Friday.", "I sent Hugo the garden plan on the Thursday.", "kept"),
        ("I'll hand the keys over to Beate.", "I gave Beate the keys.", "kept"),
        ("I'm going to talk to Hugo about the fence.", "I did speak to Hugo about the fence.", "kept"),
        ("I'll register for the welding course.", "Signed up for the welding course in March.", "kept"),
        ("I'll write to Beate and ask for the estimate.", "I wrote to her and asked Beate for the estimate.", "kept"),
        ("I won't phone Hugo about the fence.", "I never phoned Hugo about the fence.", "kept"),
        ("I'll phone Hugo about the fence.", "I didn't phone Hugo about the fence.", "broken"),
        ("I'll phone Hugo about the fence.", "I never got to it, I didn't call Hugo about the fence.", "broken"),
        ("I'll phone Hugo about the fence.", "I almost phoned Hugo about the fence.", "broken"),
        ("I'll swim three mornings every week.", "I said three mornings every week and I've swum twice.", "broken"),
        ("I won't phone Hugo about the fence.", "I phoned Hugo about the fence.", "broken"),
        (
            "I'll phone Hugo about the fence.",
            "I phoned Hugo about the fence, but I didn't find anything at all for the kitchen table.",
            "kept",
        ),
        ("I'm keeping the allotment with Hugo.", "I gave up the allotment with Hugo.", "broken"),
    ],
)
def test_a_later_session_tells_whether_a_promise_was_kept(promise: str, answer: str, status: str) -> None:
    made, told = say("commitment", promise, JAN), say("progress", answer, FEB)
    [settled, _] = settle_all(made, told)
    assert (settled.status, settled.superseded_by) == (status, told.claim_id)


@pytest.mark.parametrize(
    "answer",
    [
        "I'll phone Hugo about the fence next week.",  # promised again
        "I want to phone Hugo about the fence.",
        "I hoped I'd phone Hugo about the fence.",
        "I might have phoned Hugo about the fence if it hadn't rained.",
        "I wrote to Beate about the roof.",  # another matter
        "I phoned Beate about the roof.",  # the same act, another person and matter
        "I saw Hugo.",  # the same person, another act
        "Hugo said that Beate phoned him about the kitchen.",
        "I told you in January about the plan.",
    ],
)
def test_what_is_no_answer_settles_nothing(answer: str) -> None:
    made, told = say("commitment", "I'll phone Hugo about the fence.", JAN), say("progress", answer, FEB)
    assert settle([made, told]) == []


def test_only_the_one_who_promised_can_keep_it() -> None:
    made = say("commitment", "I'll phone Hugo about the fence.", JAN)
    coach = say("progress", "I phoned Hugo about the fence.", FEB, holder="Ines Holm")
    other = say("progress", "I phoned Hugo about the fence.", FEB, holder="Another Client")
    assert settle([made, coach, other]) == []
    by_coach = say("commitment", "I'll phone Hugo about the fence.", JAN, holder="Ines Holm")
    client = say("progress", "I phoned Hugo about the fence.", FEB)
    assert settle([by_coach, client]) == []


def test_labels_stand_for_people_where_nobody_is_known() -> None:
    made = replace(say("commitment", "I'll phone Hugo about the fence.", JAN), holder_id=None, holder="Speaker 1")
    told = replace(say("progress", "I phoned Hugo about the fence.", FEB), holder_id=None, holder="Speaker 1")
    assert [one.status for one in settle([made, told])] == ["kept"]
    assert settle([made, replace(told, holder="Speaker 2")]) == []


def test_words_of_the_same_session_or_of_an_earlier_or_undated_one_answer_nothing() -> None:
    made = say("commitment", "I'll phone Hugo about the fence.", FEB)
    for day in (JAN, FEB, None):
        assert settle([made, say("progress", "I phoned Hugo about the fence.", day)]) == []


def test_a_bare_answer_is_about_what_was_asked() -> None:
    hugo = say("commitment", "I'll phone Hugo about the fence.", JAN)
    beate = say("commitment", "I'll write to Beate about the roof.", JAN)
    did = say("progress", "I did it.", FEB, subject="Hugo")
    settled = settle_all(hugo, beate, did)
    assert [one.status for one in settled] == ["kept", "asserted", "asserted"]
    short = say("progress", "I lasted four days.", FEB, subject="roof")
    assert [one.status for one in settle_all(hugo, beate, short)] == ["asserted", "broken", "asserted"]


def test_a_promise_made_again_after_it_was_broken_is_a_new_one() -> None:
    first = say("commitment", "I'll phone Hugo about the fence.", JAN)
    not_yet = say("progress", "I didn't phone Hugo about the fence.", FEB)
    again = say("commitment", "I'll phone Hugo about the fence by Monday.", FEB)
    done = say("progress", "I phoned Hugo about the fence.", MAR)
    settled = settle_all(first, not_yet, again, done)
    assert [(one.status, one.superseded_by) for one in (settled[0], settled[2])] == [
        ("broken", not_yet.claim_id),
        ("kept", done.claim_id),
    ]


def test_the_first_session_that_speaks_of_a_promise_settles_it() -> None:
    made = say("commitment", "I'll phone Hugo about the fence before the fair.", JAN)
    not_yet = say("progress", "I didn't phone Hugo.", FEB, subject="fence")
    late = say("progress", "I phoned Hugo about the fence before the fair after all.", MAR)
    assert settle_all(made, not_yet, late)[0].superseded_by == not_yet.claim_id


def test_an_answer_goes_to_the_promise_it_fits_best() -> None:
    fence = say("commitment", "I'll talk to Hugo about the fence.", JAN)
    piano = say("commitment", "I'll talk to Hugo about the piano.", JAN)
    told = say("progress", "I talked to Hugo about the piano.", FEB)
    assert [one.status for one in settle_all(fence, piano, told)] == ["asserted", "kept", "asserted"]


def test_a_goal_is_superseded_by_what_replaces_it_and_retracted_by_what_only_ends_it() -> None:
    goal = say("goal", "I want to stay on the school board.", JAN)
    leaves = say("decision", "I've changed my mind about the school board.", MAR, polarity="negative")
    assert settle_all(goal, leaves)[0].status == "superseded"
    ends = say("progress", "I no longer go to the school board.", MAR)
    assert settle_all(goal, ends)[0].status == "retracted"


def test_a_goal_of_another_matter_stands() -> None:
    goal = say("goal", "I want to stay on the school board.", JAN)
    other = say("decision", "I've changed my mind about the piano.", MAR)
    assert settle([goal, other]) == []


def test_a_status_is_worked_out_afresh_when_the_answer_is_gone() -> None:
    made = say("commitment", "I'll phone Hugo about the fence.", JAN)
    told = say("progress", "I phoned Hugo about the fence.", FEB)
    stored = settle_all(made, told)
    assert settle(stored) == []  # nothing to write twice
    [change] = settle([replace(stored[0], superseded_by=None)])  # as the store leaves it once the answer is erased
    assert (change.status, change.by_claim_id) == ("asserted", None)
    assert apply(stored[:1], [change])[0].status == "asserted"


def test_the_order_of_claims_does_not_matter() -> None:
    claims: list[SessionClaim] = [
        say("commitment", "I'll phone Hugo about the fence.", JAN),
        say("commitment", "I'll write to Beate about the roof.", JAN),
        say("progress", "I phoned Hugo about the fence.", FEB),
        say("progress", "I never wrote to Beate about the roof.", FEB),
        say("goal", "I want to stay on the school board.", JAN),
        say("decision", "I've changed my mind about the school board.", APR),
    ]
    forwards = {(one.claim_id, one.status, one.by_claim_id) for one in settle(claims)}
    backwards = {(one.claim_id, one.status, one.by_claim_id) for one in settle(claims[::-1])}
    assert len(forwards) == 3
    assert forwards == backwards


def test_a_change_says_why() -> None:
    made, told = (
        say("commitment", "I'll phone Hugo about the fence.", JAN),
        say("progress", "I phoned Hugo about the fence.", FEB),
    )
    [change] = settle([made, told])
    assert "hugo" in change.why
    assert "fenc" in change.why


def test_claims_without_quotes_or_words_do_no_harm() -> None:
    empty = replace(say("progress", "x", JAN), quotes=())
    marks = say("commitment", "…?! “”", JAN)
    assert settle([]) == []
    assert settle([empty, marks, say("progress", "“”", FEB)]) == []
