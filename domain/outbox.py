"""The outbox's rows: claimed for a while, settled by whoever claimed them, replayed by an administrator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, NotFound
from db.models import Outbox
from db.session import unbound_session

DELIVERED_DAYS: Final = 7
"""Days a delivered message is kept, to see what left; dead ones stay until they are replayed."""
RECORD_DAYS: Final = 90
"""Days the record of webhooks' deliveries and of what people were told is kept: as long as notifications are."""

_DUE = text("SELECT comms.list_due_tenants(:after, :most)")
_CLAIM = text("""
WITH due AS (
    SELECT d.id FROM comms.outbox d
    WHERE d.tenant_id = (SELECT current_setting('app.tenant_id')::uuid)
      AND d.delivered_at IS NULL AND d.dead_at IS NULL AND d.available_at <= now()
      AND (d.key IS NULL OR NOT EXISTS (
          SELECT FROM comms.outbox e
          WHERE e.tenant_id = d.tenant_id AND e.key = d.key AND e.id < d.id
            AND e.delivered_at IS NULL AND e.dead_at IS NULL))
    ORDER BY d.available_at, d.id LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE comms.outbox o
SET attempts = o.attempts + 1, claimed_by = :claimant, available_at = clock_timestamp() + :lease
FROM due WHERE o.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND o.id = due.id
RETURNING o.tenant_id, o.id, o.topic, o.key, o.payload, o.created_at, o.attempts
""")
_CLEAR = text("""
WITH messages AS (
    DELETE FROM comms.outbox WHERE tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND id IN (
        SELECT id FROM comms.outbox WHERE delivered_at < now() - make_interval(days => :days) LIMIT :most
    ) RETURNING id
), deliveries AS (
    DELETE FROM comms.webhook_deliveries WHERE tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND id IN (
        SELECT id FROM comms.webhook_deliveries
        WHERE status IN ('delivered', 'dead') AND created_at < now() - make_interval(days => :record_days) LIMIT :most
    ) RETURNING id
), keys AS (
    DELETE FROM comms.notification_keys k
    USING (SELECT user_id, deduplication_key FROM comms.notification_keys
           WHERE created_at < now() - make_interval(days => :record_days) LIMIT :most) old
    WHERE k.tenant_id = (SELECT current_setting('app.tenant_id')::uuid)
      AND k.user_id = old.user_id AND k.deduplication_key = old.deduplication_key RETURNING k.user_id
)
SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM keys)
""")


class OutboxMessageNotFound(NotFound):
    """There is no such message in the outbox; list it to see the ids."""


class MessageNotDead(Conflict):
    """This message was not given up, so there is nothing to replay; wait for its next attempt."""


class ClaimLost(Conflict):
    """Another dispatcher has taken this message over; what was done for it here is undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One claimed message; `attempts` counts this one too."""

    tenant_id: UUID
    id: UUID
    topic: str
    key: str | None
    payload: dict[str, Any]
    created_at: datetime
    attempts: int


async def list_due_tenants(*, after: UUID, most: int) -> list[UUID]:
    """Return active tenants with a message due, in the order of their ids from `after` on."""
    async with unbound_session() as session:
        return [UUID(str(found)) for found in await session.scalars(_DUE, {"after": after, "most": most})]


async def claim(session: AsyncSession, *, claimant: UUID, most: int, lease: timedelta) -> list[Message]:
    """Take due messages of the bound tenant for the length of the lease, the longest due first.

    Nobody else gets them until it ends. Of the messages of one key only the first that has no end yet is due.
    """
    rows = await session.execute(_CLAIM, {"claimant": claimant, "most": most, "lease": lease})
    return [Message(**row._mapping) for row in rows]  # noqa: SLF001  # SQLAlchemy's public name for it


async def settle(
    session: AsyncSession, message: Message, *, claimant: UUID, error: str | None = None,
    retry_in: timedelta | None = None,
) -> None:  # fmt: skip
    """Record how the attempt ended: delivered without an error, due again where `retry_in` says when, else given up.

    Raises `ClaimLost` where the lease ran out and somebody else has the message.
    """
    now = func.clock_timestamp()
    if error is None:
        values: dict[str, Any] = {"delivered_at": now, "last_error": None}
    elif retry_in is not None:
        values = {"last_error": error, "available_at": now + retry_in}
    else:
        values = {"last_error": error, "dead_at": now}
    settled = await session.scalar(
        update(Outbox)
        .where(Outbox.id == message.id, Outbox.claimed_by == claimant)
        .values(claimed_by=None, **values)
        .returning(Outbox.id)
        .execution_options(synchronize_session=False)
    )
    if settled is None:
        raise ClaimLost


async def replay(session: AsyncSession, message_id: UUID) -> None:
    """Make a dead message due now, all its attempts before it; raises `OutboxMessageNotFound`, `MessageNotDead`."""
    dead = await session.scalar(select(Outbox.dead_at.is_not(None)).where(Outbox.id == message_id).with_for_update())
    if dead is None:
        raise OutboxMessageNotFound
    if not dead:
        raise MessageNotDead
    await revive(session, [message_id])


async def revive(session: AsyncSession, message_ids: Sequence[UUID]) -> None:
    """Make these dead messages due now and wake the dispatchers."""
    await session.execute(
        update(Outbox)
        .where(Outbox.id.in_(message_ids), Outbox.dead_at.is_not(None))
        .values(dead_at=None, attempts=0, available_at=func.clock_timestamp(), claimed_by=None)
        .execution_options(synchronize_session=False)
    )
    await session.execute(select(func.pg_notify("regenesis_outbox", func.current_setting("app.tenant_id"))))


async def clear_old(
    session: AsyncSession, *, days: int = DELIVERED_DAYS, record_days: int = RECORD_DAYS, most: int = 10_000
) -> int:
    """Delete what was delivered so many days ago and records older than that; return how many rows.

    At most so many of each at once: call again while anything goes. Needs a system session.
    """
    return int(await session.scalar(_CLEAR, {"days": days, "record_days": record_days, "most": most}) or 0)


async def count_states(session: AsyncSession) -> dict[str, int]:
    """Return how many messages are pending, of those how many failed before, and how many are dead."""
    o = Outbox
    pending = o.delivered_at.is_(None) & o.dead_at.is_(None)
    row = (
        await session.execute(
            select(
                func.count().filter(pending).label("pending"),
                func.count().filter(pending & o.last_error.is_not(None)).label("failing"),
                func.count().filter(o.dead_at.is_not(None)).label("dead"),
            ).where(o.delivered_at.is_(None))
        )
    ).one()
    return {"pending": row.pending, "failing": row.failing, "dead": row.dead}
