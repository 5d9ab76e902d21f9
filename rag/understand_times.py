"""Reads the time a question speaks of, such as "since June" or "the last two weeks", without a model."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS: Final = {
    "a": 1, "an": 1, "one": 1, "two": 2, "couple of": 2, "three": 3, "few": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
_COUNT: Final = rf"(?P<count>\d{{1,3}}|{'|'.join(sorted(NUMBERS, key=len, reverse=True))})"
_MONTH: Final = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY: Final = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+(?P<year>(?:19|20)\d\d))"


# A date that something is due by or meant for is what the question is about, not when it was spoken of.
_DUE: Final = re.compile(
    r"\b(?:by|for|due|fourth of)(?: (?:the )?(?:end|start|beginning|middle) of)?(?: the)?\s*$",
    re.IGNORECASE,
)
_LEADS: Final = re.compile(
    r"\b(?:since|from|after|before|until|till|up to|through|between|in|on|of)(?: the)?\s*$", re.IGNORECASE
)
_LEADS_TO_MONTH: Final = re.compile(r"\b(?:in|since|before|after|until|till|between|and|from|to|of) $", re.IGNORECASE)
_OWNED: Final = re.compile(r"\b(?:the|her|his|their|our|my|\w+['’]s) $", re.IGNORECASE)
_NAMES_A_THING: Final = re.compile(
    r" (?!session|meeting|call|conversation|transcript|and\b|or\b|to\b|until\b|on\b|about\b|did\b|was\b|is\b)[a-z]"
)


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """From `start` (inclusive) until `end` (exclusive), either open; `words` is how a person would say it."""

    start: datetime | None
    end: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class _Period:
    """One day, week, month or year named in the text, and where."""

    start: datetime
    end: datetime
    words: str
    first: int
    last: int


def find_time_span(question: str, now: datetime) -> TimeSpan | None:
    """Return the span of time the question is limited to, or None; days are those of `now`'s time zone.

    A date without a year is the latest one that has begun. Where a question names several periods,
    only "between … and …" and "from … to …" join them; otherwise the first counts.
    """
    periods = _find_periods(question, now)
    if not periods:
        return None
    first = periods[0]
    if _DUE.search(question[: first.first]):
        return None
    before = question[: first.first].lower().rstrip()
    if len(periods) > 1:
        second = periods[1]
        joint = question[first.last : second.first].strip().lower()
        between = before.endswith("between") and joint == "and"
        if between or (re.search(r"\bfrom( the)?$", before) and joint in {"to", "until", "till", "through", "-", "–"}):
            start, end = min(first.start, second.start), max(first.end, second.end)
            return TimeSpan(start, end, f"from {first.words} to {second.words}")
    return _apply_preposition(before, first)


def find_time_phrase(question: str) -> str | None:
    """Return the words of the question that limit it in time, as they stand, or None."""
    periods = _find_periods(question, datetime.now(UTC))
    if not periods or _DUE.search(question[: periods[0].first]):
        return None
    lead = _LEADS.search(question[: periods[0].first])
    joined = len(periods) > 1 and periods[1].first - periods[0].last < 8
    return question[lead.start() if lead else periods[0].first : periods[joined].last].strip()


def _apply_preposition(before: str, period: _Period) -> TimeSpan:
    leading = re.search(r"\b(since|from|starting|after|before|prior to|until|till|up to|through)(?: the)?$", before)
    match leading.group(1) if leading else "":
        case "since" | "from" | "starting":
            return TimeSpan(period.start, None, f"since {period.words}")
        case "after":
            return TimeSpan(period.end, None, f"after {period.words}")
        case "before" | "prior to":
            return TimeSpan(None, period.start, f"before {period.words}")
        case "until" | "till" | "up to" | "through":
            return TimeSpan(None, period.end, f"until {period.words}")
    return TimeSpan(period.start, period.end, period.words)


def _find_periods(question: str, now: datetime) -> list[_Period]:
    """Return the periods named, in the order of the text, none inside another."""
    found: list[_Period] = []
    for pattern, read in _READERS:
        for match in pattern.finditer(question):
            overlaps = any(match.start() < period.last and period.first < match.end() for period in found)
            if not overlaps and (read_period := read(match, now)) is not None:
                start, end, words = read_period
                found.append(_Period(start, end, words, match.start(), match.end()))
    return sorted(found, key=lambda period: period.first)


_Reading = tuple[datetime, datetime, str] | None


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _month_number(match: re.Match[str]) -> int:
    return next(n for n, name in enumerate(_MONTHS, 1) if name.startswith(match["month"].lower()[:3]))


def _add_months(moment: datetime, months: int) -> datetime:
    total = moment.year * 12 + moment.month - 1 + months
    return moment.replace(year=total // 12, month=total % 12 + 1, day=1)


def format_day(moment: date) -> str:
    """Return the day as a person writes it: 7 July 2026."""
    return f"{moment.day} {_MONTHS[moment.month - 1].title()} {moment.year}"


def _read_iso(match: re.Match[str], now: datetime) -> _Reading:
    try:
        day = _midnight(now).replace(year=int(match["year"]), month=int(match["mm"]), day=int(match["day"] or 1))
    except ValueError:
        return None
    if match["day"]:
        return day, day + timedelta(days=1), format_day(day)
    return day, _add_months(day, 1), f"{_MONTHS[day.month - 1].title()} {day.year}"


def _read_day(match: re.Match[str], now: datetime) -> _Reading:
    year = int(match["year"]) if match["year"] else now.year
    try:
        day = _midnight(now).replace(year=year, month=_month_number(match), day=int(match["day"]))
        if not match["year"] and day > now:
            day = day.replace(year=year - 1)
    except ValueError:
        return None
    return day, day + timedelta(days=1), format_day(day)


def _read_month(match: re.Match[str], now: datetime) -> _Reading:
    # "may" and "march" are also verbs: in lower case, or as the first word, more must speak for a month
    before = match.string[: match.start()]
    led = match["lead"] or match["year"] or _LEADS_TO_MONTH.search(before)
    if not match["year"] and (_OWNED.search(before) and _NAMES_A_THING.match(match.string, match.end())):
        return None  # "her January promises", "the February board"
    if not led and (match["month"] in {"may", "march", "mar"} or (match["month"] == "May" and not before.strip())):
        return None
    year = int(match["year"]) if match["year"] else now.year
    start = _midnight(now).replace(year=year, month=_month_number(match), day=1)
    lead = (match["lead"] or "").lower()
    if not match["year"] and (start > now or ("last" in lead and start.month == now.month)):
        start = start.replace(year=year - 1)
    return start, _add_months(start, 1), f"{_MONTHS[start.month - 1].title()} {start.year}"


def _read_relative_unit(match: re.Match[str], now: datetime) -> _Reading:
    today, back, unit = _midnight(now), match["which"].lower() != "this", match["unit"].lower()
    if unit == "week":
        start = today - timedelta(days=today.weekday() + 7 * back)
        end, words = start + timedelta(days=7), f"the week of {format_day(start)}"
    elif unit == "month":
        start = _add_months(today, -int(back))
        end, words = _add_months(start, 1), f"{_MONTHS[start.month - 1].title()} {start.year}"
    elif unit == "quarter":
        start = _add_months(today, -((today.month - 1) % 3) - 3 * back)
        end, words = _add_months(start, 3), f"quarter {(start.month + 2) // 3} of {start.year}"
    else:
        start = today.replace(year=today.year - back, month=1, day=1)
        end, words = start.replace(year=start.year + 1), str(start.year)
    return start, end, words


def _count(match: re.Match[str]) -> int:
    named = match["count"].lower()
    return int(named) if named.isdigit() else NUMBERS[named]


def _go_back(now: datetime, count: int, unit: str) -> datetime:
    if unit.startswith("month"):
        month = _add_months(now, -count)
        return month + timedelta(days=min(now.day, (_add_months(month, 1) - month).days) - 1)
    if unit.startswith("year"):
        return now - timedelta(days=round(365.25 * count))
    return now - timedelta(days=count * (7 if unit.startswith("week") else 1))


def _read_last_units(match: re.Match[str], now: datetime) -> _Reading:
    count, unit = _count(match), match["unit"].lower()
    if count == 0 or (unit.startswith("year") and count > 100):
        return None
    start = _midnight(_go_back(now, count, unit))
    return start, _midnight(now) + timedelta(days=1), f"the last {count} {unit.rstrip('s')}{'s' * (count > 1)}"


def _read_ago(match: re.Match[str], now: datetime) -> _Reading:
    count, unit = _count(match), match["unit"].lower().rstrip("s")
    if count == 0 or (unit == "year" and count > 100):
        return None
    day = _midnight(_go_back(now, count, unit))
    if unit == "day":
        return day, day + timedelta(days=1), format_day(day)
    if unit == "week":
        start = day - timedelta(days=day.weekday())
        return start, start + timedelta(days=7), f"the week of {format_day(start)}"
    if unit == "month":
        start = day.replace(day=1)
        return start, _add_months(start, 1), f"{_MONTHS[start.month - 1].title()} {start.year}"
    start = day.replace(month=1, day=1)
    return start, start.replace(year=start.year + 1), str(start.year)


def _read_near_day(match: re.Match[str], now: datetime) -> _Reading:
    day = _midnight(now) - timedelta(days={"today": 0, "yesterday": 1}[match[0].lower()])
    return day, day + timedelta(days=1), format_day(day)


def _read_weekday(match: re.Match[str], now: datetime) -> _Reading:
    today = _midnight(now)
    back = (today.weekday() - _WEEKDAYS.index(match["weekday"].lower())) % 7 or 7
    day = today - timedelta(days=back)
    return day, day + timedelta(days=1), format_day(day)


def _read_quarter(match: re.Match[str], now: datetime) -> _Reading:
    start = _midnight(now).replace(year=int(match["year"] or now.year), month=int(match["quarter"]) * 3 - 2, day=1)
    return start, _add_months(start, 3), f"quarter {match['quarter']} of {start.year}"


def _read_year(match: re.Match[str], now: datetime) -> _Reading:
    start = _midnight(now).replace(year=int(match["year"]), month=1, day=1)
    return start, start.replace(year=start.year + 1), match["year"]


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# The most telling first: a later pattern does not read inside what an earlier one has read.
_READERS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], _Reading]], ...]] = (
    (_compile(r"\b(?P<year>(?:19|20)\d\d)-(?P<mm>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01]))?\b"), _read_iso),
    (_compile(rf"\b{_DAY}(?: of)? {_MONTH}{_YEAR}?"), _read_day),
    (_compile(rf"\b{_MONTH} (?:the )?{_DAY}\b(?!\d){_YEAR}?"), _read_day),
    (
        _compile(rf"\b(?:(?:in |over )?the )?(?:last|past|previous) {_COUNT} (?P<unit>days?|weeks?|months?|years?)\b"),
        _read_last_units,
    ),
    (_compile(rf"\b{_COUNT} (?P<unit>days?|weeks?|months?|years?) ago\b"), _read_ago),
    (_compile(r"\b(?P<which>this|last|past|previous) (?P<unit>week|month|quarter|year)\b"), _read_relative_unit),
    (_compile(r"\b(?:today|yesterday)\b"), _read_near_day),
    (_compile(rf"\b(?:last|since) (?P<weekday>{'|'.join(_WEEKDAYS)})\b"), _read_weekday),
    (_compile(r"\bQ(?P<quarter>[1-4])\b(?: (?:of )?(?P<year>(?:19|20)\d\d))?"), _read_quarter),
    (_compile(rf"\b(?P<lead>last |this |early |late |mid-)?{_MONTH}{_YEAR}?"), _read_month),
    (
        _compile(
            r"(?:(?<=\bin )|(?<=\bof )|(?<=since )|(?<=during )|(?<=before )|(?<=after ))(?P<year>(?:19|20)\d\d)\b"
        ),
        _read_year,
    ),
)
