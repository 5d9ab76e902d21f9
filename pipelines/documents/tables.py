"""Rows into table blocks of a size that search can use, for CSV, spreadsheets and tables inside documents."""

import csv
import datetime
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pipelines.documents.encodings import decode_text
from pipelines.parsed import Block, ParsedDocument

# Forty rows of a usual table are about a page; every block repeats the header, so it is understood alone.
ROWS_PER_BLOCK = 40
# A field of a CSV file may be a whole transcript.
MAX_FIELD_CHARACTERS = 1 << 24
DELIMITERS = ",;\t|"


def parse_csv(name: str, content: bytes) -> ParsedDocument:
    """Read comma, semicolon, tab or bar separated values."""
    del name
    text = decode_text(content).replace("\x00", "")
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    delimiter = max(DELIMITERS, key=text[:4096].split("\n", 1)[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return ParsedDocument(format="csv", blocks=tuple(build_table_blocks(rows)))


def parse_xlsx(name: str, content: bytes) -> ParsedDocument:
    """Read every sheet of a workbook, each a page under a heading with its name; formulas give their last values."""
    del name
    import openpyxl  # slow to import

    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    blocks: list[Block] = []
    try:
        for page, sheet in enumerate(workbook.worksheets, start=1):
            sheet.reset_dimensions()  # some programs write a wrong range, which would hide rows
            rows = ([_render_cell(cell) for cell in row] for row in sheet.iter_rows(values_only=True))
            table = list(build_table_blocks(rows, page=page))
            if table:
                blocks.append(Block(text=sheet.title, kind="heading", page=page, level=1))
                blocks.extend(table)
    finally:
        workbook.close()
    return ParsedDocument(
        format="xlsx",
        blocks=tuple(blocks),
        title=workbook.properties.title or None,
        page_count=len(workbook.worksheets),
    )


def build_table_blocks(rows: Iterable[Sequence[str]], *, page: int | None = None) -> Iterator[Block]:
    """Yield blocks of up to 40 rows, a line a row with ` | ` between cells; the first row heads each block."""
    lines = (line for line in map(_render_row, rows) if line)
    header = next(lines, None)
    if header is None:
        return
    body = list(islice(lines, ROWS_PER_BLOCK))
    yield Block(text="\n".join([header, *body]), kind="table", page=page)
    while body := list(islice(lines, ROWS_PER_BLOCK)):
        yield Block(text="\n".join([header, *body]), kind="table", page=page)


def _render_row(cells: Sequence[str]) -> str:
    flat = [" ".join(cell.split()) for cell in cells]
    return " | ".join(flat).rstrip(" |") if any(flat) else ""


def _render_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, float):
        return f"{value:.15g}"  # what a spreadsheet shows, without binary noise
    return str(value)
