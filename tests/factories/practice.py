"""Coaches who can be booked, and sessions at every stage."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text, update

from db.models import CoachAvailability, CoachingSession, UserProfile
from db.session import Principal, tenant_session
from domain.availability import add_hours
from domain.booking import book_session
from domain.coaching import record_session
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


def next_day(weekday: int, *, weeks: int = 2) -> date:
    """Return a day some weeks ahead with this weekday, Monday 0."""
    day = datetime.now(UTC).date() + timedelta(weeks=weeks)
    return day + timedelta(days=(weekday - day.weekday()) % 7)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    """Return the moment of this day, UTC."""
    return datetime.combine(day, time(hour, minute), UTC)


async def give_hours(organisation: Organisation, coach: Principal, **values: Any) -> CoachAvailability:
    """Give the coach hours on Mondays from 9 to 17, UTC, unless said otherwise."""
    given = {
        "day_of_week": 1, "start_time": time(9), "end_time": time(17), "timezone": "UTC",
        "effective_from": date(2020, 1, 1), "slot_minutes": 60, "buffer_minutes": 0, "max_sessions_per_slot": 1,
    }  # fmt: skip
    async with tenant_session(organisation.system) as session:
        return await add_hours(session, coach_id=require_id(coach), values=given | values)


async def set_rate(organisation: Organisation, coach: Principal, rate: str | None, currency: str = "USD") -> None:
    """Set what an hour with the coach costs."""
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(UserProfile)
            .where(UserProfile.user_id == require_id(coach))
            .values(hourly_rate=rate, currency=currency)
        )


async def book(organisation: Organisation, moment: datetime, **values: Any) -> CoachingSession:
    """Book client_a with coach_a as client_a, unless said otherwise."""
    given: dict[str, Any] = {
        "by": organisation.client_a, "coach_id": require_id(organisation.coach_a),
        "client_id": require_id(organisation.client_a), "scheduled_at": moment, "timezone": "UTC",
    }  # fmt: skip
    async with tenant_session(organisation.system) as session:
        return await book_session(session, **given | values)


async def hold(organisation: Organisation, *, coach: Principal | None = None, client: Principal | None = None) -> UUID:
    """Store a session that was held yesterday."""
    async with tenant_session(organisation.system) as session:
        return await record_session(
            session, external_id=uuid4().hex, coach_id=require_id(coach or organisation.coach_a),
            client_id=require_id(client or organisation.client_a), held_at=datetime.now(UTC) - timedelta(days=1),
            topic=None,
        )  # fmt: skip


async def make_past(organisation: Organisation, session_id: UUID) -> None:
    """Let a booked session have begun ten minutes ago."""
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("UPDATE coaching.coaching_sessions SET scheduled_at = now() - interval '10 minutes' WHERE id = :id"),
            {"id": session_id},
        )
