"""What DOCX needs beside the library, which reads plain paragraphs only: boxes, controls, changes and notes."""

from __future__ import annotations

import io
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pipelines.documents.archives import list_members, read_member

if TYPE_CHECKING:
    from docx.document import Document

WORDPROCESSING = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
NOTES = ("word/footnotes.xml", "word/endnotes.xml")
WRAPPERS = tuple(f"{WORDPROCESSING}{tag}" for tag in ("ins", "moveTo", "smartTag", "customXml", "sdt", "sdtContent"))
_HIDING = re.compile(rb"[<:](?:ins|moveTo|smartTag|customXml|sdt|txbxContent)\b")


def spell_out_manuscript(content: bytes) -> bytes:
    """Return the document with everything a reader sees as plain paragraphs.

    Inserted words stay and deleted ones stay out, boxes follow their paragraph, notes follow the body.
    """
    has_notes = not list_members(content).isdisjoint(NOTES)
    if not has_notes and not _HIDING.search(read_member(content, "word/document.xml")):
        return content
    from docx import Document  # slow to import

    document = Document(io.BytesIO(content))
    body = document.element.body
    for copy in list(body.iter(f"{COMPATIBILITY}Fallback")):  # says the same again for older programs
        copy.getparent().remove(copy)
    for box in list(body.iter(f"{WORDPROCESSING}txbxContent")):
        _move_after_paragraph(box, body)
    for wrapper in list(body.iter(*WRAPPERS)):
        _unwrap(wrapper)
    _append_notes(document, content)
    spelled = io.BytesIO()
    document.save(spelled)
    return spelled.getvalue()


def _move_after_paragraph(box: Any, body: Any) -> None:  # noqa: ANN401  # lxml has no types
    outermost = box
    while outermost is not None and outermost.getparent() is not body:
        outermost = outermost.getparent()
    if outermost is not None:
        for child in reversed(list(box)):
            outermost.addnext(child)


def _unwrap(wrapper: Any) -> None:  # noqa: ANN401  # lxml has no types
    for child in list(wrapper):
        wrapper.addprevious(child)
    wrapper.getparent().remove(wrapper)


def _append_notes(document: Document, content: bytes) -> None:
    from docx.oxml import parse_xml  # slow to import

    for member in NOTES:
        for note in parse_xml(read_member(content, member) or b"<none/>"):
            if note.get(f"{WORDPROCESSING}type") is None:  # the others are the lines above the notes
                for paragraph in note.iter(f"{WORDPROCESSING}p"):
                    document.add_paragraph()._p.addprevious(deepcopy(paragraph))  # noqa: SLF001  # has no other name
