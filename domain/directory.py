"""Finding a coach: the directory of a tenant's coaches, the best rated first (seed 001 §4.1, P4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import SessionFeedback, UserProfile

Place = tuple[Decimal, int, UUID]
"""Where a page of the directory ends: rating (0: none yet), completed sessions, user."""


@dataclass(frozen=True, slots=True)
class CoachFilter:
    """Whom to list; None asks nothing. `skills` must all be there, in the words of the profile."""

    skills: Sequence[str] = ()
    country: str | None = None
    minimum_rating: Decimal | None = None
    available: bool | None = None
    price_from: Decimal | None = None
    price_until: Decimal | None = None
    currency: str | None = None


def select_coaches(wanted: CoachFilter, *, limit: int, after: Place | None = None) -> Select[tuple[UserProfile]]:
    """Return the one statement of the directory: profiles of coaches by rating, then by completed sessions.

    The index `ix_user_profiles_directory` holds coaches only, in this order, so a page costs a look at coaches and
    never at the tenant's other people. A profile its owner made private is not listed.
    """
    p = UserProfile
    rating = func.coalesce(p.average_rating, literal(Decimal(0)))
    query = select(p).where(
        p.is_coach, or_(p.coach_until.is_(None), p.coach_until > func.now()), p.profile_visibility != "private"
    )
    conditions: list[tuple[Any, Callable[[Any], Any]]] = [
        (wanted.skills, lambda given: p.skills.contains(literal(list(given), JSONB))),
        (wanted.country, lambda given: p.location["country"].astext == given),
        (wanted.minimum_rating, lambda given: p.average_rating >= given),
        (wanted.available, lambda _: p.availability_status == "available"),
        (wanted.price_from, lambda given: p.hourly_rate >= given),
        (wanted.price_until, lambda given: p.hourly_rate <= given),
        (wanted.currency, lambda given: p.currency == given),
    ]
    # A price of 0 asks something; False and no skills ask nothing.
    asked = (pair for pair in conditions if pair[0] is not None and pair[0] is not False and pair[0] != ())
    query = query.where(*(condition(given) for given, condition in asked))
    if after is not None:
        query = query.where(tuple_(rating, p.completed_session_count, p.user_id) < tuple_(*map(literal, after)))
    return query.order_by(
        p.average_rating.desc().nulls_last(), p.completed_session_count.desc(), p.user_id.desc()
    ).limit(limit)


async def list_coaches(
    session: AsyncSession, *, wanted: CoachFilter, limit: int, after: Place | None = None
) -> Sequence[UserProfile]:
    """Return the reader's page of the directory."""
    return (await session.scalars(select_coaches(wanted, limit=limit, after=after))).all()


@dataclass(frozen=True, slots=True)
class Testimonial:
    """What a client said of a coach and lets everyone of the tenant read; who said it is not told."""

    id: UUID
    rating: int
    feedback_text: str | None
    highlights: list[Any] | None
    created_at: datetime


async def list_testimonials(
    session: AsyncSession, *, coach_id: UUID, limit: int, after: tuple[datetime, UUID] | None = None
) -> list[Testimonial]:
    """Return the coach's public feedback, the newest first; needs a session bound as the pipelines."""
    f = SessionFeedback
    query = select(f.id, f.rating, f.feedback_text, f.highlights, f.created_at).where(
        f.coach_id == coach_id, f.is_public
    )
    if after is not None:
        query = query.where(tuple_(f.created_at, f.id) < tuple_(*map(literal, after)))
    rows = await session.execute(query.order_by(f.created_at.desc(), f.id.desc()).limit(limit))
    return [Testimonial(*row) for row in rows]
