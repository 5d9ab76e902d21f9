"""One meaning said twice in a session is one claim with both quotes; what differs stays apart."""

from dataclasses import replace
from datetime import date

import pytest

from pipelines.evidence.merge import merge_duplicates
from pipelines.evidence.records import Method, SessionClaim
from tests.pipelines.evidence.told_claims import say

DAY = "2026-03-02"


def test_a_promise_repeated_later_keeps_the_first_id_and_both_quotes() -> None:
    first = say("commitment", "I'll send the garden plan to Hugo by Friday.", DAY)
    again = say("commitment", "So I'll send Hugo the garden plan.", DAY)
    [merged] = merge_duplicates([again, first])
    assert merged.claim_id == first.claim_id
    assert merged.statement == first.statement
    assert [quote.exact for quote, _ in merged.quotes] == [first.quotes[0][0].exact, again.quotes[0][0].exact]


def test_two_readings_of_one_sentence_are_one_claim() -> None:
    by_rules = say("goal", "I want to sleep before midnight", DAY, place=100)
    by_model = replace(
        say("goal", "I want to sleep before midnight again", DAY, place=100, subject="sleep"),
        method=Method(name="model", model_name="m"),
    )
    [merged] = merge_duplicates([by_model, by_rules])
    assert merged.claim_id == by_rules.claim_id
    assert merged.subject == "sleep"
    assert len(merged.quotes) == 2


def test_what_was_stated_outright_comes_before_what_was_inferred_earlier() -> None:
    inferred = say("emotion", "You sound ashamed of the roof estimate.", DAY, modality="inferred", holder="Vera Brandt")
    stated = say("emotion", "I'm ashamed of the roof estimate.", DAY)
    [merged] = merge_duplicates([inferred, stated])
    assert (merged.claim_id, merged.modality) == (stated.claim_id, "stated")


def test_a_bare_yes_lends_its_quote_to_the_promise_it_agrees_to() -> None:
    yes = say("commitment", "Yes.", DAY, "I'll phone the roofer on Monday.", place=10)
    promise = say("commitment", "I'll phone the roofer on Monday.", DAY, place=15)
    [merged] = merge_duplicates([yes, promise])
    assert merged.claim_id == promise.claim_id


APART: list[tuple[SessionClaim, SessionClaim]] = [
    (  # another person
        say("commitment", "I'll send the garden plan to Hugo.", DAY),
        say("commitment", "I'll send the garden plan to Hugo.", DAY, holder="Ruth Coach"),
    ),
    (  # another type
        say("goal", "I want to send the garden plan to Hugo.", DAY),
        say("commitment", "I'll send the garden plan to Hugo.", DAY),
    ),
    (  # the opposite
        say("goal", "I want to keep the garden plan.", DAY),
        say("goal", "I don't want to keep the garden plan.", DAY),
    ),
    (  # to somebody else
        say("commitment", "Then I'll send Hugo the garden plan and the roof estimate.", DAY),
        say("commitment", "Then I'll send Beate the garden plan and the roof estimate.", DAY),
    ),
    (  # due on another day
        say("commitment", "I'll water the garden beds.", DAY, until=date(2026, 3, 6)),
        say("commitment", "I'll water the garden beds.", DAY, until=date(2026, 4, 6)),
    ),
    (  # only common words
        say("progress", "I did it.", DAY),
        say("progress", "I did it again.", DAY),
    ),
    (
        say("emotion", "I feel proud of the roof.", DAY, polarity="positive"),
        say("emotion", "I feel proud of the roof.", DAY, polarity="negative"),
    ),
]


@pytest.mark.parametrize("pair", APART, ids=[pair[1].quotes[0][0].exact for pair in APART])
def test_what_differs_stays_apart(pair: tuple[SessionClaim, SessionClaim]) -> None:
    assert merge_duplicates(pair) == sorted(pair, key=lambda one: one.quotes[0][0].char_start)


def test_merging_twice_changes_nothing_and_order_does_not_matter() -> None:
    claims = [
        say("commitment", "I'll send the garden plan to Hugo by Friday.", DAY),
        say("commitment", "So I'll send Hugo the garden plan.", DAY),
        say("goal", "I want a quiet garden.", DAY),
        say("progress", "I did it.", DAY),
    ]
    once = merge_duplicates(claims)
    assert len(once) == 3
    assert merge_duplicates(once) == once
    assert merge_duplicates(claims[::-1]) == once


def test_dates_never_cross() -> None:
    first = say("goal", "I want to finish the roof", DAY, place=0, since=date(2026, 5, 1))
    second = say("goal", "I want to finish the roof", DAY, place=0, until=date(2026, 4, 1))
    [merged] = merge_duplicates([first, replace(second, claim_id=say("goal", "x", DAY).claim_id)])
    assert merged.valid_from is None or merged.valid_to is None or merged.valid_from <= merged.valid_to
