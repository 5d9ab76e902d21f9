"""What a claim's own words say of an outcome: done, not done, taken back. Regular English cues, nothing else."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

from pipelines.evidence.merge_stems import Wording, drop_quoted, share_act, stem
from rag.lexical import list_words

_KEPT: Final = 2**14
"""Texts whose reading is remembered: those of a client of a few hundred sessions."""

Outcome = Literal["kept", "broken"]

SHORT_CLAUSE: Final = 5
"""Words; a clause as short as "and I didn't" speaks of what was named before it."""

_RECALLED: Final = re.compile(
    r"\b(?:I|we)(?:[’']d| had|) (?:said|promised|told (?:you|myself)|swore|committed|wrote down)\b", re.IGNORECASE
)
_CLAUSE: Final = re.compile(r"[.;:!?…—–]+\s*|,\s+(?:and\s+|but\s+|so\s+)?|\s+(?:and|but|so)\s+(?=(?:I|we|it)\b)")
_OWN: Final = re.compile(r"\b(?:I|we|I[’']\w+|we[’']\w+|my|our|me|us)\b", re.IGNORECASE)
_FUTURE: Final = re.compile(
    r"\b(?:I|we)(?:[’'](?:ll|d)| will| won[’']t| would| wouldn[’']t| could| might| may| shall| should|"
    r"(?:[’']m|[’']re| am| are|) (?:going to|gonna|hoping to|planning to)| (?:want|wanted|hope|plan|need|ought) to)\b|"
    r"^\W*(?:could|would|might|should|will|won[’']t)\b|\bif\b",
    re.IGNORECASE,
)
# what was meant, nearly done or in hand is neither kept nor broken
_SHORT_OF: Final = re.compile(
    r"\b(?:almost|nearly|meant to|mean to|about to|tried to|trying to|started to|intend(?:ed)? to|thought about|"
    r"thinking (?:about|of)|was going to|were going to|should have|could have|would have|wish)\b",
    re.IGNORECASE,
)
_FELL_SHORT: Final = re.compile(r"\b(?:I|we) (?:almost|nearly|meant to|was going to|were going to)\b", re.IGNORECASE)
_NOT_DONE: Final = re.compile(
    r"\b(?:(?:I|we|it|he|she|they|that)\s+)?(?:did(?:n[’']t| not)|have(?:n[’']t| not)|has(?:n[’']t| not)|"
    r"[’']ve (?:not|never)|was(?:n[’']t| not)|were(?:n[’']t| not)|never|couldn[’']t|could not|failed|forgot|"
    r"[’']ve forgotten|not yet|missed it|skipped)\b|\bput (?:it|that|this|them|her|him) off\b|"
    r"\b(?:bottled|chickened out|backed out|gave up|given up|let (?:it|that) slide|slipped|fell (?:through|apart|off)|"
    r"broke (?:it|my (?:word|promise))|no progress|ran out of time)\b",
    re.IGNORECASE,
)
_ENDED: Final = (
    r"\b(?:I|we)(?:[’']ve| have|)(?: just| then|) (?:stopped|quit|dropped(?! (?:off|by|in))|cancelled|canceled|"
    r"abandoned|gave (?:\w+ )?up|given (?:\w+ )?up|pulled out|backed out|scrapped|called (?:\w+ )?off)\b"
)
_DROPPED: Final = re.compile(_ENDED, re.IGNORECASE)
_STOPPING: Final = frozenset(map(stem, ("stop", "quit", "drop", "cancel", "abandon", "give", "pull", "finish", "end")))
_CUT_SHORT: Final = re.compile(
    r"\b(?:I|we|it|that)(?: only| just)? (?:lasted|kept (?:it|that) up|managed(?: it| that)?|held(?: out)?)\b"
    r"(?! (?:all|every|the whole))|\b(?:only|just) (?:the )?(?:once|twice|one|two|a (?:few|couple))\b|"
    r"\b(?:I|we) said\b.{4,80}\band (?:I|we)(?:[’']ve| have|)\b.{2,60}\b(?:once|twice|(?:one|two|three) times)\b",
    re.IGNORECASE,
)
_DONE: Final = re.compile(
    r"\b(?:it[’']s|that[’']s|all|they[’']re|is|are)? ?(?:done|finished|sorted|settled|signed|sent|delivered)\b|"
    r"\bdid (?:it|that|them|so|both|all)\b|\b(?:he|she|they|it) (?:does|did|has)$",
    re.IGNORECASE,
)
_PAST: Final = re.compile(
    r"\b(?:I|we)(?:[’']ve| have|[’']d| had)?(?: also| then| just| finally| actually| even| already| did| really)*"
    r" (\w+)|^\W*(?:(?:yes|yeah|yep|well|so|and|ok|okay)\W+)*([a-z]\w+ed|\w+)\b",
    re.IGNORECASE,
)
_VERB: Final = re.compile(
    r"\b(?:I|we)(?:[’']ll|[’']ve|[’']d|(?:[’']m|[’']re| am| are| was| were)(?: going to| gonna|(?= \w+ing\b))|"
    r" will| shall| have|"
    r" had| did(?! (?:it|that|this|them|so|both|all|the|my|an?)\b)| (?:promise|commit|want|need|meant) to|)"
    r"(?: not|n[’']t| never| almost| nearly| did(?:n[’']t| not)| haven[’']t| won[’']t| also| then| just| finally|"
    r" actually| even| already| really| definitely| still)* (\w+)",
    re.IGNORECASE,
)
_BARE_PAST: Final = re.compile(
    r"(?:^|[.!?]\s+)(?:(?:yes|yeah|yep|well|so|and|ok|okay|no|nope)\W+)*([A-Z]?[a-z]+(?:ed|nt|ld|ote|ave|ook|oke|ent|ang))"
    r"\b",
    re.IGNORECASE,
)
_EMPHATIC: Final = re.compile(r"\b(?:I|we) did (?!n[’']t|not)\w+", re.IGNORECASE)
_HAVE_GOT: Final = re.compile(r"\b(?:I|we)[’']ve got\b", re.IGNORECASE)
_JOINED: Final = re.compile(r"\band(?: then)? (\w+)", re.IGNORECASE)
_PAST_FORMS: Final = re.compile(
    r"^(?:\w+ed|did|gave|told|spoke|said|sent|wrote|took|made|met|rang|called|had|got|went|came|saw|kept|held|left|"
    r"put|read|ran|sat|began|brought|bought|built|chose|drew|found|heard|led|lent|paid|set|showed|shown|done|given|"
    r"written|taken|spoken|been|gone|seen|sold|stood|taught|threw|won|cut|stuck|slept|ate|swam|wore|let|hung|shut)$",
    re.IGNORECASE,
)
_PROMISED_NOT: Final = re.compile(
    r"\W*(?:\w+\W+){0,3}?(?:(?:I|we)(?: won[’']t| will not| will never|[’']ll not|[’']ll never|"
    r"[’']m not (?:going to|gonna)| am not going to| promise not to|[’']ll stop| will stop)\b|no(?: more)? \w+)",
    re.IGNORECASE,
)
_TAKEN_BACK: Final = re.compile(
    rf"{_ENDED}|\bchanged? my mind\b|\bno longer\b|\bdecided (?:not to|against)\b|\bit[’']s changed\b|\bscrap that\b|"
    r"\b(?:not (?:going to|doing|planning)|n[’']t (?:want|need|do|going))\b.{0,60}\bany ?more\b|\bafter all\b|"
    r"\b(?:take|took|taking) (?:it|that|this) back\b|\bforget (?:it|that|about)\b|"
    r"\bI[’']m (?:done with|coming off)\b|\bI[’']m not (?!saying|being|going to)\w+ing\b",
    re.IGNORECASE,
)
_MIND_CHANGED: Final = re.compile(
    r"\bchanged? my mind\b|\b(?:it|that)[’']s changed\b|(?:^|[.;]\s+)I was going to\b|\bI used to (?:want|plan)\b|"
    r"\b(?:I|we)[’']d said (?:that )?(?:I|we) would\b|"
    r"\bbefore (?:I|we) (?:even )?(?:think|look|start) (?:about|at|on)\b|"
    r"\bI don[’']t want (?:it|that|this|to)\b.{0,40}\bany ?more\b",
    re.IGNORECASE,
)


def list_clauses(text: str) -> list[str]:
    """Return the clauses of somebody's own words, without what they quote of others."""
    return [clause for piece in _CLAUSE.split(drop_quoted(text)) if (clause := piece.strip())]


@lru_cache(maxsize=_KEPT)
def list_acts(text: str) -> frozenset[str]:
    """Return the stems of the verbs whose subject is the speaker."""
    return frozenset(_iterate_acts(drop_quoted(text)))


def _iterate_acts(own: str) -> Iterator[str]:
    joined = (match for match in _JOINED.finditer(own) if _PAST_FORMS.match(match[1]))
    for match in (*_VERB.finditer(own), *_BARE_PAST.finditer(own), *joined):
        words = list_words(match[1])
        if words:
            yield stem(words[-1])


def acts_alike(left: frozenset[str], right: frozenset[str]) -> bool:
    """Tell whether two sets of verbs share one, or one family."""
    return not left.isdisjoint(right) or share_act(left, right)


def is_promised_not(promise: str) -> bool:
    """Tell whether something is promised not to be done: "I won't", "No more of it"; not "I'll tell her I won't"."""
    return bool(_PROMISED_NOT.match(promise))


@lru_cache(maxsize=_KEPT)
def is_recalled(text: str) -> bool:
    """Tell whether the speaker names an own promise of before: "I said three days a week"."""
    return bool(_RECALLED.search(drop_quoted(text)))


def read_outcome(answer: Wording, *, about: frozenset[str], promise: frozenset[str], negated: bool) -> Outcome | None:
    """Return whether the words report the matter as done or not, None where they report neither.

    `about` are the stems shared with the promise, and `promise` the verbs of it: a clause counts where it holds one of
    them, or is as short as "I didn't". For a promise not to do something the report turns round.
    """
    if _CUT_SHORT.search(answer.own):
        return "broken"
    clauses = list_clauses(answer.text)
    signs = {sign for clause in clauses if (sign := _read_clause(clause, about, promise))}
    if not signs:
        # "I almost asked her": so far and no further
        short = any(_FELL_SHORT.search(clause) and acts_alike(list_acts(clause), promise) for clause in clauses)
        return "broken" if short and not negated else None
    return "broken" if ("broken" in signs) != negated else "kept"


def _read_clause(clause: str, about: frozenset[str], promise: frozenset[str]) -> Outcome | None:
    words = list_words(clause)
    tied = any(stem(word) in about for word in words)
    if not tied and len(words) > SHORT_CLAUSE:
        return None
    dropped = _DROPPED.search(clause) and promise.isdisjoint(_STOPPING)
    if dropped or (_NOT_DONE.search(clause) and not _is_conditional(clause)):
        return "broken"
    if _FUTURE.search(clause) or _SHORT_OF.search(clause):
        return None
    if _DONE.search(clause):
        return "kept"
    acts = list_acts(clause)
    if (_HAVE_GOT.search(clause) or _RECALLED.search(clause)) and not acts_alike(acts, promise):
        return None  # what one has, or said before, is nothing done
    return "kept" if is_past(clause) and (tied or acts_alike(acts, promise)) else None


def _is_conditional(clause: str) -> bool:
    return bool(re.match(r"\W*(?:and |but |so )?(?:if|unless|when)\b", clause, re.IGNORECASE))


def is_past(clause: str) -> bool:
    """Tell whether the clause reports an act of the speaker as past; "Signed up in March" does too."""
    if _EMPHATIC.search(clause):
        return True
    return any(_PAST_FORMS.match(found) for pair in _PAST.findall(clause) for found in pair if found)


@lru_cache(maxsize=_KEPT)
def is_own(text: str) -> bool:
    """Tell whether the speaker is in it, or nobody is, as in "Done, on the Thursday"."""
    own = drop_quoted(text)
    return bool(_OWN.search(own)) or bool(_DONE.search(own)) or bool(_BARE_PAST.search(own))


@lru_cache(maxsize=_KEPT)
def is_taken_back(text: str) -> bool:
    """Tell whether the words drop, end or reverse something."""
    return bool(_TAKEN_BACK.search(drop_quoted(text)))


@lru_cache(maxsize=_KEPT)
def is_dropped(text: str) -> bool:
    """Tell whether the speaker says that they ended something they did: "I stopped", "I gave it up"."""
    return bool(_DROPPED.search(drop_quoted(text)))


@lru_cache(maxsize=_KEPT)
def is_change_of_mind(text: str) -> bool:
    """Tell whether the words say outright that the speaker thought otherwise before."""
    return bool(_MIND_CHANGED.search(drop_quoted(text)))
