"""Whatever is uploaded, the outcome is text or one sentence that names the file and the cure."""

import asyncio
import io
import os
import zipfile

import pytest

from pipelines import read
from pipelines.documents.errors import DamagedSource, ProtectedSource, TooLargeSource, UnknownFormat
from pipelines.isolation import ReaderCrashed, TookTooLong, TookTooMuchMemory, end_idle_children
from pipelines.parsed import EmptySource, ParsedDocument, UnreadableSource
from pipelines.read import ReadLimits, SourceKind, read_source
from tests.factories import files


async def refuse(name: str, content: bytes, *, kind: SourceKind | None = None, limits: ReadLimits | None = None) -> str:
    """Return the one sentence that the file is refused with."""
    with pytest.raises(UnreadableSource) as raised:
        await read_source(name, content, kind=kind, limits=limits)
    sentence = raised.value.message
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence.removeprefix(name).strip()


async def texts(name: str, content: bytes) -> list[str]:
    document = await read_source(name, content, kind="document")
    assert isinstance(document, ParsedDocument)
    return [block.text for block in document.blocks]


@pytest.mark.parametrize("content", [b" \n\t ", "\ufeff \u00a0".encode(), b"<html><body></body></html>", b"\x00\x00"])
async def test_nothing_but_space_is_reported_as_empty(content: bytes) -> None:
    with pytest.raises(UnreadableSource, match="blank"):
        await read_source("blank", content)


async def test_no_bytes_are_reported_as_empty() -> None:
    assert await refuse("a.docx", b"") == "is empty; check that it was exported completely and upload it again."
    with pytest.raises(EmptySource):
        await read_source("a.docx", b"")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "a JPG image"),
        (b"ID3\x04" + bytes(64), "an MP3 recording"),
        (b"\x1f\x8b\x08" + bytes(64), "a GZ file"),
        (b"\x7fELF\x02\x01\x01" + bytes(64), "an ELF file"),
        (bytes(range(256)) * 8, "a program's own binary file"),
    ],
)
async def test_other_kinds_of_file_are_called_by_their_name(content: bytes, what: str) -> None:
    sentence = await refuse("notes.txt", content)
    assert sentence.startswith(f"looks like {what}; only PDF, DOCX, PPTX")


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_bomb_is_refused_unopened(depth: int) -> None:
    content = files.make_bomb(2_000)
    for _ in range(depth - 1):
        content = files.make_zip({"word/embedded.docx": content, "word/document.xml": b"<w/>"})
    assert len(content) < 4_000_000
    limits = ReadLimits(memory_bytes=512 << 20)
    assert (await refuse("bomb.docx", content, limits=limits)).startswith("would unpack to far more than its own size")


async def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    bomb = bytearray(files.make_bomb(600))
    declared = (600 << 20).to_bytes(4, "little")
    assert bomb.count(declared) == 2
    content = bytes(bomb.replace(declared, (1_000).to_bytes(4, "little")))
    sentence = await refuse("bomb.docx", content, limits=ReadLimits(memory_bytes=512 << 20))
    assert sentence.startswith("is damaged or incomplete")


async def test_archives_in_archives_in_archives_are_refused() -> None:
    content = files.make_zip({"a.txt": b"words"})
    for _ in range(4):
        content = files.make_zip({"inner.zip": content})
    assert (await refuse("nest.zip", content)).startswith("holds archives nested more than 3 deep")


async def test_a_thousand_thousand_members_are_refused() -> None:
    content = files.make_zip({f"word/{number}.xml": b"" for number in range(20_001)})
    with pytest.raises(TooLargeSource):
        await read_source("many.docx", content)


async def test_entities_do_not_multiply() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    body = (
        f'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY l0 "ha">{laughs}]>'
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        "<w:body><w:p><w:r><w:t>words &l9;</w:t></w:r></w:p></w:body></w:document>"
    )
    with zipfile.ZipFile(io.BytesIO(files.make_docx(["x"]))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = files.make_zip(members | {"word/document.xml": body.encode()})
    assert await texts("laughs.docx", content) == ["words"]


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        ("EncryptedPackage", "is protected by a password; remove the password and upload it again."),
        ("WordDocument", "is an old Word file; save it as DOCX and upload that."),
        ("Workbook", "is an old Excel file; save it as XLSX and upload that."),
        ("Other", "is an old office file; save it in a current format or as PDF and upload that."),
    ],
)
async def test_compound_files_say_what_they_are(stream: str, sentence: str) -> None:
    assert await refuse("plan.docx", files.make_compound_file(stream)) == sentence


async def test_a_broken_compound_file_is_damaged() -> None:
    with pytest.raises(DamagedSource):
        await read_source("plan.doc", files.make_compound_file("WordDocument")[:700])


async def test_passwords_of_every_format_are_named() -> None:
    content = bytearray(files.make_zip({"word/document.xml": b"x", "[Content_Types].xml": b"x"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the directory's encryption flag
    manifest = b"<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
    locked = {
        "a.docx": bytes(content),
        "a.odt": files.make_zip(
            {"mimetype": b"application/vnd.oasis.opendocument.text", "META-INF/manifest.xml": manifest}
        ),
        "a.pdf": files.make_pdf([(72, 700, 12, "words")], password="opensesame"),
    }
    for name, bytes_ in locked.items():
        assert await refuse(name, bytes_) == "is protected by a password; remove the password and upload it again."
        with pytest.raises(ProtectedSource):
            await read_source(name, bytes_)


async def test_a_wrong_extension_does_not_matter() -> None:
    assert await texts("named.docx", files.make_pdf([(72, 700, 12, "words of a page")])) == ["words of a page"]
    assert await texts("named.pdf", files.make_docx(["words of a file"])) == ["words of a file"]


async def test_text_in_old_encodings_is_decoded() -> None:
    assert await texts("wide.txt", "Äpfel € früh".encode("utf-16")) == ["Äpfel € früh"]
    assert await texts("old.txt", "Äpfel früh".encode("latin-1")) == ["Äpfel früh"]


async def test_a_cut_file_is_refused() -> None:
    pdf = files.make_pdf(*[[(72, 700, 12, "words of a page")]] * 5)
    assert (await refuse("a.pdf", pdf[: len(pdf) // 2])).startswith("is incomplete, its end is missing; upload")
    office = files.make_docx(["words"])
    assert (await refuse("a.docx", office[: len(office) // 2])).startswith("is damaged or incomplete; open it")


async def test_a_broken_slide_keeps_the_words_of_the_others() -> None:
    whole = files.make_pptx([("First", ["one"]), ("Second", ["two"])])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    slide = members["ppt/slides/slide1.xml"]
    broken = members | {"ppt/slides/slide1.xml": slide[: slide.index(b">one<") + 4]}
    document = await read_source("talk.pptx", files.make_zip(broken))
    assert isinstance(document, ParsedDocument)
    assert [(block.text, block.page) for block in document.blocks] == [
        ("First", 1),
        ("one", 1),
        ("Second", 2),
        ("two", 2),
    ]
    assert "damaged" in document.warnings[0]


async def test_html_nested_a_hundred_thousand_deep_is_read() -> None:
    assert await texts("deep.html", b"<html>" + b"<div>" * 100_000 + b"words") == ["words"]


async def test_an_archive_is_to_be_unpacked() -> None:
    with pytest.raises(UnknownFormat, match=r"^a\.zip is a ZIP archive; unpack it and upload the files it holds\.$"):
        await read_source("a.zip", files.make_zip({"a.txt": b"words"}))


async def test_a_hanging_reader_is_stopped() -> None:
    tangle = b"[" * 50_000  # takes a Markdown parser minutes
    sentence = await refuse("tangle.md", tangle, limits=ReadLimits(seconds=4))
    assert sentence == "took longer than 4 seconds to read; split it into smaller files and upload them."
    with pytest.raises(TookTooLong):
        await read_source("tangle.md", tangle, limits=ReadLimits(seconds=0.01))


async def test_a_reader_that_needs_too_much_memory_is_stopped() -> None:
    end_idle_children()  # what a warm child already holds would count
    with pytest.raises(TookTooMuchMemory) as raised:
        await read_source("big.txt", b"words " * 10_000_000, limits=ReadLimits(memory_bytes=100 << 20))
    assert raised.value.message == (
        "big.txt needs more than 105 MB of memory to read; split it into smaller files and upload them."
    )


async def test_a_crashing_reader_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "read_here", os.abort)
    sentence = await refuse("odd.pdf", b"words")
    assert sentence == "made its reader crash; open it in its own program, save it anew and upload it again."
    with pytest.raises(ReaderCrashed):
        await read_source("odd.pdf", b"words")


async def test_bad_files_do_no_harm_to_good_ones() -> None:
    limits = ReadLimits(seconds=8, memory_bytes=512 << 20)
    bad = [
        ("tangle.md", b"[" * 50_000),
        ("bomb.docx", files.make_bomb(500)),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(9)),
    ]
    good = [(f"{number}.txt", f"words of file {number}".encode()) for number in range(20)]
    calls = [read_source(name, content, kind="document", limits=limits) for name, content in bad + good]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, UnreadableSource) for outcome in outcomes[: len(bad)])
    read_texts = [outcome.blocks[0].text for outcome in outcomes[len(bad) :] if isinstance(outcome, ParsedDocument)]
    assert read_texts == [content.decode() for _, content in good]
