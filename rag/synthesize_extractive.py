"""Answers from quotes alone: picks the sentences of the sources that meet the question, and needs no model."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from rag.embedding.protocol import Embedder
from rag.evidence import EvidenceClaim, EvidencePattern
from rag.lexical import term_indices
from rag.synthesize import (
    AnswerSentence,
    Citation,
    Coverage,
    Material,
    SourceSentence,
    Synthesis,
    cite,
    describe_searched,
    describe_source,
)
from rag.synthesize_evidence import (
    ClaimsAt,
    Shown,
    choose_pattern,
    find_plan,
    introduce,
    is_settled,
    list_settled,
    show_claim,
    show_claims,
    show_pattern,
)
from rag.synthesize_score import Scored, measure_support, score_sentences
from rag.understand import EVERYTHING, Understanding
from rag.understand_evidence import find_asked_evidence
from rag.understand_topic import CALENDAR, list_topic_words, strip_scope

REFUSAL_THRESHOLD: Final = 0.34
"""Below this support there is no answer. On five LoCoMo conversations it refuses 64 % of questions that belong to
another conversation and 6 % of those that have an answer; of questions that only swap who did it, 7 %: neither words
nor likeness tell those apart."""

MAX_QUOTES: Final = 4
_NEAR_BEST: Final = 0.75
"""A further quote needs this share of the best one's score."""

_SETTLES: Final = 0.9
"""The same where the best one is a promise with what became of it."""

_FAR_FROM_BEST: Final = 0.5
"""The same where the question is about change, and the other end of it may be said in other words."""
_TELLING: Final = 16
"""Words after which a quote says enough; a shorter one goes on with what its speaker said next."""
_OVER_TIME: Final = re.compile(
    r"\b(?:chang(?:ed?|es|ing)|trend|over time|over the (?:year|months|half-year)|compared|develop(?:ed|ment)|progress|"
    r"evolv\w+|then and now|how often|again and again|keeps?|consistent|each session|every session)\b",
    re.IGNORECASE,
)
_PROMISES: Final = re.compile(r"\b(?:commit|promis)", re.IGNORECASE)
_PLANNED: Final = "What is known is a plan:"
_LEANS: Final = re.compile(r"(?:It|That|This|He|She|They|So|And|But|Because)\b")


async def answer_by_quotes(
    material: Material, understanding: Understanding, coverage: Coverage, embedder: Embedder | None
) -> Synthesis:
    """Return an answer of verbatim quotes, each with speaker and citation, or an honest refusal.

    Deterministic for the same material. Without an embedder only words count.
    """
    asked = find_asked_evidence(understanding.question)
    scored = await score_sentences(material, understanding, embedder)
    support = measure_support(scored)
    topic = _weigh_topic(understanding, material)
    about = frozenset(topic) - CALENDAR
    shown = list_settled(material, asked, understanding.scope, about)[: 2 * MAX_QUOTES]
    pattern = None
    if not shown:
        pattern = await choose_pattern(strip_scope(understanding), material, asked, topic, embedder)
        shown = show_pattern(pattern, material) if pattern else []
    if not shown and support < REFUSAL_THRESHOLD:
        return refuse(understanding, coverage, support)
    if not shown:
        spread = bool(_OVER_TIME.search(understanding.question))
        # a promise with what became of it is the answer; what comes near it is another promise
        share = (
            _SETTLES if is_settled(scored[0].sentence, material, asked) else _FAR_FROM_BEST if spread else _NEAR_BEST
        )
        chosen = _choose(scored, material, share, spread=spread)
        # what X said is answered by what X promised; what Y did about it is not
        if asked.happened and (asked.outcome or not understanding.speakers):
            plan = find_plan(chosen, scored[0].sentence, material)
            if plan is not None:
                return _refuse_beyond(plan, material, refuse(understanding, coverage, support))
        shown = show_claims(chosen, material, asked)[: MAX_QUOTES + 2]
        if _PROMISES.search(understanding.question) and not (asked.outcome or topic):
            # all that was promised is asked for; what merely sounds like it is no promise
            shown = [one for one in shown if one.claim and one.claim.claim_type == "commitment"] or shown
    return _tell(shown, pattern, material, support)


def _tell(shown: Sequence[Shown], pattern: EvidencePattern | None, material: Material, support: float) -> Synthesis:
    """Return the answer that shows these quotes, a sentence each, after what they show together."""
    citations: list[Citation] = []
    sentences: list[AnswerSentence] = []
    previous: SourceSentence | None = None
    for one in shown:
        ordinals = tuple(range(len(citations) + 1, len(citations) + 2 + len(one.more)))
        for ordinal, quote in zip(ordinals, (one.sentence, *one.more), strict=True):
            citations.append(cite(material, quote.passage, quote.char_start, quote.char_end, ordinal=ordinal))
        if pattern is not None and one.sentence.text in pattern.statement:
            continue  # it has said so
        said = _present(one, previous, material)
        sentences.append(AnswerSentence(f"{said} {''.join(f'[{n}]' for n in ordinals)}", ordinals, one.evidence))
        previous = one.sentence
    if pattern is not None:
        ordinals = tuple(range(1, len(citations) + 1))
        told = f"{pattern.statement} {''.join(f'[{n}]' for n in ordinals)}"
        sentences.insert(0, AnswerSentence(told, ordinals, (pattern.id,)))
    return Synthesis(sentences=tuple(sentences), citations=tuple(citations), refused=False, support=support)


def _refuse_beyond(plan: EvidenceClaim, material: Material, refusal: Synthesis) -> Synthesis:
    """Return the refusal with the plan beyond which nothing is known."""
    told = _tell([show_claim(plan, material)], None, material, refusal.support)
    first = AnswerSentence(f"{_PLANNED} {told.sentences[0].text}", told.sentences[0].citations, (plan.id,))
    return replace(refusal, sentences=(*refusal.sentences, first), citations=told.citations)


def _weigh_topic(understanding: Understanding, material: Material) -> dict[int, float]:
    """Return the terms of the question that tell what it is about, not which kind of answer it wants, by rarity."""
    terms = {term for word in list_topic_words(understanding) for term in term_indices(word)}
    return {term: weight for term in terms if (weight := material.idf.get(term, 0.0)) > 0}


def refuse(understanding: Understanding, coverage: Coverage, support: float = 0.0) -> Synthesis:
    """Return the refusal that says what was looked for, where, and how much of it was searched."""
    if understanding.missing:
        said = understanding.missing
    elif searched := describe_searched(coverage):
        where = f" Searched: {understanding.words}." if understanding.words != EVERYTHING else ""
        said = f"I found nothing that answers “{understanding.question.strip()}” in {searched} that you may see.{where}"
    else:
        said = (
            f"There is no session or document that you may see here, so nothing was searched ({understanding.words})."
        )
    return Synthesis(sentences=(AnswerSentence(said),), citations=(), refused=True, support=support)


def _choose(
    scored: Sequence[Scored], material: Material, share: float, *, spread: bool = False
) -> list[SourceSentence]:
    """Return up to four quotes in the order they were said, none repeating another, neighbours joined.

    All have at least this share of the best one's score. `spread` takes one of each source, as what changed shows only
    between them.
    """
    best = scored[0].score
    chosen: list[Scored] = []
    seen: list[frozenset[int]] = []
    sources: set[UUID] = set()
    for item in scored:
        if len(chosen) == MAX_QUOTES + spread or (chosen and item.score < share * best):
            break
        source = material.passages[item.sentence.passage].source_id
        if spread and source in sources:
            continue
        terms = frozenset(term_indices(item.sentence.text))
        if any(terms and len(terms & other) > 0.7 * len(terms | other) for other in seen):
            continue
        chosen.append(item)
        seen.append(terms)
        sources.add(source)
    at = ClaimsAt(material)
    # a claim's words were chosen to say enough
    quotes = [item.sentence if at.find(item.sentence) else _complete(item.sentence, material) for item in chosen]
    quotes.sort(key=lambda s: _order_of(s, material))
    joined: list[SourceSentence] = []
    for quote in quotes:
        last = joined[-1] if joined else None
        if last and _same_turn(last, quote) and quote.char_start <= last.char_end + 1:
            joined[-1] = _join(last, quote, material)
        else:
            joined.append(quote)
    return joined


def _order_of(sentence: SourceSentence, material: Material) -> tuple[float, str, int]:
    passage = material.passages[sentence.passage]
    return (passage.held_at.timestamp() if passage.held_at else 0.0, str(passage.source_id), sentence.char_start)


def _same_turn(one: SourceSentence, other: SourceSentence) -> bool:
    return one.passage == other.passage and one.turn == other.turn


def _join(one: SourceSentence, other: SourceSentence, material: Material) -> SourceSentence:
    passage = material.passages[one.passage]
    start, end = one.char_start, max(one.char_end, other.char_end)
    return replace(one, char_end=end, text=passage.text[start - passage.char_start : end - passage.char_start])


def _complete(sentence: SourceSentence, material: Material) -> SourceSentence:
    """Return the sentence with its neighbours in the turn where it leans on the one before or says little alone."""
    turn = [s for s in material.sentences if _same_turn(s, sentence)]
    place = turn.index(sentence)
    quote = sentence
    if (
        place
        and (_LEANS.match(sentence.text) or len(sentence.text.split()) < 8)
        and not turn[place - 1].text.endswith("?")
    ):
        quote = _join(turn[place - 1], quote, material)
    for following in turn[place + 1 : place + 3]:
        if len(quote.text.split()) >= _TELLING or following.text.endswith("?"):
            break
        quote = _join(quote, following, material)
    return quote


def _present(shown: Shown, previous: SourceSentence | None, material: Material) -> str:
    """Return the quote with who said it and where, as a person would tell it."""
    sentence = shown.sentence
    passage = material.passages[sentence.passage]
    quote = " … ".join(f"“{' '.join(one.text.split())}”" for one in (sentence, *shown.more))
    same = previous is not None and material.passages[previous.passage].source_id == passage.source_id
    if passage.source_kind == "document":
        named = describe_source(passage).replace("“", "‘").replace("”", "’")
        return f"It also says: {quote}" if same else f"{named} says: {quote}"
    speaker = sentence.speaker or "a speaker"
    lead, said, known = introduce(shown, speaker)
    if same and previous is not None and previous.speaker == sentence.speaker:
        place = "Later"
    else:
        place = "There" if same else f"In {describe_source(passage)}"
    return f"{f'{lead}: {place[0].lower()}{place[1:]}' if lead else place}, {said}: {quote}{known}"
