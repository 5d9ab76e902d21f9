"""Proposes claims of the figures a client gives, with what they count, so that trends have something to stand on."""

import re
from typing import Final

from pipelines.evidence.merge_stems import is_empty
from pipelines.evidence.patterns_figures import OUT_OF, Figure, drop_others, is_measured, list_figures
from pipelines.evidence.records import Candidate, Method, ProposedClaim, SessionText, Turn
from rag.lexical import list_words
from rag.synthesize import split_sentences

MEASURES_VERSION: Final = "1"
ANSWER: Final = 2
"""Sentences at the beginning of a turn that answer what was asked before it."""
RATING: Final = "rating"
"""Subject of a number on a scale."""
_METHOD: Final = Method(name=f"measures/{MEASURES_VERSION}")
_ASKS: Final = re.compile(r"\bhow (?:many|much|often|long)\b|\?\s*$|\bspeaking of\b|\btell me about\b", re.IGNORECASE)
_MINE: Final = re.compile(
    r"\b(?:I|we)(?:[’'](?:m|re|ve))?\b(?! said\b)|[’']s an?\b|^\W*\S+\s+(?:was|is|were)\b", re.IGNORECASE
)
_NOT_NOW: Final = re.compile(
    r"\b(?:I[’']d have|would have|used to|if|always|want|wanted|need|will|going to|promise|people|years? old|said)\b|"
    r"[’']ll\b",
    re.IGNORECASE,
)
_COUNTS: Final = re.compile(r"\b(?:how (?:many|much|often|long)|figure|amount|extras?|total|number)\b", re.IGNORECASE)
_MOST_WORDS: Final = 5
SHORT_ANSWER: Final = 3
"""Words: "Seven hours." after a question is a figure without more."""


def propose_measures(text: SessionText) -> list[ProposedClaim]:
    """Return a claim for each sentence in which the client states a figure of their own, in the order of the text."""
    found = []
    asked = ""
    for turn in text.turns:
        role = text.find_role(turn)
        if role == "client":
            found += _read_turn(text, turn, asked)
        elif role == "coach":
            asked = turn.text
    return found


def _read_turn(text: SessionText, turn: Turn, asked: str) -> list[ProposedClaim]:
    found = []
    before = ""
    for number, (start, end) in enumerate(split_sentences(turn.text)):
        words = turn.text[start:end]
        own = drop_others(words)
        answers = number < ANSWER and bool(_ASKS.search(asked) or OUT_OF.search(asked))
        figures = [] if own.rstrip().endswith("?") or _NOT_NOW.search(own) else list_figures(own)
        figure = next((one for one in figures if _is_stated(own, one, asked=asked if answers else "")), None)
        if figure:
            subject = _find_subject(own, figure, before, asked if answers else "")
            if subject:
                found.append(_make(text, turn, words, subject))
        # "Sleep. I'm getting five hours": a sentence of a word or two names what the next one counts
        before = words if len(list_words(words)) <= _MOST_WORDS else before if number == 0 else ""
    return found


def _is_stated(own: str, figure: Figure, *, asked: str) -> bool:
    """Tell whether the sentence states how much: a rating, an answer of a few words, or what one gets, has or did."""
    if not is_measured(own, figure):
        return bool(OUT_OF.search(own))
    if OUT_OF.search(own) or _COUNTS.search(asked) or OUT_OF.search(asked):
        return True
    if asked and len(list_words(own)) <= SHORT_ANSWER:
        return True
    return bool(figure.unit and _MINE.search(own[: figure.start]))


def _find_subject(own: str, figure: Figure, before: str, asked: str) -> str | None:
    """Return what is counted, in the words it was named by: a scale, the thing counted, what was asked after."""
    if OUT_OF.search(own) or (OUT_OF.search(asked) and figure.value <= 10 and figure.unit is None):
        topic = _name(own[: figure.start]) or ""
        return f"{RATING} {topic}".strip()
    counted = _name(re.split(r"[.,;:!?…—]", own[figure.end :], maxsplit=1)[0], 2) if figure.unit else ""
    context = _name(before) or _name(re.split(r"(?<=[.!?])\s+", asked.strip())[-1] if asked else "")
    subject = " ".join(dict.fromkeys(f"{context or ''} {counted or ''}".split()))
    return subject or None


def _name(words: str, most: int = _MOST_WORDS) -> str | None:
    named = [word for word in list_words(words) if not is_empty(word) or word in ("hours", "hour")]
    return " ".join(named[:most]) or None


def _make(text: SessionText, turn: Turn, words: str, subject: str) -> ProposedClaim:
    name = text.names.get(turn.speaker_id) if turn.speaker_id else None
    said = " ".join(words.split()).replace("“", "‘").replace("”", "’")
    return ProposedClaim(
        claim_type="progress",
        statement=f"{name or turn.speaker or 'The client'} said of {subject}: “{said[:1_800]}”",
        modality="stated",
        quotes=((Candidate(exact=words, speaker=turn.speaker, turn_index=turn.index), "supporting"),),
        method=_METHOD,
        holder=name or turn.speaker,
        subject=subject,
        valid_from=text.held_at.date() if text.held_at else None,
    )
