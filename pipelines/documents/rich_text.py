"""RTF into blocks; the format keeps no structure beyond paragraphs and table rows that is worth more."""

from collections.abc import Iterator
from itertools import groupby

from pipelines.documents.tables import build_table_blocks
from pipelines.parsed import Block, ParsedDocument


def parse_rtf(name: str, content: bytes) -> ParsedDocument:
    """Read an RTF file."""
    del name
    from striprtf.striprtf import rtf_to_text  # only for this format

    # RTF is ASCII with its own escapes; Latin-1 maps each stray byte to itself.
    text: str = rtf_to_text(content.decode("latin-1"), errors="replace")  # type: ignore[no-untyped-call]  # it has no types
    return ParsedDocument(format="rtf", blocks=tuple(_split_blocks(text)))


def _split_blocks(text: str) -> Iterator[Block]:
    lines = (line.strip() for line in text.splitlines())
    # The library ends every cell with a bar.
    for is_table, group in groupby(filter(None, lines), key=lambda line: line.endswith("|")):
        if is_table:
            yield from build_table_blocks([line.rstrip("|").split("|") for line in group])
        else:
            yield from (Block(text=line) for line in group)
