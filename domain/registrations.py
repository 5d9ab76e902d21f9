"""Seats at events: given while there are some, waited for, paid, given up and passed on."""

import base64
import secrets
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Uuid, cast, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import Event, EventRegistration, EventTicket, Transaction
from domain import payments
from domain.comms import notify, publish
from domain.events import get_ticket, lock_event, move_event
from domain.governance import name_action
from domain.refunds import refund_payment

ACTIVE: Final = ("registered", "waitlisted", "pending_payment", "pending_approval", "attended", "no_show")
CANCELLABLE: Final = ("registered", "waitlisted", "pending_payment", "pending_approval")

_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)


class RegistrationNotFound(NotFound):
    """There is no such registration for this event; list the registrations to see which there are."""


class RegistrationClosed(Conflict):
    """This event takes no registrations now; read it again to see from when until when it does."""


class RegistrationOver(Conflict):
    """This registration can't be changed any more; it was used, or given up before."""


class TicketNeeded(Invalid):
    """This event has tickets; name the one you want."""


class TicketNotSold(Conflict):
    """This ticket is not sold now; choose another one of the event."""


class SeatGone(Conflict):
    """The seat was given up before the payment came and nothing is free any more, so the payment goes back."""


class AlreadyCheckedIn(Conflict):
    """Somebody came in with this ticket before; look at when, and who checked them in."""


class CheckInClosed(Conflict):
    """Nobody can be checked in to this event; it is not published, or over."""


async def register(
    session: AsyncSession, *, event_id: UUID, user_id: UUID, ticket_id: UUID | None = None,
    payment_method: str = "card", metadata: dict[str, Any] | None = None,
) -> EventRegistration:  # fmt: skip
    """Give the person a seat, or a place on the waiting list; who has one already keeps it as it is.

    Locks the event, so the last seat is given once. A ticket that costs something holds its seat while the payment is
    open, see `transaction_id`. Needs a session of the pipelines. Raises `EventNotFound`, `RegistrationClosed`,
    `TicketNeeded`, `TicketNotFound`, `TicketNotSold`.
    """
    event = await lock_event(session, event_id)
    known = await _find(session, event_id, user_id)
    if known is not None and known.status in ACTIVE:
        return known
    await _require_open(session, event)
    ticket = await _choose_ticket(session, event, ticket_id)
    await name_action(session, "event_registered")
    fresh: dict[str, Any] = {
        "ticket_id": None if ticket is None else ticket.id, "registration_date": func.clock_timestamp(),
        "status": "pending_approval" if event.requires_approval else "waitlisted",
        "amount_paid": None, "transaction_id": None, "ticket_code": None, "held_until": None, "cancelled_at": None,
        "cancellation_reason": None, "refund_issued": False,
    }  # fmt: skip
    # Who gave a seat up comes back as the same row, at the end of the line.
    row = await session.scalar(
        insert(EventRegistration)
        .values(tenant_id=_TENANT, event_id=event_id, user_id=user_id, metadata_=metadata, **fresh)
        .on_conflict_do_update(index_elements=("tenant_id", "event_id", "user_id"), set_=fresh | {"metadata": metadata})
        .returning(EventRegistration),
        execution_options={"populate_existing": True},
    )
    assert row is not None  # noqa: S101  # an upsert always returns its row
    if row.status == "waitlisted" and await _has_room(session, event, ticket):
        await _seat(session, event, row, ticket, payment_method=payment_method)
    return row


async def find_position(session: AsyncSession, registration: EventRegistration) -> int | None:
    """Return the place on the waiting list, 1 for the next, or None off it; needs a session of the pipelines."""
    if registration.status != "waitlisted":
        return None
    place = tuple_(EventRegistration.registration_date, EventRegistration.id)
    before = select(func.count()).where(
        EventRegistration.event_id == registration.event_id,
        EventRegistration.status == "waitlisted",
        place <= tuple_(literal(registration.registration_date), literal(registration.id)),
    )
    return int(await session.scalar(before.select_from(EventRegistration)) or 0)


async def get_registration(
    session: AsyncSession, *, event_id: UUID, registration_id: UUID | None = None, user_id: UUID | None = None
) -> EventRegistration:
    """Return one registration of the event, by its id or its person; raises `RegistrationNotFound`."""
    query = select(EventRegistration).where(EventRegistration.event_id == event_id)
    if registration_id is not None:
        query = query.where(EventRegistration.id == registration_id)
    if user_id is not None:
        query = query.where(EventRegistration.user_id == user_id)
    row: EventRegistration | None = await session.scalar(query, execution_options={"populate_existing": True})
    if row is None:
        raise RegistrationNotFound
    return row


async def cancel(
    session: AsyncSession, *, event_id: UUID, registration_id: UUID, reason: str | None = None
) -> EventRegistration:
    """Give the seat up; the first who waits and whose ticket is free gets it in the same transaction.

    Money already paid is not touched: whether it goes back is decided by a refund. Needs a session of the pipelines.
    Raises `RegistrationNotFound`, `RegistrationOver`.
    """
    row = await get_registration(session, event_id=event_id, registration_id=registration_id)
    if row.status == "pending_payment" and row.transaction_id is not None:
        # Payments are locked before events everywhere, so that nobody waits for one another.
        await payments.get_payment(session, row.transaction_id, lock=True)
    event = await lock_event(session, event_id)
    row = await get_registration(session, event_id=event_id, registration_id=registration_id)
    if row.status not in CANCELLABLE:
        raise RegistrationOver
    if row.status == "pending_payment" and row.transaction_id is not None:
        await payments.cancel_payment(session, row.transaction_id)
    await _give_up(session, event, row, reason)
    return row


async def approve(session: AsyncSession, *, event_id: UUID, registration_id: UUID) -> EventRegistration:
    """Accept who asked to come: a seat, or the waiting list where none is free.

    Needs a session of the pipelines. Raises `RegistrationNotFound`, `RegistrationOver`.
    """
    event = await lock_event(session, event_id)
    row = await get_registration(session, event_id=event_id, registration_id=registration_id)
    if row.status != "pending_approval":
        raise RegistrationOver
    ticket = None
    if row.ticket_id is not None:
        ticket = await get_ticket(session, event_id=event_id, ticket_id=row.ticket_id)
    await name_action(session, "event_registration_approved")
    await _write(session, row, status="waitlisted")
    if await _has_room(session, event, ticket):
        await _seat(session, event, row, ticket)
    await _tell(session, event, row, "event_approved", f"You can come to {event.title}"[:255])
    return row


async def confirm_payment(session: AsyncSession, payment: Transaction) -> EventRegistration:
    """Give the paid seat for good; raises `SeatGone` where it was given up and nothing is free any more."""
    assert payment.reference_id is not None  # noqa: S101  # it names the event
    event = await lock_event(session, payment.reference_id)
    row = await get_registration(session, event_id=event.id, user_id=payment.user_id)
    if row.status == "cancelled" and event.status in ("published", "in_progress"):
        ticket = await get_ticket(session, event_id=event.id, ticket_id=row.ticket_id) if row.ticket_id else None
        if await _has_room(session, event, ticket):
            await _write(session, row, status="pending_payment", held_until=func.now(), cancelled_at=None)
    if row.status != "pending_payment":
        raise SeatGone
    await name_action(session, "event_registration_paid")
    await _write(
        session, row, status="registered", held_until=None, transaction_id=payment.id, amount_paid=payment.amount,
        ticket_code=_draw_code(),
    )  # fmt: skip
    return row


async def release_unpaid(session: AsyncSession, payment: Transaction) -> None:
    """Pass on the seat a payment held that came to nothing."""
    assert payment.reference_id is not None  # noqa: S101  # it names the event
    event = await lock_event(session, payment.reference_id)
    row = await _find(session, event.id, payment.user_id)
    if row is not None and row.status == "pending_payment" and row.transaction_id == payment.id:
        await _give_up(session, event, row, None)


async def take_back_refunded(session: AsyncSession, payment: Transaction) -> None:
    """Note that the payment of a registration went back whole; a seat it gave is passed on."""
    assert payment.reference_id is not None  # noqa: S101  # it names the event
    event = await lock_event(session, payment.reference_id)
    row = await _find(session, event.id, payment.user_id)
    if row is None or row.transaction_id != payment.id:
        return
    await _write(session, row, refund_issued=True)
    if row.status in CANCELLABLE:
        await _give_up(session, event, row, None)


async def check_in(
    session: AsyncSession, *, event_id: UUID, ticket_code: str, checked_in_by: UUID | None
) -> EventRegistration:
    """Let in who shows this code, once.

    Needs a session of the pipelines. Raises `CheckInClosed`, `RegistrationNotFound`, `AlreadyCheckedIn`.
    """
    event = await session.scalar(select(Event.status).where(Event.id == event_id))
    if event not in ("published", "in_progress"):
        raise CheckInClosed
    await name_action(session, "event_checked_in")
    let_in: EventRegistration | None = await session.scalar(
        update(EventRegistration)
        .where(
            EventRegistration.event_id == event_id, EventRegistration.ticket_code == ticket_code,
            EventRegistration.status == "registered", EventRegistration.checked_in.is_(False),
        )
        .values(status="attended", checked_in=True, checked_in_at=func.now(), checked_in_by=checked_in_by)
        .returning(EventRegistration)
    )  # fmt: skip
    if let_in is not None:
        return let_in
    used = await session.scalar(
        select(EventRegistration.checked_in).where(
            EventRegistration.event_id == event_id, EventRegistration.ticket_code == ticket_code
        )
    )
    raise AlreadyCheckedIn if used else RegistrationNotFound


async def call_off(session: AsyncSession, *, event: Event, reason: str | None = None) -> Event:
    """Cancel the locked event: every registration ends, everyone is told, and what was paid goes back.

    The refunds stay pending until the money has moved. Raises `EventStepRefused`.
    """
    event = await move_event(session, event=event, status="cancelled")
    rows = (
        await session.scalars(
            select(EventRegistration)
            .where(EventRegistration.event_id == event.id, EventRegistration.status.in_(CANCELLABLE))
            .order_by(EventRegistration.id)
        )
    ).all()
    for row in rows:
        if row.status == "pending_payment" and row.transaction_id is not None:
            await payments.cancel_payment(session, row.transaction_id)
        elif row.transaction_id is not None:
            await refund_payment(session, payment_id=row.transaction_id, reason="event cancelled", paid_out=False)
        await _tell(session, event, row, "event_cancelled", f"{event.title} does not take place"[:255])
    await session.execute(
        update(EventRegistration)
        .where(EventRegistration.event_id == event.id, EventRegistration.status.in_(CANCELLABLE))
        .values(
            status="cancelled", cancelled_at=func.now(), cancellation_reason=reason, held_until=None, ticket_code=None
        )
        .execution_options(synchronize_session=False)
    )
    await session.refresh(event)
    return event


async def _find(session: AsyncSession, event_id: UUID, user_id: UUID) -> EventRegistration | None:
    row: EventRegistration | None = await session.scalar(
        select(EventRegistration).where(EventRegistration.event_id == event_id, EventRegistration.user_id == user_id),
        execution_options={"populate_existing": True},
    )
    return row


async def _require_open(session: AsyncSession, event: Event) -> None:
    now = await session.scalar(select(func.clock_timestamp()))
    assert now is not None  # noqa: S101  # a clock always tells
    opens, closes = event.registration_opens_at, event.registration_closes_at
    over = (event.end_date or event.event_date) <= now
    if event.status != "published" or over or (opens and now < opens) or (closes and now >= closes):
        raise RegistrationClosed


async def _choose_ticket(session: AsyncSession, event: Event, ticket_id: UUID | None) -> EventTicket | None:
    """Return the ticket asked for, which must be on sale; an event without tickets on offer needs none."""
    on_sale = (
        EventTicket.is_active
        & or_(EventTicket.sale_starts_at.is_(None), EventTicket.sale_starts_at <= func.clock_timestamp())
        & or_(EventTicket.sale_ends_at.is_(None), EventTicket.sale_ends_at > func.clock_timestamp())
    )
    if ticket_id is None:
        offered = select(EventTicket.id).where(EventTicket.event_id == event.id, EventTicket.is_active).limit(1)
        if await session.scalar(offered) is not None:
            raise TicketNeeded
        return None
    ticket = await get_ticket(session, event_id=event.id, ticket_id=ticket_id)
    if not await session.scalar(select(on_sale).where(EventTicket.id == ticket_id)):
        raise TicketNotSold
    return ticket


async def _has_room(session: AsyncSession, event: Event, ticket: EventTicket | None) -> bool:
    """Tell whether a seat and a ticket are free; the event must be locked, its counts may have moved since."""
    await session.refresh(event, ("registration_count", "capacity_limit"))
    if event.capacity_limit is not None and event.registration_count >= event.capacity_limit:
        return False
    if ticket is None:
        return True
    await session.refresh(ticket, ("quantity_sold", "quantity_available"))
    return ticket.quantity_available is None or ticket.quantity_sold < ticket.quantity_available


async def _seat(
    session: AsyncSession, event: Event, row: EventRegistration, ticket: EventTicket | None, *,
    payment_method: str = "card",
) -> None:  # fmt: skip
    if ticket is None or ticket.price == 0:
        await _write(session, row, status="registered", amount_paid=0, ticket_code=_draw_code())
        return
    payment = await payments.record_payment(
        session, user_id=row.user_id, amount=ticket.price, currency=ticket.currency, transaction_type="event",
        payment_method=payment_method, reference_type="event", reference_id=event.id, seller_id=None,
    )  # fmt: skip
    await _write(session, row, status="pending_payment", transaction_id=payment.id, held_until=payment.expires_at)


async def _give_up(session: AsyncSession, event: Event, row: EventRegistration, reason: str | None) -> None:
    await name_action(session, "event_registration_cancelled")
    await _write(
        session, row, status="cancelled", cancelled_at=func.now(), cancellation_reason=reason, held_until=None,
        ticket_code=None,
    )  # fmt: skip
    told = {"event_id": str(event.id), "registration_id": str(row.id), "user_id": str(row.user_id)}
    await publish(session, "event.registration_cancelled", told, key=f"event:{event.id}")
    if event.status == "published":
        await _promote(session, event)


async def _promote(session: AsyncSession, event: Event) -> None:
    """Seat those who wait, in their order, as far as seats and their tickets reach."""
    passed: list[UUID] = []  # whose ticket is sold out, though a seat is free
    while await _has_room(session, event, None):
        waiting = (
            select(EventRegistration)
            .where(
                EventRegistration.event_id == event.id,
                EventRegistration.status == "waitlisted",
                EventRegistration.id.not_in(passed),
            )
            .order_by(EventRegistration.registration_date, EventRegistration.id)
            .limit(1)
        )
        row = await session.scalar(waiting, execution_options={"populate_existing": True})
        if row is None or len(passed) >= 100:
            return
        ticket = await get_ticket(session, event_id=event.id, ticket_id=row.ticket_id) if row.ticket_id else None
        if not await _has_room(session, event, ticket):
            passed.append(row.id)
            continue
        await _seat(session, event, row, ticket)
        await _tell(session, event, row, "event_seat_free", f"A seat at {event.title} is yours"[:255])


async def _tell(session: AsyncSession, event: Event, row: EventRegistration, kind: str, title: str) -> None:
    message = {
        "event_seat_free": "You were on the waiting list and have a seat now.",
        "event_approved": "The organisers accepted your registration.",
        "event_cancelled": "The organisers called it off. What you paid comes back to you.",
    }[kind]
    if row.status == "pending_payment":
        message += " Pay for it to keep it."
    if row.status == "waitlisted":
        message += " All seats are taken, so you are on the waiting list."
    await notify(
        session, user_id=row.user_id, kind=kind, title=title, message=message, reference=("event", event.id),
        deduplication_key=f"{kind}:{row.id}:{row.registration_date.isoformat()}",
    )  # fmt: skip


async def _write(session: AsyncSession, row: EventRegistration, **values: Any) -> None:  # noqa: ANN401  # columns
    """Write the row's columns at once, so that the database's counts are right for the next question."""
    await session.execute(
        update(EventRegistration)
        .where(EventRegistration.id == row.id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    await session.refresh(row)


def _draw_code() -> str:
    """Return a ticket's code: 80 random bits, easy to read out."""
    letters = base64.b32encode(secrets.token_bytes(10)).decode()
    return "-".join(("EV", *(letters[i : i + 4] for i in range(0, 16, 4))))
