"""The directory of coaches, their hours, blocked times and free slots."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, status
from pydantic import AwareDatetime
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page, read_cursor, write_cursor
from api.schemas.calendars import (
    BlockIn,
    BlockOut,
    CoachOut,
    HoursIn,
    HoursOut,
    HoursPatch,
    SlotOut,
    TestimonialOut,
)
from api.schemas.practice import ZoneName
from core.errors import Invalid
from db.models import CoachAvailability, CoachBlockedTime
from db.session import Principal
from domain.availability import (
    add_hours,
    block_time,
    change_hours,
    list_free_slots,
    remove_hours,
    unblock_time,
)
from domain.booking import get_coach
from domain.directory import CoachFilter, list_coaches, list_testimonials
from domain.people import require_timezone

router = APIRouter(prefix="/v1", tags=["coaches"])

READ, KEEPS = [needs("read")], [needs("write"), needs_role("coach", "admin")]
LOOKS = [needs("read"), needs_role("client", "coach", "admin")]
Skill = Annotated[str, Query(min_length=1, max_length=100)]


class CoachMissing(Invalid):
    """An administrator keeps someone else's calendar; name the coach."""


def _pick_coach(principal: Principal, given: UUID | None) -> UUID:
    """Return whose calendar is meant: a coach's own, anyone's for an administrator."""
    coach_id = given or (principal.user_id if principal.role == "coach" else None)
    if coach_id is None:
        raise CoachMissing
    if principal.role == "coach" and coach_id != principal.user_id:
        raise CoachMissing("A coach keeps their own calendar; leave out coach_id.")
    return coach_id


@router.get("/coaches", operation_id="listCoaches", dependencies=LOOKS, responses=list_problem_responses())
async def find_coaches(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep, limit: LimitQuery = 20, cursor: CursorQuery = None,
    skill: Annotated[list[Skill] | None, Query(max_length=20, description="who has all of these")] = None,
    country: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    minimum_rating: Annotated[Decimal | None, Query(ge=1, le=5, decimal_places=2)] = None,
    available: Annotated[bool, Query(description="only who is available")] = False,
    price_from: Annotated[Decimal | None, Query(ge=0, le=99_999_999, decimal_places=2)] = None,
    price_until: Annotated[Decimal | None, Query(ge=0, le=99_999_999, decimal_places=2)] = None,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$", description="of the price")] = None,
) -> Page[CoachOut]:  # fmt: skip
    """Find a coach: the best rated first, then who held most sessions."""
    wanted = CoachFilter(
        skills=tuple(skill or ()), country=country, minimum_rating=minimum_rating, available=available,
        price_from=price_from, price_until=price_until, currency=currency,
    )  # fmt: skip
    place = read_cursor(cursor, (Decimal, int, UUID))
    found = await list_coaches(session, wanted=wanted, limit=limit + 1, after=place and (place[0], place[1], place[2]))
    shown, following = found[:limit], None
    if len(found) > limit:
        last = shown[-1]
        following = write_cursor((last.average_rating or Decimal(0), last.completed_session_count, last.user_id))
    return Page(items=[CoachOut.model_validate(profile) for profile in shown], next_cursor=following)


@router.get(
    "/coaches/{coach_id}/slots", operation_id="listFreeSlots", dependencies=LOOKS,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_slots(  # noqa: PLR0917  # FastAPI passes them by name
    coach_id: UUID, session: SystemSessionDep, limit: LimitQuery = 100, cursor: CursorQuery = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="now if not given")] = None,
    until: Annotated[AwareDatetime | None, Query(description="two weeks later if not given; 62 days at most")] = None,
    zone: Annotated[ZoneName, Query(description="the zone to show the times in")] = "UTC",
) -> Page[SlotOut]:  # fmt: skip
    """List when a coach can be booked, the soonest first."""
    await get_coach(session, coach_id)
    shown_in, now = ZoneInfo(require_timezone(zone)), datetime.now(UTC)
    start = max(since or now, now)
    place = read_cursor(cursor, (datetime, datetime))
    free = await list_free_slots(session, coach_id=coach_id, start=start, until=until or start + timedelta(days=14))
    rest = [slot for slot in free if place is None or (slot.starts_at, slot.ends_at) > place]
    items = [
        SlotOut(
            starts_at=slot.starts_at.astimezone(shown_in), ends_at=slot.ends_at.astimezone(shown_in), seats=slot.left
        )
        for slot in rest[:limit]
    ]
    following = write_cursor((rest[limit - 1].starts_at, rest[limit - 1].ends_at)) if len(rest) > limit else None
    return Page(items=items, next_cursor=following)


@router.get(
    "/coaches/{coach_id}/testimonials", operation_id="listTestimonials", dependencies=LOOKS,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_public_feedback(
    coach_id: UUID, session: SystemSessionDep, limit: LimitQuery = 20, cursor: CursorQuery = None
) -> Page[TestimonialOut]:
    """List what clients let everyone read of a coach, the newest first, without their names."""
    await get_coach(session, coach_id)
    place = read_cursor(cursor, (datetime, UUID))
    found = await list_testimonials(session, coach_id=coach_id, limit=limit + 1, after=place and (place[0], place[1]))
    following = write_cursor((found[limit - 1].created_at, found[limit - 1].id)) if len(found) > limit else None
    return Page(items=[TestimonialOut.model_validate(said) for said in found[:limit]], next_cursor=following)


@router.get("/availability", operation_id="listAvailability", dependencies=READ, responses=list_problem_responses())
async def list_hours(
    session: SessionDep, limit: LimitQuery = 100, cursor: CursorQuery = None,
    coach: Annotated[UUID | None, Query(description="only this coach's")] = None,
) -> Page[HoursOut]:  # fmt: skip
    """List the hours at which coaches can be booked, the newest first."""
    a = CoachAvailability
    query = select(a) if coach is None else select(a).where(a.coach_id == coach)
    rows, following = await fetch_page(session, query, order=(a.created_at, a.id), limit=limit, cursor=cursor)
    return Page(items=[HoursOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/availability", operation_id="addAvailability", status_code=status.HTTP_201_CREATED, dependencies=KEEPS,
    responses=list_problem_responses(409),
)  # fmt: skip
async def post_hours(body: HoursIn, principal: PrincipalDep, session: SessionDep) -> HoursOut:
    """Add hours of one weekday at which you, or the coach you administer, can be booked."""
    coach_id = _pick_coach(principal, body.coach_id)
    return HoursOut.model_validate(
        await add_hours(session, coach_id=coach_id, values=body.model_dump(exclude={"coach_id"}))
    )


@router.patch(
    "/availability/{hours_id}", operation_id="updateAvailability", dependencies=KEEPS,
    responses=list_problem_responses(404),
)  # fmt: skip
async def patch_hours(hours_id: UUID, body: HoursPatch, session: SessionDep) -> HoursOut:
    """Change hours; sessions booked in them stay."""
    return HoursOut.model_validate(await change_hours(session, hours_id, body.model_dump(exclude_unset=True)))


@router.delete(
    "/availability/{hours_id}", operation_id="deleteAvailability", status_code=status.HTTP_204_NO_CONTENT,
    dependencies=KEEPS, responses=list_problem_responses(404),
)  # fmt: skip
async def delete_hours(hours_id: UUID, session: SessionDep) -> None:
    """Remove hours; sessions booked in them stay."""
    await remove_hours(session, hours_id)


@router.get(
    "/blocked-times", operation_id="listBlockedTimes", dependencies=[needs("read"), needs_role("coach", "admin")],
    responses=list_problem_responses(),
)  # fmt: skip
async def list_blocks(  # FastAPI passes them by name
    session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None,
    coach: Annotated[UUID | None, Query(description="only this coach's")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="only what ends after then")] = None,
) -> Page[BlockOut]:  # fmt: skip
    """List blocked times, the latest first: a coach's own, an administrator's whole organisation's."""
    b = CoachBlockedTime
    query = select(b)
    if coach is not None:
        query = query.where(b.coach_id == coach)
    if since is not None:
        query = query.where(b.blocked_until > since)
    rows, following = await fetch_page(session, query, order=(b.blocked_from, b.id), limit=limit, cursor=cursor)
    return Page(items=[BlockOut.model_validate(row[0]) for row in rows], next_cursor=following)


@router.post(
    "/blocked-times", operation_id="addBlockedTime", status_code=status.HTTP_201_CREATED, dependencies=KEEPS,
    responses=list_problem_responses(),
)  # fmt: skip
async def post_block(body: BlockIn, principal: PrincipalDep, session: SessionDep) -> BlockOut:
    """Let nothing be booked in a time; sessions that stand already stay."""
    coach_id = _pick_coach(principal, body.coach_id)
    block = await block_time(
        session, coach_id=coach_id, start=body.blocked_from, until=body.blocked_until, reason=body.reason
    )
    return BlockOut.model_validate(block)


@router.delete(
    "/blocked-times/{block_id}", operation_id="deleteBlockedTime", status_code=status.HTTP_204_NO_CONTENT,
    dependencies=KEEPS, responses=list_problem_responses(404),
)  # fmt: skip
async def delete_block(block_id: UUID, session: SessionDep) -> None:
    """Open a blocked time again."""
    await unblock_time(session, block_id)
