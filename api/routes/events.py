"""Events: seen by everyone, organised by coaches and administrators, joined by members."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.events import (
    AccessOut,
    CancelIn,
    CheckInIn,
    EventIn,
    EventOut,
    EventPatch,
    EventStatus,
    LocationType,
    RegistrationIn,
    RegistrationOut,
    RegistrationStatus,
    TicketIn,
    TicketOut,
    TicketPatch,
    VisitOut,
)
from db.models import Event, EventRegistration
from db.session import Principal
from domain import events, registrations

router = APIRouter(prefix="/v1", tags=["events"])

READ = [needs("read")]
JOIN = [needs("write"), needs_role("client", "coach", "admin")]
ORGANISE = [needs("write"), needs_role("coach", "admin")]


def _own_id(principal: Principal) -> UUID:
    assert principal.user_id is not None  # noqa: S101  # a caller is always a person
    return principal.user_id


@router.get("/events", operation_id="listEvents", dependencies=READ, responses=list_problem_responses())
async def list_events(
    *,
    session: SessionDep,
    status: Annotated[EventStatus | None, Query()] = None,
    location_type: Annotated[LocationType | None, Query()] = None,
    since: Annotated[datetime | None, Query(description="that begin then or later")] = None,
    until: Annotated[datetime | None, Query(description="that begin before")] = None,
    organizer_id: Annotated[UUID | None, Query()] = None,
    featured: Annotated[bool | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[EventOut]:
    """List the events you may see, the earliest first."""
    query = select(Event)
    for column, wanted in (
        (Event.status, status), (Event.location_type, location_type), (Event.organizer_id, organizer_id),
        (Event.is_featured, featured),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(Event.event_date >= since)
    if until is not None:
        query = query.where(Event.event_date < until)
    rows, more = await fetch_page(
        session, query, order=(Event.event_date, Event.id), limit=limit, cursor=cursor, descending=False
    )
    return Page(items=[EventOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/events", operation_id="createEvent", status_code=201, dependencies=ORGANISE,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_event(body: EventIn, principal: PrincipalDep, session: SystemSessionDep) -> EventOut:
    """Draft an event, which you organise."""
    event = await events.create_event(session, organizer_id=_own_id(principal), values=body.list_changes())
    return EventOut.model_validate(event)


@router.get("/events/{event_id}", operation_id="getEvent", dependencies=READ, responses=list_problem_responses(404))
async def get_event(event_id: UUID, principal: PrincipalDep, session: SessionDep) -> VisitOut:
    """Read an event, the seats left, its tickets, your registration, and how you get in once you have a seat."""
    visit = await events.get_visit(session, event_id=event_id, user_id=principal.user_id)
    access = None if visit.access is None else _to_access(visit)
    return VisitOut(
        **EventOut.model_validate(visit.event).model_dump(),
        spots_remaining=visit.spots_remaining,
        tickets=[TicketOut.model_validate(row) for row in await events.list_tickets(session, event_id=event_id)],
        registration=None if visit.registration is None else RegistrationOut.model_validate(visit.registration),
        access=access,
    )


def _to_access(visit: events.Visit) -> AccessOut:
    assert visit.access is not None  # noqa: S101  # asked for only then
    return AccessOut(
        virtual_link=visit.access.virtual_link, meeting_id=visit.access.meeting_id,
        meeting_password=visit.meeting_password, recording_url=visit.access.recording_url,
    )  # fmt: skip


@router.patch(
    "/events/{event_id}", operation_id="updateEvent", dependencies=ORGANISE, responses=list_problem_responses(404, 409)
)
async def update_event(
    event_id: UUID, body: EventPatch, principal: PrincipalDep, session: SystemSessionDep
) -> EventOut:
    """Change an event you organise; what you leave out stays."""
    event = await events.get_organised(session, event_id=event_id, principal=principal, lock=True)
    return EventOut.model_validate(await events.update_event(session, event=event, changes=body.list_changes()))


@router.post(
    "/events/{event_id}/steps/{step}", operation_id="moveEvent", dependencies=ORGANISE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def move_event(
    event_id: UUID, step: Literal["publish", "start", "complete"], principal: PrincipalDep, session: SystemSessionDep
) -> EventOut:
    """Publish an event you organise, start it, or end it."""
    event = await events.get_organised(session, event_id=event_id, principal=principal, lock=True)
    status = {"publish": "published", "start": "in_progress", "complete": "completed"}[step]
    return EventOut.model_validate(await events.move_event(session, event=event, status=status))


@router.post(
    "/events/{event_id}/cancellation", operation_id="cancelEvent", dependencies=ORGANISE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def cancel_event(event_id: UUID, body: CancelIn, principal: PrincipalDep, session: SystemSessionDep) -> EventOut:
    """Call an event off: everyone is told, and what was paid goes back."""
    event = await events.get_organised(session, event_id=event_id, principal=principal, lock=True)
    return EventOut.model_validate(await registrations.call_off(session, event=event, reason=body.reason))


@router.post(
    "/events/{event_id}/tickets", operation_id="addTicket", status_code=201, dependencies=ORGANISE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def add_ticket(event_id: UUID, body: TicketIn, principal: PrincipalDep, session: SystemSessionDep) -> TicketOut:
    """Offer a tier of tickets."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    ticket = await events.add_ticket(session, event_id=event_id, values=body.model_dump(exclude_unset=True))
    return TicketOut.model_validate(ticket)


@router.patch(
    "/events/{event_id}/tickets/{ticket_id}", operation_id="updateTicket", dependencies=ORGANISE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def update_ticket(
    event_id: UUID, ticket_id: UUID, body: TicketPatch, principal: PrincipalDep, session: SystemSessionDep
) -> TicketOut:
    """Change a tier of tickets; who has one keeps it at what it cost."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    ticket = await events.update_ticket(
        session, event_id=event_id, ticket_id=ticket_id, changes=body.model_dump(exclude_unset=True)
    )
    return TicketOut.model_validate(ticket)


@router.delete(
    "/events/{event_id}/tickets/{ticket_id}", operation_id="deleteTicket", status_code=204, dependencies=ORGANISE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_ticket(event_id: UUID, ticket_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> None:
    """Offer a tier of tickets no longer, as long as nobody has one."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    await events.delete_ticket(session, event_id=event_id, ticket_id=ticket_id)


@router.get(
    "/events/{event_id}/registrations", operation_id="listRegistrations", dependencies=[needs("read"), *ORGANISE[1:]],
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_registrations(
    *,
    event_id: UUID,
    principal: PrincipalDep,
    session: SystemSessionDep,
    status: Annotated[RegistrationStatus | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[RegistrationOut]:
    """List who comes to an event you organise, in the order they asked."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    query = select(EventRegistration).where(EventRegistration.event_id == event_id)
    if status is not None:
        query = query.where(EventRegistration.status == status)
    rows, more = await fetch_page(
        session, query, order=(EventRegistration.registration_date, EventRegistration.id), limit=limit, cursor=cursor,
        descending=False,
    )  # fmt: skip
    return Page(items=[RegistrationOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/events/{event_id}/registrations", operation_id="registerForEvent", status_code=201, dependencies=JOIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def register(
    event_id: UUID, body: RegistrationIn, principal: PrincipalDep, session: SystemSessionDep
) -> RegistrationOut:
    """Ask for a seat: you get it, a place on the waiting list, or a payment to complete; again changes nothing."""
    row = await registrations.register(
        session, event_id=event_id, user_id=_own_id(principal), ticket_id=body.ticket_id,
        payment_method=body.payment_method, metadata=body.metadata,
    )  # fmt: skip
    answer = RegistrationOut.model_validate(row)
    answer.position = await registrations.find_position(session, row)
    return answer


@router.get(
    "/events/{event_id}/registration", operation_id="getMyRegistration", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_my_registration(event_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> RegistrationOut:
    """Read your own registration and, where you wait, your place."""
    row = await registrations.get_registration(session, event_id=event_id, user_id=_own_id(principal))
    answer = RegistrationOut.model_validate(row)
    answer.position = await registrations.find_position(session, row)
    return answer


@router.delete(
    "/events/{event_id}/registration", operation_id="cancelMyRegistration", dependencies=JOIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def cancel_my_registration(event_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> RegistrationOut:
    """Give your seat up; whoever waits first gets it."""
    row = await registrations.get_registration(session, event_id=event_id, user_id=_own_id(principal))
    return RegistrationOut.model_validate(
        await registrations.cancel(session, event_id=event_id, registration_id=row.id)
    )


@router.post(
    "/events/{event_id}/registrations/{registration_id}/approval", operation_id="approveRegistration",
    dependencies=ORGANISE, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def approve_registration(
    event_id: UUID, registration_id: UUID, principal: PrincipalDep, session: SystemSessionDep
) -> RegistrationOut:
    """Accept who asked to come."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    row = await registrations.approve(session, event_id=event_id, registration_id=registration_id)
    return RegistrationOut.model_validate(row)


@router.post(
    "/events/{event_id}/registrations/{registration_id}/cancellation", operation_id="cancelRegistration",
    dependencies=ORGANISE, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def cancel_registration(
    event_id: UUID, registration_id: UUID, body: CancelIn, principal: PrincipalDep, session: SystemSessionDep
) -> RegistrationOut:
    """Refuse somebody or take their seat back."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    row = await registrations.cancel(session, event_id=event_id, registration_id=registration_id, reason=body.reason)
    return RegistrationOut.model_validate(row)


@router.post(
    "/events/{event_id}/check-ins", operation_id="checkIn", status_code=201, dependencies=ORGANISE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def check_in(
    event_id: UUID, body: CheckInIn, principal: PrincipalDep, session: SystemSessionDep
) -> RegistrationOut:
    """Let in who shows this code, once."""
    await events.get_organised(session, event_id=event_id, principal=principal)
    row = await registrations.check_in(
        session, event_id=event_id, ticket_code=body.ticket_code, checked_in_by=principal.user_id
    )
    return RegistrationOut.model_validate(row)
