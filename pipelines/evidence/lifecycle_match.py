"""How alike two claims' matters are, by the words they share, rare ones counting most."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import inf, log
from typing import Final
from uuid import UUID

from pipelines.evidence.lifecycle_signs import acts_alike, list_acts
from pipelines.evidence.merge_stems import Wording, find_kin, read_claim
from pipelines.evidence.records import SessionClaim

NAME_WEIGHT: Final = 1.5
"""A name's weight next to another word as rare; whom it is about matters more than what with."""
ASKED_WEIGHT: Final = 0.6
"""A word's weight that stands only in what was answered, next to one of the speaker's own."""
BARE_ACTS: Final = frozenset({"do", "manag", "finish", "sort", "keep", "last", "make"})
"""Verbs that stand for any other: "I did it"."""


UNDATED: Final = -inf


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A claim with its words read once; `order` puts one client's claims in time."""

    claim: SessionClaim
    wording: Wording
    acts: frozenset[str]
    order: tuple[float, str, int]
    """When it was said, in which transcript, at which character."""

    @property
    def session(self) -> UUID:
        """The transcript it comes from."""
        return self.claim.transcript_id

    @property
    def day(self) -> date | None:
        """The day it was said."""
        return self.claim.held_at.date() if self.claim.held_at else None


@dataclass(frozen=True, slots=True)
class Likeness:
    """Shared stems, and the part of the first claim's weight that they carry, 0 to 1."""

    shared: frozenset[str]
    score: float
    names: int
    acts: bool
    times: int
    echo: bool
    """Four words in a row are the same."""


def read_all(claims: Iterable[SessionClaim]) -> list[Read]:
    """Return the claims in the order they were said; one without a session's time can't be placed, and comes first."""
    read = [
        Read(
            claim=claim,
            wording=(wording := read_claim(claim)),
            acts=list_acts(wording.text),
            order=(
                claim.held_at.timestamp() if claim.held_at else UNDATED,
                str(claim.transcript_id),
                claim.quotes[0][0].char_start,
            ),
        )
        for claim in claims
        if claim.quotes
    ]
    return sorted(read, key=lambda one: one.order)


def same_holder(left: SessionClaim, right: SessionClaim) -> bool:
    """Tell whether both are the same person's; labels are compared where neither is a known person."""
    if left.holder_id or right.holder_id:
        return left.holder_id == right.holder_id
    return bool(left.holder) and left.holder == right.holder


def is_later(one: Read, other: Read) -> bool:
    """Tell whether `one` was said in a later session than `other`; an undated one is neither earlier nor later."""
    return one.order[0] > other.order[0] > UNDATED


class Weights:
    """How much each stem says, from how few of one client's sessions use it."""

    def __init__(self, claims: Sequence[Read]) -> None:
        """Count in how many sessions each stem is used."""
        used: dict[UUID, set[str]] = defaultdict(set)
        for one in claims:
            used[one.session] |= one.wording.stems
        counts = Counter(word for words in used.values() for word in words)
        self._weight: Mapping[str, float] = {
            word: log(1 + (len(used) + 1) / (count + 0.5)) for word, count in counts.items()
        }
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(claims):
            for word in one.wording.stems:
                self._by_stem[word].append(place)
        self._claims = claims
        self._wholes: dict[int, tuple[frozenset[str], float]] = {}
        # a name that begins a sentence is known from where it stands inside one
        self._names = frozenset(name for one in claims for name in one.wording.names)

    def weigh(self, stems: Iterable[str], names: frozenset[str]) -> float:
        """Return the stems' weight together."""
        return sum(self._weight.get(word, 1.0) * (NAME_WEIGHT if word in names else 1.0) for word in stems)

    def _whole(self, one: Read) -> tuple[frozenset[str], float]:
        """Return the names in a claim and its weight."""
        known = self._wholes.get(id(one))
        if known is None:
            names = one.wording.names | (self._names & one.wording.stems)
            known = self._wholes[id(one)] = names, self.weigh(one.wording.stems, names)
        return known

    def compare(self, first: Read, second: Read) -> Likeness:
        """Return how much of the first claim's matter is the second's too."""
        shared = first.wording.stems & second.wording.stems
        names, whole = self._whole(first)
        told = shared & first.wording.told & second.wording.told
        kin = find_kin(first.wording.told - shared, second.wording.told - shared)
        weight = self.weigh(told, names) + ASKED_WEIGHT * self.weigh((shared - told) | kin, names)
        return Likeness(
            shared=shared | kin,
            score=weight / whole if whole else 0.0,
            names=len(shared & names),
            acts=acts_alike(first.acts, second.acts),
            times=len(first.wording.times & second.wording.times),
            echo=not first.wording.runs.isdisjoint(second.wording.runs),
        )

    def list_sharing(self, one: Read) -> Iterator[Read]:
        """Yield the claims that share a stem with it, each once, in order of time."""
        places = {place for word in one.wording.stems for place in self._by_stem[word]}
        return (self._claims[place] for place in sorted(places) if self._claims[place] is not one)
