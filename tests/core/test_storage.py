"""The object store: a folder and S3 behave alike, and nothing leads out of either."""

import os
from pathlib import Path

import pytest
from botocore import exceptions as boto
from hypothesis import given
from hypothesis import strategies as st

from core import storage, storage_folder, storage_s3
from core.settings import StorageSettings
from core.storage import ObjectStore, check_key, open_store
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
