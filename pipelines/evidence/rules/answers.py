"""Claims that only a question and its answer make together: agreements, feelings, obstacles, ratings, days."""
# ruff: noqa: E501 - a pattern is read whole

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pipelines.evidence.dates import find_dates, resolve_date
from pipelines.evidence.records import Candidate, ProposedClaim, QuoteRole
from pipelines.evidence.rules.claims import METHOD, Heard, name_of, place_in_time, quote, say
from pipelines.evidence.rules.clauses import OPEN, Sentence
from pipelines.evidence.rules.read import find_tone
from pipelines.evidence.rules.statement import (
    find_subject,
    find_topic,
    find_verb,
    finish,
    is_self_contained,
    write_days,
)

_REQUEST: Final = re.compile(
    r"(?:^|[.!?,]\s+|\b(?:so|and|then|okay),?\s+)(?:(?:can|could|will|would)\s+you\s+(?:please\s+|maybe\s+)?|(?:are|would)\s+you\s+(?:be\s+)?(?:willing|able|ready|prepared)\s+to\s+|"
    r"(?:shall|can)\s+we\s+(?:agree|say)\s+(?:that\s+)?you(?:'ll|\s+will)?\s+|(?:so\s+)?you(?:'ll|\s+will|'re\s+going\s+to)\s+|do\s+you\s+(?:agree|commit)\s+to\s+|"
    r"how\s+about\s+you\s+)(?P<vp>[a-z].*?)\s*\?$",
    re.IGNORECASE,
)
_NOT_LATER: Final = re.compile(
    r"(?:tell|hear|say|see|describe|imagine|think|explain|help|talk|give|show|rate|name|read|put|go|be|share|speak|picture|remember|walk|let)\b",
    re.IGNORECASE,
)
_YES: Final = re.compile(
    r"(?:oh,?\s+)?(?:yes|yeah|yep|yup|sure|okay|ok|absolutely|definitely|of course|certainly|deal|agreed|I will|I can do that|I'll do (?:that|it)|will do|I promise|fine|all right)\b",
    re.IGNORECASE,
)
_BUT: Final = re.compile(
    r"\b(?:but|maybe|perhaps|not sure|if|depends|I guess|might|probably not|try)\b|\?", re.IGNORECASE
)
_ASKS_FEELING: Final = re.compile(r"\b(?:feel|felt|feeling|feelings)\b[^?]*\?", re.IGNORECASE)
_ASKS_HOW: Final = re.compile(
    r"\bhow\s+(?:is|was|are|were|'s|does|did)\s+(?:that|it|you|this)\b|\bwhat(?:'s|\s+is|\s+was)\s+(?:that|it)\s+like\b|\bhow\s+did\s+(?:that|it)\s+land\b|\bhow\s+is\s+that\b",
    re.IGNORECASE,
)
_ASKS_OBSTACLE: Final = re.compile(
    r"\b(?:in\s+(?:the|your)\s+way|(?:stop|stops|stopping|stopped|prevent\w*|hold\w*|held)\s+you\b|kept\s+you\s+from|gets?\s+in\s+the\s+way|"
    r"(?:obstacle|barrier|difficult)\w*)\b[^?]*\?",
    re.IGNORECASE,
)
_NO_ANSWER: Final = re.compile(
    r"(?:no|nope|nothing|not really|I don't know|pardon|sorry|hm+|what|why|how|who)\b", re.IGNORECASE
)
_ASKS_SCALE: Final = re.compile(
    r"\b(?:scale|out of (?:ten|10)|(?:one|zero|1|0) to (?:ten|10)|(?:a|the|your) number|how (?:sure|confident|certain|ready|important|likely)\b|rate)\b",
    re.IGNORECASE,
)
_ASKS_SLEEP: Final = re.compile(
    r"\bsle(?:ep|eping|pt)\b|\bkeep\w* (?:you|me) (?:up|awake)\b|\binsomnia\b", re.IGNORECASE
)
_COUNT: Final = r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|\d{1,2}(?:\.\d)?)"
_NUMBER: Final = rf"(?P<number>{_COUNT}(?:\s+and\s+a\s+half)?)"
_RATING: Final = re.compile(
    rf"(?:(?P<thing>[a-z][a-z' ]{{2,30}}?)(?:'s|\s+is|,)\s+(?:I'd\s+say\s+)?(?:I'm\s+)?|I'm\s+(?:at\s+)?|I'd\s+(?:say|give\s+(?:it|myself))\s+(?:about\s+)?|it's\s+(?:at\s+)?|"
    rf"I\s+(?:am|feel|think)\s+(?:at\s+|like\s+|maybe\s+)?|(?:maybe|probably|about|around|so)\s+|^)(?:an?\s+|about\s+|at\s+)*{_NUMBER}\b"
    r"(?!\s*(?:hours?|weeks?|days?|years?|times|minutes|people|months|of\s+(?:us|them|the)|nights?|o'clock|things?)|'s\b)(?:\s+out\s+of\s+(?:ten|10))?",
    re.IGNORECASE,
)
_SLEEP: Final = re.compile(
    rf"(?:^|\b(?:about|at|getting|got|get|sleep|slept|for|only|nearly|almost|maybe)\s+)(?:about\s+|only\s+|at\s+)*{_NUMBER}(?:\s+hours?\b|(?=\s+(?:last\s+night|now|a\s+night|most\s+nights))|(?<=half)\b|(?=[.,]))",
    re.IGNORECASE,
)
_BEFORE: Final = re.compile(rf"\bI\s+said\s+(?:an?\s+)?{_COUNT}\b(?=[.,])", re.IGNORECASE)
"""A rating of an earlier time, which the one of now is set beside: "I said eight. It's a four."."""
_NAMES_SCALE: Final = re.compile(r"\b(?:on|the|my|our)\s+(?:scale|rating)\b", re.IGNORECASE)
_VALUES: Final = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10",
}  # fmt: skip
_ASKS_DAY: Final = re.compile(
    r"\b(?:when|which|by when|what day|date|being|day|week|weekend|month|until|before|(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|(?:would|will) (?:that )?be)\b",
    re.IGNORECASE,
)


def find_answers(sentences: Sequence[Sentence], heard: Heard, *, has_promised: bool) -> Iterator[ProposedClaim]:
    """Yield what the turn's sentences claim as an answer to what was asked; a promise in own words needs no "yes"."""
    if not sentences or not heard.asked_own:
        return
    asked = heard.asked_own.replace("’", "'")
    if not has_promised and (claim := _find_agreement(sentences, heard, asked)):
        yield claim
    if claim := _find_feeling(sentences[0], heard, asked):
        yield claim
    if _ASKS_OBSTACLE.search(asked) and (claim := _find_obstacle(sentences, heard)):
        yield claim


def find_ratings(sentences: Sequence[Sentence], heard: Heard) -> Iterator[ProposedClaim]:
    """Yield self-ratings from nought to ten and hours of sleep, at most one of each a turn."""
    asked = heard.asked_own.replace("’", "'")
    turn = " ".join(one.plain for one in sentences)
    asks_scale = bool(_ASKS_SCALE.search(asked))
    for kind, pattern, wanted in (
        (
            "self-rating",
            _RATING,
            asks_scale
            or "out of ten" in turn
            or "out of 10" in turn
            or _BEFORE.search(turn)
            or _NAMES_SCALE.search(turn),
        ),
        ("sleep", _SLEEP, bool(_ASKS_SLEEP.search(asked) or _ASKS_SLEEP.search(turn))),
    ):
        if not wanted:
            continue
        best: tuple[int, Sentence, re.Match[str]] | None = None
        for sentence in sentences:
            opening = OPEN.match(sentence.plain)
            plain = sentence.plain[opening.end() if opening else 0 :]
            match = pattern.search(plain)
            if (
                not match
                or sentence.is_question
                or (
                    kind == "self-rating"
                    and not asks_scale
                    and "out of" not in match[0]
                    and not _BEFORE.search(turn)
                    and not _NAMES_SCALE.search(plain)
                )
            ):
                continue
            # the sentence that names the thing or the scale says more than a bare "Three."
            weight = (
                2 * bool(match.groupdict().get("thing"))
                + ("out of" in match[0])
                + (kind == "sleep" and len(plain.split()) > 3)
            )
            if best is None or weight > best[0]:
                best = (weight, sentence, match)
        if best:
            yield _make_rating(kind, best[1], best[2], heard)


def _make_rating(kind: str, sentence: Sentence, match: re.Match[str], heard: Heard) -> ProposedClaim:
    name = name_of(heard.text, sentence.turn)
    number = match["number"].lower()
    value = _VALUES.get(number.split()[0], number.split()[0]) + (".5" if "half" in number else "")
    thing = (match.groupdict().get("thing") or "").strip()
    of = re.sub(r"\b(?:the|my|so|and|i'd|say|scale|number|rating)\b", "", thing, flags=re.IGNORECASE).strip().lower()
    if kind == "sleep":
        statement, subject = f"{name} reported sleeping {value} hours a night", "sleep"
    else:
        statement, subject = (
            f"{name} put {of or 'themself'} at {value} out of 10",
            f"self-rating: {of}" if of else "self-rating",
        )
    return ProposedClaim(
        claim_type="progress", statement=finish(statement), modality="stated", quotes=((quote(sentence), "supporting"),),
        method=METHOD, holder=name, subject=subject, polarity="neutral", valid_from=heard.said_on, valid_to=heard.said_on,
    )  # fmt: skip


def _find_agreement(sentences: Sequence[Sentence], heard: Heard, asked: str) -> ProposedClaim | None:
    """Return the commitment of a plain yes to a request for something to be done later."""
    request = next(
        (match for part in reversed(re.split(r"(?<=[.!?])\s+", asked)) if (match := _REQUEST.search(part))), None
    )
    answer = " ".join(one.plain for one in sentences)
    if request is None or not _YES.match(answer) or _BUT.search(answer) or len(answer.split()) > 14:
        return None
    vp = request["vp"]
    days = find_dates(f"{vp} {answer}", heard.said_on) if heard.said_on else []
    if find_verb(vp) is None or (_NOT_LATER.match(vp) and not days):
        return None
    name = name_of(heard.text, sentences[0].turn)
    words = re.sub(r"\byour\b", "their", re.sub(r"\byourself\b", "themself", re.sub(r"\byou\b", "they", vp)))
    if re.search(r"\b(?:me|I|we|us|our)\b", words) or not is_self_contained(words):
        statement = say(name, sentences[0].words, asked)
    else:
        named = find_dates(answer, heard.said_on) if heard.said_on else []
        if heard.said_on and named and not find_dates(vp, heard.said_on):
            words += f" {answer[named[0].start : named[0].end].lower()}"
        statement = finish(write_days(f"{name} agreed to {words}", heard.said_on, past=False))
    earliest, latest = resolve_date(f"{vp} {answer}", heard.said_on) if heard.said_on else (None, None)
    valid_from, valid_to = place_in_time("commitment", heard.said_on, earliest, latest)
    request_quote = Candidate(exact=request[0].strip(" .,!"), speaker=heard.asked_by, turn_index=heard.asked_at)
    quotes: list[tuple[Candidate, QuoteRole]] = [(quote(one), "supporting") for one in sentences[:2]]
    return ProposedClaim(
        claim_type="commitment", statement=statement, modality="stated", quotes=[*quotes, (request_quote, "supporting")],
        method=METHOD, holder=name, subject=find_subject(vp, heard.said_on), polarity="positive", valid_from=valid_from,
        valid_to=valid_to,
    )  # fmt: skip


def _find_feeling(first: Sentence, heard: Heard, asked: str) -> ProposedClaim | None:
    """Return the feeling that a word or two name when asked for it: "Embarrassed."."""
    opening = OPEN.match(first.plain)
    plain = first.plain[opening.end() if opening else 0 :].strip(" .!,…")
    words = [word.lower() for word in re.findall(r"[A-Za-z][A-Za-z'-]*", plain)]
    if (
        not 1 <= len(words) <= 5
        or first.is_question
        or re.match(r"(?:I|it|you|that|he|she|they|we)\b", plain, re.IGNORECASE)
    ):
        return None
    tone = find_tone(plain.lower())
    bare = len(words) <= 2 and bool(_ASKS_FEELING.search(asked)) and not _NO_ANSWER.match(plain)
    if not bare and not (tone != "neutral" and (_ASKS_FEELING.search(asked) or _ASKS_HOW.search(asked))):
        return None
    name = name_of(heard.text, first.turn)
    return ProposedClaim(
        claim_type="emotion", statement=say(name, first.words, asked), modality="stated",
        quotes=((quote(first), "supporting"),), method=METHOD, holder=name, subject=plain.lower(), polarity=tone,
        valid_from=heard.said_on,
    )  # fmt: skip


def _find_obstacle(sentences: Sequence[Sentence], heard: Heard) -> ProposedClaim | None:
    first = sentences[0]
    opening = OPEN.match(first.plain)
    plain = first.plain[opening.end() if opening else 0 :].strip()
    if (
        not plain
        or _NO_ANSWER.match(plain)
        or first.is_question
        or re.match(r"(?:I'm (?:out|fine|good)|you|I think so)\b", plain)
    ):
        return None
    used = [first]
    if len(sentences) > 1 and len(plain.split()) < 9 and not sentences[1].is_question:
        used.append(sentences[1])
    name = name_of(heard.text, first.turn)
    words = " ".join(one.words for one in used)
    subject = find_subject(
        used[-1].plain if re.match(r"it's\b", used[-1].plain, re.IGNORECASE) else plain, heard.said_on, verb=False
    )
    return ProposedClaim(
        claim_type="obstacle", statement=say(name, words, heard.asked_own) if len(words.split()) < 8 else say_asked(name, words, heard),
        modality="stated", quotes=tuple((quote(one), "supporting") for one in used), method=METHOD, holder=name,
        subject=subject or find_topic(heard.asked_own), polarity="negative", valid_from=heard.said_on,
    )  # fmt: skip


def say_asked(name: str, words: str, heard: Heard) -> str:
    """Return who said what when asked what stands in the way."""
    return f"Asked what stands in the way, {say(name, words)}" if heard.asked_own else say(name, words)


def find_day(sentences: Sequence[Sentence], heard: Heard) -> Candidate | None:
    """Return the short words that name the day of what was promised just before: "The twenty-third."."""
    if heard.said_on is None:
        return None
    best: tuple[int, Sentence] | None = None
    for sentence in sentences[:4]:
        opening = OPEN.match(sentence.plain)
        start = opening.end() if opening else 0
        found = find_dates(sentence.plain[start:], heard.said_on)
        if found and found[0].start <= 4 and len(sentence.plain.split()) <= 14 and not sentence.is_question:
            weight = found[0].end - found[0].day_start
            # "Good Friday, isn't it. Thursday then. Thursday the second of April": the fullest is the answer
            if found[0].is_day and (best is None or weight > best[0]):
                best = (weight, sentence)
    return quote(best[1]) if best else None


def asks_for_day(words: str) -> bool:
    """Tell whether the words ask for, or name, the day of something."""
    return bool(_ASKS_DAY.search(words)) and len(words.split()) <= 25
