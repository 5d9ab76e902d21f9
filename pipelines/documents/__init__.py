"""Read documents of every format people upload, each into the same blocks."""

from collections.abc import Callable

from core.errors import AppError
from pipelines.documents.archives import check_archive, is_archive
from pipelines.documents.elements import parse_docx, parse_html, parse_md, parse_pptx
from pipelines.documents.errors import (
    DamagedSource,
    ProtectedSource,
    TooLargeSource,
    UnknownFormat,
)
from pipelines.documents.formats import READABLE, DocumentFormat, identify_format
from pipelines.documents.mail import parse_eml
from pipelines.documents.opendocument import parse_odt
from pipelines.documents.pdf import parse_pdf
from pipelines.documents.plain import parse_plain
from pipelines.documents.rich_text import parse_rtf
from pipelines.documents.salvage import salvage_package
from pipelines.documents.tables import parse_csv, parse_xlsx
from pipelines.parsed import ParsedDocument

__all__ = [
    "READABLE",
    "DamagedSource",
    "DocumentFormat",
    "ProtectedSource",
    "TooLargeSource",
    "UnknownFormat",
    "identify_format",
    "parse_document",
]


def parse_document(name: str, content: bytes) -> ParsedDocument:
    """Read one document; its format is decided by its bytes, the name's extension is a hint.

    Runs foreign parsers on foreign bytes: call it through `pipelines.read.read_source`, which isolates it.
    Raises UnreadableSource or one of its subclasses, naming the file. A document without text comes back
    without blocks.
    """
    try:
        if is_archive(content):
            check_archive(name, content)
        return PARSERS[identify_format(name, content)](name, content)
    except (AppError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # parsers fail in more ways than they document
        return _salvage(name, content, error)


def _salvage(name: str, content: bytes, error: Exception) -> ParsedDocument:
    """Return what words a broken office file still holds, or say that it is broken."""
    salvaged = salvage_package(content) if is_archive(content) else None
    if salvaged is None:
        raise DamagedSource(
            f"{name} is damaged or incomplete; open it in its own program, save it anew and upload it again."
        ) from error
    return salvaged


def _parse_eml(name: str, content: bytes) -> ParsedDocument:
    return parse_eml(name, content, parse_document)


PARSERS: dict[DocumentFormat, Callable[[str, bytes], ParsedDocument]] = {
    "pdf": parse_pdf,
    "docx": parse_docx,
    "pptx": parse_pptx,
    "xlsx": parse_xlsx,
    "odt": parse_odt,
    "rtf": parse_rtf,
    "eml": _parse_eml,
    "html": parse_html,
    "md": parse_md,
    "csv": parse_csv,
    "txt": parse_plain,
}
