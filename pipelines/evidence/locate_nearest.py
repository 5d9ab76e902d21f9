"""Says why claimed words were refused, and what stands there instead, in time bounded by the text's length."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

from rapidfuzz.distance import LCSseq

from pipelines.evidence.locate_index import SEPARATOR, QuoteIndex
from pipelines.evidence.locate_match import match_words
from pipelines.evidence.locate_words import Words
from pipelines.evidence.records import RejectionReason

_LONGEST: Final = 200
"""Words of a claim that are looked at."""
_COMMON: Final = 64
"""A word that stands more often than this says no more about where a claim comes from than any other."""
_VOTES: Final = 800
"""Places that are counted, those of the rarest words first."""
_SLACK: Final = 6
"""Words by which a claim may have slipped from where its rare words stand."""
_PART: Final = 3
"""Words in a row that are no chance: the least part of a stitched quote."""
_SHOWN: Final = 400
"""Characters shown of what stands there."""
_EDITED: Final = 0.6
"""Share of a claim's words that stand in one place, in order, from which on it is that place's words edited."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Where most of a claim's words stand together; `first` and `last` count the text's words."""

    shared: int
    first: int
    last: int


def explain(index: QuoteIndex, claimed: Words, parts: Sequence[Words]) -> tuple[RejectionReason, str | None]:
    """Return why words that nobody says are refused, and the nearest words; `parts` are split at ellipses."""
    if across := next(match_words(index, claimed, across=True), None):
        return RejectionReason.STITCHED, _show(index, across.first, across.last)
    keys = claimed.keys[:_LONGEST]
    window = _find_window(index, keys)
    nearest = _show(index, window.first, window.last) if window else None
    if len(parts) > 1 and all(next(match_words(index, part), None) for part in parts):
        return RejectionReason.STITCHED, nearest
    return (_judge(index, keys, window) if window else RejectionReason.NOT_FOUND), nearest


def _judge(index: QuoteIndex, keys: Sequence[str], window: _Window) -> RejectionReason:
    left_out = window.last - window.first + 1 - window.shared
    if window.shared == len(keys):
        return RejectionReason.STITCHED if left_out > _PART else RejectionReason.EDITED
    if _is_stitched(index, keys):
        return RejectionReason.STITCHED
    if window.shared > 1 and window.shared >= _EDITED * len(keys) and left_out <= window.shared:
        return RejectionReason.EDITED
    return RejectionReason.NOT_FOUND


def _show(index: QuoteIndex, first: int, last: int) -> str:
    start = index.words.starts[first]
    return index.text[start : min(index.words.ends[last], start + _SHOWN)]


def _find_window(index: QuoteIndex, keys: Sequence[str]) -> _Window | None:
    """Return where most of the words stand together, found by the votes of the rarest."""
    known = sorted((len(index.places[key]), at, key) for at, key in enumerate(keys) if key in index.places)
    votes: dict[int, int] = {}
    cast = 0
    for often, at, key in known:
        cast += often
        if cast > _VOTES and votes:
            break
        weight = 1 + _COMMON // often
        for place in index.places[key][:_VOTES]:
            bucket = (place - at) // _SLACK
            votes[bucket] = votes.get(bucket, 0) + weight
    # a claim may lie across two buckets: each is heard with the one after it
    heard = nlargest(3, votes, key=lambda one: votes[one] + votes.get(one + 1, 0))
    best: _Window | None = None
    for bucket in heard:
        low = max(0, (bucket - 1) * _SLACK)
        window = _align(keys, index.words.keys[low : (bucket + 3) * _SLACK + len(keys)], low)
        if window and (best is None or window.shared > best.shared):
            best = window
    return best


def _align(keys: Sequence[str], said: Sequence[str], low: int) -> _Window | None:
    best: _Window | None = None
    window: _Window | None = None
    for block in LCSseq.opcodes(keys, said).as_matching_blocks():
        first, last = low + block.b, low + block.b + block.size - 1
        if not block.size:
            continue
        if window and first - window.last <= _SLACK:
            window = _Window(window.shared + block.size, window.first, last)
        else:
            window = _Window(block.size, first, last)  # what stands far from the rest is there by chance
        if best is None or window.shared > best.shared:
            best = window
    return best


def _is_stitched(index: QuoteIndex, keys: Sequence[str]) -> bool:
    """Whether the words fall into two or more runs that are said somewhere, each too long to be chance."""
    told = index.told
    at, runs = 0, 0
    while at < len(keys):
        run, place = "", 0
        end = at
        while end < len(keys):
            longer = run + SEPARATOR + keys[end]
            place = told.find(longer + SEPARATOR, place)
            if place < 0:
                break
            run, end = longer, end + 1
        if end - at < _PART:
            return False
        at, runs = end, runs + 1
    return runs > 1
