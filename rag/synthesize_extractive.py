"""Answers from quotes alone: picks the sentences of the sources that meet the question, and needs no model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final
from uuid import UUID

import numpy as np

from rag.embedding.protocol import Embedder, Matrix
from rag.lexical import list_words, term_indices
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
from rag.understand import EVERYTHING, Person, Understanding
from rag.understand_sessions import find_session_phrase
from rag.understand_times import find_time_phrase

REFUSAL_THRESHOLD: Final = 0.34
"""Below this support there is no answer. On five LoCoMo conversations it refuses 64 % of questions that belong to
another conversation and 6 % of those that have an answer; of questions that only swap who did it, 7 %: neither words
nor likeness tell those apart."""

_QUESTION_PENALTY: Final = 0.35
MAX_QUOTES: Final = 4
_CUE_WEIGHT: Final = 3.0
"""A sentence that sounds like an answer, such as one with a date for "when", has as much as one rather rare word."""

_NEAR_BEST: Final = 0.75
"""A further quote needs this share of the best one's score."""

_FAR_FROM_BEST: Final = 0.5
"""The same where the question is about change, and the other end of it may be said in other words."""

_MAX_EMBEDDED: Final = 32
"""Sentences whose meaning is compared; the rest have no word of the question and lie in the lower passages."""

_Cue = tuple[re.Pattern[str], re.Pattern[str]]


def _cue(asked: str, told: str) -> _Cue:
    return re.compile(asked, re.IGNORECASE), re.compile(told, re.IGNORECASE)


_WEEKDAY: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_CUES: Final[tuple[_Cue, ...]] = (
    _cue(
        r"\b(?:commit|promise|agreed? to|action items?|homework|next steps?|plan(?:s|ned)? to|going to do|"
        r"undert(?:ake|ook)|to-?dos?)",
        r"\b(?:I['’]ll|I will|I['’]m going to|I am going to|I promise|I commit|my commitment|I['’]m committing|"
        r"I['’]m (?:taking|giving|telling|writing|asking|calling)|count on me)\b",
    ),
    _cue(
        r"^\W*(?:when|what (?:day|date|time|year|month))\b|\bhow long ago\b|\bsince when\b",
        rf"\b(?:{_WEEKDAY}|january|february|march|april|june|july|august|september|october|november|december|in may|"
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
        "sessions meeting call conversation transcript up go over brief quick please can could last first"
    )
)
_TELLING: Final = 16
"""Words after which a quote says enough; a shorter one goes on with what its speaker said next."""

_OVER_TIME: Final = re.compile(
    r"\b(?:chang(?:ed?|es|ing)|trend|over time|over the (?:year|months|half-year)|compared|develop(?:ed|ment)|progress|"
    r"evolv\w+|then and now|how often|again and again|keeps?|consistent|each session|every session)\b",
    re.IGNORECASE,
)
_DEADLINE: Final = re.compile(
    rf"\b(?:by|before|until|on) (?:\w+ ){{0,2}}?(?:{_WEEKDAY}|tomorrow|next|the \w+)", re.IGNORECASE
)
_LEANS: Final = re.compile(r"(?:It|That|This|He|She|They|So|And|But|Because)\b")
_FIRST_PERSON: Final = re.compile(r"\b(?:I|I['’]\w+|me|my|mine|myself|we|our)\b")


@dataclass(frozen=True, slots=True)
class _Scored:
    sentence: SourceSentence
    score: float
    support: float


async def answer_by_quotes(
    material: Material, understanding: Understanding, coverage: Coverage, embedder: Embedder | None
) -> Synthesis:
    """Return an answer of verbatim quotes, each with speaker and citation, or an honest refusal.

    Deterministic for the same material. Without an embedder only words count.
    """
    scored = await score_sentences(material, understanding, embedder)
    support = measure_support(scored)
    if support < REFUSAL_THRESHOLD:
        return refuse(understanding, coverage, support)
    chosen = _choose(scored, material, spread=bool(_OVER_TIME.search(understanding.question)))
    citations: list[Citation] = []
    sentences: list[AnswerSentence] = []
    previous: SourceSentence | None = None
    for ordinal, sentence in enumerate(chosen, 1):
        citations.append(cite(material, sentence.passage, sentence.char_start, sentence.char_end, ordinal=ordinal))
        said = _present(sentence, previous, material)
        sentences.append(AnswerSentence(f"{said} [{ordinal}]", (ordinal,)))
        previous = sentence
    return Synthesis(sentences=tuple(sentences), citations=tuple(citations), refused=False, support=support)


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


def measure_support(scored: Sequence[_Scored]) -> float:
    """Return 0 to 1, how well the best sentence meets the question."""
    return max((item.support for item in scored), default=0.0)


async def score_sentences(material: Material, understanding: Understanding, embedder: Embedder | None) -> list[_Scored]:
    """Return the sentences with their scores, the best first."""
    sentences = _keep_speakers(material.sentences, understanding.speakers)
    if not sentences:
        return []
    asked = strip_scope(understanding)
    cues = [(question.findall(asked), told) for question, told in _CUES if question.search(asked)]
    lexical = _score_words(asked, cues, sentences, material)
    dense = await _score_meaning(asked, sentences, lexical, embedder)
    if not (set(term_indices(asked)) - _OPEN_TERMS) and embedder:
        lexical = dense = await _score_centrality(sentences, embedder)
    elif cues and not _list_topic_terms(asked, cues):
        dense = lexical  # "What did she commit to?" is answered by what sounds like a commitment, about whatever
    names = _list_names(understanding)
    scored = []
    for position, sentence in enumerate(sentences):
        support = 0.5 * lexical[position] + 0.5 * dense[position] if embedder else lexical[position]
        support *= _weigh_attribution(sentence, names)
        score = support
        score += 0.05 * bool(cues and _DEADLINE.search(sentence.text))
        score -= _QUESTION_PENALTY * sentence.text.rstrip("”\"'").endswith("?")
        score -= 0.25 * (len(sentence.text.split()) < 5)
        score -= 0.01 * sentence.passage
        scored.append(_Scored(sentence, float(score), float(support)))
    return sorted(scored, key=lambda item: -item.score)


def _list_topic_terms(asked: str, cues: Sequence[tuple[list[str], re.Pattern[str]]]) -> set[int]:
    """Return the terms of the question but for those that only tell which kind of answer is wanted."""
    kind = {term for words, _ in cues for word in words for term in term_indices(word)}
    return set(term_indices(asked)) - kind - _OPEN_TERMS


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


def _keep_speakers(sentences: Sequence[SourceSentence], speakers: Sequence[Person]) -> list[SourceSentence]:
    """Return the words of those whose words are asked for; all, where none is theirs and so nobody is known by name."""
    if not speakers:
        return list(sentences)
    ids = {person.id for person in speakers}
    names = {part.lower() for person in speakers for part in (person.name, person.name.split()[0])}
    theirs = [s for s in sentences if s.speaker_id in ids or (s.speaker_label or "").lower() in names]
    return theirs or [s for s in sentences if s.speaker is None]


def _score_words(
    asked: str,
    cues: Sequence[tuple[list[str], re.Pattern[str]]],
    sentences: Sequence[SourceSentence],
    material: Material,
) -> list[float]:
    """Return for each sentence the share of the question's words it has, by rarity; its neighbours' count half.

    The words that ask for a kind of answer ("commit", "when") are met by a sentence that sounds like one.
    """
    weights = {term: material.idf.get(term, 0.0) for term in _list_topic_terms(asked, cues)}
    total = sum(weights.values()) + _CUE_WEIGHT * bool(cues)
    if total == 0:
        return [0.0] * len(sentences)
    own = {id(s): frozenset(term_indices(s.text)) & weights.keys() for s in material.sentences}
    near: dict[int, frozenset[int]] = {id(s): own[id(s)] for s in material.sentences}
    for one, other in pairwise(material.sentences):
        if one.passage == other.passage:
            near[id(one)] |= own[id(other)]
            near[id(other)] |= own[id(one)]
    return [
        (
            sum(weights[t] for t in own[id(s)])
            + 0.5 * sum(weights[t] for t in near[id(s)] - own[id(s)])
            + _CUE_WEIGHT * any(told.search(s.text) for _, told in cues)
        )
        / total
        for s in sentences
    ]


async def _score_centrality(sentences: Sequence[SourceSentence], embedder: Embedder) -> list[float]:
    """Return how much each sentence says of what all of them speak of, for "What was it about?"; the best has 0.7."""
    compared = range(min(len(sentences), _MAX_EMBEDDED))
    vectors: Matrix = await embedder.embed([sentences[n].text for n in compared])
    likeness = vectors @ vectors.mean(axis=0)
    scores = [0.0] * len(sentences)
    for position in compared:  # a few words hardly say what a session is about
        scores[position] = float(likeness[position]) * min(len(sentences[position].text.split()) / 12, 1.0)
    best = max(*scores, 1e-6)
    return [0.7 * score / best for score in scores]


async def _score_meaning(
    asked: str, sentences: Sequence[SourceSentence], lexical: Sequence[float], embedder: Embedder | None
) -> list[float]:
    """Return each sentence's likeness to the question, 0 for those not compared."""
    if embedder is None:
        return [0.0] * len(sentences)
    compared = sorted(range(len(sentences)), key=lambda n: (sentences[n].passage - 8 * lexical[n], n))[:_MAX_EMBEDDED]
    vectors: Matrix = await embedder.embed([asked, *(sentences[n].text for n in compared)])
    likeness = np.maximum(vectors[1:] @ vectors[0], 0.0)
    scores = [0.0] * len(sentences)
    for place, position in enumerate(compared):
        scores[position] = float(likeness[place])
    return scores


def _list_names(understanding: Understanding) -> frozenset[str]:
    """Return the names in the question, lower case: capitalised words that do not begin it."""
    words = re.findall(r"[^\W\d_][\w'’-]*", understanding.question)
    return frozenset(re.sub(r"['’]s?$", "", word).lower() for word in words[1:] if word[0].isupper() and word != "I")


def _weigh_attribution(sentence: SourceSentence, names: frozenset[str]) -> float:
    """Return less than 1 for a sentence that is not about the one asked about: somebody else's "I"."""
    if not names or sentence.speaker is None:
        return 1.0
    speaker = {part.lower() for part in f"{sentence.speaker} {sentence.speaker_label or ''}".split()}
    if names & speaker or names & {word.lower() for word in list_words(sentence.text)}:
        return 1.0
    return 0.6 if _FIRST_PERSON.search(sentence.text) else 0.8


def _choose(scored: Sequence[_Scored], material: Material, *, spread: bool = False) -> list[SourceSentence]:
    """Return up to four quotes in the order they were said, none repeating another, neighbours joined.

    `spread` takes one of each source, as what changed shows only between them.
    """
    best = scored[0].score
    chosen: list[_Scored] = []
    seen: list[frozenset[int]] = []
    sources: set[UUID] = set()
    for item in scored:
        if len(chosen) == MAX_QUOTES + spread or (
            chosen and item.score < (_FAR_FROM_BEST if spread else _NEAR_BEST) * best
        ):
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
    quotes = [_complete(item.sentence, material) for item in chosen]
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


def _present(sentence: SourceSentence, previous: SourceSentence | None, material: Material) -> str:
    """Return the quote with who said it and where, as a person would tell it."""
    passage = material.passages[sentence.passage]
    quote = f"“{' '.join(sentence.text.split())}”"
    same = previous is not None and material.passages[previous.passage].source_id == passage.source_id
    if passage.source_kind == "document":
        named = describe_source(passage).replace("“", "‘").replace("”", "’")
        return f"It also says: {quote}" if same else f"{named} says: {quote}"
    speaker = sentence.speaker or "a speaker"
    if same and previous is not None and previous.speaker == sentence.speaker:
        return f"Later, {speaker} said: {quote}"
    return f"{'There,' if same else f'In {describe_source(passage)},'} {speaker} said: {quote}"
