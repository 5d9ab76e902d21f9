"""Who coaches whom, and the sessions they held."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.models import CoachingSession, Engagement
from domain.identity import bound_tenant


class EngagementNotFound(NotFound):
    """There is no running engagement of this coach with this client; check both names."""


async def start_engagement(
    session: AsyncSession, *, coach_id: UUID, client_id: UUID, started_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> Engagement:  # fmt: skip
    """Let the coach read what is about the client, from `started_at` until `ended_at` (or until it is ended)."""
    row = Engagement(
        tenant_id=await bound_tenant(session),
        coach_id=coach_id,
        client_id=client_id,
        started_at=started_at or datetime.now(UTC),
        ended_at=ended_at,
    )
    session.add(row)
    await session.flush()
    return row


async def end_engagement(session: AsyncSession, *, coach_id: UUID, client_id: UUID) -> None:
    """End it now: the coach's next read sees nothing about the client. Raises `EngagementNotFound`."""
    ended = await session.scalar(
        update(Engagement)
        .where(Engagement.coach_id == coach_id, Engagement.client_id == client_id, Engagement.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
        .returning(Engagement.id)
    )
    if ended is None:
        raise EngagementNotFound


async def record_session(
    session: AsyncSession, *, external_id: str, coach_id: UUID, client_id: UUID, held_at: datetime, topic: str | None
) -> UUID:
    """Return the id of the client's session with this external id, made as completed where it is new."""
    values = {
        "tenant_id": await bound_tenant(session),
        "external_id": external_id,
        "coach_id": coach_id,
        "client_id": client_id,
        "scheduled_at": held_at,
        "completed_at": held_at,
        "status": "completed",
        "topic": topic,
    }
    key = ("tenant_id", "client_id", "external_id")
    found = await session.scalar(
        insert(CoachingSession)
        .values(values)
        .on_conflict_do_update(index_elements=key, set_={"scheduled_at": held_at, "coach_id": coach_id})
        .returning(CoachingSession.id)
    )
    return UUID(str(found))


async def list_sessions(session: AsyncSession, *, client_id: UUID | None = None) -> list[CoachingSession]:
    """Return the sessions the reader may see, the newest first."""
    query = select(CoachingSession).order_by(CoachingSession.scheduled_at.desc())
    if client_id is not None:
        query = query.where(CoachingSession.client_id == client_id)
    return list(await session.scalars(query))
