"""Renders citations from stored rows: the words, who said them and what was said around them, never model text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.consents import say_allowed

SourceKind = Literal["transcript", "document"]

CONTEXT: Final = 300
"""Characters shown before and after a quote."""


def link_source(kind: SourceKind, source_id: UUID, *, segment: int | None, char_start: int, char_end: int) -> str:
    """Return where the API shows these characters of a source; the fragment is RFC 5147's range of characters."""
    turn = "" if segment is None else f"?around={segment}"
    return f"/v1/{kind}s/{source_id}{turn}#char={char_start},{char_end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedSpan:
    """Exact characters of one version of one source."""

    ordinal: int
    source_id: UUID
    source_kind: SourceKind
    chunk_id: UUID | None
    content_hash: str
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationView:
    """One citation as shown: `quote` is verbatim, `before` and `after` are its neighbours; times in seconds."""

    ordinal: int
    source_kind: SourceKind
    source_id: UUID
    title: str
    held_at: datetime | None
    coaching_session_id: UUID | None
    client_id: UUID | None
    """Whom the source is about."""
    speaker: str | None
    started_s: float | None
    ended_s: float | None
    segment_first: int | None
    segment_last: int | None
    page: int | None
    quote: str
    before: str
    after: str
    char_start: int
    char_end: int
    content_hash: str

    @property
    def link(self) -> str:
        """Where the words stand in their source."""
        return link_source(
            self.source_kind, self.source_id, segment=self.segment_first, char_start=self.char_start,
            char_end=self.char_end,
        )  # fmt: skip


_SPANS: Final = """
    unnest(CAST(:places AS int[]), CAST(:sources AS uuid[]), CAST(:hashes AS text[]), CAST(:starts AS int[]),
           CAST(:ends AS int[]), CAST(:chunks AS uuid[]))
        AS c (place, source_id, content_hash, char_start, char_end, chunk_id)
"""
_TRANSCRIPTS = text(
    f"""
    SELECT c.place, c.char_start AS quote_start, c.char_end AS quote_end, t.title, t.held_at, t.coaching_session_id,
           t.client_id, s.segment_index, s.text, s.char_start, s.char_end, s.started_s, s.ended_s,
           coalesce(u.full_name, s.speaker) AS speaker
    FROM {_SPANS}
    JOIN rag.transcripts t ON t.id = c.source_id AND t.content_hash = c.content_hash
        AND {say_allowed("t.client_id", "assistant")}
    CROSS JOIN LATERAL (
        SELECT min(segment_index) AS first, max(segment_index) AS last FROM rag.transcript_segments
        WHERE transcript_id = t.id AND char_start < c.char_end AND char_end > c.char_start
    ) quoted
    JOIN rag.transcript_segments s
        ON s.transcript_id = t.id AND s.segment_index BETWEEN quoted.first - 1 AND quoted.last + 1
    LEFT JOIN identity.users u ON u.tenant_id = s.tenant_id AND u.id = s.speaker_id
    ORDER BY c.place, s.segment_index
    """
)
_DOCUMENTS = text(
    f"""
    SELECT c.place, d.title, d.held_at, d.client_id, k.page_first AS page,
           substr(d.text, c.char_start + 1, c.char_end - c.char_start) AS quote,
           right(substr(d.text, 1, c.char_start), {CONTEXT}) AS before,
           substr(d.text, c.char_end + 1, {CONTEXT}) AS after
    FROM {_SPANS}
    JOIN rag.documents d ON d.id = c.source_id AND d.content_hash = c.content_hash
        AND {say_allowed("d.client_id", "assistant")}
    LEFT JOIN rag.document_chunks k ON k.tenant_id = d.tenant_id AND k.id = c.chunk_id
    """
)


_READABLE = text(
    f"""
    SELECT id FROM evidence.claims WHERE id = ANY (CAST(:ids AS uuid[])) AND stale_at IS NULL
      AND {say_allowed("client_id", "assistant")}
    UNION ALL SELECT id FROM evidence.patterns WHERE id = ANY (CAST(:ids AS uuid[])) AND stale_at IS NULL
      AND {say_allowed("client_id", "assistant")}
    """
)


async def find_readable_evidence(session: AsyncSession, ids: Collection[UUID]) -> frozenset[UUID]:
    """Return which of these claims and patterns still stand and are the reader's to see."""
    if not ids:
        return frozenset()
    return frozenset(await session.scalars(_READABLE, {"ids": list(ids)}))


async def list_citation_views(session: AsyncSession, spans: Sequence[CitedSpan]) -> list[CitationView | None]:
    """Return each span as the reader may see it now, in order; None where its source is gone, changed or not theirs."""
    views: dict[int, CitationView] = {}
    for kind, statement in (("transcript", _TRANSCRIPTS), ("document", _DOCUMENTS)):
        places = [place for place, span in enumerate(spans) if span.source_kind == kind]
        if not places:
            continue
        rows = await session.execute(
            statement,
            {
                "places": places,
                "sources": [spans[place].source_id for place in places],
                "hashes": [spans[place].content_hash for place in places],
                "starts": [spans[place].char_start for place in places],
                "ends": [spans[place].char_end for place in places],
                "chunks": [spans[place].chunk_id for place in places],
            },
        )
        by_place: dict[int, list[Row[tuple[object, ...]]]] = {}
        for row in rows:
            by_place.setdefault(row.place, []).append(row)
        view = _view_turns if kind == "transcript" else _view_document
        views |= {place: view(spans[place], found) for place, found in by_place.items()}
    return [views.get(place) for place in range(len(spans))]


def _view_turns(span: CitedSpan, rows: Sequence[Row[tuple[object, ...]]]) -> CitationView:
    quoted = [row for row in rows if row.char_start < span.char_end and row.char_end > span.char_start]
    first, last = quoted[0], quoted[-1]
    whole = "\n".join(row.text for row in quoted)
    start, end = span.char_start - first.char_start, span.char_end - first.char_start
    previous = [f"{row.speaker or '…'}: {row.text}" for row in rows if row.segment_index < first.segment_index]
    following = [f"{row.speaker or '…'}: {row.text}" for row in rows if row.segment_index > last.segment_index]
    before = "\n".join([*previous, whole[:start]]).strip()
    after = "\n".join([whole[end:], *following]).strip()
    return CitationView(
        ordinal=span.ordinal, source_kind="transcript", source_id=span.source_id, title=first.title,
        held_at=first.held_at, coaching_session_id=first.coaching_session_id, client_id=first.client_id,
        speaker=first.speaker, started_s=first.started_s, ended_s=last.ended_s, segment_first=first.segment_index,
        segment_last=last.segment_index, page=None, quote=whole[start:end],
        before=before[-CONTEXT:], after=after[:CONTEXT],
        char_start=span.char_start, char_end=span.char_end, content_hash=span.content_hash,
    )  # fmt: skip


def _view_document(span: CitedSpan, rows: Sequence[Row[tuple[object, ...]]]) -> CitationView:
    row = rows[0]
    return CitationView(
        ordinal=span.ordinal, source_kind="document", source_id=span.source_id, title=row.title, held_at=row.held_at,
        coaching_session_id=None, client_id=row.client_id, speaker=None, started_s=None, ended_s=None,
        segment_first=None, segment_last=None, page=row.page, quote=row.quote, before=row.before, after=row.after,
        char_start=span.char_start, char_end=span.char_end, content_hash=span.content_hash,
    )  # fmt: skip
