"""An erasure reaches every store, stops at a hold, and its receipt is true."""

from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from db.models import DeletionRequest, TranscriptSegment, User
from db.session import tenant_session
from domain.privacy import request_erasure
from pipelines.privacy.erase import ErasureNotVerified, erase_subject
from pipelines.privacy.holds import ErasureHeld
from pipelines.privacy.verify import verify_receipt
from tests.factories.erasure import verify_request
from tests.factories.evidence_world import add_session, make_claim, write_claims
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id


async def erase(organisation: Organisation, kind: str, subject: UUID) -> UUID:
    request = await verify_request(organisation, kind, subject)
    await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    return request


async def test_a_client_is_erased_with_proof(organisation: Organisation) -> None:
    _, words = await add_session(organisation)
    await write_claims(organisation, words, make_claim(words, "The on-call rota keeps me awake"))
    client = require_id(organisation.client_a)
    request = await erase(organisation, "person", client)
    found = await verify_receipt(request, tenant_id=organisation.tenant_id)
    assert found.holds, found.to_json()
    assert found.receipt.stores["rag.transcript_segments"]["items"] == 4
    again = await verify_receipt(found.receipt.to_json())
    assert again.holds
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).where(User.id == client)) == 0  # nothing refers to the row
        assert await session.scalar(select(func.count()).select_from(TranscriptSegment)) == 0


async def test_a_coachs_turns_leave_and_the_rest_is_rebuilt(organisation: Organisation) -> None:
    stored, words = await add_session(organisation)
    await write_claims(organisation, words, make_claim(words, "The on-call rota keeps me awake"))
    coach = require_id(organisation.coach_a)
    request = await erase(organisation, "person", coach)
    assert (await verify_receipt(request, tenant_id=organisation.tenant_id)).holds
    async with tenant_session(organisation.system) as session:
        left = (await session.scalars(select(TranscriptSegment.text).order_by(TranscriptSegment.segment_index))).all()
        user = await session.get_one(User, (organisation.tenant_id, coach))
        chunks = await session.scalar(text("SELECT string_agg(text, ' ') FROM rag.document_chunks"))
    assert left == [
        "I will hand over the release checklist by Friday.",
        "The on-call rota keeps me awake. I want to sleep again.",
    ]
    assert "What would you like" not in str(chunks)
    assert (user.full_name, user.status) == ("", "deleted")
    assert user.email == f"erased-{coach}@erased.invalid"
    assert stored.source_id in (await verify_receipt(request, tenant_id=organisation.tenant_id)).receipt.scope["spoken"]


async def test_a_document_and_a_session_are_erased(organisation: Organisation) -> None:
    first, _ = await add_session(organisation)
    second, _ = await add_session(organisation, week=1)
    async with tenant_session(organisation.system) as session:
        meeting = await session.scalar(
            text("SELECT coaching_session_id FROM rag.transcripts WHERE id = :id"), {"id": second.source_id}
        )
    for kind, subject in (("document", first.source_id), ("session", meeting)):
        request = await erase(organisation, kind, UUID(str(subject)))
        found = await verify_receipt(request, tenant_id=organisation.tenant_id)
        assert found.holds, found.to_json()
        assert found.receipt.stores["rag.transcripts"]["items"] == 1


async def test_a_whole_organisation_is_erased(organisation: Organisation) -> None:
    _, words = await add_session(organisation)
    await write_claims(organisation, words, make_claim(words, "The on-call rota keeps me awake"))
    request = await erase(organisation, "tenant", organisation.tenant_id)
    found = await verify_receipt(request, tenant_id=organisation.tenant_id)
    assert found.holds, found.to_json()
    async with tenant_session(organisation.system) as session:
        tenant = (await session.execute(text("SELECT name, status FROM platform.tenants"))).one()
        names = (await session.scalars(select(User.full_name))).all()
    assert tuple(tenant) == ("erased", "deleted")
    assert set(names) <= {""}


async def test_a_request_that_nobody_verified_is_not_carried_out(organisation: Organisation) -> None:
    person = organisation.client_a
    async with tenant_session(person) as session:
        request = await request_erasure(session, person, kind="person", subject_id=require_id(person))
    with pytest.raises(ErasureNotVerified):
        await erase_subject(organisation.tenant_id, request.id, embedder=EMBEDDER)


async def place_hold(organisation: Organisation, kind: str, subject: UUID) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO governance.legal_holds (tenant_id, subject_kind, subject_id, reason) "
                "VALUES (:tenant, :kind, :subject, 'Court order 7')"
            ),
            {"tenant": organisation.tenant_id, "kind": kind, "subject": subject},
        )


async def read_request(organisation: Organisation, request: UUID) -> DeletionRequest:
    async with tenant_session(organisation.system) as session:
        return await session.get_one(DeletionRequest, (organisation.tenant_id, request))


async def test_a_hold_refuses_and_says_why(organisation: Organisation) -> None:
    client = require_id(organisation.client_a)
    request = await verify_request(organisation, "person", client)
    await place_hold(organisation, "person", client)
    with pytest.raises(ErasureHeld, match="Court order 7"):
        await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    row = await read_request(organisation, request)
    assert row.status == "refused"
    assert "Court order 7" in str(row.refusal_reason)


async def test_a_hold_placed_while_it_runs_stops_the_next_step(organisation: Organisation) -> None:
    stored, _ = await add_session(organisation)
    request = await verify_request(organisation, "person", require_id(organisation.client_a))
    taken = list[str]()

    async def hold_after_three(step: str, number: int, _: int) -> None:
        taken.append(step)
        if number == 3:
            await place_hold(organisation, "document", stored.source_id)

    with pytest.raises(ErasureHeld):
        await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER, on_step=hold_after_three)
    assert len(taken) == 3
    assert (await read_request(organisation, request)).status == "failed"
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(TranscriptSegment)) == 4
        await session.execute(text("UPDATE governance.legal_holds SET released_at = now()"))
    receipt = await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    assert (await verify_receipt(receipt.to_json())).holds
