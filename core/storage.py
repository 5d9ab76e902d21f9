"""Where bytes are kept and read from: a folder or an S3 bucket behind one small protocol."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from core.settings import StorageSettings

LONGEST_KEY = 1024  # bytes, as in S3


class ObjectMissing(NotFound):
    """This object is not in the store; list the store to see what is there."""


class StoreMissing(NotFound):
    """This folder or bucket does not exist; check the address."""


class StoreForbidden(Forbidden):
    """The object store refuses these credentials; check them and their rights on the bucket or folder."""


class StoreUnreachable(Unavailable):
    """The object store does not answer; check its address and try again shortly."""


class ObjectChanged(Conflict):
    """This object was changed or deleted by someone else meanwhile; read it again and retry."""


class StoreRefused(Invalid):
    """The object store refuses this request; check the address and the key."""


class UnsafeKey(Invalid):
    """This key leads out of the store; use a plain relative path."""


class ObjectTooLarge(Invalid):
    """This object is larger than allowed; split it, or raise REGENESIS_INGEST__MAX_OBJECT_BYTES."""


class UnknownScheme(Invalid):
    """Objects can be read from a folder, a file or an s3://bucket/prefix only; check the address."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as listed; `version` changes whenever its bytes do (an ETag, or the time of its last change).

    Size and version are those of the bytes as they lie there: of an encrypted object, its ciphertext's.
    """

    key: str
    size: int
    version: str
    modified: datetime


class ObjectStore(Protocol):
    """A place for bytes under keys, which are relative paths with slashes.

    Every method raises the errors of this module only.
    """

    @property
    def url(self) -> str:
        """The store's address, without credentials and without a slash at the end."""

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over the objects whose key begins with the prefix, page by page, in no particular order."""

    async def find(self, key: str) -> StoredObject | None:
        """Return the object as listed, None where it is missing."""

    async def read(self, key: str, *, max_bytes: int) -> bytes:
        """Return the whole object; raises `ObjectTooLarge` beyond `max_bytes` without loading it."""

    def read_stream(self, key: str, *, max_bytes: int | None = None) -> AsyncGenerator[bytes, None]:
        """Iterate over the object's bytes, some at a time; raises what `read` raises, some of it midway.

        Who may not read to the end wraps it in `contextlib.aclosing`.
        """

    async def read_start(self, key: str, *, count: int) -> bytes:
        """Return the first so many bytes as they lie there, or all of them where there are fewer."""

    async def write(self, key: str, content: bytes, *, replacing: str | None = None) -> None:
        """Store the object whole or not at all, replacing what was there.

        With `replacing`, only what is there in this version is replaced, else `ObjectChanged` is raised.
        """

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes], *, replacing: str | None = None) -> int:
        """Store what the chunks hold as one object, as `write` does, in bounded memory; return the count of bytes.

        Where the chunks raise, nothing is stored, what was there stays, and the error is raised.
        """

    async def delete(self, key: str) -> None:
        """Remove the object; nothing happens where it is missing. A versioned bucket keeps its earlier versions."""

    async def purge(self, key: str, *, keep_newest: bool = False) -> int:
        """Remove every version of the object, delete markers and unfinished uploads too; return how many there were.

        With `keep_newest`, what is read today stays.
        """

    async def purge_below(self, prefix: str) -> int:
        """Purge every object whose key begins with the prefix, also those of which only old versions are left."""

    def list_versions(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over everything that `purge_below` would remove; one key may come several times."""

    async def presign(self, key: str, *, seconds: int) -> str | None:
        """Return a URL that reads the object for so long, None where the store can't make one."""


def check_key(key: str) -> str:
    """Return the key; raises `UnsafeKey` for anything but a plain relative path."""
    parts = key.split("/")
    if not key or len(key.encode("utf-8", "surrogatepass")) > LONGEST_KEY or "\0" in key or "\\" in key:
        raise UnsafeKey(f"The key {key[:80]!r} is empty, too long or holds forbidden characters; use a relative path.")
    if any(part in ("", ".", "..") for part in parts) or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise UnsafeKey(f"The key {key[:80]!r} leads out of the store; use a plain relative path.")
    return key


def open_store(url: str, settings: StorageSettings) -> ObjectStore:
    """Return the store at `file:///folder` or `s3://bucket/prefix`; nothing is contacted yet."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc:
        from core.storage_folder import FolderStore  # it imports this module

        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from core.storage_s3 import S3Store  # boto3 takes a third of a second to import

        return S3Store(parts.netloc, parts.path.strip("/"), settings)
    raise UnknownScheme(f"{url!r} can't be read; give a folder, a file or an s3://bucket/prefix.")
