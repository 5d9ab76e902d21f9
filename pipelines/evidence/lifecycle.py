"""What became of a claim in later sessions: a commitment kept or broken, a goal replaced, a promise taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pipelines.evidence.lifecycle_match import BARE_ACTS, Likeness, Read, Weights, is_later, read_all, same_holder
from pipelines.evidence.lifecycle_signs import is_dropped, is_own, is_promised_not, is_recalled, read_outcome
from pipelines.evidence.lifecycle_turns import find_turn
from pipelines.evidence.records import ClaimStatus, SessionClaim

LEAST_LIKENESS: Final = 0.3
"""Part of a promise's weight that its answer repeats; below it, two shared words are chance."""
SAME_DAY: Final = 0.1
"""What a shared day or month adds to two claims that share other words too."""
RIVAL: Final = 0.85
"""An answer settles a promise next to its best one only when nearly as alike."""
_ANSWERS: Final = frozenset({"progress", "obstacle", "decision"})
_REPLACED: Final = frozenset({"goal", "decision", "commitment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """A claim's status that differs from what it was, and the claim whose quotes say so.

    `by_claim_id` is None only with the status asserted: what said otherwise is gone.
    """

    claim_id: UUID
    status: ClaimStatus
    by_claim_id: UUID | None
    why: str = ""
    """The words and signs that tied the two together."""


def settle(claims: Sequence[SessionClaim]) -> list[StatusChange]:
    """Return what must change so that every status is what one client's sessions say, read in order of time.

    Every status is worked out afresh from all claims given, so a claim whose answer was erased is asserted again.
    A promise is answered by the first later session that speaks of it; what is promised again after that is a new one.
    """
    read = read_all(claims)
    weights = Weights(read)
    found = _settle_commitments(read, weights)
    for one in read:
        if one.claim.claim_id not in found and one.claim.claim_type in _REPLACED:
            change = _find_replacement(one, weights)
            if change:
                found[change.claim_id] = change
    return [
        found.get(claim.claim_id) or StatusChange(claim_id=claim.claim_id, status="asserted", by_claim_id=None)
        for claim in claims
        if (claim.status, claim.superseded_by) != _target(found.get(claim.claim_id))
    ]


def _target(change: StatusChange | None) -> tuple[ClaimStatus, UUID | None]:
    return (change.status, change.by_claim_id) if change else ("asserted", None)


@dataclass(frozen=True, slots=True)
class _Answer:
    promise: Read
    answer: Read
    status: ClaimStatus
    likeness: Likeness

    @property
    def strength(self) -> float:
        direct = _is_bare(self.answer)  # "I did it", said to the very question
        return self.likeness.score + 0.1 * self.likeness.names + 0.1 * self.likeness.acts + 0.5 * direct


def _settle_commitments(read: Sequence[Read], weights: Weights) -> dict[UUID, StatusChange]:
    promises = [one for one in read if one.claim.claim_type == "commitment"]
    nameless = [one for one in read if one.claim.claim_type in _ANSWERS and not one.wording.told]
    candidates = [pair for promise in promises for pair in _list_answers(promise, weights, nameless)]
    best: dict[UUID, float] = {}  # of each answer, how well it fits the promise it fits best
    for pair in candidates:
        answer = pair.answer.claim.claim_id
        best[answer] = max(best.get(answer, 0.0), pair.strength)
    found: dict[UUID, StatusChange] = {}
    # by session first: what a session says of a promise settles it, and later ones speak of a new one
    for pair in sorted(candidates, key=lambda one: (one.answer.order[:2], -one.strength, one.answer.order)):
        promise = pair.promise.claim.claim_id
        if promise in found or pair.strength < RIVAL * best[pair.answer.claim.claim_id]:
            continue
        found[promise] = StatusChange(
            claim_id=promise,
            status=pair.status,
            by_claim_id=pair.answer.claim.claim_id,
            why=f"{', '.join(sorted(pair.likeness.shared))}: {pair.likeness.score:.2f}",
        )
    return found


def _list_answers(promise: Read, weights: Weights, nameless: Sequence[Read]) -> list[_Answer]:
    found = []
    negated = is_promised_not(promise.claim.quotes[0][0].exact)
    sharing = {id(one): one for one in (*weights.list_sharing(promise), *nameless)}
    for other in sharing.values():
        if (
            other.claim.claim_type not in _ANSWERS
            or other.claim.modality == "inferred"
            or not is_later(other, promise)
            or not same_holder(promise.claim, other.claim)
        ):
            continue
        likeness = weights.compare(promise, other)
        if not _is_about(promise, other, likeness):
            continue
        outcome = read_outcome(other.wording, about=likeness.shared, promise=promise.acts, negated=negated)
        if outcome is None and other.claim.polarity == "negative" and is_recalled(other.wording.text):
            outcome = "broken"  # "I said I'd tell her", of which a rule or a model heard that it was not done
        if outcome:
            found.append(_Answer(promise, other, outcome, likeness))
    return found


def _is_bare(answer: Read) -> bool:
    """Tell whether the answer names nothing itself: "I did it", "I lasted four days"."""
    return not answer.acts.isdisjoint(BARE_ACTS) and len(answer.wording.told - answer.acts) < 2


def _is_about(promise: Read, answer: Read, likeness: Likeness) -> bool:
    """Tell whether the answer speaks of the promise: words enough in common and the act, or a bare "I did it"."""
    if _is_bare(answer):
        asked = answer.wording.topic
        return (bool(asked) and asked <= promise.wording.stems) or (bool(likeness.names) and likeness.times >= 2)
    if not answer.wording.told:  # "I did go over there, that Saturday": the same act on the day that was set
        return likeness.times >= 1 and not promise.acts.isdisjoint(answer.acts)
    if not is_own(answer.wording.text):  # "which she does": of somebody who was to be asked
        return likeness.score >= 2 * LEAST_LIKENESS
    nearness = likeness.score + SAME_DAY * min(likeness.times, 2)
    if is_recalled(answer.wording.text) and likeness.shared:
        return likeness.echo or (likeness.acts and nearness >= LEAST_LIKENESS / 2)
    if len(likeness.shared) >= 2:
        dropped = is_dropped(answer.wording.text)
        return nearness >= LEAST_LIKENESS and (likeness.acts or dropped or not answer.acts)
    return bool(likeness.acts and likeness.names and nearness >= LEAST_LIKENESS)


def _find_replacement(one: Read, weights: Weights) -> StatusChange | None:
    """Return the first later claim that takes this one back or puts another in its place."""
    for other in weights.list_sharing(one):
        turn = find_turn(one, other, weights)
        if turn:
            return StatusChange(
                claim_id=one.claim.claim_id,
                status="superseded" if other.claim.claim_type in _REPLACED and turn.replaced else "retracted",
                by_claim_id=other.claim.claim_id,
                why=turn.why,
            )
    return None
