"""Booking: one hour is given once, to whom it may be given, with what is owed for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update

from core.errors import AppError
from db.models import CoachingSession, Notification, Transaction, UserProfile
from db.session import Principal, tenant_session
from domain import identity
from domain.availability import block_time, list_free_slots
from domain.booking import (
    BookingDiffers,
    ClientBusy,
    CoachingSessionNotFound,
    NotEngaged,
    NoticeTooShort,
    NotYourStep,
    SlotNotOffered,
    SlotTaken,
    StepRefused,
    TimePassed,
    cancel_session,
    reschedule_session,
)
from domain.coaching import end_engagement, start_engagement
from domain.payments import settle
from tests.factories.people import Organisation
from tests.factories.practice import at, book, give_hours, next_day, set_rate
from tests.factories.sessions import require_id

MONDAY = next_day(0)


async def add_clients(organisation: Organisation, count: int) -> list[Principal]:
    """Add people who work with coach_a."""
    made = []
    async with tenant_session(organisation.system) as session:
        for n in range(count):
            user = await identity.create_user(
                session, email=f"extra{n}@{organisation.slug}.example", full_name=f"Extra {n}", role="client"
            )
            await start_engagement(session, coach_id=require_id(organisation.coach_a), client_id=user.id)
            made.append(Principal(organisation.tenant_id, "client", user.id))
    return made


async def gather_outcomes(attempts: list[Any]) -> list[Any]:
    results = await asyncio.gather(*attempts, return_exceptions=True)
    odd = [result for result in results if isinstance(result, BaseException) and not isinstance(result, AppError)]
    assert not odd, odd[:1]
    return results


async def count_sessions(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        return await session.scalar(
            select(func.count()).select_from(CoachingSession).where(CoachingSession.status == "scheduled")
        ) or 0  # fmt: skip


@pytest.mark.parametrize("seats", [1, 3])
async def test_fifty_attempts_at_one_slot_fill_it_exactly(organisation: Organisation, seats: int) -> None:
    await give_hours(organisation, organisation.coach_a, max_sessions_per_slot=seats)
    clients = await add_clients(organisation, 50)
    results = await gather_outcomes(
        [book(organisation, at(MONDAY, 9), by=client, client_id=client.user_id) for client in clients]
    )
    booked = [result for result in results if isinstance(result, CoachingSession)]
    refused = [type(result) for result in results if not isinstance(result, CoachingSession)]
    assert len(booked) == seats
    assert refused == [SlotTaken] * (50 - seats)
    assert await count_sessions(organisation) == seats
    async with tenant_session(organisation.system) as session:
        kept = await session.scalar(
            select(UserProfile.session_count).where(UserProfile.user_id == organisation.coach_a.user_id)
        )
    assert kept == seats


async def test_fifty_direct_inserts_fill_a_slot_once(organisation: Organisation) -> None:
    """The guard is the database's: it holds where nobody asks the domain."""
    clients = await add_clients(organisation, 50)

    async def insert(client: Principal, minute: int) -> CoachingSession:
        row = CoachingSession(
            tenant_id=organisation.tenant_id, coach_id=require_id(organisation.coach_a), client_id=require_id(client),
            scheduled_at=at(MONDAY, 9) + timedelta(minutes=minute),
        )  # fmt: skip
        async with tenant_session(organisation.system) as session:
            session.add(row)
            await session.flush()
        return row

    results = await asyncio.gather(*(insert(c, n) for n, c in enumerate(clients)), return_exceptions=True)
    assert sum(isinstance(result, CoachingSession) for result in results) == 1
    assert all("the coach has a session" in str(r) for r in results if not isinstance(r, CoachingSession))


async def test_fifty_repeats_of_one_key_book_once(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a)
    await set_rate(organisation, organisation.coach_a, "100.00")
    results = await gather_outcomes([book(organisation, at(MONDAY, 9), key="once") for _ in range(50)])
    assert {result.id for result in results} == {results[0].id}
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Transaction)) == 1
    with pytest.raises(BookingDiffers):
        await book(organisation, at(MONDAY, 10), key="once", session_type="discovery_call")


async def test_a_client_is_in_one_session_at_a_time(organisation: Organisation) -> None:
    for coach in (organisation.coach_a, organisation.coach_b):
        await give_hours(organisation, coach)
    results = await gather_outcomes(
        [
            book(
                organisation, at(MONDAY, 9), by=organisation.client_b, coach_id=require_id(coach),
                client_id=require_id(organisation.client_b),
            )
            for coach in (organisation.coach_a, organisation.coach_b)
        ]
    )  # fmt: skip
    assert sorted(type(result).__name__ for result in results) == ["ClientBusy", "CoachingSession"]
    assert issubclass(ClientBusy, AppError)


async def test_blocks_and_bookings_at_once_leave_no_hour_free(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a)

    async def block(hour: int) -> object:
        async with tenant_session(organisation.coach_a) as session:
            return await block_time(
                session, coach_id=require_id(organisation.coach_a), start=at(MONDAY, hour), until=at(MONDAY, hour + 1)
            )

    hours = range(9, 17)
    await gather_outcomes([
        attempt(hour) for hour in hours for attempt in (block, lambda hour: book(organisation, at(MONDAY, hour)))
    ])  # fmt: skip
    for hour in hours:
        with pytest.raises(SlotTaken):
            await book(organisation, at(MONDAY, hour))
    for hour in hours:  # the guard knows blocks too, whoever writes
        with pytest.raises(SlotTaken):
            await book(organisation, at(MONDAY, hour), by=organisation.coach_a)


async def test_only_offered_times_to_come_are_booked_by_clients(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a)
    for wrong in (at(MONDAY, 9, 30), at(MONDAY, 17), at(MONDAY + timedelta(days=1), 9)):
        with pytest.raises(SlotNotOffered):
            await book(organisation, wrong)
    with pytest.raises(TimePassed):
        await book(organisation, at(next_day(0, weeks=-3), 9))
    with pytest.raises(NotEngaged):
        await book(organisation, at(MONDAY, 9), by=organisation.client_c, client_id=require_id(organisation.client_c))
    with pytest.raises(NotYourStep):
        await book(organisation, at(MONDAY, 9), by=organisation.client_b)
    call = await book(
        organisation, at(MONDAY, 9), by=organisation.client_c, client_id=require_id(organisation.client_c),
        session_type="discovery_call",
    )  # fmt: skip
    async with tenant_session(organisation.coach_a) as session:
        assert await session.scalar(select(CoachingSession.id)) == call.id
    async with tenant_session(organisation.coach_b) as session:
        # coach_b works with client_c and so sees what is about them
        assert await session.scalar(select(CoachingSession.id)) == call.id


async def test_a_coach_may_book_outside_their_hours_but_not_twice(organisation: Organisation) -> None:
    booked = await book(organisation, at(MONDAY, 20), by=organisation.coach_a, duration_minutes=90)
    assert (booked.duration_minutes, booked.payment_status) == (90, "paid")
    with pytest.raises(SlotTaken):
        await book(organisation, at(MONDAY, 21), by=organisation.coach_a, client_id=require_id(organisation.client_b))
    after = await book(
        organisation, at(MONDAY, 21, 30), by=organisation.coach_a, client_id=require_id(organisation.client_b)
    )
    assert after.status == "scheduled"


async def test_what_is_owed_follows_the_payment(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a, slot_minutes=50)
    await set_rate(organisation, organisation.coach_a, "99.99", "EUR")
    booked = await book(organisation, at(MONDAY, 9))
    assert (booked.payment_amount, booked.currency, booked.payment_status) == (Decimal("83.33"), "EUR", "pending")
    assert booked.transaction_id is not None
    async with tenant_session(organisation.system) as session:
        payment = await settle(session, booked.transaction_id)
        assert (payment.user_id, payment.seller_id, payment.reference_id) == (
            organisation.client_a.user_id, organisation.coach_a.user_id, booked.id,
        )  # fmt: skip
    async with tenant_session(organisation.client_a) as session:
        assert await session.scalar(select(CoachingSession.payment_status)) == "paid"
    async with tenant_session(organisation.system) as session:
        await cancel_session(session, booked.id, by=organisation.client_a, reason="Away that week.")
    async with tenant_session(organisation.system) as session:
        refund = await session.scalar(select(Transaction).where(Transaction.transaction_type == "refund"))
        assert refund is not None
        assert (refund.amount, refund.refund_of) == (Decimal("83.33"), booked.transaction_id)
        await settle(session, refund.id)
    async with tenant_session(organisation.client_a) as session:
        row = (await session.execute(select(CoachingSession.status, CoachingSession.payment_status))).one()
    assert tuple(row) == ("cancelled", "refunded")


async def test_cancelling_frees_the_slot_and_what_is_owed(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a)
    await set_rate(organisation, organisation.coach_a, "60")
    booked = await book(organisation, at(MONDAY, 9))
    for _ in range(2):
        async with tenant_session(organisation.system) as session:
            cancelled = await cancel_session(session, booked.id, by=organisation.coach_a)
    assert (cancelled.status, cancelled.payment_status) == ("cancelled", "cancelled")
    assert cancelled.cancelled_by == organisation.coach_a.user_id
    again = await book(organisation, at(MONDAY, 9), by=organisation.client_b,
                       client_id=require_id(organisation.client_b))  # fmt: skip
    assert again.id != booked.id
    async with tenant_session(organisation.system) as session:
        kept = await session.scalar(
            select(UserProfile.session_count).where(UserProfile.user_id == organisation.coach_a.user_id)
        )
        told = (await session.scalars(
            select(Notification.notification_type).where(Notification.user_id == organisation.client_a.user_id)
        )).all()  # fmt: skip
    assert kept == 1
    assert told.count("session_cancelled") == 1


async def test_clients_keep_the_notice_and_coaches_need_not(organisation: Organisation) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=20)
    booked = await book(organisation, soon, by=organisation.coach_a)
    with pytest.raises(NoticeTooShort):
        async with tenant_session(organisation.system) as session:
            await cancel_session(session, booked.id, by=organisation.client_a)
    for stranger in (organisation.client_b, organisation.coach_b, organisation.executive):
        with pytest.raises(CoachingSessionNotFound):
            async with tenant_session(organisation.system) as session:
                await cancel_session(session, booked.id, by=stranger)
    async with tenant_session(organisation.system) as session:
        await cancel_session(session, booked.id, by=organisation.coach_a)
    with pytest.raises(StepRefused):
        async with tenant_session(organisation.system) as session:
            await reschedule_session(session, booked.id, by=organisation.coach_a, scheduled_at=soon + timedelta(days=1))


async def test_moving_takes_one_slot_and_frees_the_other(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a, buffer_minutes=15)
    booked = await book(organisation, at(MONDAY, 9))
    other = await book(organisation, at(MONDAY, 10, 15), by=organisation.client_b,
                       client_id=require_id(organisation.client_b))  # fmt: skip
    with pytest.raises(SlotTaken):
        async with tenant_session(organisation.system) as session:
            await reschedule_session(session, booked.id, by=organisation.client_a, scheduled_at=other.scheduled_at)
    async with tenant_session(organisation.system) as session:
        moved = await reschedule_session(session, booked.id, by=organisation.client_a, scheduled_at=at(MONDAY, 11, 30))
    assert (moved.scheduled_at, moved.status) == (at(MONDAY, 11, 30), "scheduled")
    async with tenant_session(organisation.system) as session:
        free = await list_free_slots(
            session, coach_id=require_id(organisation.coach_a), start=at(MONDAY, 0), until=at(MONDAY, 23)
        )
    assert [slot.starts_at for slot in free] == [at(MONDAY, 9), at(MONDAY, 12, 45), at(MONDAY, 14), at(MONDAY, 15, 15)]


async def test_ended_engagement_calls_its_sessions_off(organisation: Organisation) -> None:
    await give_hours(organisation, organisation.coach_a)
    booked = await book(organisation, at(MONDAY, 9))
    kept = await book(organisation, at(MONDAY, 10), by=organisation.client_b,
                      client_id=require_id(organisation.client_b))  # fmt: skip
    async with tenant_session(organisation.system) as session:
        await end_engagement(
            session, coach_id=require_id(organisation.coach_a), client_id=require_id(organisation.client_a)
        )
    async with tenant_session(organisation.system) as session:
        statuses = dict((await session.execute(select(CoachingSession.id, CoachingSession.status))).tuples().all())
    assert statuses == {booked.id: "cancelled", kept.id: "scheduled"}
    with pytest.raises(NotEngaged):
        await book(organisation, at(MONDAY, 9))


async def test_a_moved_row_is_guarded_like_a_new_one(organisation: Organisation) -> None:
    first = await book(organisation, at(MONDAY, 9), by=organisation.coach_a)
    second = await book(
        organisation, at(MONDAY, 11), by=organisation.coach_a, client_id=require_id(organisation.client_b)
    )
    for change in ({"scheduled_at": first.scheduled_at}, {"duration_minutes": 1440, "scheduled_at": at(MONDAY, 1)}):
        with pytest.raises(Exception, match="the coach has a session"):
            async with tenant_session(organisation.system) as session:
                await session.execute(update(CoachingSession).where(CoachingSession.id == second.id).values(change))
    with pytest.raises(Exception, match="READ COMMITTED transactions only"):
        async with tenant_session(organisation.system, isolation="REPEATABLE READ") as session:
            await session.execute(
                update(CoachingSession).where(CoachingSession.id == second.id).values(scheduled_at=at(MONDAY, 13))
            )
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(CoachingSession.scheduled_at).where(CoachingSession.id == second.id)) == at(
            MONDAY, 11
        )
