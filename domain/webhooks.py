"""Webhooks: which other systems are told of what, with which secret, and how that went."""

import base64
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound, QuotaExceeded
from db.models import Webhook
from domain.chat import KeyReused
from domain.comms import notify_role
from domain.identity import bound_tenant
from domain.keys import field_cipher
from domain.outbox import Message

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # a prefix is no secret
"""How the Standard Webhooks specification marks a symmetric secret."""
SECRET_BYTES: Final = 32  # the specification asks for 24 to 64
ROTATION: Final = timedelta(hours=24)
"""How long a replaced secret signs beside its successor."""
MOST_WEBHOOKS: Final = 50
DISABLE_AFTER: Final = timedelta(days=5)
"""How long a webhook may fail without one success before it is disabled."""
_TABLE: Final = "comms.webhooks"
_HERE: Final = "tenant_id = (SELECT current_setting('app.tenant_id')::uuid)"

_FAN_OUT = text("""
WITH made AS (
    INSERT INTO comms.webhook_deliveries (tenant_id, webhook_id, outbox_id, topic, payload, occurred_at)
    SELECT w.tenant_id, w.id, :message, CAST(:topic AS text), CAST(:payload AS jsonb), :occurred_at
    FROM comms.webhooks w
    WHERE w.is_active AND w.events && ARRAY[CAST(:topic AS text), '*'] AND w.created_at <= :occurred_at
    ON CONFLICT DO NOTHING RETURNING id, webhook_id
)
SELECT comms.publish('webhook_delivery', jsonb_build_object('delivery_id', made.id),
                     made.webhook_id || ':' || md5(CAST(:key AS text)))
FROM made
""")
_TARGET = text(f"""
SELECT d.id, d.topic, d.payload, d.occurred_at, d.status, w.id AS webhook_id, w.url, w.is_active, w.secret,
       CASE WHEN w.previous_secret_until > now() THEN w.previous_secret END AS previous_secret
FROM comms.webhook_deliveries d JOIN comms.webhooks w ON w.tenant_id = d.tenant_id AND w.id = d.webhook_id
WHERE d.{_HERE} AND d.id = :id
""")
_RECORD = text(f"""
UPDATE comms.webhook_deliveries
SET attempts = attempts + 1, status = CAST(:status AS text), last_status_code = :code, last_error = :error,
    response_ms = :ms, next_attempt_at = clock_timestamp() + CAST(:retry_in AS interval),
    updated_at = clock_timestamp(),
    delivered_at = CASE WHEN CAST(:status AS text) = 'delivered' THEN clock_timestamp() END
WHERE {_HERE} AND id = :id
""")
# A success a minute is enough to know; a row written at every delivery would be waited for by all of them.
_SUCCEEDED = text(f"""
UPDATE comms.webhooks SET failure_count = 0, failing_since = NULL, last_success_at = now()
WHERE {_HERE} AND id = :id
  AND (failure_count > 0 OR last_success_at IS NULL OR last_success_at < now() - interval '1 minute')
""")
_FAILED = text(f"""
UPDATE comms.webhooks SET failure_count = failure_count + 1, failing_since = coalesce(failing_since, now())
WHERE {_HERE} AND id = :id AND is_active RETURNING failing_since < now() - CAST(:patience AS interval)
""")
_DISABLE = text(f"""
UPDATE comms.webhooks SET is_active = false, disabled_at = now(), disabled_reason = :reason, updated_at = now()
WHERE {_HERE} AND id = :id AND is_active RETURNING id
""")
_REPLAY = text(f"""
WITH chosen AS (
    UPDATE comms.webhook_deliveries
    SET status = 'pending', delivered_at = NULL, next_attempt_at = NULL, updated_at = now()
    WHERE {_HERE} AND id IN (
        SELECT d.id FROM comms.webhook_deliveries d
        WHERE d.{_HERE} AND d.webhook_id = :webhook_id
          AND CASE WHEN CAST(:delivery_id AS uuid) IS NULL
              THEN d.status = 'dead' AND d.updated_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
              ELSE d.id = :delivery_id AND d.status IN ('dead', 'delivered') END
        ORDER BY d.id LIMIT :most FOR UPDATE)
    RETURNING id
), given_up AS (
    DELETE FROM comms.outbox o USING chosen
    WHERE o.{_HERE} AND o.dead_at IS NOT NULL AND o.topic = 'webhook_delivery'
      AND o.payload ->> 'delivery_id' = chosen.id::text
)
SELECT comms.publish('webhook_delivery', jsonb_build_object('delivery_id', sorted.id))
FROM (SELECT id FROM chosen ORDER BY id) sorted
""")


class WebhookNotFound(NotFound):
    """There is no such webhook here; list them to see their ids."""


class DeliveryNotFound(NotFound):
    """This webhook has no such delivery that has ended; list its deliveries to see their ids and states."""


class UnusableAddress(Invalid):
    """This address can't be a webhook's; give an https:// address of a public host, without a user or a fragment."""


class TooManyWebhooks(QuotaExceeded):
    """Your organisation has as many webhooks as it may; delete one that is not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one delivery goes and what signs it, the newest secret first."""

    id: UUID
    topic: str
    payload: dict[str, Any]
    occurred_at: datetime
    status: str
    webhook_id: UUID
    url: str
    is_active: bool
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one try went; without `error` it was delivered, with neither it nor `retry_in` it was given up."""

    status_code: int | None
    response_ms: int | None
    error: str | None = None
    retry_in: timedelta | None = None
    disable: str | None = None
    """Why the webhook is not to be used any more."""

    @property
    def status(self) -> str:
        """The delivery's state after it."""
        if self.error is None:
            return "delivered"
        return "dead" if self.retry_in is None else "failed"


def check_url(url: str, *, allow_private: bool = False) -> str:
    """Return the address as it is; raises `UnusableAddress`. A host's name is resolved only when something is sent."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UnusableAddress from error
    usable = bool(host) and not (parts.username or parts.password or parts.fragment) and url.isprintable()
    if not usable or " " in url or parts.scheme not in (("https", "http") if allow_private else ("https",)):
        raise UnusableAddress
    try:
        public = ipaddress.ip_address(host or "").is_global
    except ValueError:
        public = (host or "").rstrip(".").lower() != "localhost"
    if not public and not allow_private:
        raise UnusableAddress
    return url


def make_secret() -> str:
    """Return a new signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def create_webhook(
    session: AsyncSession,
    *,
    url: str,
    events: Sequence[str],
    description: str | None,
    created_by: UUID,
    idempotency_key: str | None = None,
) -> tuple[Webhook, str]:
    """Add a webhook and return it with its secret; the same key returns what the first call made.

    Check the address by `check_url` first. Raises `TooManyWebhooks`, `KeyReused`.
    """
    tenant_id = await bound_tenant(session)
    cipher = await field_cipher(session)
    if idempotency_key is None:
        row_id = UUID(str(await session.scalar(select(func.uuidv7()))))
    else:
        row_id = uuid5(created_by, f"webhook:{idempotency_key}")
        made = await session.get(Webhook, (tenant_id, row_id))
        if made is not None:
            if (made.url, made.events) != (url, list(events)):
                raise KeyReused
            return made, cipher.decrypt(made.secret, table=_TABLE, column="secret", row_id=row_id)
    if int(await session.scalar(select(func.count(Webhook.id))) or 0) >= MOST_WEBHOOKS:
        raise TooManyWebhooks
    secret = make_secret()
    row = Webhook(
        tenant_id=tenant_id, id=row_id, url=url, events=list(events), description=description, created_by=created_by,
        secret=cipher.encrypt(secret, table=_TABLE, column="secret", row_id=row_id),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return row, secret


async def get_webhook(session: AsyncSession, webhook_id: UUID, *, lock: bool = False) -> Webhook:
    """Return the webhook; raises `WebhookNotFound`."""
    query = select(Webhook).where(Webhook.id == webhook_id)
    row: Webhook | None = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise WebhookNotFound
    return row


async def rotate_secret(session: AsyncSession, webhook: Webhook) -> str:
    """Return a new secret; the old one signs as well for `ROTATION`, so receivers can change without a gap."""
    cipher = await field_cipher(session)
    old = cipher.decrypt(webhook.secret, table=_TABLE, column="secret", row_id=webhook.id)
    secret = make_secret()
    webhook.previous_secret = cipher.encrypt(old, table=_TABLE, column="previous_secret", row_id=webhook.id)
    webhook.previous_secret_until = await session.scalar(select(func.now() + ROTATION))
    webhook.secret = cipher.encrypt(secret, table=_TABLE, column="secret", row_id=webhook.id)
    await session.flush()
    return secret


async def enable(session: AsyncSession, webhook: Webhook) -> None:
    """Use the webhook again from now on, its failures forgotten."""
    webhook.is_active, webhook.disabled_at, webhook.disabled_reason = True, None, None
    webhook.failure_count, webhook.failing_since = 0, None
    await session.flush()


async def disable(session: AsyncSession, webhook_id: UUID, reason: str) -> bool:
    """Stop using the webhook and tell whether it was in use; deliveries on their way are given up."""
    return await session.scalar(_DISABLE, {"id": webhook_id, "reason": reason}) is not None


async def fan_out(session: AsyncSession, message: Message) -> None:
    """Give every webhook that asked for the topic a delivery of its own, once. Needs a system session."""
    await session.execute(
        _FAN_OUT,
        {
            "message": message.id, "topic": message.topic, "key": message.key, "occurred_at": message.created_at,
            "payload": json.dumps(message.payload),
        },
    )  # fmt: skip


async def find_target(session: AsyncSession, delivery_id: UUID) -> Target | None:
    """Return where the delivery goes, None where its webhook was deleted."""
    row = (await session.execute(_TARGET, {"id": delivery_id})).one_or_none()
    if row is None:
        return None
    cipher = await field_cipher(session)
    signing = [
        cipher.decrypt(value, table=_TABLE, column=column, row_id=row.webhook_id)
        for column, value in (("secret", row.secret), ("previous_secret", row.previous_secret))
        if value is not None
    ]
    return Target(
        id=row.id, topic=row.topic, payload=row.payload, occurred_at=row.occurred_at, status=row.status,
        webhook_id=row.webhook_id, url=row.url, is_active=row.is_active, secrets=tuple(signing),
    )  # fmt: skip


async def record_attempt(session: AsyncSession, target: Target, attempt: Attempt) -> None:
    """Record how a try went and what follows for the webhook, which is disabled after too long without a success.

    The administrators are told of that. Needs a system session.
    """
    await session.execute(
        _RECORD,
        {
            "id": target.id, "status": attempt.status, "code": attempt.status_code, "error": attempt.error,
            "ms": attempt.response_ms, "retry_in": attempt.retry_in,
        },
    )  # fmt: skip
    if attempt.error is None:
        await session.execute(_SUCCEEDED, {"id": target.webhook_id})
        return
    too_long = await session.scalar(_FAILED, {"id": target.webhook_id, "patience": DISABLE_AFTER})
    reason = attempt.disable
    if reason is None and too_long:
        reason = f"Nothing was accepted for {DISABLE_AFTER.days} days; last: {attempt.error}"
    if reason is not None and await disable(session, target.webhook_id, reason):
        await notify_role(
            session, role="admin", kind="webhook_disabled", title="A webhook was disabled",
            message=f"{reason} Correct the receiver, then enable the webhook and replay what it missed.",
            action_url=f"/v1/webhooks/{target.webhook_id}", reference=("webhook", target.webhook_id),
        )  # fmt: skip


async def replay_deliveries(
    session: AsyncSession, *, webhook_id: UUID, delivery_id: UUID | None = None, since: datetime | None = None,
    most: int = 10_000,
) -> int:  # fmt: skip
    """Send one delivery of the webhook again, or all that were given up since a moment; return how many.

    Each starts with all its attempts before it and bears the same id. Needs a system session. Raises
    `DeliveryNotFound` where the one named has not ended.
    """
    values = {"webhook_id": webhook_id, "delivery_id": delivery_id, "since": since, "most": most}
    found = (await session.execute(_REPLAY, values)).all()
    if delivery_id is not None and not found:
        raise DeliveryNotFound
    return len(found)
