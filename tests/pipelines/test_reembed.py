"""Moving to another embedding model: the old one serves until the new one is complete."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from db.session import tenant_session
from pipelines import reembed
from pipelines.index import OtherModelActive
from pipelines.ingest import ingest_source
from pipelines.reembed import NothingEmbedded, delete_retired_vectors, reembed_chunks
from rag.embedding import Matrix
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation

OLD, NEW = HashEmbedder(16), HashEmbedder(24)


class DyingEmbedder(HashEmbedder):
    """Dies after some texts, as a killed process would."""

    left = 2

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed as long as it lives."""
        if self.left < len(texts):
            raise RuntimeError("killed")
        self.left -= len(texts)
        return await super().embed(texts)


@pytest.fixture
async def pages(organisation: Organisation, tmp_path: Path) -> Path:
    """Five pages ingested with the old model."""
    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"# Page {number}\n\nWords about the number {number}.")
    await ingest_source(organisation.tenant_id, str(tmp_path), embedder=OLD)
    return tmp_path


async def _vectors(organisation: Organisation) -> dict[tuple[str, int], int]:
    """Return how many vectors there are by model's status and dimensions."""
    query = """SELECT r.status, vector_dims(e.embedding), count(*) FROM rag.chunk_embeddings e
        JOIN rag.embeddings_registry r ON r.id = e.registry_id GROUP BY 1, 2"""
    async with tenant_session(organisation.system) as session:
        return {(row[0], row[1]): row[2] for row in await session.execute(text(query))}


async def test_the_new_model_takes_over_when_complete(
    organisation: Organisation, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    async def note(done: int, total: int) -> None:
        seen.append((done, total))

    report = await reembed_chunks(organisation.tenant_id, NEW, batch=2, on_progress=note)
    assert (report.chunks, report.before, report.after) == (5, OLD.name, NEW.name)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert await _vectors(organisation) == {("active", 24): 5, ("retired", 16): 5}
    assert await delete_retired_vectors(organisation.tenant_id) == 5
    assert await _vectors(organisation) == {("active", 24): 5}
    assert (await reembed_chunks(organisation.tenant_id, NEW)).chunks == 0


async def test_the_rows_are_those_a_fresh_ingest_would_write(organisation: Organisation, pages: Path) -> None:
    await reembed_chunks(organisation.tenant_id, NEW)
    await delete_retired_vectors(organisation.tenant_id)
    query = text(
        "SELECT chunk_index, source_id, speakers, visibility, embedding::text, lexical::text "
        "FROM rag.chunk_embeddings ORDER BY source_id, chunk_index"
    )
    async with tenant_session(organisation.system) as session:
        moved = (await session.execute(query)).all()
        await session.execute(text("UPDATE ingestion.ingested_objects SET pipeline_version = 'older'"))
    await ingest_source(organisation.tenant_id, str(pages), embedder=NEW)
    async with tenant_session(organisation.system) as session:
        assert (await session.execute(query)).all() == moved


async def test_a_killed_move_goes_on_where_it_stopped_and_the_old_model_served(
    organisation: Organisation, pages: Path
) -> None:
    with pytest.raises(RuntimeError):
        await reembed_chunks(organisation.tenant_id, DyingEmbedder(24), batch=2)
    assert await _vectors(organisation) == {("active", 16): 5, ("building", 24): 2}
    (pages / "late.md").write_text("Ingested while the new model was building.")
    await ingest_source(organisation.tenant_id, str(pages), embedder=OLD)
    assert (await reembed_chunks(organisation.tenant_id, NEW, batch=2)).chunks == 4
    assert await _vectors(organisation) == {("active", 24): 6, ("retired", 16): 6}


async def test_what_is_ingested_before_the_switch_is_not_lost(
    organisation: Organisation, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = reembed._switch

    async def ingest_first(system: object, ids: object) -> bool:
        if not (pages / "late.md").exists():
            (pages / "late.md").write_text("Ingested at the last moment.")
            await ingest_source(organisation.tenant_id, str(pages), embedder=OLD)
        return await switch(system, ids)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(reembed, "_switch", ingest_first)
    assert (await reembed_chunks(organisation.tenant_id, NEW)).chunks == 6
    assert await _vectors(organisation) == {("active", 24): 6, ("retired", 16): 6}


async def test_another_model_than_the_active_one_is_refused(organisation: Organisation, pages: Path) -> None:
    with pytest.raises(OtherModelActive, match="hashed-stems/16, not hashed-stems/24"):
        await ingest_source(organisation.tenant_id, str(pages), embedder=NEW)
    assert await _vectors(organisation) == {("active", 16): 5}


async def test_going_back_takes_up_the_vectors_that_are_left(organisation: Organisation, pages: Path) -> None:
    await reembed_chunks(organisation.tenant_id, NEW)
    assert (await reembed_chunks(organisation.tenant_id, OLD)).chunks == 0
    assert await _vectors(organisation) == {("active", 16): 5, ("retired", 24): 5}


async def test_nothing_embedded_is_said(organisation: Organisation) -> None:
    with pytest.raises(NothingEmbedded):
        await reembed_chunks(organisation.tenant_id, NEW)
