"""Ingestion on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.schemas.text import CleanText

ObjectStatus = Literal["received", "indexed", "failed", "vanished", "refused", "expired"]


class AttemptOut(BaseModel):
    """One try of one stage."""

    model_config = ConfigDict(from_attributes=True)

    stage: Literal["read", "parse", "chunk", "embed", "index"]
    attempt: int
    run_id: str
    outcome: Literal["running", "succeeded", "failed", "interrupted"]
    started_at: datetime
    finished_at: datetime | None
    error_code: str | None
    error: str | None = Field(description="why it failed and what to do")
    pieces: int | None


class IngestionOut(BaseModel):
    """One object as last seen, and whether it is searchable."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    key: str
    title: str | None
    kind: Literal["transcript", "document"] | None
    ingestion_status: ObjectStatus = Field(serialization_alias="status")
    error: str | None = Field(description="why it failed and what to do")
    size_bytes: int
    pieces: int = Field(description="passages it can be found by")
    visibility: str
    client_id: UUID | None
    coach_id: UUID | None
    held_at: datetime | None
    created_at: datetime
    indexed_at: datetime | None


class IngestionDetail(IngestionOut):
    """One object with what happened at each stage."""

    attempts: list[AttemptOut] = Field(default=[], description="the last first")
    flow_run_id: UUID | None = Field(None, description="the run just started")


class IngestionPage(BaseModel):
    """Objects, the newest first."""

    items: list[IngestionOut]
    next_cursor: str | None = Field(description="null on the last page")


class UploadForm(BaseModel):
    """A file and what is said about it, as a line of manifest.jsonl says it."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile = Field(description="a transcript or document")
    kind: Literal["transcript", "document"] | None = Field(None, description="unset: found out from the content")
    title: CleanText | None = Field(None, max_length=500)
    visibility: Literal["client_visible", "coach_only", "admin_aggregate"] | None = Field(
        None, description="unset: coach_only"
    )
    client: CleanText | None = Field(None, max_length=255, description="e-mail of the client it is about")
    coach: CleanText | None = Field(None, max_length=255, description="e-mail of the coach; a coach's own by default")
    held_at: datetime | None = Field(None, description="when the session was held")
    session: CleanText | None = Field(None, max_length=200, description="the session's id in your own system")
