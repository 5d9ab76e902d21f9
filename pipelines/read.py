"""The one way from uploaded bytes to parsed text: checked, isolated, cleaned, and refused in one clear sentence."""

from dataclasses import dataclass, replace
from typing import Literal

from core.errors import Invalid
from pipelines.documents import identify_format, parse_document
from pipelines.documents.archives import check_archive, is_archive
from pipelines.documents.encodings import clean_text
from pipelines.documents.errors import TooLargeSource, UnknownFormat
from pipelines.isolation import ReaderCrashed, TookTooLong, TookTooMuchMemory, run_isolated
from pipelines.parsed import EmptySource, ParsedDocument, ParsedTranscript, UnreadableSource
from pipelines.transcripts import find_transcript_format, parse_transcript

# A title is shown in one line; a heading mistaken for one may be a page long.
MAX_TITLE_CHARACTERS = 300

SourceKind = Literal["transcript", "document"]
Parsed = ParsedTranscript | ParsedDocument


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much one file may be, take and hold."""

    size_bytes: int = 100_000_000
    seconds: float = 120.0
    memory_bytes: int = 2 << 30
    characters: int = 5_000_000
    blocks: int = 200_000


def check_size(name: str, size: int, limits: ReadLimits | None = None) -> None:
    """Refuse a file by its declared size in bytes, before it is fetched.

    Raises EmptySource or TooLargeSource.
    """
    most = (limits or ReadLimits()).size_bytes
    if size == 0:
        raise EmptySource(f"{name} is empty; check that it was exported completely and upload it again.")
    if size < 0:
        raise Invalid(f"{name} declares a size of {size} bytes; upload it again.")
    if size > most:
        raise TooLargeSource(
            f"{name} has {_megabytes(size)}, more than the {_megabytes(most)} that can be read; "
            "split it into smaller files and upload them."
        )


async def read_source(
    name: str, content: bytes, *, kind: SourceKind | None = None, limits: ReadLimits | None = None
) -> Parsed:
    """Read a transcript or document in an isolated process; without `kind` the content decides.

    Raises UnreadableSource or one of its subclasses, each one sentence that names the file and the cure.
    """
    limits = limits or ReadLimits()
    check_size(name, len(content), limits)
    try:
        return await run_isolated(
            read_here, name, content, kind, limits, seconds=limits.seconds, memory_bytes=limits.memory_bytes
        )
    except TookTooLong as error:
        raise TookTooLong(
            f"{name} took longer than {limits.seconds:g} seconds to read; split it into smaller files and upload them."
        ) from error
    except TookTooMuchMemory as error:
        raise TookTooMuchMemory(
            f"{name} needs more than {_megabytes(limits.memory_bytes)} of memory to read; "
            "split it into smaller files and upload them."
        ) from error
    except ReaderCrashed as error:
        raise ReaderCrashed(
            f"{name} made its reader crash; open it in its own program, save it anew and upload it again.",
            **error.context,
        ) from error


def read_here(name: str, content: bytes, kind: SourceKind | None, limits: ReadLimits) -> Parsed:
    """Do in this process what `read_source` isolates; for its child only."""
    try:
        if is_archive(content):
            check_archive(name, content)
        parsed = _parse(name, content, kind)
        if isinstance(parsed, ParsedTranscript):
            return _clean_transcript(name, parsed, limits)
        return _clean_document(name, parsed, limits)
    except UnreadableSource as error:
        if name in error.message:
            raise
        raise type(error)(f"{name}: {error.message}") from error  # among many files the sentence must say which


def _parse(name: str, content: bytes, kind: SourceKind | None) -> Parsed:
    if kind == "document":
        return parse_document(name, content)
    if find_transcript_format(name, content) is not None:
        return parse_transcript(name, content)
    if kind is None:
        return parse_document(name, content)
    found = identify_format(name, content)  # a picture is better called that than no transcript
    raise UnknownFormat(
        f"{name} is a {found.upper()} file in no known transcript layout; export the transcript as VTT or SRT, "
        "or upload it as a document."
    )


def _clean_document(name: str, parsed: ParsedDocument, limits: ReadLimits) -> ParsedDocument:
    cleaned = (replace(block, text=text) for block in parsed.blocks if (text := clean_text(block.text).strip()))
    blocks = tuple(cleaned)
    _check_amount(name, sum(len(block.text) for block in blocks), len(blocks), limits)
    title = clean_text(parsed.title or "").strip()[:MAX_TITLE_CHARACTERS] or None
    warnings = tuple(map(clean_text, parsed.warnings))
    return replace(parsed, blocks=blocks, title=title, warnings=warnings)


def _clean_transcript(name: str, parsed: ParsedTranscript, limits: ReadLimits) -> ParsedTranscript:
    turns = tuple(
        replace(turn, text=text, speaker=clean_text(turn.speaker) if turn.speaker else turn.speaker)
        for turn in parsed.turns
        if (text := clean_text(turn.text).strip())
    )
    _check_amount(name, sum(len(turn.text) for turn in turns), len(turns), limits)
    return replace(parsed, turns=turns, warnings=tuple(map(clean_text, parsed.warnings)))


def _check_amount(name: str, characters: int, pieces: int, limits: ReadLimits) -> None:
    if characters == 0:
        raise EmptySource(f"{name} holds no text; check that the right file was exported and upload it again.")
    for amount, most, what in ((characters, limits.characters, "characters"), (pieces, limits.blocks, "paragraphs")):
        if amount > most:
            raise TooLargeSource(
                f"{name} holds {amount:,} {what} of text, more than the {most:,} that can be read; "
                "split it into smaller files and upload them."
            )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"
