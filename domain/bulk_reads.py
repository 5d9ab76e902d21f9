"""Telling compliance of somebody who reads far more than work takes, or far more than they usually do.

Looked at every few minutes (flow watch-readings). What is counted are different things within a clock hour and a day,
both in UTC; each window of a reader is told once. Suites that ask as a person are no reading of theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import AuditSettings
from db.session import Principal, tenant_session
from domain.comms import notify_role, publish
from domain.governance import record_event
from domain.reading import ACTIONS, link_tenant

TOPIC: Final = "audit.bulk_read"
KIND: Final = "bulk_read"
Span = Literal["hour", "day"]
COUNTED: Final = ("transcripts", "documents", "clients", "passages")
"""Transcripts and documents that were opened, clients who were read about, passages and quotes that were got."""
TOLD_DAYS: Final = 90
"""Days a window's counts are kept: what a habit is looked for in, and what an alarm was about."""

_COUNT: Final = text(
    """
    WITH entries AS MATERIALIZED (
        SELECT a.actor_id AS reader_id, a.occurred_at, a.action, a.metadata -> 'read' AS read
        FROM governance.audit_logs a
        WHERE a.action = ANY (CAST(:actions AS text[])) AND a.occurred_at >= :since AND a.occurred_at < :until
          AND a.actor_id IS NOT NULL AND a.metadata ->> 'surface' <> 'evaluation'
    ), things AS (
        SELECT e.reader_id, e.occurred_at, e.action, k.key AS kind, i.target
        FROM entries e CROSS JOIN LATERAL jsonb_each(e.read) AS k
        CROSS JOIN LATERAL jsonb_array_elements_text(k.value) AS i(target)
        WHERE k.key IN ('transcript', 'document', 'client', 'chunk', 'quote')
    ), counted AS (
        SELECT t.reader_id, s.span, date_trunc(s.span, t.occurred_at, 'UTC') AS began_at,
               count(DISTINCT t.target) FILTER (WHERE t.action = 'transcript_read' AND t.kind = 'transcript')
                   AS transcripts,
               count(DISTINCT t.target) FILTER (WHERE t.action = 'document_read' AND t.kind = 'document') AS documents,
               count(DISTINCT t.target) FILTER (WHERE t.kind = 'client') AS clients,
               count(DISTINCT t.target) FILTER (WHERE t.kind IN ('chunk', 'quote')) AS passages
        FROM things t CROSS JOIN (VALUES ('hour'), ('day')) AS s(span)
        WHERE EXISTS (SELECT FROM identity.users u WHERE u.id = t.reader_id)
        GROUP BY t.reader_id, s.span, began_at
    )
    INSERT INTO governance.reading_windows AS w (
        tenant_id, reader_id, span, began_at, transcripts, documents, clients, passages, looked_at)
    SELECT CAST(current_setting('app.tenant_id') AS uuid), c.*, :now FROM counted c
    ON CONFLICT (tenant_id, reader_id, span, began_at) DO UPDATE
    SET transcripts = EXCLUDED.transcripts, documents = EXCLUDED.documents, clients = EXCLUDED.clients,
        passages = EXCLUDED.passages, looked_at = EXCLUDED.looked_at
    RETURNING w.reader_id, w.span, w.began_at, w.transcripts, w.documents, w.clients, w.passages,
              w.told_at IS NOT NULL AS is_told
    """
)
# What a reader does on all but the busiest tenth of the days on which they read anything.
_HABIT: Final = text(
    """
    SELECT count(*) AS days, {usual}
    FROM governance.reading_windows w
    WHERE w.reader_id = :reader_id AND w.span = 'day'
      AND w.began_at < date_trunc('day', CAST(:began_at AS timestamptz), 'UTC')
      AND w.began_at >= CAST(:began_at AS timestamptz) - make_interval(days => :days) AND w.told_at IS NULL
    """.format(usual=", ".join(f"percentile_disc(0.9) WITHIN GROUP (ORDER BY w.{name}) AS {name}" for name in COUNTED))
)
_LAST_LOOK: Final = text("SELECT max(looked_at) FROM governance.reading_windows")
_TELL: Final = text(
    """
    UPDATE governance.reading_windows SET told_at = :now
    WHERE reader_id = :reader_id AND span = :span AND began_at = :began_at AND told_at IS NULL RETURNING true
    """
)
_FORGET: Final = text(
    "DELETE FROM governance.reading_windows WHERE began_at < CAST(:now AS timestamptz) - make_interval(days => :days)"
)
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('reads:' || current_setting('app.tenant_id'), 0))")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRead:
    """One window in which one person read too much: what was counted, and of that what was too much, by which limit."""

    reader_id: UUID
    span: Span
    began_at: datetime
    counts: Mapping[str, int]
    over: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return ids and numbers, as the log, webhooks and the flow's table tell them."""
        return {
            "reader_id": str(self.reader_id), "span": self.span, "began_at": self.began_at.isoformat(),
            "counts": dict(self.counts), "over": dict(self.over),
        }  # fmt: skip


async def watch_readings(tenant_id: UUID, settings: AuditSettings, *, now: datetime) -> list[BulkRead]:
    """Link what waits, count what was read since the last look, and tell of what is too much; return what was told.

    Two looks at once tell once. Times are UTC.
    """
    await link_tenant(tenant_id)
    async with tenant_session(Principal(tenant_id, "system")) as session:
        await session.execute(_LOCK)
        found = await count_windows(session, now=now)
        told = []
        for window in sorted(found, key=lambda one: (one.began_at, one.span == "day")):
            if window.is_told:
                continue
            one = await judge(session, settings, window)
            if one is not None and await _tell(session, one, now):
                told.append(one)
        await session.execute(_FORGET, {"now": now, "days": max(TOLD_DAYS, settings.habit_days)})
    return told


async def count_windows(session: AsyncSession, *, now: datetime) -> Sequence[Any]:
    """Count what everyone read in the windows since the last look, those that were open then counted anew."""
    last = await session.scalar(_LAST_LOOK)
    since = min(last or now, now) - timedelta(hours=1)
    day = since.replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"actions": list(ACTIONS), "since": day, "until": now + timedelta(minutes=1), "now": now}
    return (await session.execute(_COUNT, values)).all()


async def judge(session: AsyncSession, settings: AuditSettings, window: Any) -> BulkRead | None:  # noqa: ANN401  # a row
    """Return what is too much in this window: beyond a limit, or far beyond what its reader does on most days.

    Also an hour is held against days: who does a day's work in one hour does nothing to tell of.
    """
    counts = {name: int(getattr(window, name)) for name in COUNTED}
    limits = {name: int(getattr(settings, f"{window.span}_{name}")) for name in COUNTED}
    over = {name: limits[name] for name in COUNTED if counts[name] > limits[name]}
    if not over and any(counts[name] > limits[name] * settings.habit_floor for name in COUNTED):
        values = {"reader_id": window.reader_id, "began_at": window.began_at, "days": settings.habit_days}
        habit = (await session.execute(_HABIT, values)).one()
        if habit.days >= settings.habit_least_days:
            factor = settings.habit_factor / (1 if window.span == "day" else 2)
            usual = {name: factor * max(getattr(habit, name), 1) for name in COUNTED}
            over = {
                name: int(usual[name]) for name in COUNTED
                if counts[name] > max(usual[name], limits[name] * settings.habit_floor)
            }  # fmt: skip
    if not over:
        return None
    return BulkRead(
        reader_id=window.reader_id, span=window.span, began_at=window.began_at, counts=counts, over=over
    )  # fmt: skip


async def _tell(session: AsyncSession, one: BulkRead, now: datetime) -> bool:
    """Note it, tell compliance and webhooks; False where another look did."""
    window = {"reader_id": one.reader_id, "span": one.span, "began_at": one.began_at}
    if not await session.scalar(_TELL, {**window, "now": now}):
        return False
    await record_event(
        session, action="bulk_read_detected", entity_type="user", entity_id=one.reader_id, severity="critical",
        metadata={"span": one.span, "began_at": one.began_at, "counts": dict(one.counts), "over": dict(one.over)},
    )  # fmt: skip
    await publish(session, TOPIC, one.to_json(), key=f"{TOPIC}:{one.reader_id}")
    counted = ", ".join(f"{one.counts[name]:,} {name} (expected at most {limit:,})" for name, limit in one.over.items())
    await notify_role(
        session, role="compliance", kind=KIND, title="Somebody reads unusually much",
        message=(
            f"One person read {counted} within the {one.span} from {one.began_at:%Y-%m-%d %H:%M} UTC. "
            "The audit log shows who and what: filter it by this actor."
        ),
        reference=("user", one.reader_id),
        deduplication_key=f"{KIND}:{one.reader_id}:{one.span}:{one.began_at:%Y%m%d%H}",
    )  # fmt: skip
    return True
