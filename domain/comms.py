"""Telling people and other systems, in the caller's transaction, so that nothing is told that was undone."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Notification

DeliveryMethod = Literal["in_app", "email", "sms", "push"]

LONGEST_TITLE: Final = 255
LONGEST_MESSAGE: Final = 5_000

_PUBLISH = text("SELECT comms.publish(:topic, CAST(:payload AS jsonb), :key)")
_MADE = """comms.notify(
    {recipient}, :kind, :title, :message, CAST(:action_url AS text), CAST(:reference_type AS text),
    CAST(:reference_id AS uuid), CAST(:actor_id AS uuid), :method, CAST(:key AS text), CAST(:expires_at AS timestamptz)
)"""
_NOTIFY = text("SELECT " + _MADE.format(recipient="CAST(:user_id AS uuid)"))
_NOTIFY_ROLE = text(
    f"SELECT count({_MADE.format(recipient='u.id')}) FROM identity.users u WHERE u.role = :role AND u.status = 'active'"
)


async def publish(
    session: AsyncSession, topic: str, payload: Mapping[str, Any] | None = None, key: str | None = None
) -> UUID:
    """Promise a message, which leaves after this transaction commits, and return its id.

    Webhooks that asked for the topic get it, unless a handler of its own takes it (pipelines/outbox). The payload
    holds ids and closed vocabulary, never words of a person, and at most 8 kB. Messages of one key leave in order.
    """
    values = {"topic": topic, "payload": json.dumps(dict(payload or {}), default=str), "key": key}
    return UUID(str(await session.scalar(_PUBLISH, values)))


async def notify(
    session: AsyncSession,
    *,
    user_id: UUID,
    kind: str,
    title: str,
    message: str,
    action_url: str | None = None,
    reference: tuple[str, UUID] | None = None,
    actor_id: UUID | None = None,
    method: DeliveryMethod = "in_app",
    deduplication_key: str | None = None,
    expires_at: datetime | None = None,
) -> UUID | None:
    """Tell one person; return the notification's id, or None where the key says they were told before.

    Any role's session may call it. A person's session speaks in that person's name, the pipelines in `actor_id`'s.
    `reference` is what it is about, such as `("post", post_id)`. Other methods than in_app are tried after the commit.
    """
    reference_type, reference_id = reference or (None, None)
    values = {
        "user_id": user_id, "kind": kind, "title": title[:LONGEST_TITLE], "message": message[:LONGEST_MESSAGE],
        "action_url": action_url, "reference_type": reference_type, "reference_id": reference_id,
        "actor_id": actor_id, "method": method, "key": deduplication_key, "expires_at": expires_at,
    }  # fmt: skip
    made = await session.scalar(_NOTIFY, values)
    return None if made is None else UUID(str(made))


async def notify_role(
    session: AsyncSession,
    *,
    role: str,
    kind: str,
    title: str,
    message: str,
    action_url: str | None = None,
    reference: tuple[str, UUID] | None = None,
    method: DeliveryMethod = "in_app",
    deduplication_key: str | None = None,
) -> int:
    """Tell everyone of a role, such as the administrators; return how many. Needs a system session."""
    reference_type, reference_id = reference or (None, None)
    values = {
        "role": role, "kind": kind, "title": title[:LONGEST_TITLE], "message": message[:LONGEST_MESSAGE],
        "action_url": action_url, "reference_type": reference_type, "reference_id": reference_id,
        "actor_id": None, "method": method, "key": deduplication_key, "expires_at": None,
    }  # fmt: skip
    return int(await session.scalar(_NOTIFY_ROLE, values) or 0)


async def mark_read(
    session: AsyncSession, *, user_id: UUID, ids: Collection[UUID] | None = None, until: datetime | None = None
) -> int:
    """Mark the person's notifications read, those with these ids or all made up to a moment; return how many were not.

    Ids of others' notifications change nothing.
    """
    n = Notification
    statement = update(n).where(n.user_id == user_id, n.is_read.is_(False)).values(is_read=True, read_at=func.now())
    if ids is not None:
        statement = statement.where(n.id.in_(ids))
    if until is not None:
        statement = statement.where(n.created_at <= until)
    done = await session.execute(statement.returning(n.id).execution_options(synchronize_session=False))
    return len(done.all())


async def count_unread(session: AsyncSession, *, user_id: UUID) -> int:
    """Return how many of the person's notifications they have not read and that still hold."""
    n = Notification
    query = select(func.count()).where(n.user_id == user_id, n.is_read.is_(False))
    return int(await session.scalar(query.where(n.expires_at.is_(None) | (n.expires_at > func.now()))) or 0)
