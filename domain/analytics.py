"""Numbers about the organisation: what is counted over all its people, and the events people leave behind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.session import unbound_session

VIEWS: Final = ("admin_dashboard", "program_performance", "coaching_outcomes", "rag_usage")
"""The materialised views, in the order they are refreshed."""


class FiguresNotReady(NotFound):
    """The organisation's figures are not counted yet; they are refreshed every hour."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Access pattern A1 of seed 001 §4.3, as of `computed_at`; revenue of a month by currency."""

    users: int
    new_users_30d: int
    active_users_7d: int
    revenue_monthly: dict[str, Decimal]
    active_enrollments: int
    sessions_30d: int
    computed_at: datetime


@dataclass(frozen=True, slots=True)
class ProgramFigures:
    """Access pattern A2 of seed 001 §4.3; what a group below five people would reveal is None."""

    program_id: UUID
    title: str
    category: str | None
    enrollment_count: int
    completion_rate: Decimal | None
    average_progress: Decimal | None
    avg_rating: Decimal | None
    computed_at: datetime


@dataclass(frozen=True, slots=True)
class MonthOfCoaching:
    """What was coached in one month; an average of what fewer than five clients did or said is None."""

    month: date
    sessions_completed: int
    sessions_cancelled: int
    sessions_missed: int
    clients: int
    coaches: int
    average_minutes: Decimal | None
    avg_rating: Decimal | None


@dataclass(frozen=True, slots=True)
class DayOfAnswers:
    """How the assistant was used on one day (UTC); times in milliseconds; some of `runs` were stopped or go on."""

    day: date
    runs: int
    users: int
    answered: int
    refused: int
    failed: int
    p50_ms: int | None
    p95_ms: int | None


async def get_dashboard_figures(session: AsyncSession) -> Dashboard:
    """Return the organisation's figures; raises `FiguresNotReady` before the first refresh after its founding."""
    row = (
        await session.execute(
            text(
                "SELECT users, new_users_30d, active_users_7d, revenue_monthly, active_enrollments, sessions_30d, "
                "computed_at FROM analytics.read_admin_dashboard()"
            )
        )
    ).one_or_none()
    if row is None:
        raise FiguresNotReady
    revenue = {currency: Decimal(str(total)) for currency, total in row.revenue_monthly.items()}
    return Dashboard(**{**row._mapping, "revenue_monthly": revenue})  # noqa: SLF001  # SQLAlchemy's documented name


async def list_program_figures(
    session: AsyncSession, *, limit: int, category: str | None = None, after: tuple[int, UUID] | None = None
) -> list[ProgramFigures]:
    """Return programs with the most enrolments first; `after` is the count and id of the last one seen."""
    count, program_id = after or (None, None)
    rows = await session.execute(
        text(
            """
            SELECT program_id, title, category, enrollment_count, completion_rate, average_progress, avg_rating,
                   computed_at
            FROM analytics.read_program_performance()
            WHERE (CAST(:category AS text) IS NULL OR category = :category)
              AND (CAST(:count AS bigint) IS NULL OR (-enrollment_count, program_id) > (-CAST(:count AS bigint), :id))
            ORDER BY -enrollment_count, program_id LIMIT :limit
            """
        ),
        {"category": category, "count": count, "id": program_id, "limit": limit},
    )
    return [ProgramFigures(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's documented name


async def list_program_categories(session: AsyncSession) -> list[str]:
    """Return the categories of programs by name, a hundred at most."""
    rows = await session.scalars(
        text(
            "SELECT DISTINCT category FROM analytics.read_program_performance() WHERE category IS NOT NULL "
            "ORDER BY category LIMIT 100"
        )
    )
    return list(rows)


async def list_coaching_months(session: AsyncSession, *, since: date, until: date) -> list[MonthOfCoaching]:
    """Return the months that begin in the range, the newest first."""
    rows = await session.execute(
        text(
            """
            SELECT month, sessions_completed, sessions_cancelled, sessions_missed, clients, coaches, average_minutes,
                   avg_rating
            FROM analytics.read_coaching_outcomes() WHERE month BETWEEN :since AND :until ORDER BY month DESC
            """
        ),
        {"since": since, "until": until},
    )
    return [MonthOfCoaching(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's documented name


async def list_answer_days(session: AsyncSession, *, since: date, until: date) -> list[DayOfAnswers]:
    """Return the days of the range on which the assistant ran, the newest first."""
    rows = await session.execute(
        text(
            """
            SELECT day, runs, users, answered, refused, failed, p50_ms, p95_ms
            FROM analytics.read_rag_usage() WHERE day BETWEEN :since AND :until ORDER BY day DESC
            """
        ),
        {"since": since, "until": until},
    )
    return [DayOfAnswers(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's documented name


async def track_events(session: AsyncSession, events: Sequence[tuple[str, datetime | None, dict[str, Any]]]) -> int:
    """Store what the bound person did, as (type, moment or None for now, details), and return how many were stored.

    None of somebody who does not want to be counted.
    """
    stored = await session.execute(
        text(
            """
            INSERT INTO analytics.events (tenant_id, user_id, event_type, occurred_at, event_data)
            SELECT current_setting('app.tenant_id')::uuid, current_setting('app.user_id')::uuid,
                   e ->> 'type', coalesce((e ->> 'at')::timestamptz, now()), e -> 'details'
            FROM jsonb_array_elements(CAST(:events AS jsonb)) AS e
            """
        ),
        {
            "events": json.dumps(
                [{"type": kind, "at": at and at.isoformat(), "details": details} for kind, at, details in events]
            )
        },
    )
    return int(getattr(stored, "rowcount", 0))  # SQLAlchemy types it only for results it calls CursorResult


async def refresh_view(view: str) -> None:
    """Count one view anew for every tenant; readers keep the old figures until it is done."""
    async with unbound_session() as session:
        await session.execute(text("SET LOCAL statement_timeout = '30min'"))
        await session.execute(text("SELECT analytics.refresh(:view)"), {"view": view})
