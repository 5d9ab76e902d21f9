"""Who may read what was derived: what all its parents allow, and nothing that is stale."""

import asyncio
from collections.abc import Sequence
from datetime import date
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from db.base import Base
from db.models import (
    Claim,
    Derivation,
    Document,
    EvidencePack,
    Extraction,
    IngestedObject,
    Insight,
    Pattern,
    PatternClaim,
    Quote,
    Tenant,
    Transcript,
    User,
)
from db.session import Principal, tenant_session
from domain import coaching, partners
from pipelines.evidence.store import load_session, write_patterns
from pipelines.evidence.verify import verify_evidence
from tests.factories.commerce import offer_program
from tests.factories.evidence_world import (
    ROTA,
    TURNS,
    WISH,
    World,
    add_insight,
    add_pack,
    add_session,
    build_world,
    make_claim,
    make_pattern,
    write_claims,
)
from tests.factories.people import Organisation
from tests.factories.sessions import require_id, store_document

LEVELS: tuple[type[Base], ...] = (Quote, Claim, Pattern, Insight, EvidencePack)


async def count(reader: Principal) -> tuple[int, ...]:
    """Return how many quotes, claims, patterns, insights and packs the reader sees."""
    async with tenant_session(reader) as session:
        return tuple([len((await session.scalars(select(level.__table__.c.id))).all()) for level in LEVELS])


async def restrict(world: World, visibility: str, *, session_number: int = 0) -> None:
    async with tenant_session(world.organisation.system) as session:
        await session.execute(
            update(IngestedObject)
            .where(IngestedObject.id == world.sessions[session_number].object_id)
            .values(visibility=visibility)
        )


async def require_proof(organisation: Organisation) -> None:
    assert [one for one in await verify_evidence(organisation.tenant_id) if one.broken] == []


async def test_everyone_sees_what_all_parents_allow(organisation: Organisation) -> None:
    world = await build_world(organisation, visibilities=("coach_only", "client_visible"))
    assert await count(organisation.coach_a) == (5, 3, 1, 1, 1)
    # of the client's own: the quotes and the claim of the second session, as a coach alone may read the first
    assert await count(organisation.client_a) == (2, 1, 0, 0, 0)
    for stranger in (organisation.coach_b, organisation.client_b, organisation.admin, organisation.compliance):
        assert await count(stranger) == (0, 0, 0, 0, 0)
    async with tenant_session(organisation.system) as session:
        pattern = (await session.scalars(select(Pattern))).one()
        assert (pattern.visibility, pattern.client_id, pattern.coach_id) == (
            "coach_only", organisation.client_a.user_id, organisation.coach_a.user_id,
        )  # fmt: skip
    assert world.pattern == pattern.id


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("client_visible", "client_visible", "client_visible"),
        ("coach_only", "client_visible", "coach_only"),
        ("coach_only", "coach_only", "coach_only"),
        ("admin_aggregate", "admin_aggregate", "admin_aggregate"),
        ("admin_aggregate", "coach_only", "system_internal"),
        ("client_visible", "admin_aggregate", "system_internal"),
        ("system_internal", "client_visible", "system_internal"),
    ],
)
async def test_visibility_is_the_narrowest(organisation: Organisation, first: str, second: str, together: str) -> None:
    await build_world(organisation, visibilities=(first, second))
    async with tenant_session(organisation.system) as session:
        assert (await session.scalars(select(Pattern.visibility))).one() == together
    await require_proof(organisation)


async def test_two_coaches_of_one_client_share_what_stands_on_both(organisation: Organisation) -> None:
    (_, first), (other, second) = [await add_session(organisation, n, client=organisation.client_b) for n in range(2)]
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(IngestedObject)
            .where(IngestedObject.id == other.object_id)
            .values(coach_id=organisation.coach_b.user_id)
        )
    claims = [make_claim(one, ROTA) for one in (first, second)]
    await write_claims(organisation, first, claims[0])
    async with tenant_session(organisation.system) as session:
        second = await load_session(session, second.transcript_id)
    await write_claims(organisation, second, claims[1])
    async with tenant_session(organisation.system) as session:
        await write_patterns(session, [make_pattern(claims)], client_id=require_id(organisation.client_b))
    for coach in (organisation.coach_a, organisation.coach_b):
        async with tenant_session(coach) as session:
            assert (await session.scalars(select(Pattern.coach_id))).one() is None


async def test_stale_is_nobody_s_but_the_pipelines(organisation: Organisation) -> None:
    world = await build_world(organisation)
    assert await count(organisation.coach_a) == (5, 3, 1, 1, 1)
    await restrict(world, "coach_only")
    # the second session stands; all that touches the first waits to be derived again
    assert await count(organisation.coach_a) == (2, 1, 0, 0, 0)
    assert await count(organisation.client_a) == (2, 1, 0, 0, 0)
    async with tenant_session(organisation.system) as session:
        stale = [
            sum((await session.scalars(select(level.__table__.c.stale_at.is_not(None)))).all()) for level in LEVELS
        ]
        built = set(await session.scalars(select(Extraction.transcript_id)))
    assert stale == [3, 2, 1, 1, 1]
    assert built == {world.texts[1].transcript_id}
    await require_proof(organisation)


async def test_an_accepted_insight_leaves_its_client_with_its_ground(organisation: Organisation) -> None:
    world = await build_world(organisation)
    assert (await count(organisation.client_a))[3] == 0
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "UPDATE evidence.insights SET status = 'accepted', visibility = 'client_visible', decided_at = now(), "
                "decided_by = :coach"
            ),
            {"coach": organisation.coach_a.user_id},
        )
    assert (await count(organisation.client_a))[3] == 1
    await restrict(world, "coach_only", session_number=1)
    assert (await count(organisation.client_a))[3] == 0
    async with tenant_session(organisation.system) as session:
        insight = (await session.scalars(select(Insight))).one()
    assert insight.visibility == "coach_only"
    assert insight.stale_at is not None


async def test_an_edge_that_comes_later_narrows(organisation: Organisation) -> None:
    world = await build_world(organisation)
    _, hidden = await add_session(organisation, 3, visibility="coach_only")
    claim = make_claim(hidden, WISH, polarity="positive")
    await write_claims(organisation, hidden, claim)
    async with tenant_session(organisation.client_a) as session:
        assert len((await session.scalars(select(Pattern.id))).all()) == 1
    async with tenant_session(organisation.system) as session:
        await session.execute(
            insert(PatternClaim).values(
                tenant_id=organisation.tenant_id, pattern_id=world.pattern, claim_id=claim.claim_id, role="counter"
            )
        )
    async with tenant_session(organisation.client_a) as session:
        assert (await session.scalars(select(Pattern.id))).all() == []
    async with tenant_session(organisation.system) as session:
        pack = (await session.scalars(select(EvidencePack))).one()
    assert pack.visibilities == ["client_visible", "coach_only"]
    await require_proof(organisation)


async def test_a_pack_is_its_reader_s_while_they_may_read_all_of_it(organisation: Organisation) -> None:
    world = await build_world(organisation, visibilities=("coach_only", "client_visible"))
    async with tenant_session(organisation.system) as session:
        # a pack that should never have been made: it holds what its reader may not see
        await add_pack(session, organisation, patterns=[world.pattern], reader=organisation.client_a)
        await add_pack(session, organisation, claims=[world.rota[1].claim_id], reader=organisation.client_a)
    assert (await count(organisation.client_a))[4] == 1
    assert (await count(organisation.coach_a))[4] == 1
    async with tenant_session(organisation.system) as session:
        await coaching.end_engagement(
            session, coach_id=require_id(organisation.coach_a), client_id=require_id(organisation.client_a)
        )
    assert (await count(organisation.coach_a))[4] == 0


async def test_what_settled_a_claim_goes_and_the_claim_stands_again(organisation: Organisation) -> None:
    world = await build_world(organisation, visibilities=("client_visible", "coach_only"))
    promise = world.promise.claim_id
    async with tenant_session(organisation.system) as session:
        over = await add_insight(session, organisation, claims=[promise])
        await session.execute(
            update(Claim).where(Claim.id == promise).values(status="kept", superseded_by=world.rota[1].claim_id)
        )
    async with tenant_session(organisation.client_a) as session:
        assert promise not in set(await session.scalars(select(Claim.id)))  # the client may not know what it became
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Transcript).where(Transcript.id == world.texts[1].transcript_id))
    async with tenant_session(organisation.client_a) as session:
        claim = (await session.scalars(select(Claim).where(Claim.id == promise))).one()
        assert (claim.status, claim.superseded_by) == ("asserted", None)
    async with tenant_session(organisation.system) as session:
        assert (await session.scalars(select(Insight.stale_at).where(Insight.id == over))).one() is not None
    await require_proof(organisation)


async def test_indexing_a_session_again_takes_its_evidence_along(organisation: Organisation) -> None:
    world = await build_world(organisation)
    await add_session(organisation, 0, turns=TURNS[:2], again=world.sessions[0])
    assert await count(organisation.coach_a) == (2, 1, 0, 0, 0)
    async with tenant_session(organisation.system) as session:
        assert set(await session.scalars(select(Claim.id))) == {world.rota[1].claim_id}
        assert set(await session.scalars(select(Extraction.transcript_id))) == {world.texts[1].transcript_id}
    await require_proof(organisation)


async def test_a_tenant_takes_its_evidence_along(organisation: Organisation) -> None:
    await build_world(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Tenant))
    async with tenant_session(organisation.system) as session:
        levels: tuple[type[Base], ...] = (*LEVELS, Derivation, Extraction)
        for level in levels:
            assert (await session.execute(select(level.__table__).limit(1))).all() == []


async def test_a_quote_of_a_lesson_is_for_those_who_take_it(organisation: Organisation) -> None:
    stored = await store_document(organisation, ["Plan the week on Sunday.", "Leave a gap."])
    await store_document(organisation, ["Open to all."], title="Another")
    program = await offer_program(organisation, None)
    statement = text(
        "INSERT INTO evidence.quotes (tenant_id, document_id, content_hash, char_start, char_end, exact, method, "
        "visibility) "
        "SELECT tenant_id, id, content_hash, 0, 4, 'Plan', 'test', visibility FROM rag.documents WHERE id = :id"
    )
    async with tenant_session(organisation.system) as session:
        await session.execute(statement, {"id": stored.source_id})
    assert (await count(organisation.client_a))[0] == 1
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Document).where(Document.id == stored.source_id).values(program_id=program))
        assert (await session.scalars(select(Quote.stale_at))).one() is not None
        await session.execute(delete(Quote))
        await session.execute(statement, {"id": stored.source_id})
    assert (await count(organisation.client_a))[0] == 0
    await require_proof(organisation)


async def start_cohort(organisation: Organisation, members: int) -> tuple[UUID, list[Principal]]:
    """Start a cohort of so many clients of coach_a."""
    people: list[Principal] = []
    async with tenant_session(organisation.system) as session:
        rows = [
            {"tenant_id": organisation.tenant_id, "email": f"m{n}@{organisation.slug}.example", "role": "client",
             "full_name": f"Member Number{n}"} for n in range(members)
        ]  # fmt: skip
        for user_id in await session.scalars(insert(User).values(rows).returning(User.id)):
            people.append(Principal(organisation.tenant_id, "client", user_id))
            await coaching.start_engagement(session, coach_id=require_id(organisation.coach_b), client_id=user_id)
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
    return cohort.id, people


async def claim_of_each(organisation: Organisation, people: Sequence[Principal]) -> list[UUID]:
    found = []
    for person in people:
        _, heard = await add_session(organisation, client=person, visibility="coach_only")
        claim = make_claim(heard, ROTA)
        await write_claims(organisation, heard, claim)
        found.append(claim.claim_id)
    return found


async def test_a_cohort_s_pattern_speaks_of_five_in_nobody_s_words(organisation: Organisation) -> None:
    cohort_id, people = await start_cohort(organisation, 5)
    claims = await claim_of_each(organisation, people)
    (stranger,) = await claim_of_each(organisation, [organisation.client_c])
    said = "Sleep came up for five people of this group."
    for supporting, statement, why in (
        (claims[:4], said, "it needs five"),
        ([*claims[:4], stranger], said, "claims of its members"),
        (claims, f"They all say that {ROTA}.", "somebody's words or name"),
        (claims, "Member Number3 and others sleep badly.", "somebody's words or name"),
    ):
        with pytest.raises(IntegrityError, match=why):
            async with tenant_session(organisation.system) as session:
                await write_patterns(
                    session, [make_pattern(supporting, statement=statement, subject="sleep")], cohort_id=cohort_id
                )
    async with tenant_session(organisation.system) as session:
        await write_patterns(
            session, [make_pattern(claims, statement=said, subject="sleep")], cohort_id=cohort_id
        )  # fmt: skip
        pattern = (await session.scalars(select(Pattern))).one()
    assert (pattern.visibility, pattern.client_id, pattern.coach_id) == ("admin_aggregate", None, None)
    assert (await count(organisation.executive))[2] == 1
    for reader in (organisation.coach_b, people[0]):
        assert (await count(reader))[2] == 0
    with pytest.raises(IntegrityError, match="somebody's words or name"):
        async with tenant_session(organisation.system) as session:
            await session.execute(update(Pattern).values(statement="Member Number1 is awake."))
    await require_proof(organisation)


async def test_a_pattern_of_one_client_takes_no_other_s_claims(organisation: Organisation) -> None:
    claims = await claim_of_each(organisation, [organisation.client_a, organisation.client_b])
    with pytest.raises(IntegrityError, match="about one client"):
        async with tenant_session(organisation.system) as session:
            await write_patterns(session, [make_pattern(claims)], client_id=require_id(organisation.client_a))


@pytest.mark.parametrize("first", ["edge", "change"])
async def test_an_edge_and_the_end_of_its_parent_see_each_other(organisation: Organisation, first: str) -> None:
    world = await build_world(organisation)
    claim_id = world.promise.claim_id
    entered = asyncio.Event()

    async def add(wait: asyncio.Event | None) -> bool:
        if wait:
            await wait.wait()
        try:
            async with tenant_session(organisation.system) as session:
                await add_insight(session, organisation, claims=[claim_id])
                entered.set()
                await asyncio.sleep(0.3 if wait is None else 0)
        except IntegrityError:
            return False
        return True

    async def change(wait: asyncio.Event | None) -> None:
        if wait:
            await wait.wait()
        async with tenant_session(organisation.system) as session:
            await session.execute(
                update(IngestedObject)
                .where(IngestedObject.id == world.sessions[0].object_id)
                .values(visibility="coach_only")
            )
            entered.set()
            await asyncio.sleep(0.3 if wait is None else 0)

    before, after = (add, change) if first == "edge" else (change, add)
    done = await asyncio.gather(before(None), after(entered))
    assert (False in done) == (first == "change")
    async with tenant_session(organisation.system) as session:
        assert None not in (await session.scalars(select(Insight.stale_at))).all()
    await require_proof(organisation)
