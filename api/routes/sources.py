"""The sources that citations lead to: transcripts and documents."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from api.deps import SessionDep, needs
from api.errors import list_problem_responses
from api.pagination import BadCursor, CursorQuery, LimitQuery
from api.schemas.sources import DocumentOut, SegmentOut, TranscriptOut
from core.errors import NotFound
from db.models import Document, Transcript, TranscriptSegment
from domain.reading import Read, record_reading

router = APIRouter(prefix="/v1", tags=["sources"], dependencies=[needs("search")])


class TranscriptNotFound(NotFound):
    """There is no such transcript that you may see; search to find the ids of those there are."""


class DocumentNotFound(NotFound):
    """There is no such document that you may see; search to find the ids of those there are."""


@router.get("/transcripts/{transcript_id}", operation_id="getTranscript", responses=list_problem_responses(404))
async def get_transcript(
    transcript_id: UUID,
    session: SessionDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    around: Annotated[int | None, Query(ge=0, le=10_000_000, description="begin a little before this turn")] = None,
) -> TranscriptOut:
    """Read a transcript, a page of turns at a time; `around` opens it where a citation leads."""
    row = await session.scalar(select(Transcript).where(Transcript.id == transcript_id))
    if row is None:
        raise TranscriptNotFound
    first = _decode(cursor) if cursor is not None else max((around or 0) - limit // 4, 0)
    segments = await session.scalars(
        select(TranscriptSegment)
        .where(TranscriptSegment.transcript_id == transcript_id, TranscriptSegment.segment_index >= first)
        .order_by(TranscriptSegment.segment_index)
        .limit(limit)
    )
    shown = [SegmentOut.model_validate(segment) for segment in segments]
    read: Read = {
        "transcript": [row.id], "client": [row.client_id], "coaching_session": [row.coaching_session_id],
    }  # fmt: skip
    await record_reading(session, "transcript_read", read, entity=("transcript", row.id))
    following = shown[-1].segment_index + 1 if shown else row.segment_count
    return TranscriptOut(
        id=row.id, title=row.title, format=row.format, held_at=row.held_at, duration_s=row.duration_s,
        client_id=row.client_id, coach_id=row.coach_id, coaching_session_id=row.coaching_session_id,
        content_hash=row.content_hash, segment_count=row.segment_count, segments=shown,
        next_cursor=str(following) if following < row.segment_count else None,
    )  # fmt: skip


def _decode(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 9):
        raise BadCursor
    return int(cursor)


@router.get("/documents/{document_id}", operation_id="getDocument", responses=list_problem_responses(404))
async def get_document(document_id: UUID, session: SessionDep) -> DocumentOut:
    """Read a document."""
    row = await session.scalar(select(Document).where(Document.id == document_id))
    if row is None:
        raise DocumentNotFound
    read: Read = {"document": [row.id], "client": [row.client_id]}
    await record_reading(session, "document_read", read, entity=("document", row.id))
    return DocumentOut.model_validate(row)
