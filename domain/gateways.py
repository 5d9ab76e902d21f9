"""What a payment gateway tells us: callbacks it signed with a secret only the tenant and it know.

They are signed as Standard Webhooks are: HMAC-SHA256 over id, time and body. A callback may come again, late or out of
order; the payment's own state and the gateway's id for it decide whether it changes anything.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden, NotFound
from db.models import PaymentGateway
from domain.identity import bound_tenant
from domain.keys import field_cipher
from domain.webhooks import SECRET_BYTES, SECRET_PREFIX

TOLERANCE: Final = timedelta(minutes=5)
"""How far a callback's time may be from ours, either way."""

EventKind = Literal["payment.succeeded", "payment.failed", "refund.succeeded", "refund.failed"]


class GatewayNotFound(NotFound):
    """There is no such payment gateway; an administrator sets it up first."""


class CallbackNotSigned(Forbidden):
    """This callback is not signed with the gateway's secret, or too long ago; check the secret and the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayEvent:
    """What became of one of our payments or refunds at the gateway."""

    kind: EventKind
    transaction_id: UUID
    gateway_transaction_id: str
    amount: Decimal
    currency: str
    gateway_reference: str | None = None
    reason: str | None = None


async def set_gateway(session: AsyncSession, *, name: str) -> str:
    """Accept this gateway's callbacks with a new secret, which is returned this once; the former one ends at once."""
    secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    tenant_id = await bound_tenant(session)
    row_id: UUID | None = await session.scalar(
        insert(PaymentGateway)
        .values(tenant_id=tenant_id, name=name, secret=b"")
        .on_conflict_do_update(index_elements=("tenant_id", "name"), set_={"updated_at": func.now()})
        .returning(PaymentGateway.id)
    )
    row = await session.get_one(PaymentGateway, (tenant_id, row_id), with_for_update=True)
    cipher = await field_cipher(session)
    row.secret = cipher.encrypt(secret, table="commerce.payment_gateways", column="secret", row_id=row.id)
    row.is_active = True
    await session.flush()
    return secret


async def remove_gateway(session: AsyncSession, *, name: str) -> None:
    """Accept this gateway's callbacks no more; raises `GatewayNotFound`."""
    gone = await session.scalar(delete(PaymentGateway).where(PaymentGateway.name == name).returning(PaymentGateway.id))
    if gone is None:
        raise GatewayNotFound


async def check_callback(
    session: AsyncSession, *, gateway: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> None:
    """Raise `CallbackNotSigned` unless the gateway signed this body now; one nobody set up is answered the same."""
    row = await session.scalar(select(PaymentGateway).where(PaymentGateway.name == gateway, PaymentGateway.is_active))
    if row is None:
        raise CallbackNotSigned
    cipher = await field_cipher(session)
    secret = cipher.decrypt(row.secret, table="commerce.payment_gateways", column="secret", row_id=row.id)
    check_signature(secret, headers=headers, body=body, now=now)


def check_signature(secret: str, *, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise `CallbackNotSigned` unless one of the header's signatures is ours and the time is near."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12 and message_id):
        raise CallbackNotSigned
    if abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
        raise CallbackNotSigned
    expected = sign(secret, message_id=message_id, stamp=int(stamp), body=body).encode()
    given = headers.get("webhook-signature", "").split(" ")[:10]
    if not any(hmac.compare_digest(expected, one.encode()) for one in given):
        raise CallbackNotSigned


def sign(secret: str, *, message_id: str, stamp: int, body: bytes) -> str:
    """Return the signature a gateway sends: `v1,` and base64; `stamp` is in seconds since 1970."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise CallbackNotSigned from error
    signed = f"{message_id}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
