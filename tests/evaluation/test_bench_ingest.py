"""The measurement of ingestion: its figures are those of a real run, and nothing of it stays behind."""

from pathlib import Path

import pytest
from sqlalchemy import text

from core.settings import Settings, get_settings
from core.storage import open_store
from db.session import unbound_session
from evaluation import bench_ingest
from rag.fakes import HashEmbedder


async def test_both_sides_are_measured_and_nothing_stays(
    store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(_: object) -> HashEmbedder:
        return HashEmbedder(16)

    monkeypatch.setattr(bench_ingest, "load_embedder", load)
    turns = "\n".join(f"Ruth: Question {n}?\nAmina: Answer {n}." for n in range(40))
    (tmp_path / "talk.txt").write_text(turns)
    originals = open_store(get_settings().storage_url, get_settings().storage)
    await originals.write("kept", b"")
    kept = {stored.key async for stored in originals.list()}
    result = await bench_ingest.bench_ingest(tmp_path, rounds=2, peer=False)
    assert (result.objects, result.failed, result.segments, result.again_rows_changed) == (1, 0, 80, 0)
    assert result.chunks > 1
    assert result.peer_seconds is None
    assert 0 < result.embedder_share < 1
    assert {stored.key async for stored in originals.list()} == kept
    async with unbound_session() as session:
        slugs = await session.scalars(text("SELECT slug FROM platform.list_tenants()"))
        assert not [slug for slug in slugs if slug.startswith("evaluation-")]


async def test_a_folder_without_material_is_named(
    store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(bench_ingest.NothingToMeasure, match="could be ingested"):
        await bench_ingest.bench_ingest(tmp_path, peer=False)
