"""Scores the sentences of sources by how well they meet a question: their words, their meaning, what they claim."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from rag.embedding.protocol import Embedder, Matrix
from rag.evidence import EvidenceClaim
from rag.lexical import list_words, term_indices
from rag.synthesize import Material, SourceSentence
from rag.synthesize_evidence import ClaimsAt
from rag.understand import Person, Understanding
from rag.understand_evidence import find_asked_evidence
from rag.understand_topic import WEEKDAY, Cues, find_cues, is_open, list_topic_terms, strip_scope

_QUESTION_PENALTY: Final = 0.35
_CUE_WEIGHT: Final = 3.0
"""A sentence that sounds like an answer, such as one with a date for "when", has as much as one rather rare word."""
_LOWEST: Final = 8
"""Place from which on a passage's rank says nothing more: those behind it are there for what was derived from them."""

_MAX_EMBEDDED: Final = 40
"""Sentences whose meaning is compared; the rest have no word of the question and lie in the lower passages."""
_REPLY: Final = 12
"""Words of a reply up to which what it replies to is needed to understand it."""

_AROUND: Final = 6
"""Turns before and after in which what a claim is about may have been named."""
_NOWADAYS: Final = re.compile(
    r"\b(?:these days|nowadays|currently|at the moment|right now|lately|by now)\b|\bnow\W*$", re.IGNORECASE
)
_RECENCY: Final = 0.2
"""What the latest session has before the first one where a question asks how things are now."""

_OUTCOME: Final = 0.15
"""Share of its support that a promise whose outcome is known has before others where a question asks for it."""

_DEADLINE: Final = re.compile(
    rf"\b(?:by|before|until|on) (?:\w+ ){{0,2}}?(?:{WEEKDAY}|tomorrow|next|the \w+)", re.IGNORECASE
)
_FIRST_PERSON: Final = re.compile(r"\b(?:I|I['’]\w+|me|my|mine|myself|we|our)\b")


@dataclass(frozen=True, slots=True)
class Scored:
    """A sentence, its score among the others, and its support: 0 to 1, how well it meets the question."""

    sentence: SourceSentence
    score: float
    support: float


def measure_support(scored: Sequence[Scored]) -> float:
    """Return 0 to 1, how well the best sentence meets the question."""
    return max((item.support for item in scored), default=0.0)


async def score_sentences(material: Material, understanding: Understanding, embedder: Embedder | None) -> list[Scored]:
    """Return the sentences with their scores, the best first."""
    within = [sentence for sentence in material.sentences if sentence.passage not in material.beside]
    sentences = _keep_speakers(within, understanding.speakers)
    if not sentences:
        return []
    asked = strip_scope(understanding)
    cues = find_cues(asked)
    wants = find_asked_evidence(understanding.question)
    wanted = wants.claim_types
    told = _find_told(material, wanted)
    kinds = frozenset(n for n, s in enumerate(sentences) if (claim := told.get(id(s))) and claim.claim_type in wanted)
    lexical = _score_words((asked, cues), kinds, told, sentences, material)
    dense = await _score_meaning(asked, sentences, lexical, embedder, _find_context(material, told))
    if is_open(asked) and embedder:
        lexical = dense = await _score_centrality(sentences, embedder)
    elif cues and not list_topic_terms(asked, cues):
        dense = lexical  # "What did she commit to?" is answered by what sounds like a commitment, about whatever
    names = _list_names(understanding)
    known = material.evidence.claims.values() if wants.outcome else ()
    settled = {
        id_
        for claim in known
        if claim.settled_by and claim.claim_type == "commitment"
        for id_ in (claim.id, claim.settled_by)
    }
    recent = _rank_recent(material) if _NOWADAYS.search(understanding.question) else {}
    scored = []
    for position, sentence in enumerate(sentences):
        support = 0.5 * lexical[position] + 0.5 * dense[position] if embedder else lexical[position]
        support *= _weigh_attribution(sentence, names)
        score = support
        score += 0.05 * bool(cues and _DEADLINE.search(sentence.text))
        score -= _QUESTION_PENALTY * sentence.text.rstrip("”\"'").endswith("?")
        score -= 0.25 * (len(sentence.text.split()) < 5)
        score -= 0.01 * min(sentence.passage, _LOWEST)
        score += _OUTCOME * support * bool((claim := told.get(id(sentence))) and claim.id in settled)
        score += _RECENCY * recent.get(sentence.passage, 0.0)
        scored.append(Scored(sentence, float(score), float(support)))
    return sorted(scored, key=lambda item: -item.score)


def _rank_recent(material: Material) -> dict[int, float]:
    """Return of each passage how late it was said among them, 0 to 1."""
    held = sorted({passage.held_at for passage in material.passages if passage.held_at is not None})
    place = {moment: position / max(len(held) - 1, 1) for position, moment in enumerate(held)}
    return {n: place[p.held_at] for n, p in enumerate(material.passages) if p.held_at is not None}


def _keep_speakers(sentences: Sequence[SourceSentence], speakers: Sequence[Person]) -> list[SourceSentence]:
    """Return the words of those whose words are asked for; all, where none is theirs and so nobody is known by name."""
    if not speakers:
        return list(sentences)
    ids = {person.id for person in speakers}
    names = {part.lower() for person in speakers for part in (person.name, person.name.split()[0])}
    theirs = [s for s in sentences if s.speaker_id in ids or (s.speaker_label or "").lower() in names]
    return theirs or [s for s in sentences if s.speaker is None]


def _score_words(
    question: tuple[str, Cues],
    kinds: frozenset[int],
    told: Mapping[int, EvidenceClaim],
    sentences: Sequence[SourceSentence],
    material: Material,
) -> list[float]:
    """Return for each sentence the share of the question's words it has, by rarity; its neighbours' count half.

    The words that ask for a kind of answer ("commit", "when") are met by a sentence that sounds like one, or on which
    a claim of that kind stands: those at the positions `kinds`. A claim's own words count as its sentence's.
    """
    asked, cues = question
    weights = {term: material.idf.get(term, 0.0) for term in list_topic_terms(asked, cues)}
    total = sum(weights.values()) + _CUE_WEIGHT * bool(cues or kinds)
    if total == 0:
        return [0.0] * len(sentences)
    own = {id(s): _list_terms(s, told.get(id(s))) & weights.keys() for s in material.sentences}
    near: dict[int, frozenset[int]] = {id(s): own[id(s)] for s in material.sentences}
    for one, other in pairwise(material.sentences):
        if one.passage == other.passage:
            near[id(one)] |= own[id(other)]
            near[id(other)] |= own[id(one)]
    for position in kinds:  # what somebody felt about a thing is said some turns after the thing
        near[id(sentences[position])] |= _list_terms_around(sentences[position], own, material)
    return [
        (
            sum(weights[t] for t in own[id(s)])
            + 0.5 * sum(weights[t] for t in near[id(s)] - own[id(s)])
            + _CUE_WEIGHT * (position in kinds or any(sounds.search(s.text) for _, sounds in cues))
        )
        / total
        for position, s in enumerate(sentences)
    ]


def _list_terms_around(
    sentence: SourceSentence, own: Mapping[int, frozenset[int]], material: Material
) -> frozenset[int]:
    source = material.passages[sentence.passage].source_id
    return frozenset(
        term
        for other in material.sentences
        if own[id(other)]
        and abs(other.turn - sentence.turn) <= _AROUND
        and material.passages[other.passage].source_id == source
        for term in own[id(other)]
    )


def _find_told(material: Material, wanted: frozenset[str]) -> dict[int, EvidenceClaim]:
    """Return, by the identity of a sentence, the claim that stands on it; one of a wanted type first."""
    if not material.evidence:
        return {}
    at = ClaimsAt(material)
    told: dict[int, EvidenceClaim] = {}
    for sentence in material.sentences:
        if claims := at.find(sentence):
            told[id(sentence)] = min(claims, key=lambda claim: claim.claim_type not in wanted)
    return told


def _list_terms(sentence: SourceSentence, claim: EvidenceClaim | None) -> frozenset[int]:
    told = f" {claim.statement} {claim.subject or ''}" if claim else ""
    return frozenset(term_indices(sentence.text + told))


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
    asked: str,
    sentences: Sequence[SourceSentence],
    lexical: Sequence[float],
    embedder: Embedder | None,
    context: Mapping[int, str],
) -> list[float]:
    """Return each sentence's likeness to the question, 0 for those not compared.

    `context` has what a sentence is compared as: "Six. Six-ish." says nothing alone.
    """
    if embedder is None:
        return [0.0] * len(sentences)
    compared = sorted(range(len(sentences)), key=lambda n: (min(sentences[n].passage, _LOWEST) - 8 * lexical[n], n))[
        :_MAX_EMBEDDED
    ]
    texts = [context.get(id(sentences[n]), sentences[n].text) for n in compared]
    vectors: Matrix = await embedder.embed([asked, *texts])
    likeness = np.maximum(vectors[1:] @ vectors[0], 0.0)
    scores = [0.0] * len(sentences)
    for place, position in enumerate(compared):
        scores[position] = float(likeness[place])
    return scores


def _find_context(material: Material, told: Mapping[int, EvidenceClaim]) -> dict[int, str]:
    """Return, by its identity, what a sentence means in its place, where it does not say so itself.

    That is the claim that stands on it, or, where it begins a short reply, the question before with the reply.
    """
    context = {
        id(reply): f"{asked.text} {reply.text}"
        for asked, reply in pairwise(material.sentences)
        if asked.passage == reply.passage
        and asked.turn + 1 == reply.turn
        and asked.speaker != reply.speaker
        and asked.text.rstrip("”\"'").endswith("?")
        and len(reply.text.split()) < _REPLY
    }
    # the question comes without names, so the claim does too
    return context | {place: claim.statement.removeprefix(claim.holder or "").strip() for place, claim in told.items()}


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
