"""Cohorts hold their size, partners their figures, and only those concerned see who is in them."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.errors import AppError
from db.counters import COUNTERS
from db.models import Certificate, CohortMember, Enrollment, Partner, PartnerCohort, User
from db.session import Principal, app_engine, tenant_session
from domain import learning, partners, people
from domain.events import DatesReversed, SlugTaken
from domain.roles import PersonNotFound
from tests.factories.commerce import offer_program
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


async def add_partner(organisation: Organisation, **values: Any) -> UUID:
    async with tenant_session(organisation.system) as session:
        row = await partners.create_partner(
            session,
            values={"organization_name": "Ujima Trust", "slug": f"p-{uuid4().hex}", "partner_type": "ngo", **values},
        )
        return row.id


async def start_cohort(organisation: Organisation, partner_id: UUID | None = None, **values: Any) -> UUID:
    program = values.pop("program_id", None) or await offer_program(organisation, None)
    async with tenant_session(organisation.system) as session:
        row = await partners.create_cohort(
            session,
            partner_id=partner_id or await add_partner(organisation),
            values={"cohort_name": "Spring", "start_date": date(2026, 3, 1), "program_id": program, **values},
        )
        return row.id


async def add_people(organisation: Organisation, count: int) -> list[UUID]:
    async with tenant_session(organisation.system) as session:
        rows = [
            {"tenant_id": organisation.tenant_id, "email": f"p{n}@{organisation.slug}.example", "full_name": f"P {n}",
             "role": "client"} for n in range(count)
        ]  # fmt: skip
        return list(await session.scalars(insert(User).values(rows).returning(User.id)))


async def add(organisation: Organisation, cohort_id: UUID, *people_: UUID | str) -> list[UUID]:
    members = [{"email": one} if isinstance(one, str) else {"user_id": one} for one in people_]
    async with tenant_session(organisation.system) as session:
        return await partners.add_members(session, cohort_id=cohort_id, members=members)


async def change(organisation: Organisation, cohort_id: UUID, person: UUID, **changes: Any) -> CohortMember:
    async with tenant_session(organisation.system) as session:
        return await partners.update_member(session, cohort_id=cohort_id, user_id=person, changes=changes)


async def figures(organisation: Organisation, cohort_id: UUID) -> tuple[int, int, int, int]:
    async with tenant_session(organisation.system) as session:
        for counter in COUNTERS:
            table, _, column = counter.column.rpartition(".")
            if table.startswith("partners."):
                wrong = await session.execute(text(f"SELECT t.id FROM {table} t WHERE t.{column} <> ({counter.truth})"))
                assert wrong.all() == [], counter.column
        row = await session.execute(
            select(
                PartnerCohort.enrolled_count, Partner.total_participants, Partner.active_participants,
                Partner.certifications_issued,
            ).join(Partner, Partner.id == PartnerCohort.partner_id).where(PartnerCohort.id == cohort_id)
        )  # fmt: skip
        enrolled, total, active, certified = row.one()
        return enrolled, total, active, certified


async def test_fifty_calls_at_once_keep_the_size(organisation: Organisation) -> None:
    cohort_id = await start_cohort(organisation, max_participants=40)
    crowd = await add_people(organisation, 100)

    async def send(pair: tuple[UUID, UUID]) -> int:
        try:
            return len(await add(organisation, cohort_id, *pair))
        except partners.CohortFull:
            return 0

    added = await asyncio.gather(*(send((crowd[n], crowd[n + 1])) for n in range(0, 100, 2)))
    assert sorted(added) == [0] * 30 + [2] * 20
    assert await figures(organisation, cohort_id) == (40, 40, 40, 0)
    async with tenant_session(organisation.system) as session:
        free = select(User.id).where(User.id.in_(crowd), User.id.not_in(select(CohortMember.user_id))).limit(1)
        values = {
            "tenant_id": organisation.tenant_id, "cohort_id": cohort_id, "user_id": await session.scalar(free),
            "partner_id": await session.scalar(select(PartnerCohort.partner_id)),
        }  # fmt: skip
    with pytest.raises(IntegrityError, match="ck_partner_cohorts_max_participants"):
        async with tenant_session(organisation.system) as session:
            await session.execute(insert(CohortMember).values(values))


async def test_a_thousand_are_one_statement(organisation: Organisation) -> None:
    cohort_id = await start_cohort(organisation)
    crowd = await add_people(organisation, 1_000)
    statements: list[str] = []
    engine = app_engine().sync_engine

    def note(*given: Any) -> None:
        statements.append(given[2])

    async with tenant_session(organisation.system) as session:
        event.listen(engine, "before_cursor_execute", note)
        members = [{"user_id": person, "department": "Care"} for person in crowd]
        added = await partners.add_members(session, cohort_id=cohort_id, members=members)
        event.remove(engine, "before_cursor_execute", note)
    assert len(added) == 1_000
    assert sum("cohort_members" in statement for statement in statements) == 1
    assert await figures(organisation, cohort_id) == (1_000, 1_000, 1_000, 0)
    with pytest.raises(partners.TooManyMembers):
        await add(organisation, cohort_id, *crowd, uuid4())


async def test_all_or_none_and_again_changes_nothing(organisation: Organisation) -> None:
    other = await found_organisation()
    cohort_id = await start_cohort(organisation, max_participants=2)
    one, two = require_id(organisation.client_a), require_id(organisation.client_b)
    for unknown in (uuid4(), require_id(other.client_a), one, "nobody@example.org"):
        with pytest.raises(partners.MembersUnknown):
            await add(organisation, cohort_id, one, unknown)
    assert await figures(organisation, cohort_id) == (0, 0, 0, 0)
    assert await add(organisation, cohort_id, f"Client_A@{organisation.slug}.example", two) == sorted([one, two])
    assert await add(organisation, cohort_id, one, two) == []
    # Who drops out leaves a place; who comes back needs one.
    await change(organisation, cohort_id, one, status="dropped")
    assert await figures(organisation, cohort_id) == (1, 2, 1, 0)
    three = require_id(organisation.client_c)
    await add(organisation, cohort_id, three)
    for again in (add(organisation, cohort_id, one), change(organisation, cohort_id, one, status="active")):
        with pytest.raises(partners.CohortFull):
            await again
    done = await change(organisation, cohort_id, two, status="completed")
    assert done.completed_at is not None
    assert await figures(organisation, cohort_id) == (2, 3, 1, 0)
    with pytest.raises(partners.MemberNotFound):
        await change(organisation, cohort_id, require_id(organisation.coach_a), role="lead")
    with pytest.raises(partners.CohortFull):
        async with tenant_session(organisation.system) as session:
            await partners.update_cohort(session, cohort_id=cohort_id, changes={"max_participants": 1})
    async with tenant_session(organisation.system) as session:
        await partners.update_cohort(session, cohort_id=cohort_id, changes={"status": "completed"})
    with pytest.raises(partners.CohortClosed):
        await add(organisation, cohort_id, one)


async def test_members_get_seats_and_certificates_count(organisation: Organisation) -> None:
    program_id = await offer_program(organisation)
    cohort_id = await start_cohort(organisation, program_id=program_id)
    crowd = await add_people(organisation, 3)
    await add(organisation, cohort_id, *crowd)

    async def enroll() -> int:
        async with tenant_session(organisation.system) as session:
            return await partners.enroll_members(session, cohort_id=cohort_id)

    assert sorted(await asyncio.gather(*(enroll() for _ in range(5)))) == [0, 0, 0, 0, 3]
    async with tenant_session(organisation.system) as session:
        seats = dict(
            (
                await session.execute(
                    select(Enrollment.user_id, Enrollment.id).where(Enrollment.program_id == program_id)
                )
            )
            .tuples()
            .all()
        )
        assert set(seats) == set(crowd)
        for person in crowd[:2]:
            await session.execute(
                insert(Certificate).values(
                    tenant_id=organisation.tenant_id, enrollment_id=seats[person], user_id=person,
                    program_id=program_id, certificate_number=uuid4().hex, title="Listening well",
                    verification_code=uuid4().hex, completion_date=datetime.now(UTC),
                )
            )  # fmt: skip
    assert (await figures(organisation, cohort_id))[3] == 2
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(Certificate)
            .where(Certificate.user_id == crowd[0])
            .values(is_revoked=True, revoked_at=func.now(), revocation_reason="mistake")
        )
    assert (await figures(organisation, cohort_id))[3] == 1
    # Whoever was certified before joining counts as well.
    async with tenant_session(organisation.system) as session:
        await session.execute(update(CohortMember).where(CohortMember.user_id == crowd[1]).values(enrollment_id=None))
    assert (await figures(organisation, cohort_id))[3] == 0
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(CohortMember).where(CohortMember.user_id == crowd[1]).values(enrollment_id=seats[crowd[1]])
        )
    assert (await figures(organisation, cohort_id))[3] == 1


async def test_a_full_program_seats_nobody(organisation: Organisation) -> None:
    cohort_id = await start_cohort(organisation, program_id=await offer_program(organisation, None, capacity=2))
    await add(organisation, cohort_id, *await add_people(organisation, 3))
    with pytest.raises(learning.ProgramFull):
        async with tenant_session(organisation.system) as session:
            await partners.enroll_members(session, cohort_id=cohort_id)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Enrollment)) == 0


async def test_a_partner_is_restored_within_thirty_days(organisation: Organisation) -> None:
    partner_id = await add_partner(organisation, slug="ujima", contact_phone="+254700000001")
    with pytest.raises(SlugTaken):
        await add_partner(organisation, slug="ujima")
    with pytest.raises(PersonNotFound):
        await add_partner(organisation, primary_contact_user_id=uuid4())
    with pytest.raises(DatesReversed):
        await add_partner(organisation, partnership_start_date=date(2026, 2, 1), partnership_end_date=date(2026, 1, 1))
    async with tenant_session(organisation.system) as session:
        row = await session.get_one(Partner, (organisation.tenant_id, partner_id))
        assert b"254700000001" not in (row.contact_phone or b"")
        assert await partners.find_phone(session, row) == "+254700000001"
        await partners.delete_partner(session, partner_id=partner_id)
        await partners.delete_partner(session, partner_id=partner_id)
    with pytest.raises(partners.PartnerGone):
        async with tenant_session(organisation.system) as session:
            await partners.update_partner(session, partner_id=partner_id, changes={"description": "late"})
    async with tenant_session(organisation.client_a) as session:
        assert await session.scalar(select(func.count()).select_from(Partner)) == 0
    with pytest.raises(partners.PartnerGone):
        await start_cohort(organisation, partner_id)
    async with tenant_session(organisation.system) as session:
        await partners.restore_partner(session, partner_id=partner_id)
    await start_cohort(organisation, partner_id)
    with pytest.raises(partners.PartnerNotDeleted):
        async with tenant_session(organisation.system) as session:
            await partners.restore_partner(session, partner_id=partner_id)
    async with tenant_session(organisation.system) as session:
        long_ago = datetime.now(UTC) - timedelta(days=30, seconds=1)
        await session.execute(update(Partner).where(Partner.id == partner_id).values(deleted_at=long_ago))
    with pytest.raises(partners.PartnerGraceOver):
        async with tenant_session(organisation.system) as session:
            await partners.restore_partner(session, partner_id=partner_id)


async def test_who_sees_whom(organisation: Organisation) -> None:
    other = await found_organisation()
    contact = require_id(organisation.coach_b)
    partner_id = await add_partner(organisation, primary_contact_user_id=contact)
    cohort_id = await start_cohort(organisation, partner_id)
    await add(organisation, cohort_id, require_id(organisation.client_a), require_id(organisation.client_b))

    async def sees(reader: Principal) -> list[int]:
        async with tenant_session(reader) as session:
            return [
                await session.scalar(select(func.count()).select_from(table)) or 0
                for table in (Partner, PartnerCohort, CohortMember)
            ]

    for reader, expected in (
        (organisation.admin, [1, 1, 2]),
        (organisation.coach_b, [1, 1, 2]),
        (organisation.coach_a, [1, 0, 0]),
        (organisation.client_a, [1, 1, 1]),
        (organisation.client_c, [1, 0, 0]),
        (organisation.executive, [0, 0, 0]),
        (organisation.compliance, [0, 0, 0]),
        (other.admin, [0, 0, 0]),
    ):
        assert await sees(reader) == expected, reader.role
    for reader in (organisation.admin, organisation.client_a):
        async with tenant_session(reader) as session:
            changed = await session.scalars(update(CohortMember).values(role="x").returning(CohortMember.id))
            assert changed.all() == []
    with pytest.raises(DBAPIError, match="permission denied"):
        async with tenant_session(organisation.system) as session:
            await session.execute(update(CohortMember).values(is_certified=True))


async def test_figures_follow_a_person_who_is_erased(organisation: Organisation) -> None:
    cohort_id = await start_cohort(organisation)
    (person,) = await add_people(organisation, 1)
    await add(organisation, cohort_id, person)
    async with tenant_session(organisation.system) as session:
        with pytest.raises(AppError):
            await people.restore_person(session, user_id=person)
        await session.execute(text("DELETE FROM identity.users WHERE id = :id"), {"id": person})
    assert await figures(organisation, cohort_id) == (0, 0, 0, 0)
