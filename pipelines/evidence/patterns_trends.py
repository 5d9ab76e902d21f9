"""What moves one way over three sessions or more: a figure the client names, or the tone of what is felt."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Final
from uuid import UUID

from pipelines.evidence.lifecycle_match import Read
from pipelines.evidence.merge_stems import stem
from pipelines.evidence.patterns_figures import drop_others, is_measured, list_figures
from pipelines.evidence.patterns_history import History, say_day
from pipelines.evidence.records import FoundPattern

LEAST_SESSIONS: Final = 3
LEAST_AGREEMENT: Final = 0.8
"""Kendall's tau: of the pairs of sessions, how many more move the trend's way than against it."""
LEAST_CHANGE: Final = 0.1
"""Between first and last, as a part of the larger."""
MOST_TRENDS: Final = 5
LEAST_TONES: Final = 5
"""Sessions with two feelings or more each, for a trend in tone: five in order come about by chance once in sixty."""
LEAST_TONE_CHANGE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Point:
    """One session's figure and the claims that state it."""

    session: UUID
    value: float
    claims: tuple[Read, ...]


def find_trends(history: History) -> list[FoundPattern]:
    """Return the trends in figures, the longest first, and the one in tone."""
    series = _list_series(history.own)
    found: list[FoundPattern] = []
    used: set[int] = set()
    for key, points in sorted(series.items(), key=lambda item: (-len(item[1]), -abs(_tau(item[1])), item[0])):
        claims = [claim for point in points for claim in point.claims]
        fresh = sum(id(claim) not in used for claim in claims)
        if len(found) == MOST_TRENDS or 2 * fresh < len(claims) or not _is_trend(points, LEAST_CHANGE):
            continue
        pattern = _tell(history, key, points)
        if pattern:
            used |= {id(claim) for claim in claims}
            found.append(pattern)
    return found + _find_tone(history)


def _list_series(claims: Sequence[Read]) -> dict[str, list[Point]]:
    """Return by subject what was named in at least three sessions, by time."""
    named: dict[str, dict[UUID, list[tuple[float, Read]]]] = defaultdict(lambda: defaultdict(list))
    for one in claims:
        if one.claim.claim_type not in ("progress", "emotion", "belief", "obstacle"):
            continue
        own = drop_others(one.wording.text)
        figure = next((figure for figure in list_figures(own) if is_measured(own, figure)), None)
        if figure is None:
            continue
        keys = one.wording.topic | ({figure.unit} if figure.unit else set())
        for key in keys:
            named[key][one.session].append((figure.value, one))
    return {
        key: [
            Point(session, fmean(value for value, _ in values), tuple(one for _, one in values))
            for session, values in sorted(sessions.items(), key=lambda item: item[1][0][1].order)
        ]
        for key, sessions in named.items()
        if len(sessions) >= LEAST_SESSIONS
    }


def _tau(points: Sequence[Point]) -> float:
    """Return Kendall's tau-a of value against time, -1 to 1 (Kendall, 1938)."""
    pairs = list(combinations((point.value for point in points), 2))
    return sum((later > earlier) - (later < earlier) for earlier, later in pairs) / len(pairs) if pairs else 0.0


def _is_trend(points: Sequence[Point], least: float) -> bool:
    first, last = points[0].value, points[-1].value
    return abs(_tau(points)) >= LEAST_AGREEMENT and abs(last - first) >= least * max(abs(first), abs(last))


def _tell(history: History, key: str, points: Sequence[Point]) -> FoundPattern | None:
    rising = points[-1].value > points[0].value
    against = [
        claim
        for before, after in pairwise(points)
        if after.value != before.value and (after.value > before.value) != rising
        for claim in after.claims
    ]
    words = _say_key(key, points)
    figures = ", ".join(f"{point.value:,.4g}" for point in points)
    first, last = points[0].claims[0].claim.held_at, points[-1].claims[-1].claim.held_at
    statement = (
        f"{history.who}'s figure for “{words}” {'rose' if rising else 'fell'} from {points[0].value:,.4g} "
        f"{say_day(first)} to {points[-1].value:,.4g} {say_day(last)} ({figures}; named in {len(points)} of "
        f"{history.sessions_examined} sessions)."
    )
    stands = [claim for point in points for claim in point.claims if claim not in against]
    return history.make("trend", "figures", statement, stands, against, subject=words, score=abs(_tau(points)))


def _say_key(key: str, points: Sequence[Point]) -> str:
    """Return the word that the figure's subject was called by most."""
    words = [
        word
        for point in points
        for one in point.claims
        for word in f"{one.claim.subject or ''} {one.wording.text}".lower().split()
        if stem(word.strip(".,;:!?’'").removesuffix("'s")) == key
    ]
    plain = [word.strip(".,;:!?’'\"").removesuffix("'s") for word in words]
    return max(sorted(set(plain)), key=plain.count) if plain else key


def _find_tone(history: History) -> list[FoundPattern]:
    felt: dict[UUID, list[Read]] = defaultdict(list)
    for one in history.own:
        if one.claim.claim_type == "emotion" and one.claim.polarity != "neutral":
            felt[one.session].append(one)
    points = [
        Point(session, sum(one.claim.polarity == "positive" for one in claims) / len(claims), tuple(claims))
        for session, claims in felt.items()
        if len(claims) >= 2
    ]
    if len(points) < LEAST_TONES or abs(_tau(points)) < LEAST_AGREEMENT:
        return []
    change = points[-1].value - points[0].value
    if abs(change) < LEAST_TONE_CHANGE:
        return []
    towards = "positive" if change > 0 else "negative"
    stands = [one for point in points for one in point.claims]
    statement = (
        f"What {history.who} said of feelings turned {towards}: {points[0].value:.0%} of it was positive "
        f"{say_day(points[0].claims[0].claim.held_at)}, {points[-1].value:.0%} "
        f"{say_day(points[-1].claims[0].claim.held_at)}, over {len(points)} of {history.sessions_examined} sessions."
    )
    # the last sessions' feelings of the other kind speak against it
    against = [one for one in points[-1].claims if one.claim.polarity != towards]
    pattern = history.make(
        "trend", "tone", statement, [one for one in stands if one not in against], against, score=abs(_tau(points))
    )
    return [pattern] if pattern else []
