"""Every format becomes the same blocks: text, kind, page and level."""

import datetime
import email.message
import io
import zipfile

import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.documents import UnknownFormat, identify_format, parse_document
from pipelines.documents.encodings import clean_text, decode_text
from pipelines.documents.formats import DocumentFormat
from pipelines.documents.markup import measure_depth
from pipelines.documents.tables import ROWS_PER_BLOCK
from pipelines.parsed import Block, ParsedDocument, UnreadableSource
from tests.factories import files


def texts(document: ParsedDocument) -> list[str]:
    return [block.text for block in document.blocks]


def read_or_refuse(name: str, content: bytes) -> ParsedDocument | str:
    try:
        return parse_document(name, content)
    except UnreadableSource as error:
        return error.message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("report.docx", files.make_pdf([(72, 700, 12, "words")]), "pdf"),
        ("x.pdf", files.make_docx(["words"]), "docx"),
        ("x", files.make_pptx([("A", ["b"])]), "pptx"),
        ("x.zip", files.make_xlsx({"A": [["b"]]}), "xlsx"),
        ("x.docx", files.make_odt(), "odt"),
        ("x.txt", rb"{\rtf1 words}", "rtf"),
        ("x.txt", b"<!DOCTYPE html><p>words", "html"),
        ("x.txt", b"<?xml version='1.0'?>\n<!-- saved --><html><p>words", "html"),
        ("page.htm", b"<p>words</p>", "html"),
        ("page.html", b"no tags at all", "txt"),
        ("x", b"Message-ID: <1@a>\nFrom: a@b\nSubject: Hi\n\nwords", "eml"),
        ("x.txt", b"From: Amina\nTo: her coach\nSubject: not mail\n\nwords", "txt"),
        ("notes.md", b"# words", "md"),
        ("rows.csv", b"a,b\n1,2", "csv"),
        ("rows.csv", "a,b\n1,2".encode("utf-16"), "csv"),
        ("x.bin", b"plain words", "txt"),
    ],
)
def test_bytes_decide_the_format(name: str, content: bytes, expected: DocumentFormat) -> None:
    assert identify_format(name, content) == expected


def test_docx_keeps_headings_and_table_rows() -> None:
    content = files.make_docx(["She wants to lead."], heading="Aims", rows=[["week", "hours"], ["one", "three"]])
    document = parse_document("aims.docx", content)
    assert document.format == "docx"
    assert document.title == "Aims"
    assert document.blocks == (
        Block("Aims", kind="heading", level=1),
        Block("She wants to lead."),
        Block("week | hours\none | three", kind="table"),
    )


def test_docx_keeps_boxes_controls_changes_and_notes() -> None:
    whole = files.make_docx(["before", "after"])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    run = "<w:r><w:t>{}</w:t></w:r>".format
    box = f"<w:txbxContent><w:p>{run('boxed')}</w:p></w:txbxContent>"
    added = (
        f"<w:p>{run('She ')}<w:ins>{run('now ')}</w:ins><w:del><w:r><w:delText>never </w:delText></w:r></w:del>"
        f"{run('leads.')}<w:r><w:pict>{box}</w:pict></w:r></w:p>"
        f"<w:sdt><w:sdtContent><w:p>{run('controlled')}</w:p></w:sdtContent></w:sdt>"
    )
    body = members["word/document.xml"].replace(b"<w:sectPr", added.encode() + b"<w:sectPr")
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    notes = (
        f'<w:footnotes {space}><w:footnote w:type="separator"><w:p>{run("line")}</w:p></w:footnote>'
        f"<w:footnote><w:p>{run('a note')}</w:p></w:footnote></w:footnotes>"
    )
    changed = members | {"word/document.xml": body, "word/footnotes.xml": notes.encode()}
    found = texts(parse_document("changed.docx", files.make_zip(changed)))
    assert found == ["before", "after", "She now leads.", "boxed", "controlled", "a note"]


def test_pptx_pages_are_slides() -> None:
    document = parse_document("talk.pptx", files.make_pptx([("First", ["one", "two"]), ("Second", ["three"])]))
    assert document.page_count == 2
    assert [(block.text, block.page) for block in document.blocks] == [
        ("First", 1),
        ("one", 1),
        ("two", 1),
        ("Second", 2),
        ("three", 2),
    ]
    assert [block.text for block in document.blocks if block.kind == "heading"] == ["First", "Second"]


def test_pptx_reads_groups_and_then_the_notes() -> None:
    presentation = pptx.Presentation()
    for number in (1, 2):
        slide = presentation.slides.add_slide(presentation.slide_layouts[5])
        slide.shapes.title.text = f"Title {number}"
        box = slide.shapes.add_group_shape().shapes.add_textbox(0, 9_000_000, 9144, 9144)
        box.text_frame.text = f"grouped {number}"
        slide.notes_slide.notes_text_frame.text = f"said {number}"
    saved = io.BytesIO()
    presentation.save(saved)
    blocks = parse_document("talk.pptx", saved.getvalue()).blocks
    assert [(block.text, block.page) for block in blocks] == [
        (text, number) for number in (1, 2) for text in (f"Title {number}", f"grouped {number}", f"said {number}")
    ]


def test_pptx_merged_cells_reach_every_row_and_lists_keep_their_numbers() -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = slide.shapes.add_table(3, 2, 0, 0, 914400, 914400).table
    for row, (left, right) in enumerate([("phase", "step"), ("Start", "ask"), ("", "listen")]):
        table.cell(row, 0).text, table.cell(row, 1).text = left, right
    table.cell(1, 0).merge(table.cell(2, 0))
    frame = slide.shapes.add_textbox(0, 0, 914400, 914400).text_frame
    frame.text = "breathe\nspeak"
    for paragraph in frame.paragraphs:
        paragraph._p.get_or_add_pPr().append(
            pptx.oxml.parse_xml(
                '<a:buAutoNum xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" type="arabicPeriod"/>'
            )
        )
    saved = io.BytesIO()
    presentation.save(saved)
    found = texts(parse_document("steps.pptx", saved.getvalue()))
    assert "phase | step\nStart | ask\nStart | listen" in found
    assert found[-2:] == ["1. breathe", "2. speak"]


def test_xlsx_sheets_are_pages_and_long_ones_repeat_their_header() -> None:
    rows: list[list[object]] = [["client", "met", "hours"]]
    rows += [[f"client {n}", datetime.date(2026, 3, 2), 0.1 + 0.2] for n in range(ROWS_PER_BLOCK + 1)]
    document = parse_document("hours.xlsx", files.make_xlsx({"Hours": rows, "Empty": [], "Notes": [["only a note"]]}))
    heading, first, second, *rest = document.blocks
    assert heading == Block("Hours", kind="heading", page=1, level=1)
    assert first.text.splitlines()[1] == "client 0 | 2026-03-02 | 0.3"
    assert len(first.text.splitlines()) == ROWS_PER_BLOCK + 1
    assert second.text.splitlines() == ["client | met | hours", f"client {ROWS_PER_BLOCK} | 2026-03-02 | 0.3"]
    assert [(block.text, block.page) for block in rest] == [("Notes", 3), ("only a note", 3)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_of_any_delimiter(delimiter: str) -> None:
    content = f'name{delimiter}said\nAmina{delimiter}"yes{delimiter} or\nno"\n'.encode()
    assert texts(parse_document("said.csv", content)) == [f"name | said\nAmina | yes{delimiter.strip()} or no"]


def test_html_keeps_structure_captions_and_folded_answers() -> None:
    page = """<html><head><title>How &amp; why</title></head><body><nav>menu</nav><form>
    <h2>Aims</h2><p>She wants to lead.</p><ul><li>ask</li></ul>
    <table><tr><th>week</th><th>hours</th></tr><tr><td>one</td><td>three</td></tr></table>
    <figure><img src="a.png"><figcaption>Her desk</figcaption></figure>
    <details><summary>What is coaching?</summary><p>Asking well.</p></details>
    <script>var hidden = 1;</script></form></body></html>"""
    document = parse_document("page.html", page.encode())
    assert document.title == "How & why"
    assert document.blocks[:4] == (
        Block("Aims", kind="heading", level=2),
        Block("She wants to lead."),
        Block("ask", kind="list", level=2),
        Block("week | hours\none | three", kind="table"),
    )
    assert texts(document)[4:] == ["Her desk", "What is coaching?", "Asking well."]


def test_html_of_any_depth_gives_its_text() -> None:
    page = "<html><body>" + "<div>" * 100_000 + "<h3>Deep</h3><p>words</p>" + "</div>" * 100_000 + "<p>after</p>"
    document = parse_document("deep.html", page.encode())
    assert document.blocks == (Block("Deep", kind="heading", level=3), Block("words"), Block("after"))
    assert "nested" in document.warnings[0]


def test_depth_counts_only_elements_that_must_be_closed() -> None:
    assert measure_depth("<ul>" + "<li>one" * 1000 + "</ul><br><p>a<p>b" + "<div><DIV></div></div>") == 2


def test_html_beside_an_empty_main_is_read() -> None:
    assert texts(parse_document("a.html", b"<html><main></main><p>beside</p></html>")) == ["beside"]


def test_markdown_keeps_code_and_tables() -> None:
    content = (
        b"# Aims\n\nShe wants to lead.\n\n- ask\n\n| week | hours |\n|---|---|\n| one | three |\n\n```\nx = 1\n```\n"
    )
    kinds = [(block.kind, block.text) for block in parse_document("aims.md", content).blocks]
    assert kinds == [
        ("heading", "Aims"),
        ("text", "She wants to lead."),
        ("list", "ask"),
        ("table", "week | hours\none | three"),
        ("code", "x = 1"),
    ]


def test_markdown_too_deep_for_its_parser_is_text() -> None:
    assert texts(parse_document("quote.md", b">" * 2_000 + b"words"))[0].endswith("words")


def test_rtf_keeps_table_rows_and_letters() -> None:
    content = rb"{\rtf1\ansi She wants to lead caf\'e9 \u1044?\par{\trowd\cellx1\cellx2 week\cell hours\cell\row}}"
    assert texts(parse_document("aims.rtf", content)) == ["She wants to lead café Д", "week | hours"]


def test_odt_keeps_headings_lists_and_tables() -> None:
    assert parse_document("aims.odt", files.make_odt()).blocks == (
        Block("Aims", kind="heading", level=2),
        Block("She wants to lead."),
        Block("first", kind="list", level=1),
        Block("deeper", kind="list", level=2),
        Block("week | hours\none | three", kind="table"),
    )


def test_text_without_empty_lines_has_its_paragraphs_in_its_lines() -> None:
    lines = [f"Line {number} says something of its own." for number in range(200)]
    assert texts(parse_document("lines.txt", "\r\n".join(lines).encode())) == lines
    assert texts(parse_document("two.txt", b"one\ntwo\n\n  \nthree")) == ["one\ntwo", "three"]


def make_mail() -> email.message.EmailMessage:
    mail = email.message.EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Next steps", "amina@example.org", "coach@example.org"
    mail.set_content("See the attachments.")
    mail.add_alternative("<p>See the <b>attachments</b>.</p>", subtype="html")
    return mail


def test_mail_reads_one_alternative_and_its_attachments() -> None:
    mail = make_mail()
    mail.add_attachment("Breathe first.", filename="steps.txt")
    mail.add_attachment(files.make_docx(["Then speak."]), maintype="application", subtype="x", filename="more.docx")
    mail.add_attachment(b"\x89PNG\r\n\x1a\n" + bytes(50), maintype="image", subtype="png", filename="desk.png")
    document = parse_document("next.eml", mail.as_bytes())
    assert document.title == "Next steps"
    assert texts(document) == [
        "Next steps",
        "From: amina@example.org\nTo: coach@example.org",
        "See the attachments.",
        "steps.txt",
        "Breathe first.",
        "more.docx",
        "Then speak.",
    ]
    assert len(document.warnings) == 1
    assert "desk.png looks like a PNG image" in document.warnings[0]


def test_mail_inside_mail_is_read() -> None:
    outer = make_mail()
    inner = email.message.EmailMessage()
    inner["Subject"] = "Earlier"
    inner.set_content("<p>Only markup.</p>", subtype="html")
    outer.add_attachment(inner)
    assert texts(parse_document("forward.eml", outer.as_bytes()))[-1] == "Only markup."


def test_mail_that_lies_about_its_encoding_is_read() -> None:
    content = (
        b"Message-ID: <1@a>\nMIME-Version: 1.0\nSubject: =?utf-8?q?Caf=C3=A9?=\nDate: Tue, 3 Mar 2026\n"
        b'Content-Type: text/plain; charset="no-such"\n\nna\xefve caf\xe9\n'
    )
    document = parse_document("lie.eml", content)
    assert document.title == "Café"
    assert texts(document)[-1] == "naïve café"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("zażółć".encode(), "zażółć"),
        ("\ufeffmarked".encode(), "marked"),
        ("wide".encode("utf-16"), "wide"),
        ("wide words".encode("utf-16-le"), "wide words"),
        ("wide words".encode("utf-16-be"), "wide words"),
        ("wider".encode("utf-32"), "wider"),
        ("können".encode("latin-1"), "können"),
        ("“quoted” € so".encode("cp1252"), "“quoted” € so"),
        (("Она хочет руководить своей командой и говорить спокойно. " * 5).encode("cp1251"), None),
    ],
)
def test_text_of_any_encoding(content: bytes, expected: str | None) -> None:
    assert decode_text(content) == (expected or content.decode("cp1251"))


@pytest.mark.parametrize(
    ("encoding", "text"), [("windows-1251", "Она хочет"), ("shift_jis", "彼女の目標"), ("iso-2022-jp", "彼女の目標")]
)
def test_html_is_decoded_as_it_declares(encoding: str, text: str) -> None:
    page = f'<html><head><meta http-equiv="x" content="text/html; charset={encoding}"></head><p>{text}</p></html>'
    assert texts(parse_document("page.html", page.encode(encoding))) == [text]


def test_a_false_declaration_is_ignored() -> None:
    assert decode_text("für".encode(), "iso-8859-1") == "für"
    assert decode_text("für".encode("latin-1"), "no-such") == "für"


def test_text_keeps_what_the_store_can_hold() -> None:
    assert clean_text("a\x00b\ud800c\x07\td\n\u00e9") == "ab\ufffdc\td\n\u00e9"


@given(st.binary(max_size=400), st.sampled_from(["a.txt", "a.csv", "a.md", "a.html", "a.eml", "a.pdf", "a"]))
@settings(max_examples=150)
def test_any_bytes_give_text_or_a_sentence(content: bytes, name: str) -> None:
    outcome = read_or_refuse(name, content)
    if isinstance(outcome, str):
        assert name in outcome
        assert outcome.endswith(".")
    else:
        assert all(block.text for block in outcome.blocks)


WHOLE = {
    "docx": files.make_docx(["words"], heading="Aims"),
    "pptx": files.make_pptx([("A", ["b"])]),
    "xlsx": files.make_xlsx({"A": [["b"]]}),
    "odt": files.make_odt(),
    "pdf": files.make_pdf([(72, 700, 12, "words")]),
    "eml": make_mail().as_bytes(),
}


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1), st.integers(0, 40), st.binary(max_size=8))
@settings(max_examples=120)
def test_damage_anywhere_gives_text_or_a_sentence(kind: str, place: float, lost: int, noise: bytes) -> None:
    whole = WHOLE[kind]
    at = int(place * len(whole))
    outcome = read_or_refuse("damaged", whole[:at] + noise + whole[at + lost :])
    assert not isinstance(outcome, str) or "damaged" in outcome


@pytest.mark.parametrize("name", ["poster.odp", "book.epub", "files.zip"])
def test_archives_that_are_no_text_say_so(name: str) -> None:
    mimetype = {"odp": b"application/vnd.oasis.opendocument.presentation", "epub": b"application/epub+zip"}
    content = files.make_zip({"mimetype": mimetype.get(name.split(".")[1], b""), "a.txt": b"words"})
    with pytest.raises(UnknownFormat, match=name):
        parse_document(name, content)
