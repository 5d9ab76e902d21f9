"""Events: drafted by a coach or administrator, published, held, and called off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Uuid, and_, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import Event, EventAccess, EventRegistration, EventTicket, User
from db.session import Principal
from db.violations import refusing
from domain.governance import name_action
from domain.keys import field_cipher
from domain.money import check_money
from domain.people import require_timezone

ACCESS_COLUMNS: Final = ("virtual_link", "meeting_id", "meeting_password", "recording_url")
"""Columns of `event_access` among an event's; the rest are the event's own."""

_PASSWORD: Final = {"table": "events.event_access", "column": "meeting_password"}
_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)
_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "published": ("draft",),
    "in_progress": ("published",),
    "completed": ("published", "in_progress"),
    "cancelled": ("draft", "published", "in_progress"),
}
"""From which states an event comes into which."""


class EventNotFound(NotFound):
    """There is no such event that you may see; list the events to find their ids."""


class TicketNotFound(NotFound):
    """There is no such ticket for this event; list the event's tickets to see which there are."""


class NotOrganizer(Forbidden):
    """Only those who organise this event may do this; ask one of them or an administrator."""


class SlugTaken(Conflict):
    """Another one has this address already; choose another slug."""


class EventStepRefused(Conflict):
    """This event is past that step; read its status again to see what can still be done."""


class CapacityBelowSeats(Conflict):
    """More seats are taken than that; give a capacity that holds everyone who has one."""


class TicketInUse(Conflict):
    """Somebody has this ticket, so it can't be deleted; stop selling it instead."""


class OrganizerUnknown(Invalid):
    """One of the organisers named is no person of your organisation; check their ids."""


class DatesReversed(Invalid):
    """The end lies before the beginning; correct the dates."""


EVENT_RULES: Final = {
    "ck_events_end_date": DatesReversed,
    "ck_events_registration_window": DatesReversed,
    "ck_event_tickets_sale_window": DatesReversed,
    "uq_events_tenant_id_slug": SlugTaken,
    "ck_events_capacity": CapacityBelowSeats,
    "ck_event_tickets_quantity": CapacityBelowSeats,
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One event as its reader sees it (access pattern P5 of seed 001 §4.1): how to get in only for those who may."""

    event: Event
    spots_remaining: int | None
    access: EventAccess | None
    registration: EventRegistration | None
    meeting_password: str | None


async def get_visit(session: AsyncSession, *, event_id: UUID, user_id: UUID | None) -> Visit:
    """Return the event, its spots left (None: no limit), the reader's registration and what lets them in.

    One statement; the database decides who is told how to get in. Raises `EventNotFound`.
    """
    row = (
        await session.execute(
            select(Event, Event.capacity_limit - Event.registration_count, EventAccess, EventRegistration)
            .outerjoin(EventAccess, and_(EventAccess.tenant_id == Event.tenant_id, EventAccess.event_id == Event.id))
            .outerjoin(
                EventRegistration,
                and_(
                    EventRegistration.tenant_id == Event.tenant_id,
                    EventRegistration.event_id == Event.id,
                    EventRegistration.user_id == user_id,
                ),
            )
            .where(Event.id == event_id)
        )
    ).one_or_none()
    if row is None:
        raise EventNotFound
    event, spots, access, registration = row
    password = None
    if access is not None and access.meeting_password is not None:
        cipher = await field_cipher(session)
        password = cipher.decrypt(access.meeting_password, row_id=event_id, **_PASSWORD)
    return Visit(event, spots, access, registration, password)


async def lock_event(session: AsyncSession, event_id: UUID) -> Event:
    """Return the event, kept from others' changes until the commit; raises `EventNotFound`."""
    event: Event | None = await session.scalar(
        select(Event).where(Event.id == event_id).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    if event is None:
        raise EventNotFound
    return event


def organises(event: Event, principal: Principal) -> bool:
    """Tell whether this caller may change the event."""
    own = principal.user_id
    return principal.role == "admin" or (
        principal.role == "coach"
        and own is not None
        and (event.organizer_id == own or str(own) in (event.co_organizers or []))
    )


async def get_organised(session: AsyncSession, *, event_id: UUID, principal: Principal, lock: bool = False) -> Event:
    """Return the event if the caller organises it, locked on demand; raises `EventNotFound`, `NotOrganizer`.

    Needs a session of the pipelines.
    """
    event: Event | None
    if lock:
        event = await lock_event(session, event_id)
    else:
        event = await session.scalar(select(Event).where(Event.id == event_id))
    if event is None or (event.status == "draft" and not organises(event, principal)):
        raise EventNotFound
    if not organises(event, principal):
        raise NotOrganizer
    return event


async def create_event(session: AsyncSession, *, organizer_id: UUID, values: Mapping[str, Any]) -> Event:
    """Draft an event; `values` are its columns and those of its access.

    Needs a session of the pipelines. Raises `SlugTaken`, `OrganizerUnknown`, `UnknownTimezone`, `DatesReversed`.
    """
    await _check(session, values)
    own = {name: value for name, value in values.items() if name not in ACCESS_COLUMNS}
    with refusing(EVENT_RULES):
        event: Event | None = await session.scalar(
            insert(Event).values(tenant_id=_TENANT, organizer_id=organizer_id, **own).returning(Event)
        )
    assert event is not None  # noqa: S101  # an insert returns its row or raises
    await _write_access(session, event.id, values)
    return event


async def update_event(session: AsyncSession, *, event: Event, changes: Mapping[str, Any]) -> Event:
    """Change the event's columns or its access. Raises what `create_event` raises, `CapacityBelowSeats`.

    Needs a session of the pipelines and an event that `get_organised` returned, locked.
    """
    if event.status in ("completed", "cancelled") and set(changes) - set(ACCESS_COLUMNS):
        raise EventStepRefused
    await _check(session, changes)
    own = {name: value for name, value in changes.items() if name not in ACCESS_COLUMNS}
    with refusing(EVENT_RULES):
        if own:
            await session.execute(update(Event).where(Event.id == event.id).values(**own))
    await _write_access(session, event.id, changes)
    await session.refresh(event)
    return event


async def publish_event(session: AsyncSession, event_id: UUID) -> Event:
    """Show the draft to everyone; needs a session of the pipelines. Raises `EventNotFound`, `EventStepRefused`."""
    event = await lock_event(session, event_id)
    return await move_event(session, event=event, status="published")


async def move_event(session: AsyncSession, *, event: Event, status: str) -> Event:
    """Bring the locked event into the status; raises `EventStepRefused` where it can't come from its own.

    Who was registered and did not come when it is completed is a no-show. To cancel, see `registrations.call_off`.
    """
    if event.status not in _STEPS.get(status, ()):
        raise EventStepRefused
    await name_action(session, f"event_{status}")
    values: dict[str, Any] = {"status": status}
    if status == "published":
        values["published_at"] = func.now()
    await session.execute(update(Event).where(Event.id == event.id).values(**values))
    if status == "completed":
        await session.execute(
            update(EventRegistration)
            .where(EventRegistration.event_id == event.id, EventRegistration.status == "registered")
            .values(status="no_show")
        )
    await session.refresh(event)
    return event


async def add_ticket(session: AsyncSession, *, event_id: UUID, values: Mapping[str, Any]) -> EventTicket:
    """Offer one more tier of tickets; raises `AmountUnusable`, `CurrencyUnknown`, `DatesReversed`."""
    check_money(values["price"], values["currency"])
    with refusing(EVENT_RULES):
        ticket: EventTicket | None = await session.scalar(
            insert(EventTicket).values(tenant_id=_TENANT, event_id=event_id, **values).returning(EventTicket)
        )
    assert ticket is not None  # noqa: S101  # an insert returns its row or raises
    return ticket


async def update_ticket(
    session: AsyncSession, *, event_id: UUID, ticket_id: UUID, changes: Mapping[str, Any]
) -> EventTicket:
    """Change a tier of tickets; who has one keeps it. Raises `TicketNotFound`, `CapacityBelowSeats`."""
    ticket = await get_ticket(session, event_id=event_id, ticket_id=ticket_id)
    check_money(changes.get("price", ticket.price), changes.get("currency", ticket.currency))
    with refusing(EVENT_RULES):
        if changes:
            await session.execute(update(EventTicket).where(EventTicket.id == ticket_id).values(**changes))
    await session.refresh(ticket)
    return ticket


async def delete_ticket(session: AsyncSession, *, event_id: UUID, ticket_id: UUID) -> None:
    """Offer this tier no longer; raises `TicketNotFound`, `TicketInUse`."""
    ticket = await get_ticket(session, event_id=event_id, ticket_id=ticket_id)
    with refusing({"fk_event_registrations_tenant_id_ticket_id_event_id": TicketInUse}):
        await session.delete(ticket)
        await session.flush()


async def get_ticket(session: AsyncSession, *, event_id: UUID, ticket_id: UUID) -> EventTicket:
    """Return the ticket of this event; raises `TicketNotFound`."""
    ticket: EventTicket | None = await session.scalar(
        select(EventTicket).where(EventTicket.event_id == event_id, EventTicket.id == ticket_id)
    )
    if ticket is None:
        raise TicketNotFound
    return ticket


async def list_tickets(session: AsyncSession, *, event_id: UUID) -> Sequence[EventTicket]:
    """Return the event's tickets, the cheapest first; there are a few dozen at most (see the schema)."""
    query = select(EventTicket).where(EventTicket.event_id == event_id).order_by(EventTicket.price, EventTicket.id)
    return (await session.scalars(query.limit(200))).all()


async def _check(session: AsyncSession, values: Mapping[str, Any]) -> None:
    if "timezone" in values:
        require_timezone(values["timezone"])
    named = {UUID(str(person)) for person in values.get("co_organizers") or ()}
    named |= {UUID(str(one["user_id"])) for one in values.get("speakers") or () if one.get("user_id")}
    if named:
        known = await session.scalar(select(func.count()).select_from(User).where(User.id.in_(named)))
        if known != len(named):
            raise OrganizerUnknown


async def _write_access(session: AsyncSession, event_id: UUID, values: Mapping[str, Any]) -> None:
    access = {name: values[name] for name in ACCESS_COLUMNS if name in values}
    if not access:
        return
    if access.get("meeting_password") is not None:
        cipher = await field_cipher(session)
        access["meeting_password"] = cipher.encrypt(access["meeting_password"], row_id=event_id, **_PASSWORD)
    await session.execute(
        insert(EventAccess)
        .values(tenant_id=_TENANT, event_id=event_id, **access)
        .on_conflict_do_update(index_elements=("tenant_id", "event_id"), set_=access)
    )
