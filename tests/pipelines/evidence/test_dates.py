"""Days named in speech: promises look ahead, reports look back, and what is no day is left alone."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evidence.dates import find_dates, format_date, resolve_date

TUESDAY = date(2026, 1, 13)
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
PIECES = """
    by next last the of first twenty-third Friday May march 31 in two weeks until end month before year
    Christmas ago on , . 2027 since spring tomorrow 0 99
""".split()  # noqa: SIM905 - a list would take a screen
DAYS = st.dates(date(1990, 1, 1), date(2090, 12, 31))


@pytest.mark.parametrize(
    ("words", "earliest", "latest"),
    [
        ("by next Friday", None, date(2026, 1, 23)),
        ("by Friday", None, date(2026, 1, 16)),
        ("this Friday", date(2026, 1, 16), date(2026, 1, 16)),
        ("on Tuesday", date(2026, 1, 20), date(2026, 1, 20)),
        ("Thursday week", date(2026, 1, 22), date(2026, 1, 22)),
        ("tomorrow morning", date(2026, 1, 14), date(2026, 1, 14)),
        ("the day after tomorrow", date(2026, 1, 15), date(2026, 1, 15)),
        ("starting tonight", date(2026, 1, 13), None),
        ("in two weeks", date(2026, 1, 27), date(2026, 1, 27)),
        ("a month from now", date(2026, 2, 13), date(2026, 2, 13)),
        ("within the next three months", TUESDAY, date(2026, 4, 13)),
        ("next week", date(2026, 1, 19), date(2026, 1, 25)),
        ("this weekend", date(2026, 1, 17), date(2026, 1, 18)),
        ("by the end of the month", None, date(2026, 1, 31)),
        ("by the end of next month", None, date(2026, 2, 28)),
        ("by the end of the year", None, date(2026, 12, 31)),
        ("until the end of June next year", None, date(2027, 6, 30)),
        ("end of this quarter", date(2026, 3, 31), date(2026, 3, 31)),
        ("the twentieth of February", date(2026, 2, 20), date(2026, 2, 20)),
        ("on October first", date(2026, 10, 1), date(2026, 10, 1)),
        ("on 3 February 2027", date(2027, 2, 3), date(2027, 2, 3)),
        ("2026-05-09", date(2026, 5, 9), date(2026, 5, 9)),
        ("The twenty-third.", date(2026, 1, 23), date(2026, 1, 23)),
        ("by the fifth", None, date(2026, 2, 5)),
        ("Friday the thirtieth", date(2026, 1, 30), date(2026, 1, 30)),
        ("before the board meeting on the fifth of February", None, date(2026, 2, 4)),
        ("before the Fourth of July", None, date(2026, 7, 3)),
        ("before the end of May", None, date(2026, 5, 31)),
        ("in August, the third to the fourteenth", date(2026, 8, 3), date(2026, 8, 14)),
        ("from tomorrow, the fourteenth", date(2026, 1, 14), date(2026, 1, 14)),
        ("before the autumn", None, date(2026, 8, 31)),
        ("by Christmas", None, date(2026, 12, 25)),
        ("in March", date(2026, 3, 1), date(2026, 3, 31)),
        ("in 2028", date(2028, 1, 1), date(2028, 12, 31)),
    ],
)
def test_a_promise_looks_ahead(words: str, earliest: date | None, latest: date | None) -> None:
    assert resolve_date(words, TUESDAY) == (earliest, latest)


@pytest.mark.parametrize(
    ("words", "earliest", "latest"),
    [
        ("on the twenty-second, a day early", date(2025, 12, 22), date(2025, 12, 22)),
        ("since the first of April", date(2025, 4, 1), None),
        ("on Friday", date(2026, 1, 9), date(2026, 1, 9)),
        ("all through April", date(2025, 4, 1), date(2025, 4, 30)),
        ("two weeks ago", date(2025, 12, 30), date(2025, 12, 30)),
        ("last night", date(2026, 1, 12), date(2026, 1, 12)),
        ("In November I said nothing before the autumn", date(2025, 11, 1), date(2025, 11, 30)),
    ],
)
def test_a_report_looks_back(words: str, earliest: date | None, latest: date | None) -> None:
    assert resolve_date(words, TUESDAY, past=True) == (earliest, latest)


@pytest.mark.parametrize(
    "words",
    [
        "before we meet again",
        "by Easter",
        "two weeks off",
        "I still do two hours on a Sunday evening",
        "I stopped working on Sunday evenings",
        "every Monday",
        "the first one, the second thing",
        "I may march with them",
        "by the thirty-first of June",
        "a second opinion",
        "",
    ],
)
def test_what_names_no_day_gives_none(words: str) -> None:
    assert resolve_date(words, TUESDAY) == (None, None)


def test_a_deadline_counts_before_another_day() -> None:
    words = "I saw her on Monday and I'll have it done by the thirtieth of January"
    assert resolve_date(words, TUESDAY) == (None, date(2026, 1, 30))


def test_the_place_of_the_words_is_told() -> None:
    words = "I'll send it by next Friday, honestly."
    [found] = find_dates(words, TUESDAY)
    assert words[found.start : found.end] == "by next Friday"
    assert words[found.day_start : found.end] == "next Friday"
    assert found.is_day
    assert not find_dates("by next week", TUESDAY)[0].is_day


@given(DAYS, st.sampled_from(WEEKDAYS))
def test_next_weekday_is_in_the_next_week(said_on: date, weekday: str) -> None:
    earliest, latest = resolve_date(f"next {weekday}", said_on)
    assert earliest is not None
    assert earliest == latest
    assert earliest.strftime("%A") == weekday
    monday = said_on - timedelta(days=said_on.weekday())
    assert monday + timedelta(days=7) <= earliest <= monday + timedelta(days=13)


@given(DAYS, st.integers(0, 19), st.sampled_from(MONTHS))
def test_a_day_of_a_month_lies_within_a_year(said_on: date, number: int, month: str) -> None:
    for past in (False, True):
        earliest, latest = resolve_date(f"the {ORDINALS[number]} of {month}", said_on, past=past)
        assert earliest is not None
        assert earliest == latest
        assert (earliest.day, earliest.strftime("%B")) == (number + 1, month)
        away = (earliest - said_on).days
        assert -366 <= away <= 0 if past else 0 <= away <= 366


@given(DAYS, st.dates(date(2000, 1, 1), date(2080, 12, 31)))
def test_what_is_written_out_is_read_again(said_on: date, day: date) -> None:
    assert resolve_date(format_date(day), said_on) == (day, day)


@given(
    st.lists(
        st.sampled_from(PIECES),
        max_size=12,
    ).map(" ".join)
    | st.text(max_size=60),
    st.dates(),
    st.booleans(),
)
def test_any_words_give_days_in_order(words: str, said_on: date, past: bool) -> None:
    earliest, latest = resolve_date(words, said_on, past=past)
    assert earliest is None or latest is None or earliest <= latest
    for one in find_dates(words, said_on, past=past):
        assert 0 <= one.start <= one.day_start < one.end <= len(words)
        assert one.earliest or one.latest
