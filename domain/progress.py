"""How far people are: progress messages, counted once each, in whatever order they arrive."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid
from db.models import Enrollment, ProgressEvent
from domain.curriculum import LessonNotFound

LARGEST_BATCH: Final = 500

Outcome = Literal["recorded", "repeated", "locked", "unknown"]


class BatchTooLarge(Invalid):
    """At most 500 progress messages fit into one call; send the rest in another."""


class LessonLocked(Invalid):
    """This lesson's module is not open to you yet; finish the module before it or wait for its date."""


@dataclass(frozen=True)
class ProgressMessage:
    """What a player reports: `event_id` names the message for good, `seconds` were spent since the one before."""

    event_id: UUID
    lesson_id: UUID
    percent: int
    seconds: int = 0
    position_seconds: int | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True)
class LessonState:
    """One lesson after a call: where its reader is, and what became of the messages about it."""

    lesson_id: UUID
    outcome: Outcome
    progress_percent: int
    time_spent_seconds: int
    last_position_seconds: int | None
    completed_at: datetime | None


# Write pattern W2 and the upsert of seed 001 §8.5 in one statement: the percentage never falls, time adds up, a lesson
# is completed once. A message whose event_id was counted before is left out, so that a repeated queue adds no time; the
# position is that of the latest moment, whatever arrived last. A tested lesson stays at 99 until its test is passed.
_RECORD = text("""
WITH sent AS (
    SELECT DISTINCT ON (m.event_id) m.event_id, m.lesson_id, m.percent, m.seconds, m.position,
           least(coalesce(m.at, now()), now()) AS at
    FROM jsonb_to_recordset(CAST(:messages AS jsonb))
        AS m(event_id uuid, lesson_id uuid, percent int, seconds int, position int, at timestamptz)
    ORDER BY m.event_id
), known AS MATERIALIZED (
    SELECT l.tenant_id, l.id, l.program_id, l.module_id, l.content_type, e.id AS enrollment_id
    FROM (SELECT DISTINCT lesson_id FROM sent) s
    JOIN learning.lessons l ON l.id = s.lesson_id AND l.is_visible
    JOIN learning.enrollments e ON e.tenant_id = l.tenant_id AND e.program_id = l.program_id
     AND e.user_id = :user_id AND e.status IN ('active', 'completed')
), opened AS MATERIALIZED (
    SELECT d.module_id, learning.is_open(d.module_id, :user_id) AS is_open FROM (SELECT DISTINCT module_id FROM known) d
), fresh AS (
    INSERT INTO learning.progress_events (tenant_id, user_id, event_id)
    SELECT k.tenant_id, :user_id, s.event_id
    FROM sent s JOIN known k ON k.id = s.lesson_id JOIN opened o ON o.module_id = k.module_id AND o.is_open
    ORDER BY s.event_id
    ON CONFLICT DO NOTHING RETURNING event_id
), merged AS (
    SELECT s.lesson_id, max(s.percent) AS percent, least(sum(s.seconds), 2000000000)::int AS seconds, max(s.at) AS at,
           (array_agg(s.position ORDER BY s.at DESC) FILTER (WHERE s.position IS NOT NULL))[1] AS position
    FROM sent s JOIN fresh USING (event_id) GROUP BY s.lesson_id
), capped AS (
    SELECT k.*, m.seconds, m.at, m.position, CASE
        WHEN m.percent = 100 AND k.content_type IN ('quiz', 'assignment')
             AND EXISTS (SELECT FROM learning.assessments a
                         WHERE a.tenant_id = k.tenant_id AND a.lesson_id = k.id AND a.is_published)
             AND NOT EXISTS (SELECT FROM learning.assessment_submissions d
                             JOIN learning.assessments a ON a.tenant_id = d.tenant_id AND a.id = d.assessment_id
                             WHERE d.tenant_id = k.tenant_id AND d.user_id = :user_id AND d.passed
                               AND a.lesson_id = k.id)
        THEN 99 ELSE m.percent END AS percent
    FROM merged m JOIN known k ON k.id = m.lesson_id
), stored AS (
    INSERT INTO learning.lesson_progress AS lp (
        tenant_id, user_id, program_id, lesson_id, enrollment_id, progress_percent, time_spent_seconds,
        last_position_seconds, completed_at, first_accessed_at, last_accessed_at)
    SELECT c.tenant_id, :user_id, c.program_id, c.id, c.enrollment_id, c.percent, c.seconds, c.position,
           CASE WHEN c.percent = 100 THEN now() END, c.at, c.at
    FROM capped c ORDER BY c.id
    ON CONFLICT (tenant_id, user_id, lesson_id) DO UPDATE SET
        progress_percent = greatest(lp.progress_percent, excluded.progress_percent),
        time_spent_seconds = least(lp.time_spent_seconds::bigint + excluded.time_spent_seconds, 2000000000)::int,
        last_position_seconds = CASE WHEN excluded.last_accessed_at >= lp.last_accessed_at
            THEN coalesce(excluded.last_position_seconds, lp.last_position_seconds) ELSE lp.last_position_seconds END,
        completed_at = coalesce(lp.completed_at, excluded.completed_at),
        first_accessed_at = least(lp.first_accessed_at, excluded.first_accessed_at),
        last_accessed_at = greatest(lp.last_accessed_at, excluded.last_accessed_at)
    RETURNING lesson_id, enrollment_id, progress_percent, time_spent_seconds, last_position_seconds, completed_at
)
SELECT s.lesson_id, k.enrollment_id,
       CASE WHEN k.id IS NULL THEN 'unknown' WHEN NOT o.is_open THEN 'locked' WHEN n.lesson_id IS NULL THEN 'repeated'
            ELSE 'recorded' END AS outcome,
       coalesce(n.progress_percent, b.progress_percent, 0) AS progress_percent,
       coalesce(n.time_spent_seconds, b.time_spent_seconds, 0) AS time_spent_seconds,
       CASE WHEN n.lesson_id IS NULL THEN b.last_position_seconds ELSE n.last_position_seconds END
           AS last_position_seconds,
       CASE WHEN n.lesson_id IS NULL THEN b.completed_at ELSE n.completed_at END AS completed_at
FROM (SELECT DISTINCT lesson_id FROM sent) s
LEFT JOIN known k ON k.id = s.lesson_id
LEFT JOIN opened o ON o.module_id = k.module_id
LEFT JOIN stored n ON n.lesson_id = s.lesson_id
LEFT JOIN learning.lesson_progress b ON b.tenant_id = k.tenant_id AND b.lesson_id = k.id AND b.user_id = :user_id
ORDER BY s.lesson_id
""")


async def record_progress(
    session: AsyncSession, *, user_id: UUID, messages: Sequence[ProgressMessage]
) -> tuple[list[LessonState], list[Enrollment]]:
    """Count the messages and return the lessons they are about, and the enrolments as they stand then.

    Idempotent by `event_id` and indifferent to order; the enrolment moves in the same transaction. Messages about
    lessons the person does not take, or that are still locked, are told apart and change nothing, so that one of them
    can't hold up a queue. Runs in the person's own session. Raises `BatchTooLarge`.
    """
    if len(messages) > LARGEST_BATCH:
        raise BatchTooLarge
    told = [
        {
            "event_id": m.event_id, "lesson_id": m.lesson_id, "percent": m.percent, "seconds": m.seconds,
            "position": m.position_seconds, "at": m.occurred_at and m.occurred_at.isoformat(),
        }
        for m in messages
    ]  # fmt: skip
    rows = (await session.execute(_RECORD, {"user_id": user_id, "messages": json.dumps(told, default=str)})).all()
    states = [
        LessonState(
            row.lesson_id, row.outcome, row.progress_percent, row.time_spent_seconds, row.last_position_seconds,
            row.completed_at,
        )
        for row in rows
    ]  # fmt: skip
    touched = {row.enrollment_id for row in rows if row.enrollment_id is not None}
    if not touched:
        return states, []
    enrollments = await session.scalars(
        select(Enrollment).where(Enrollment.id.in_(touched)).execution_options(populate_existing=True)
    )
    return states, list(enrollments)


async def record_lesson(session: AsyncSession, *, user_id: UUID, message: ProgressMessage) -> LessonState:
    """Count one message; raises `LessonNotFound` or `LessonLocked` where it can't be."""
    states, _ = await record_progress(session, user_id=user_id, messages=[message])
    if states[0].outcome == "unknown":
        raise LessonNotFound
    if states[0].outcome == "locked":
        raise LessonLocked
    return states[0]


async def forget_progress_events(session: AsyncSession, *, before: datetime) -> int:
    """Forget which messages counted before this moment, and return how many; a repetition would count anew.

    Needs a system session; a month is longer than any player keeps its queue.
    """
    gone = await session.execute(
        delete(ProgressEvent).where(ProgressEvent.received_at < before).returning(ProgressEvent.event_id)
    )
    return len(gone.all())
