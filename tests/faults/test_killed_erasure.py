"""An erasure that is killed with signal 9 within any step is completed by the next run, with the same receipt."""

from uuid import UUID

import pytest
from sqlalchemy import text

from core.settings import Settings
from db.session import tenant_session
from domain.objects import tenant_store
from pipelines.archives.read import list_archives
from pipelines.archives.run import archive_months
from pipelines.privacy.erase import AFTER, BEFORE, STEPS, erase_subject
from pipelines.privacy.receipts import name_receipt
from pipelines.privacy.stores import count_store, list_stores
from pipelines.privacy.subjects import SubjectKind, collect_scope
from pipelines.privacy.verify import verify_receipt
from tests.factories.erasure import verify_request
from tests.factories.evidence_world import add_session, make_claim, write_claims
from tests.factories.months import age_payment
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id
from tests.faults import killed_erasure
from tests.faults.killing import run_and_die


async def expect(organisation: Organisation, kind: SubjectKind, subject: UUID) -> dict[str, tuple[int, str]]:
    """Return what the receipt will say of each store, but of the log, which tells of the erasure itself."""
    async with tenant_session(organisation.system) as session:
        scope = await collect_scope(session, kind, subject)
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
    expected = await expect(organisation, "person", person)
    request = await verify_request(organisation, "person", person)
    await run_and_die(killed_erasure.main, str(organisation.tenant_id), str(request), step)
    receipt = await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    assert receipt.id == name_receipt(request)
    stated = {name: (one["items"], one["sha256"]) for name, one in receipt.stores.items()}
    assert {name: stated[name] for name in expected} == expected
    assert (await verify_receipt(receipt.to_json())).holds
    assert await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER) == receipt


@pytest.mark.parametrize("step", ["collect", *BEFORE, *AFTER, "sign"])  # between them rows go as a person's do
async def test_so_does_a_whole_organisation_s_with_its_archives(
    organisation: Organisation, store: Settings, step: str
) -> None:
    await age_payment(organisation, store, failure_reason="Amina forgot it")
    await archive_months(only=[organisation.tenant_id])
    async with tenant_session(organisation.system) as session:
        (kept,) = await list_archives(session, table="commerce.transactions")
    objects, key = await tenant_store(organisation.tenant_id), kept.object_key
    await objects.write(key.replace("2018-04", "2018-05"), b"of a run that was killed")
    await objects.write(f"tenants/{organisation.tenant_id}/uploads/a.txt", b"The on-call rota keeps me awake.")
    _, words = await add_session(organisation)
    await write_claims(organisation, words, make_claim(words, "The on-call rota keeps me awake"))
    expected = await expect(organisation, "tenant", organisation.tenant_id)
    request = await verify_request(organisation, "tenant", organisation.tenant_id)
    await run_and_die(killed_erasure.main, str(organisation.tenant_id), str(request), step)
    receipt = await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    stated = {name: (one["items"], one["sha256"]) for name, one in receipt.stores.items()}
    assert {name: stated[name] for name in expected} == expected
    outside = ("objects:all", "archives:commerce.transactions", "archives:unnamed")
    assert [stated[name][0] for name in outside] == [1, 1, 1]
    found = await verify_receipt(receipt.to_json())
    assert found.holds, found.to_json()
