"""What PPTX needs beside the library: merged cells filled and lists numbered."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pptx.slide import Slide
    from pptx.table import Table
    from pptx.text.text import TextFrame

DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"


def spell_out_slides(content: bytes) -> tuple[bytes, list[str]]:
    """Return the presentation with its merged cells filled and its list numbers written, and each slide's notes.

    So that every row of an extracted table names what it belongs to, and a step keeps its number.
    """
    from pptx import Presentation  # slow to import

    presentation = Presentation(io.BytesIO(content))
    slides = list(presentation.slides)
    notes = [_find_notes(slide) for slide in slides]
    shapes = [shape for slide in slides for shape in slide.shapes]
    filled = sum(_fill(shape.table) for shape in shapes if shape.has_table)
    numbered = sum(_number(shape.text_frame) for shape in shapes if shape.has_text_frame)
    if not filled + numbered:
        return content, notes
    spelled = io.BytesIO()
    presentation.save(spelled)
    return spelled.getvalue(), notes


def _find_notes(slide: Slide) -> str:
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    return frame.text.strip() if frame is not None else ""


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
