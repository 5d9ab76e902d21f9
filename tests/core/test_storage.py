"""The object store: a folder and S3 behave alike, and nothing leads out of either."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from botocore import exceptions as boto
from hypothesis import given
from hypothesis import strategies as st

from core import storage, storage_folder, storage_s3
from core.settings import StorageSettings
from core.storage import ObjectMissing, ObjectStore, check_key, open_store
from core.storage_folder import FolderStore
from core.storage_s3 import WRONG_CREDENTIALS, S3Store


@pytest.fixture(scope="session")
def s3_store(s3_settings: StorageSettings) -> S3Store:
    """The whole bucket."""
    return S3Store("material", "", s3_settings)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """The same tests run against both kinds."""
    if request.param == "folder":
        return open_store(tmp_path.as_uri(), StorageSettings(url=None, endpoint_url=None, region="us-east-1"))
    settings: StorageSettings = request.getfixturevalue("s3_settings")
    return open_store(f"s3://material/{tmp_path.name}", settings)


async def _keys(store: ObjectStore, prefix: str = "") -> set[str]:
    return {found.key async for found in store.list(prefix)}


async def test_what_is_written_is_listed_read_and_deleted(store: ObjectStore) -> None:
    for key in ("a.vtt", "deep/er/b.txt", "deep/c.txt"):
        await store.write(key, key.encode())
    assert await _keys(store) == {"a.vtt", "deep/er/b.txt", "deep/c.txt"}
    assert await _keys(store, "deep/") == {"deep/er/b.txt", "deep/c.txt"}
    assert await store.read("deep/er/b.txt", max_bytes=100) == b"deep/er/b.txt"
    await store.delete("deep/er/b.txt")
    await store.delete("deep/er/b.txt")
    assert await _keys(store) == {"a.vtt", "deep/c.txt"}
    assert await store.find("deep/er/b.txt") is None
    with pytest.raises(storage.ObjectMissing):
        await store.read("deep/er/b.txt", max_bytes=100)


async def test_version_and_size_tell_a_changed_object(store: ObjectStore) -> None:
    await store.write("a", b"one")
    first = await store.find("a")
    await store.write("a", b"four")
    second = await store.find("a")
    assert first is not None
    assert second is not None
    assert (first.size, second.size) == (3, 4)
    assert first.version != second.version
    assert [second] == [found async for found in store.list()]


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield os.urandom(1) * size


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("sizes", [(), (0,), (5,), (storage_s3.PART,), (storage_s3.PART - 1, 2), (40_000_000, 3)])
async def test_streams_go_in_and_out_whole(store: ObjectStore, sizes: tuple[int, ...]) -> None:
    assert await store.write_stream("a", pieces(*sizes)) == sum(sizes)
    content = await collect(store.read_stream("a"))
    assert len(content) == sum(sizes)
    assert await store.read("a", max_bytes=sum(sizes)) == content
    assert await store.read_start("a", count=4) == content[:4]
    assert [found.size for found in [await store.find("a")] if found] == [sum(sizes)]
    if content:
        with pytest.raises(storage.ObjectTooLarge):
            await collect(store.read_stream("a", max_bytes=len(content) - 1))


@pytest.mark.parametrize("size", [3, 40_000_000])
async def test_a_stream_that_breaks_leaves_what_was_there(store: ObjectStore, size: int) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * size
        raise ZeroDivisionError

    await store.write("a", b"before")
    with pytest.raises(ZeroDivisionError):
        await store.write_stream("a", broken())
    with pytest.raises(ZeroDivisionError):
        await store.write_stream("new", broken())
    assert await store.read("a", max_bytes=10) == b"before"
    assert [found.key async for found in store.list_versions()] == ["a"]


async def test_missing_objects_are_named_by_every_reader(store: ObjectStore) -> None:
    with pytest.raises(storage.ObjectMissing):
        await collect(store.read_stream("no"))
    with pytest.raises(storage.ObjectMissing):
        await store.read_start("no", count=1)


@pytest.mark.parametrize("size", [3, 20_000_000])
async def test_only_the_version_that_was_read_is_replaced(store: ObjectStore, size: int) -> None:
    await store.write("a", b"one")
    seen = await store.find("a")
    assert seen is not None
    await store.write_stream("a", pieces(size), replacing=seen.version)
    with pytest.raises(storage.ObjectChanged):
        await store.write("a", b"three", replacing=seen.version)
    with pytest.raises(storage.ObjectChanged):
        await store.write_stream("a", pieces(size), replacing=seen.version)
    now = await store.find("a")
    assert now is not None
    assert now.size == size
    await store.delete("a")
    with pytest.raises(storage.ObjectChanged):
        await store.write("a", b"back again", replacing=now.version)
    with pytest.raises(storage.ObjectChanged):
        await store.write_stream("a", pieces(size), replacing=now.version)
    assert [found.key async for found in store.list_versions()] == []


async def test_purging_one_leaves_those_that_begin_alike(store: ObjectStore) -> None:
    for key in ("a", "a.txt", "a/b", "b"):
        if not (key == "a/b" and isinstance(store, FolderStore)):  # a folder can't be a file too
            await store.write(key, b"x")
    assert await store.purge("a") == 1
    assert await store.purge("a") == 0
    assert "a" not in await _keys(store)
    assert {"a.txt", "b"} <= await _keys(store)
    await store.purge_below("a")
    assert await _keys(store) == {"b"}
    assert await store.purge_below("") == 1
    assert await store.purge_below("") == 0


async def test_drafts_of_a_killed_write_go_with_their_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    await store.write("deep/a", b"x")
    for key in ("deep/a", "deep/b"):
        (tmp_path / "deep" / f"{storage_folder._name_draft(key)}left").write_bytes(b"half")
    assert await store.purge("deep/a") == 2
    assert len(await _keys(store)) == 1


async def test_tidying_leaves_the_draft_somebody_is_writing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    await store.write("deep/a", b"old")
    (tmp_path / "deep" / f"{storage_folder._name_draft('deep/a')}left").write_bytes(b"half")

    async def tidy(*, keep_newest: bool) -> AsyncIterator[bytes]:
        yield b"ne"
        assert await store.purge("deep/a", keep_newest=keep_newest) == (1 if keep_newest else 2)
        yield b"w"

    assert await store.write_stream("deep/a", tidy(keep_newest=True)) == 3
    assert await store.read("deep/a", max_bytes=9) == b"new"
    with pytest.raises(ObjectMissing):  # what is erased must not come back
        await store.write_stream("deep/a", tidy(keep_newest=False))
    assert await _keys(store) == set()


@pytest.fixture
def versioned(s3_settings: StorageSettings, tmp_path: Path) -> S3Store:
    """A bucket of its own that keeps every version."""
    name = f"versioned-{uuid4().hex}"
    client = boto3.client("s3", endpoint_url=s3_settings.endpoint_url, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return S3Store(name, "below", s3_settings)


async def test_purging_takes_every_version_and_marker(versioned: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_s3, "PAGE", 3)
    for number in range(5):
        for key in ("a", "a.txt", "z"):
            await versioned.write(key, str(number).encode())
    await versioned.delete("a")
    await versioned.delete("a.txt")
    await versioned.write("a.txt", b"again")
    left = [found.key async for found in versioned.list_versions()]
    assert {key: left.count(key) for key in left} == {"a": 6, "a.txt": 7, "z": 5}
    assert await versioned.purge("a") == 6
    assert await versioned.purge("a.txt", keep_newest=True) == 6
    assert await versioned.read("a.txt", max_bytes=10) == b"again"
    left = [found.key async for found in versioned.list_versions()]
    assert {key: left.count(key) for key in left} == {"a.txt": 1, "z": 5}
    await versioned.delete("z")
    assert await _keys(versioned) == {"a.txt"}
    assert await versioned.purge_below("") == 7
    assert [found.key async for found in versioned.list_versions()] == []


async def test_purging_ends_unfinished_uploads(versioned: S3Store) -> None:
    for key in ("a", "ab"):
        versioned._client.create_multipart_upload(Bucket=versioned._bucket, Key=f"below/{key}")
    assert {found.key async for found in versioned.list_versions()} == {"a", "ab"}
    assert await versioned.purge("a") == 1
    assert {found.key async for found in versioned.list_versions()} == {"ab"}
    assert await versioned.purge_below("") == 1


async def test_too_large_is_refused_before_loading(store: ObjectStore) -> None:
    await store.write("big", b"x" * 11)
    with pytest.raises(storage.ObjectTooLarge, match="11 bytes, 10 are allowed"):
        await store.read("big", max_bytes=10)
    assert len(await store.read("big", max_bytes=11)) == 11


@pytest.mark.parametrize(
    "key", ["../secret", "/etc/passwd", "a/../../b", "a//b", "", "a\0b", "C:/x", "..\\x", "x" * 2000]
)
async def test_keys_that_lead_out_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(storage.UnsafeKey):
        await store.read(key, max_bytes=10)
    with pytest.raises(storage.UnsafeKey):
        await store.write(key, b"")


@given(st.text(max_size=60))
def test_an_accepted_key_stays_below_its_root(key: str) -> None:
    root = Path("/somewhere/store")
    try:
        check_key(key)
    except storage.UnsafeKey:
        return
    assert Path(os.path.normpath(root / key)).is_relative_to(root)


async def test_links_out_of_the_folder_are_listed_and_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "real").write_text("words")
    (inside / "good").symlink_to("real")
    (inside / "out").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    store = open_store(inside.as_uri(), StorageSettings(url=None, endpoint_url=None, region="us-east-1"))
    assert await _keys(store) == {"real", "good", "out", "folder", "loop", "pipe"}
    assert await store.read("good", max_bytes=10) == b"words"
    for key in ("out", "folder", "loop", "pipe"):
        with pytest.raises(storage.UnsafeKey):
            await store.read(key, max_bytes=10)
    with pytest.raises(storage.UnsafeKey):
        await store.write("folder/new", b"")
    assert not (tmp_path / "new").exists()


async def test_a_failed_write_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path.as_uri(), StorageSettings(url=None, endpoint_url=None, region="us-east-1"))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(storage.StoreUnreachable, match="No space left"):
        await store.write("a/b", b"x")
    assert await _keys(store) == set()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    store = open_store((tmp_path / "no").as_uri(), StorageSettings(url=None, endpoint_url=None, region="us-east-1"))
    with pytest.raises(storage.StoreMissing, match="no does not exist"):
        await _keys(store)


async def test_listing_goes_beyond_one_page(
    s3_settings: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_s3, "PAGE", 10)
    monkeypatch.setattr(storage_folder, "PAGE", 10)
    many = 33
    for url in (tmp_path.as_uri(), "s3://material/many"):
        store = open_store(url, s3_settings)
        for number in range(many):
            await store.write(f"{number:04}", b"")
        assert len(await _keys(store)) == many


async def test_presigned_url_is_signed_for_this_object(s3_settings: StorageSettings, tmp_path: Path) -> None:
    url = await open_store("s3://material/p", s3_settings).presign("a b.txt", seconds=60)
    assert url is not None
    assert "/material/p/a%20b.txt?" in url
    assert "Signature=" in url
    assert await open_store(tmp_path.as_uri(), s3_settings).presign("a", seconds=60) is None


async def test_missing_bucket_and_unreachable_server_are_named(s3_settings: StorageSettings) -> None:
    with pytest.raises(storage.StoreMissing, match="bucket nowhere-at-all does not exist"):
        await _keys(open_store("s3://nowhere-at-all", s3_settings))
    away = s3_settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(storage.StoreUnreachable, match=r"127\.0\.0\.1:9 does not answer"):
        await _keys(open_store("s3://material", away))


async def test_absent_credentials_are_named(s3_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(storage.StoreForbidden, match="AWS_ACCESS_KEY_ID"):
        await _keys(open_store("s3://material", s3_settings))


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchBucket", 404, storage.StoreMissing),
        ("NoSuchKey", 404, storage.ObjectMissing),
        ("404", 404, storage.ObjectMissing),
        *((code, 403, storage.StoreForbidden) for code in sorted(WRONG_CREDENTIALS)),
        ("Unheard", 401, storage.StoreForbidden),
        ("InternalError", 500, storage.StoreUnreachable),
        ("SlowDown", 503, storage.StoreUnreachable),
        ("RequestTimeout", 400, storage.StoreUnreachable),
        ("TooManyRequests", 429, storage.StoreUnreachable),
        ("InvalidBucketName", 400, storage.StoreRefused),
    ],
)
async def test_every_answer_of_s3_is_translated(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, code: str, status: int, expected: type[Exception]
) -> None:
    def refuse(**_: object) -> None:
        response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise boto.ClientError(response, "GetObject")  # type: ignore[arg-type]  # the parts of a reply that count

    monkeypatch.setattr(s3_store._client, "get_object", refuse)
    with pytest.raises(expected):
        await s3_store.read("a", max_bytes=1)


@pytest.mark.parametrize("url", ["http://host/x", "file://host/x", "s3://", "gopher:", "relative/path"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(storage.UnknownScheme):
        open_store(url, StorageSettings(url=None, endpoint_url=None, region="us-east-1"))
