"""What shows only across sessions: what recurs, moves, turns, clashes, and which commitments were kept."""

from collections.abc import Sequence

from pipelines.evidence.patterns_clashes import find_contradictions
from pipelines.evidence.patterns_cohorts import SMALLEST_COHORT, find_cohort_patterns
from pipelines.evidence.patterns_history import PATTERNS_VERSION, History
from pipelines.evidence.patterns_record import find_record
from pipelines.evidence.patterns_themes import find_recurrences
from pipelines.evidence.patterns_trends import find_trends
from pipelines.evidence.patterns_turns import find_changes
from pipelines.evidence.records import FoundPattern, SessionClaim

__all__ = ["PATTERNS_VERSION", "SMALLEST_COHORT", "find_cohort_patterns", "find_patterns"]


def find_patterns(
    claims: Sequence[SessionClaim], *, sessions_in_scope: int, sessions_examined: int, name: str | None = None
) -> list[FoundPattern]:
    """Return the patterns of one client's settled claims: the record, contradictions, changes, trends, themes.

    Each has two claims of two sessions at least, by time, and what speaks against it, looked for on purpose. `name` is
    how statements call the client; without it they use the name that the claims give. The same claims give the same.
    """
    history = History(claims, sessions_in_scope, sessions_examined, name)
    contradictions = find_contradictions(history)
    clashing = {claim_id for pattern in contradictions for claim_id in pattern.supporting}
    return [
        *find_record(history),
        *contradictions,
        *find_changes(history, clashing),
        *find_trends(history),
        *find_recurrences(history),
    ]
