"""Look into a ZIP container before anything unpacks it, so that a bomb is refused unopened."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.documents.errors import DamagedSource, ProtectedSource, TooLargeSource

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

# Real office files stay below 5,000 members; their XML shrinks 10 to 60 times, a bomb 1,000 times.
MAX_MEMBERS = 20_000
MAX_UNPACKED_BYTES = 1 << 30
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 10 << 20
MAX_NESTING = 3
NESTED_SUFFIXES = frozenset({".zip", ".docx", ".pptx", ".xlsx", ".odt", ".jar"})
MAX_NESTED_BYTES = 64 << 20


@dataclass(slots=True)
class _Tally:
    """What has been declared so far, over all levels of nesting."""

    members: int = 0
    unpacked: int = 0


def is_archive(content: bytes) -> bool:
    """Tell whether the bytes begin like a ZIP file."""
    return content.startswith(ZIP_MAGIC)


def check_archive(name: str, content: bytes) -> None:
    """Refuse a ZIP container that declares more than can be read, at any level of nesting.

    Only the directories are read, and nested archives within bounds. A directory that lies about sizes is
    caught later: `zipfile` stops at the declared size, and the reader runs under a memory limit.

    Raises DamagedSource, ProtectedSource or TooLargeSource.
    """
    try:
        _check_level(name, content, _Tally(), depth=1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise DamagedSource(
            f"{name} is damaged or incomplete; open it in its own program, save it anew and upload it again."
        ) from error


def list_members(content: bytes) -> frozenset[str]:
    """Return the member names of a ZIP container that passed `check_archive`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return frozenset(archive.namelist())


def read_member(content: bytes, member: str, *, most: int = MAX_NESTED_BYTES) -> bytes:
    """Return the first `most` bytes of one member, or nothing where it is absent."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if member not in archive.namelist():
            return b""
        with archive.open(member) as stream:
            return stream.read(most)


def _check_level(name: str, content: bytes, tally: _Tally, depth: int) -> None:
    if depth > MAX_NESTING:
        raise TooLargeSource(
            f"{name} holds archives nested more than {MAX_NESTING} deep; unpack it and upload the files themselves."
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        tally.members += len(members)
        tally.unpacked += sum(member.file_size for member in members)
        if (
            tally.members > MAX_MEMBERS
            or tally.unpacked > MAX_UNPACKED_BYTES
            or any(_inflates_too_far(m) for m in members)
        ):
            raise TooLargeSource(
                f"{name} would unpack to far more than its own size; upload the files it holds one by one."
            )
        if any(member.flag_bits & 1 for member in members):
            raise ProtectedSource(f"{name} is protected by a password; remove the password and upload it again.")
        for member in members:
            if PurePosixPath(member.filename).suffix.lower() in NESTED_SUFFIXES:
                with archive.open(member) as stream:
                    inner = stream.read(MAX_NESTED_BYTES)
                if is_archive(inner) and len(inner) < MAX_NESTED_BYTES:
                    _check_level(name, inner, tally, depth + 1)


def _inflates_too_far(member: zipfile.ZipInfo) -> bool:
    return member.file_size > RATIO_COUNTS_FROM_BYTES and member.file_size > MAX_RATIO * max(member.compress_size, 1)
