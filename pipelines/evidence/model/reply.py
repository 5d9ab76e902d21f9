"""Reads what a model sent: whole items of broken JSON are saved, each is checked on its own, nothing is believed."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import from_json

from core.errors import Invalid
from pipelines.evidence.model.prompts import MOST_CLAIMS
from pipelines.evidence.records import ClaimType, Modality, Polarity, QuoteRole

LONGEST_STATEMENT: Final = 600  # characters; a sentence of a hundred words
LONGEST_QUOTE: Final = 1_000
LONGEST_NAME: Final = 200
MOST_QUOTES: Final = 6
YEARS_AROUND: Final = timedelta(days=3_660)
"""Of a session's day: a date further off is a slip."""

_FENCED: Final = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_LIST: Final = re.compile(r'"claims"\s*:\s*\[')
_JOINERS: Final = "\u200c\u200d"  # written inside words and emoji
_decoder: Final = json.JSONDecoder()


class UnreadableReply(Invalid):
    """The model sent no list of claims that can be read; try another model."""


def clean(value: object) -> object:
    """Return text on one line without control, formatting and half characters; other values as they are."""
    if not isinstance(value, str):
        return value
    kept = (letter for letter in value if letter.isspace() or letter in _JOINERS or not _is_unseen(letter))
    return " ".join("".join(kept).split())


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Cn"}


def _lower(value: object) -> object:
    cleaned = clean(value)
    return cleaned.lower() if isinstance(cleaned, str) else cleaned


def _empty_is_none(value: object) -> object:
    cleaned = clean(value)
    return None if isinstance(cleaned, str) and cleaned in {"", "null", "None"} else cleaned


def _read_turn(value: object) -> object:
    """Return a number of a turn; it is a hint only, so anything else is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


_Name = Annotated[Annotated[str, Field(max_length=LONGEST_NAME)] | None, BeforeValidator(_empty_is_none)]


class ReplyQuote(BaseModel):
    """One quote as a model gives it."""

    words: Annotated[str, BeforeValidator(clean), Field(min_length=1, max_length=LONGEST_QUOTE)]
    speaker: _Name = None
    turn: Annotated[int | None, BeforeValidator(_read_turn)] = None
    role: Annotated[QuoteRole, BeforeValidator(_lower)] = "supporting"


class ReplyClaim(BaseModel):
    """One claim as a model gives it, its quotes and days still to be read."""

    type: Annotated[ClaimType, BeforeValidator(_lower)]
    statement: Annotated[str, BeforeValidator(clean), Field(min_length=8, max_length=LONGEST_STATEMENT)]
    modality: Annotated[Modality, BeforeValidator(_lower)]
    polarity: Annotated[Polarity, BeforeValidator(_lower)] = "neutral"
    holder: _Name = None
    subject: _Name = None
    valid_from: Any = None
    valid_to: Any = None
    quotes: list[Any] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class ReadClaim:
    """One claim of a reply, checked in itself."""

    claim: ReplyClaim
    quotes: tuple[ReplyQuote, ...]
    valid_from: date | None
    valid_to: date | None


@dataclass(slots=True)
class Reply:
    """What could be read of one reply: claims, what was left out and why, whether it ends before its end."""

    claims: list[ReadClaim] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    broken: bool = False


def read_reply(text: str, *, held_on: date | None) -> Reply:
    """Return the claims of a reply; raises `UnreadableReply` where there is no list of them at all."""
    reply = Reply()
    items, reply.broken = _find_items(text.encode("utf-8", "replace").decode())
    for item in items:
        if len(reply.claims) == MOST_CLAIMS:
            reply.dropped["too_many"] += 1
            continue
        try:
            claim = ReplyClaim.model_validate(item)
        except (ValidationError, RecursionError):
            reply.dropped["invalid"] += 1
            continue
        quotes = tuple(_read_quotes(claim, reply.dropped))
        if not any(quote.role == "supporting" for quote in quotes):
            reply.dropped["no_quote"] += 1
            continue
        reply.claims.append(ReadClaim(claim, quotes, *_read_days(claim, held_on, reply.dropped)))
    return reply


def _find_items(text: str) -> tuple[list[Any], bool]:
    """Return the items of the list of claims, and whether the JSON around them is broken."""
    candidates = [*_FENCED.findall(text), text]
    for candidate in candidates:
        try:
            found = from_json(candidate.strip(), cache_strings=False)
        except (ValueError, RecursionError):
            continue
        items = found.get("claims") if isinstance(found, dict) else found
        if isinstance(items, list):
            return items, False
        raise UnreadableReply
    for candidate in candidates:
        opened = _LIST.search(candidate)
        start = opened.end() if opened else candidate.find("[") + 1
        if start and (items := list(_save_items(candidate, start))):
            return items, True
    raise UnreadableReply


def _save_items(text: str, position: int) -> Iterator[Any]:
    """Yield the whole objects of a list that is cut off or followed by other text."""
    while (position := _skip(text, position)) < len(text) and text[position] == "{":
        try:
            item, position = _decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return  # cut off here; what a model writes behind a slip is not worth guessing at
        yield item


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n,":
        position += 1
    return position


def _read_quotes(claim: ReplyClaim, dropped: Counter[str]) -> Iterator[ReplyQuote]:
    for given in claim.quotes[:MOST_QUOTES]:
        try:
            yield ReplyQuote.model_validate(given)
        except (ValidationError, RecursionError):
            dropped["invalid_quote"] += 1


def _read_days(claim: ReplyClaim, held_on: date | None, dropped: Counter[str]) -> tuple[date | None, date | None]:
    """Return the days of a claim; one that can't be is left out, and the claim stands without it."""
    days: list[date | None] = []
    for given in (claim.valid_from, claim.valid_to):
        day = _read_day(given)
        if day is None and _empty_is_none(given) is not None:
            dropped["invalid_day"] += 1
        if day is not None and (held_on is None or abs(day - held_on) > YEARS_AROUND):
            dropped["invalid_day"] += 1
            day = None
        days.append(day)
    begins, ends = days
    if begins and ends and begins > ends:
        dropped["invalid_day"] += 2
        return None, None
    return begins, ends


def _read_day(given: object) -> date | None:
    if not isinstance(given, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", given.strip(), re.ASCII):
        return None
    try:
        return date.fromisoformat(given.strip())
    except ValueError:
        return None
