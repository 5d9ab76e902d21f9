"""Compares claimed words with the words of a text, passing over what is idle on either side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.evidence.locate_index import QuoteIndex
from pipelines.evidence.locate_words import Words, drop_accents


@dataclass(frozen=True, slots=True)
class Match:
    """Where claimed words stand: the first and last word of the text, and how many idle words were passed over."""

    first: int
    last: int
    passed: int


def match_words(
    index: QuoteIndex,
    claimed: Words,
    *,
    speakers: frozenset[int] | None = None,
    plain: bool = False,
    across: bool = False,
) -> Iterator[Match]:
    """Yield each place, in order, where the claimed words stand but for idle ones.

    A place lies within one stretch of one of the speakers, of anybody where None, or `across` stretches; `plain`
    compares without accents. Only the surroundings of the claimed word that is rarest in the text are looked at, for
    it stands in every place.
    """
    keys, places = (index.plain_keys, index.plain_places) if plain else (index.words.keys, index.places)
    wanted = [drop_accents(key) for key in claimed.keys] if plain else claimed.keys
    sure = [at for at, idle in enumerate(claimed.idle) if not idle]
    if not sure or any(wanted[at] not in places for at in sure):
        return
    anchor = min(sure, key=lambda at: len(places[wanted[at]]))
    pair = _Pair(keys, index.words, wanted, claimed)
    seen = set[tuple[int, int]]()
    for place in places[wanted[anchor]]:
        if not index.is_said_by(speakers, place):
            continue
        bounds = (0, len(keys)) if across else index.stretch_bounds[index.turn_stretch[index.word_turn[place]]]
        match = pair.match(place, anchor, *bounds)
        if match is None or (match.first, match.last) in seen:
            continue
        seen.add((match.first, match.last))
        yield match


@dataclass(frozen=True, slots=True)
class _Pair:
    """A text's words and the wanted ones, each with what is idle in it."""

    said: Sequence[str]
    spoken: Words
    wanted: Sequence[str]
    claimed: Words

    def match(self, place: int, anchor: int, low: int, high: int) -> Match | None:
        """Return the match around a shared word, within words `low` to `high` (exclusive) of the text."""
        size = len(self.wanted)
        first, last = place - anchor, place - anchor + size - 1
        if first >= low and last < high and self.said[first : last + 1] == self.wanted:
            return None if self._is_glued(first) or self._is_glued(last + 1) else Match(first, last, 0)
        ahead = self._follow(range(place, high), range(anchor, size))
        if ahead is None:
            return None
        behind = self._follow(range(place, low - 1, -1), range(anchor, -1, -1))
        if behind is None:
            return None
        matched = ahead[1] + behind[1] - 1  # both count the shared word
        return Match(behind[0], ahead[0], ahead[0] - behind[0] + 1 + size - 2 * matched)

    def _follow(self, said: range, wanted: range) -> tuple[int, int] | None:
        """Walk both in step from a shared word; return the last word matched and how many were, None where they part.

        Either side may pass over its own idle words. Depth first, and equal words before passing, so that what can
        match does.
        """
        ways = [(1, 1, said[0], 1)]
        tried: set[tuple[int, int]] = set()
        while ways:
            here, there, last, matched = ways.pop()
            if there >= len(wanted):
                if self._is_glued(last + 1 if said.step > 0 else last):
                    continue  # it would cut a compound
                return last, matched
            if (here, there) in tried:
                continue
            tried.add((here, there))
            on = here < len(said)
            if on and (idle := _count_idle(self.spoken, said[here], said.step)):
                ways.append((here + idle, there, last, matched))
            if idle := _count_idle(self.claimed, wanted[there], wanted.step):
                ways.append((here, there + idle, last, matched))
            if on and self.said[said[here]] == self.wanted[wanted[there]]:
                ways.append((here + 1, there + 1, said[here], matched + 1))
        return None

    def _is_glued(self, at: int) -> bool:
        return at < len(self.spoken.glued) and self.spoken.glued[at]


def _count_idle(words: Words, at: int, step: int) -> int:
    """Return how many words may be passed over from here on, 0 where none or amid what belongs together."""
    behind, ahead = (words.before, words.after) if step > 0 else (words.after, words.before)
    return ahead[at] + 1 if words.idle[at] and not behind[at] else 0
