"""Makes proposed claims: their statement, what they are about, when they hold, their quotes."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from pipelines.evidence.dates import resolve_date
from pipelines.evidence.records import (
    Candidate,
    ClaimType,
    Method,
    Modality,
    Polarity,
    ProposedClaim,
    SessionText,
    Turn,
)
from pipelines.evidence.rules.clauses import Clause, Sentence
from pipelines.evidence.rules.statement import (
    conjugate,
    fill,
    find_subject,
    find_topic,
    finish,
    is_self_contained,
    shift,
    write_days,
)

VERSION: Final = "1"
METHOD: Final = Method(name=f"rules/{VERSION}")
OLDEST_STEP: Final = 400
"""Days: what lies further back is somebody's story rather than progress."""
_WITH_VERB: Final = frozenset({"commitment", "goal", "progress", "decision", "obstacle"})
PRONOUN_ONLY: Final = re.compile(
    r"^(?:do|try|take|make|give|get|did|done|ask|tell|call|see)?\s*(?:it|that|this|them|him|her|so)(?:\s+(?:too|again|now|up|down|off|on|out|in|all|away|over|once|first|then))*[.!]?$",
    re.IGNORECASE,
)
_TO_BE: Final = re.compile(r"(?:'s|'ve)\b|\b(?:been|was|is|has|have|had|were|are|never|always)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a rule knows of the moment: the session, its day, and what was asked just before."""

    text: SessionText
    said_on: date | None
    asked: str = ""
    """What the other speaker said last before this turn."""
    asked_own: str = ""
    """Their question or prompt for this turn, when the turn answers it."""
    asked_by: str | None = None
    asked_at: int | None = None
    """Who asked it, in which turn."""
    before: str = ""
    """The sentence before in the same turn, as said."""
    near: str = ""
    """The two sentences before, in the same turn."""


def name_of(text: SessionText, turn: Turn) -> str:
    """Return the speaker's full name, else the label."""
    return (text.names.get(turn.speaker_id) if turn.speaker_id else None) or turn.speaker or "The speaker"


def quote(sentence_or_clause: Sentence | Clause) -> Candidate:
    """Return the words as a candidate, where they stand."""
    turn = sentence_or_clause.turn if isinstance(sentence_or_clause, Sentence) else sentence_or_clause.sentence.turn
    return Candidate(exact=sentence_or_clause.words, speaker=turn.speaker, turn_index=turn.index)


def make_claim(
    clause: Clause, heard: Heard, claim_type: ClaimType, vp: str, *,
    polarity: Polarity, modality: Modality, says: str = "", past: bool = False,
) -> ProposedClaim | None:  # fmt: skip
    """Return the claim with its statement, subject and days; None for what lies too far back to be progress."""
    name = name_of(heard.text, clause.sentence.turn)
    topic = find_topic(heard.asked_own)
    says_enough = claim_type not in {"progress", "decision"} and " " in vp and is_self_contained(vp)
    vp_words = " ".join(vp.split()[:8]).strip(' ,.;:!?_"“”') or None
    statement = _state(clause, heard, name, says, vp, past=past)
    if claim_type == "belief":
        past = True
        vp = _TO_BE.sub(" ", vp.split(",", maxsplit=1)[0]).strip()
    subject = (
        None if not vp or PRONOUN_ONLY.match(vp) else find_subject(vp, heard.said_on, verb=claim_type in _WITH_VERB)
    )
    earliest, latest = (
        resolve_date(re.split(r", and\b", clause.whole)[0], heard.said_on, past=past) if heard.said_on else (None, None)
    )
    if claim_type == "belief" and not re.search(r"\b(?:since|until|till)\b", clause.plain):
        earliest = latest = None
    if claim_type == "progress" and latest and heard.said_on and (heard.said_on - latest).days > 400:
        return None  # of another life: "we founded it five years ago"
    valid_from, valid_to = place_in_time(claim_type, heard.said_on, earliest, latest)
    return ProposedClaim(
        claim_type=claim_type,
        statement=finish(write_days(statement, heard.said_on, past=past))
        if statement
        else say_in_context(name, clause, heard),
        modality=modality,
        quotes=((quote(clause), "supporting"),),
        method=METHOD,
        holder=name,
        subject=subject or (vp_words if says_enough else None) or topic or vp_words,
        polarity=polarity,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _state(clause: Clause, heard: Heard, name: str, says: str, vp: str, *, past: bool) -> str | None:
    if len(clause.words.split()) > 45:
        return None
    if says:
        return fill(says, name, vp)
    plain = clause.plain
    if not re.match(r"I\b", plain) or "_" in plain or (len(plain.split()) < 3 and not heard.asked_own):
        return None
    told = conjugate(plain[1:], past=past) if is_self_contained(plain[1:]) else None
    lead = shift(clause.sentence.shape[clause.start : clause.core].strip())
    if told is None or lead is None:
        return None
    return f"{lead[:1].upper()}{lead[1:].rstrip(',')}, {name}{told}" if lead else f"{name}{told}"


def say_in_context(name: str, clause: Clause, heard: Heard) -> str:
    """Return who said what, with what was said just before where the words alone say too little."""
    sentence = clause.sentence
    if len(clause.words.split()) >= 12 or sentence.number == 0:
        return say(name, clause.words, heard.asked_own)
    return say(name, f"{heard.before if len(heard.before) <= 200 else ''} {clause.words}".strip())


def say(name: str, words: str, asked: str = "") -> str:
    """Return who said what, word for word; short words with the question they answer."""
    words = re.sub(r"\s+", " ", words.replace("\0", "")).strip()
    words = words.replace("“", "‘").replace("”", "’").replace('"', "'")
    if asked and len(words.split()) < 8:
        question = re.sub(r"\s+", " ", asked).strip().replace('"', "'").replace("“", "‘").replace("”", "’")
        question = question if len(question) <= 160 else "… " + question[-160:].split(" ", 1)[-1]
        return f"{'Asked' if '?' in question else 'In reply to'} “{question}”, {name} said: “{words[:1_500]}”"
    return f"{name} said: “{words[:1_800]}”"


def place_in_time(
    claim_type: ClaimType, said_on: date | None, earliest: date | None, latest: date | None
) -> tuple[date | None, date | None]:
    """Return from when until when a claim holds, in order or open.

    What is intended holds from the day it is said, or the day it is to begin, until it is due; what is reported, within
    the days named, at the latest until it is said; what is felt or thought, from the day it is said.
    """
    if said_on is None:
        return None, None
    first: date | None
    last: date | None
    if claim_type == "progress":
        first, last = earliest, min(latest or said_on, said_on)
    elif claim_type == "commitment":
        first, last = said_on, latest
    elif claim_type == "decision":
        first, last = max(earliest or said_on, said_on), None
    elif claim_type == "goal":
        first, last = said_on, latest
    elif claim_type == "belief":
        first, last = earliest or said_on, latest
    else:
        first, last = said_on, None
    if first and last and first > last:
        return (None, last) if claim_type == "progress" else (first, None)
    return first, last


def add_quote(claim: ProposedClaim, more: Candidate) -> ProposedClaim:
    """Return the claim with one more supporting quote."""
    if any(more.exact == one.exact and more.turn_index == one.turn_index for one, _ in claim.quotes):
        return claim
    return replace(claim, quotes=(*claim.quotes, (more, "supporting")))


def clean(claims: Iterable[ProposedClaim]) -> list[ProposedClaim]:
    """Return the claims without the control characters that a transcript may carry and no store takes."""
    return [
        replace(one, statement=_clean(one.statement), subject=_clean(one.subject or "")[:300] or None) for one in claims
    ]


def _clean(words: str) -> str:
    if words.isprintable():
        return words
    return "".join(" " if unicodedata.category(mark) in {"Cc", "Cs"} else mark for mark in words).strip()
