"""A session's words, indexed once, so that thousands of quotes can be looked up in them a second."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Self
from uuid import UUID

from core.errors import Invalid
from pipelines.evidence.locate_words import Words, cut_words, drop_accents, fold_name
from pipelines.evidence.records import SessionText, Turn

SEPARATOR = "\x1f"
"""Stands in no word."""


class TurnsMisplaced(Invalid):
    """A turn does not stand where its offsets say; read the transcript from the store again."""


class QuoteIndex:
    """The turns of one session, or the whole text of one document, as quotes are looked up in them.

    A stretch is what one speaker says until another speaks: quotes lie within one. A turn of nobody known is a
    stretch of its own, for its neighbour may be another person's. Built in parts, each at its first use; words take
    about 20 ms for 9,000 of them, and exact lookups of a few quotes cut the turns they fall in only.
    """

    def __init__(self, text: str, turns: Sequence[Turn], names: dict[UUID, str] | None = None) -> None:
        """Index turns that stand in the text where they say; raises TurnsMisplaced."""
        if any(text[turn.char_start : turn.char_end] != turn.text for turn in turns):
            raise TurnsMisplaced
        self.text = text
        self.turns = turns
        self._turn_starts = [turn.char_start for turn in turns]
        self._position = {turn.index: position for position, turn in enumerate(turns)}
        self._cut: list[Words | None] = [None] * len(turns)
        self._number_speakers(names or {})

    @classmethod
    def of(cls, text: SessionText) -> Self:
        """Return the index of a session, the same one as long as the session's text lives."""
        kept = vars(text)  # beside `text.text`, which cached_property keeps in the same place
        if "_quote_index" not in kept:
            kept["_quote_index"] = cls(text.text, text.turns, dict(text.names))
        index: Self = kept["_quote_index"]
        return index

    @classmethod
    def of_document(cls, text: str) -> Self:
        """Return the index of a document: one turn, which nobody speaks."""
        return cls(text, [Turn(index=0, text=text, char_start=0, char_end=len(text))])

    def _number_speakers(self, names: dict[UUID, str]) -> None:
        numbers: dict[tuple[str | None, UUID | None], int] = {}
        called: dict[str, set[int]] = {}
        self.turn_speaker: list[int] = []
        self.turn_stretch: list[int] = []
        before = None
        for turn in self.turns:
            who = (turn.speaker, turn.speaker_id)
            number = numbers.setdefault(who, len(numbers))
            for name in (turn.speaker, names.get(turn.speaker_id) if turn.speaker_id else None):
                if name:
                    called.setdefault(fold_name(name), set()).add(number)
            same = who == before and who != (None, None)
            self.turn_stretch.append(self.turn_stretch[-1] + (0 if same else 1) if self.turn_stretch else 0)
            self.turn_speaker.append(number)
            before = who
        self._called = {name: frozenset(found) for name, found in called.items()}

    def find_speakers(self, name: str | None) -> frozenset[int] | None:
        """Return the numbers of who goes by a label or full name, empty where nobody does; None for no name."""
        return None if name is None else self._called.get(fold_name(name), frozenset())

    def find_position(self, turn_index: int | None) -> int | None:
        """Return where in `turns` a turn stands; None where there is no such turn."""
        return None if turn_index is None else self._position.get(turn_index)

    def is_said_by(self, speakers: frozenset[int] | None, word: int) -> bool:
        """Whether one of these speakers says a word; None stands for anybody."""
        return speakers is None or self.turn_speaker[self.word_turn[word]] in speakers

    def turn_at(self, offset: int) -> int:
        """Return the position of the turn in which a character stands; its newline belongs to the turn before."""
        return bisect_right(self._turn_starts, offset) - 1

    def cut_turn(self, position: int) -> Words:
        """Return the words of one turn, offsets in the turn's own text."""
        cut = self._cut[position]
        if cut is None:
            cut = self._cut[position] = cut_words(self.turns[position].text)
        return cut

    def is_between_words(self, offset: int) -> bool:
        """Whether no word and no hyphenated compound is cut at this place."""
        position = self.turn_at(offset)
        words, place = self.cut_turn(position), offset - self.turns[position].char_start
        at = bisect_right(words.ends, place)
        return at == len(words.ends) or (words.starts[at] >= place and not words.glued[at])

    @cached_property
    def words(self) -> Words:
        """All words, offsets in the whole text."""
        every = Words([], [], [], [], [], [], [])
        for position, turn in enumerate(self.turns):
            cut, base = self.cut_turn(position), turn.char_start
            every.keys += cut.keys
            every.starts += [base + start for start in cut.starts]
            every.ends += [base + end for end in cut.ends]
            every.idle += cut.idle
            every.before += cut.before
            every.after += cut.after
            every.glued += cut.glued
        return every

    @cached_property
    def word_turn(self) -> list[int]:
        """The position of each word's turn."""
        return [position for position in range(len(self.turns)) for _ in self.cut_turn(position).keys]

    @cached_property
    def stretch_bounds(self) -> list[tuple[int, int]]:
        """The words of each stretch, from (inclusive) and to (exclusive)."""
        starts: list[int] = []
        count = 0
        for position, stretch in enumerate(self.turn_stretch):
            if stretch == len(starts):
                starts.append(count)
            count += len(self.cut_turn(position).keys)
        return list(pairwise([*starts, count]))

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each folded word stands, in order."""
        return _index(self.words.keys)

    @cached_property
    def told(self) -> str:
        """The words in one string, a separator before and after each, and two between stretches."""
        keys = self.words.keys
        return SEPARATOR + SEPARATOR.join(
            "".join(key + SEPARATOR for key in keys[first:end]) for first, end in self.stretch_bounds
        )

    @cached_property
    def plain_keys(self) -> list[str]:
        """The words without their accents."""
        return [drop_accents(key) for key in self.words.keys]

    @cached_property
    def plain_places(self) -> dict[str, list[int]]:
        """Where each word stands once accents are dropped."""
        return _index(self.plain_keys)

    @cached_property
    def is_accented(self) -> bool:
        """Whether any word bears an accent."""
        return self.plain_keys != self.words.keys


def _index(keys: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for at, key in enumerate(keys):
        places.setdefault(key, []).append(at)
    return places
