"""DOCX, PPTX, HTML and Markdown into blocks with the unstructured library, kept off the network."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from pipelines.documents.encodings import decode_text
from pipelines.documents.manuscripts import spell_out_manuscript
from pipelines.documents.markup import (
    find_encoding,
    find_title,
    flatten_markup,
    list_table_rows,
    measure_depth,
    open_containers,
)
from pipelines.documents.plain import split_paragraphs
from pipelines.documents.slides import spell_out_slides
from pipelines.documents.tables import build_table_blocks
from pipelines.parsed import Block, BlockKind, ParsedDocument

if TYPE_CHECKING:
    from unstructured.documents.elements import Element

# libxml2 silently drops what is nested deeper than 256.
MAX_MARKUP_DEPTH = 200
KINDS: dict[str, BlockKind] = {"Title": "heading", "ListItem": "list", "CodeSnippet": "code"}


def parse_docx(name: str, content: bytes) -> ParsedDocument:
    """Read a Word document, notes last; pages are known only where Word left its rendered page breaks."""
    del name
    prepare_unstructured()
    from unstructured.partition.docx import partition_docx  # slow to import

    elements = partition_docx(file=io.BytesIO(spell_out_manuscript(content)))
    blocks = tuple(_list_blocks(elements))
    pages = [block.page for block in blocks if block.page]
    return ParsedDocument(
        format="docx", blocks=blocks, title=_first_heading(blocks), page_count=max(pages, default=0) or None
    )


def parse_pptx(name: str, content: bytes) -> ParsedDocument:
    """Read a presentation, a page a slide, its speaker notes last."""
    del name
    prepare_unstructured()
    from unstructured.partition.pptx import partition_pptx  # slow to import

    spelled, notes = spell_out_slides(content)
    # Only a placeholder's title has depth 0; what the library guesses to be one lies deeper.
    elements = partition_pptx(file=io.BytesIO(spelled), include_slide_notes=False)
    shown = list(_list_blocks(elements, heading_depths=(0,)))
    spoken = [Block(text=note, page=page) for page, note in enumerate(notes, start=1) if note]
    blocks = tuple(sorted(shown + spoken, key=lambda block: block.page or 0))
    return ParsedDocument(format="pptx", blocks=blocks, title=_first_heading(blocks), page_count=len(notes))


def parse_html(name: str, content: bytes) -> ParsedDocument:
    """Read a page; markup nested too deep for the library is flattened into its text."""
    del name
    text = decode_text(content, find_encoding(content))
    title = find_title(text)
    if measure_depth(text) > MAX_MARKUP_DEPTH:
        return ParsedDocument(
            format="html",
            blocks=tuple(flatten_markup(text)),
            title=title,
            warnings=("The page's markup is nested too deep, so tables were read as plain text.",),
        )
    prepare_unstructured()
    from unstructured.partition.html import partition_html  # slow to import

    blocks = tuple(_list_blocks(partition_html(text=open_containers(text)))) if text.strip() else ()
    blocks = blocks or tuple(flatten_markup(text))  # the library reads `<main>` alone, even where it is empty
    return ParsedDocument(format="html", blocks=blocks, title=title or _first_heading(blocks))


def parse_md(name: str, content: bytes) -> ParsedDocument:
    """Read Markdown."""
    del name
    text = decode_text(content)
    prepare_unstructured()
    from unstructured.partition.md import partition_md  # slow to import

    blocks = tuple(_list_blocks(partition_md(text=text))) if text.strip() else ()
    blocks = blocks or tuple(split_paragraphs(text))  # what nests too deep for the library is text all the same
    return ParsedDocument(format="md", blocks=blocks, title=_first_heading(blocks))


@cache
def prepare_unstructured() -> None:
    """Give unstructured a language model that needs no download, and switch its telemetry off."""
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    import spacy  # slow to import
    from unstructured.nlp import tokenize  # slow to import

    language = spacy.blank("en")
    language.add_pipe("sentencizer")
    language.max_length = 1 << 30  # its guard is for models with a parser, which this has not
    # The only way to keep it off the network: this function downloads a model.
    tokenize._get_nlp = cache(lambda: language)  # noqa: SLF001


def _list_blocks(elements: Iterable[Element], heading_depths: tuple[int, ...] | None = None) -> Iterator[Block]:
    for element in elements:
        metadata: Any = element.metadata
        page, depth = metadata.page_number, metadata.category_depth or 0
        if metadata.text_as_html and element.category == "Table":
            yield from build_table_blocks(list_table_rows(metadata.text_as_html), page=page)
        elif text := element.text.strip():
            kind = KINDS.get(element.category, "text")
            if kind == "heading" and heading_depths is not None and depth not in heading_depths:
                kind = "text"
            level = depth + 1 if kind in {"heading", "list"} else 0
            yield Block(text=text, kind=kind, page=page, level=level)


def _first_heading(blocks: tuple[Block, ...]) -> str | None:
    return next((block.text for block in blocks if block.kind == "heading"), None)
