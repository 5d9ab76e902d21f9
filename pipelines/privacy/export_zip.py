"""A zip file that is written while it is sent, so that neither memory nor disk ever holds it whole."""

import hashlib
import zipfile
from datetime import datetime
from typing import Final

_FLUSH_BYTES: Final = 1 << 18
_STORED: Final = frozenset(
    {"zip", "docx", "pptx", "xlsx", "odt", "pdf", "png", "jpg", "jpeg", "webp", "mp3", "mp4", "m4a"}
)
"""Endings of formats that are compressed already."""


class _Sink:
    """What the zip file writes to: it can't be sought in, and is emptied again and again."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def write(self, content: bytes) -> int:
        self.waiting += content
        return len(content)

    def flush(self) -> None:
        """Do nothing: what waits is taken, not flushed."""


class ZipStream:
    """Writes entries one after the other; `take` gives the bytes that are ready, with their count and hash so far."""

    def __init__(self, made_at: datetime) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True)  # type: ignore[call-overload]  # any writer will do
        self._made_at = made_at.timetuple()[:6]
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of all that was taken."""
        return self._hash.digest()

    @property
    def is_full(self) -> bool:
        """Whether enough waits to be sent."""
        return len(self._sink.waiting) >= _FLUSH_BYTES

    def add(self, name: str, content: bytes) -> None:
        """Write a whole entry."""
        with self.open(name) as entry:
            entry.write(content)

    def open(self, name: str) -> "zipfile._ZipWriteFile":  # type: ignore[name-defined]  # typeshed leaves it out
        """Open an entry to be written in pieces; one at a time."""
        about = zipfile.ZipInfo(name, self._made_at)
        about.external_attr = 0o600 << 16
        ending = name.rpartition(".")[2].lower()
        about.compress_type = zipfile.ZIP_STORED if ending in _STORED else zipfile.ZIP_DEFLATED
        return self._zip.open(about, "w", force_zip64=True)

    def close(self) -> None:
        """Write the directory of entries; what waits is still to be taken."""
        self._zip.close()

    def take(self) -> bytes:
        """Return what waits."""
        content = bytes(self._sink.waiting)
        self._sink.waiting.clear()
        self._hash.update(content)
        self.size += len(content)
        return content
