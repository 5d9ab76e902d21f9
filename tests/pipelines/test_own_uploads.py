"""What people uploaded is a source like any other, opened with their organisation's key."""

import pytest
from sqlalchemy import text

from core.settings import get_settings
from core.storage import open_store
from core.storage_encrypted import HEADER_BYTES, PlaceOfOthers, read_version
from db.session import tenant_session
from domain.objects import tenant_store
from pipelines.ingest import ingest_source
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation, found_organisation

GUIDE = b"# Guide\n\nIn the second week, ask what has changed since."


async def test_an_upload_is_read_and_its_original_kept_by_its_tenant_alone(organisation: Organisation) -> None:
    settings = get_settings()
    store, plain = await tenant_store(organisation.tenant_id), open_store(settings.storage_url, settings.storage)
    folder = f"tenants/{organisation.tenant_id}/uploads/one"
    await store.write(f"{folder}/guide.md", GUIDE)
    report = await ingest_source(organisation.tenant_id, f"{store.url}/{folder}", embedder=HashEmbedder())
    assert report.count("indexed") == 1
    async with tenant_session(organisation.system) as session:
        kept = str(await session.scalar(text("SELECT storage_key FROM ingestion.ingested_objects")))
    for key in (f"{folder}/guide.md", kept):
        assert read_version(await plain.read_start(key, count=HEADER_BYTES)) == 1
        assert await store.read(key, max_bytes=10_000) == GUIDE
    other = await found_organisation()
    with pytest.raises(PlaceOfOthers):
        await ingest_source(other.tenant_id, f"{store.url}/{folder}", embedder=HashEmbedder())
