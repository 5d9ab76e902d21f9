"""Finds where claimed words stand in what was said; only what stands there, to the character, is ever given back.

Case, punctuation, unicode form, white space, hesitations, asides between pauses, notes of laughter and stutters may
differ; every other word, each number, negation and pronoun must be there, in order, in one speaker's mouth. An
ellipsis is punctuation: words left out between its sides make a quote stitched, for one of them may be "not". A
contraction is not its long form, nor a digit its name: an honest quote copies them.

A single word ("Yes.") is a quote only where its place is sure: in the turn that is hinted at, or said once by that
speaker. Other words that stand in several places are taken nearest to the hinted turn, else where said first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.evidence.locate_index import QuoteIndex
from pipelines.evidence.locate_match import Match, match_words
from pipelines.evidence.locate_nearest import explain
from pipelines.evidence.locate_words import Words, cut_words, drop_accents
from pipelines.evidence.records import Candidate, Located, Rejected, RejectionReason, SessionText

LONGEST: Final = 10_000
"""Characters: what is longer is a copy of the session, not a quote, and is not looked for."""

_CLOSING: Final = "\"”»'’)]} \t\r\n"
_STOPS: Final = re.compile(r"[.?!…]+")
_ELLIPSIS: Final = re.compile(r"[\[(]?(?:…|\.\s?\.\s?\.)+[\])]?")


@dataclass(frozen=True, slots=True)
class _Sought:
    """A candidate made ready to be looked for."""

    exact: str
    words: Words
    speakers: frozenset[int] | None
    """None: anybody's words will do."""
    hint: int | None
    """Position of a turn."""

    @property
    def is_single(self) -> bool:
        return len(self.words.keys) - sum(self.words.idle) < 2


def locate_quote(candidate: Candidate, text: SessionText | QuoteIndex) -> Located | Rejected:
    """Return the span in which a candidate's words stand, or why there is none."""
    index = text if isinstance(text, QuoteIndex) else QuoteIndex.of(text)
    exact = candidate.exact.strip()
    if len(exact) > LONGEST:
        return Rejected(reason=RejectionReason.NOT_FOUND, candidate=candidate)
    sought = _Sought(
        exact=exact,
        words=cut_words(exact, claimed=True),
        speakers=index.find_speakers(candidate.speaker),
        hint=index.find_position(candidate.turn_index),
    )
    if all(sought.words.idle):  # or no word at all: "um, uh", "…"
        return Rejected(reason=RejectionReason.NOT_FOUND, candidate=candidate)
    span = _find(index, sought)
    if span is not None:
        return _take(index, span.start, span.end)
    return _reject(index, candidate, sought)


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    passed: int = 0
    """Idle words passed over: what needs none is meant, so "very, very good" is never some other "very good"."""


def _find(index: QuoteIndex, sought: _Sought) -> _Span | None:
    if not sought.is_single:
        return _choose(index, sought, _find_exact(index, sought)) or _choose(index, sought, _find_loose(index, sought))
    spans = list(_find_loose(index, sought))
    hinted = [span for span in spans if index.turn_at(span.start) == sought.hint]
    return hinted[0] if hinted else spans[0] if len(spans) == 1 else None


def _choose(index: QuoteIndex, sought: _Sought, spans: Iterator[_Span]) -> _Span | None:
    """Return the span that passes over least, then the nearest to the hinted turn, then the first."""
    best: _Span | None = None
    least: tuple[int, int] | None = None
    for span in spans:
        away = 0 if sought.hint is None else abs(index.turn_at(span.start) - sought.hint)
        if least is None or (span.passed, away) < least:
            best, least = span, (span.passed, away)
        if least == (0, 0):
            break
    return best


def _find_exact(index: QuoteIndex, sought: _Sought) -> Iterator[_Span]:
    """Yield where the very characters stand, no word cut, in one stretch of a wanted speaker."""
    start = index.text.find(sought.exact)
    while start >= 0:
        end = start + len(sought.exact)
        first, last = index.turn_at(start), index.turn_at(end - 1)
        if (
            index.turn_stretch[first] == index.turn_stretch[last]
            and (sought.speakers is None or index.turn_speaker[first] in sought.speakers)
            and index.is_between_words(start)
            and index.is_between_words(end)
        ):
            yield _Span(start, end)
        start = index.text.find(sought.exact, start + 1)


def _find_loose(index: QuoteIndex, sought: _Sought) -> Iterator[_Span]:
    """Yield where the words stand, in order; without their accents only where that leaves a single place."""
    words, found = sought.words, False
    for match in match_words(index, words, speakers=sought.speakers):
        found = True
        yield _bound(index, sought, match)
    if found or (not index.is_accented and all(drop_accents(key) == key for key in words.keys)):
        return
    places = list(match_words(index, words, plain=True))
    if len(places) == 1 and index.is_said_by(sought.speakers, places[0].first):
        yield _bound(index, sought, places[0])


def _bound(index: QuoteIndex, sought: _Sought, match: Match) -> _Span:
    """Return the characters of some words, with the full stop where the candidate has one too."""
    end = index.words.ends[match.last]
    if sought.exact.rstrip(_CLOSING).endswith((".", "?", "!", "…")) and (stop := _STOPS.match(index.text, end)):
        end = stop.end()
    return _Span(index.words.starts[match.first], end, match.passed)


def _take(index: QuoteIndex, start: int, end: int) -> Located:
    first, last = index.turns[index.turn_at(start)], index.turns[index.turn_at(end - 1)]
    return Located(
        exact=index.text[start:end],
        char_start=start,
        char_end=end,
        turn_first=first.index,
        turn_last=last.index,
        speaker=first.speaker,
        speaker_id=first.speaker_id,
        started_s=first.started_s,
        ended_s=last.ended_s,
    )


def _reject(index: QuoteIndex, candidate: Candidate, sought: _Sought) -> Rejected:
    words = sought.words
    anyone = _Sought(exact=sought.exact, words=words, speakers=None, hint=None)
    span = next(_find_exact(index, anyone), None) or next(_find_loose(index, anyone), None)
    if span is not None:
        # their own words are refused only where one word stands in several places, and nobody knows which is meant
        own = sought.speakers is None or next(_find_loose(index, sought), None) is not None
        reason = RejectionReason.NOT_FOUND if own else RejectionReason.MISATTRIBUTED
        return Rejected(reason=reason, candidate=candidate, nearest=index.text[span.start : span.end])
    reason, nearest = explain(index, words, _cut_parts(sought.exact))
    return Rejected(reason=reason, candidate=candidate, nearest=nearest)


def _cut_parts(exact: str) -> list[Words]:
    """Return the words of each side of a candidate's ellipses; one part where there is none."""
    parts = [cut_words(part, claimed=True) for part in _ELLIPSIS.split(exact)]
    return [part for part in parts if part.keys]
