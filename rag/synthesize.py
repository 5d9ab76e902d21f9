"""What an answer is made of: sentences of sources to choose from, citations of exact characters, coverage."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.consents import say_allowed
from rag.evidence import NO_EVIDENCE, Evidence
from rag.lexical import inverse_document_frequency, term_indices
from rag.passages import Passage, Retrieval, Scope, SourceKind
from rag.understand_times import format_day

MAX_SENTENCES: Final = 1_500
"""Sentences looked at for one answer; ten passages hold a few hundred."""

_BOUNDARY: Final = re.compile(r"(?<=[.!?…])[\"”’')\]]*\s+(?=[^\sa-z])|\n+")
_ABBREVIATION: Final = re.compile(r"(?<![\w'’])(?:mr|mrs|ms|dr|prof|st|vs|approx|e\.g|i\.e|cf|[a-z])\.$", re.IGNORECASE)
_NUMBER_SIGN: Final = re.compile(r"(?<![\w'’])no\.$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSentence:
    """One sentence of a retrieved passage; characters count into the source's text, times in seconds."""

    passage: int
    text: str
    char_start: int
    char_end: int
    turn: int = 0
    speaker: str | None = None
    speaker_label: str | None = None
    speaker_id: UUID | None = None
    started_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One numbered citation: exact characters of one version of one source, and the chunk they were found in."""

    ordinal: int
    source_id: UUID
    source_kind: SourceKind
    chunk_id: UUID | None
    content_hash: str
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """One sentence of an answer, the citations it stands on (none for the product's own notices), what it tells."""

    text: str
    citations: tuple[int, ...] = ()
    evidence: tuple[UUID, ...] = ()
    """Claims and patterns; the sentence is told only while all of them stand and may be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much was searched and how much of it supports the answer; only what the reader may see is counted."""

    sessions_in_scope: int
    sessions_examined: int
    sessions_supporting: int
    documents_in_scope: int
    documents_examined: int
    documents_supporting: int


NOTHING_SEARCHED: Final = Coverage(
    sessions_in_scope=0, sessions_examined=0, sessions_supporting=0,
    documents_in_scope=0, documents_examined=0, documents_supporting=0,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """An answer; `support` is 0 to 1, how well its best sentence meets the question."""

    sentences: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...]
    refused: bool
    support: float

    @property
    def text(self) -> str:
        """The whole answer."""
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What an answer may be made from: passages, their sentences, what was derived, the weight of asked words."""

    passages: tuple[Passage, ...]
    sentences: tuple[SourceSentence, ...]
    idf: Mapping[int, float]
    chunks: Mapping[UUID, tuple[int, int]]
    evidence: Evidence = NO_EVIDENCE
    beside: frozenset[int] = frozenset()
    """Passages that are out of the question's scope: only what leads to them brings them into an answer."""


def split_sentences(given: str) -> list[tuple[int, int]]:
    """Return the (start, end) of each sentence, in order, without the white space between them."""
    spans: list[tuple[int, int]] = []
    start = 0
    for boundary in [*_BOUNDARY.finditer(given), None]:
        end = boundary.start() if boundary else len(given)
        if boundary and "\n" not in boundary[0]:
            closing = len(boundary[0]) - len(boundary[0].lstrip("\"”’')]"))
            end += closing
            before, after = given[max(start, end - 8) : end], given[boundary.end() : boundary.end() + 1]
            if _ABBREVIATION.search(before) or (after.isdigit() and _NUMBER_SIGN.search(before)):
                continue
        piece = given[start:end]
        if stripped := piece.strip():
            offset = start + piece.index(stripped)
            spans.append((offset, offset + len(stripped)))
        start = boundary.end() if boundary else end
    return spans


_TURNS = text(
    """
    SELECT p.passage - 1 AS passage, s.segment_index, s.text, s.char_start, s.started_s, s.speaker_id,
           s.speaker AS label, coalesce(u.full_name, s.speaker) AS speaker
    FROM unnest(CAST(:sources AS uuid[]), CAST(:firsts AS int[]), CAST(:lasts AS int[]))
         WITH ORDINALITY AS p (source_id, first, last, passage)
    JOIN rag.transcript_segments s ON s.transcript_id = p.source_id AND s.segment_index BETWEEN p.first AND p.last
    LEFT JOIN identity.users u ON u.tenant_id = s.tenant_id AND u.id = s.speaker_id
    ORDER BY p.passage, s.segment_index
    """
)
_FREQUENCIES = text("SELECT term, chunks FROM rag.term_frequencies WHERE term = ANY (CAST(:terms AS int[]))")
_CHUNKS = text("SELECT id, char_start, char_end FROM rag.document_chunks WHERE id = ANY (CAST(:ids AS uuid[]))")
_COVERAGE = text(
    f"""
    SELECT count(*) AS transcripts, count(DISTINCT coalesce(coaching_session_id, id)) AS sessions FROM rag.transcripts
    WHERE (CAST(:clients AS uuid[]) = '{{}}' OR client_id = ANY (CAST(:clients AS uuid[])))
      AND (CAST(:sessions AS uuid[]) = '{{}}' OR coaching_session_id = ANY (CAST(:sessions AS uuid[])))
      AND (CAST(:sources AS uuid[]) = '{{}}' OR id = ANY (CAST(:sources AS uuid[])))
      AND (CAST(:held_from AS timestamptz) IS NULL OR held_at >= :held_from)
      AND (CAST(:held_until AS timestamptz) IS NULL OR held_at < :held_until)
      AND {say_allowed("client_id", "assistant")}
    """
)


async def load_material(session: AsyncSession, question: str, passages: Sequence[Passage]) -> Material:
    """Return the passages with their sentences, who said each, and how rare the question's words are here."""
    spoken = [(n, p) for n, p in enumerate(passages) if p.segment_first is not None and p.segment_last is not None]
    sentences: list[SourceSentence] = []
    if spoken:
        rows = await session.execute(
            _TURNS,
            {
                "sources": [p.source_id for _, p in spoken],
                "firsts": [p.segment_first for _, p in spoken],
                "lasts": [p.segment_last for _, p in spoken],
            },
        )
        for row in rows:
            number, passage = spoken[row.passage]
            sentences += cut_turn(
                passage, number, row.text, row.char_start,
                turn=row.segment_index, speaker=row.speaker, label=row.label, speaker_id=row.speaker_id,
                started_s=row.started_s,
            )  # fmt: skip
    for number, passage in enumerate(passages):
        if passage.segment_first is None:
            sentences += cut_turn(passage, number, passage.text, passage.char_start)
    terms = term_indices(question)
    counts = {row.term: row.chunks for row in await session.execute(_FREQUENCIES, {"terms": [0, *terms]})}
    total = max(counts.get(0, 0), 1)
    ids = [chunk for passage in passages for chunk in passage.chunk_ids]
    chunks = {row.id: (row.char_start, row.char_end) for row in await session.execute(_CHUNKS, {"ids": ids})}
    return Material(
        passages=tuple(passages),
        sentences=_drop_repeats(sentences, passages),
        idf={term: inverse_document_frequency(counts.get(term, 0), total) for term in terms},
        chunks=chunks,
    )


def cut_turn(
    passage: Passage,
    number: int,
    given: str,
    char_start: int,
    *,
    turn: int = 0,
    speaker: str | None = None,
    label: str | None = None,
    speaker_id: UUID | None = None,
    started_s: float | None = None,
) -> list[SourceSentence]:
    """Return the turn's sentences that lie within the passage; the turn begins at `char_start` of the source."""
    return [
        SourceSentence(
            passage=number, text=given[start:end], char_start=char_start + start, char_end=char_start + end,
            turn=turn, speaker=speaker, speaker_label=label, speaker_id=speaker_id, started_s=started_s,
        )
        for start, end in split_sentences(given)
        if char_start + start >= passage.char_start and char_start + end <= passage.char_end
    ]  # fmt: skip


def _drop_repeats(sentences: Sequence[SourceSentence], passages: Sequence[Passage]) -> tuple[SourceSentence, ...]:
    """Return each sentence once, though passages may overlap."""
    once = {(passages[s.passage].source_id, s.char_start): s for s in reversed(sentences)}
    return tuple(reversed(once.values()))[:MAX_SENTENCES]


async def count_coverage(session: AsyncSession, scope: Scope, retrieval: Retrieval) -> Coverage:
    """Return what was searched; a search reads everything in scope, so all of it is examined."""
    sessions = transcripts = 0
    if "transcript" in (scope.source_kinds or ("transcript",)):
        row = (
            await session.execute(
                _COVERAGE,
                {
                    "clients": list(scope.client_ids),
                    "sessions": list(scope.coaching_session_ids),
                    "sources": list(scope.source_ids),
                    "held_from": scope.held_from,
                    "held_until": scope.held_until,
                },
            )
        ).one()
        sessions, transcripts = row.sessions, row.transcripts
    documents = max(retrieval.sources_in_scope - transcripts, 0)
    return Coverage(
        sessions_in_scope=sessions, sessions_examined=sessions, sessions_supporting=0,
        documents_in_scope=documents, documents_examined=documents, documents_supporting=0,
    )  # fmt: skip


def cite(material: Material, number: int, char_start: int, char_end: int, *, ordinal: int) -> Citation:
    """Return the citation of these characters of a passage."""
    passage = material.passages[number]
    chunk = next(
        (
            chunk
            for chunk in passage.chunk_ids
            if (span := material.chunks.get(chunk)) is not None and span[0] <= char_start < span[1]
        ),
        None,
    )
    return Citation(
        ordinal=ordinal, source_id=passage.source_id, source_kind=passage.source_kind, chunk_id=chunk,
        content_hash=passage.content_hash, char_start=char_start, char_end=char_end,
    )  # fmt: skip


def describe_source(passage: Passage) -> str:
    """Return the heading of a passage for a reader: its session's day, or its title and page."""
    if passage.source_kind == "transcript":
        return f"the session of {format_day(passage.held_at)}" if passage.held_at else f"“{passage.title}”"
    page = f", page {passage.page_first}" if passage.page_first else ""
    return f"“{passage.title}”{page}"


def describe_searched(coverage: Coverage) -> str:
    """Return how much was searched, such as "4 of 4 sessions and 2 of 2 documents"."""
    parts = [
        f"{examined} of {total} {noun}{'s' * (total != 1)}"
        for examined, total, noun in (
            (coverage.sessions_examined, coverage.sessions_in_scope, "session"),
            (coverage.documents_examined, coverage.documents_in_scope, "document"),
        )
        if total
    ]
    return " and ".join(parts)


def format_moment(held_at: datetime | None, started_s: float | None) -> str:
    """Return a point of a session as a person reads it, such as "7 July 2026, 03:15"."""
    day = format_day(held_at) if held_at else ""
    clock = f"{int(started_s) // 60:02d}:{int(started_s) % 60:02d}" if started_s is not None else ""
    return ", ".join(part for part in (day, clock) if part)
