"""Figures of evidence: what waits of each client, and what was spoken of month by month."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from db.session import tenant_session
from domain.coaching import end_engagement
from domain.evidence import ClientEvidenceNotFound
from domain.evidence_counts import Month, Waiting, count_months, count_waiting, get_client_name
from tests.factories.evidence import store_claim, store_insight
from tests.factories.people import Organisation
from tests.factories.sessions import name_people, require_id, store_session

PROMISE, DREAD = "I will hand over the checklist.", "I dread the rota."
DUBLIN, TOKYO = ZoneInfo("Europe/Dublin"), ZoneInfo("Asia/Tokyo")


async def store(organisation: Organisation) -> None:
    """Store a session at the end of January, and one in April for coaches alone."""
    first = await store_session(organisation, [("client", PROMISE)], held_at=datetime(2026, 1, 31, 20, tzinfo=UTC))
    second = await store_session(
        organisation, [("client", DREAD)], held_at=datetime(2026, 4, 2, 9, tzinfo=UTC), visibility="coach_only"
    )
    promise = await store_claim(organisation, first, PROMISE, valid_to=date(2026, 2, 1))
    await store_claim(organisation, second, DREAD, claim_type="obstacle")
    await store_insight(organisation, claims=[promise])


async def test_months_are_those_of_the_reader_without_a_gap(organisation: Organisation) -> None:
    await store(organisation)
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        months = await count_months(session, client, zone=DUBLIN, most=24)
        assert [one.first_day.month for one in months] == [1, 2, 3, 4]
        assert months[0] == Month(first_day=date(2026, 1, 1), sessions=1, claims={"commitment": 1})
        assert months[1] == Month(first_day=date(2026, 2, 1), sessions=0, claims={})
        assert [one.first_day.month for one in await count_months(session, client, zone=TOKYO, most=24)] == [2, 3, 4]
        (last,) = await count_months(session, client, zone=DUBLIN, most=1)
        assert last == months[-1] == Month(first_day=date(2026, 4, 1), sessions=1, claims={"obstacle": 1})
    async with tenant_session(organisation.client_a) as session:
        assert await count_months(session, client, zone=DUBLIN, most=24) == months[:1]
    async with tenant_session(organisation.coach_b) as session:
        assert await count_months(session, client, zone=DUBLIN, most=24) == []


async def test_what_waits_is_counted_for_who_may_see_it(organisation: Organisation) -> None:
    await store(organisation)
    ids = [require_id(organisation.client_a), require_id(organisation.client_b)]
    async with tenant_session(organisation.coach_a) as session:
        waiting = await count_waiting(session, ids)
    none = Waiting(unsettled=0, overdue=0, drafts=0)
    assert waiting == {ids[0]: Waiting(unsettled=1, overdue=1, drafts=1), ids[1]: none}
    async with tenant_session(organisation.client_a) as session:
        assert (await count_waiting(session, ids))[ids[0]] == Waiting(unsettled=1, overdue=1, drafts=0)
    async with tenant_session(organisation.coach_b) as session:
        assert await count_waiting(session, ids) == dict.fromkeys(ids, none)


async def test_a_name_is_told_to_who_may_read_its_bearer(organisation: Organisation) -> None:
    await name_people(organisation)
    client = require_id(organisation.client_a)
    for reader in (organisation.coach_a, organisation.client_a):
        async with tenant_session(reader) as session:
            assert await get_client_name(session, client) == "Amina Diallo"
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=require_id(organisation.coach_a), client_id=client)
    for reader in (organisation.coach_a, organisation.coach_b, organisation.admin, organisation.client_b):
        async with tenant_session(reader) as session:
            with pytest.raises(ClientEvidenceNotFound):
                await get_client_name(session, client)
