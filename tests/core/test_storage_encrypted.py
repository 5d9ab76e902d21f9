"""A tenant's objects lie encrypted wherever they lie, and open for that tenant in that place only."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from core import storage
from core.crypto import DataKeyDestroyed
from core.crypto_frames import SealedUnreadable
from core.settings import StorageSettings
from core.storage import ObjectStore, open_store
from core.storage_encrypted import (
    HEADER_BYTES,
    MAGIC,
    EncryptedStore,
    ObjectKeys,
    ObjectNotEncrypted,
    ObjectUnreadable,
    PlaceOfOthers,
    measure_least,
    read_version,
)

TENANT = uuid4()
KEYS: dict[int, bytes | None] = {1: bytes(32), 2: bytes(range(32))}
MANY = 40_000_000


@pytest.fixture(params=["folder", "s3"])
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_store(tmp_path.as_uri(), StorageSettings(url=None, endpoint_url=None, region="us-east-1"))
    return open_store(f"s3://material/{tmp_path.name}", request.getfixturevalue("s3_settings"))


def wrap(
    inner: ObjectStore, keys: dict[int, bytes | None] | None = None, *, tenant: UUID = TENANT, plain: bool = True,
    below: str = "",
) -> EncryptedStore:  # fmt: skip
    async def load() -> ObjectKeys:
        return ObjectKeys(keys or KEYS)

    return EncryptedStore(inner, tenant, load, folders=("t/", "other/"), reads_plain=plain, below=below)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(content), 700_000):
        yield content[first : first + 700_000]


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("size", [0, 1, 13, 5_000, MANY])
async def test_what_goes_in_comes_out_both_ways(inner: ObjectStore, size: int) -> None:
    content = os.urandom(min(size, 1000)) * (size // max(1, min(size, 1000)))
    store = wrap(inner)
    await store.write("t/whole", content)
    assert await store.write_stream("t/streamed", pieces(content)) == len(content)
    for key in ("t/whole", "t/streamed"):
        assert await store.read(key, max_bytes=len(content)) == content
        assert await collect(store.read_stream(key, max_bytes=len(content))) == content
        there = await inner.find(key)
        assert there is not None
        assert [there] == [found async for found in store.list(key)]
        assert measure_least(there.size) <= max(len(content), 1)
        start = await inner.read_start(key, count=HEADER_BYTES)
        assert read_version(start) == 2
        if len(content) > 12:
            assert content[:1000] not in await inner.read(key, max_bytes=MANY * 2)
        if content:
            with pytest.raises(storage.ObjectTooLarge):
                await store.read(key, max_bytes=len(content) - 1)
            with pytest.raises(storage.ObjectTooLarge):
                await collect(store.read_stream(key, max_bytes=len(content) - 1))
    assert await store.presign("t/whole", seconds=60) is None


async def test_it_opens_for_its_tenant_in_its_place_only(inner: ObjectStore) -> None:
    await wrap(inner).write("t/a", b"words")
    sealed = await inner.read("t/a", max_bytes=1000)
    await inner.write("t/b", sealed)
    await inner.write("t/older", sealed[: len(MAGIC) + 1] + (1).to_bytes(4, "big") + sealed[HEADER_BYTES:])
    for store, key in (
        (wrap(inner), "t/b"),
        (wrap(inner), "t/older"),
        (wrap(inner, tenant=uuid4()), "t/a"),
        (wrap(inner, {2: bytes(32)}), "t/a"),
    ):
        with pytest.raises(SealedUnreadable):
            await store.read(key, max_bytes=1000)
        with pytest.raises(SealedUnreadable):
            await collect(store.read_stream(key))
    assert await wrap(inner).read("t/a", max_bytes=1000) == b"words"


async def test_keys_relative_to_a_folder_are_the_same_places(tmp_path: Path) -> None:
    local = StorageSettings(url=None, endpoint_url=None, region="us-east-1")
    whole = open_store(tmp_path.as_uri(), local)
    await wrap(whole).write("t/up/a", b"words")
    part = wrap(open_store((tmp_path / "t" / "up").as_uri(), local), below="t/up/")
    assert await part.read("a", max_bytes=10) == b"words"
    await part.write("b", b"more")
    assert await wrap(whole).read("t/up/b", max_bytes=10) == b"more"


async def test_older_keys_still_open_and_destroyed_ones_never(inner: ObjectStore) -> None:
    await wrap(inner, {1: bytes(32)}).write("t/a", b"words")
    assert await wrap(inner).read("t/a", max_bytes=10) == b"words"
    for read in (
        wrap(inner, {1: None, 2: KEYS[2]}).read("t/a", max_bytes=10),
        wrap(inner, {1: None}).write("t/b", b""),
    ):
        with pytest.raises(DataKeyDestroyed):
            await read
    with pytest.raises(ObjectUnreadable):
        await wrap(inner, {2: KEYS[2]}).read("t/a", max_bytes=10)


async def test_objects_from_before_are_read_until_that_is_switched_off(inner: ObjectStore) -> None:
    for content in (b"", b"%PDF-1.7 plain", os.urandom(3_000_000)):
        await inner.write("t/a", content)
        assert await wrap(inner).read("t/a", max_bytes=len(content)) == content
        assert await collect(wrap(inner).read_stream("t/a")) == content
        with pytest.raises(ObjectNotEncrypted):
            await wrap(inner, plain=False).read("t/a", max_bytes=len(content))
        with pytest.raises(ObjectNotEncrypted):
            await collect(wrap(inner, plain=False).read_stream("t/a"))


@pytest.mark.parametrize("start", [MAGIC[:1], MAGIC[:5], MAGIC, MAGIC + b"\x01\0\0", MAGIC + b"\x02" + bytes(60)])
async def test_a_cut_or_unknown_header_is_not_taken_for_plain(inner: ObjectStore, start: bytes) -> None:
    await inner.write("t/a", start)
    with pytest.raises(ObjectUnreadable):
        await wrap(inner).read("t/a", max_bytes=100)
    with pytest.raises(ObjectUnreadable):
        await collect(wrap(inner).read_stream("t/a"))


async def test_a_reader_may_stop_early(inner: ObjectStore) -> None:
    await wrap(inner).write("t/a", bytes(5_000_000))
    chunks = wrap(inner).read_stream("t/a")
    assert len(await anext(chunks)) == 1 << 20
    await chunks.aclose()


async def test_other_folders_are_refused(inner: ObjectStore) -> None:
    store = wrap(inner)
    for key in ("t", "tt/a", "x/a", "", "/t/a"):
        for attempt in (
            store.read(key, max_bytes=1), store.write(key, b""), store.find(key), store.delete(key), store.purge(key),
            store.purge_below(key), store.read_start(key, count=1), store.write_stream(key, pieces(b"")),
            collect(store.read_stream(key)),
        ):  # fmt: skip
            with pytest.raises(PlaceOfOthers):
                await attempt
        for listing in (store.list, store.list_versions):
            with pytest.raises(PlaceOfOthers):
                listing(key)
    with pytest.raises(storage.UnsafeKey):
        await store.read("t/../x", max_bytes=1)
