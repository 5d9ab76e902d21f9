"""Parts a source into the small passages that are embedded, found and cited; each knows its place in the text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipelines.chunk_pieces import Weight, cut, pack, weigh
from pipelines.parsed import Block, ParsedDocument, Turn

CHUNKER_VERSION: Final = "1"
"""Raise it when the same source would be parted otherwise, or its chunks found by other words."""
CONTEXT_WORDS: Final = 25
"""Words spoken just before a chunk that are embedded with it: an answer means little without its question."""
BETWEEN_BLOCKS: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class Segment:
    """One turn and its place in the transcript's text; times in seconds from the session's start."""

    speaker: str | None
    text: str
    char_start: int
    char_end: int
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of a source; `text` is the source's text from `char_start` to `char_end`.

    Segments are counted from 0 and inclusive, pages from 1. `embedded_text` and `lexical_text` say the same with
    who speaks and what it belongs to: they are searched, never shown. Between two chunks of a source there is
    nothing but line breaks.
    """

    char_start: int
    char_end: int
    text: str
    word_count: int
    embedded_text: str
    lexical_text: str
    segment_first: int | None = None
    segment_last: int | None = None
    speakers: tuple[str, ...] = ()
    started_s: float | None = None
    ended_s: float | None = None
    page_first: int | None = None
    page_last: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class TranscriptText:
    """What is stored of a transcript: its segments, their texts joined by a line break, and its chunks in order."""

    text: str
    segments: tuple[Segment, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class DocumentText:
    """What is stored of a document: its blocks' texts joined by an empty line, and its chunks in order."""

    text: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What is never parted further: a whole segment or block `owner`, or a stretch of one too long."""

    owner: int
    start: int
    end: int
    weight: Weight


def chunk_transcript(
    turns: Sequence[Turn], *, title: str | None = None, held_at: datetime | None = None
) -> TranscriptText:
    """Part a session into runs of whole turns; only a turn too long for an embedder is cut, at sentence ends.

    Turns without words are left out. Title and date are searched as words with every chunk.
    """
    segments = tuple(_place_turns(turns))
    text = "\n".join(segment.text for segment in segments)
    header = "\n".join(filter(None, (title, _say_date(held_at))))
    parts = [
        _Part(index, segment.char_start + start, segment.char_start + end, weigh(segment.text[start:end]))
        for index, segment in enumerate(segments)
        for start, end in cut(segment.text, "sentence")
    ]
    chunks = []
    for run in pack([part.weight for part in parts]):
        spoken = parts[run.start : run.stop]
        body = "\n".join(_say(segments[part.owner], text[part.start : part.end]) for part in spoken)
        before = _recall(segments, parts[: run.start], text)
        chunks.append(_chunk_turns(text, segments, spoken, f"{before}{body}", f"{header}\n{body}".strip()))
    return TranscriptText(text, segments, tuple(chunks))


def chunk_document(document: ParsedDocument) -> DocumentText:
    """Part a document into runs of whole paragraphs under one heading; long ones at sentence ends, tables by rows."""
    blocks = [block for block in document.blocks if block.text.strip()]
    text = BETWEEN_BLOCKS.join(block.text for block in blocks)
    chunks: list[Chunk] = []
    offset = 0
    for path, section in _list_sections(blocks):
        parts = []
        for index, block in enumerate(section):
            boundary = "line" if block.kind in ("table", "code") else "sentence"
            spans = cut(block.text, boundary)  # type: ignore[arg-type]  # both are boundaries
            parts += [_Part(index, offset + a, offset + b, weigh(block.text[a:b])) for a, b in spans]
            offset += len(block.text) + len(BETWEEN_BLOCKS)
        chunks += [
            _chunk_blocks(text, document.title, path, section, parts[run.start : run.stop])
            for run in pack([part.weight for part in parts])
        ]
    return DocumentText(text, tuple(chunks))


def _place_turns(turns: Sequence[Turn]) -> Iterator[Segment]:
    offset = 0
    for turn in turns:
        if said := turn.text.strip():
            yield Segment(turn.speaker, said, offset, offset + len(said), turn.start, turn.end)
            offset += len(said) + 1


def _say(segment: Segment, words: str) -> str:
    return f"{segment.speaker}: {words}" if segment.speaker else words


def _say_date(held_at: datetime | None) -> str | None:
    """Return the day in words, as people ask for it: "8 May 2023"."""
    return f"{held_at.day} {held_at:%B %Y}" if held_at else None


def _recall(segments: Sequence[Segment], earlier: Sequence[_Part], text: str) -> str:
    """Return the last words said before, with who said them, each turn on its line."""
    lines: list[str] = []
    wanted = CONTEXT_WORDS
    for part in reversed(earlier[-CONTEXT_WORDS:]):
        words = text[part.start : part.end].split()[-wanted:]
        lines.append(_say(segments[part.owner], " ".join(words)) + "\n")
        wanted -= len(words)
        if wanted <= 0:
            break
    return "".join(reversed(lines))


def _chunk_turns(text: str, segments: Sequence[Segment], spoken: Sequence[_Part], embedded: str, lexical: str) -> Chunk:
    first, last = segments[spoken[0].owner], segments[spoken[-1].owner]
    start, end = spoken[0].start, spoken[-1].end
    speakers = (segments[part.owner].speaker for part in spoken)
    return Chunk(
        char_start=start, char_end=end, text=text[start:end], word_count=sum(part.weight.words for part in spoken),
        embedded_text=embedded, lexical_text=lexical,
        segment_first=spoken[0].owner, segment_last=spoken[-1].owner,
        speakers=tuple(dict.fromkeys(speaker for speaker in speakers if speaker)),
        started_s=first.start, ended_s=last.end,
    )  # fmt: skip


def _list_sections(blocks: Sequence[Block]) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    """Yield each section's path of headings and its blocks; it opens with its headings, in the order of the text."""
    path: list[tuple[int, str]] = []
    section: list[Block] = []
    for block in blocks:
        if block.kind == "heading":
            if any(earlier.kind != "heading" for earlier in section):
                yield tuple(heading for _, heading in path), section
                section = []
            path = [step for step in path if step[0] < block.level]
            path.append((block.level, " ".join(block.text.split())))
        section.append(block)
    if section:
        yield tuple(heading for _, heading in path), section


def _chunk_blocks(
    text: str, title: str | None, path: tuple[str, ...], section: Sequence[Block], parts: Sequence[_Part]
) -> Chunk:
    start, end = parts[0].start, parts[-1].end
    own = text[start:end]
    pages = [page for part in parts if (page := section[part.owner].page) is not None]
    searched = "\n".join([*_introduce(title, path, section[parts[0].owner], own), own])
    return Chunk(
        char_start=start, char_end=end, text=own, word_count=sum(part.weight.words for part in parts),
        embedded_text=searched, lexical_text=searched,
        page_first=min(pages, default=None), page_last=max(pages, default=None),
        heading=" > ".join(path) or None,
    )  # fmt: skip


def _introduce(title: str | None, path: tuple[str, ...], first: Block, own: str) -> list[str]:
    """Return what the chunk belongs to and does not say itself: title, headings, and the first row of its table."""
    names = dict.fromkeys(name for name in (title, *path) if name and name not in own)
    row = first.text.partition("\n")[0] if first.kind == "table" else ""
    return [" > ".join(names)] * bool(names) + [row] * bool(row and row not in own)
