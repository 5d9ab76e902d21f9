"""A listing alone tells whether there is anything to do."""

from pathlib import Path

from pipelines.ingest import ingest_source, is_up_to_date
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation


async def test_a_listing_tells_whether_a_run_would_change_anything(organisation: Organisation, tmp_path: Path) -> None:
    async def up_to_date() -> bool:
        return await is_up_to_date(organisation.tenant_id, str(tmp_path), HashEmbedder())

    (tmp_path / "rules.md").write_text("# Rules\n\nDoors close at seven.\n")
    (tmp_path / "guide.md").write_text("# Guide\n\nEveryone meets their coach every second week.\n")
    assert not await up_to_date()
    await ingest_source(organisation.tenant_id, str(tmp_path), embedder=HashEmbedder())
    assert await up_to_date()
    (tmp_path / "more.md").write_text("# More\n\nBring a pencil.\n")
    assert not await up_to_date()
    (tmp_path / "more.md").unlink()
    assert await up_to_date()
    (tmp_path / "guide.md").unlink()
    assert not await up_to_date()
    await ingest_source(organisation.tenant_id, str(tmp_path), embedder=HashEmbedder())
    assert await up_to_date()
