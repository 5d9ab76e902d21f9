"""Seats: given once, counted right under concurrency, on the ground the program asks for."""

import asyncio
from collections import Counter as Tally
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from db.models import Enrollment, Program
from db.session import run_serializable, tenant_session
from domain import identity, learning, programs
from tests.factories.courses import enroll_free, write_course
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def add_people(organisation: Organisation, count: int) -> list[UUID]:
    async with tenant_session(organisation.system) as session:
        return [
            (
                await identity.create_user(
                    session, email=f"taker{n}@{organisation.slug}.example", full_name=f"Taker {n}", role="client"
                )
            ).id
            for n in range(count)
        ]


async def read_program(organisation: Organisation, program_id: UUID) -> Program:
    async with tenant_session(organisation.system) as session:
        return await programs.get_program(session, program_id)


async def test_last_seat_is_given_once(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,), capacity=1)
    people = await add_people(organisation, 50)

    async def attempt(user_id: UUID) -> str:
        try:
            async with tenant_session(organisation.system) as session:
                await learning.enroll(session, program_id=course.program_id, user_id=user_id, payment_type="free")
        except learning.ProgramFull:
            return "full"
        return "seated"

    assert Tally(await asyncio.gather(*map(attempt, people))) == {"seated": 1, "full": 49}
    program = await read_program(organisation, course.program_id)
    assert (program.enrollment_count, program.seats_taken) == (1, 1)


async def test_fifty_requests_of_one_person_make_one_enrolment(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,), capacity=1)
    made = await asyncio.gather(*(enroll_free(organisation, course, organisation.client_a) for _ in range(50)))
    assert len(set(made)) == 1
    assert (await read_program(organisation, course.program_id)).enrollment_count == 1


async def test_serializable_enrolments_of_many_all_get_through(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    people = await add_people(organisation, 12)

    async def attempt(user_id: UUID) -> UUID:
        async def work(session: AsyncSession) -> UUID:
            made = await learning.enroll(session, program_id=course.program_id, user_id=user_id, payment_type="free")
            return made.id

        return await run_serializable(organisation.system, work)

    assert len(set(await asyncio.gather(*map(attempt, people)))) == 12
    program = await read_program(organisation, course.program_id)
    assert (program.enrollment_count, program.seats_taken) == (12, 12)


async def test_capacity_is_the_databases_own_rule(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,), capacity=1)
    await enroll_free(organisation, course, organisation.client_a)
    with pytest.raises(DBAPIError, match="ck_programs_capacity"):
        async with tenant_session(organisation.system) as session:
            session.add(
                Enrollment(
                    tenant_id=organisation.tenant_id, user_id=require_id(organisation.client_b),
                    program_id=course.program_id,
                )
            )  # fmt: skip
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(programs.ProgramStepRefused):
            await programs.withdraw_program(session, course.program_id)
    await enroll_widened(organisation, course.program_id)


async def enroll_widened(organisation: Organisation, program_id: UUID) -> None:
    async with tenant_session(organisation.coach_a) as session:
        changed = await programs.update_program(
            session, program_id=program_id, principal=organisation.coach_a, fields={"capacity": 2}
        )
        assert changed.capacity == 2
    for person in (organisation.client_b,):
        async with tenant_session(organisation.system) as session:
            await learning.enroll(session, program_id=program_id, user_id=require_id(person), payment_type="free")
    with pytest.raises(programs.CapacityTooSmall):
        async with tenant_session(organisation.coach_a) as session:
            await programs.update_program(
                session, program_id=program_id, principal=organisation.coach_a, fields={"capacity": 1}
            )


async def test_a_dropped_seat_is_free_again_and_returning_keeps_the_row(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,), capacity=1)
    first = await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await learning.drop_enrollment(session, first)
    await enroll_free(organisation, course, organisation.client_b)
    with pytest.raises(learning.ProgramFull):
        await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.system) as session:
        other = await learning.find_enrollment(
            session, program_id=course.program_id, user_id=require_id(organisation.client_b)
        )
        assert other is not None
        await learning.drop_enrollment(session, other.id)
    assert await enroll_free(organisation, course, organisation.client_a) == first
    program = await read_program(organisation, course.program_id)
    assert (program.enrollment_count, program.seats_taken) == (2, 1)


async def test_steps_follow_the_states(organisation: Organisation) -> None:
    course = await write_course(organisation, (2,))
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.system) as session:
        assert (await learning.suspend_enrollment(session, enrollment)).status == "suspended"
        assert (await learning.suspend_enrollment(session, enrollment)).status == "suspended"
        with pytest.raises(learning.EnrollmentStepRefused, match="suspended can't become completed"):
            await learning.complete_enrollment(session, enrollment)
        with pytest.raises(learning.EnrollmentStepRefused):
            await learning.rate_program(session, enrollment_id=enrollment, rating=5)
    with pytest.raises(learning.EnrollmentSuspended):
        await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await learning.resume_enrollment(session, enrollment)
        done = await learning.complete_enrollment(session, enrollment)
        assert (done.status, done.progress_percent) == ("completed", 100)
        assert done.completion_date is not None
        with pytest.raises(learning.EnrollmentStepRefused):
            await learning.drop_enrollment(session, enrollment)
        with pytest.raises(learning.EnrollmentNotFound):
            await learning.drop_enrollment(session, uuid4())


@pytest.mark.parametrize(
    ("pricing", "ground", "refusal"),
    [
        ("one_time", "free", learning.PaymentNeeded),
        ("one_time", "one_time", learning.PaymentNeeded),
        ("subscription", "free", learning.SubscriptionNeeded),
        ("subscription", "subscription", learning.SubscriptionNeeded),
        ("free", "subscription", learning.SubscriptionNeeded),
    ],
)
async def test_ground_is_checked(
    organisation: Organisation, pricing: str, ground: learning.PaymentType, refusal: type[AppError]
) -> None:
    price: dict[str, Any] = {"price_amount": 40} if pricing == "one_time" else {}
    course = await write_course(organisation, (1,), pricing_type=pricing, tier_access=["build"], **price)
    async with tenant_session(organisation.system) as session:
        with pytest.raises(refusal):
            await learning.enroll(
                session, program_id=course.program_id, user_id=require_id(organisation.client_a), payment_type=ground,
                transaction_id=uuid4() if ground == "one_time" else None,
            )  # fmt: skip
        granted = await learning.enroll(
            session, program_id=course.program_id, user_id=require_id(organisation.client_a), payment_type="scholarship"
        )
        assert granted.payment_type == "scholarship"


@pytest.mark.parametrize(
    ("tier", "status", "days", "admitted"),
    [("build", "active", 9, True), ("discover", "active", 9, False), ("build", "suspended", 9, False),
     ("build", "active", -9, False)],
)  # fmt: skip
async def test_membership_of_the_right_tier_admits(
    organisation: Organisation, tier: str, status: str, days: int, admitted: bool
) -> None:
    course = await write_course(organisation, (1,), pricing_type="subscription", tier_access=["build", "thrive"])
    user_id = require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO commerce.subscriptions (tenant_id, user_id, tier, billing_cycle, amount, status, "
                "current_period_start, current_period_end) VALUES (:tenant, :user, :tier, 'monthly', 9, :status, "
                "now() - interval '20 days', now() + make_interval(days => :days))"
            ),
            {"tenant": organisation.tenant_id, "user": user_id, "tier": tier, "status": status, "days": days},
        )
        made = learning.enroll(
            session, program_id=course.program_id, user_id=user_id, payment_type="subscription"
        )  # fmt: skip
        if admitted:
            assert (await made).status == "active"
        else:
            with pytest.raises(learning.SubscriptionNeeded):
                await made


async def test_drafts_and_archives_take_nobody(organisation: Organisation) -> None:
    draft = await write_course(organisation, (1,), publish=False)
    with pytest.raises(learning.ProgramNotOpen):
        await enroll_free(organisation, draft, organisation.client_a)
    open_course = await write_course(organisation, (1,))
    await enroll_free(organisation, open_course, organisation.client_a)
    async with tenant_session(organisation.admin) as session:
        await programs.archive_program(session, open_course.program_id)
        with pytest.raises(programs.ProgramStepRefused):
            await programs.delete_program(session, open_course.program_id)
    with pytest.raises(learning.ProgramNotOpen):
        await enroll_free(organisation, open_course, organisation.client_b)


async def test_ratings_average_exactly(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    people = (organisation.client_a, organisation.client_b, organisation.client_c)
    ids = [await enroll_free(organisation, course, person) for person in people]

    async def rate(enrollment_id: UUID, rating: int) -> None:
        async with tenant_session(organisation.system) as session:
            await learning.rate_program(session, enrollment_id=enrollment_id, rating=rating)

    await asyncio.gather(*(rate(i, rating) for i in ids for rating in (1, 2)))
    await asyncio.gather(*(rate(i, rating) for i, rating in zip(ids, (5, 4, 4), strict=True)))
    program = await read_program(organisation, course.program_id)
    assert (str(program.average_rating), program.review_count) == ("4.33", 3)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Enrollment).where(Enrollment.id == ids[0]).values(rating=None))
    program = await read_program(organisation, course.program_id)
    assert (str(program.average_rating), program.review_count) == ("4.00", 2)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Enrollment)) == 3
