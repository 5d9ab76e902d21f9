"""Claims, patterns and commitments as each reader may see them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from db.session import Principal, tenant_session
from domain import evidence, partners
from domain.coaching import end_engagement
from domain.evidence_views import ClaimView
from domain.identity import create_user
from tests.factories.commerce import offer_program
from tests.factories.evidence import store_claim, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_document, store_session

MARCH, APRIL, MAY = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4, 5))


@dataclass(frozen=True)
class Told:
    """Three sessions of client_a, of which the second is for coaches alone, and what was derived from them."""

    march: Stored
    april: Stored
    may: Stored
    promise: UUID
    kept: UUID
    secret: UUID
    waiting: UUID
    pattern: UUID
    hidden_pattern: UUID


@pytest.fixture
async def told(organisation: Organisation) -> Told:
    await name_people(organisation)
    march = await store_session(
        organisation,
        [("coach", "What will you do?"), ("client", "I'll raise the rota with Helen. I hate the rota, honestly.")],
        held_at=MARCH,
    )
    april = await store_session(
        organisation, [("client", "I have not slept because of the rota.")], held_at=APRIL, visibility="coach_only"
    )
    may = await store_session(
        organisation,
        [
            ("client", "I talked to Helen about the rota."),
            ("client", "I'll send the plan on Friday. The rota is fine."),
        ],
        held_at=MAY,
    )
    promise = await store_claim(
        organisation, march, "I'll raise the rota with Helen.", opposing=["I hate the rota, honestly."],
        statement="Amina Diallo committed to raise the rota with Helen.", valid_to=date(2026, 3, 31),
    )  # fmt: skip
    kept = await store_claim(
        organisation, may, "I talked to Helen about the rota.", claim_type="progress", settles=promise
    )
    secret = await store_claim(organisation, april, "I have not slept because of the rota.", claim_type="obstacle")
    waiting = await store_claim(organisation, may, "I'll send the plan on Friday.", valid_to=date(2026, 5, 15))
    pattern = await store_pattern(organisation, [promise, kept])
    hidden = await store_pattern(organisation, [promise, secret], [kept], kind="contradiction", subject="sleep")
    return Told(march, april, may, promise, kept, secret, waiting, pattern, hidden)


async def test_claim_comes_with_its_words(organisation: Organisation, told: Told) -> None:
    async with tenant_session(organisation.coach_a) as session:
        found = await evidence.get_claim(session, told.promise)
    assert (found.status, found.superseded_by, found.held_at) == ("kept", told.kept, MARCH)
    assert [(quote.role, quote.exact, quote.speaker) for quote in found.quotes] == [
        ("supporting", "I'll raise the rota with Helen.", "Amina Diallo"),
        ("opposing", "I hate the rota, honestly.", "Amina Diallo"),
    ]
    quote = found.quotes[0]
    assert quote.link == f"/v1/transcripts/{told.march.source_id}?around=1#char={quote.char_start},{quote.char_end}"
    assert (quote.char_end - quote.char_start, quote.started_s) == (len(quote.exact), 10.0)


async def test_readers_see_their_own(organisation: Organisation, told: Told) -> None:
    """Who sees which of the four claims and two patterns."""
    seen = {
        "coach_a": (4, 2), "client_a": (3, 1), "coach_b": (0, 0), "client_b": (0, 0), "admin": (0, 0),
        "executive": (0, 0), "compliance": (0, 0), "evaluator": (0, 0),
    }  # fmt: skip
    for name, (claims, patterns) in seen.items():
        async with tenant_session(organisation.people[name]) as session:
            assert len(await evidence.list_claims(session, limit=10)) == claims, name
            assert len(await evidence.list_patterns(session, limit=10)) == patterns, name
            if not claims:
                with pytest.raises(evidence.ClaimNotFound):
                    await evidence.get_claim(session, told.promise)
                with pytest.raises(evidence.PatternNotFound):
                    await evidence.get_pattern(session, told.pattern)
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(evidence.ClaimNotFound):
            await evidence.get_claim(session, told.secret)
        with pytest.raises(evidence.PatternNotFound):
            await evidence.get_pattern(session, told.hidden_pattern)


async def test_ended_engagement_ends_reading(organisation: Organisation, told: Told) -> None:
    coach, client = require_id(organisation.coach_a), require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=coach, client_id=client)
    async with tenant_session(organisation.coach_a) as session:
        assert await evidence.list_claims(session, limit=10) == []
        with pytest.raises(evidence.ClientEvidenceNotFound):
            await evidence.summarize_client(session, client)


async def test_claims_are_narrowed_and_paged(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        whole = await evidence.list_claims(session, limit=10)
        assert [one.moment for one in whole] == [MAY, MAY, APRIL, MARCH]
        paged: list[ClaimView] = []
        place = None
        while page := await evidence.list_claims(session, limit=1, before=place):
            paged += page
            place = (page[-1].moment, page[-1].id)
        assert paged == whole
        for expected, narrowed in (
            ({told.promise, told.waiting}, {"claim_type": "commitment"}),
            ({told.promise}, {"claim_type": "commitment", "status": "kept"}),
            ({told.secret}, {"held_from": APRIL, "held_until": MAY}),
            ({told.promise}, {"held_until": APRIL}),
            (set(), {"client_id": require_id(organisation.client_b)}),
            ({one.id for one in whole}, {"client_id": client}),
        ):
            found = await evidence.list_claims(session, limit=10, **narrowed)
            assert {one.id for one in found} == expected, narrowed


async def test_pattern_is_a_pyramid(organisation: Organisation, told: Told) -> None:
    async with tenant_session(organisation.coach_a) as session:
        found = await evidence.get_pattern(session, told.hidden_pattern)
        listed = await evidence.list_patterns(session, kind="contradiction", limit=5)
    assert [(one.role, one.claim.id) for one in found.claims] == [
        ("supporting", told.promise), ("supporting", told.secret), ("counter", told.kept),
    ]  # fmt: skip
    assert all(one.claim.quotes for one in found.claims)
    assert [one.id for one in listed] == [told.hidden_pattern]
    assert {*listed[0].claims} == {*found.pattern.claims}


async def test_commitments_tell_what_became_of_them(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.client_a) as session:
        found = await evidence.list_commitments(session, client, limit=10)
        overdue = await evidence.list_commitments(session, client, state="overdue", limit=10)
    assert [(one.claim.id, one.state, one.due) for one in found] == [
        (told.waiting, "overdue", date(2026, 5, 15)), (told.promise, "kept", date(2026, 3, 31)),
    ]  # fmt: skip
    assert found[0].settled_by is None
    assert found[1].settled_by is not None
    assert found[1].settled_by.quotes[0].exact == "I talked to Helen about the rota."
    assert [one.claim.id for one in overdue] == [told.waiting]


async def test_summary_counts_what_its_reader_may_see(organisation: Organisation, told: Told) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        whole = await evidence.summarize_client(session, client)
        sessions = await evidence.list_sessions(session, client, limit=10)
    assert (whole.sessions_in_scope, whole.sessions_examined, whole.sessions_supporting) == (3, 3, 3)
    assert whole.quotes == 5
    assert whole.claims == {"commitment": 2, "progress": 1, "obstacle": 1}
    assert whole.commitments == {"overdue": 1, "kept": 1}
    assert whole.patterns == {"recurrence": 1, "contradiction": 1}
    assert [(one.transcript_id, one.claims, one.quotes, one.commitments) for one in sessions] == [
        (told.may.source_id, 2, 2, 1), (told.april.source_id, 1, 1, 0), (told.march.source_id, 1, 2, 1),
    ]  # fmt: skip
    async with tenant_session(organisation.client_a) as session:
        own = await evidence.summarize_client(session, client)
        page = await evidence.list_sessions(session, client, limit=10, before=(MAY, told.may.source_id))
    assert (own.sessions_in_scope, own.claims) == (2, {"commitment": 2, "progress": 1})
    assert [one.transcript_id for one in page] == [told.march.source_id]


@pytest.mark.parametrize("name", ["coach_b", "client_b", "admin", "executive", "compliance", "evaluator"])
async def test_nobody_else_learns_of_a_client(organisation: Organisation, told: Told, name: str) -> None:
    client = require_id(organisation.client_a)
    async with tenant_session(organisation.people[name]) as session:
        for read in (evidence.list_sessions, evidence.list_commitments):
            with pytest.raises(evidence.ClientEvidenceNotFound):
                await read(session, client, limit=5)
        with pytest.raises(evidence.ClientEvidenceNotFound):
            await evidence.summarize_client(session, client)


async def test_other_organisation_is_not_there(organisation: Organisation, told: Told, store: object) -> None:
    from tests.factories.people import found_organisation

    other = await found_organisation()
    for reader in (other.coach_a, other.system, Principal(other.tenant_id, "system")):
        async with tenant_session(reader) as session:
            assert await evidence.list_claims(session, limit=10) == []
            with pytest.raises(evidence.PatternNotFound):
                await evidence.get_pattern(session, told.pattern)
            with pytest.raises(evidence.ClientEvidenceNotFound):
                await evidence.summarize_client(session, require_id(organisation.client_a))


async def test_administrators_see_what_five_share_and_no_one_of_them(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        people = [organisation.client_a, organisation.client_b, organisation.client_c]
        for n in range(2):
            user = await create_user(
                session, email=f"m{n}@{organisation.slug}.example", full_name=f"M {n}", role="client"
            )
            people.append(Principal(organisation.tenant_id, "client", user.id))
        partner = await partners.create_partner(
            session, values={"organization_name": "Ujima", "slug": f"p-{uuid4().hex}", "partner_type": "ngo"}
        )
    program = await offer_program(organisation, None)
    async with tenant_session(organisation.system) as session:
        cohort = await partners.create_cohort(
            session, partner_id=partner.id,
            values={"cohort_name": "Spring", "start_date": date(2026, 1, 1), "program_id": program},
        )  # fmt: skip
        await partners.add_members(
            session, cohort_id=cohort.id, members=[{"user_id": require_id(one)} for one in people]
        )
    claims = []
    for person in people:
        spoken = await store_session(organisation, [("client", "I never sleep.")], client=person, held_at=MARCH)
        claims.append(await store_claim(organisation, spoken, "I never sleep.", claim_type="obstacle"))
    shared = await store_pattern(
        organisation, claims, statement="Sleep came up for five people.", subject="sleep", cohort_id=cohort.id,
        client_id=None, coach_id=None,
    )  # fmt: skip
    for name, sees in (("admin", True), ("executive", True), ("coach_a", False), ("client_a", False)):
        async with tenant_session(organisation.people[name]) as session:
            listed = await evidence.list_patterns(session, limit=5)
            assert [(one.id, one.visibility, one.claims) for one in listed] == (
                [(shared, "admin_aggregate", ())] if sees else []
            ), name
            if sees:
                assert (await evidence.get_pattern(session, shared)).claims == ()
                assert await evidence.list_claims(session, limit=5) == []


async def test_client_without_evidence_is_empty(organisation: Organisation) -> None:
    client = require_id(organisation.client_b)
    async with tenant_session(organisation.coach_b) as session:
        assert await evidence.list_sessions(session, client, limit=5) == []
        assert await evidence.list_commitments(session, client, limit=5) == []
        assert (await evidence.summarize_client(session, client)).claims == {}
        with pytest.raises(evidence.ClaimNotFound):
            await evidence.get_claim(session, uuid4())


async def test_stale_is_nobodys(organisation: Organisation, told: Told) -> None:
    """Taking a source away leaves nothing of it, and nothing that stood on it, for anybody to read."""
    await store_document(organisation, ["Unrelated."])
    async with tenant_session(organisation.system) as session:
        from sqlalchemy import text

        await session.execute(text("UPDATE evidence.claims SET stale_at = now() WHERE id = :id"), {"id": told.promise})
        await session.execute(
            text("UPDATE evidence.patterns SET stale_at = now() WHERE id = ANY (:ids)"),
            {"ids": [told.pattern, told.hidden_pattern]},
        )
    for reader in (organisation.coach_a, organisation.system):
        async with tenant_session(reader) as session:
            assert told.promise not in {one.id for one in await evidence.list_claims(session, limit=10)}
            assert await evidence.list_patterns(session, limit=10) == []
            with pytest.raises(evidence.ClaimNotFound):
                await evidence.get_claim(session, told.promise)
            assert (await evidence.summarize_client(session, require_id(organisation.client_a))).patterns == {}
