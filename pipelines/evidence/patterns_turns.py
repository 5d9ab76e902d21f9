"""Where a client turned between two sessions: wanted one thing and then another, did something and stopped."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from pipelines.evidence.lifecycle_match import Read, is_later
from pipelines.evidence.lifecycle_signs import is_change_of_mind, is_dropped
from pipelines.evidence.lifecycle_turns import FoundTurn, find_turn
from pipelines.evidence.patterns_history import History, name_subject, quote
from pipelines.evidence.records import FoundPattern

MOST_CHANGES: Final = 12
"""Of one client; the surest first."""
RIVAL: Final = 0.7
"""Part of the best turn's score from which another earlier claim is of the same matter."""


def find_changes(history: History, used: set[UUID]) -> list[FoundPattern]:
    """Return the surest changes: for each claim that turned something, the earlier ones that it turned.

    A claim in `used` is told otherwise already.
    """
    by_later: dict[UUID, list[tuple[float, FoundTurn]]] = defaultdict(list)
    for one in history.own:
        for turn, score in _list_turns(history, one):
            by_later[turn.later.claim.claim_id].append((score, turn))
    best = sorted(by_later.values(), key=lambda turns: (-max(score for score, _ in turns), turns[0][1].later.order))
    found: list[FoundPattern] = []
    for turns in best:
        free = [(score, turn) for score, turn in turns if turn.earlier.claim.claim_id not in used]
        if not free or turns[0][1].later.claim.claim_id in used or len(found) == MOST_CHANGES:
            continue
        top = max(score for score, _ in free)
        kept = sorted((turn for score, turn in free if score >= RIVAL * top), key=lambda turn: turn.earlier.order)
        pattern = _tell_change(history, kept, top)
        if pattern:
            used = used | {kept[0].later.claim.claim_id, *(turn.earlier.claim.claim_id for turn in kept)}
            found.append(pattern)
    return found


def _list_turns(history: History, one: Read) -> Iterable[tuple[FoundTurn, float]]:
    sharing = {id(other): other for other in history.weights.list_sharing(one)}
    if len(one.wording.times) >= 2:
        sharing |= {id(other): other for other in history.ended if len(other.wording.times & one.wording.times) >= 2}
    for other in sharing.values():
        if _is_outcome(one, other):
            continue  # told by the record
        turn = find_turn(one, other, history.weights)
        if turn:
            outright = is_change_of_mind(other.wording.text)
            meant = one.claim.claim_type in {"goal", "decision", "commitment"}
            yield turn, history.weights.compare(one, other).score + 0.3 * outright + 0.3 * meant


def _is_outcome(one: Read, other: Read) -> bool:
    """Tell whether the one is a commitment that the other says was kept, or not done; dropping it is a turn too."""
    settled = one.claim.status in ("kept", "broken")
    return settled and not (one.claim.superseded_by == other.claim.claim_id and is_dropped(other.wording.text))


def _tell_change(history: History, turns: Sequence[FoundTurn], score: float) -> FoundPattern | None:
    last = turns[-1]
    statement = f"{history.who} turned: {quote(last.earlier)}; {quote(last.later)}."
    return history.make(
        "change", "change", statement, [*(turn.earlier for turn in turns), last.later], _list_returns(history, last),
        subject=name_subject(last.earlier, last.later), score=min(1.0, score),
    )  # fmt: skip


def _list_returns(history: History, turn: FoundTurn) -> list[Read]:
    """Return later claims that go back on what the client had turned to."""
    return [
        other
        for other in history.weights.list_sharing(turn.later)
        if is_later(other, turn.later) and find_turn(turn.later, other, history.weights)
    ]
