"""Holds what a model claims to the words it quotes: content, figures, negation and days have to come from them."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from pipelines.evidence.dates import resolve_date
from pipelines.evidence.records import ClaimType, Located, SessionText
from rag.lexical import list_words, term_indices

SCORER: Final = "lexical/1"
MIN_SUPPORT: Final = 0.4
"""Part of a statement's content words, names and words of reporting aside, that its quotes have to hold. Of 472 summary
sentences judged by people (Dia-Sum-Fact), each held to its two best turns, it keeps 91 % of the faithful ones, and
2.5 % of all where the turns are another conversation's."""

_REPORTING: Final = frozenset(
    term_indices(
        """
        client coach coachee person session says said say saying states stated tells told reports reported mentions
        describes commits committed commit commitment promises promised plans planned plan intends intend aims aim wants
        want wishes hopes goal believes belief thinks feels feeling feel felt decides decided decision agrees agreed
        finds found considers sees reports progress made obstacle who which not no never
        """
    )
)
"""What a statement needs to say whose claim of which kind it is, and no quote has to hold."""

_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b", re.IGNORECASE
)
_NEGATIVE: Final = re.compile(
    r"\b(?:un|dis|in|im|ir)\w{4,}|\b(?:hardly|barely|rarely|seldom|stop|quit|avoid|refus|lack|fail|miss|struggl|trouble|"
    r"difficult|hard|problem|afraid|fear|doubt|worr|lost|los[ei]|away|against|instead|reject|declin|only|until|longer)",
    re.IGNORECASE,
)
_INSTRUCTION: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|rules?|prompts?)\b|"
    r"\b(?:system prompt|language model|you are now|from now on,? you|new instructions?)\b|"
    r"\b(?:reply|respond|answer|output|print) (?:(?:only|exactly) )?(?:with|in json)\b|\badd (?:a|the|this) claim\b|"
    r"\b(?:reveal|print|output|repeat|list) (?:all|your|the|every)\b.{0,30}"
    r"\b(?:prompt|instructions?|keys?|passwords?|clients?|claims?)",
    re.IGNORECASE | re.DOTALL,
)
_REPORTS: Final = re.compile(
    r"[“”\"]|\b(?:said|says|read|reads|wrote|writes|mention|quote|told|tells|asks?|asked|message|mail|text|instruct)",
    re.IGNORECASE,
)
NEAR: Final = 200
"""Characters around a quote in which an instruction to the reader counts as part of it."""

_ONES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPELT: Final = {word: number for number, word in enumerate(_ONES)} | {
    word: 10 * number for number, word in enumerate(_TENS, 2)
}


def score_support(
    statement: str, quotes: Sequence[str], *, names: Iterable[str] = (), days: Iterable[date | None] = ()
) -> float:
    """Return 0 to 1: the part of the statement's content that its quotes hold.

    It is 0 where a figure or a "not" of the statement is not theirs. `names` are the session's people and `days` those
    proved by the quotes: both may be named without standing in them.
    """
    known = [day for day in days if day]
    written = " ".join(f"{day:%A %B} {day.day} {day.year} {day.isoformat()}" for day in known)
    told = " ".join(quotes)
    figures = set(_list_figures(told)) | set(_list_figures(written)) | {str(day.day) for day in known}
    if not set(_list_figures(statement)) <= figures:
        return 0.0
    if _NEGATION.search(statement) and not (_NEGATION.search(told) or _NEGATIVE.search(told)):
        return 0.0
    aside = _REPORTING | set(term_indices(" ".join([*names, written])))
    content = set(term_indices(statement)) - aside
    if not content:
        return 0.0
    return len(content & set(term_indices(told))) / len(content)


def turns_round(statement: str, quotes: Sequence[str]) -> bool:
    """Tell whether the quotes deny something and the statement denies nothing: no longer what they state."""
    denied = _NEGATION.search(" ".join(quotes)) is not None
    return denied and not (_NEGATION.search(statement) or _NEGATIVE.search(statement))


def obeys(statement: str, text: SessionText, quotes: Sequence[Located]) -> bool:
    """Tell whether the statement does what words of the session tell their reader to do, rather than reporting them."""
    if _REPORTS.search(statement):
        return False
    return any(_INSTRUCTION.search(_read_around(text, quote)) for quote in quotes)


def _read_around(text: SessionText, quote: Located) -> str:
    """Return the quote with its neighbours in the same mouth: what others say beside it does not make it doubtful."""
    spoken = [turn for turn in text.turns if quote.turn_first <= turn.index <= quote.turn_last]
    start = max(quote.char_start - NEAR, min(turn.char_start for turn in spoken))
    end = min(quote.char_end + NEAR, max(turn.char_end for turn in spoken))
    return text.text[start:end]


def prove_days(
    claim_type: ClaimType, given: tuple[date | None, date | None], quotes: Sequence[str], said_on: date | None
) -> tuple[tuple[date | None, date | None], int]:
    """Return from when to when the claim holds by the quotes' own words, and how many given days they do not name.

    A claim holds from the day it was said unless the words name another; what is due ends on the day they name.
    """
    if said_on is None:
        return (None, None), sum(day is not None for day in given)
    past = claim_type == "progress"
    spans = [span for words in quotes if (span := resolve_date(words, said_on, past=past)) != (None, None)]
    proved = [day if day and any(_holds(span, day) for span in spans) else None for day in given]
    begins, ends = proved
    if ends is None and claim_type == "commitment":
        ends = next((latest for _, latest in spans if latest and latest >= said_on), None)
    begins = begins or (said_on if ends is None or ends >= said_on else ends)
    unproved = sum(day is not None and kept is None for day, kept in zip(given, proved, strict=True))
    return ((begins, ends) if ends is None or begins <= ends else (ends, ends)), unproved


def _holds(span: tuple[date | None, date | None], day: date) -> bool:
    earliest, latest = span
    return (earliest is None or earliest <= day) and (latest is None or day <= latest) and day in (earliest, latest)


def _list_figures(words: str) -> list[str]:
    """Return the numbers of the text in digits, those up to 99 also where they are spelt."""
    figures: list[str] = []
    tens = 0
    for word in list_words(words):
        if word[0].isdigit():
            figures.append(re.sub(r"\D+$", "", word.replace(",", "")))
            tens = 0
            continue
        number = _SPELT.get(word)
        if number is not None:
            figures.append(str(number))
            if tens and number < 10:
                figures.append(str(tens + number))
        tens = number if number is not None and number >= 20 else 0
    return figures
