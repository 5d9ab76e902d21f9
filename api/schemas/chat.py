"""Conversations on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.text import CleanText
from db.models import ChatSession
from domain.chat import MessageView
from domain.citations import CitationView
from rag.answer import MAX_QUESTION, Done, SourcesFound
from rag.passages import Passage
from rag.synthesize import Coverage


class CoverageOut(BaseModel):
    """How much was searched and how much of it supports the answer."""

    model_config = ConfigDict(from_attributes=True)

    sessions_in_scope: int = Field(description="sessions the question is about that you may see")
    sessions_examined: int = Field(description="those of them that were searched")
    sessions_supporting: int = Field(description="those of them that the answer cites")
    documents_in_scope: int = Field(description="documents the question is about that you may see")
    documents_examined: int = Field(description="those of them that were searched")
    documents_supporting: int = Field(description="those of them that the answer cites")


class CitationOut(BaseModel):
    """One numbered citation, its words read from the source."""

    model_config = ConfigDict(from_attributes=True)

    ordinal: int = Field(description="the number in the answer's brackets")
    source_kind: Literal["transcript", "document"]
    source_id: UUID = Field(description="the transcript's or document's id")
    title: str
    held_at: datetime | None = Field(description="when the session was held")
    coaching_session_id: UUID | None
    speaker: str | None
    started_s: float | None = Field(description="where in the recording, seconds")
    ended_s: float | None
    segment_first: int | None = Field(description="first turn quoted, counted from 0")
    segment_last: int | None = Field(description="last turn quoted, inclusive")
    page: int | None = Field(description="page of a document, from 1")
    quote: str = Field(description="the exact words")
    before: str = Field(description="what comes before them")
    after: str = Field(description="what comes after them")
    char_start: int = Field(description="place in the source's text")
    char_end: int
    content_hash: str = Field(description="SHA-256 of the source's text")
    link: str = Field(description="opens the source at these words")


class SourceOut(BaseModel):
    """One passage found for a question."""

    rank: int = Field(description="from 1, the best first")
    source_kind: Literal["transcript", "document"]
    source_id: UUID
    title: str
    held_at: datetime | None
    client_id: UUID | None
    coaching_session_id: UUID | None
    speakers: list[str]
    started_s: float | None
    ended_s: float | None
    page_first: int | None
    page_last: int | None
    heading: str | None
    segment_first: int | None
    segment_last: int | None
    char_start: int
    char_end: int
    text: str
    score: float


class SessionIn(BaseModel):
    """A conversation to open."""

    model_config = ConfigDict(extra="forbid")

    client_id: UUID | None = Field(None, description="whom it is about, where a question names nobody")
    title: CleanText | None = Field(None, min_length=1, max_length=200, description="unset: the first question")


class SessionOut(BaseModel):
    """One conversation of yours."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    client_id: UUID | None
    title: str | None
    created_at: datetime
    updated_at: datetime


class SessionPage(BaseModel):
    """Conversations, the last used first."""

    items: list[SessionOut]
    next_cursor: str | None = Field(description="null on the last page")


class QuestionIn(BaseModel):
    """A question to the assistant."""

    model_config = ConfigDict(extra="forbid")

    content: CleanText = Field(min_length=1, max_length=MAX_QUESTION)


class SentenceOut(BaseModel):
    """One sentence of an answer."""

    model_config = ConfigDict(from_attributes=True)

    text: str
    citations: list[int] = Field(description="ordinals of the citations it stands on")
    withheld: bool = Field(False, description="its source is no longer available to you")


class MessageOut(BaseModel):
    """One message, as you may see it now."""

    id: UUID
    role: Literal["user", "assistant", "system", "tool"]
    created_at: datetime
    text: str
    sentences: list[SentenceOut]
    citations: list[CitationOut]
    coverage: CoverageOut | None
    understood: str | None = Field(description="what the question was taken to be about")
    provider: str | None = Field(description="who wrote the answer; extractive: quotes, without a model")
    refused: bool
    pack_id: UUID | None = Field(None, description="the evidence pack it stands on, see /v1/evidence-packs")


class MessagePage(BaseModel):
    """Messages, the oldest first."""

    items: list[MessageOut]
    next_cursor: str | None = Field(description="null on the last page")


class SourcesEvent(BaseModel):
    """Event `sources`: what was understood and found."""

    run_id: UUID
    question: str = Field(description="the question as it was searched for, standing on its own")
    understood: str
    sources: list[SourceOut]
    coverage: CoverageOut


class DeltaEvent(BaseModel):
    """Event `delta`: a stretch of the answer."""

    text: str


class CitationsEvent(BaseModel):
    """Event `citations`: the citations of the answer."""

    citations: list[CitationOut]


class DoneEvent(BaseModel):
    """Event `done`: the whole answer."""

    run_id: UUID
    message_id: UUID | None
    text: str
    sentences: list[SentenceOut]
    citations: list[CitationOut]
    coverage: CoverageOut
    understood: str
    provider: str
    refused: bool
    support: float
    pack_id: UUID | None = Field(None, description="the evidence pack it stands on, see /v1/evidence-packs")


def show_session(row: ChatSession) -> SessionOut:
    """Return a conversation for the wire."""
    return SessionOut.model_validate(row)


def show_citation(view: CitationView) -> CitationOut:
    """Return a citation for the wire."""
    return CitationOut.model_validate(view)


def show_coverage(coverage: Coverage) -> CoverageOut:
    """Return a coverage for the wire."""
    return CoverageOut.model_validate(coverage)


def show_source(passage: Passage, rank: int) -> SourceOut:
    """Return a passage for the wire."""
    return SourceOut(
        rank=rank,
        **{name: getattr(passage, name) for name in SourceOut.model_fields if name not in {"rank", "speakers"}},
        speakers=list(passage.speakers),
    )


def show_sources(found: SourcesFound) -> SourcesEvent:
    """Return the first event of an answer for the wire."""
    return SourcesEvent(
        run_id=found.run_id, question=found.question, understood=found.understood,
        sources=[show_source(passage, rank) for rank, passage in enumerate(found.passages, 1)],
        coverage=show_coverage(found.coverage),
    )  # fmt: skip


def show_done(done: Done) -> DoneEvent:
    """Return the last event of an answer for the wire."""
    return DoneEvent(
        run_id=done.run_id, message_id=done.message_id, text=done.text,
        sentences=[SentenceOut(text=s.text, citations=list(s.citations), withheld=False) for s in done.sentences],
        citations=[show_citation(view) for view in done.citations], coverage=show_coverage(done.coverage),
        understood=done.understood, provider=done.provider, refused=done.refused, support=done.support,
        pack_id=done.pack_id,
    )  # fmt: skip


def show_message(view: MessageView) -> MessageOut:
    """Return a message for the wire."""
    facts = view.facts
    return MessageOut.model_validate(
        {
            "id": view.id, "role": view.role, "created_at": view.created_at, "text": view.text,
            "sentences": [SentenceOut.model_validate(s) for s in view.sentences],
            "citations": [show_citation(c) for c in view.citations], "coverage": facts.get("coverage"),
            "understood": facts.get("understood"), "provider": facts.get("provider"),
            "refused": bool(facts.get("refused")), "pack_id": facts.get("pack_id"),
        }
    )  # fmt: skip
