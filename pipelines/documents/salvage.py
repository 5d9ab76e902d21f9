"""The words of office files that their own reader gives up on."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator

from pipelines.documents.archives import MAX_NESTED_BYTES
from pipelines.parsed import Block, ParsedDocument

WORDPROCESSING = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
WARNING = "The file is damaged: its tables, lists and headings were read as plain text, and parts may be missing."
_PART = re.compile(r"word/document\.xml|ppt/slides/slide(\d{1,6})\.xml")


def salvage_package(content: bytes) -> ParsedDocument | None:
    """Return the paragraphs of the whole parts of a DOCX or PPTX, slides as pages; None where there are none."""
    blocks: list[Block] = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {member: match for member in archive.namelist() if (match := _PART.fullmatch(member))}
            for member, match in sorted(parts.items(), key=lambda part: int(part[1][1] or 0)):
                blocks.extend(_list_paragraphs(archive, member, page=int(match[1]) if match[1] else None))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError):
        return None
    if not blocks:
        return None
    return ParsedDocument(format="pptx" if blocks[0].page else "docx", blocks=tuple(blocks), warnings=(WARNING,))


def _list_paragraphs(archive: zipfile.ZipFile, member: str, page: int | None) -> Iterator[Block]:
    from lxml import etree  # slow to import

    try:
        with archive.open(member) as stream:
            markup = stream.read(MAX_NESTED_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError):
        return  # this part is lost, the others may be whole
    root = etree.fromstring(markup, etree.XMLParser(recover=True, resolve_entities=False, no_network=True))
    if root is None:
        return
    for paragraph in root.iter(f"{WORDPROCESSING}p", f"{DRAWING}p"):
        runs = paragraph.iter(f"{WORDPROCESSING}t", f"{DRAWING}t")
        if text := "".join(run.text or "" for run in runs).strip():
            yield Block(text=text, page=page)
