"""The sources an organisation's answers stand on: what there is, how far each has come, where words are."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.models import DataSource, Document, IngestedObject, IngestionAttempt, Transcript, TranscriptSegment, User
from domain.decisions import NAMED
from domain.readers import CONTENT_URI

SourceState = Literal["ready", "working", "failed", "gone"]
STATES: Final[dict[SourceState, tuple[str, ...]]] = {
    "ready": ("indexed",), "working": ("received",), "failed": ("failed", "refused"), "gone": ("vanished", "expired"),
}  # fmt: skip
MOST_TRIES: Final = 20
"""Tries looked at of an object: a run makes five of an object that goes well, a few more of one that does not."""
MOST_FOUND: Final = 500
"""Places found in one source at once."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source as its reader may see it; times are those of the session and of its arrival."""

    object_id: UUID
    key: str
    title: str
    kind: str | None
    status: str
    error: str | None
    size_bytes: int
    pieces: int
    visibility: str
    client_id: UUID | None
    client: str | None
    coach_id: UUID | None
    coach: str | None
    held_at: datetime | None
    created_at: datetime
    indexed_at: datetime | None
    transcript_id: UUID | None
    document_id: UUID | None
    is_content: bool
    """Written in the product, where it is changed as well."""
    asks_for_speakers: bool
    """A client's session in which nothing is known to be said by them, and nobody said yet who speaks."""

    @property
    def path(self) -> str | None:
        """Where its words are read, None as long as there are none."""
        if self.transcript_id is not None:
            return f"/transcripts/{self.transcript_id}"
        return f"/documents/{self.document_id}" if self.document_id is not None else None


def select_sources(
    *, words: str = "", kind: str | None = None, client_id: UUID | None = None, state: SourceState | None = None,
    object_ids: Collection[UUID] | None = None,
) -> Select[Any]:  # fmt: skip
    """Return the sources the reader may see, as columns of `read_source`; order it by `(created_at, id)`.

    `words` stand in the title, the file's name or the client's name.
    """
    o, t, d, client, coach = IngestedObject, Transcript, Document, aliased(User), aliased(User)
    title = func.coalesce(t.title, d.title, o.title, o.key)
    found_kind = func.coalesce(o.kind, case((t.id.is_not(None), "transcript"), (d.id.is_not(None), "document")))
    query = (
        select(
            o.id, o.key, title, found_kind, o.ingestion_status, o.error, o.size_bytes, o.pieces, o.visibility,
            o.client_id, client.full_name, o.coach_id, coach.full_name,
            func.coalesce(t.held_at, d.held_at, o.held_at), o.created_at, o.indexed_at, t.id, d.id,
            DataSource.uri == CONTENT_URI, _asks_for_speakers(),
        )
        .join(DataSource, DataSource.id == o.data_source_id)
        .outerjoin(t, and_(t.tenant_id == o.tenant_id, t.object_id == o.id))
        .outerjoin(d, and_(d.tenant_id == o.tenant_id, d.object_id == o.id))
        .outerjoin(client, and_(client.tenant_id == o.tenant_id, client.id == o.client_id))
        .outerjoin(coach, and_(coach.tenant_id == o.tenant_id, coach.id == o.coach_id))
    )  # fmt: skip
    for word in words.split()[:10]:
        query = query.where(or_(*(one.icontains(word, autoescape=True) for one in (title, o.key, client.full_name))))
    if kind is not None:
        query = query.where(found_kind == kind)
    if client_id is not None:
        query = query.where(o.client_id == client_id)
    if state is not None:
        query = query.where(o.ingestion_status.in_(STATES[state]))
    if object_ids is not None:
        query = query.where(o.id.in_(object_ids))
    return query


def read_source(row: Row[Any]) -> SourceView:
    """Return a row of `select_sources`."""
    return SourceView(*row[:20])


def _asks_for_speakers() -> ColumnElement[bool]:
    o, t, s = IngestedObject, Transcript, TranscriptSegment
    turns = exists().where(s.tenant_id == t.tenant_id, s.transcript_id == t.id).correlate(t, o)
    return and_(
        t.id.is_not(None), o.client_id.is_not(None), not_(o.sidecar.has_key(NAMED)),
        turns.where(s.speaker.is_not(None)), not_(turns.where(s.speaker_id == o.client_id)),
    )  # fmt: skip


async def list_stages(session: AsyncSession, object_ids: Collection[UUID]) -> dict[UUID, list[IngestionAttempt]]:
    """Return what each object's last run did with it: the newest try of each stage, the first stage first."""
    a = IngestionAttempt
    place = func.row_number().over(partition_by=a.object_id, order_by=(a.started_at.desc(), a.id.desc())).label("place")
    ranked = select(a.id, place).where(a.object_id.in_(object_ids)).subquery()
    rows = await session.scalars(
        select(a).join(ranked, ranked.c.id == a.id).where(ranked.c.place <= MOST_TRIES).order_by(a.started_at, a.id)
    )
    by_object: dict[UUID, list[IngestionAttempt]] = {}
    for attempt in rows:
        by_object.setdefault(attempt.object_id, []).append(attempt)
    return {
        object_id: list({one.stage: one for one in tries if one.run_id == tries[-1].run_id}.values())
        for object_id, tries in by_object.items()
    }


@dataclass(frozen=True, slots=True)
class Found:
    """One place of looked-for words: characters of the source's text, and the turn they stand in."""

    char_start: int
    char_end: int
    turn: int | None = None


async def find_in_transcript(session: AsyncSession, transcript_id: UUID, words: str) -> list[Found]:
    """Return where the words stand in a transcript the reader may see, at most `MOST_FOUND` places, in order.

    No word leaves: what stands there is read, and noted as read, when it is shown.
    """
    s = TranscriptSegment
    rows = await session.execute(
        select(s.segment_index, s.char_start, s.text)
        .where(s.transcript_id == transcript_id, s.text.icontains(words, autoescape=True))
        .order_by(s.segment_index)
        .limit(MOST_FOUND)
    )
    found = (
        Found(row.char_start + start, row.char_start + end, row.segment_index)
        for row in rows for start, end in find_words(row.text, words)
    )  # fmt: skip
    return [one for one, _ in zip(found, range(MOST_FOUND), strict=False)]


async def find_turn(session: AsyncSession, transcript_id: UUID, char: int) -> int:
    """Return the turn that holds this character of a transcript's text, the last one where it is beyond the end."""
    s = TranscriptSegment
    last = func.coalesce(func.max(s.segment_index), 0)
    query = select(last).where(s.transcript_id == transcript_id, s.char_start <= char)
    return int(await session.scalar(query) or 0)


def find_words(text: str, words: str) -> Iterator[tuple[int, int]]:
    """Iterate over the places of these words in a text, whatever their case."""
    if words:
        yield from (found.span() for found in re.finditer(re.escape(words), text, re.IGNORECASE))


async def list_clients(session: AsyncSession, *, limit: int = 500) -> list[tuple[UUID, str, str]]:
    """Return id, address and name of the active clients the reader may see, by name."""
    query = select(User.id, User.email, User.full_name).where(User.role == "client", User.status == "active")
    rows = await session.execute(query.order_by(User.full_name, User.id).limit(limit))
    return [(row.id, row.email, row.full_name or row.email) for row in rows]
