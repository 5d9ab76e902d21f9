"""Seats at events are given once, in order, and only those who have one learn how to get in."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.errors import AppError
from db.counters import COUNTERS
from db.models import Event, EventAccess, EventRegistration, EventTicket, Notification, Transaction, User
from db.session import Principal, tenant_session
from domain import events, fulfilment, payments, registrations
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


async def hold_event(organisation: Organisation, *, publish: bool = True, **values: Any) -> UUID:
    async with tenant_session(organisation.system) as session:
        event = await events.create_event(
            session,
            organizer_id=require_id(organisation.coach_a),
            values={
                "title": "Listening in pairs", "slug": f"event-{uuid4().hex}", "timezone": "Africa/Nairobi",
                "event_date": datetime.now(UTC) + timedelta(days=7), "location_type": "virtual",
                "virtual_link": "https://meet.example/x", "meeting_password": "swordfish", **values,
            },
        )  # fmt: skip
        if publish:
            await events.publish_event(session, event.id)
        return event.id


async def offer(organisation: Organisation, event_id: UUID, **values: Any) -> UUID:
    async with tenant_session(organisation.system) as session:
        ticket = await events.add_ticket(
            session, event_id=event_id, values={"name": "General", "price": Decimal(0), "currency": "KES", **values}
        )
        return ticket.id


async def add_people(organisation: Organisation, count: int) -> list[UUID]:
    async with tenant_session(organisation.system) as session:
        rows = [
            {"tenant_id": organisation.tenant_id, "email": f"p{n}@{organisation.slug}.example", "full_name": f"P {n}",
             "role": "client"} for n in range(count)
        ]  # fmt: skip
        return list(await session.scalars(insert(User).values(rows).returning(User.id)))


async def register(organisation: Organisation, event_id: UUID, user_id: UUID, **given: Any) -> EventRegistration:
    async with tenant_session(organisation.system) as session:
        return await registrations.register(session, event_id=event_id, user_id=user_id, **given)


async def cancel(organisation: Organisation, row: EventRegistration) -> EventRegistration:
    async with tenant_session(organisation.system) as session:
        return await registrations.cancel(session, event_id=row.event_id, registration_id=row.id)


async def read(organisation: Organisation, user_id: UUID, event_id: UUID) -> EventRegistration:
    async with tenant_session(organisation.system) as session:
        return await registrations.get_registration(session, event_id=event_id, user_id=user_id)


async def read_event(organisation: Organisation, event_id: UUID) -> Event:
    async with tenant_session(organisation.system) as session:
        event = await session.get_one(Event, (organisation.tenant_id, event_id))
        for counter in COUNTERS:
            table, _, column = counter.column.rpartition(".")
            if table.startswith("events."):
                wrong = await session.execute(text(f"SELECT t.id FROM {table} t WHERE t.{column} <> ({counter.truth})"))
                assert wrong.all() == [], counter.column
        return event


async def test_ten_seats_under_fifty_at_once(organisation: Organisation) -> None:
    event_id = await hold_event(organisation, capacity_limit=10)
    people = await add_people(organisation, 50)
    rows = await asyncio.gather(*(register(organisation, event_id, person) for person in people))
    assert sorted(row.status for row in rows) == ["registered"] * 10 + ["waitlisted"] * 40
    assert len({row.ticket_code for row in rows if row.ticket_code}) == 10
    assert (await read_event(organisation, event_id)).registration_count == 10
    async with tenant_session(organisation.system) as session:
        places = [await registrations.find_position(session, row) for row in rows if row.status == "waitlisted"]
    assert sorted(place or 0 for place in places) == list(range(1, 41))

    # Ten leave at once, and some of them twice: the first ten who wait come in, in their order.
    waiting = sorted((r for r in rows if r.status == "waitlisted"), key=lambda row: (row.registration_date, row.id))
    seated = [row for row in rows if row.status == "registered"]
    left = await asyncio.gather(*(cancel(organisation, row) for row in [*seated, *seated]), return_exceptions=True)
    assert sum(isinstance(one, registrations.RegistrationOver) for one in left) == 10
    assert not [one for one in left if isinstance(one, BaseException) and not isinstance(one, AppError)]
    now = {row.user_id: (await read(organisation, row.user_id, event_id)).status for row in waiting}
    assert [now[row.user_id] for row in waiting] == ["registered"] * 10 + ["waitlisted"] * 30
    assert (await read_event(organisation, event_id)).registration_count == 10
    async with tenant_session(organisation.system) as session:
        told = await session.scalar(
            select(func.count()).select_from(Notification).where(Notification.notification_type == "event_seat_free")
        )
    assert told == 10


async def test_tickets_hold_their_quantity_under_fifty_at_once(organisation: Organisation) -> None:
    event_id = await hold_event(organisation, capacity_limit=100)
    few, many = await offer(organisation, event_id, quantity_available=5), await offer(organisation, event_id)
    people = await add_people(organisation, 50)
    rows = await asyncio.gather(
        *(register(organisation, event_id, p, ticket_id=few if n % 2 else many) for n, p in enumerate(people))
    )
    assert sum(row.status == "registered" and row.ticket_id == few for row in rows) == 5
    assert sum(row.status == "registered" and row.ticket_id == many for row in rows) == 25
    assert (await read_event(organisation, event_id)).registration_count == 30
    # Whose ticket is sold out is passed over, not in the way.
    holder = next(row for row in rows if row.status == "registered" and row.ticket_id == many)
    await cancel(organisation, holder)
    assert (await read_event(organisation, event_id)).registration_count == 29
    holder = next(row for row in rows if row.status == "registered" and row.ticket_id == few)
    await cancel(organisation, holder)
    assert (await read_event(organisation, event_id)).registration_count == 29


async def test_the_database_holds_the_capacity_by_itself(organisation: Organisation) -> None:
    event_id = await hold_event(organisation, capacity_limit=1)
    ticket_id = await offer(organisation, event_id, quantity_available=0)
    people = await add_people(organisation, 2)
    await register(organisation, event_id, people[0], ticket_id=await offer(organisation, event_id))
    for ticket, name in ((None, "ck_events_capacity"), (ticket_id, "ck_event")):
        with pytest.raises(IntegrityError, match=name):
            async with tenant_session(organisation.system) as session:
                await session.execute(
                    insert(EventRegistration).values(
                        tenant_id=organisation.tenant_id, event_id=event_id, user_id=people[1], ticket_id=ticket
                    )
                )
    event = await read_event(organisation, event_id)
    with pytest.raises(events.CapacityBelowSeats):
        async with tenant_session(organisation.system) as session:
            await events.update_event(session, event=event, changes={"capacity_limit": 0})
    with pytest.raises(DBAPIError, match="permission denied"):
        async with tenant_session(organisation.system) as session:
            await session.execute(update(Event).values(registration_count=0))


async def test_registering_again_changes_nothing_and_coming_back_queues(organisation: Organisation) -> None:
    event_id = await hold_event(organisation, capacity_limit=1)
    one, two = await add_people(organisation, 2)
    same = await asyncio.gather(*(register(organisation, event_id, one) for _ in range(20)))
    assert len({row.id for row in same}) == 1
    await register(organisation, event_id, two)
    await cancel(organisation, same[0])
    assert (await read(organisation, two, event_id)).status == "registered"
    back = await register(organisation, event_id, one)
    assert (back.id, back.status) == (same[0].id, "waitlisted")


@pytest.mark.parametrize(
    ("values", "publish"),
    [
        ({}, False),
        ({"registration_opens_at": datetime.now(UTC) + timedelta(hours=1)}, True),
        ({"registration_closes_at": datetime.now(UTC) - timedelta(hours=1)}, True),
        ({"event_date": datetime.now(UTC) - timedelta(hours=1)}, True),
    ],
)
async def test_registration_has_its_time(organisation: Organisation, values: dict[str, Any], publish: bool) -> None:
    event_id = await hold_event(organisation, publish=publish, **values)
    with pytest.raises(registrations.RegistrationClosed):
        await register(organisation, event_id, require_id(organisation.client_a))


async def test_tickets_have_their_time(organisation: Organisation) -> None:
    event_id = await hold_event(organisation)
    other = await hold_event(organisation)
    late = await offer(organisation, event_id, sale_ends_at=datetime.now(UTC) - timedelta(seconds=1))
    person = require_id(organisation.client_a)
    for given, error in (
        ({}, registrations.TicketNeeded),
        ({"ticket_id": late}, registrations.TicketNotSold),
        ({"ticket_id": await offer(organisation, event_id, is_active=False)}, registrations.TicketNotSold),
        ({"ticket_id": await offer(organisation, other)}, events.TicketNotFound),
    ):
        with pytest.raises(error):
            await register(organisation, event_id, person, **given)


async def test_approval_comes_before_the_seat(organisation: Organisation) -> None:
    event_id = await hold_event(organisation, capacity_limit=1, requires_approval=True)
    people = await add_people(organisation, 2)
    asked = [await register(organisation, event_id, person) for person in people]
    assert {row.status for row in asked} == {"pending_approval"}
    assert (await read_event(organisation, event_id)).registration_count == 0
    async with tenant_session(organisation.system) as session:
        accepted = [await registrations.approve(session, event_id=event_id, registration_id=row.id) for row in asked]
    assert [row.status for row in accepted] == ["registered", "waitlisted"]
    with pytest.raises(registrations.RegistrationOver):
        async with tenant_session(organisation.system) as session:
            await registrations.approve(session, event_id=event_id, registration_id=asked[0].id)


async def pay(organisation: Organisation, row: EventRegistration, gateway_id: str) -> Transaction:
    assert row.transaction_id is not None
    return await fulfilment.complete_payment(
        organisation.system, payment_id=row.transaction_id, amount=Decimal("1500.00"), currency="KES",
        gateway_name="mpesa", gateway_transaction_id=gateway_id,
    )  # fmt: skip


async def test_a_paid_seat_is_held_paid_and_passed_on(organisation: Organisation) -> None:
    event_id = await hold_event(organisation, capacity_limit=1)
    ticket_id = await offer(organisation, event_id, price=Decimal("1500.00"))
    one, two, three = await add_people(organisation, 3)
    held = await register(organisation, event_id, one, ticket_id=ticket_id, payment_method="mpesa")
    assert (held.status, held.ticket_code) == ("pending_payment", None)
    assert held.held_until is not None
    for person in (two, three):
        assert (await register(organisation, event_id, person, ticket_id=ticket_id)).status == "waitlisted"
    first = await asyncio.gather(*(pay(organisation, held, "MP-1") for _ in range(5)))
    assert {payment.status for payment in first} == {"success"}
    paid = await read(organisation, one, event_id)
    assert (paid.status, paid.amount_paid) == ("registered", Decimal("1500.00"))
    assert paid.ticket_code is not None
    # All of it goes back: the seat goes to who waits, who must pay in turn; who does not passes it on.
    async with tenant_session(organisation.system) as session:
        await fulfilment.give_back(session, payment_id=first[0].id, reason="ill", paid_out=True)
    gone, second = await read(organisation, one, event_id), await read(organisation, two, event_id)
    assert (gone.status, gone.refund_issued, second.status) == ("cancelled", True, "pending_payment")
    async with tenant_session(organisation.system) as session:
        assert second.held_until is not None
        await fulfilment.expire_payments(session, now=second.held_until + timedelta(seconds=1))
    second, third = await read(organisation, two, event_id), await read(organisation, three, event_id)
    assert (second.status, third.status) == ("cancelled", "pending_payment")
    assert (await read_event(organisation, event_id)).registration_count == 1
    # Money that comes too late is kept in the books and goes back.
    late = await pay(organisation, second, "MP-2")
    async with tenant_session(organisation.system) as session:
        refunds = await session.scalars(select(Transaction.amount).where(Transaction.refund_of == late.id))
        assert refunds.all() == [Decimal("1500.00")]
        # Giving a seat up that is not paid yet gives the payment up as well.
        await registrations.cancel(session, event_id=event_id, registration_id=third.id)
        assert third.transaction_id is not None
        assert (await payments.get_payment(session, third.transaction_id)).status == "cancelled"


async def test_a_ticket_lets_in_once(organisation: Organisation) -> None:
    event_id = await hold_event(organisation)
    row = await register(organisation, event_id, require_id(organisation.client_a))
    await register(organisation, event_id, require_id(organisation.client_b))
    assert row.ticket_code is not None

    async def let_in(code: str) -> str:
        try:
            async with tenant_session(organisation.coach_a.as_system()) as session:
                await registrations.check_in(
                    session, event_id=event_id, ticket_code=code, checked_in_by=organisation.coach_a.user_id
                )
        except AppError as error:
            return error.code
        return "in"

    tries: Sequence[str] = await asyncio.gather(*(let_in(row.ticket_code) for _ in range(20)))
    assert sorted(tries) == ["AlreadyCheckedIn"] * 19 + ["in"]
    assert await let_in("EV-AAAA-AAAA-AAAA-AAAA") == "RegistrationNotFound"
    with pytest.raises(registrations.RegistrationOver):
        await cancel(organisation, row)
    async with tenant_session(organisation.system) as session:
        await events.move_event(session, event=await events.lock_event(session, event_id), status="completed")
    assert (await read(organisation, require_id(organisation.client_b), event_id)).status == "no_show"
    event = await read_event(organisation, event_id)
    assert (event.registration_count, event.attendance_count) == (2, 1)
    assert await let_in(row.ticket_code) == "CheckInClosed"


async def test_calling_off_ends_everything_and_gives_money_back(organisation: Organisation) -> None:
    event_id = await hold_event(organisation)
    free = await offer(organisation, event_id)
    dear = await offer(organisation, event_id, price=Decimal("1500.00"))
    one, two, three = await add_people(organisation, 3)
    await register(organisation, event_id, one, ticket_id=free)
    paid = await register(organisation, event_id, two, ticket_id=dear)
    await pay(organisation, paid, "MP-9")
    await register(organisation, event_id, three, ticket_id=dear)
    async with tenant_session(organisation.system) as session:
        await registrations.call_off(session, event=await events.lock_event(session, event_id), reason="storm")
        statuses = (await session.execute(select(EventRegistration.status).distinct())).scalars().all()
        assert statuses == ["cancelled"]
        refunds = await session.scalars(select(Transaction.amount).where(Transaction.transaction_type == "refund"))
        assert refunds.all() == [Decimal("1500.00")]
        told = await session.scalars(select(Notification.user_id))
        assert {one, two, three} <= set(told)
    event = await read_event(organisation, event_id)
    assert (event.status, event.registration_count) == ("cancelled", 0)
    with pytest.raises(events.EventStepRefused):
        async with tenant_session(organisation.system) as session:
            await events.publish_event(session, event_id)


async def test_who_sees_what_of_an_event(organisation: Organisation) -> None:
    other = await found_organisation()
    draft = await hold_event(organisation, publish=False, co_organizers=[str(organisation.coach_b.user_id)])
    open_id = await hold_event(organisation, capacity_limit=3)
    await offer(organisation, draft)
    await register(organisation, open_id, require_id(organisation.client_a))

    async def sees(reader: Principal) -> tuple[set[UUID], int, set[UUID], int]:
        async with tenant_session(reader) as session:
            return (
                set(await session.scalars(select(Event.id))),
                await session.scalar(select(func.count()).select_from(EventTicket)) or 0,
                set(await session.scalars(select(EventAccess.event_id))),
                await session.scalar(select(func.count()).select_from(EventRegistration)) or 0,
            )

    both = {draft, open_id}
    for reader, expected in (
        (organisation.coach_a, (both, 1, both, 0)),
        (organisation.coach_b, (both, 1, {draft}, 0)),
        (organisation.admin, (both, 1, both, 1)),
        (organisation.client_a, ({open_id}, 0, {open_id}, 1)),
        (organisation.client_b, ({open_id}, 0, set(), 0)),
        (organisation.executive, (set(), 0, set(), 0)),
        (organisation.compliance, (set(), 0, set(), 0)),
        (other.admin, (set(), 0, set(), 0)),
    ):
        assert await sees(reader) == expected, reader.role
    async with tenant_session(organisation.client_a) as session:
        visit = await events.get_visit(session, event_id=open_id, user_id=organisation.client_a.user_id)
    assert (visit.spots_remaining, visit.meeting_password) == (2, "swordfish")
    async with tenant_session(organisation.client_b) as session:
        visit = await events.get_visit(session, event_id=open_id, user_id=organisation.client_b.user_id)
    assert (visit.access, visit.registration, visit.meeting_password) == (None, None, None)
    row = await read(organisation, require_id(organisation.client_a), open_id)
    await cancel(organisation, row)
    assert (await sees(organisation.client_a))[2] == set()
    # A member writes nothing by themself.
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(organisation.client_b) as session:
            await session.execute(
                insert(EventRegistration).values(
                    tenant_id=organisation.tenant_id, event_id=open_id, user_id=organisation.client_b.user_id
                )
            )
