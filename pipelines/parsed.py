"""What every parser returns, so that chunking and indexing need not know the format."""

from dataclasses import dataclass, field
from typing import Literal

from core.errors import Invalid

BlockKind = Literal["heading", "text", "list", "table", "code"]


class UnreadableSource(Invalid):
    """This file can't be read; check that it opens in its own program and upload it again."""


class EmptySource(UnreadableSource):
    """This file holds no text; check that the right file was exported and upload it again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One uninterrupted stretch of one speaker; `start` and `end` in seconds from the session's start."""

    speaker: str | None
    text: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class ParsedTranscript:
    """The turns of one session in spoken order; `format` names the layout, such as `vtt` or `otter`."""

    format: str
    turns: tuple[Turn, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, heading, list item or table of a document; `page` counts from 1 where pages exist."""

    text: str
    kind: BlockKind = "text"
    page: int | None = None
    level: int = 0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The blocks of one document in reading order."""

    format: str
    blocks: tuple[Block, ...]
    title: str | None = None
    page_count: int | None = None
    warnings: tuple[str, ...] = field(default=())
