"""The flow that indexes what people wrote, through a real Prefect server."""

import pytest
from sqlalchemy import text

from db.session import tenant_session
from flows.index_content import index_content
from pipelines.outbox import handlers
from rag.fakes import HashEmbedder
from tests.factories.community import write_post
from tests.factories.people import Organisation

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_everything_written_is_indexed_once(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(_: object) -> HashEmbedder:
        return HashEmbedder()

    monkeypatch.setattr(handlers, "load_embedder", load)
    await write_post(organisation.client_a, content="The teapot post.")
    first = await index_content(organisation.tenant_id)
    assert (first["looked_at"], first["failed"], first["dead"]) == (1, 0, 0)
    async with tenant_session(organisation.client_b) as session:
        indexed = (await session.execute(text("SELECT created_at FROM rag.documents"))).all()
    assert len(indexed) == 1
    await index_content(organisation.tenant_id)
    async with tenant_session(organisation.client_b) as session:
        assert (await session.execute(text("SELECT created_at FROM rag.documents"))).all() == indexed
