"""What a cue asks of its clause besides its words, such as a day that lies ahead."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from pipelines.evidence.dates import find_dates
from pipelines.evidence.rules.claims import PRONOUN_ONLY, Heard
from pipelines.evidence.rules.clauses import OPEN, Clause
from pipelines.evidence.rules.cues import Needs
from pipelines.evidence.rules.statement import find_verb
from pipelines.evidence.rules.words import BASES, PAST, TELLING, listed

_FOLLOW_UP: Final = re.compile(
    r"\b(?:last time|you said|you'd said|you told me|you promised|you wanted|you were going to|did you|have you|"
    r"what happened|tell me about|what about|how (?:did|was|were|has|have)|what (?:came|became|did you do)|"
    r"since (?:then|we|you))\b|^and\b[^?]{0,60}\?",
    re.IGNORECASE,
)
"""What the other asks to hear of something intended before."""
_NEXT_TIME: Final = re.compile(
    r"(?:the\s+)?next\s+time\b|from\s+now\s+on\b|from\s+tomorrow\b|starting\b", re.IGNORECASE
)
_TIMELY: Final = re.compile(
    r"\b(?:since|yesterday|last (?:week|month|night|year|\w+day)|this (?:week|morning|month)|already|finally|yet|twice|"
    r"three times|every (?:\w+ )?(?:\w*day|night|evening|morning|week|time)|a (?:day|week) (?:early|late))\b",
    re.IGNORECASE,
)
_SINCE: Final = re.compile(r"\bsince\s+(?!I\b|you\b|we\b|he\b|she\b|it\b|they\b|there\b)(?:the\s+)?\w", re.IGNORECASE)
_NOT_A_STEP: Final = re.compile(
    r"(?:I|we)\s+used\s+to\b|(?:I|we)(?:'ve)?\s+(?:\w+\s+)?(?:told|asked|gave|given|thanked|sent)\s+you\b|"
    r"(?:I|we)(?:'ve)?\s+learn\w*\s+(?:that|how|what|I)\b|(?:I|we)(?:'ve)?\s+(?:\w+\s+)?got\b(?!\s+to\s+)|"
    r"(?:I|we)(?:'ve|\s+have)\s+(?:\w+\s+)?got\s+to\b",
    re.IGNORECASE,
)
_WHOLE: Final = listed("stop quit change leave resign exercise")
"""Verbs that say what is meant without an object: "I want to stop."."""
_LIGHT: Final = re.compile(
    r"(?:I|we)\s+(?:got|had|took|put|made|did)\s+(?:to|a bit|in|it|that|so|the feeling|there|used)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Met:
    """A cue's words in a clause: the phrase it took out, and the verb it names."""

    vp: str
    verb: str
    clause: Clause
    heard: Heard


def _has_date(words: str, heard: Heard) -> bool:
    return heard.said_on is not None and bool(find_dates(words, heard.said_on, past=True))


def _names_act(met: Met) -> bool:
    return find_verb(met.vp) is not None


def _lies_ahead(met: Met) -> bool:
    said_on = met.heard.said_on
    return said_on is not None and any(
        (one.latest or one.earliest or date.min) > said_on for one in find_dates(met.clause.whole, said_on)
    )


def _reports_step(met: Met) -> bool:
    """Tell whether a past act is a step taken rather than a story told: by its verb, its day, or what was asked."""
    words = met.clause.whole
    if met.verb not in BASES:
        is_past = met.verb in PAST or met.verb.endswith("ed")
        return is_past and met.verb != "was" and bool(_SINCE.search(words))
    if BASES[met.verb] == met.verb and not re.search(r"\b(?:was|were|had|went|came|said)\b", met.clause.sentence.plain):
        return False  # "I put", "I cut": only what stands around it tells that it is past
    if _NOT_A_STEP.match(met.clause.plain):
        return False
    if _LIGHT.match(words):
        return _has_date(words, met.heard)
    if met.verb in TELLING or _TIMELY.search(words) or _has_date(f"{met.heard.near} {words}", met.heard):
        return True
    return met.clause.sentence.number < 4 and bool(_FOLLOW_UP.search(met.heard.asked))


def _begins_with_past(met: Met) -> bool:
    clause = met.clause
    opening = OPEN.match(clause.sentence.plain)
    at_start = clause.core == clause.sentence.start + (opening.end() if opening else 0)
    return met.verb in TELLING and at_start and clause.plain[:1].isupper()


def _tells_when(met: Met) -> bool:
    around = f"{met.heard.near} {met.clause.sentence.plain}"
    return bool(_TIMELY.search(around) or _SINCE.search(met.clause.plain)) or _has_date(around, met.heard)


NEEDS: Final[Mapping[Needs, Callable[[Met], bool]]] = {
    "act": _names_act,
    "act_or_since": lambda met: _names_act(met) or bool(_SINCE.search(met.clause.whole)),
    "past_act": _reports_step,
    "bare_past": _begins_with_past,
    "present": lambda met: not (met.verb in BASES or met.verb in PAST or met.verb.endswith("ed")),
    "future": _lies_ahead,
    "content": lambda met: (
        (len(met.vp.split()) >= 2 and not PRONOUN_ONLY.match(met.vp)) or met.vp.strip(" .!").lower() in _WHOLE
    ),
    "long": lambda met: len(met.vp.split()) >= 2,
    "short": lambda met: 1 <= len(met.vp.split()) <= 20,
    "since": _tells_when,
    "bound": lambda met: bool(_SINCE.search(met.clause.plain)) or _has_date(met.clause.plain, met.heard),
    "next_time": lambda met: bool(_NEXT_TIME.match(met.clause.whole)),
}
