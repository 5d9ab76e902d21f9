"""Reads which session a question speaks of, such as "the last session" or "since our first", without a model."""

import re
from dataclasses import dataclass
from typing import Final

from rag.understand_times import NUMBERS

_ORDINALS: Final = {
    word: number
    for number, words in enumerate(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), 1
    )
    for word in words.split()
}
MEETING: Final = r"(?:coaching )?(?:session|meeting|call|conversation|transcript)"
_ORDINAL: Final = rf"(?P<ordinal>{'|'.join(_ORDINALS)}|\d{{1,4}}(?:st|nd|rd|th))"
_LATEST: Final = r"(?:very )?(?:last|latest|most recent|newest|previous)"

_SESSION_PATTERNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "before_last",
            rf"\b(?:{MEETING} before (?:the )?last|(?:second|next) to last {MEETING}|penultimate {MEETING})\b",
        ),
        (
            "last_many",
            rf"\b(?:last|latest|past|previous|most recent) (?P<count>\d{{1,3}}|{'|'.join(NUMBERS)}) {MEETING}s\b",
        ),
        ("first_many", rf"\bfirst (?P<count>\d{{1,3}}|{'|'.join(NUMBERS)}) {MEETING}s\b"),
        ("last", rf"\b(?:{_LATEST} {MEETING}|last time(?! you| i\b)|when we last (?:met|spoke|talked))\b"),
        ("first", rf"\b(?:(?:very )?first {MEETING}|first time we (?:met|spoke|talked)|initial {MEETING})\b"),
        ("nth", rf"\b{_ORDINAL} {MEETING}\b|\b{MEETING}\s*(?:no\.?|number|#)?\s*(?P<number>\d{{1,4}})\b"),
    )
)  # fmt: skip
_SINCE: Final = re.compile(
    r"\b(since|after|before|until)\s+(?:(?:the|our|her|his|their|my|\w+['’]s)\s+)?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class SessionWords:
    """A session spoken of: positions from the first (0) or the last (-1), and the words used."""

    first: int
    last: int
    words: str
    relation: str = ""


def find_session_phrase(question: str) -> str | None:
    """Return the words of the question that name a session, as they stand, or None."""
    for _, pattern in _SESSION_PATTERNS:
        if match := pattern.search(question):
            relation = _SINCE.search(question[: match.start()])
            return question[relation.start() if relation else match.start() : match.end()]
    return None


def find_session_words(question: str) -> SessionWords | None:
    """Return the sessions the question speaks of, as positions, or None."""
    for kind, pattern in _SESSION_PATTERNS:
        if match := pattern.search(question):
            relation = _SINCE.search(question[: match.start()])
            return _read_session_words(kind, match, relation.group(1).lower() if relation else "")
    return None


def _read_session_words(kind: str, match: re.Match[str], relation: str) -> SessionWords | None:
    match kind:
        case "before_last":
            return SessionWords(-2, -2, "the session before the last", relation)
        case "last":
            return SessionWords(-1, -1, "the last session", relation)
        case "first":
            return SessionWords(0, 0, "the first session", relation)
        case "last_many" | "first_many":
            count = int(match["count"]) if match["count"].isdigit() else NUMBERS[match["count"].lower()]
            if kind == "last_many":
                return SessionWords(-count, -1, f"the last {count} sessions", relation)
            return SessionWords(0, count - 1, f"the first {count} sessions", relation)
    word = (match["ordinal"] or match["number"]).lower()
    number = _ORDINALS.get(word) or int(re.sub(r"\D", "", word))
    return SessionWords(number - 1, number - 1, f"session {number}", relation) if number else None
