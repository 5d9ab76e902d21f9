"""Reads which kind of evidence a question asks for: a promise, a feeling, what became of it, what keeps coming back."""

import re
from dataclasses import dataclass
from typing import Final

from rag.lexical import term_indices

_PERSONAL: Final = r"(?:he|she|they|i|his|her|their|my)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEvidence:
    """What is asked for, by the names the store has for it; all empty where a question asks for none of it."""

    claim_types: frozenset[str] = frozenset()
    pattern_kinds: frozenset[str] = frozenset()
    outcome: bool = False
    """Whether what was said before came about: what settles a claim belongs to the answer."""
    happened: bool = False
    """Whether it asks for what happened and not for what was planned: a plan alone does not answer it."""
    statuses: frozenset[str] = frozenset()
    """Only claims that ended so, where the question says how."""

    def __bool__(self) -> bool:
        return bool(self.claim_types or self.pattern_kinds or self.outcome)


def _ask(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_TYPES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "commitment",
        _ask(
            r"\b(?:commit|promis|pledg|vow|agreed? to|action items?|homework|next steps?|to-?dos?|undert(?:ake|ook)|"
            r"plan(?:s|ned|ning)?\b|going to\b|due\b|follow(?:s|ed)? (?:up|through)|"
            rf"said {_PERSONAL}(?: would|['’]d)\b)|^\W*what (?:will|is|are|happens)\b.*\b(?:do|on|planned|happen)\b"
        ),
    ),
    (
        "goal",
        _ask(r"\b(?:goals?|aim(?:s|ing|ed)?|hop(?:e|es|ed|ing)|want(?:s|ed)?|wish|ambition|dream|reach|target)\b"),
    ),
    (
        "decision",
        _ask(rf"\b(?:decid|decision|cho[os]se|settle[ds]? on|made up {_PERSONAL} mind|accept|refus|turn(?:ed)? down)"),
    ),
    (
        "obstacle",
        _ask(
            rf"\b(?:obstacles?|barriers?|hurdles?|struggl|difficult|challeng|problems?|block|prevent|hinder)|"
            rf"\bin (?:the|\w+['’]s|{_PERSONAL}) way\b|\b(?:hold(?:s|ing)?|held) (?:\w+ )?back\b|"
            r"\b(?:keeps?|stop(?:s|ped|ping)?|kept) \w+ from\b"
        ),
    ),
    (
        "emotion",
        _ask(
            r"\b(?:feel|felt|emotion|mood|afraid|happy|angry|sad|proud|worr|anxious)|^\W*how (?:was|is) \w+\b|"
            r"^\W*how d(?:id|oes) \w+ (?:take|react|respond)\b"
        ),
    ),
    ("feedback", _ask(r"\b(?:feedback|review|criticis|compliment|prais|told? \w+ about|remark|comment)")),
    ("belief", _ask(r"\b(?:belie(?:ve|f)|think|thought|trust|opinion|convinced|confiden|sure|view)")),
    (
        "progress",
        _ask(r"\b(?:progress|improv|develop|achiev|better|worse|advanc|how (?:is|are|has|have) .*(?:going|doing))"),
    ),
)  # fmt: skip
_KINDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "recurrence",
        _ask(
            r"\b(?:again and again|recur|repeat|patterns?|themes?|habits?|usually|always|how often|tends? to|typical|"
            r"(?:keeps?|kept) (?:on )?\w+ing\b|(?:every|each) (?:time|session)|time and again|come(?:s)? up)"
        ),
    ),
    (
        "trend",
        _ask(
            r"\b(?:over (?:time|the (?:\w+[ -])?(?:year|months?|weeks|sessions))|trend|compared?|then and now|"
            r"grow(?:s|n|ing)?|develop(?:s|ed|ing)?|how (?:has|have) .* (?:changed|developed|gone)|so far|this year|"
            r"since (?:we|our|the) )"
        ),
    ),
    (
        "change",
        _ask(
            r"\b(?:chang(?:e|es|ed|ing)|still|any ?more|no longer|used to|differ|instead|mind about|"
            r"happened to)|^\W*(?:is|does|do|are) .* (?:still|now)\b"
        ),
    ),
    (
        "contradiction",
        _ask(
            r"\b(?:contradict|(?:in)?consisten|fit together|add(?:s)? up|really|honest|square with|at odds|"
            r"both (?:say|said))"
        ),
    ),
    (
        "commitment_record",
        _ask(
            r"\b(?:(?:kept?|keeps|keeping|broke|broken) .*(?:promise|commitment|word)|track record|"
            r"(?:promise|commitment)s? .*(?:keep|kept|broke|broken)\b|how many .*(?:promise|commitment))"
        ),
    ),
)  # fmt: skip
_OUTCOME: Final = _ask(
    rf"^\W*(?:did|has|have) \w+\b(?!.*\bsay\b)|\b(?:kept?|keep(?:ing)? to|as (?:\w+ )?(?:promised|{_PERSONAL} said)|"
    rf"bec[ao]me of|come of|in time|manag(?:e|ed) to|finally|and did {_PERSONAL}|follow(?:ed)? (?:up|through)|"
    r"stick(?:ing)? (?:to|with)|stuck (?:to|with)|how long .*\blast(?:ed)?\b|how (?:is|are) .* doing)"
)
_PAST: Final = _ask(r"^\W*(?:did|has|have|had|was|were|(?:how|what|when|where|why|whom?)\b[^?]*? did)\b")
_PLANNED: Final = frozenset({"commitment", "goal", "decision"})
_BROKEN: Final = _ask(
    r"\b(?:not|n['’]t|never|fail(?:ed)? to) (?:\w+ ){0,2}(?:kept?|keep|done|do|met|meet|honou?red)|"
    r"\b(?:broken?|missed)\b"
)
_KEPT: Final = _ask(r"\b(?:kept|honou?red|fulfilled|met)\b")
_SHORT: Final = 3
"""Words of a match that are all part of how a question asks; a longer one spans over what it asks about."""

_REST: Final = re.compile(r"\w*")
_PROMISE: Final = _ask(r"\b(?:promise|commitment|word)")


def find_asked_evidence(question: str) -> AskedEvidence:
    """Return the kinds of evidence that the question's words ask for."""
    types = {name for name, pattern in _TYPES if pattern.search(question)}
    outcome = bool(_OUTCOME.search(question))
    statuses: frozenset[str] = frozenset()
    if outcome or _PROMISE.search(question):
        if _BROKEN.search(question) and _PROMISE.search(question):
            statuses, outcome = frozenset({"broken"}), True
        elif _KEPT.search(question) and _PROMISE.search(question):
            statuses, outcome = frozenset({"kept"}), True
    happened = bool(_PAST.search(question)) and (outcome or not types & _PLANNED)
    if outcome:
        types.add("commitment")
    return AskedEvidence(
        claim_types=frozenset(types),
        pattern_kinds=frozenset(name for name, pattern in _KINDS if pattern.search(question)),
        outcome=outcome,
        happened=happened,
        statuses=statuses,
    )


def list_kind_terms(question: str) -> frozenset[int]:
    """Return the terms of the question that only say which kind of evidence it asks for, such as "promised"."""
    patterns = [pattern for _, pattern in (*_TYPES, *_KINDS)] + [_PROMISE, _KEPT, _BROKEN]
    # patterns end within a word ("promis"): the whole of it counts
    words = (
        question[match.start() : match.end()] + _REST.match(question, match.end())[0]  # type: ignore[index]  # empty at least
        for pattern in patterns
        for match in pattern.finditer(question)
    )
    return frozenset(term for word in words if len(word.split()) <= _SHORT for term in term_indices(word))
