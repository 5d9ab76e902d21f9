"""The one place where a file's bytes become lines of text, so that no layout deals with encodings."""

import codecs
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

from charset_normalizer import from_bytes

from pipelines.parsed import EmptySource, UnreadableSource

MAX_BYTES = 64 * 1024 * 1024  # a day of speech as pretty-printed WhisperX JSON is about 20 MB

_DOCUMENT = "word/document.xml"
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_SAMPLE = 32 * 1024  # bytes enough to tell an encoding; the detector's time grows with its input
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HINT = re.compile(r"transcript|session|interview|conversation|meeting|dialog|chat|captions?|subtitles?", re.IGNORECASE)


class NotText(UnreadableSource):
    """The file is binary, not a transcript; export the transcript as text, VTT, SRT or DOCX and upload that."""


class TooLarge(UnreadableSource):
    """The transcript is larger than 64 MB; split it and upload the parts."""


@dataclass(frozen=True)
class Source:
    """One file as text; `lines` carry no line ends, `is_word` tells a DOCX whose paragraphs they are."""

    name: str
    text: str
    lines: tuple[str, ...]
    is_word: bool = False

    @property
    def is_named_like_one(self) -> bool:
        """Whether the file's name speaks of a transcript; a hint where the content alone leaves doubt."""
        return bool(_HINT.search(PurePosixPath(self.name).name))

    @cached_property
    def json(self) -> object:
        """What the text stands for as JSON, None when it is none."""
        return find_json(self.text) if self.text.lstrip()[:1] in {"{", "["} else None


def find_json(text: str) -> object:
    """Return what the text stands for as JSON, None when it is none or nested too deep to be a record of speech."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def open_source(name: str, content: bytes) -> Source:
    """Return the file as text.

    Raises NotText, TooLarge, EmptySource when nothing but white space is left, UnreadableSource for a broken DOCX.
    """
    if len(content) > MAX_BYTES:
        raise TooLarge
    is_word = content.startswith(b"PK\x03\x04")
    text = "\n\n".join(_list_paragraphs(content)) if is_word else decode(content)
    if not text.strip():
        raise EmptySource
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Source(name, text, tuple(text.split("\n")), is_word)


def decode(content: bytes) -> str:
    """Return the text of these bytes without a byte order mark; raises NotText for binary content."""
    encodings = [encoding for mark, encoding in _BOMS if content.startswith(mark)]
    encodings += _list_utf16(content) if not encodings else []
    try:
        text = content.decode(encodings[0] if encodings else "utf-8")
    except UnicodeDecodeError as error:
        if encodings:
            raise NotText from error
        text = _decode_legacy(content)
    if _CONTROL.search(text):
        raise NotText
    return text


def _list_utf16(content: bytes) -> list[str]:
    """Name the UTF-16 that text without a mark is in: in Western text every second byte is mostly zero."""
    sample = content[:_SAMPLE]
    half = len(sample) // 2
    if half < 8 or len(content) % 2 or b"\x00" not in sample:
        return []
    if sample[1::2].count(0) > 0.7 * half:
        return ["utf-16-le"]
    return ["utf-16-be"] if sample[0::2].count(0) > 0.7 * half else []


def _decode_legacy(content: bytes) -> str:
    """Decode 8-bit text, as Windows-1252 unless the detector finds that a worse reading than another.

    Short Western texts fit several code pages equally well; Windows-1252 is what programs that still write
    one use most, and it contains the printable part of Latin-1.
    """
    if _CONTROL.search(content[:_SAMPLE].decode("latin-1")):
        raise NotText
    # Cut after the last line end, so that no multi-byte character is halved.
    sample = content[:_SAMPLE]
    if len(content) > _SAMPLE and b"\n" in sample:
        sample = sample[: sample.rindex(b"\n") + 1]
    matches = from_bytes(sample, threshold=0.3)
    best = matches.best()
    western = [match for match in matches if match.encoding in {"cp1252", "latin_1"}]
    encodings = ["cp1252", "latin-1"]
    if best is not None and not any(match.chaos <= best.chaos for match in western):
        encodings.insert(0, best.encoding)
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue  # the last of them, Latin-1, knows every byte
    raise NotText


def _list_paragraphs(content: bytes) -> Iterator[str]:
    """Yield the text of each paragraph of a DOCX, tables left out, with line breaks as in the document.

    Read from the package's main part alone, because exports lack the other parts a Word reader asks for.
    """
    for paragraph in _read_body(content).iterfind(f"{_WORD}p"):
        pieces = []
        for node in paragraph.iter():
            if node.tag == f"{_WORD}t":
                pieces.append(node.text or "")
            elif node.tag in {f"{_WORD}br", f"{_WORD}cr"}:
                pieces.append("\n")
            elif node.tag == f"{_WORD}tab":
                pieces.append("\t")
        yield "".join(pieces)


def _read_body(content: bytes) -> ET.Element:
    broken = UnreadableSource("This DOCX is damaged; open it in Word, save it again and upload it.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            if _DOCUMENT not in package.namelist():
                raise NotText
            with package.open(_DOCUMENT) as part:
                xml = part.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
        raise broken from error
    if len(xml) > MAX_BYTES:
        raise TooLarge
    try:
        root = ET.fromstring(xml)  # noqa: S314  # expat bounds entity expansion and fetches nothing; the size is bounded above
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two: an encoding nobody knows
        raise broken from error
    body = root.find(f"{_WORD}body")
    if body is None:
        raise broken
    return body
