"""Reads what a question is about: its topic without the words that only say where to look or what kind of answer."""

import re
from collections.abc import Sequence
from typing import Final

from rag.lexical import list_words, term_indices
from rag.rewrite import list_salient_words
from rag.understand import Understanding
from rag.understand_evidence import list_kind_terms
from rag.understand_sessions import find_session_phrase
from rag.understand_times import find_time_phrase

_Cue = tuple[re.Pattern[str], re.Pattern[str]]
Cues = Sequence[tuple[list[str], re.Pattern[str]]]
"""Of each kind of answer asked for: the words that ask for it, and what an answer sounds like."""


def _cue(asked: str, told: str) -> _Cue:
    return re.compile(asked, re.IGNORECASE), re.compile(told, re.IGNORECASE)


WEEKDAY: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_CUES: Final[tuple[_Cue, ...]] = (
    _cue(
        r"\b(?:commit|promise|agreed? to|action items?|homework|next steps?|plan(?:s|ned)? to|going to do|"
        r"undert(?:ake|ook)|to-?dos?)",
        r"\b(?:I['’]ll|I will|I['’]m going to|I am going to|I promise|I commit|my commitment|I['’]m committing|"
        r"I['’]m (?:taking|giving|telling|writing|asking|calling)|count on me)\b",
    ),
    _cue(
        r"^\W*(?:when|what (?:day|date|time|year|month))\b|\bhow long ago\b|\bsince when\b",
        rf"\b(?:{WEEKDAY}|january|february|march|april|june|july|august|september|october|november|december|in may|"
        r"yesterday|today|tomorrow|tonight|(?:last|next|this) (?:week|month|year|weekend|night|summer|fall|winter|"
        r"spring)|"
        r"\d{1,2}(?:st|nd|rd|th)|(?:19|20)\d\d|ago|o['’]clock)\b",
    ),
    _cue(
        r"\bhow (?:many|much|long|often|old|far|big)\b|\bwhat (?:number|percentage|share|amount)\b",
        r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|"
        r"thousand|half|once|twice|dozen|couple|every|hours?|minutes?|years?|months?|weeks?|days?)\b",
    ),
    _cue(
        r"^\W*why\b|\breasons?\b",
        r"\b(?:because|since|so that|in order to|that['’]s why|the reason|wanted to|as I)\b",
    ),
    _cue(
        r"\b(?:feel|felt|feeling|emotion|mood)",
        r"\b(?:feel|felt|feeling|afraid|scared|angry|sad|happy|relie(?:f|ved)|proud|asham|guilt|tired|exhaust|anxious|"
        r"nervous|calm|lonely|frustrat|humiliat|embarrass|excited|hope|worr|glad|grateful)",
    ),
    _cue(
        r"\b(?:goals?|aim(?:s|ing)?|hop(?:es?|ing) (?:for|to)|want(?:s|ed)? (?:to|from)|ambition|dream)",
        r"\b(?:I want(?:ed)? to|I['’]d (?:like|love) to|my goal|my aim|the goal|I hope|I['’]m hoping|"
        r"my dream|one day)\b",
    ),
    _cue(
        r"\b(?:decide|decision|choose|chose)",
        r"\b(?:decided|I['’]ve decided|decision|I chose|I['’]m (?:not )?going to|I want to|settled)\b",
    ),
)  # fmt: skip
_OPEN_TERMS: Final = frozenset(
    term_indices(
        "what who which where how tell give show discuss discussed discussion talk about say said mention happen cover "
        "summary summarise summarize overview main points topics highlights recap key anything something session "
        "sessions meeting call conversation transcript up go over brief quick please can could last first come came "
        "back run runs through fit together thing told spoke doesn't don't isn't"
    )
)
CALENDAR: Final = frozenset(
    term_indices(
        "january february march april may june july august september october november december monday tuesday "
        "wednesday thursday friday saturday sunday"
    )
)


def find_cues(asked: str) -> Cues:
    """Return the kinds of answer that a question asks for by their sound."""
    return [(question.findall(asked), told) for question, told in _CUES if question.search(asked)]


def is_open(asked: str) -> bool:
    """Tell whether the question has no topic at all, such as "What was it about?"."""
    return not set(term_indices(asked)) - _OPEN_TERMS


def list_topic_terms(asked: str, cues: Cues) -> set[int]:
    """Return the terms of the question but for those that only tell which kind of answer is wanted."""
    kind = {term for words, _ in cues for word in words for term in term_indices(word)}
    return set(term_indices(asked)) - kind - _OPEN_TERMS


def list_topic_words(understanding: Understanding) -> list[str]:
    """Return the words that tell what the question is about."""
    asked = strip_scope(understanding)
    kind = list_kind_terms(asked) | _OPEN_TERMS
    return [word for word in list_salient_words(asked) if not kind & set(term_indices(word))]


def strip_scope(understanding: Understanding) -> str:
    """Return the question without the words that only say where to look: names of clients, sessions, dates."""
    asked = understanding.question
    for phrase in (find_session_phrase(asked), find_time_phrase(asked)):
        if phrase:
            asked = asked.replace(phrase, " ")
    for person in (*understanding.clients, *understanding.speakers):
        for part in person.name.split():
            asked = re.sub(rf"\b{re.escape(part)}(?:['’]s)?\b", " ", asked, flags=re.IGNORECASE)
    return asked if len(list_words(asked)) > 1 else understanding.question
