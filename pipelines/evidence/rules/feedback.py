"""Feedback: what others told the speaker of themself, and what coach and client tell each other."""
# ruff: noqa: E501 - a pattern is read whole

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.evidence.records import Modality, ProposedClaim
from pipelines.evidence.rules.claims import METHOD, Heard, name_of, quote, say
from pipelines.evidence.rules.clauses import OPEN, Sentence
from pipelines.evidence.rules.statement import find_subject, finish, shift

_WHO: Final = r"(?:(?!I\b)[A-Z][\w-]+|she|he|they|people|everyone|my\s+(?:\w+\s+)?(?:boss|manager|wife|husband|partner|team|colleagues?|mother|father|mentor|director|deputy|sister|brother|head\s+of\s+\w+|doctor|teacher|principal|supervisor))"
_TOLD: Final = re.compile(
    rf"(?P<who>{_WHO})\s+(?:(?:also|once|just|really|even|always|has|have|had)\s+)*(?:(?:told|tells|tell)\s+me\b(?:\s+(?:in|on|at|last|this)\s+[\w' ]{{1,20}}?)?|said|says|say|thinks?|called\s+me|calls\s+me)\s*,?\s+"
    r"(?:that\s+)?(?P<what>(?:I(?:'m|\s+am|\s+was|\s+always|\s+never|\s+don't|\s+can't|\s+should\s+be|\s+could\s+be|\s+come\s+across|\s+\w+)|my\s+\w+(?:\s+\w+)?\s+\w+s)\b.+)",
)
_NO_JUDGEMENT: Final = re.compile(
    r"I\s+(?:can|could|would|was\s+going|have\s+to|had|need|said|may|might|will|did|should\s+(?:call|see|come|go|talk|take|get)|want\w*|got|must|told)\b|I'(?:d|ll|ve)\b|I'm\s+supposed\b|I\s+was\s+joking\b|my\s+(?:turn|time)\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(
    r"(?P<who>(?!I['’]|I\b)[A-Z][\w'’-]+|[Ss]he|[Hh]e|[Tt]hey|[Ii]t)\s+(?:just\s+|then\s+)?(?:said|says|told\s+me|goes|wrote)\s*,?\s*[“\"](?P<what>[^”\"]+)[”\"]"
)
_OF_YOU: Final = re.compile(
    r"\byou(?:'re|'ve)?\s+(?!know\b|want\b|see\b|should\b|can\b|could\b|will\b|would\b|might\b|need\b|may\b|get\b|two\b|guys\b|and\b|were\b|did\b|not\b|to\b|for\b)[a-z]+",
    re.IGNORECASE,
)
_SETTING: Final = re.compile(
    r"\b(?:retro(?:spective)?|appraisal|review|feedback|survey|360|evaluation|anonymous)\b", re.IGNORECASE
)
_GIVES: Final = re.compile(
    r"\b(?:feedback|something\s+I(?:'ve|\s+have)\s+(?:seen|noticed|observed)|an\s+observation|let\s+me\s+offer|I(?:'d|\s+would)\s+like\s+to\s+reflect)\b",
    re.IGNORECASE,
)
_NOTICED: Final = re.compile(
    r"(?:I(?:'ve|\s+have)?\s+(?:also\s+|just\s+|really\s+)*(?:noticed?|noticing|see|saw|seen|hear|heard|observed|appreciate|admire|'m\s+impressed\s+(?:by|with)|am\s+impressed\s+(?:by|with)|like)\s+(?:that\s+|how\s+|the\s+way\s+)?you(?:'ve|'re|r)?\b|"
    r"I'm\s+(?:also\s+)?(?:hearing|impressed)\b.{0,20}\byou|what\s+(?:strikes|struck|impresses|impressed)\s+me\b|"
    r"you(?:'ve|\s+have)\s+(?:really\s+|already\s+|clearly\s+)?(?:made|handled|managed|come\s+(?:a\s+long|up)|worked|grown|shown|kept)\b.{8,}|"
    r"you(?:'re|\s+are)\s+(?:really\s+|very\s+|clearly\s+|so\s+)(?:good|strong|thoughtful|committed|motivated|honest|capable|brave|determined)\b)",
    re.IGNORECASE,
)
_OF_CLIENT: Final = re.compile(
    r"(?:in\s+our\s+\w+\s+session\s+|today,?\s+|since\s+we\s+\w+(?:\s+\w+)?\s+|when\s+\w+\s+\w+(?:\s+\w+)*,\s+|each\s+time\s+[^,]+,\s+)?you(?:'ve|'re|\s+\w+)\b.{6,}",
    re.IGNORECASE,
)
_TO_COACH: Final = re.compile(
    r"(?:that|this|it|talking(?:\s+\w+){0,3}|our\s+(?:sessions?|conversations?|work)|the\s+\w+\s+(?:exercise|question|session)|what\s+you\s+said)\s+(?:has\s+|have\s+|was\s+|is\s+|'s\s+|been\s+|really\s+|very\s+|so\s+|just\s+)*"
    r"(?:helped(?:\s+me)?|helpful|useful|valuable)\b.*|that's\s+(?:really\s+|very\s+|so\s+|actually\s+)*(?:helpful|useful)\b.*|"
    r"I\s+(?:find|found)\s+(?:it|this|that|our\s+\w+|your\s+\w+)\s+(?:really\s+|very\s+|so\s+)*(?:helpful|useful|valuable)\b.*|you(?:'re|\s+are)\s+(?:very|so|really)\s+(?:good\s+at|helpful|kind|patient)\b.*|"
    r"you\s+(?:always|never)\s+\w+.{4,}",
    re.IGNORECASE,
)


def find_reported(sentences: Sequence[Sentence], heard: Heard) -> Iterator[ProposedClaim]:
    """Yield what the speaker says that others told them about themself."""
    for number, sentence in enumerate(sentences):
        if sentence.is_question and "_" not in sentence.plain:
            continue
        name = name_of(heard.text, sentence.turn)
        told = _TOLD.search(sentence.plain)
        if (
            told
            and told["who"] != "I"
            and not _NO_JUDGEMENT.match(told["what"])
            and "if I" not in sentence.plain[: told.start()]
        ):
            what = shift(told["what"])
            who = told["who"]
            statement = (
                f"{who} told {name} that {what}"
                if what and who[0].isupper() and who not in {"She", "He", "They", "It"}
                else None
            )
            yield _make(sentence, heard, statement, subject=find_subject(told["what"], verb=False), modality="reported")
            continue
        around = " ".join(one.plain for one in sentences[max(0, number - 1) : number + 1])
        quoted = _QUOTED.search(sentence.words)
        if (
            quoted
            and "?" not in quoted["what"]
            and ((_OF_YOU.search(quoted["what"]) and len(quoted["what"].split()) >= 5) or _SETTING.search(around))
        ):
            who = quoted["who"]
            statement = f"{name} reported that {who if who[0].isupper() and who not in _PRONOUNS else 'somebody'} said: “{quoted['what'].rstrip(' ,.')}”"
            subject = find_subject(quoted["what"], verb=False)
            yield _make(sentence, heard, statement, subject=subject, modality="reported")


_PRONOUNS: Final = frozenset({"She", "He", "They", "It"})


def find_given(sentences: Sequence[Sentence], heard: Heard, *, is_invited: bool) -> Iterator[ProposedClaim]:
    """Yield what the coach tells the client of them; `is_invited` where feedback was announced a moment before."""
    invited = is_invited
    for sentence in sentences:
        if sentence.is_question:
            continue
        opening = OPEN.match(sentence.plain)
        plain = sentence.plain[opening.end() if opening else 0 :]
        noticed = _NOTICED.match(plain)
        if (noticed and len(plain.split()) > 5) or (invited and _OF_CLIENT.match(plain)):
            subject = find_subject(re.sub(r"^.*?\byou(?:'ve|'re)?\s+", "", plain), verb=False)
            yield _make(sentence, heard, None, subject=subject, modality="stated")
            invited = False
        invited = invited or bool(_GIVES.search(sentence.plain))


def gives_feedback(words: str) -> bool:
    """Tell whether the words announce feedback."""
    return bool(_GIVES.search(words))


def find_returned(sentences: Sequence[Sentence], heard: Heard) -> Iterator[ProposedClaim]:
    """Yield what the client tells the coach of the coaching."""
    for sentence in sentences:
        opening = OPEN.match(sentence.plain)
        plain = sentence.plain[opening.end() if opening else 0 :]
        if not sentence.is_question and _TO_COACH.match(plain) and not re.search(r"\b(?:if|not sure|would)\b", plain):
            yield _make(sentence, heard, None, subject="the coaching", modality="stated")


def _make(
    sentence: Sentence, heard: Heard, statement: str | None, *, subject: str | None, modality: Modality
) -> ProposedClaim:
    name = name_of(heard.text, sentence.turn)
    return ProposedClaim(
        claim_type="feedback", statement=finish(statement) if statement else say(name, sentence.words), modality=modality,
        quotes=((quote(sentence), "supporting"),), method=METHOD, holder=name, subject=subject, polarity="neutral",
        valid_from=heard.said_on,
    )  # fmt: skip
