"""Decide what a file is by its bytes; its extension is a hint where bytes leave a choice."""

import io
import re
from pathlib import PurePath
from typing import Literal

from pipelines.documents.archives import is_archive, list_members, read_member
from pipelines.documents.encodings import decode_text, is_binary
from pipelines.documents.errors import DamagedSource, ProtectedSource, UnknownFormat

DocumentFormat = Literal["pdf", "docx", "pptx", "xlsx", "odt", "rtf", "eml", "html", "md", "csv", "txt"]

READABLE = "PDF, DOCX, PPTX, XLSX, ODT, RTF, EML, HTML, Markdown, CSV and plain text"
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

# A PDF may have junk before its header; readers look this far (ISO 32000-1, annex H.3.4.1).
PDF_HEADER_WITHIN = 1024

# The folder of the main part says which office program wrote a package (ECMA-376, part 1).
PACKAGE_FOLDERS: tuple[tuple[str, DocumentFormat], ...] = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))

# Streams of the compound files that older or encrypting office programs write.
OLE_STREAMS = (
    ("WordDocument", "an old Word file", "DOCX"),
    ("Workbook", "an old Excel file", "XLSX"),
    ("Book", "an old Excel file", "XLSX"),
    ("PowerPoint Document", "an old PowerPoint file", "PPTX"),
    ("__properties_version1.0", "an Outlook message", "EML"),
)

MAIL_HEADER = re.compile(
    rb"^(?:from|to|cc|date|subject|received|message-id|mime-version|return-path|delivered-to|content-type|reply-to"
    rb"|dkim-signature|x-[\w-]+):",
    re.IGNORECASE | re.MULTILINE,
)
HTML_START = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
HTML_TAG = re.compile(r"<(?:p|div|h[1-6]|table|ul|ol|span|br)\b[^>]*>", re.IGNORECASE)
HINTS: dict[str, DocumentFormat] = {
    ".md": "md",
    ".markdown": "md",
    ".csv": "csv",
    ".tsv": "csv",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".eml": "eml",
}


def identify_format(name: str, content: bytes) -> DocumentFormat:
    """Return the format the bytes have.

    Raises ProtectedSource, DamagedSource or UnknownFormat, each naming the file.
    """
    if b"%PDF-" in content[:PDF_HEADER_WITHIN]:
        return "pdf"
    if is_archive(content):
        return _identify_package(name, content)
    if content.startswith(OLE_MAGIC):
        raise _refuse_compound_file(name, content)
    if content.startswith(b"{\\rtf"):
        return "rtf"
    _refuse_known_binary(name, content)
    return _identify_text(name, content)


def _identify_package(name: str, content: bytes) -> DocumentFormat:
    members = list_members(content)
    mimetype = read_member(content, "mimetype", most=200).strip()
    if mimetype.startswith(b"application/vnd.oasis.opendocument.text"):
        if b"encryption-data" in read_member(content, "META-INF/manifest.xml"):
            raise ProtectedSource(f"{name} is protected by a password; remove the password and upload it again.")
        return "odt"
    for folder, found in PACKAGE_FOLDERS:
        if any(member.startswith(folder) for member in members):
            return found
    if mimetype.startswith(b"application/vnd.oasis.opendocument"):
        raise UnknownFormat(f"{name} is an OpenDocument file that is no text; save it as PDF and upload that.")
    if mimetype == b"application/epub+zip":
        raise UnknownFormat(f"{name} is an e-book; save it as PDF or HTML and upload that.")
    raise UnknownFormat(f"{name} is a ZIP archive; unpack it and upload the files it holds.")


def _refuse_compound_file(name: str, content: bytes) -> Exception:
    import olefile  # only for the rare compound file

    try:
        with olefile.OleFileIO(io.BytesIO(content)) as compound:
            if compound.exists("EncryptedPackage"):
                return ProtectedSource(f"{name} is protected by a password; remove the password and upload it again.")
            for stream, what, better in OLE_STREAMS:
                if compound.exists(stream):
                    return UnknownFormat(f"{name} is {what}; save it as {better} and upload that.")
    except Exception:  # noqa: BLE001  # whatever a broken compound file does to its parser, it can't be read
        return DamagedSource(
            f"{name} is damaged or incomplete; open it in its own program, save it anew and upload it again."
        )
    return UnknownFormat(f"{name} is an old office file; save it in a current format or as PDF and upload that.")


def _refuse_known_binary(name: str, content: bytes) -> None:
    import filetype  # only for what is no text

    found = filetype.guess(content[:8192])
    if found is None:
        return
    family = found.mime.split("/", 1)[0]
    noun = {"image": "image", "video": "video", "audio": "recording", "font": "font"}.get(family, "file")
    cure = "transcribe it and upload the text" if family in {"audio", "video"} else "save its text in one of these"
    what = f"{found.extension.upper()} {noun}"
    article = "an" if what[0] in "AEFHILMNORSX" else "a"  # as the letters are spoken
    raise UnknownFormat(f"{name} looks like {article} {what}; only {READABLE} can be read, so {cure}.")


def _identify_text(name: str, content: bytes) -> DocumentFormat:
    if is_binary(content):
        raise UnknownFormat(
            f"{name} looks like a program's own binary file; only {READABLE} can be read, so save its text in one "
            "of these."
        )
    hint = HINTS.get(PurePath(name).suffix.lower())
    if hint == "eml" or _looks_like_mail(content):
        return "eml"
    start = decode_text(content[:4096])
    if HTML_START.match(start) or (hint == "html" and HTML_TAG.search(decode_text(content[:65536]))):
        return "html"
    return hint if hint in {"md", "csv"} else "txt"


def _looks_like_mail(content: bytes) -> bool:
    """Three header lines, one of which only mail has, before the first empty line."""
    head = re.split(rb"\r?\n\r?\n", content[:16384].lstrip(), maxsplit=1)[0]
    names = {match.group().lower() for match in MAIL_HEADER.finditer(head)}
    marks = {b"message-id:", b"mime-version:", b"received:", b"return-path:"}
    first_line = head.split(b"\n", 1)[0]
    return len(names) >= 3 and bool(names & marks) and bool(re.match(rb"[\w-]+:|From ", first_line))
