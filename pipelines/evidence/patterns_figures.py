"""Reads the figures people give of themselves: hours of sleep, a six out of ten, three extra shifts."""

import re
from dataclasses import dataclass
from typing import Final

from pipelines.evidence.merge_stems import drop_quoted, is_empty, stem
from rag.lexical import list_words

_ONES: Final = {
    word: float(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
    )
} | {"none": 0.0, "dozen": 12.0}  # fmt: skip
_TENS: Final = {
    word: 10.0 * (place + 2)
    for place, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"])
}
_WORD: Final = "|".join([*_ONES, *_TENS])
_NUMBER: Final = re.compile(
    rf"(?<![\w.,:’'-])(?P<number>\d+(?:,\d{{3}})*(?:\.\d+)?|(?:{_WORD})(?:[- ](?:{'|'.join(_ONES)}))?)"
    r"(?P<half>\s+and\s+a\s+half)?(?P<scale>\s+(?:hundred|thousand|million|k\b))?(?P<rest>\s+and\s+a\s+half)?"
    r"(?![\w:]|[.,]\d|[-’'](?!ish)\w)",
    re.IGNORECASE,
)
_SCALES: Final = {"hundred": 100.0, "thousand": 1_000.0, "k": 1_000.0, "million": 1_000_000.0}
# what is counted of a clock or a calendar tells when, not how much
_CLOCK: Final = frozenset(
    stem(word)
    for word in (
        "minute", "second", "o'clock", "am", "pm", "day", "week", "weekday", "month", "year", "mile", "time", "people",
        "person", "half", "quarter",
    )
)  # fmt: skip
_BEFORE: Final = re.compile(
    r"(?:\b(?:at|by|until|till|after|before|past|since|number|page|step|room|route|chapter|version|aged?|the|this|that|"
    r"these|those|all|number|other|in)\s+)$",
    re.IGNORECASE,
)
_MEASURED: Final = re.compile(
    r"\b(?:at|by|about|around|only|just|maybe|say|roughly|nearly|almost|it[’']s|I[’']m|we[’']re|was|were|is|a|an|did|"
    r"done|do|have|had|got|get|getting|sleep|slept|sleeping|ve|to|up|down|on)\s+$|"
    r"\b(?:I|we)(?:[’']ve|[’']d)?\s+(?:\w+\s+)?\w+\s+$|^\W*(?:(?:and|so|um|well|maybe|about|"
    r"honestly|now|yeah|yes|oh|just)\W+)*$",
    re.IGNORECASE,
)
OUT_OF: Final = re.compile(
    r"\bout\s+of\s+(?:ten|10|a\s+hundred|100)\b|\b(?:zero|one|0|1)\s+(?:to|and|through)\s+(?:ten|10)\b|\b(?:on\s+)?"
    r"(?:a|the|that|your|our)\s+(?:scale|number|score)\b|\bhow\s+(?:confident|sure|ready|likely)\b.*\b(?:ten|10)\b",
    re.IGNORECASE,
)
"""Words by which somebody asks for, or gives, a rating."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number as it was said, and the stem of what it counts, None where that is left unsaid."""

    value: float
    unit: str | None
    start: int
    end: int


def list_figures(text: str) -> list[Figure]:
    """Return the amounts in somebody's own words; dates, times of day and numbers of things are left out."""
    found = []
    for match in _NUMBER.finditer(text):
        before, after = text[: match.start()], text[match.end() :]
        if _BEFORE.search(before) and not re.search(r"\b(?:I[’']m|we[’']re|am|are|was)\s+at\s+$", before):
            continue
        unit = _find_unit(after)
        if unit in _CLOCK:
            continue
        found.append(Figure(_value(match), unit, match.start(), match.end()))
    return found


def is_measured(text: str, figure: Figure) -> bool:
    """Tell whether the words before the figure state it: "I'm at about", "it's", or nothing at all."""
    return bool(_MEASURED.search(text[: figure.start]))


def drop_others(text: str) -> str:
    """Return the words as long as they were, with what is quoted of others blanked."""
    own = drop_quoted(text)
    return own if len(own) == len(text) else re.sub(r"[\"“][^\"”]*[\"”]", lambda match: " " * len(match[0]), text)


def _find_unit(after: str) -> str | None:
    words = list_words(re.split(r"[.,;:!?…—]", after, maxsplit=1)[0])[:3]
    for word in words:
        if word == "ish":  # "six-ish"
            continue
        if word in ("out", "of", "and", "to", "for", "in", "on", "at", "now", "if", "is", "was", "last", "this"):
            return None
        if not is_empty(word) or stem(word) in _CLOCK or stem(word) == "hour":
            return stem(word.removesuffix("'s"))
    return None


def _value(match: re.Match[str]) -> float:
    words = match["number"].lower().replace(",", "")
    if words[0].isdigit():
        value = float(words)
    else:
        parts = re.split(r"[- ]", words)
        value = sum(_ONES.get(part, _TENS.get(part, 0.0)) for part in parts)
    if match["half"]:
        value += 0.5
    if match["scale"]:
        value *= _SCALES[match["scale"].strip().lower()]
    return value
