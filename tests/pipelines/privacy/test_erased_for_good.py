"""What was erased stays erased: in archives, after a restore, at the next ingestion; and a false receipt is told."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core.settings import Settings
from db.session import tenant_session
from pipelines.archives.months import get_monthly
from pipelines.archives.read import list_archives, list_rows, read_archive
from pipelines.archives.write import archive_month
from pipelines.ingest import ingest_source
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.reapply import ReceiptForged, reapply_erasures
from pipelines.privacy.receipts import ReceiptUnreadable, name_object, receipts_store
from pipelines.privacy.verify import verify_receipt
from pipelines.sidecar import Sidecar
from tests.factories.erasure import verify_request
from tests.factories.evidence_world import add_session
from tests.factories.months import make_month, notify_in
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id

WORDS = "Coach: What did you promise?\nClient: I will call the printer on Monday.\n"


async def erase(organisation: Organisation, person: UUID) -> dict[str, object]:
    request = await verify_request(organisation, "person", person)
    return (await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)).to_json()


async def test_an_archived_month_loses_the_persons_rows(organisation: Organisation, store: Settings) -> None:
    month = date(2018, 4, 1)
    make_month(store, "comms.notifications", month)
    notify_in(store, organisation, month, 3)
    await archive_month(organisation.tenant_id, get_monthly("comms.notifications"), month)
    receipt = await erase(organisation, require_id(organisation.client_a))
    assert receipt["stores"]["archives:comms.notifications"]["items"] == 3  # type: ignore[index]
    async with tenant_session(organisation.system) as session:
        archives = await list_archives(session, table="comms.notifications")
    assert [row for one in archives async for batch in read_archive(one) for row in list_rows(batch)] == []
    assert (await verify_receipt(receipt)).holds


async def test_an_object_of_ones_own_source_is_not_ingested_again(organisation: Organisation, tmp_path: Path) -> None:
    source = tmp_path / "sessions"
    source.mkdir()
    for name in ("first.txt", "second.txt"):
        (source / name).write_text(f"{WORDS}Client: And {name}.\n")
    said = Sidecar(client=f"client_a@{organisation.slug}.example", coach=f"coach_a@{organisation.slug}.example")
    first = await ingest_source(organisation.tenant_id, str(source), said=said, embedder=EMBEDDER)
    assert first.count("indexed") == 2
    receipt = await erase(organisation, require_id(organisation.client_a))
    again = await ingest_source(organisation.tenant_id, str(source), embedder=EMBEDDER)
    assert [one.outcome for one in again.outcomes] == ["erased", "erased"]
    assert "not ingested again" in again.outcomes[0].notes[0]
    assert (source / "first.txt").exists()  # nobody asked for more
    assert (await verify_receipt(receipt)).holds


async def test_a_restore_from_before_is_erased_again(organisation: Organisation, store: Settings) -> None:
    """The backup held the person's sessions, their request, and no receipt."""
    since = datetime.now(UTC) - timedelta(seconds=1)
    person = require_id(organisation.client_a)
    await add_session(organisation)
    request = await verify_request(organisation, "person", person)
    receipt = await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO identity.users (tenant_id, id, email, full_name, role) "
                "VALUES (:tenant, :id, :email, 'Amina Diallo', 'client')"
            ),
            {"tenant": organisation.tenant_id, "id": person, "email": f"amina@{organisation.slug}.example"},
        )
    await add_session(organisation)
    assert not (await verify_receipt(receipt.to_json())).holds
    done = await reapply_erasures(since, embedder=EMBEDDER)
    assert receipt.id in done.erased
    found = await verify_receipt(request, tenant_id=organisation.tenant_id)
    assert found.holds, found.to_json()
    assert found.receipt == receipt


async def test_a_receipt_nobody_signed_is_told(organisation: Organisation, store: Settings) -> None:
    receipt = await erase(organisation, require_id(organisation.client_b))
    altered = json.loads(json.dumps(receipt))
    altered["stores"]["identity.users"]["items"] = 7
    found = await verify_receipt(altered)
    assert (found.is_signed, found.holds) == (False, False)
    with pytest.raises(ReceiptUnreadable):
        await verify_receipt({"version": 1})
    place = name_object(organisation.tenant_id, uuid4())
    await receipts_store(store).write(place, json.dumps(altered).encode())
    try:
        with pytest.raises(ReceiptForged):
            await reapply_erasures(datetime.now(UTC) + timedelta(days=1), embedder=EMBEDDER)
    finally:
        await receipts_store(store).delete(place)


async def test_money_keeps_a_tombstone_without_a_name(organisation: Organisation) -> None:
    person = require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO commerce.transactions "
                "(tenant_id, user_id, amount, transaction_type, payment_method, metadata) "
                "VALUES (:tenant, :person, 10, 'course', 'card', '{\"note\": \"for Jo\"}')"
            ),
            {"tenant": organisation.tenant_id, "person": person},
        )
    receipt = await erase(organisation, person)
    assert (await verify_receipt(receipt)).holds
    async with tenant_session(organisation.system) as session:
        user = (
            (await session.execute(text("SELECT * FROM identity.users WHERE id = :id"), {"id": person}))
            .mappings()
            .one()
        )
        paid = (await session.execute(text("SELECT amount, metadata FROM commerce.transactions"))).one()
    assert (user["email"], user["full_name"], user["status"]) == (f"erased-{person}@erased.invalid", "", "deleted")
    assert (user["password_hash"], user["username"], user["phone_number"]) == (None, None, None)
    assert tuple(paid) == (10, None)
