"""Cuts a session into stretches that a model reads in one go: whole turns where they fit, overlapping each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from pipelines.evidence.records import SessionText, Turn

WINDOW_TOKENS: Final = 2_000
"""Of the transcript in one request, about ten minutes of talk: long enough for a claim and its answer, short enough
that its claims fit into one reply, and all of it into the 8,000 tokens that small models read."""
OVERLAP_TOKENS: Final = 200
LINE_TOKENS: Final = 1_000
"""A longer turn is cut at a space."""
LABEL_TOKENS: Final = 12
"""What number, speaker and role before a turn take."""
BYTES_PER_TOKEN: Final = 3.5
"""Of UTF-8. Spoken English takes 4 to 4.5 bytes a token in the vocabularies in use, so this counts too many rather than
too few; other scripts have more bytes a letter and about as many a token."""


@dataclass(frozen=True, slots=True)
class Line:
    """A turn, or a part of a long one, on one line."""

    turn: int
    speaker: str
    words: str


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a session in the order of the text; `tokens` is an estimate."""

    lines: tuple[Line, ...]
    tokens: int


def estimate_tokens(text: str) -> int:
    """Return about how many tokens the text is, rather too many than too few."""
    return ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def cut_windows(text: SessionText) -> list[Window]:
    """Return the stretches of the session, none where nobody said a word."""
    lines = [line for turn in text.turns for line in _cut_turn(turn.index, name_speaker(text, turn), turn.text)]
    sizes = [estimate_tokens(line.words) + LABEL_TOKENS for line in lines]
    windows: list[Window] = []
    first = 0
    while first < len(lines):
        end, tokens = first, 0
        while end < len(lines) and (end == first or tokens + sizes[end] <= WINDOW_TOKENS):
            tokens += sizes[end]
            end += 1
        windows.append(Window(tuple(lines[first:end]), tokens))
        first = end if end == len(lines) else _step_back(sizes, first, end)
    return windows


def _step_back(sizes: Sequence[int], first: int, end: int) -> int:
    """Return where the next stretch begins: as many lines back as fit into the overlap, and never where this began."""
    start, tokens = end, 0
    while start - 1 > first and tokens + sizes[start - 1] <= OVERLAP_TOKENS:
        start -= 1
        tokens += sizes[start]
    return start


def name_speaker(text: SessionText, turn: Turn) -> str:
    """Return who speaks as the model is told it: the full name, else the label in the file, with the role if known."""
    name = text.names.get(turn.speaker_id) if turn.speaker_id else None
    label = " ".join((name or turn.speaker or "unknown").split())
    role = text.find_role(turn)
    return f"{label} ({role})" if role else label


def _cut_turn(index: int, speaker: str, said: str) -> list[Line]:
    words = " ".join(said.split())  # one line, so that words can't pass for the next speaker's
    lines: list[Line] = []
    limit = int(LINE_TOKENS * BYTES_PER_TOKEN)
    while len(words.encode("utf-8", "replace")) > limit:
        # characters that surely fit, back to the last space among them
        most = limit if words[:limit].isascii() else limit // 4
        cut = words.rfind(" ", most // 2, most)
        cut = most if cut < 0 else cut
        lines.append(Line(index, speaker, words[:cut]))
        words = words[cut:].lstrip()
    if words:
        lines.append(Line(index, speaker, words))
    return lines
