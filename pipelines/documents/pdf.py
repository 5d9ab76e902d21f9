"""PDF into paragraphs in reading order, with page numbers, through pdfium's text layer."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from pipelines.documents.errors import DamagedSource, ProtectedSource
from pipelines.documents.layout import BOLD, Line, order_paragraphs
from pipelines.parsed import EmptySource, ParsedDocument

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

# Where readers look for a file's end (ISO 32000-1, annex H.3.4.4).
END_MARK = b"%%EOF"
END_WITHIN = 1024

# Some fonts hide which letters their shapes are; beyond this share of such letters a person should know.
MAX_UNREADABLE_SHARE = 0.05

_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1f\ue000-\uf8ff\ufffd]")

# What office programs write where nobody chose a title.
_NO_TITLE = re.compile(r"untitled|microsoft (word|powerpoint|excel)|.*\.\w{2,4}$|[\d\W_]*$", re.IGNORECASE)


def parse_pdf(name: str, content: bytes) -> ParsedDocument:
    """Read the text layer of a PDF.

    Raises ProtectedSource, DamagedSource, or EmptySource where pages are pictures only.
    """
    with closing(_open(name, content)) as document:
        pages: list[list[Line]] = []
        warnings: list[str] = []
        for number in range(1, len(document) + 1):
            lines = _find_lines(document, number)
            if lines is None:
                warnings.append(f"Page {number} is damaged and was left out.")
            pages.append(lines or [])
        title = document.get_metadata_value("Title").strip()
    if pages and len(warnings) == len(pages):
        raise DamagedSource(
            f"{name} is damaged or incomplete; open it in its own program, save it anew and upload it again."
        )
    if not any(pages):
        raise EmptySource(
            f"{name} holds no text, only pictures of pages; run text recognition (OCR) on it and upload the result."
        )
    if _measure_unreadable(pages) > MAX_UNREADABLE_SHARE:
        warnings.append(
            "A font of this file hides its letters, so some words are wrong; a version with OCR reads better."
        )
    body_height = _measure_body_height(pages)
    blocks = tuple(
        block
        for number, lines in enumerate(pages, start=1)
        for block in order_paragraphs(lines, page=number, body_height=body_height)
    )
    if not title or _NO_TITLE.match(title):
        title = next((block.text for block in blocks[:3] if block.kind == "heading"), "")
    return ParsedDocument(
        format="pdf", blocks=blocks, title=title or None, page_count=len(pages), warnings=tuple(warnings)
    )


def _open(name: str, content: bytes) -> PdfDocument:
    import pypdfium2  # loads a C library

    try:
        return pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ProtectedSource(
                f"{name} is protected by a password; remove the password and upload it again."
            ) from error
        # What is left of a cut file could be shown, but its fonts are often lost, and then its words come out wrong.
        if END_MARK not in content[-END_WITHIN:]:
            raise DamagedSource(f"{name} is incomplete, its end is missing; upload the whole file again.") from error
        raise DamagedSource(
            f"{name} is damaged or incomplete; open it in its own program, save it anew and upload it again."
        ) from error


def _find_lines(document: PdfDocument, number: int) -> list[Line] | None:
    """Return the lines of one page in the order the file draws them, or None where the page can't be read."""
    import pypdfium2  # loads a C library

    try:
        with closing(document[number - 1]) as page:
            return list(_list_lines(page))
    except pypdfium2.PdfiumError:
        return None


def _list_lines(page: PdfPage) -> Iterator[Line]:
    rotation = page.get_rotation()
    with closing(page.get_textpage()) as text_page:
        start = 0  # in UTF-16 units, which pdfium counts in
        for raw_line in text_page.get_text_range().split("\n"):
            units = _count_units(raw_line)
            if words := raw_line.strip():
                first = start + _count_units(raw_line[: raw_line.index(words)])
                yield _measure_line(text_page, words, first, first + _count_units(words) - 1, rotation)
            start += units + 1


def _measure_line(text_page: PdfTextPage, words: str, first: int, last: int, rotation: int) -> Line:
    """Take the box from the line's first and last characters: all of them would cost ten times the time."""
    import pypdfium2.raw as pdfium  # loads a C library

    ends = [max(pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, index), 0) for index in (first, last)]
    boxes = [_turn(text_page.get_charbox(end, loose=True), rotation) for end in ends]
    return Line(
        text=words,
        left=min(box[0] for box in boxes),
        bottom=min(box[1] for box in boxes),
        right=max(box[2] for box in boxes),
        top=max(box[3] for box in boxes),
        height=max(box[3] - box[1] for box in boxes),
        weight=min(_find_weight(text_page, end) for end in ends),
    )


def _find_weight(text_page: PdfTextPage, index: int) -> int:
    """Return the font's weight, by its name where the file does not declare one."""
    import pypdfium2.raw as pdfium  # loads a C library

    weight: int = pdfium.FPDFText_GetFontWeight(text_page, index)
    if weight > 0:
        return weight
    name = ctypes.create_string_buffer(128)
    pdfium.FPDFText_GetFontInfo(text_page, index, name, len(name), None)
    return BOLD if b"bold" in name.value.lower() else 0


def _turn(box: tuple[float, float, float, float], rotation: int) -> tuple[float, float, float, float]:
    """Return the box (left, bottom, right, top) as the reader sees it on a page shown turned clockwise."""
    left, bottom, right, top = box
    if rotation == 90:
        return bottom, -right, top, -left
    if rotation == 180:
        return -right, -top, -left, -bottom
    if rotation == 270:
        return -top, left, -bottom, right
    return box


def _count_units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text) if not text.isascii() else len(text)


def _measure_unreadable(pages: Sequence[Sequence[Line]]) -> float:
    """Return the share of characters that stand for no known letter."""
    text = "".join(line.text for lines in pages for line in lines)
    return len(_UNREADABLE.findall(text)) / len(text)


def _measure_body_height(pages: Sequence[Sequence[Line]]) -> float:
    """Return the height in points in which most characters are set."""
    characters: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            characters[round(line.height, 1)] += len(line.text)
    return characters.most_common(1)[0][0]
