"""A PDF becomes paragraphs in reading order with their pages."""

import pytest

from pipelines.documents import parse_document
from pipelines.documents.errors import DamagedSource, ProtectedSource
from pipelines.documents.layout import Line, order_paragraphs
from pipelines.parsed import Block, EmptySource, ParsedDocument
from tests.factories import files


def draw_column(x: float, top: float, *lines: str) -> list[tuple[float, float, float, str]]:
    return [(x, top - 12 * index, 10, line) for index, line in enumerate(lines)]


def read(*pages: list[tuple[float, float, float, str]]) -> ParsedDocument:
    return parse_document("report.pdf", files.make_pdf(*pages))


def make_line(text: str, left: float, top: float, *, right: float | None = None, height: float = 10) -> Line:
    end = left + 5 * len(text) if right is None else right
    return Line(text=text, left=left, right=end, top=top, bottom=top - height, height=height, weight=0)


def order(*lines: Line) -> list[str]:
    return [block.text for block in order_paragraphs(lines, page=1, body_height=10)]


def test_paragraphs_headings_lists_and_pages() -> None:
    first = [(72.0, 780.0, 16.0, "Aims of the year")]
    first += draw_column(72, 740, "She wants to lead a team of her own", "before the year is over.")
    first += draw_column(72, 690, "- ask for feedback", "- listen to the end")
    document = read(first, draw_column(72, 740, "A second page."))
    assert document.page_count == 2
    assert document.title == "Aims of the year"
    assert document.blocks == (
        Block("Aims of the year", kind="heading", page=1, level=1),
        Block("She wants to lead a team of her own before the year is over.", page=1),
        Block("- ask for feedback", kind="list", page=1),
        Block("- listen to the end", kind="list", page=1),
        Block("A second page.", page=2),
    )


def test_rows_of_numbers_stay_rows() -> None:
    rows = [(72.0, 700.0 - 20 * n, 10.0, f"Sessions held in quarter {n} {10 + n} {20 + n}") for n in (1, 2, 3)]
    table = read(rows).blocks[0]
    assert table.kind == "table"
    assert table.text.splitlines() == [row[3] for row in rows]


def test_columns_drawn_in_turns_are_read_one_after_the_other() -> None:
    left = draw_column(60, 700, "The left column goes", "on for a few lines", "and ends here.")
    right = draw_column(320, 700, "The right column goes", "on beside it", "and ends there.")
    footer = [(60.0, 60.0, 10.0, "A footer")]
    title = [(60.0, 780.0, 18.0, "A title over both of the columns of this page")]
    texts = [block.text for block in read(footer + right + left + title).blocks]
    assert texts == [
        "A title over both of the columns of this page",
        "The left column goes on for a few lines and ends here.",
        "The right column goes on beside it and ends there.",
        "A footer",
    ]


def test_orderly_drawing_order_is_kept() -> None:
    assert order(make_line("left, drawn first", 60, 500), make_line("right, higher up", 320, 700)) == [
        "left, drawn first",
        "right, higher up",
    ]


def test_aligned_bands_of_two_columns_are_not_read_across() -> None:
    lines = [
        make_line(f"{side} {row}", left, 700 - 40 * row) for row in range(4) for side, left in (("l", 60), ("r", 320))
    ]
    out_of_order = [*lines[2:], *lines[:2]]
    assert order(*out_of_order) == [f"{side} {row}" for side in "lr" for row in range(4)]


def test_raised_marks_join_their_line() -> None:
    mark = Line(text="2", left=110, right=114, top=704, bottom=696, height=8, weight=0)
    after = make_line(", she said", 114, 700)
    assert order(make_line("the coachee", 55, 700), mark, after) == ["the coachee2, she said"]


def test_hyphens_at_line_ends_are_mended() -> None:
    lines = [make_line("an agree\ufffe", 60, 700), make_line("ment on eﬃcient post-Lucene\ufffeBM25", 60, 688)]
    assert order(*lines) == ["an agreement on efficient post-Lucene-BM25"]


def test_a_sentence_end_and_an_indent_start_a_paragraph() -> None:
    lines = [make_line("It ended here.", 60, 700), make_line("Then a new one", 75, 688), make_line("went on", 60, 676)]
    assert order(*lines) == ["It ended here.", "Then a new one went on"]


def test_chinese_lines_join_without_a_space() -> None:
    assert order(make_line("她想领导", 60, 700), make_line("自己的团队", 60, 688)) == ["她想领导自己的团队"]


def test_a_page_without_letters_is_no_text() -> None:
    with pytest.raises(EmptySource, match=r"report\.pdf holds no text, only pictures of pages; run text recognition"):
        read([], [])


def test_a_password_is_named() -> None:
    content = files.make_pdf(draw_column(72, 700, "secret"), password="opensesame")
    with pytest.raises(ProtectedSource, match=r"report\.pdf is protected by a password; remove the password"):
        parse_document("report.pdf", content)


def test_a_cut_file_is_named_incomplete() -> None:
    content = files.make_pdf(*[draw_column(72, 700, "words of a page")] * 3)
    with pytest.raises(DamagedSource, match=r"report\.pdf is incomplete, its end is missing"):
        parse_document("report.pdf", content[: len(content) // 5])


def test_hidden_letters_are_reported() -> None:
    document = read([(72, 700, 10, "fine \\001\\002\\003\\004 words")])
    assert "hides its letters" in document.warnings[0]
