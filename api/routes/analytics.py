"""Dashboards and reports: figures about many people, never about one."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.deps import SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, read_cursor, write_cursor
from api.schemas.analytics import (
    AnswerDayOut,
    CoachingMonthOut,
    DashboardOut,
    EventsIn,
    EventsStored,
    ProgramFiguresOut,
)
from core.errors import Invalid
from domain import analytics

router = APIRouter(prefix="/v1/analytics", tags=["analytics"])

READERS = [needs("read"), needs_role("admin", "executive")]
SinceQuery = Annotated[date | None, Query(alias="from", description="first day; unset: a year before the last")]
UntilQuery = Annotated[date | None, Query(alias="until", description="last day; unset: today (UTC)")]
LONGEST = timedelta(days=5 * 366)


class UnusableRange(Invalid):
    """These days can't be used; the first must not lie after the last, nor more than five years before it."""


class EventTooLarge(Invalid):
    """An event's details take more than 8 kB; send less with it."""


@router.get("/dashboard", operation_id="getDashboard", dependencies=READERS, responses=list_problem_responses(404))
async def get_dashboard(session: SessionDep) -> DashboardOut:
    """Read the organisation at a glance: people, revenue, enrolments, sessions."""
    return DashboardOut.model_validate(await analytics.get_dashboard_figures(session), from_attributes=True)


@router.get("/programs", operation_id="listProgramFigures", dependencies=READERS, responses=list_problem_responses())
async def list_programs(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    category: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[ProgramFiguresOut]:
    """List how programs do, the one with the most enrolments first."""
    after = read_cursor(cursor, (int, UUID))
    found = await analytics.list_program_figures(
        session, limit=limit + 1, category=category, after=None if after is None else (after[0], after[1])
    )
    items = [ProgramFiguresOut.model_validate(item, from_attributes=True) for item in found[:limit]]
    more = write_cursor((items[-1].enrollment_count, items[-1].program_id)) if len(found) > limit else None
    return Page(items=items, next_cursor=more)


@router.get("/coaching", operation_id="listCoachingMonths", dependencies=READERS, responses=list_problem_responses())
async def list_coaching(
    session: SessionDep, since: SinceQuery = None, until: UntilQuery = None
) -> list[CoachingMonthOut]:
    """List what was coached month by month, the newest first."""
    first, last = read_range(since, until)
    found = await analytics.list_coaching_months(session, since=first, until=last)
    return [CoachingMonthOut.model_validate(item, from_attributes=True) for item in found]


@router.get("/answers", operation_id="listAnswerDays", dependencies=READERS, responses=list_problem_responses())
async def list_answers(session: SessionDep, since: SinceQuery = None, until: UntilQuery = None) -> list[AnswerDayOut]:
    """List how the assistant was used day by day, the newest first."""
    first, last = read_range(since, until)
    found = await analytics.list_answer_days(session, since=first, until=last)
    return [AnswerDayOut.model_validate(item, from_attributes=True) for item in found]


@router.post(
    "/events", operation_id="trackEvents", status_code=201, dependencies=[needs("write")],
    responses=list_problem_responses(),
)  # fmt: skip
async def track_events(body: EventsIn, session: SessionDep) -> EventsStored:
    """Store what the caller did in the product, for counting only."""
    for event in body.events:
        if len(json.dumps(event.event_data).encode()) > 8_000:
            raise EventTooLarge
    stored = await analytics.track_events(
        session, [(event.event_type, event.occurred_at, event.event_data) for event in body.events]
    )
    return EventsStored(stored=stored)


def read_range(since: date | None, until: date | None) -> tuple[date, date]:
    """Return the first and the last day that are asked for; raises `UnusableRange`."""
    last = until or datetime.now(UTC).date()
    try:
        first = since or last - timedelta(days=366)
    except OverflowError as error:
        raise UnusableRange from error
    if not timedelta(0) <= last - first <= LONGEST:
        raise UnusableRange
    return first, last
