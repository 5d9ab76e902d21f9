"""What a client comes back to: a thing, an act or a feeling that claims of several sessions speak of."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pipelines.evidence.lifecycle_match import Read
from pipelines.evidence.lifecycle_signs import is_dropped, is_taken_back, list_clauses
from pipelines.evidence.merge_stems import is_empty, is_negated, stem
from pipelines.evidence.patterns_history import History, say_when
from pipelines.evidence.records import FoundPattern
from rag.lexical import list_words

SESSIONS_A_TIME: Final = 10
"""In a long history a theme comes up once in so many sessions at least."""
SESSIONS_A_THEME: Final = 5
"""A client has one theme, and one more for every so many sessions."""
MOST_THEMES: Final = 8
LEAST_WEIGHT: Final = 0.5
"""Below it, words are shared by chance."""
LEAST_SESSIONS: Final = 3
"""Sessions that speak of a theme, where there are so many; two sessions share words by chance."""
_HEAVY: Final = {"obstacle": 1.5, "emotion": 1.5, "belief": 1.2, "feedback": 1.2, "goal": 1.0}
"""What types of claims say more about a theme than what was done."""
_PARTICLES: Final = frozenset(("no", "in", "out", "up", "off", "on", "down", "away", "over", "behind"))
"""What makes another verb of a common one: to say no, to jump in."""

_GENERIC: Final = frozenset(
    stem(word)
    for word in (
        "work", "job", "start", "stop", "end", "begin", "finish", "sit", "stand", "run", "walk", "turn", "move", "come",
        "leave", "stay", "talk", "call", "meet", "play", "show", "read", "team", "meeting", "number", "name", "word",
        "line", "place", "room", "house", "home", "car", "friend", "money", "idea", "reason", "point", "moment",
        "happen", "remember", "understand", "believe", "care", "matter", "speak", "hear", "listen",
        "sign", "bring", "help", "enjoy", "difference", "important", "special", "experience", "tough", "learn", "share",
    )
)  # fmt: skip
"""Words that come up with everybody, alone no theme of anybody's."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Theme:
    """Words that several sessions share, and the claims that use them."""

    key: Key
    claims: tuple[Read, ...]
    weight: float

    @property
    def sessions(self) -> int:
        """In how many sessions it comes up."""
        return len({one.session for one in self.claims})


def find_recurrences(history: History) -> list[FoundPattern]:
    """Return the client's weightiest themes that do not tell of the same claims."""
    themes = list_themes(history.own, least=_least(history))
    found: list[FoundPattern] = []
    told: list[Theme] = []
    most = min(MOST_THEMES, 1 + history.sessions_in_scope // SESSIONS_A_THEME)
    for theme in themes:
        if len(found) == most or theme.weight < LEAST_WEIGHT:
            break
        if any(_is_same(theme, other) for other in told):
            continue
        pattern = _tell(history, theme)
        if pattern:
            told.append(theme)
            found.append(pattern)
    return found


def _least(history: History) -> int:
    few = min(LEAST_SESSIONS, max(2, history.sessions_in_scope))
    return max(few, history.sessions_in_scope // SESSIONS_A_TIME)


def list_themes(claims: Sequence[Read], *, least: int) -> list[Theme]:
    """Return what at least so many sessions speak of, the weightiest first; people's names alone are no theme."""
    names = {name for one in claims for name in one.wording.names}
    using: dict[Key, list[Read]] = defaultdict(list)
    for one in claims:
        for key in list_keys(one.wording.text):
            if not names.issuperset(key) and not is_generic(key):
                using[key].append(one)
    total = len({one.session for one in claims})
    themes = []
    for key, users in using.items():
        sessions = Counter(one.session for one in users)
        if len(sessions) >= least:
            heavy = sum(_HEAVY.get(one.claim.claim_type, 0.7) for one in users) / len(users)
            # both the part of the sessions and their number tell: three of three, and ten of a hundred
            wide = (len(sessions) / total + len(sessions) / (len(sessions) + 2)) / 2
            # two words say more than one; a word of every claim says half as much as one of few
            rare = 1 - len(users) / (2 * len(claims))
            themes.append(Theme(key, tuple(users), heavy * wide * rare * (1.6 if len(key) > 1 else 1.0)))
    return sorted(themes, key=lambda theme: (-theme.weight, -len(theme.claims), theme.key))


def is_generic(key: Key) -> bool:
    """Tell whether the words come up with everybody."""
    return _GENERIC.issuperset(key)


def list_keys(text: str) -> frozenset[Key]:
    """Return what the text could be about: content stems, neighbouring ones, and verbs with their particle."""
    words = list_words(text)
    stems = [None if is_empty(word) else stem(word.removesuffix("'s")) for word in words]
    keys: set[Key] = {(one,) for one in stems if one}
    keys |= {(one, other) for one, other in pairwise(stems) if one and other}
    keys |= {
        (stem(word), after)
        for word, after in pairwise(words)
        if after in _PARTICLES and word not in _PARTICLES and word.isalpha() and len(word) > 2
    }
    return frozenset(keys)


def _is_same(theme: Theme, other: Theme) -> bool:
    """Tell whether two themes are mostly made of the same claims."""
    one = {id(claim) for claim in theme.claims}
    two = {id(claim) for claim in other.claims}
    return not set(theme.key).isdisjoint(other.key) or 2 * len(one & two) >= min(len(one), len(two))


def _tell(history: History, theme: Theme) -> FoundPattern | None:
    denying = [one for one in theme.claims if _denies(one, theme.key)]
    # "I haven't opened one since April" speaks against a theme that others affirm; "I can't say no" is such a theme
    odd = denying if 2 * len(denying) < len(theme.claims) else []
    against = [one for one in theme.claims if speaks_against(one) or one in odd]
    stands = [one for one in theme.claims if one not in against]
    if len({one.session for one in stands}) < _least(history):
        return None
    words = say_words(theme.key, (one.wording.text for one in stands))
    sessions = len({one.session for one in stands})
    when = say_when(one.claim.held_at for one in stands)
    statement = f"{history.who} spoke of “{words}” in {sessions} of {history.sessions_examined} sessions"
    return history.make(
        "recurrence", "theme", f"{statement} {when}".strip() + ".", stands, against,
        subject=words, score=min(1.0, theme.weight / 3),
    )  # fmt: skip


def speaks_against(one: Read) -> bool:
    """Tell whether the claim says that it is over."""
    return is_dropped(one.wording.text) or is_taken_back(one.wording.text)


def _denies(one: Read, key: Key) -> bool:
    """Tell whether what was done or is so is denied in the words about the theme."""
    return one.claim.claim_type in ("progress", "belief", "obstacle") and any(
        is_negated(clause)
        for clause in list_clauses(one.wording.text)
        if not {stem(word.removesuffix("'s")) for word in list_words(clause)}.isdisjoint(key)
    )


def say_words(key: Key, texts: Iterable[str]) -> str:
    """Return the theme in the form that is used most."""
    forms: Counter[str] = Counter()
    for text in texts:
        words = list_words(text)
        stems = [stem(word.removesuffix("'s")) for word in words]
        for place in range(len(words) - len(key) + 1):
            if tuple(stems[place : place + len(key)]) == key or (
                len(key) == 2 and stems[place] == key[0] and words[place + 1] == key[1]
            ):
                forms[" ".join(word.removesuffix("'s") for word in words[place : place + len(key)])] += 1
    return min(forms, key=lambda form: (-forms[form], form)) if forms else " ".join(key)
