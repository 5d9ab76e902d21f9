"""Who coaches whom, and the sessions they held."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from db.models import CoachingSession, Engagement
from db.models.coaching import ACTIVE_STATUSES
from db.session import AlreadyStored, Principal
from db.violations import refusing
from domain.identity import bound_tenant


class EngagementNotFound(NotFound):
    """There is no running engagement of this coach with this client; check both names."""


class EngagementOverlaps(AlreadyStored):
    """This coach works with this client in that time already; end that engagement first or choose another time."""


class EngagementUnusable(Invalid):
    """An engagement is of two people and ends after it begins; correct its people or its times."""


_RULES = {
    "ex_engagements_pair": EngagementOverlaps, "uq_engagements_open": EngagementOverlaps,
    "ck_engagements_no_self_coaching": EngagementUnusable, "ck_engagements_ends_after_start": EngagementUnusable,
}  # fmt: skip


async def start_engagement(
    session: AsyncSession, *, coach_id: UUID, client_id: UUID, started_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> Engagement:  # fmt: skip
    """Let the coach read what is about the client, from `started_at` until `ended_at` (or until it is ended).

    Raises `EngagementOverlaps`, `EngagementUnusable`.
    """
    row = Engagement(
        tenant_id=await bound_tenant(session),
        coach_id=coach_id,
        client_id=client_id,
        started_at=started_at or datetime.now(UTC),
        ended_at=ended_at,
    )
    session.add(row)
    with refusing(_RULES):
        await session.flush()
    return row


async def end_engagement(
    session: AsyncSession, *, coach_id: UUID, client_id: UUID, by: Principal | None = None
) -> None:
    """End it now: the coach's next read sees nothing about the client. Raises `EngagementNotFound`.

    Sessions of the two that no other engagement covers are called off, with their payments.
    """
    await _end(session, (Engagement.coach_id == coach_id, Engagement.client_id == client_id), by)


async def end_engagement_by_id(session: AsyncSession, engagement_id: UUID, *, by: Principal) -> None:
    """End this one now, as `end_engagement`; one that has not begun is removed. Raises `EngagementNotFound`."""
    await _end(session, (Engagement.id == engagement_id,), by)


async def _end(session: AsyncSession, which: Sequence[Any], by: Principal | None) -> None:
    now = func.clock_timestamp()
    pair = Engagement.coach_id, Engagement.client_id
    running = Engagement.started_at < now, or_(Engagement.ended_at.is_(None), Engagement.ended_at > now)
    ended = (
        await session.execute(update(Engagement).where(*which, *running).values(ended_at=now).returning(*pair))
    ).first() or (
        await session.execute(delete(Engagement).where(*which, Engagement.started_at >= now).returning(*pair))
    ).first()
    if ended is None:
        raise EngagementNotFound
    by = by or Principal(await bound_tenant(session), "system")
    await _call_off_sessions(session, coach_id=ended.coach_id, client_id=ended.client_id, by=by)


async def _call_off_sessions(session: AsyncSession, *, coach_id: UUID, client_id: UUID, by: Principal) -> None:
    from domain.booking import cancel_session  # imported late: payments are not needed to read who coaches whom

    c, e = CoachingSession, Engagement
    covered = select(e.id).where(
        e.coach_id == c.coach_id, e.client_id == c.client_id, e.started_at <= c.scheduled_at,
        or_(e.ended_at.is_(None), e.ended_at > c.scheduled_at),
    )  # fmt: skip
    standing = await session.scalars(
        select(c.id).where(
            c.coach_id == coach_id, c.client_id == client_id, c.status.in_(("scheduled", "confirmed")),
            c.session_type != "discovery_call", c.scheduled_at > func.now(), ~covered.exists(),
        ).order_by(c.id)
    )  # fmt: skip
    for session_id in standing.all():
        await cancel_session(session, session_id, by=by, reason="The engagement ended.")


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
        .on_conflict_do_update(
            index_elements=key,
            set_={
                "scheduled_at": held_at,
                "coach_id": coach_id,
                # What was booked and has a transcript was held.
                "status": case(
                    (CoachingSession.status.in_(ACTIVE_STATUSES), "completed"), else_=CoachingSession.status
                ),
            },
        )
        .returning(CoachingSession.id)
    )
    return UUID(str(found))


async def list_sessions(session: AsyncSession, *, client_id: UUID | None = None) -> list[CoachingSession]:
    """Return the sessions the reader may see, the newest first."""
    query = select(CoachingSession).order_by(CoachingSession.scheduled_at.desc())
    if client_id is not None:
        query = query.where(CoachingSession.client_id == client_id)
    return list(await session.scalars(query))
