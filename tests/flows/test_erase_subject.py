"""The flow carries out a request and shows what went, without anyone's words."""

import pytest
from prefect.client.orchestration import get_client

from flows.erase_subject import erase_subject
from pipelines.privacy import erase
from pipelines.privacy.receipts import name_receipt
from pipelines.privacy.verify import verify_receipt
from rag.embedding import Embedder
from tests.factories.erasure import verify_request
from tests.factories.evidence_world import add_session
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_a_verified_request_ends_in_a_receipt(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(_: object) -> Embedder:
        return EMBEDDER

    monkeypatch.setattr(erase, "load_embedder", load)
    await add_session(organisation)
    request = await verify_request(organisation, "person", require_id(organisation.coach_a))
    assert await erase_subject(organisation.tenant_id, request) == str(name_receipt(request))
    assert (await verify_receipt(request, tenant_id=organisation.tenant_id)).holds
    async with get_client() as client:
        pages = [one for one in await client.read_artifacts() if one.key == "erasure-receipt"]
    assert pages
    assert not any("release checklist" in str(page.data) for page in pages)
