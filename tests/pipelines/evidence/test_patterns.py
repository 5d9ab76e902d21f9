"""Patterns over claims made by hand: each kind found, with what speaks against it, and nothing where there is none."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from pipelines.evidence.patterns import find_patterns
from pipelines.evidence.records import FoundPattern, PatternKind, SessionClaim
from tests.pipelines.evidence.told_claims import CLIENT, say, settle_all

DAYS = ("2026-01-12", "2026-02-09", "2026-03-09", "2026-04-13", "2026-05-11")


def find(claims: Sequence[SessionClaim], kind: PatternKind | None = None, *, sessions: int = 5) -> list[FoundPattern]:
    found = find_patterns(claims, sessions_in_scope=sessions, sessions_examined=sessions)
    by_id = {claim.claim_id: claim for claim in claims}
    for pattern in found:  # what the store asks of every pattern
        assert len(pattern.supporting) >= 2
        assert len({by_id[one].transcript_id for one in pattern.supporting}) >= 2
        assert not set(pattern.supporting) & set(pattern.counter)
        assert 0 <= pattern.sessions_supporting <= pattern.sessions_examined <= pattern.sessions_in_scope
        assert pattern.first_seen is None or pattern.last_seen is None or pattern.first_seen <= pattern.last_seen
        assert 0 < len(pattern.statement) <= 2000
        assert pattern.support_score is None or 0 <= pattern.support_score <= 1
        times = [by_id[one].held_at for one in pattern.supporting if by_id[one].held_at]
        assert times == sorted(times)  # type: ignore[type-var]  # undated ones are left out above
    return [pattern for pattern in found if kind in (None, pattern.kind)]


def names(pattern: FoundPattern, *claims: SessionClaim) -> bool:
    return {one.claim_id for one in claims} <= set(pattern.supporting)


def test_a_record_counts_kept_of_settled_with_the_broken_ones_against_it() -> None:
    claims = settle_all(
        say("commitment", "I'll phone Hugo about the fence.", DAYS[0]),
        say("commitment", "I'll write to Beate about the roof.", DAYS[0]),
        say("commitment", "I'll sell the old piano.", DAYS[1]),
        say("progress", "I phoned Hugo about the fence.", DAYS[1]),
        say("progress", "I never wrote to Beate about the roof.", DAYS[2]),
    )
    [record] = find(claims, "commitment_record")
    assert record.statement == (
        f"{CLIENT} kept 1 of 2 commitments whose outcome was spoken of between 12 January and 9 March 2026."
    )
    assert set(record.supporting) == {claims[0].claim_id, claims[3].claim_id}
    assert set(record.counter) == {claims[1].claim_id, claims[4].claim_id}
    assert (record.sessions_in_scope, record.sessions_examined, record.sessions_supporting) == (5, 5, 2)


def test_a_record_without_a_kept_promise_stands_on_the_broken_ones() -> None:
    claims = settle_all(
        say("commitment", "I'll phone Hugo about the fence.", DAYS[0]),
        say("commitment", "I'll write to Beate about the roof.", DAYS[0]),
        say("progress", "I didn't phone Hugo about the fence.", DAYS[1]),
        say("progress", "I never wrote to Beate about the roof.", DAYS[1]),
    )
    [record] = find(claims, "commitment_record")
    assert " kept none of 2 commitments" in record.statement
    assert len(record.supporting) == 4
    assert record.counter == ()


def test_one_settled_promise_is_no_record() -> None:
    claims = settle_all(
        say("commitment", "I'll phone Hugo about the fence.", DAYS[0]),
        say("progress", "I phoned Hugo about the fence.", DAYS[1]),
    )
    assert find(claims, "commitment_record") == []


def test_a_change_has_both_sides_and_what_goes_back_on_it() -> None:
    wants = say("goal", "I want to stay on the school board.", DAYS[0])
    leaves = say("decision", "I've changed my mind about the school board.", DAYS[2])
    [change] = find(settle_all(wants, leaves), "change")
    assert names(change, wants, leaves)
    assert change.counter == ()
    assert "on 12 January 2026: “I want to stay on the school board”" in change.statement
    returns = say("decision", "I've changed my mind about the school board again.", DAYS[3])
    [change] = find(settle_all(wants, leaves, returns), "change")
    assert {returns.claim_id, leaves.claim_id, wants.claim_id} == {*change.supporting, *change.counter}


def test_a_habit_that_ended_is_a_change_though_only_the_days_are_shared() -> None:
    does = say("progress", "I still answer mail on Saturday evenings.", DAYS[1])
    stopped = say("progress", "I stopped answering on Saturday evenings.", DAYS[3])
    [change] = find([does, stopped], "change")
    assert names(change, does, stopped)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("I want to stay on the school board.", "I've changed my mind about the piano."),
        ("I want to stay on the school board.", "I enjoy the school board."),
        ("I want to work in the garden.", "I no longer work for the bank."),
    ],
)
def test_another_matter_or_the_same_stance_is_no_change(earlier: str, later: str) -> None:
    assert find([say("goal", earlier, DAYS[0]), say("decision", later, DAYS[2])], "change") == []


DENIES = say("progress", "Since Easter I haven't opened the ledger.", DAYS[3], polarity="negative")
AFFIRMS = say("progress", "Every week since Easter I've opened the ledger at night.", DAYS[4])


def test_a_contradiction_has_two_sides_about_one_time() -> None:
    [clash] = find([DENIES, AFFIRMS], "contradiction")
    assert names(clash, DENIES, AFFIRMS)
    assert "of the same time on 11 May 2026" in clash.statement
    assert find([DENIES, AFFIRMS], "change") == []


def test_what_held_at_another_time_is_no_contradiction() -> None:
    other = say("progress", "Every week since Christmas I've opened the ledger at night.", DAYS[4])
    assert find([DENIES, other], "contradiction") == []
    from_now_on = say("progress", "I open the ledger every night.", DAYS[4])
    assert find([DENIES, from_now_on], "contradiction") == []


def test_what_was_stopped_explains_the_difference() -> None:
    stopped = say("progress", "I've stopped opening the ledger since Easter.", DAYS[4])
    assert find([replace(DENIES, polarity="neutral"), stopped], "contradiction") == []


def test_a_contradiction_needs_days_on_which_both_hold() -> None:
    """The store refuses others, so one that it would refuse must not be found."""
    before = replace(DENIES, valid_from=date(2026, 1, 1), valid_to=date(2026, 1, 31))
    after = replace(AFFIRMS, valid_from=date(2026, 3, 1), valid_to=None)
    assert find([before, after], "contradiction") == []
    assert len(find([replace(before, valid_to=date(2026, 3, 1)), after], "contradiction")) == 1


def test_sides_of_one_polarity_need_another_session_behind_one_of_them() -> None:
    affirms = replace(AFFIRMS, polarity="negative")
    assert find([DENIES, affirms], "contradiction") == []
    backing = say("progress", "I was in the ledger, I opened it again, the ledger, at night.", DAYS[2])
    [clash] = find([DENIES, affirms, backing], "contradiction")
    assert names(clash, affirms, backing)
    assert clash.counter == (DENIES.claim_id,)


def test_two_months_for_one_end_contradict_when_the_later_was_true_before() -> None:
    lasts = say("belief", "The savings will last until the end of October.", DAYS[3])
    ends = say("belief", "The savings run out in July.", DAYS[4], "It's been July since February.", polarity="negative")
    [clash] = find([lasts, ends], "contradiction")
    assert names(clash, lasts, ends)
    unknown_then = say("belief", "The savings run out in July.", DAYS[4], polarity="negative")
    assert find([lasts, unknown_then], "contradiction") == []


def test_a_theme_recurs_with_what_ended_it_against_it() -> None:
    claims = [
        say("obstacle", "The old spreadsheet eats my evenings.", DAYS[0]),
        say("emotion", "I feel sick when I open the old spreadsheet.", DAYS[1]),
        say("obstacle", "It's that old spreadsheet again.", DAYS[2]),
        say("progress", "I've stopped using the old spreadsheet.", DAYS[4]),
    ]
    [theme, *_] = find(claims, "recurrence")
    assert theme.subject == "old spreadsheet"
    assert set(theme.supporting) == {one.claim_id for one in claims[:3]}
    assert theme.counter == (claims[3].claim_id,)
    assert theme.statement == (
        f"{CLIENT} spoke of “old spreadsheet” in 3 of 5 sessions between 12 January and 9 March 2026."
    )


def test_a_denial_speaks_against_a_theme_that_the_others_affirm() -> None:
    claims = [say("obstacle", "I was at the spreadsheet again.", day) for day in DAYS[:3]]
    denies = say("progress", "Since April I haven't opened the spreadsheet.", DAYS[4])
    [theme] = find([*claims, denies], "recurrence")
    assert theme.counter == (denies.claim_id,)
    unable = [say("obstacle", "I can't open the spreadsheet.", day) for day in DAYS[:3]]
    [theme] = find(unable, "recurrence")
    assert (len(theme.supporting), theme.counter) == (3, ())


def test_names_common_words_and_two_sessions_of_many_are_no_theme() -> None:
    people = [say("progress", f"We met with Hugo {where}.", day) for where, day in zip("abc", DAYS, strict=False)]
    common = [say("obstacle", "I work too much.", day) for day in DAYS[:3]]
    twice = [say("obstacle", "The spreadsheet is broken.", day) for day in DAYS[:2]]
    assert find(people, "recurrence") == []
    assert find(common, "recurrence") == []
    assert find(twice, "recurrence") == []
    assert len(find(twice, "recurrence", sessions=2)) == 1


def test_themes_are_bounded() -> None:
    words = [
        "spreadsheet",
        "gutter",
        "violin",
        "tractor",
        "passport",
        "lantern",
        "curtain",
        "harbour",
        "saddle",
        "bucket",
    ]
    claims = [say("obstacle", f"The {word} is broken.", day) for word in words for day in DAYS]
    assert len(find(claims, "recurrence")) == 2
    assert len(find(claims, "recurrence", sessions=40)) == 8


def figures(*said: str, subject: str = "sleep") -> list[SessionClaim]:
    return [say("progress", words, day, subject=subject) for words, day in zip(said, DAYS, strict=False)]


def test_a_figure_that_rises_over_three_sessions_is_a_trend() -> None:
    claims = figures("I'm getting five hours.", "It's about five and a half now.", "Six hours.", "Seven, most nights.")
    [trend] = find(claims, "trend")
    assert trend.statement == (
        f"{CLIENT}'s figure for “sleep” rose from 5 on 12 January 2026 to 7 on 13 April 2026 "
        "(5, 5.5, 6, 7; named in 4 of 5 sessions)."
    )
    assert len(trend.supporting) == 4


def test_a_step_back_speaks_against_a_trend() -> None:
    claims = figures("Two.", "Four.", "Six.", "Five.", "Nine.", subject="rating")
    [trend] = find(claims, "trend")
    assert trend.counter == (claims[3].claim_id,)
    assert trend.support_score == pytest.approx(0.8)


@pytest.mark.parametrize(
    "said",
    [
        ("Five hours.", "Seven hours."),  # two sessions
        ("Five hours.", "Nine hours.", "Four hours.", "Seven hours."),  # up and down
        ("Six hours.", "Six hours.", "Six hours."),
    ],
)
def test_what_does_not_move_one_way_is_no_trend(said: tuple[str, ...]) -> None:
    assert find(figures(*said), "trend") == []


def test_feelings_that_turn_over_five_sessions_are_a_trend() -> None:
    tones = (
        ("negative", "negative"),
        ("negative", "negative"),
        ("negative", "positive"),
        ("positive",) * 2,
        ("positive",) * 2,
    )
    claims = [
        say("emotion", f"I feel it, {place}.", day, polarity="positive" if tone == "positive" else "negative")
        for day, pair in zip(DAYS, tones, strict=True)
        for place, tone in enumerate(pair)
    ]
    [trend] = find(claims, "trend")
    assert "turned positive: 0% of it was positive on 12 January 2026, 100% on 11 May 2026" in trend.statement


def test_nothing_is_found_in_nothing_or_in_one_session() -> None:
    assert find([]) == []
    claims = [say("obstacle", "The old spreadsheet eats my evenings.", DAYS[0]) for _ in range(4)]
    assert find(claims, sessions=1) == []


def test_the_coachs_claims_are_nobodys_pattern() -> None:
    own = [say("goal", "I want a quiet kitchen.", day) for day in DAYS[:4]]
    coach = [say("commitment", "I'll bring the lantern catalogue.", day, holder="Ines Holm") for day in DAYS[:3]]
    assert {one.subject for one in find([*own, *coach], "recurrence")} == {"quiet kitchen"}


def test_the_same_claims_give_the_same_patterns_in_any_order() -> None:
    claims = [
        *settle_all(
            say("goal", "I want to stay on the school board.", DAYS[0]),
            say("decision", "I've changed my mind about the school board.", DAYS[2]),
        ),
        *figures("Two.", "Four.", "Six.", subject="rating"),
        DENIES,
        AFFIRMS,
    ]
    assert find(claims) == find(claims[::-1])


def test_undated_sessions_and_failed_ones_do_no_harm() -> None:
    claims = [say("obstacle", "The old spreadsheet eats my evenings.", day) for day in (None, *DAYS[:3])]
    found = find_patterns(claims, sessions_in_scope=5, sessions_examined=3)
    assert all(one.sessions_supporting <= one.sessions_examined for one in found)


def test_long_words_are_cut_to_what_the_store_holds() -> None:
    wants = say("goal", "I want to stay on the school board " + "and so on " * 300, DAYS[0])
    leaves = say("decision", "I've changed my mind about the school board " + "and so on " * 300, DAYS[2])
    for pattern in find([wants, leaves]):
        assert len(pattern.statement) <= 2000


def test_a_client_of_many_sessions_keeps_its_first_patterns_as_sessions_are_added() -> None:
    """What the store knows a pattern by: kind, subject and the first claim it stands on."""
    first = datetime(2026, 1, 5, tzinfo=UTC)
    days = [(first + timedelta(days=7 * week)).date().isoformat() for week in range(12)]
    claims = [say("obstacle", "The old spreadsheet eats my evenings.", day) for day in days]
    known: set[tuple[PatternKind, str | None, UUID]] = set()
    for count in (4, 8, 12):
        found = find(claims[:count], "recurrence", sessions=count)
        now = {(one.kind, one.subject, one.supporting[0]) for one in found}
        assert known <= now
        known = now
    assert known
