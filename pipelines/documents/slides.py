"""What PPTX needs beside the library: merged cells filled, its lists numbered, and the text of files it gives up on."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipelines.documents.archives import MAX_NESTED_BYTES
from pipelines.parsed import Block

if TYPE_CHECKING:
    from pptx.table import Table
    from pptx.text.text import TextFrame

WORDPROCESSING = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_SLIDE = re.compile(r"ppt/slides/slide(\d+)\.xml")


def spell_out_slides(content: bytes) -> tuple[bytes, int]:
    """Return the presentation with its merged cells filled and its list numbers written, and how many slides it has.

    So that every row of an extracted table names what it belongs to, and a step keeps its number.
    """
    from pptx import Presentation  # slow to import

    presentation = Presentation(io.BytesIO(content))
    slides = list(presentation.slides)
    shapes = [shape for slide in slides for shape in slide.shapes]
    filled = sum(_fill(shape.table) for shape in shapes if shape.has_table)
    numbered = sum(_number(shape.text_frame) for shape in shapes if shape.has_text_frame)
    if not filled + numbered:
        return content, len(slides)
    spelled = io.BytesIO()
    presentation.save(spelled)
    return spelled.getvalue(), len(slides)


def salvage_package(content: bytes) -> list[Block]:
    """Return the paragraphs still found in the parts of a broken DOCX or PPTX, slides as pages."""
    return list(_list_paragraphs(content))


def _fill(table: Table) -> bool:
    found = False
    columns = len(table.columns)
    cells = list(table.iter_cells())
    for index, cell in enumerate(cells):
        if cell.is_merge_origin and cell.text:
            found = True
            row, column = divmod(index, columns)
            for r in range(row, row + cell.span_height):
                for c in range(column, column + cell.span_width):
                    if (spanned := cells[r * columns + c]).is_spanned:
                        spanned.text = cell.text
    return found


def _number(frame: TextFrame) -> bool:
    """Write the numbers that the program would show; a level's count goes on past its deeper levels."""
    counts: dict[int, int] = {}
    for paragraph in frame.paragraphs:
        auto = paragraph._p.find(f"{{{DRAWING}}}pPr/{{{DRAWING}}}buAutoNum")  # noqa: SLF001  # the library has no name for it
        counts = {level: count for level, count in counts.items() if level < paragraph.level + (auto is not None)}
        if auto is None or not paragraph.runs:
            continue
        first = int(auto.get("startAt", "1"))
        counts[paragraph.level] = counts.get(paragraph.level, first - 1) + 1
        paragraph.runs[0].text = f"{counts[paragraph.level]}. {paragraph.runs[0].text}"
    return bool(counts)


def _list_paragraphs(content: bytes) -> Iterator[Block]:
    from lxml import etree  # slow to import

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in sorted(archive.namelist(), key=_part_order):
            slide = _SLIDE.fullmatch(member)
            if slide is None and member != "word/document.xml":
                continue
            try:
                markup = archive.read(member)[:MAX_NESTED_BYTES]
            except (zipfile.BadZipFile, OSError, ValueError, EOFError):
                continue  # this part is lost, the others may be whole
            parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True)
            root = etree.fromstring(markup, parser)
            if root is None:
                continue
            for paragraph in root.iter(f"{{{WORDPROCESSING}}}p", f"{{{DRAWING}}}p"):
                runs = paragraph.iter(f"{{{WORDPROCESSING}}}t", f"{{{DRAWING}}}t")
                if text := "".join(run.text or "" for run in runs).strip():
                    yield Block(text=text, page=int(slide.group(1)) if slide else None)


def _part_order(member: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, PurePosixPath(member).stem))
    return int(digits or 0), member
