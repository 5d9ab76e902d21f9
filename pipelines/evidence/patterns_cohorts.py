"""What people of a cohort have in common, told so that nobody can be picked out: counts and common words, no quotes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from pipelines.evidence.lifecycle_match import Read
from pipelines.evidence.patterns_history import History, say_when
from pipelines.evidence.patterns_themes import is_generic, list_keys, say_words, speaks_against
from pipelines.evidence.records import FoundPattern, SessionClaim

SMALLEST_COHORT: Final = 5
"""People: what fewer share could point at one of them (product rule)."""
MOST_THEMES: Final = 8
_NAMED_AS: Final = {"obstacle": "as an obstacle", "goal": "in a goal", "emotion": "when speaking of feelings"}
"""The types of claims that tell of people's lives at large, and what a statement says of them."""


def find_cohort_patterns(
    claims: Mapping[UUID, Sequence[SessionClaim]], *, sessions_in_scope: int, sessions_examined: int
) -> list[FoundPattern]:
    """Return what at least five of the cohort's clients share, from their claims by client, in nobody's words.

    Nothing is found in a cohort of fewer than five, and no word is told that anybody uses as a name.
    """
    if len(claims) < SMALLEST_COHORT:
        return []
    histories = {client: History(held, sessions_in_scope, sessions_examined) for client, held in claims.items()}
    whole = History([one for held in claims.values() for one in held], sessions_in_scope, sessions_examined)
    return [*_find_record(whole, histories), *_find_themes(whole, histories)]


def _find_themes(whole: History, histories: Mapping[UUID, History]) -> list[FoundPattern]:
    names = {name for one in whole.read for name in one.wording.names}
    using: dict[tuple[str, str], dict[UUID, list[Read]]] = defaultdict(lambda: defaultdict(list))
    for client, history in histories.items():
        for one in history.read:
            if one.claim.holder_id == client and one.claim.claim_type in _NAMED_AS:
                for key in list_keys(one.wording.text):
                    if len(key) == 1 and key[0] not in names and not is_generic(key):
                        using[one.claim.claim_type, key[0]][client].append(one)
    ranked = sorted(using.items(), key=lambda item: (-len(item[1]), item[0]))
    found: list[FoundPattern] = []
    for (claim_type, stem), by_client in ranked:
        pattern = _tell_theme(whole, histories, claim_type, stem, by_client)
        if pattern:
            found.append(pattern)
        if len(found) == MOST_THEMES:
            break
    return found


def _tell_theme(
    whole: History, histories: Mapping[UUID, History], claim_type: str, stem: str, by_client: Mapping[UUID, list[Read]]
) -> FoundPattern | None:
    standing = {client: [one for one in held if not speaks_against(one)] for client, held in by_client.items()}
    people = sum(bool(held) for held in standing.values())
    if people < SMALLEST_COHORT:
        return None
    stands = [one for held in standing.values() for one in held]
    against = [one for held in by_client.values() for one in held if speaks_against(one)]
    word = say_words((stem,), (one.wording.text for one in stands))
    when = say_when(one.claim.held_at for one in stands)
    statement = f"{people} of {len(histories)} people spoke of {word} {_NAMED_AS[claim_type]} {when}".strip() + "."
    if _repeats_somebody(statement, (*stands, *against)):
        return None
    return whole.make(
        "recurrence", "cohort_theme", statement, stands, against, subject=word, score=people / len(histories)
    )


def _repeats_somebody(statement: str, claims: Sequence[Read]) -> bool:
    """Tell whether somebody's whole quote stands in the statement, as a quote of one long word would."""
    told = statement.lower()
    return any(located.exact.lower() in told for one in claims for located, _ in one.claim.quotes)


def _find_record(whole: History, histories: Mapping[UUID, History]) -> list[FoundPattern]:
    settled = {
        client: [
            one
            for one in history.read
            if one.claim.holder_id == client
            and one.claim.claim_type == "commitment"
            and one.claim.status in ("kept", "broken")
        ]
        for client, history in histories.items()
    }
    people = sum(bool(held) for held in settled.values())
    kept = [one for held in settled.values() for one in held if one.claim.status == "kept"]
    broken = [one for held in settled.values() for one in held if one.claim.status == "broken"]
    if people < SMALLEST_COHORT:
        return []
    total = len(kept) + len(broken)
    told = [whole.by_id[one.claim.superseded_by] for one in (*kept, *broken) if one.claim.superseded_by in whole.by_id]
    when = say_when(one.claim.held_at for one in (*kept, *broken, *told))
    statement = f"{people} people kept {len(kept) or 'none'} of {total} commitments whose outcome was spoken of {when}."
    stands, against = (kept, broken) if kept else (broken, [])
    answers = [whole.by_id[one.claim.superseded_by] for one in stands if one.claim.superseded_by in whole.by_id]
    pattern = whole.make(
        "commitment_record", "cohort_record", statement, [*stands, *answers], against, score=len(kept) / total
    )
    return [pattern] if pattern else []
