"""An erasure that is killed with signal 9 within any step is completed by the next run, with the same receipt."""

from uuid import UUID

import pytest
from sqlalchemy import text

from db.session import tenant_session
from pipelines.privacy.erase import STEPS, erase_subject
from pipelines.privacy.receipts import name_receipt
from pipelines.privacy.stores import count_store, list_stores
from pipelines.privacy.subjects import collect_scope
from pipelines.privacy.verify import verify_receipt
from tests.factories.erasure import verify_request
from tests.factories.evidence_world import add_session, make_claim, write_claims
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id
from tests.faults import killed_erasure
from tests.faults.killing import run_and_die


async def expect(organisation: Organisation, person: UUID) -> dict[str, tuple[int, str]]:
    """Return what the receipt will say of each store, but of the log, which tells of the erasure itself."""
    async with tenant_session(organisation.system) as session:
        scope = await collect_scope(session, "person", person)
        counts = {store.name: await count_store(session, store, scope) for store in list_stores(scope)}
    return {name: (count.rows, count.sha256) for name, count in counts.items() if not name.startswith("governance.")}


@pytest.mark.parametrize("step", STEPS)
async def test_the_next_run_ends_with_the_same_receipt(organisation: Organisation, step: str) -> None:
    """The person is a client, who spoke in a colleague's session too, so that no step is idle."""
    person = require_id(organisation.client_a)
    for week in (0, 1):
        _, words = await add_session(organisation, week)
        await write_claims(organisation, words, make_claim(words, "The on-call rota keeps me awake"))
    other, _ = await add_session(organisation, client=organisation.client_b)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("UPDATE rag.transcript_segments SET speaker_id = :id WHERE transcript_id = :of AND segment_index = 1"),
            {"id": person, "of": other.source_id},
        )
    expected = await expect(organisation, person)
    request = await verify_request(organisation, "person", person)
    await run_and_die(killed_erasure.main, str(organisation.tenant_id), str(request), step)
    receipt = await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    assert receipt.id == name_receipt(request)
    stated = {name: (one["items"], one["sha256"]) for name, one in receipt.stores.items()}
    assert {name: stated[name] for name in expected} == expected
    assert (await verify_receipt(receipt.to_json())).holds
    assert await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER) == receipt
