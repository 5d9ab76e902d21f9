"""Small files of every kind, whole and broken, made in memory."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence

import docx
import openpyxl
import pptx
from odfdo import Document, Header, List, Paragraph, Table

SECTOR = 512


def make_pdf(*pages: Iterable[tuple[float, float, float, str]], password: str | None = None) -> bytes:
    """Return a PDF of A4 pages; each text is (x, y, size, words) in points, drawn in the order given."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for page in pages:
        drawn = "".join(f"BT /F1 {size} Tf {x} {y} Td ({words}) Tj ET\n" for x, y, size, words in page).encode(
            "latin-1"
        )
        objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(drawn), drawn))
        kids.append(b"%d 0 R" % (len(objects) + 1))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % len(objects)
        )
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids))
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    whole = body + end % (len(objects) + 1, table, len(objects) + 1, len(body))
    return _encrypt(whole, password) if password else whole


def make_docx(paragraphs: Iterable[str], *, heading: str | None = None, rows: Sequence[Sequence[str]] = ()) -> bytes:
    """Return a Word document."""
    document = docx.Document()
    if heading:
        document.add_heading(heading, level=1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if rows:
        table = document.add_table(rows=len(rows), cols=len(rows[0]))
        for row, cells in zip(table.rows, rows, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    return _save(document)


def make_pptx(slides: Iterable[tuple[str, Sequence[str]]]) -> bytes:
    """Return a presentation; each slide is (title, lines)."""
    presentation = pptx.Presentation()
    for title, lines in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(lines)
    return _save(presentation)


def make_xlsx(sheets: dict[str, Sequence[Sequence[object]]]) -> bytes:
    """Return a workbook with the rows of each sheet."""
    workbook = openpyxl.Workbook(write_only=True)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    return _save(workbook)


def make_odt() -> bytes:
    """Return an OpenDocument text with a heading, a paragraph, a nested list and a table."""
    document = Document("text")
    body = document.body
    body.clear()
    body.append(Header(2, "Aims"))
    body.append(Paragraph("She wants to lead."))
    steps = List(["first"])
    steps.get_elements("text:list-item")[0].append(List(["deeper"]))
    body.append(steps)
    table = Table("T", width=2, height=2)
    for cell, value in {"A1": "week", "B1": "hours", "A2": "one", "B2": "three"}.items():
        table.set_value(cell, value)
    body.append(table)
    return _save(document)


def make_zip(members: dict[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def make_bomb(megabytes: int, member: str = "word/document.xml") -> bytes:
    """Return an archive of a few kilobytes whose one member declares and holds so many megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed, checksum = block * megabytes + packer.flush(), 0  # nobody gets as far as its checksum
    name, size = member.encode(), megabytes << 20
    sizes = struct.pack("<HHIIIHH", 8, 0, checksum, len(packed), size, len(name), 0)
    # Local header, data, central directory, end record (APPNOTE 4.3).
    local = b"PK\x03\x04" + struct.pack("<HHH", 20, 0, 8) + struct.pack("<HH", 0, 0) + sizes[4:] + name
    central = b"PK\x01\x02" + struct.pack("<HHHH", 20, 20, 0, 8) + struct.pack("<HH", 0, 0) + sizes[4:]
    central += struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    start = len(local) + len(packed)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), start, 0)
    return local + packed + central + end


def make_compound_file(stream: str) -> bytes:
    """Return an OLE compound file with one stream, as old or encrypted office files are (MS-CFB)."""
    free, chain_end, table_sector = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, chain_end, 0, chain_end, 0)
    header += struct.pack("<109I", 0, *[free] * 108)
    chain = [table_sector, chain_end, *range(3, 10), chain_end]  # the table, the directory, eight sectors of stream
    table = struct.pack("<128I", *chain, *[free] * (128 - len(chain)))
    directory = _make_entry("Root Entry", 5, child=1, start=chain_end, size=0)
    directory += _make_entry(stream, 2, child=free, start=2, size=4096) + 2 * _make_entry("", 0, free, 0, 0)
    return header + table + directory + bytes(8 * SECTOR)


def _make_entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    text = name.encode("utf-16-le")
    free = 0xFFFFFFFF
    length = len(text) + 2 if name else 0
    return (
        text.ljust(64, b"\0")
        + struct.pack("<HBBIII", length, kind, 1, free, free, child)
        + bytes(36)
        + struct.pack("<IQ", start, size)
    )


def _encrypt(content: bytes, password: str) -> bytes:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(content))
    writer.encrypt(password, algorithm="RC4-128")
    encrypted = io.BytesIO()
    writer.write(encrypted)
    return encrypted.getvalue()


def _save(document: docx.document.Document | pptx.presentation.Presentation | openpyxl.Workbook | Document) -> bytes:
    saved = io.BytesIO()
    document.save(saved)
    return saved.getvalue()
