"""Plain text into paragraphs, for text files and for whatever another format boils down to."""

import re
from collections.abc import Iterator

from pipelines.documents.encodings import decode_text
from pipelines.parsed import Block, ParsedDocument

_EMPTY_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
MAX_PARAGRAPH_CHARACTERS = 3_000
_LIST_LINE = re.compile(r"\s*(?:[-*•‣◦]|\d{1,3}[.)])\s+\S")


def parse_plain(name: str, content: bytes) -> ParsedDocument:
    """Read a text file; an empty line ends a paragraph, line breaks inside one stay."""
    del name
    return ParsedDocument(format="txt", blocks=tuple(split_paragraphs(decode_text(content))))


def split_paragraphs(text: str) -> Iterator[Block]:
    """Yield a block a paragraph, in order."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    for paragraph in _EMPTY_LINES.split(unified):
        if stripped := paragraph.strip():
            lines = [line.rstrip() for line in stripped.split("\n")]
            # A file without empty lines has its paragraphs in its lines.
            for part in lines if len(stripped) > MAX_PARAGRAPH_CHARACTERS else ["\n".join(lines)]:
                listed = all(_LIST_LINE.match(line) for line in part.split("\n"))
                yield Block(text=part, kind="list" if listed else "text")
