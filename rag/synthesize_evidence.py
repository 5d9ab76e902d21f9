"""Answers from what was derived: promises with what became of them, patterns across sessions, each in exact words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import numpy as np

from rag.embedding.protocol import Embedder, Matrix
from rag.evidence import Evidence, EvidenceClaim, EvidencePattern, EvidenceQuote
from rag.lexical import term_indices
from rag.passages import Passage, Scope
from rag.synthesize import Material, SourceSentence
from rag.understand_evidence import AskedEvidence
from rag.understand_times import format_day

MOST_PATTERN_QUOTES: Final = 5
MOST_MORE: Final = 2
"""Further quotes told with the first one of a claim."""

PATTERN_THRESHOLD: Final = 0.35
"""Relevance, 0 to 1, below which a pattern is about something else than the question."""

_COMPARED: Final = 12
"""Patterns whose meaning is compared with the question's."""

_VERBS: Final = {
    "commitment": "committed",
    "decision": "decided",
    "goal": "named a goal",
    "obstacle": "named an obstacle",
    "progress": "reported",
}
_SETTLED: Final = {
    "kept": "That was kept",
    "broken": "That was not kept",
    "retracted": "That was taken back",
    "superseded": "That changed",
}
_AFTERTHOUGHT: Final = frozenset({"change", "commitment_record", "trend", "contradiction"})


@dataclass(frozen=True, slots=True)
class Shown:
    """One quote to show, with the claim it is shown for and the claim that it settles.

    `more` are further words that the claim stands on, such as the day named in the next turn.
    """

    sentence: SourceSentence
    claim: EvidenceClaim | None = None
    settles: EvidenceClaim | None = None
    more: tuple[SourceSentence, ...] = ()

    @property
    def evidence(self) -> tuple[UUID, ...]:
        """The claims that are told with the quote."""
        return tuple(claim.id for claim in (self.claim, self.settles) if claim is not None)


def add_evidence(material: Material, evidence: Evidence) -> Material:
    """Return the material with the words of every claim among its passages and sentences.

    Words that a retrieved passage holds are not added again.
    """
    passages, sentences = list(material.passages), list(material.sentences)
    beside: set[int] = set()
    known = {(material.passages[s.passage].source_id, s.char_start, s.char_end) for s in sentences}
    for claim in evidence.claims.values():
        for quote in claim.quotes:
            if any(_holds(passage, quote) for passage in passages) or (
                (quote.source_id, quote.char_start, quote.char_end) in known
            ):
                continue
            known.add((quote.source_id, quote.char_start, quote.char_end))
            sentences.append(_to_sentence(quote, len(passages)))
            if not claim.in_scope:
                beside.add(len(passages))
            passages.append(_to_passage(quote))
    return replace(
        material, passages=tuple(passages), sentences=tuple(sentences), evidence=evidence, beside=frozenset(beside)
    )


def _holds(passage: Passage, quote: EvidenceQuote) -> bool:
    return (
        passage.source_id == quote.source_id
        and passage.content_hash == quote.content_hash
        and passage.char_start <= quote.char_start
        and quote.char_end <= passage.char_end
    )


def _to_passage(quote: EvidenceQuote) -> Passage:
    return Passage(
        chunk_ids=(), source_id=quote.source_id, source_kind=quote.source_kind, object_id=quote.object_id,
        title=quote.title, content_hash=quote.content_hash, held_at=quote.held_at, client_id=quote.client_id,
        coaching_session_id=quote.coaching_session_id, text=quote.exact, char_start=quote.char_start,
        char_end=quote.char_end, segment_first=quote.segment_first, segment_last=quote.segment_last,
        speakers=(quote.speaker_label,) if quote.speaker_label else (), started_s=quote.started_s,
        ended_s=quote.ended_s, page_first=None, page_last=None, heading=None, score=0.0,
    )  # fmt: skip


def _to_sentence(quote: EvidenceQuote, passage: int) -> SourceSentence:
    return SourceSentence(
        passage=passage, text=quote.exact, char_start=quote.char_start, char_end=quote.char_end,
        turn=quote.segment_first or 0, speaker=quote.speaker, speaker_label=quote.speaker_label,
        speaker_id=quote.speaker_id, started_s=quote.started_s,
    )  # fmt: skip


class ClaimsAt:
    """The claims of a material, by where their supporting quotes stand."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self._quoted: dict[UUID, list[tuple[int, int, EvidenceClaim]]] = {}
        for claim in material.evidence.claims.values():
            for quote in claim.quotes:
                if quote.role == "supporting":
                    places = self._quoted.setdefault(quote.source_id, [])
                    places.append((quote.char_start, quote.char_end, claim))

    def find(self, sentence: SourceSentence) -> list[EvidenceClaim]:
        """Return the claims that stand on words of the sentence."""
        source = self._material.passages[sentence.passage].source_id
        return [
            claim
            for start, end, claim in self._quoted.get(source, ())
            if start < sentence.char_end and end > sentence.char_start
        ]


def is_settled(sentence: SourceSentence, material: Material, asked: AskedEvidence) -> bool:
    """Tell whether the question asks what became of something and the sentence is a part of that."""
    if not (asked.outcome and material.evidence):
        return False
    settling = {claim.settled_by for claim in material.evidence.claims.values()}
    return any(claim.settled_by or claim.id in settling for claim in ClaimsAt(material).find(sentence))


def find_plan(quotes: Sequence[SourceSentence], best: SourceSentence, material: Material) -> EvidenceClaim | None:
    """Return the promise that the best quote makes, where none of the quotes tells what became of one.

    That would be said in a later session, or settle it.
    """
    at = ClaimsAt(material)
    plan = next((c for c in at.find(best) if c.claim_type == "commitment"), None)
    if plan is None or plan.settled_by is not None or plan.held_at is None:
        return None
    if any(claim.settled_by for quote in quotes for claim in at.find(quote)):
        return None
    held = [material.passages[quote.passage].held_at for quote in quotes]
    return None if any(moment is not None and moment > plan.held_at for moment in held) else plan


def show_claims(quotes: Sequence[SourceSentence], material: Material, asked: AskedEvidence) -> list[Shown]:
    """Return the quotes with the claims they are shown for, and, where it is asked, with what settled them."""
    if not material.evidence:
        return [Shown(quote) for quote in quotes]
    at, claims = ClaimsAt(material), material.evidence.claims
    settled = {claim.settled_by: claim for claim in claims.values() if claim.settled_by}
    follow = asked.outcome or bool(asked.pattern_kinds & _AFTERTHOUGHT)
    shown: list[Shown] = []
    for quote in quotes:
        found = at.find(quote)
        wanted = next((c for c in found if c.claim_type in asked.claim_types), None)
        told = next((c for c in found if follow and (c.settled_by in claims or c.id in settled)), wanted)
        if told is None:
            shown.append(Shown(quote))
            continue
        if not follow:
            shown.append(show_claim(told, material, quote=quote))
            continue
        earlier = settled.get(told.id)
        later = claims.get(told.settled_by) if told.settled_by else None
        if earlier is not None:
            shown += [show_claim(earlier, material), show_claim(told, material, earlier, quote=quote)]
        else:
            shown.append(show_claim(told, material, quote=quote))
        if later is not None:
            shown.append(show_claim(later, material, told))
    return _drop_repeats(shown, material)


def _drop_repeats(shown: Iterable[Shown], material: Material) -> list[Shown]:
    """Return each stretch of a source once; the telling of what it settles wins."""
    kept: list[Shown] = []
    for one in shown:
        same = next((n for n, other in enumerate(kept) if _overlap(one.sentence, other.sentence, material)), None)
        if same is None:
            kept.append(one)
        elif one.settles and not kept[same].settles:
            kept[same] = replace(kept[same], claim=one.claim, settles=one.settles)
    told = [one.sentence for one in kept]
    return [
        replace(one, more=tuple(m for m in one.more if not any(_overlap(m, other, material) for other in told)))
        for one in kept
    ]


def quote_claim(claim: EvidenceClaim, material: Material) -> SourceSentence:
    """Return the claim's first quote as a sentence of the material."""
    return _place(claim.quotes[0], material)


def _place(quote: EvidenceQuote, material: Material) -> SourceSentence:
    """Return the quote as a sentence of the material, in which `add_evidence` put its words."""
    number = next(n for n, passage in enumerate(material.passages) if _holds(passage, quote) or _is(passage, quote))
    return _to_sentence(quote, number)


def _is(passage: Passage, quote: EvidenceQuote) -> bool:
    return (passage.source_id, passage.char_start) == (quote.source_id, quote.char_start)


def show_claim(
    claim: EvidenceClaim, material: Material, settles: EvidenceClaim | None = None, quote: SourceSentence | None = None
) -> Shown:
    """Return the claim by `quote`, or by its first supporting one, with what else it stands on."""
    quotes = [_place(one, material) for one in claim.quotes if one.role == "supporting"]
    first = quote or quotes[0]
    more = [one for one in quotes if not _overlap(one, first, material)]
    return Shown(first, claim, settles, tuple(more[:MOST_MORE]))


def _overlap(one: SourceSentence, other: SourceSentence, material: Material) -> bool:
    return (
        material.passages[one.passage].source_id == material.passages[other.passage].source_id
        and one.char_start < other.char_end
        and one.char_end > other.char_start
    )


def list_settled(material: Material, asked: AskedEvidence, scope: Scope, terms: frozenset[int]) -> list[Shown]:
    """Return promises that ended as asked, each with what settled it, by time; `terms` are the question's own.

    In a span of time those count that were made or settled in it. Where the question has a topic, only those on it.
    """
    claims = material.evidence.claims
    found: list[Shown] = []
    for claim in claims.values():
        later = claims.get(claim.settled_by) if claim.settled_by else None
        if claim.status not in asked.statuses or later is None:
            continue
        if not (_is_within(claim, scope) or _is_within(later, scope)):
            continue
        words = frozenset(term_indices(" ".join((claim.statement, claim.quotes[0].exact, later.quotes[0].exact))))
        if terms and not terms & words:
            continue
        found += [show_claim(claim, material), show_claim(later, material, claim)]
    return found


def _is_within(claim: EvidenceClaim, scope: Scope) -> bool:
    held = claim.held_at
    return (
        (scope.held_from is None or (held is not None and held >= scope.held_from))
        and (scope.held_until is None or (held is not None and held < scope.held_until))
        and (not scope.coaching_session_ids or claim.quotes[0].coaching_session_id in scope.coaching_session_ids)
        and (not scope.source_ids or claim.quotes[0].source_id in scope.source_ids)
    )


async def choose_pattern(
    question: str, material: Material, asked: AskedEvidence, weights: Mapping[int, float], embedder: Embedder | None
) -> EvidencePattern | None:
    """Return the pattern of an asked kind that the question is about, or None.

    `weights` are the rarities of the question's own terms; with none it asks for whatever there is of its kind.
    """
    patterns = [pattern for pattern in material.evidence.patterns if pattern.kind in asked.pattern_kinds]
    if not patterns:
        return None
    total = sum(weights.values())
    lexical = [_share(pattern, material, weights) / total if total else 1.0 for pattern in patterns]
    order = sorted(range(len(patterns)), key=lambda n: (-lexical[n], -patterns[n].sessions_supporting))[:_COMPARED]
    if not total:
        return patterns[order[0]]
    scores = {n: lexical[n] for n in order}
    if embedder is not None:
        vectors: Matrix = await embedder.embed([question, *(_tell_shortly(patterns[n], material) for n in order)])
        likeness = np.maximum(vectors[1:] @ vectors[0], 0.0)
        # near in meaning alone is enough: who asks has other words for it
        scores = {
            n: max(float(like), 0.5 * lexical[n] + 0.5 * float(like)) for n, like in zip(order, likeness, strict=True)
        }
    best = max(order, key=lambda n: scores[n])
    return patterns[best] if scores[best] >= PATTERN_THRESHOLD else None


def _share(pattern: EvidencePattern, material: Material, weights: Mapping[int, float]) -> float:
    claims = (material.evidence.claims[id_] for id_ in (*pattern.supporting, *pattern.counter))
    words = " ".join([pattern.statement, pattern.subject or "", *(claim.statement for claim in claims)])
    return sum(weights.get(term, 0.0) for term in term_indices(words))


def _tell_shortly(pattern: EvidencePattern, material: Material) -> str:
    return f"{pattern.statement} {material.evidence.claims[pattern.supporting[0]].statement}"


def show_pattern(pattern: EvidencePattern, material: Material) -> list[Shown]:
    """Return the quotes that a pattern stands on, by time: its first, its last and some between; both sides of one."""
    claims = material.evidence.claims
    ids = [id_ for id_ in claims if id_ in {*pattern.supporting, *pattern.counter}]
    if len(ids) > MOST_PATTERN_QUOTES:
        step = (len(ids) - 1) / (MOST_PATTERN_QUOTES - 1)
        ids = [ids[round(n * step)] for n in range(MOST_PATTERN_QUOTES)]
    settled = {claim.settled_by: claim for claim in claims.values() if claim.id in ids}
    shown = (show_claim(claims[id_], material, settled.get(id_)) for id_ in ids)
    return _drop_repeats(shown, material)


def introduce(shown: Shown, speaker: str) -> tuple[str, str, str]:
    """Return what a quote settles ("That was kept"), how it was said, and what else is known of it, in brackets."""
    claim = shown.claim
    lead = _SETTLED.get(shown.settles.status, "") if shown.settles else ""
    if claim is None or lead:
        return lead, f"{speaker} said", ""
    own = claim.modality == "stated" and claim.quotes[0].speaker == speaker
    verb = _VERBS.get(claim.claim_type, "said") if own else "said"
    due = claim.valid_to if claim.claim_type == "commitment" else None
    return "", f"{speaker} {verb}", f" (by {format_day(due)})" if due else ""
