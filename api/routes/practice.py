"""Engagements, and sessions from booking to completion."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status
from pydantic import AwareDatetime
from sqlalchemy import func, or_, select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.practice import (
    BookingIn,
    CancelIn,
    CompletionIn,
    EngagementIn,
    EngagementOut,
    MeetingIn,
    RescheduleIn,
    SessionDetail,
    SessionKind,
    SessionOut,
    SessionStatus,
)
from core.errors import Invalid
from db.models import CoachingSession, Engagement
from db.violations import refusing
from domain.booking import CoachingSessionNotFound, book_session, cancel_session, reschedule_session
from domain.coaching import end_engagement_by_id, start_engagement
from domain.practice import complete_session, find_meeting_password, set_meeting, take_step
from domain.reading import Read, record_reading
from domain.roles import PersonNotFound

router = APIRouter(prefix="/v1", tags=["practice"])

READ, WRITE, ADMIN = [needs("read")], [needs("write")], [needs("admin"), needs_role("admin")]
TAKES_PART = [needs("write"), needs_role("client", "coach", "admin")]
ENGAGED = ("fk_engagements_tenant_id_coach_id", "fk_engagements_tenant_id_client_id")
STEP_RESPONSES = list_problem_responses(404, 409)


class PersonMissing(Invalid):
    """A booking is of a coach and a client; name the one you are not."""


@router.get("/engagements", operation_id="listEngagements", dependencies=READ, responses=list_problem_responses())
async def list_engagements(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None,
    coach: Annotated[UUID | None, Query(description="only this coach's")] = None,
    client: Annotated[UUID | None, Query(description="only this client's")] = None,
    running: Annotated[bool | None, Query(description="only those that run now, or only those that do not")] = None,
) -> Page[EngagementOut]:  # fmt: skip
    """List who works with whom, the newest first: your own, or as administrator the organisation's."""
    e = Engagement
    query = select(e)
    if coach is not None:
        query = query.where(e.coach_id == coach)
    if client is not None:
        query = query.where(e.client_id == client)
    if running is not None:
        runs = (e.started_at <= func.now()) & or_(e.ended_at.is_(None), e.ended_at > func.now())
        query = query.where(runs if running else ~runs)
    rows, following = await fetch_page(session, query, order=(e.created_at, e.id), limit=limit, cursor=cursor)
    return Page(items=[EngagementOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/engagements", operation_id="startEngagement", status_code=status.HTTP_201_CREATED, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def add_engagement(body: EngagementIn, session: SystemSessionDep) -> EngagementOut:
    """Let a coach work with a client; two engagements of the same two never overlap."""
    with refusing(dict.fromkeys(ENGAGED, PersonNotFound)):
        made = await start_engagement(
            session, coach_id=body.coach_id, client_id=body.client_id, started_at=body.started_at,
            ended_at=body.ended_at,
        )  # fmt: skip
    await session.refresh(made)
    return EngagementOut.model_validate(made)


@router.post(
    "/engagements/{engagement_id}/end", operation_id="endEngagement", status_code=status.HTTP_204_NO_CONTENT,
    dependencies=ADMIN, responses=list_problem_responses(404),
)  # fmt: skip
async def stop_engagement(engagement_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> None:
    """End an engagement now: the coach reads nothing about the client any more, and their sessions are called off."""
    await end_engagement_by_id(session, engagement_id, by=principal)


@router.get("/sessions", operation_id="listCoachingSessions", dependencies=READ, responses=list_problem_responses())
async def list_sessions(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None,
    status: Annotated[list[SessionStatus] | None, Query(description="only with one of these", max_length=6)] = None,
    session_type: Annotated[SessionKind | None, Query(alias="type", description="only of this type")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="only from then on")] = None,
    until: Annotated[AwareDatetime | None, Query(description="only before then")] = None,
    coach: Annotated[UUID | None, Query(description="only this coach's")] = None,
    client: Annotated[UUID | None, Query(description="only this client's")] = None,
) -> Page[SessionOut]:  # fmt: skip
    """List the sessions you may see, the latest first: a client's own, those of a coach's clients."""
    c = CoachingSession
    query = select(c)
    if status:
        query = query.where(c.status.in_(status))
    if session_type is not None:
        query = query.where(c.session_type == session_type)
    if since is not None:
        query = query.where(c.scheduled_at >= since)
    if until is not None:
        query = query.where(c.scheduled_at < until)
    if coach is not None:
        query = query.where(c.coach_id == coach)
    if client is not None:
        query = query.where(c.client_id == client)
    rows, following = await fetch_page(session, query, order=(c.scheduled_at, c.id), limit=limit, cursor=cursor)
    read: Read = {"coaching_session": [row[0].id for row in rows], "client": [row[0].client_id for row in rows]}
    await record_reading(session, "session_read", read)
    return Page(items=[SessionOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/sessions", operation_id="bookSession", status_code=status.HTTP_201_CREATED, dependencies=TAKES_PART,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def book(
    body: BookingIn, principal: PrincipalDep, session: SystemSessionDep, key: IdempotencyKey = None
) -> SessionOut:
    """Book a free slot of a coach, with a payment to make where they charge; coaches may book outside their hours."""
    coach_id = body.coach_id or (principal.user_id if principal.role == "coach" else None)
    client_id = body.client_id or (principal.user_id if principal.role == "client" else None)
    if coach_id is None or client_id is None:
        raise PersonMissing
    booked = await book_session(
        session, by=principal, coach_id=coach_id, client_id=client_id, scheduled_at=body.scheduled_at,
        timezone=body.timezone, session_type=body.session_type, topic=body.topic, notes=body.notes,
        duration_minutes=body.duration_minutes, platform=body.platform, key=key,
    )  # fmt: skip
    return SessionOut.model_validate(booked)


@router.get(
    "/sessions/{session_id}",
    operation_id="getCoachingSession",
    dependencies=READ,
    responses=list_problem_responses(404),
)
async def get_session(session_id: UUID, principal: PrincipalDep, session: SessionDep) -> SessionDetail:
    """Read a session; its own client and coach also read where they meet."""
    found = await session.scalar(select(CoachingSession).where(CoachingSession.id == session_id))
    if found is None:
        raise CoachingSessionNotFound
    read: Read = {"coaching_session": [found.id], "client": [found.client_id]}
    await record_reading(session, "session_read", read, entity=("coaching_session", found.id))
    shown = SessionDetail.model_validate(SessionOut.model_validate(found).model_dump())
    if principal.user_id not in (found.client_id, found.coach_id):
        return shown
    return shown.model_copy(
        update={
            "meeting_link": found.meeting_link,
            "meeting_id": found.meeting_id,
            "meeting_password": await find_meeting_password(session, found, principal),
        }
    )


@router.post(
    "/sessions/{session_id}/cancel", operation_id="cancelSession", dependencies=TAKES_PART, responses=STEP_RESPONSES
)
async def cancel(session_id: UUID, body: CancelIn, principal: PrincipalDep, session: SystemSessionDep) -> SessionOut:
    """Call a session off, which frees its slot and refunds it; clients do so until 24 hours before."""
    return SessionOut.model_validate(await cancel_session(session, session_id, by=principal, reason=body.reason))


@router.post(
    "/sessions/{session_id}/reschedule", operation_id="rescheduleSession", dependencies=TAKES_PART,
    responses=STEP_RESPONSES,
)  # fmt: skip
async def reschedule(
    session_id: UUID, body: RescheduleIn, principal: PrincipalDep, session: SystemSessionDep
) -> SessionOut:
    """Move a session to another free slot; clients do so until 24 hours before."""
    moved = await reschedule_session(
        session, session_id, by=principal, scheduled_at=body.scheduled_at, timezone=body.timezone
    )
    return SessionOut.model_validate(moved)


@router.post(
    "/sessions/{session_id}/confirm", operation_id="confirmSession", dependencies=TAKES_PART, responses=STEP_RESPONSES
)
async def confirm(session_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> SessionOut:
    """Confirm a session, as its coach."""
    return SessionOut.model_validate(await take_step(session, session_id, by=principal, to="confirmed"))


@router.post(
    "/sessions/{session_id}/start", operation_id="startSession", dependencies=TAKES_PART, responses=STEP_RESPONSES
)
async def start(session_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> SessionOut:
    """Start a session, as its coach, from an hour before its time."""
    return SessionOut.model_validate(await take_step(session, session_id, by=principal, to="in_progress"))


@router.post(
    "/sessions/{session_id}/complete", operation_id="completeSession", dependencies=TAKES_PART, responses=STEP_RESPONSES
)
async def complete(
    session_id: UUID, body: CompletionIn, principal: PrincipalDep, session: SystemSessionDep
) -> SessionOut:
    """Complete a session, as its coach, with notes that only coaches read and the action items agreed on."""
    done = await complete_session(
        session, session_id, by=principal, coach_notes=body.coach_notes,
        tasks=[task.model_dump() for task in body.action_items],
    )  # fmt: skip
    return SessionOut.model_validate(done)


@router.post(
    "/sessions/{session_id}/no-show", operation_id="missSession", dependencies=TAKES_PART, responses=STEP_RESPONSES
)
async def miss(session_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> SessionOut:
    """Note, as its coach, that the client did not come."""
    return SessionOut.model_validate(await take_step(session, session_id, by=principal, to="no_show"))


@router.put(
    "/sessions/{session_id}/meeting", operation_id="setMeeting", dependencies=TAKES_PART, responses=STEP_RESPONSES
)
async def put_meeting(
    session_id: UUID, body: MeetingIn, principal: PrincipalDep, session: SystemSessionDep
) -> SessionOut:
    """Set, as its coach, where a session is held; the password is stored encrypted."""
    found = await set_meeting(
        session, session_id, by=principal, platform=body.platform, link=body.link, meeting_id=body.meeting_id,
        password=body.password,
    )  # fmt: skip
    return SessionOut.model_validate(found)
