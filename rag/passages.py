"""What retrieval is asked and what it gives back; every answer, citation and score is built from these."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

SourceKind = Literal["transcript", "document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which part of what the reader may see is searched; an empty field does not narrow.

    `held_from` is inclusive, `held_until` exclusive; `speakers` are labels as in the source, any case.
    """

    client_ids: tuple[UUID, ...] = ()
    coaching_session_ids: tuple[UUID, ...] = ()
    source_ids: tuple[UUID, ...] = ()
    held_from: datetime | None = None
    held_until: datetime | None = None
    speakers: tuple[str, ...] = ()
    source_kinds: tuple[SourceKind, ...] = ()


EVERYWHERE: Final = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A run of adjacent chunks of one source, found for a question.

    `text` is the source's text from `char_start` to `char_end` of the version `content_hash`. Segments are
    counted from 0 and inclusive, times are seconds from the session's start, pages count from 1.
    """

    chunk_ids: tuple[UUID, ...]
    source_id: UUID
    source_kind: SourceKind
    object_id: UUID
    title: str
    content_hash: str
    held_at: datetime | None
    client_id: UUID | None
    coaching_session_id: UUID | None
    text: str
    char_start: int
    char_end: int
    segment_first: int | None
    segment_last: int | None
    speakers: tuple[str, ...]
    started_s: float | None
    ended_s: float | None
    page_first: int | None
    page_last: int | None
    heading: str | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """The passages, best first, and how much was searched for them (every count is what this reader may see)."""

    passages: tuple[Passage, ...]
    chunks_in_scope: int
    sources_in_scope: int
