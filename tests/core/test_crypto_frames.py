"""Sealed bytes open whole and unchanged or not at all, however they were cut on their way."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import crypto_frames
from core.crypto_frames import SealedUnreadable, measure_sealed, seal, seal_stream, unseal, unseal_stream

KEY = bytes(range(32))
BOUND = b"header|tenant|key"


@pytest.fixture(autouse=True)
def _small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto_frames, "FRAME_BYTES", 16)
    monkeypatch.setattr(crypto_frames, "_SEALED_FRAME", 32)


def test_frames_are_a_mebibyte_and_a_tag() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crypto_frames, "FRAME_BYTES", 1 << 20)
        patch.setattr(crypto_frames, "_SEALED_FRAME", (1 << 20) + 16)
        for size in (0, 1, 1 << 20, (1 << 20) + 1, 3 << 20):
            sealed = seal(bytes(size), KEY, bound=BOUND)
            assert len(sealed) == measure_sealed(size)
            assert unseal(sealed, KEY, bound=BOUND) == bytes(size)


async def cut(content: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    places = sorted({0, len(content), *(size % (len(content) + 1) for size in sizes)})
    for first, last in pairwise(places):
        yield content[first:last]
    if not content:
        yield b""


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


@settings(max_examples=60)
@given(
    content=st.binary(max_size=200), sizes=st.lists(st.integers(0, 400)), ways=st.tuples(st.booleans(), st.booleans())
)
async def test_what_goes_in_comes_out(content: bytes, sizes: list[int], ways: tuple[bool, bool]) -> None:
    sealed = (
        await collect(seal_stream(cut(content, sizes), KEY, bound=BOUND))
        if ways[0]
        else seal(content, KEY, bound=BOUND)
    )
    assert len(sealed) == 32 + len(content) + 16 * max(1, -(-len(content) // 16))
    opened = (
        await collect(unseal_stream(cut(sealed, sizes), KEY, bound=BOUND))
        if ways[1]
        else unseal(sealed, KEY, bound=BOUND)
    )
    assert opened == content


def test_equal_contents_are_sealed_differently() -> None:
    assert seal(b"words", KEY, bound=BOUND) != seal(b"words", KEY, bound=BOUND)


def spoil(sealed: bytes, other: bytes) -> list[tuple[str, bytes]]:
    """Return everything that somebody who holds the bytes could make of them, and what it is."""
    salt, frames = sealed[:32], [sealed[place : place + 32] for place in range(32, len(sealed), 32)]
    spoilt = [(f"cut to {size}", sealed[:size]) for size in range(len(sealed))]
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        spoilt.append((f"byte {place} altered", bytes(altered)))
    for number in range(len(frames)):
        rest = frames[:number] + frames[number + 1 :]
        spoilt.append((f"frame {number} left out", salt + b"".join(rest)))
        spoilt.append((f"frame {number} twice", salt + b"".join(frames[: number + 1] + frames[number:])))
    spoilt.append(("frames swapped", salt + b"".join([frames[1], frames[0], *frames[2:]])))
    spoilt.append(("something appended", sealed + b"x"))
    spoilt.append(("its own last frame appended", sealed + frames[-1]))
    spoilt.append(("a frame of another", salt + other[32:64] + b"".join(frames[1:])))
    spoilt.append(("the frames of another", salt + other[32:]))
    return spoilt


@pytest.mark.parametrize("size", [33, 48, 50])
async def test_nothing_can_be_changed_unnoticed(size: int) -> None:
    sealed, other = (seal(bytes(size), KEY, bound=BOUND) for _ in range(2))
    for what, spoilt in spoil(sealed, other):
        with pytest.raises(SealedUnreadable):
            raise AssertionError(what, unseal(spoilt, KEY, bound=BOUND))
        with pytest.raises(SealedUnreadable):
            raise AssertionError(what, await collect(unseal_stream(cut(spoilt, [7]), KEY, bound=BOUND)))


@pytest.mark.parametrize(("key", "bound"), [(bytes(32), BOUND), (KEY, b"header|tenant|other"), (KEY, b"")])
def test_it_opens_with_its_key_in_its_place_only(key: bytes, bound: bytes) -> None:
    with pytest.raises(SealedUnreadable):
        unseal(seal(b"words", KEY, bound=BOUND), key, bound=bound)


async def test_a_stream_yields_nothing_unproven() -> None:
    sealed = seal(bytes(100), KEY, bound=BOUND)
    seen: list[int] = []

    async def read() -> None:
        async for piece in unseal_stream(cut(sealed[:-1], [5]), KEY, bound=BOUND):
            seen.append(len(piece))  # noqa: PERF401  # what was seen before the end is asked below

    with pytest.raises(SealedUnreadable):
        await read()
    assert sum(seen) == 96  # six whole frames; the end shows only that it was cut
