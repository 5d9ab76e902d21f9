"""What a cohort shares: five people at least, counts and common words, nobody's name or sentence."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pipelines.evidence.patterns import SMALLEST_COHORT, find_cohort_patterns
from pipelines.evidence.records import FoundPattern, SessionClaim
from tests.pipelines.evidence.told_claims import person, say, settle_all

PEOPLE = ("Ada Berg", "Bo Lind", "Cleo Falk", "Dan Ek", "Eva Holm", "Finn Dahl")


def find(claims: Mapping[UUID, Sequence[SessionClaim]]) -> list[FoundPattern]:
    return find_cohort_patterns(claims, sessions_in_scope=12, sessions_examined=12)


def tell(people: Sequence[str], words: str) -> dict[UUID, list[SessionClaim]]:
    """Everybody says it, each in a session of their own."""
    return {
        person(name): [say("obstacle", f"{words}, {place}.", f"2026-01-{place + 1:02}", holder=name)]
        for place, name in enumerate(people)
    }


def test_what_five_people_name_is_told_without_anybodys_words_or_name() -> None:
    claims = tell(PEOPLE[:5], "The paperwork keeps me from everything I came here for")
    claims[person(PEOPLE[5])] = []
    [theme] = find(claims)
    assert theme.statement == ("5 of 6 people spoke of paperwork as an obstacle between 1 January and 5 January 2026.")
    assert theme.subject == "paperwork"
    assert len(theme.supporting) == 5
    assert not any(part in theme.statement for name in PEOPLE for part in name.split())


def test_four_people_are_too_few_to_speak_of() -> None:
    assert SMALLEST_COHORT == 5
    assert find(tell(PEOPLE[:4], "The paperwork never ends")) == []
    shared = tell(PEOPLE[:4], "The paperwork never ends") | tell(PEOPLE[4:], "The commute never ends")
    assert find(shared) == []


def test_one_person_who_says_it_five_times_is_one_person() -> None:
    claims: dict[UUID, list[SessionClaim]] = {person(name): [] for name in PEOPLE}
    claims[person(PEOPLE[0])] = [
        say("obstacle", "The paperwork never ends.", f"2026-01-{day:02}", holder=PEOPLE[0]) for day in range(1, 9)
    ]
    assert find(claims) == []


def test_what_a_coach_says_is_not_the_clients() -> None:
    claims = {
        person(name): [say("obstacle", "The paperwork never ends.", f"2026-01-{place + 1:02}", holder="Ines Holm")]
        for place, name in enumerate(PEOPLE)
    }
    assert find(claims) == []


def test_somebodys_name_is_no_theme_and_a_whole_quote_no_statement() -> None:
    named = tell(PEOPLE, "Everything that I try to change goes through Margarethe")
    assert "margarethe" not in " ".join(one.statement.lower() for one in find(named))
    bare = {
        person(name): [say("obstacle", "Paperwork", f"2026-01-{place + 1:02}", holder=name)]
        for place, name in enumerate(PEOPLE)
    }
    assert find(bare) == []


def test_who_says_that_it_is_over_speaks_against_it() -> None:
    claims = tell(PEOPLE, "The paperwork never ends")
    claims[person(PEOPLE[5])] = [say("obstacle", "I've stopped minding the paperwork.", "2026-01-09", holder=PEOPLE[5])]
    [theme] = [one for one in find(claims) if one.subject == "paperwork"]
    assert theme.counter == (claims[person(PEOPLE[5])][0].claim_id,)
    assert "5 of 6 people" in theme.statement


def test_a_cohorts_record_needs_five_people_with_an_outcome() -> None:
    def promise(name: str, answer: str) -> list[SessionClaim]:
        return settle_all(
            say("commitment", "I'll phone the landlord about the heating.", "2026-01-05", holder=name),
            say("progress", answer, "2026-02-05", holder=name),
        )

    kept, broken = "I phoned the landlord about the heating.", "I didn't phone the landlord about the heating."
    claims = {person(name): promise(name, kept if place < 3 else broken) for place, name in enumerate(PEOPLE[:5])}
    [record] = [one for one in find(claims) if one.kind == "commitment_record"]
    assert record.statement == (
        "5 people kept 3 of 5 commitments whose outcome was spoken of between 5 January and 5 February 2026."
    )
    assert len(record.counter) == 2
    del claims[person(PEOPLE[4])]
    claims[person(PEOPLE[5])] = []
    assert [one for one in find(claims) if one.kind == "commitment_record"] == []
