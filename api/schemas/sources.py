"""Transcripts and documents on the wire."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class SegmentOut(BaseModel):
    """One turn of one speaker."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    segment_index: int = Field(description="counted from 0")
    speaker: str | None = Field(description="as in the source")
    speaker_id: UUID | None
    started_s: float | None
    ended_s: float | None
    char_start: int
    char_end: int
    text: str


class TranscriptOut(BaseModel):
    """One session's transcript, a page of its turns at a time."""

    id: UUID
    title: str
    format: str
    held_at: datetime | None
    duration_s: float | None
    client_id: UUID | None
    coach_id: UUID | None
    coaching_session_id: UUID | None
    content_hash: str
    segment_count: int
    segments: list[SegmentOut]
    next_cursor: str | None = Field(description="null on the last page")


class DocumentOut(BaseModel):
    """One document with its text."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: str
    format: str
    held_at: datetime | None
    page_count: int | None
    client_id: UUID | None
    coach_id: UUID | None
    content_hash: str
    text: str
