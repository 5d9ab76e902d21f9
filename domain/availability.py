"""When a coach can be met: weekly hours and blocked times, and the free slots they leave."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import CoachAvailability, CoachBlockedTime, CoachingSession
from db.models.coaching import ACTIVE_STATUSES
from db.violations import refusing
from domain.identity import bound_tenant
from domain.people import require_timezone
from domain.roles import PersonNotFound

LONGEST_WINDOW: Final = timedelta(days=62)
LONGEST_SESSION: Final = timedelta(hours=24)
MOST_HOURS: Final = 100
"""Rules one coach may have: far more than any week needs, few enough to expand at every request."""

END_OF_DAY: Final = time(23, 59)
"""What stands for midnight as the end of hours."""


class HoursNotFound(NotFound):
    """There are no such hours that you may change; list yours to see their ids."""


class BlockNotFound(NotFound):
    """There is no such blocked time that you may change; list yours to see their ids."""


class HoursUnusable(Invalid):
    """These hours end before they begin or hold no slot; let them end later or make the slots shorter."""


class TooManyHours(Conflict):
    """This coach has as many hours as can be kept; remove some that are over first."""


class BlockUnusable(Invalid):
    """A blocked time ends after it begins and lasts at most a year; correct its two moments."""


class WindowUnusable(Invalid):
    """Free slots are listed for a window that ends after it begins and lasts at most 62 days; narrow it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One time at which the coach can be met: `left` more sessions fit, `buffer` stays free around it."""

    starts_at: datetime
    ends_at: datetime
    left: int
    buffer: timedelta


@dataclass(frozen=True, slots=True)
class Taken:
    """A time that is taken: by a block (`whole`: nothing fits beside it) or by one session."""

    starts_at: datetime
    ends_at: datetime
    whole: bool


def cut_slots(hours: CoachAvailability, start: datetime, until: datetime) -> Iterator[Slot]:
    """Yield the slots of these hours that begin in the window, in order, in UTC, whatever is booked.

    A slot's wall-clock beginning must exist and is meant the first time it comes; the slot lasts its full length, and
    every moment of it lies within the hours on the wall clock. So a clock set forward takes a slot away or moves
    none, and a clock set back gives none twice.
    """
    zone = ZoneInfo(hours.timezone)
    length, buffer = timedelta(minutes=hours.slot_minutes), timedelta(minutes=hours.buffer_minutes)
    day = max(_local(start, zone).date() - timedelta(days=1), hours.effective_from)
    last = _local(until, zone).date()
    if hours.effective_until is not None:
        last = min(last, hours.effective_until)
    free_from = datetime.min.replace(tzinfo=UTC)
    while day <= last:
        # Sunday is 0, as in the store.
        if day.isoweekday() % 7 == hours.day_of_week:
            opens, closes = _bounds(hours, day)
            begins = opens
            while begins + length <= closes:
                starts_at = begins.replace(tzinfo=zone).astimezone(UTC)
                ends_at = starts_at + length
                fits = _local(starts_at, zone) == begins and starts_at >= free_from
                if fits and _stays_within(starts_at, ends_at, zone, opens, closes):
                    free_from = ends_at + buffer
                    if start <= starts_at < until:
                        yield Slot(starts_at, ends_at, hours.max_sessions_per_slot, buffer)
                begins += length + buffer
        day += timedelta(days=1)


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what the wall clock of the zone shows."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _bounds(hours: CoachAvailability, day: date) -> tuple[datetime, datetime]:
    midnight = datetime.combine(day, time())
    closes = midnight + timedelta(days=1) if hours.end_time >= END_OF_DAY else datetime.combine(day, hours.end_time)
    return datetime.combine(day, hours.start_time), closes


def _stays_within(starts_at: datetime, ends_at: datetime, zone: ZoneInfo, opens: datetime, closes: datetime) -> bool:
    """Tell whether the wall clock shows a time within the hours at every moment of the slot."""
    step = timedelta(minutes=1)
    final = ends_at - timedelta(microseconds=1)
    moments = [starts_at, final]
    if starts_at.astimezone(zone).utcoffset() != final.astimezone(zone).utcoffset():
        # The clock is set during the slot, on a whole minute: look at each.
        moments += [starts_at + step * n for n in range(int((ends_at - starts_at) / step))]
    return all(opens <= _local(moment, zone) < closes for moment in moments)


def find_free(
    rules: Sequence[CoachAvailability], taken: Sequence[Taken], start: datetime, until: datetime
) -> list[Slot]:
    """Return the slots of all rules that begin in the window and can be booked, by time, none twice.

    A block takes every slot it touches. A session takes one place of every slot that it or the slot's buffer touches.
    """
    found: dict[tuple[datetime, datetime], Slot] = {}
    for slot in (slot for rule in rules for slot in cut_slots(rule, start, until)):
        left = slot.left
        for other in taken:
            gap = timedelta() if other.whole else slot.buffer
            if other.starts_at < slot.ends_at + gap and other.ends_at > slot.starts_at - gap:
                left = 0 if other.whole else left - 1
        key = slot.starts_at, slot.ends_at
        if left > 0 and (key not in found or found[key].left < left):
            found[key] = Slot(slot.starts_at, slot.ends_at, left, slot.buffer)
    return [found[key] for key in sorted(found)]


async def list_rules(session: AsyncSession, *, coach_id: UUID) -> Sequence[CoachAvailability]:
    """Return the coach's active hours."""
    query = select(CoachAvailability).where(CoachAvailability.coach_id == coach_id, CoachAvailability.is_active)
    return (await session.scalars(query.order_by(CoachAvailability.id))).all()


async def list_taken(
    session: AsyncSession, *, coach_id: UUID, start: datetime, until: datetime, without: UUID | None = None
) -> list[Taken]:
    """Return what takes the coach's time in the window, in one statement; `without` leaves one session out."""
    c, b = CoachingSession, CoachBlockedTime
    ends = c.scheduled_at + func.make_interval(0, 0, 0, 0, 0, c.duration_minutes)
    sessions = select(c.scheduled_at, ends, text("false")).where(
        c.coach_id == coach_id, c.status.in_(ACTIVE_STATUSES), c.scheduled_at < until,
        c.scheduled_at > start - LONGEST_SESSION, ends > start,
    )  # fmt: skip
    if without is not None:
        sessions = sessions.where(c.id != without)
    blocks = select(b.blocked_from, b.blocked_until, text("true")).where(
        b.coach_id == coach_id, b.blocked_from < until, b.blocked_until > start
    )
    return [Taken(*row) for row in await session.execute(sessions.union_all(blocks))]


async def list_free_slots(
    session: AsyncSession, *, coach_id: UUID, start: datetime, until: datetime, without: UUID | None = None
) -> list[Slot]:
    """Return the slots that begin in the window and can be booked, in UTC.

    The session must see the coach's blocks and everyone's sessions: bind it as the pipelines. `without` is a session
    about to be moved. Raises `WindowUnusable`.
    """
    if not timedelta() < until - start <= LONGEST_WINDOW:
        raise WindowUnusable
    rules = await list_rules(session, coach_id=coach_id)
    margin = LONGEST_SESSION
    taken = await list_taken(session, coach_id=coach_id, start=start - margin, until=until + margin, without=without)
    return find_free(rules, taken, start, until)


async def add_hours(session: AsyncSession, *, coach_id: UUID, values: dict[str, Any]) -> CoachAvailability:
    """Give the coach hours of one weekday.

    Raises `HoursUnusable`, `UnknownTimezone`, `TooManyHours`.
    """
    hours = CoachAvailability(tenant_id=await bound_tenant(session), coach_id=coach_id, **values)
    _check_hours(hours)
    kept = await session.scalar(
        select(func.count()).select_from(CoachAvailability).where(CoachAvailability.coach_id == coach_id)
    )
    if (kept or 0) >= MOST_HOURS:
        raise TooManyHours
    session.add(hours)
    with refusing({"fk_coach_availability_tenant_id_coach_id": PersonNotFound}):
        await session.flush()
    await session.refresh(hours)
    return hours


async def change_hours(session: AsyncSession, hours_id: UUID, changes: dict[str, Any]) -> CoachAvailability:
    """Change some of the hours' values; sessions booked in them stay. Raises `HoursNotFound`, `HoursUnusable`."""
    hours = await session.scalar(select(CoachAvailability).where(CoachAvailability.id == hours_id).with_for_update())
    if hours is None:
        raise HoursNotFound
    for name, value in changes.items():
        setattr(hours, name, value)
    _check_hours(hours)
    await session.flush()
    await session.refresh(hours)
    return hours


def _check_hours(hours: CoachAvailability) -> None:
    require_timezone(hours.timezone)
    opens, closes = _bounds(hours, date(2000, 1, 2))
    if opens + timedelta(minutes=hours.slot_minutes or 60) > closes:
        raise HoursUnusable
    if hours.effective_until is not None and hours.effective_until < hours.effective_from:
        raise HoursUnusable


async def remove_hours(session: AsyncSession, hours_id: UUID) -> None:
    """Remove the hours; sessions booked in them stay. Raises `HoursNotFound`."""
    gone = await session.scalar(
        delete(CoachAvailability).where(CoachAvailability.id == hours_id).returning(CoachAvailability.id)
    )
    if gone is None:
        raise HoursNotFound


async def block_time(
    session: AsyncSession, *, coach_id: UUID, start: datetime, until: datetime, reason: str | None = None
) -> CoachBlockedTime:
    """Let nothing be booked with the coach in this time; sessions that stand stay. Raises `BlockUnusable`."""
    if not timedelta() < until - start <= timedelta(days=366):
        raise BlockUnusable
    block = CoachBlockedTime(
        tenant_id=await bound_tenant(session), coach_id=coach_id, blocked_from=start, blocked_until=until, reason=reason
    )
    session.add(block)
    with refusing({"fk_coach_blocked_times_tenant_id_coach_id": PersonNotFound}):
        await session.flush()
    await session.refresh(block)
    return block


async def unblock_time(session: AsyncSession, block_id: UUID) -> None:
    """Take the block back. Raises `BlockNotFound`."""
    gone = await session.scalar(
        delete(CoachBlockedTime).where(CoachBlockedTime.id == block_id).returning(CoachBlockedTime.id)
    )
    if gone is None:
        raise BlockNotFound
