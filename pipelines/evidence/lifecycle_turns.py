"""Where somebody turned: wanted one thing, then the other; did it, then stopped."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pipelines.evidence.lifecycle_match import Likeness, Read, Weights, is_later, same_holder
from pipelines.evidence.lifecycle_signs import is_change_of_mind, is_dropped, is_taken_back
from pipelines.evidence.merge_stems import is_negated, share_act, stem

LEAST_SHARED: Final = 0.25
"""Part of the earlier claim's weight that the later one repeats."""
WHOLE: Final = 0.8
"""The part from which one shared word is all that the earlier claim was about."""
_TURNED: Final = frozenset({"goal", "decision", "commitment", "belief", "progress", "obstacle"})
_MEANT: Final = frozenset({"goal", "decision", "commitment"})
# acts that undo each other
_OPPOSITES: Final = tuple(
    (frozenset(map(stem, left.split())), frozenset(map(stem, right.split())))
    for left, right in (
        ("stay keep remain continue hold", "leave quit stop drop end cancel give resign withdraw"),
        ("start begin launch join accept take", "stop quit leave drop cancel decline refuse wait postpone resign"),
        ("want like love", "hate regret"),
        ("hire", "fire freeze"),
        ("trust", "doubt"),
        ("raise", "wait postpone park"),
    )
)


@dataclass(frozen=True, slots=True)
class FoundTurn:
    """An earlier claim and the later one that turned it; `replaced` where the later puts something in its place."""

    earlier: Read
    later: Read
    replaced: bool
    why: str


def find_turn(earlier: Read, later: Read, weights: Weights) -> FoundTurn | None:
    """Return the turn from one claim to another of a later session, None where they agree or differ in matter."""
    if (
        earlier.claim.claim_type not in _TURNED
        or later.claim.claim_type not in _TURNED
        or not is_later(later, earlier)
        or not same_holder(earlier.claim, later.claim)
    ):
        return None
    outright = is_change_of_mind(later.wording.text)
    sign = _find_sign(earlier, later, outright=outright)
    if sign is None:
        return None
    likeness = weights.compare(earlier, later)
    if not _is_same_matter(earlier, later, likeness, outright=outright):
        return None
    replaced = later.claim.claim_type in _MEANT and not is_negated(later.wording.own)
    return FoundTurn(earlier, later, replaced, f"{sign}: {', '.join(sorted(likeness.shared))}")


def _is_same_matter(earlier: Read, later: Read, likeness: Likeness, *, outright: bool) -> bool:
    if likeness.times >= 2 and is_dropped(later.wording.text):
        return True  # what was done on Sunday evenings is stopped, whatever it was
    told = (earlier.wording.told & later.wording.told) - earlier.acts - later.acts
    if not told:
        return False  # two matters of which somebody says "work"
    if outright:
        return likeness.score >= LEAST_SHARED / 2
    if len(likeness.shared) >= 2:
        return likeness.score >= LEAST_SHARED
    return likeness.score >= WHOLE and earlier.claim.claim_type in _MEANT


@lru_cache(maxsize=2**12)
def _list_sides(acts: frozenset[str]) -> frozenset[tuple[int, bool]]:
    """Return on which side of which pair of opposites the verbs stand."""
    return frozenset(
        (number, side is pair[0])
        for number, pair in enumerate(_OPPOSITES)
        for side in pair
        if not side.isdisjoint(acts)
    )


def _find_sign(earlier: Read, later: Read, *, outright: bool) -> str | None:
    if outright:
        return "change of mind"
    if is_taken_back(later.wording.text) and not is_taken_back(earlier.wording.text):
        return "taken back"
    if not _list_sides(earlier.acts).isdisjoint((number, not left) for number, left in _list_sides(later.acts)):
        return "opposite acts"
    meant = {earlier.claim.claim_type, later.claim.claim_type} <= _MEANT | {"belief"}
    if (
        meant
        and is_negated(earlier.wording.own) != is_negated(later.wording.own)
        and (not earlier.acts.isdisjoint(later.acts) or share_act(earlier.acts, later.acts))
    ):
        return "denied"
    return None
