"""Bytes of any length, sealed in frames: read and written as they come, and nothing of them can be changed unnoticed.

What is sealed begins with a salt of 32 bytes, from which and the given key its own key is derived (HKDF-SHA-256), so a
counter serves as nonce and no two things sealed with one key share a nonce. Then come frames of 1 MiB of plaintext and
16 bytes of tag, the last as long as it is. A frame's nonce is its number (11 bytes, big-endian) and whether it is the
last (1 byte), as in STREAM and age: frames left out, cut off, repeated, reordered or appended don't open. `bound` says
what the whole belongs to (its header, owner and place) and is authenticated with every frame.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import Unavailable

FRAME_BYTES: Final = 1 << 20
TAG_BYTES: Final = 16
SALT_BYTES: Final = 32
_KEY_BYTES: Final = 32
_COUNTER_BYTES: Final = 11
_SEALED_FRAME: Final = FRAME_BYTES + TAG_BYTES
_INFO: Final = b"regenesis frames 1"


class SealedUnreadable(Unavailable):
    """These encrypted bytes were altered, cut short or moved and do not open; restore them from a backup."""


def measure_sealed(size: int) -> int:
    """Return how many bytes so many become when they are sealed."""
    return SALT_BYTES + size + TAG_BYTES * max(1, -(-size // FRAME_BYTES))


def seal(content: bytes, key: bytes, *, bound: bytes) -> bytes:
    """Return the content, sealed; the key has 32 bytes."""
    salt = secrets.token_bytes(SALT_BYTES)
    frames = _Frames(key, salt, bound)
    return salt + b"".join(frames.seal(piece, is_last=is_last) for piece, is_last in _cut(content, FRAME_BYTES))


def unseal(sealed: bytes, key: bytes, *, bound: bytes) -> bytes:
    """Return what was sealed; raises `SealedUnreadable`."""
    frames = _Frames(key, sealed[:SALT_BYTES], bound)
    pieces = _cut(memoryview(sealed)[SALT_BYTES:], _SEALED_FRAME)
    return b"".join(frames.open(bytes(piece), is_last=is_last) for piece, is_last in pieces)


async def seal_stream(chunks: AsyncIterable[bytes], key: bytes, *, bound: bytes) -> AsyncGenerator[bytes, None]:
    """Iterate over the sealed bytes of what the chunks hold, a frame at a time."""
    salt = secrets.token_bytes(SALT_BYTES)
    frames = _Frames(key, salt, bound)
    yield salt
    async for piece, is_last in _gather(chunks, FRAME_BYTES):
        yield frames.seal(piece, is_last=is_last)


async def unseal_stream(chunks: AsyncIterable[bytes], key: bytes, *, bound: bytes) -> AsyncGenerator[bytes, None]:
    """Iterate over what was sealed, a frame at a time, each only once it is proven.

    Raises `SealedUnreadable`, of bytes that were cut short only at their end.
    """
    iterator = aiter(chunks)
    start = b""
    async for chunk in iterator:
        start += chunk
        if len(start) >= SALT_BYTES:
            break
    frames = _Frames(key, start[:SALT_BYTES], bound)

    async def rest() -> AsyncIterator[bytes]:
        yield start[SALT_BYTES:]
        async for chunk in iterator:
            yield chunk

    async for piece, is_last in _gather(rest(), _SEALED_FRAME):
        yield frames.open(piece, is_last=is_last)


class _Frames:
    """One thing's frames, in order."""

    def __init__(self, key: bytes, salt: bytes, bound: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise SealedUnreadable
        self._cipher = AESGCM(HKDF(SHA256(), _KEY_BYTES, salt, _INFO).derive(key))
        self._bound = bound
        self._number = 0

    def seal(self, piece: bytes, *, is_last: bool) -> bytes:
        return self._cipher.encrypt(self._take_nonce(is_last), piece, self._bound)

    def open(self, frame: bytes, *, is_last: bool) -> bytes:
        try:
            piece = self._cipher.decrypt(self._take_nonce(is_last), frame, self._bound)
        except (InvalidTag, ValueError) as error:
            raise SealedUnreadable from error
        if not piece and self._number > 1:  # only what is empty as a whole has an empty frame
            raise SealedUnreadable
        return piece

    def _take_nonce(self, is_last: bool) -> bytes:
        nonce = self._number.to_bytes(_COUNTER_BYTES, "big") + bytes((is_last,))
        self._number += 1
        return nonce


def _cut(content: bytes | memoryview, size: int) -> Iterator[tuple[bytes, bool]]:
    """Iterate over pieces of this size and whether each is the last; of nothing there is one empty piece."""
    for first in range(0, max(1, len(content)), size):
        yield bytes(content[first : first + size]), first + size >= len(content)


async def _gather(chunks: AsyncIterable[bytes], size: int) -> AsyncIterator[tuple[bytes, bool]]:
    """Do as `_cut` with what comes in chunks of any size; a piece waits for the byte after it."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) > size:
            yield bytes(waiting[:size]), False
            del waiting[:size]
    yield bytes(waiting), True
