"""Bytes of unknown kind become a transcript or a document, within limits."""

import json
import re
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid
from pipelines.documents.errors import TooLargeSource, UnknownFormat
from pipelines.parsed import EmptySource, ParsedDocument, ParsedTranscript
from pipelines.read import ReadLimits, check_size, read_source
from tests.factories import files

VTT = b"WEBVTT\n\n00:01.000 --> 00:03.000\n<v Amina>I will call her.\n\n00:04.000 --> 00:05.000\n<v Coach>When?\n"
LEAST_RECALL = 0.95


async def test_a_transcript_and_a_document_are_told_apart() -> None:
    transcript = await read_source("session.vtt", VTT)
    assert isinstance(transcript, ParsedTranscript)
    assert [(turn.speaker, turn.text) for turn in transcript.turns] == [
        ("Amina", "I will call her."),
        ("Coach", "When?"),
    ]
    document = await read_source("notes.md", b"# Aims\n\nShe wants to lead.")
    assert isinstance(document, ParsedDocument)
    assert document.title == "Aims"


async def test_the_kind_asked_for_is_the_kind_read() -> None:
    assert isinstance(await read_source("session.vtt", VTT, kind="document"), ParsedDocument)
    assert isinstance(await read_source("session.vtt", VTT, kind="transcript"), ParsedTranscript)
    with pytest.raises(UnknownFormat, match=r"essay\.pdf is a PDF file in no known transcript layout; export"):
        await read_source("essay.pdf", files.make_pdf([(72, 700, 12, "prose")]), kind="transcript")
    with pytest.raises(UnknownFormat, match=r"desk\.png looks like a PNG image"):
        await read_source("desk.png", b"\x89PNG\r\n\x1a\n" + bytes(50), kind="transcript")


async def test_what_the_store_cannot_hold_is_cleaned() -> None:
    page = b"<title>A\x01</title><p>be\x02fore</p><p>\x03</p><p>caf&#233; &#xD800;</p>" + b"<p>after</p>" * 20
    document = await read_source("a.html", page)
    assert isinstance(document, ParsedDocument)
    assert document.title == "A"
    stored = [block.text for block in document.blocks]
    assert stored[0] == "before"
    assert all(text == text.encode("utf-8").decode() and "\x00" not in text for text in stored)


async def test_speakers_are_cleaned_too() -> None:
    transcript = await read_source("session.vtt", VTT.replace(b"Amina", "Am\uffffina".encode()))
    assert isinstance(transcript, ParsedTranscript)
    assert transcript.turns[0].speaker == "Amina"


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (ReadLimits(characters=10), "a.txt holds 17 characters of text, more than the 10 that can be read"),
        (ReadLimits(blocks=1), "a.txt holds 2 paragraphs of text, more than the 1 that can be read"),
        (ReadLimits(size_bytes=18), "a.txt has 0 MB, more than the 0 MB that can be read"),
    ],
)
async def test_every_limit_holds(limits: ReadLimits, sentence: str) -> None:
    with pytest.raises(TooLargeSource) as raised:
        await read_source("a.txt", b"one two\n\nthree four", limits=limits)
    assert raised.value.message == f"{sentence}; split it into smaller files and upload them."


def test_sizes_are_refused_before_anything_is_fetched() -> None:
    check_size("a.pdf", 100_000_000)
    with pytest.raises(TooLargeSource, match=r"^film\.pdf has 2,000 MB, more than the 100 MB that can be read; split"):
        check_size("film.pdf", 2_000_000_000)
    with pytest.raises(EmptySource, match=r"^a\.pdf is empty; check that it was exported completely"):
        check_size("a.pdf", 0)
    with pytest.raises(Invalid, match="-1 bytes"):
        check_size("a.pdf", -1)


def list_documents(shared_data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shared_data / "docs_manifest.jsonl").read_text("utf-8").splitlines()]


def count_words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def count_expected_words(markdown: str) -> Counter[str]:
    """Comments and the targets of links are no words of the document."""
    text = unescape(re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL))
    return count_words(re.sub(r"\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)", "]", text))


async def test_published_documents_keep_their_words(shared_data: Path) -> None:
    recalls = {}
    for row in list_documents(shared_data):
        path = shared_data / row["file"]
        if row["expect"] != "ok":
            continue
        document = await read_source(path.name, path.read_bytes(), kind="document")
        assert isinstance(document, ParsedDocument)
        assert document.blocks, path.name
        if expected := row.get("expected_markdown"):
            wanted = count_expected_words((shared_data / expected).read_text("utf-8"))
            found = count_words("\n".join(block.text for block in document.blocks))
            recalls[path.name] = (wanted & found).total() / wanted.total()
    assert len(recalls) == 7
    assert {name: recall for name, recall in recalls.items() if recall < LEAST_RECALL} == {}


async def test_published_malformed_documents_end_as_they_should(shared_data: Path) -> None:
    outcomes = {}
    for row in list_documents(shared_data):
        path = shared_data / row["file"]
        if row["expect"] == "ok":
            continue
        try:
            read = await read_source(path.name, path.read_bytes(), kind="document")
        except Invalid as error:
            outcomes[path.name] = error.message.partition("; ")[0]
        else:
            assert isinstance(read, ParsedDocument)
            outcomes[path.name] = f"{read.format}: {'read' if read.blocks else 'nothing'}"
    assert outcomes == {
        "copy-protected.pdf": "pdf: read",
        "fake-power-point-malformed.pptx": "pptx: read",
        "fake-text-utf-16.txt": "txt: read",
        "fake-text-all-whitespace.txt": "fake-text-all-whitespace.txt holds no text",
        "fake-email-malformed-encoding.eml": "eml: read",
        "umlauts-non-utf8.md": "md: read",
        "truncated_60pct_multi_page.pdf": "truncated_60pct_multi_page.pdf is incomplete, its end is missing",
        "pdf_named_as.docx": "pdf: read",
    }


async def test_evidence_of_published_reports_stands_on_its_page(shared_data: Path) -> None:
    lines = (shared_data / "financebench" / "questions.jsonl").read_text("utf-8").splitlines()
    evidence = [item for line in lines for item in json.loads(line)["evidence"]]
    reports: dict[str, ParsedDocument] = {}
    for name in sorted({item["doc"] for item in evidence}):
        path = shared_data / "financebench" / "pdfs" / f"{name}.pdf"
        report = await read_source(path.name, path.read_bytes(), kind="document")
        assert isinstance(report, ParsedDocument)
        reports[name] = report
    recalls = []
    for item in evidence:
        page = item["page_zero_indexed"] + 1
        found = count_words("\n".join(block.text for block in reports[item["doc"]].blocks if block.page == page))
        wanted = count_words(item["text"])
        recalls.append((wanted & found).total() / wanted.total())
    assert len(recalls) >= 19
    assert min(recalls) >= LEAST_RECALL
