"""Tells a model what was derived from its passages: which few claims and patterns, and what each stands on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from rag.evidence import Evidence, EvidenceClaim
from rag.lexical import term_indices
from rag.synthesize import Material
from rag.synthesize_evidence import MOST_PATTERN_QUOTES, quote_claim
from rag.understand_evidence import AskedEvidence

MOST_NOTES: Final = 12
"""Claims and patterns that a model is told of besides its passages."""


@dataclass(frozen=True, slots=True)
class Note:
    """One claim or pattern in words, the passages it stands on (from 0), and the rows that it tells."""

    text: str
    passages: tuple[int, ...]
    evidence: tuple[UUID, ...]


def choose_evidence(evidence: Evidence, asked: AskedEvidence, idf: Mapping[int, float]) -> Evidence:
    """Return the few claims and patterns nearest to the question, with what settles or supports them."""
    patterns = tuple(p for p in evidence.patterns if p.kind in asked.pattern_kinds)
    patterns = tuple(sorted(patterns, key=lambda p: -_weigh(p.statement, idf))[: MOST_NOTES // 3])
    wanted = [
        claim
        for claim in evidence.claims.values()
        if claim.claim_type in asked.claim_types and (claim.in_scope or asked.outcome)
    ]
    wanted.sort(key=lambda claim: -_weigh(f"{claim.statement} {claim.quotes[0].exact}", idf))
    ids = {claim.id for claim in wanted[: MOST_NOTES - len(patterns)]}
    ids |= {claim.settled_by for claim in wanted if claim.id in ids and claim.settled_by}
    ids |= {id_ for p in patterns for id_ in (*p.supporting, *p.counter)}
    return Evidence({id_: claim for id_, claim in evidence.claims.items() if id_ in ids}, patterns)


def _weigh(words: str, idf: Mapping[int, float]) -> float:
    return sum(idf.get(term, 0.0) for term in term_indices(words))


def list_notes(material: Material) -> list[Note]:
    """Return a note for each pattern and claim of the material, by time; what settles a claim is in its note."""
    claims = material.evidence.claims
    notes = []
    for pattern in material.evidence.patterns:
        ids = [id_ for id_ in claims if id_ in {*pattern.supporting, *pattern.counter}][:MOST_PATTERN_QUOTES]
        told = f"{pattern.kind} ({pattern.sessions_supporting} of {pattern.sessions_examined} sessions)"
        notes.append(_note(f"{told}: {pattern.statement}", [claims[id_] for id_ in ids], material, pattern.id))
    settling = {claim.settled_by for claim in claims.values()}
    supporting = {id_ for pattern in material.evidence.patterns for id_ in (*pattern.supporting, *pattern.counter)}
    for claim in claims.values():
        later = claims.get(claim.settled_by) if claim.settled_by else None
        if later is None and (claim.id in settling or claim.id in supporting):
            continue
        linked = [claim, later] if later else [claim]
        notes.append(_note(f"{claim.claim_type}, {claim.status}: {claim.statement}", linked, material))
    return notes


def _note(words: str, claims: Sequence[EvidenceClaim], material: Material, *more: UUID) -> Note:
    places = tuple(dict.fromkeys(quote_claim(claim, material).passage for claim in claims))
    return Note(words, places, (*more, *(claim.id for claim in claims)))
