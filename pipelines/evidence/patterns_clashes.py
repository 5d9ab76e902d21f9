"""Where two sessions can't both be right about one time: contradictions.

Two statements contradict each other when both speak of the same time, as "since Easter I don't look at it" and "every
week since Easter I've looked at it" do; where the later one says what holds from now on, the client has changed
(`patterns_turns`).
"""

import re
from calendar import month_name
from collections.abc import Iterable
from datetime import date
from itertools import combinations
from typing import Final

from pipelines.evidence.lifecycle_match import Read, is_later
from pipelines.evidence.lifecycle_signs import is_change_of_mind, is_taken_back, list_clauses
from pipelines.evidence.merge_stems import is_negated, stem
from pipelines.evidence.patterns_history import History, name_subject, quote
from pipelines.evidence.records import FoundPattern
from rag.lexical import list_words

LEAST_CLASH: Final = 0.25
"""Part of the earlier claim's weight that a statement against it repeats."""
_LASTING: Final = re.compile(
    r"\b(?:since|all through|throughout|ever since|from the start|all along|always|never|the whole (?:time|of)|"
    r"not once|every (?:single )?\w+)\b",
    re.IGNORECASE,
)
_ANCHOR: Final = re.compile(
    r"\b(?i:since|all through|throughout|in|from|all)\s+((?:the\s+)?(?:[\w-]+\s+(?:of\s+)?)?[A-Z]\w+)"
)
_RUNS_UNTIL: Final = re.compile(
    r"\b(?:until|till|up to|lasts?|runs? out|ends?|over|gone)\b[^.;]{0,40}?\b(?:in|until|till|by|of)?\s*(?:the\s+)?"
    r"(January|February|March|April|May|June|July|August|September|October|November|December|\d{4})\b"
)
_SINCE: Final = re.compile(r"\bsince\s+(?:the\s+\w+\s+of\s+)?([A-Z]\w+|the (?:start|beginning))")
_MONTHS: Final = tuple(month_name)[1:]


def find_contradictions(history: History) -> list[FoundPattern]:
    """Return the contradictions in what the client says, the plainest first, each claim in one of them at most."""
    clashes = sorted(_list_clashes(history), key=lambda pair: (-pair[2], pair[0].order, pair[1].order))
    used: set[int] = set()
    found = []
    for earlier, later, score in clashes:
        if id(earlier) in used or id(later) in used:
            continue
        pattern = _tell(history, earlier, later, score)
        if pattern:
            used |= {id(earlier), id(later)}
            found.append(pattern)
    return found


def _list_clashes(history: History) -> Iterable[tuple[Read, Read, float]]:
    """Yield pairs of claims that can't both be so, of the few that speak of a stretch of time."""
    lasting = [one for one in history.own if _LASTING.search(one.wording.own) and _anchors(one)]
    ending = [one for one in history.own if _RUNS_UNTIL.search(_with_subject(one))]
    for one, other in combinations(lasting, 2):
        if not is_later(other, one):
            continue
        told = one.wording.told & other.wording.told
        likeness = history.weights.compare(one, other)
        enough = len(told) >= 2 or (told and (likeness.names or one.acts & other.acts))
        if enough and likeness.score >= LEAST_CLASH and _clash(one, other, told):
            yield one, other, likeness.score
    for one, other in combinations(ending, 2):
        alike = one.wording.stems & other.wording.stems
        if alike and is_later(other, one) and _end_otherwise(one, other):
            yield one, other, history.weights.compare(one, other).score


def _clash(one: Read, other: Read, told: frozenset[str]) -> bool:
    """Tell whether what both say of one stretch of time is affirmed by one and denied by the other."""
    if is_taken_back(other.wording.text):
        return False
    anchors = _anchors(one) & _anchors(other)
    return bool(anchors) and _denials(one, told | anchors) != _denials(other, told | anchors)


def _denials(one: Read, about: frozenset[str]) -> frozenset[bool]:
    """Return whether the clauses about the matter deny it; both, where some do."""
    return frozenset(
        is_negated(clause)
        for clause in list_clauses(one.wording.text)
        if any(stem(word.removesuffix("'s")) in about for word in list_words(clause))
    )


def _anchors(one: Read) -> frozenset[str]:
    """Return the stems of the days, months and feasts that the words hang on."""
    words = " ".join(_ANCHOR.findall(one.wording.own))
    return frozenset(stem(word) for word in list_words(words)) & one.wording.times


def _with_subject(one: Read) -> str:
    return f"{one.claim.subject or ''} {one.wording.own}"


def _end_otherwise(one: Read, other: Read) -> bool:
    """Tell whether both say when one thing ends, in different months, and the later that it was so before already."""
    ends, others = _RUNS_UNTIL.search(_with_subject(one)), _RUNS_UNTIL.search(_with_subject(other))
    since = _SINCE.search(other.wording.own)
    if not (ends and others and since) or ends[1] == others[1]:
        return False
    day = one.day
    return since[1] not in _MONTHS or (day is not None and _MONTHS.index(since[1]) + 1 <= day.month)


def _tell(history: History, earlier: Read, later: Read, score: float) -> FoundPattern | None:
    """Return the contradiction, None where the store would not take its sides for one.

    Both sides support it where one affirms and the other denies; else other sessions' words must back one side, and the
    other side speaks against them. Days on which both hold are asked for either way.
    """
    if not _hold_together(earlier, later):
        return None
    statement = f"{history.who} said {quote(earlier)}, and of the same time {quote(later)}."
    sides: tuple[list[Read], list[Read]] | None = None
    if earlier.claim.polarity != later.claim.polarity:
        sides = [earlier, later], _list_explaining(history, earlier, later)
    else:
        for one, other in ((later, earlier), (earlier, later)):
            backing = _list_backing(history, one, other)
            if backing:
                sides = [*backing, one], [other]
                break
    if sides is None:
        return None
    return history.make(
        "contradiction", "contradiction", statement, *sides, subject=name_subject(earlier, later), score=min(1.0, score)
    )


def _hold_together(one: Read, other: Read) -> bool:
    left, right = one.claim, other.claim
    begins = max(left.valid_from or date.min, right.valid_from or date.min)
    ends = min(left.valid_to or date.max, right.valid_to or date.max)
    return begins <= ends


def _list_backing(history: History, one: Read, against: Read) -> list[Read]:
    """Return what other sessions say that agrees with one side of a contradiction."""
    return [
        other
        for other in history.weights.list_sharing(one)
        if other.session not in (one.session, against.session)
        and other in history.own
        and len(told := other.wording.told & one.wording.told) >= 2
        and _denials(other, told) == _denials(one, told)
        and not is_taken_back(other.wording.text)
    ]


def _list_explaining(history: History, earlier: Read, later: Read) -> list[Read]:
    """Return claims that explain the clash: an outright change of mind, or words taken back, on the same matter."""
    shared = earlier.wording.told & later.wording.told
    return [
        other
        for other in history.own
        if other not in (earlier, later)
        and len(other.wording.told & shared) >= 2
        and (is_change_of_mind(other.wording.text) or is_taken_back(other.wording.text))
    ]
