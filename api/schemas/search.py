"""Search on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas.chat import CoverageOut, SourceOut
from api.schemas.text import CleanText
from rag.answer import MAX_QUESTION
from rag.trace import Narrowing


class SearchIn(BaseModel):
    """What to look for, and where; an absent field does not narrow."""

    model_config = ConfigDict(extra="forbid")

    query: CleanText = Field(min_length=1, max_length=MAX_QUESTION)
    top_k: int = Field(10, ge=1, le=100, description="passages at most")
    client_ids: list[UUID] = Field(default=[], max_length=200)
    coaching_session_ids: list[UUID] = Field(default=[], max_length=1_000)
    source_ids: list[UUID] = Field(default=[], max_length=1_000)
    source_kinds: list[Literal["transcript", "document"]] = Field(default=[], max_length=2)
    speakers: list[CleanText] = Field(default=[], max_length=50, description="labels as in the source, any case")
    held_from: AwareDatetime | None = Field(None, description="inclusive")
    held_until: AwareDatetime | None = Field(None, description="exclusive")
    understand: bool = Field(True, description="also narrow to the clients, sessions and dates the query names")


class SearchOut(BaseModel):
    """The passages, best first, and how much was searched for them."""

    items: list[SourceOut]
    understood: str = Field(description="where was searched, in words")
    chunks_in_scope: int
    sources_in_scope: int
    coverage: CoverageOut


class TraceIn(BaseModel):
    """Who did not find what, asked as they did."""

    model_config = ConfigDict(extra="forbid")

    person: CleanText = Field(min_length=1, max_length=255, description="e-mail address of who searched")
    query: CleanText = Field(min_length=1, max_length=MAX_QUESTION)


class TraceOut(BaseModel):
    """How many passages the organisation has, and how many that person's question lost to what; no passage itself."""

    model_config = ConfigDict(from_attributes=True)

    searchable: int = Field(description="passages of the organisation")
    visible: int = Field(description="of these, those that the person may see")
    in_scope: int = Field(description="of these, those that the question asks about, as it was understood")
    kept: int | None = Field(
        description="of these, those ranked well enough; null where that would tell of few clients"
    )
    by_permission: int = Field(description="lost to the person's rights, or to a client's consent")
    by_scope: int = Field(description="lost to the limits in the question")
    by_score: int | None = Field(description="lost to better passages; null as `kept` is")
    narrowed: list[Narrowing] = Field(description="by what the question asks for less than everything")
    is_missing: bool = Field(description="whether it asks for a session that is not there")
    by_meaning: bool = Field(description="whether meaning is compared, not words alone")
    unsearchable: int = Field(description="files that wait, failed or were refused")
    verdict: str = Field(description="what most likely keeps the answer away, and what to do about it")


class ClientOut(BaseModel):
    """One client you may see."""

    id: UUID
    full_name: str
    email: str
    sessions: int = Field(description="transcripts of theirs that you may see")
    last_session_at: datetime | None


class ClientPage(BaseModel):
    """Clients by name."""

    items: list[ClientOut]
    next_cursor: str | None = Field(description="null on the last page")
