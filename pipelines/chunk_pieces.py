"""Measuring and cutting text for chunks: how much an embedder takes of it, and where it may be parted."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final, Literal

AIM_WORDS: Final = 70
"""Small units are ranked and grown at search time; 60 to 90 words found most on the development sets."""
MOST_PIECES: Final = 230
"""Word pieces a chunk may hold, by an estimate from above: the embedder takes 254 at once."""

_MARKS: Final = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_WHOLE_WORD: Final = 7  # characters up to which an English word is nearly always one word piece
_WORD: Final = re.compile(r"\s*\S{1,120}\s*")  # what has no space in 120 characters is cut there
_ENDS: Final = {
    # a full stop with its closing marks and the space after it; Chinese and Japanese ones need no space
    "sentence": re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+|(?<=[\u3002\uff01\uff1f])\s*"),
    "line": re.compile(r"\n\s*"),
}

Boundary = Literal["sentence", "line"]


@dataclass(frozen=True, slots=True)
class Weight:
    """How long a stretch of text is."""

    words: int
    pieces: int


def weigh(text: str) -> Weight:
    """Return the text's words and, estimated from above for English, its word pieces."""
    pieces = 0
    for mark in _MARKS.findall(text):
        if len(mark) == 1:
            pieces += 1
        elif mark.isdigit():
            pieces += (len(mark) + 1) // 2
        elif mark.isascii():
            pieces += 1 if len(mark) <= _WHOLE_WORD else (len(mark) + 3) // 4
        else:
            pieces += len(mark)  # scripts the vocabulary barely knows fall apart into letters
    return Weight(len(text.split()), pieces)


def pack(weights: Sequence[Weight], aim_words: float = AIM_WORDS) -> Iterator[range]:
    """Group neighbours into runs of about so many words and at most `MOST_PIECES`; one too heavy stays alone."""
    first, words, pieces = 0, 0, 0
    for index, weight in enumerate(weights):
        full = words + weight.words / 2 > aim_words or pieces + weight.pieces > MOST_PIECES
        if index > first and full:
            yield range(first, index)
            first, words, pieces = index, 0, 0
        words += weight.words
        pieces += weight.pieces
    if first < len(weights):
        yield range(first, len(weights))


def cut(text: str, boundary: Boundary) -> list[tuple[int, int]]:
    """Return the spans the text is kept in: itself if an embedder takes it, else the fewest that one takes.

    Spans adjoin and cover the text. They end at the boundary, and only where one sentence or line is too long
    itself, at a space or after 120 characters without one. A speaker's long turn is one thought: it is found best
    in few pieces.
    """
    if weigh(text).pieces <= MOST_PIECES:
        return [(0, len(text))]
    edges = [0]
    for end in (*(found.end() for found in _ENDS[boundary].finditer(text)), len(text)):
        start = edges[-1]
        if weigh(text[start:end]).pieces > MOST_PIECES:
            edges += [word.end() for word in _WORD.finditer(text, start, end)]
        elif end > start:
            edges.append(end)
    runs = pack([weigh(text[start:end]) for start, end in pairwise(edges)], inf)
    return [(edges[run.start], edges[run.stop]) for run in runs]
