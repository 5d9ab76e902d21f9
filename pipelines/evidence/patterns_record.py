"""How many commitments were kept, of those whose outcome was spoken of."""

from pipelines.evidence.patterns_history import History, say_when
from pipelines.evidence.records import FoundPattern

LEAST_SETTLED = 2
"""Commitments; a record of one is that commitment."""


def find_record(history: History) -> list[FoundPattern]:
    """Return the client's record, the broken commitments speaking against it; against none kept, it stands on them."""
    promised = [one for one in history.own if one.claim.claim_type == "commitment"]
    kept = [one for one in promised if one.claim.status == "kept"]
    broken = [one for one in promised if one.claim.status == "broken"]
    settled = kept + broken
    if len(settled) < LEAST_SETTLED:
        return []
    answers = {
        one.claim.claim_id: history.by_id[one.claim.superseded_by]
        for one in settled
        if one.claim.superseded_by in history.by_id
    }
    stands, against = (kept, broken) if kept else (broken, [])
    span = [one.claim.held_at for one in (*settled, *answers.values())]
    count = f"{len(kept) or 'none'} of {len(settled)}"
    statement = f"{history.who} kept {count} commitments whose outcome was spoken of {say_when(span)}".strip() + "."
    pattern = history.make(
        "commitment_record",
        "commitment_record",
        statement,
        [*stands, *(answers[one.claim.claim_id] for one in stands if one.claim.claim_id in answers)],
        [*against, *(answers[one.claim.claim_id] for one in against if one.claim.claim_id in answers)],
        score=len(kept) / len(settled),
    )
    return [pattern] if pattern else []
