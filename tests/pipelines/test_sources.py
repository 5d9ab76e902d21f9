"""Listing sources: folders, single files and prefixes, without what is hidden."""

from pathlib import Path
from uuid import uuid4

import pytest

from core.settings import Settings, StorageSettings
from core.storage import UnknownScheme, open_store
from pipelines import sources
from pipelines.sources import SourceMissing, TooManyObjects, list_source, open_source

TENANT = uuid4()
LOCAL = Settings()


def _fill(folder: Path) -> None:
    for name in ("b.txt", "a b.vtt", "deep/c.md", ".hidden", ".git/config", "~$open.docx", "manifest.jsonl"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"key": "b.txt"}' if name == "manifest.jsonl" else name)
    (folder / "deep/manifest.jsonl").write_text('{"key": "c.md"}')


async def test_a_folder_is_listed_without_hidden_files_and_manifests(tmp_path: Path) -> None:
    _fill(tmp_path)
    for address in (str(tmp_path), tmp_path.as_uri(), f"{tmp_path}/", f"{tmp_path}/deep/.."):
        source = await open_source(address, LOCAL, TENANT)
        listing = await list_source(source)
        assert source.uri == tmp_path.as_uri()
        assert list(listing.objects) == ["a b.vtt", "b.txt", "deep/c.md"]
        assert listing.manifests == {"manifest.jsonl": b'{"key": "b.txt"}', "deep/manifest.jsonl": b'{"key": "c.md"}'}


async def test_a_single_file_belongs_to_its_folder(tmp_path: Path) -> None:
    _fill(tmp_path)
    source = await open_source(str(tmp_path / "a b.vtt"), LOCAL, TENANT)
    listing = await list_source(source)
    assert (source.uri, source.only) == (tmp_path.as_uri(), "a b.vtt")
    assert list(listing.objects) == ["a b.vtt"]
    assert list(listing.manifests) == ["manifest.jsonl"]


async def test_a_prefix_of_a_bucket_is_listed_alike(s3_settings: StorageSettings) -> None:
    store = open_store("s3://material/listed/here", s3_settings)
    for key in ("b.txt", "deep/c.md", ".hidden", "manifest.jsonl"):
        await store.write(key, b'{"key": "b.txt"}')
    await open_store("s3://material/listed", s3_settings).write("here-not/d.txt", b"d")
    for address in ("s3://material/listed/here", "s3://material/listed/here/"):
        source = await open_source(address, LOCAL.model_copy(update={"storage": s3_settings}), TENANT)
        assert source.uri == "s3://material/listed/here"
        assert list((await list_source(source)).objects) == ["b.txt", "deep/c.md"]
    one = await open_source(
        "s3://material/listed/here/deep/c.md", LOCAL.model_copy(update={"storage": s3_settings}), TENANT
    )
    assert (one.uri, one.only) == ("s3://material/listed/here/deep", "c.md")


@pytest.mark.parametrize("address", ["/no/such/place", "", " ", "a\0b", "file:///no/such/place"])
async def test_a_missing_place_is_named(address: str) -> None:
    with pytest.raises(SourceMissing):
        await open_source(address, LOCAL, TENANT)


async def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UnknownScheme):
        await open_source("gopher://host/x", LOCAL, TENANT)


async def test_listing_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path)
    monkeypatch.setattr(sources, "MAX_OBJECTS", 2)
    with pytest.raises(TooManyObjects):
        await list_source(await open_source(str(tmp_path), LOCAL, TENANT))
