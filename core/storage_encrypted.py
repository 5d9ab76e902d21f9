"""Objects of one tenant, encrypted before they leave this process and bound to their place in the store.

An encrypted object is a header (8 bytes that no file format begins with, 1 byte of format, the data key's version in 4
bytes, big-endian) and frames as `core.crypto_frames` makes them, bound to header, tenant and key: copied to another
key or tenant, or given another header, it does not open. Objects without such a header lie there from before and are
read as they are, until they are written anew.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from core.crypto import DataKeyDestroyed
from core.crypto_frames import (
    FRAME_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    measure_sealed,
    seal,
    seal_stream,
    unseal,
    unseal_stream,
)
from core.errors import Invalid, Unavailable
from core.storage import ObjectStore, ObjectTooLarge, StoredObject

MAGIC: Final = b"\x89RGO\r\n\x1a\n"
_FORMAT: Final = 1
_VERSION_BYTES: Final = 4
HEADER_BYTES: Final = len(MAGIC) + 1 + _VERSION_BYTES


class PlaceOfOthers(Invalid):
    """This place in the object store is not the organisation's; use a key below its own folders."""


class ObjectUnreadable(Unavailable):
    """This encrypted object is cut short, of a newer format or an unknown key; update the program or restore it."""


class ObjectNotEncrypted(Unavailable):
    """This object is not encrypted and so refused; run `regenesis encryption rotate`, or restore it from a backup."""


@dataclass(frozen=True, slots=True)
class ObjectKeys:
    """A tenant's data keys for objects by version, None where destroyed; `newest` writes."""

    keys: Mapping[int, bytes | None]

    @property
    def newest(self) -> int:
        """The version that new objects are written with."""
        return max(self.keys)

    def get(self, version: int) -> bytes:
        """Return the key; raises `DataKeyDestroyed`, `ObjectUnreadable`."""
        if version not in self.keys:
            raise ObjectUnreadable
        key = self.keys[version]
        if key is None:
            raise DataKeyDestroyed
        return key


LoadKeys = Callable[[], Awaitable[ObjectKeys]]


class EncryptedStore:
    """A tenant's objects in another store, encrypted; keys are whole, or relative to `below`.

    What is listed, found and presigned is the ciphertext: sizes are larger by a few bytes a mebibyte, and no URL can be
    presigned, for what it reads would not open.
    """

    def __init__(
        self, inner: ObjectStore, tenant_id: UUID, load_keys: LoadKeys, *, folders: Sequence[str], below: str = "",
        reads_plain: bool = True,
    ) -> None:  # fmt: skip
        """Wrap `inner`, whose keys are relative to `below`; only places below one of `folders` are taken.

        Without `reads_plain`, what is not encrypted is refused: no one who can write the store can slip it in.
        """
        self._inner = inner
        self._tenant_id = tenant_id
        self._load_keys = load_keys
        self._folders = tuple(folders)
        self._below = below
        self._reads_plain = reads_plain

    @property
    def url(self) -> str:
        """The inner store's address."""
        return self._inner.url

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over the tenant's objects as they lie there."""
        self._place(prefix)
        return self._inner.list(prefix)

    async def find(self, key: str) -> StoredObject | None:
        """Return the object as it lies there, None where it is missing."""
        self._place(key)
        return await self._inner.find(key)

    async def read(self, key: str, *, max_bytes: int) -> bytes:
        """Return the object's own bytes; raises `SealedUnreadable`, `ObjectUnreadable`, `DataKeyDestroyed` too."""
        place = self._place(key)
        stored = await self._inner.read(key, max_bytes=HEADER_BYTES + measure_sealed(max_bytes))
        version = self._read_version(stored)
        if version is None:
            content = stored
        else:
            data_key = (await self._load_keys()).get(version)
            bound = stored[:HEADER_BYTES] + place
            content = await asyncio.to_thread(unseal, stored[HEADER_BYTES:], data_key, bound=bound)
        if len(content) > max_bytes:
            raise ObjectTooLarge(f"{key} has {len(content):,} bytes, {max_bytes:,} are allowed; split it.")
        return content

    async def read_stream(self, key: str, *, max_bytes: int | None = None) -> AsyncGenerator[bytes, None]:
        """Iterate over the object's own bytes, each piece only once it is proven."""
        place = self._place(key)
        limit = None if max_bytes is None else HEADER_BYTES + measure_sealed(max_bytes)
        size = 0
        async with aclosing(self._inner.read_stream(key, max_bytes=limit)) as chunks:
            start = b""
            async for chunk in chunks:
                start += chunk
                if len(start) >= HEADER_BYTES:
                    break
            async with aclosing(await self._open(start, chunks, place)) as opened:
                async for piece in opened:
                    size += len(piece)
                    if max_bytes is not None and size > max_bytes:
                        raise ObjectTooLarge(f"{key} has more than the {max_bytes:,} bytes allowed; split it.")
                    yield piece

    async def _open(self, start: bytes, rest: AsyncIterator[bytes], place: bytes) -> AsyncGenerator[bytes, None]:
        version = self._read_version(start)
        if version is None:
            return _chain(start, rest)
        data_key = (await self._load_keys()).get(version)
        return unseal_stream(_chain(start[HEADER_BYTES:], rest), data_key, bound=start[:HEADER_BYTES] + place)

    async def read_start(self, key: str, *, count: int) -> bytes:
        """Return the first bytes as they lie there."""
        self._place(key)
        return await self._inner.read_start(key, count=count)

    async def write(self, key: str, content: bytes, *, replacing: str | None = None) -> None:
        """Store the object, encrypted with the newest key; raises `DataKeyDestroyed` too."""
        place = self._place(key)
        header, data_key = await self._start_writing()
        sealed = await asyncio.to_thread(seal, content, data_key, bound=header + place)
        await self._inner.write(key, header + sealed, replacing=replacing)

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes], *, replacing: str | None = None) -> int:
        """Store the object, encrypted as the chunks come; return the count of its own bytes."""
        place = self._place(key)
        header, data_key = await self._start_writing()
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                yield chunk

        sealed = seal_stream(counted(), data_key, bound=header + place)
        await self._inner.write_stream(key, _chain(header, sealed), replacing=replacing)
        return size

    async def delete(self, key: str) -> None:
        """Remove the object."""
        self._place(key)
        await self._inner.delete(key)

    async def purge(self, key: str, *, keep_newest: bool = False) -> int:
        """Remove every version of the object."""
        self._place(key)
        return await self._inner.purge(key, keep_newest=keep_newest)

    async def purge_below(self, prefix: str) -> int:
        """Remove every version of the tenant's objects whose key begins so."""
        self._place(prefix)
        return await self._inner.purge_below(prefix)

    def list_versions(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over every version of the tenant's objects."""
        self._place(prefix)
        return self._inner.list_versions(prefix)

    async def presign(self, key: str, *, seconds: int) -> str | None:  # noqa: ARG002 - the protocol's shape
        """Return None: what a presigned URL reads is ciphertext, so the application serves objects itself."""
        return None

    def _read_version(self, start: bytes) -> int | None:
        version = read_version(start)
        if version is None and not self._reads_plain:
            raise ObjectNotEncrypted
        return version

    async def _start_writing(self) -> tuple[bytes, bytes]:
        keys = await self._load_keys()
        version = keys.newest
        return MAGIC + bytes((_FORMAT,)) + version.to_bytes(_VERSION_BYTES, "big"), keys.get(version)

    def _place(self, key: str) -> bytes:
        """Return what binds an object to its owner and place; raises `PlaceOfOthers`."""
        whole = self._below + key
        if not whole.startswith(self._folders):
            raise PlaceOfOthers
        return f"|{self._tenant_id}|{whole}".encode("utf-8", "surrogatepass")


def measure_least(size: int) -> int:
    """Return how many bytes an object of this size as listed holds at least, were it encrypted; of some, at least 1."""
    overhead = HEADER_BYTES + SALT_BYTES + TAG_BYTES * max(1, -(-size // FRAME_BYTES))
    return max(size - overhead, min(size, 1))


def read_version(start: bytes) -> int | None:
    """Return the key's version of an object by its first `HEADER_BYTES`, None where it is not encrypted.

    Raises `ObjectUnreadable` for a header that was cut short or is of a format that this program does not know.
    """
    if not start or not (start.startswith(MAGIC) or MAGIC.startswith(start)):
        return None
    if len(start) < HEADER_BYTES or start[len(MAGIC)] != _FORMAT:  # cut short, or of another format
        raise ObjectUnreadable
    return int.from_bytes(start[len(MAGIC) + 1 : HEADER_BYTES], "big")


async def _chain(start: bytes, rest: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    yield start
    async for chunk in rest:
        yield chunk
