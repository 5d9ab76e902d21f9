"""Reads the days that spoken words name ("by next Friday", "the twenty-third"), counted from the day they were said.

Written here, because no library at hand does: dateparser finds no day in "next Friday" and "the twenty-third", takes
"may" and "second" for dates and needs milliseconds a sentence; dateutil wants text that is nothing but a date.
`rag.understand_times` looks back from a question; a promise looks ahead.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
)  # fmt: skip
_ORDINALS: Final = {
    **{word: number for number, word in enumerate(_UNITS, 1)}, "twentieth": 20, "thirtieth": 30,
    **{f"twenty-{word}": number for number, word in enumerate(_UNITS[:9], 21)}, "thirty-first": 31,
}  # fmt: skip
_NUMBERS: Final = {
    "a": 1, "an": 1, "one": 1, "two": 2, "couple of": 2, "three": 3, "few": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
# Meteorological seasons of the north, by their first month; the winter that begins in December.
_SEASONS: Final = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_FEASTS: Final = {
    "christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25),
    "new year's eve": (12, 31), "new year's day": (1, 1), "new year's": (1, 1), "the new year": (1, 1),
}  # fmt: skip

_MONTH: Final = (
    r"(?P<month>january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?(?=\s+\d|\s*$|,))\b"
)
_WORD: Final = "|".join(sorted((word.replace("-", "[- ]") for word in _ORDINALS), key=len, reverse=True))
_DAY: Final = rf"(?P<day>{_WORD}|(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?)\b"
_TO_DAY: Final = (
    rf"\s+(?:to|till|until|through|and)\s+(?:the\s+)?(?P<last>{_WORD}|(?:3[01]|[12]\d|[1-9])(?:st|nd|rd|th)?)\b"
)
_YEAR: Final = r"(?:,?\s+(?:of\s+)?(?P<year>(?:19|20)\d\d|next year|this year|last year)\b)?"
_WEEKDAY: Final = rf"(?P<weekday>{'|'.join(_WEEKDAYS)})\b(?!['’])"
_MAYBE_WEEKDAY: Final = rf"(?:(?:(?:this|next)\s+)?(?:{'|'.join(_WEEKDAYS)}),?\s+)?"
_COUNT: Final = rf"(?:a\s+)?(?P<count>\d{{1,3}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_PART: Final = r"(?:the\s+)?(?P<part>end|beginning|start|middle)\s+of\s+"
_DAYTIME: Final = r"(?:\s+(?:morning|afternoon|evening|night)\b)?(?!\s+(?:mornings|afternoons|evenings|nights)\b)"
_ENDS: Final = r"(?=\s*(?:[.,;:!?…)\"”]|$)|\s+(?:and|but|at|so|or|in the|before|after|because|that)\b)"

_LATEST: Final = re.compile(
    r"\b(?:by|before|until|till|up to|no later than|within|ahead of)(?:\s+the\s+latest)?(?:\s+the)?\s*$", re.IGNORECASE
)
_BEFORE: Final = re.compile(
    r"\b(?:before|ahead of)(?:\s+the)?\s*$|"
    r"\bbefore\s+(?:(?:the|my|our|his|her|their|a)\s+)?[\w'’-]+(?:\s+[\w'’-]+)?\s+on(?:\s+the)?\s*$",
    re.IGNORECASE,
)
_EARLIEST: Final = re.compile(
    r"\b(?:since|from|after|starting|beginning|as of)(?:\s+on)?(?:\s+the)?\s*$", re.IGNORECASE
)
_AFTER: Final = re.compile(r"\bafter(?:\s+the)?\s*$", re.IGNORECASE)
_HABIT: Final = re.compile(r"\b(?:a|an|every|each|most|any|some|other)\s*$", re.IGNORECASE)
_LEADS: Final = re.compile(
    r"\b(?:on|by|until|till|before|from|since|after|this|next|last|coming|for|starting)(?:\s+the)?\s*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class FoundDate:
    """Days that words name, both ends inclusive, either open.

    `start:end` is their place, a preposition that opens one end included; `day_start` is where the day itself begins.
    """

    start: int
    day_start: int
    end: int
    earliest: date | None
    latest: date | None
    is_day: bool = True
    """Whether it is one day, rather than a week, month or season, that the words name."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One place where a day may be named: what was matched, when it was said, and which way it looks."""

    match: re.Match[str]
    said_on: date
    past: bool

    def __getitem__(self, name: str) -> str:
        return (self.match.groupdict().get(name) or "").lower()

    @property
    def before(self) -> str:
        return self.match.string[max(0, self.match.start() - 40) : self.match.start()]


_Days = tuple[date, date] | None


def resolve_date(words: str, said_on: date, *, past: bool = False) -> tuple[date | None, date | None]:
    """Return the earliest and the latest day that the words name, each None where they leave it open.

    A day without a year or month is the next one from `said_on`, with `past` the last one. "Next Friday" is the Friday
    of next week. Days set apart by a comma narrow each other ("tomorrow, the first"); of several, the one with a
    deadline counts. What depends on other knowledge ("before we meet again", "by Easter") gives (None, None).
    """
    found = find_dates(words, said_on, past=past)
    if not found:
        return None, None
    due = 0 if past else next((n for n, one in enumerate(found) if one.earliest is None), 0)
    earliest, latest = found[due].earliest, found[due].latest
    for earlier, later in zip(found[due:], found[due + 1 :], strict=False):
        if words[earlier.end : later.start].strip() not in {"", ","}:
            break
        low = max((day for day in (earliest, later.earliest) if day), default=None)
        high = min((day for day in (latest, later.latest) if day), default=None)
        if low and high and low > high:
            break
        earliest, latest = low, high
    return earliest, latest


def find_dates(words: str, said_on: date, *, past: bool = False) -> Sequence[FoundDate]:
    """Return the days named in the words, in their order, none inside another."""
    return _find_dates(words, said_on, past)


@lru_cache(maxsize=1024)  # the same clause is asked for its days several times over
def _find_dates(words: str, said_on: date, past: bool) -> tuple[FoundDate, ...]:
    given = words.replace("’", "'")
    if not _ANY.search(given):
        return ()
    found: list[FoundDate] = []
    taken: list[tuple[int, int]] = []
    for pattern, read in _READERS:
        for match in pattern.finditer(given):
            if any(match.start() < end and start < match.end() for start, end in taken):
                continue
            try:
                days = read(_Asked(match, said_on, _looks_back(given, match, past=past)))
                one = _lead(given, match, days) if days else None
            except (ValueError, OverflowError):
                continue  # "the thirty-first of June", or beyond the calendar
            if one is not None:
                found.append(one)
                taken.append(match.span())
    return tuple(sorted(found, key=lambda one: one.start))


def format_date(day: date) -> str:
    """Return the day as a person writes it: Friday 23 January 2026."""
    return f"{_WEEKDAYS[day.weekday()].title()} {day.day} {_MONTHS[day.month - 1].title()} {day.year}"


def _looks_back(given: str, match: re.Match[str], *, past: bool) -> bool:
    return past or bool(re.search(r"\bsince(?:\s+the)?\s*$", given[: match.start()], re.IGNORECASE))


def _lead(given: str, match: re.Match[str], days: tuple[date, date]) -> FoundDate:
    """Let the preposition before the words open one end."""
    before = given[: match.start()]
    first, last = days
    if lead := _BEFORE.search(before):
        # "before the end of May" is by then, "before the fourth" is by the third
        latest = last if match.groupdict().get("part") else first - timedelta(days=1)
        return FoundDate(lead.start(), match.start(), match.end(), None, latest, first == last)
    if lead := _LATEST.search(before):
        return FoundDate(lead.start(), match.start(), match.end(), None, last, first == last)
    if lead := _EARLIEST.search(before):
        after = _AFTER.search(before)
        earliest = last + timedelta(days=1) if after else first
        return FoundDate(lead.start(), match.start(), match.end(), earliest, None, first == last)
    return FoundDate(match.start(), match.start(), match.end(), first, last, first == last)


def _month(asked: _Asked) -> int:
    return next(n for n, name in enumerate(_MONTHS, 1) if name.startswith(asked["month"][:3]))


def _day(word: str) -> int:
    digits = re.match(r"\d+", word)
    return int(digits[0]) if digits else _ORDINALS[word.replace(" ", "-")]


def _year(asked: _Asked) -> int | None:
    year = asked["year"]
    if not year:
        return None
    return int(year) if year.isdigit() else asked.said_on.year + {"last": -1, "this": 0, "next": 1}[year[:4]]


def _choose(asked: _Asked, make: Callable[[int], tuple[date, date]]) -> _Days:
    """Return the span of the year named, or of the nearest year that lies the way the words look."""
    if (year := _year(asked)) is not None:
        return make(year)
    this = asked.said_on.year
    for candidate in (this, this - 1) if asked.past else (this, this + 1):
        try:
            first, last = make(candidate)
        except ValueError:
            continue  # the twenty-ninth of February of another year
        if first <= asked.said_on if asked.past else last >= asked.said_on:
            return first, last
    return None


def _whole_month(year: int, month: int) -> tuple[date, date]:
    return date(year, month, 1), date(year, month, monthrange(year, month)[1])


def _add_months(day: date, months: int) -> date:
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _read_iso(asked: _Asked) -> _Days:
    day = date.fromisoformat(asked.match[0])
    return day, day


def _read_day_of_month(asked: _Asked) -> _Days:
    month, first = _month(asked), _day(asked["day"])
    last = _day(asked["last"]) if asked["last"] else first
    if last < first:
        return None
    return _choose(asked, lambda year: (date(year, month, first), date(year, month, last)))


def _read_bare_day(asked: _Asked) -> _Days:
    number = _day(asked["day"])
    # "the second", "the third" mostly count things: only a preposition or a weekday makes a day of a small one
    if not asked["weekday"] and number <= 12 and not _LEADS.search(asked.before):
        return None
    step = -1 if asked.past else 1
    for months in range(3):
        start = _add_months(asked.said_on.replace(day=1), step * months)
        if number > monthrange(start.year, start.month)[1]:
            continue
        day = start.replace(day=number)
        if day > asked.said_on if asked.past else day < asked.said_on:
            continue
        if asked["weekday"] and _WEEKDAYS[day.weekday()] != asked["weekday"]:
            continue
        return day, day
    return None


def _read_part(asked: _Asked) -> _Days:
    whole = _read_month(asked) if asked["month"] else _read_unit(asked)
    if whole is None:
        return None
    first, last = whole
    third = max((last - first).days // 3, 1)
    match asked["part"]:
        case "end":
            return last, last
        case "middle":
            return first + timedelta(days=third), last - timedelta(days=third)
    return first, first + timedelta(days=third)


def _read_month(asked: _Asked) -> _Days:
    month = _month(asked)
    which = asked["which"]
    days = _choose(asked, lambda year: _whole_month(year, month))
    if days and which == "next" and days[0] <= asked.said_on:
        return _whole_month(days[0].year + 1, month)
    if which == "last" and not asked.past:
        return _read_month(_Asked(asked.match, asked.said_on, past=True))
    return days


def _read_unit(asked: _Asked) -> _Days:
    step = {"last": -1, "past": -1, "previous": -1, "next": 1, "following": 1, "coming": 1}.get(asked["which"], 0)
    today = asked.said_on
    match asked["unit"]:
        case "week":
            first = today - timedelta(days=today.weekday()) + timedelta(days=7 * step)
            return first, first + timedelta(days=6)
        case "weekend":
            first = today - timedelta(days=today.weekday()) + timedelta(days=7 * step + 5)
            return first, first + timedelta(days=1)
        case "month":
            first = _add_months(today.replace(day=1), step)
            return _whole_month(first.year, first.month)
        case "quarter":
            first = _add_months(today.replace(day=1), -((today.month - 1) % 3) + 3 * step)
            last = _add_months(first, 2)
            return first, _whole_month(last.year, last.month)[1]
        case _:
            return date(today.year + step, 1, 1), date(today.year + step, 12, 31)


def _read_season(asked: _Asked) -> _Days:
    month = _SEASONS[asked["season"]]

    def make(year: int) -> tuple[date, date]:
        last = _add_months(date(year, month, 1), 2)
        return date(year, month, 1), _whole_month(last.year, last.month)[1]

    days = _choose(asked, make)
    if days and asked["which"] == "next" and days[0] <= asked.said_on:
        return make(days[0].year + 1)
    return days


def _read_feast(asked: _Asked) -> _Days:
    month, day = _FEASTS[re.sub(r"\s+", " ", asked["feast"])]
    return _choose(asked, lambda year: (date(year, month, day), date(year, month, day)))


def _count(asked: _Asked) -> int:
    word = re.sub(r"\s+", " ", asked["count"])
    return int(word) if word.isdigit() else _NUMBERS[word]


def _go(asked: _Asked, count: int) -> date:
    unit = asked["unit"].rstrip("s")
    if unit in {"month", "year"}:
        return _add_months(asked.said_on, count * (12 if unit == "year" else 1))
    return asked.said_on + timedelta(days=count * {"day": 1, "week": 7, "fortnight": 14}[unit])


def _read_in(asked: _Asked) -> _Days:
    day = _go(asked, _count(asked))
    return (asked.said_on, day) if asked["within"] else (day, day)


def _read_ago(asked: _Asked) -> _Days:
    day = _go(asked, -_count(asked))
    return day, day


def _read_near(asked: _Asked) -> _Days:
    word = re.sub(r"\s+", " ", asked["near"])
    away = {"the day after tomorrow": 2, "tomorrow": 1, "yesterday": -1, "last night": -1}.get(word, 0)
    day = asked.said_on + timedelta(days=away)
    return day, day


def _read_weekday(asked: _Asked) -> _Days:
    if _HABIT.search(asked.before):
        return None  # "on a Sunday evening" is any Sunday
    today, which = asked.said_on, asked["which"]
    number = _WEEKDAYS.index(asked["weekday"])
    monday = today - timedelta(days=today.weekday())
    if which == "next":
        day = monday + timedelta(days=7 + number)
    elif which == "last" or asked.past:
        day = today - timedelta(days=(today.weekday() - number) % 7 or 7)
    elif which == "this":
        day = today + timedelta(days=(number - today.weekday()) % 7)
    else:
        day = today + timedelta(days=(number - today.weekday()) % 7 or 7)
    if asked["week"]:
        day += timedelta(days=7)
    return day, day


def _read_year(asked: _Asked) -> _Days:
    year = int(asked["year"])
    return date(year, 1, 1), date(year, 12, 31)


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_IN: Final = _compile(r"^in\s|['’]\s+time$|from\s+(?:now|today)$")
_WHICH: Final = r"(?P<which>this|next|last|past|previous|following|coming|the coming)"
# The most telling first: a later pattern does not read inside what an earlier one has read.
_READERS: Final[tuple[tuple[re.Pattern[str], Callable[[_Asked], _Days]], ...]] = (
    (_compile(r"\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\b"), _read_iso),
    (_compile(rf"\b{_MAYBE_WEEKDAY}(?:the\s+)?{_DAY}(?:{_TO_DAY})?\s+(?:of\s+)?{_MONTH}{_YEAR}"), _read_day_of_month),
    (_compile(rf"\b(?:in\s+)?{_MONTH},?\s+(?:the\s+)?{_DAY}(?:{_TO_DAY})?(?!\d|:\d){_YEAR}"), _read_day_of_month),
    (_compile(rf"\b{_PART}(?:(?:this|next)\s+year\s+)?{_MONTH}{_YEAR}"), _read_part),
    (
        _compile(rf"\b{_PART}(?:the\s+)?(?:(?P<which>this|next)\s+)?(?P<unit>week|weekend|month|quarter|year)\b"),
        _read_part,
    ),
    (_compile(rf"\b{_WEEKDAY},?\s+the\s+{_DAY}(?!\s+of\b)"), _read_bare_day),
    (_compile(rf"\bthe\s+{_DAY}{_ENDS}"), _read_bare_day),
    (
        _compile(
            rf"\b(?P<within>within\s+(?:the\s+next\s+)?|(?:over|in)\s+the\s+next\s+)?(?:in\s+)?{_COUNT}\s+"
            r"(?P<unit>days?|weeks?|months?|years?|fortnights?)(?:['’]\s+time|\s+from\s+(?:now|today)|(?<=\w)(?!\s+ago))\b"
        ),
        lambda asked: _read_in(asked) if asked["within"] or _IN.search(asked.match[0]) else None,
    ),
    (_compile(rf"\b{_COUNT}\s+(?P<unit>days?|weeks?|months?|years?|fortnights?)\s+ago\b"), _read_ago),
    (_compile(rf"\b{_WHICH}\s+(?P<unit>week|weekend|month|quarter|year)\b(?!['’])"), _read_unit),
    (_compile(r"\b(?P<near>the\s+day\s+after\s+tomorrow|tomorrow|today|tonight|yesterday|last\s+night|"
              r"this\s+(?:morning|afternoon|evening))\b(?!['’])"
                rf"{_DAYTIME}"), _read_near),
    (_compile(rf"\b(?P<which>this|next|last)\s+(?:coming\s+)?{_WEEKDAY}{_DAYTIME}(?P<week>\s+week\b)?"), _read_weekday),
    (_compile(rf"\b{_WEEKDAY}(?P<week>\s+week)\b"), _read_weekday),
    (_compile(rf"(?:(?<=\bon )|(?<=\bby )|(?<=until )|(?<=till )|(?<=before )|(?<=from )|(?<=since )|(?<=coming ))"
              rf"{_WEEKDAY}{_DAYTIME}"), _read_weekday),
    (_compile(rf"(?<!the ){_WEEKDAY}{_DAYTIME}{_ENDS}"), _read_weekday),
    (_compile(r"(?:\b(?P<which>this|next|last|the)\s+|(?<=by )|(?<=before )|(?<=until )|(?<=since ))"
              r"(?P<season>spring|summer|autumn|fall|winter)\b(?!\s+(?:break|holiday|term|school))"), _read_season),
    (_compile(r"\b(?P<feast>christmas(?:\s+(?:eve|day))?|new\s+year's(?:\s+(?:eve|day))?|the\s+new\s+year)\b"),
     _read_feast),
    (
        _compile(
            rf"(?:\b(?P<which>this|next|last)\s+|(?<=\bin )|(?<=\bby )|(?<=until )|(?<=till )|(?<=before )|(?<=from )"
            rf"|(?<=since )|(?<=through )|(?<=during )|(?<=after ))(?:early\s+|late\s+|mid-?\s*)?{_MONTH}{_YEAR}"
        ),
        _read_month,
    ),
    (_compile(r"(?:(?<=\bin )|(?<=\bby )|(?<=since )|(?<=until )|(?<=before ))(?P<year>(?:19|20)\d\d)\b"), _read_year),
)  # fmt: skip
# What every reader needs at least one of; most sentences name no day.
_ANY: Final = _compile(
    rf"\b(?:{'|'.join(_WEEKDAYS)}|{'|'.join(_MONTHS)}|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b|{_WORD}|\d+(?:st|nd|rd|th)"
    r"|(?:19|20)\d\d|days?|weeks?|weekend|months?|years?|fortnights?|quarter|to(?:day|morrow|night)|yesterday"
    r"|last night|this (?:morning|afternoon|evening)|spring|summer|autumn|fall|winter|christmas)\b"
)
