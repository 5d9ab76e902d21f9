"""ODT into blocks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.documents.tables import build_table_blocks
from pipelines.parsed import Block, ParsedDocument

if TYPE_CHECKING:
    from odfdo import Element

GROUPS = frozenset({"text:section", "text:index-body", "text:table-of-content", "text:list", "text:list-item"})
MAX_DEPTH = 60


def parse_odt(name: str, content: bytes) -> ParsedDocument:
    """Read an OpenDocument text; a merged cell holds its text once."""
    del name
    from odfdo import Document  # slow to import, only for this format

    document = Document(io.BytesIO(content))
    blocks = tuple(_list_blocks(document.body, depth=0, list_level=0))
    return ParsedDocument(format="odt", blocks=blocks, title=document.meta.title or None)


def _list_blocks(parent: Element, *, depth: int, list_level: int) -> Iterator[Block]:
    for element in parent.children:
        if element.tag == "table:table":
            rows = element.get_elements("descendant::table:table-row")
            yield from build_table_blocks([[cell.inner_text for cell in row.children] for row in rows])
        elif element.tag in GROUPS and depth < MAX_DEPTH:
            deeper = list_level + (element.tag == "text:list")
            yield from _list_blocks(element, depth=depth + 1, list_level=deeper)
        elif not (text := element.inner_text.strip()):
            continue
        elif element.tag == "text:h":
            level = element.get_attribute_integer("text:outline-level") or 1
            yield Block(text=text, kind="heading", level=level)
        elif list_level:
            yield Block(text=text, kind="list", level=list_level)
        else:
            yield Block(text=text)
