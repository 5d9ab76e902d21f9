"""Payments and refunds: recorded once, moved along their states, posted to the ledger when money has moved.

Every function here takes a session bound as the pipelines: the caller has checked who may do it. The database guards
the states, the sums and the ledger; a payment found again by its gateway's id or its idempotency key is the same one.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, NotFound
from db.models import Transaction
from db.violations import refusing
from domain import ledger
from domain.comms import publish
from domain.coupons import Quote, find_discount, redeem
from domain.governance import name_action
from domain.identity import bound_tenant
from domain.money import ZERO, check_money, round_money

OPEN_FOR: Final = timedelta(hours=24)
"""How long a payment may stay pending before it is given up and what it held is released."""

OPEN: Final = ("pending", "processing")


class PaymentNotFound(NotFound):
    """There is no such payment that you may see; list yours to see their ids."""


class PaymentDiffers(Conflict):
    """A payment with this id is recorded already with another amount, payer or purpose; check what was sent."""


class PaymentStepRefused(Conflict):
    """A payment in this state can't take this step; read it again to see how far it got."""


_RULES = {"transactions_step": PaymentStepRefused}


async def get_payment(session: AsyncSession, payment_id: UUID, *, lock: bool = False) -> Transaction:
    """Return the payment; `lock` keeps others from changing it until the transaction ends. Raises `PaymentNotFound`."""
    query = select(Transaction).where(Transaction.id == payment_id).execution_options(populate_existing=True)
    payment: Transaction | None = await session.scalar(query.with_for_update() if lock else query)
    if payment is None:
        raise PaymentNotFound
    return payment


async def find_recorded(
    session: AsyncSession, *, user_id: UUID, gateway_name: str | None = None, gateway_transaction_id: str | None = None,
    idempotency_key: str | None = None,
) -> Transaction | None:  # fmt: skip
    """Return the payment recorded under this gateway's id or this person's key, or None."""
    if gateway_transaction_id is not None:
        same: Any = (Transaction.gateway_name == gateway_name) & (
            Transaction.gateway_transaction_id == gateway_transaction_id
        )
    elif idempotency_key is not None:
        same = (Transaction.user_id == user_id) & (Transaction.idempotency_key == idempotency_key)
    else:
        return None
    found: Transaction | None = await session.scalar(
        select(Transaction).where(same).execution_options(populate_existing=True)
    )
    return found


async def find_repeated(session: AsyncSession, *, user_id: UUID, idempotency_key: str | None) -> Transaction | None:
    """Return what this person's key made before, or None; the same key waits until this transaction ends."""
    if idempotency_key is None:
        return None
    await session.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"payment:{user_id}:{idempotency_key}", 0)))
    )
    return await find_recorded(session, user_id=user_id, idempotency_key=idempotency_key)


async def record_payment(
    session: AsyncSession, *, user_id: UUID, amount: Decimal, currency: str, transaction_type: str, payment_method: str,
    status: Literal["pending", "success"] = "pending", reference_type: str | None = None,
    reference_id: UUID | None = None, tax_amount: Decimal = ZERO, seller_id: UUID | None = None,
    platform_fee_percent: Decimal | None = None, gateway_name: str | None = None,
    gateway_transaction_id: str | None = None, gateway_reference: str | None = None,
    idempotency_key: str | None = None, quoted: Quote | None = None,
) -> Transaction:  # fmt: skip
    """Record a payment, or return the one recorded under the same gateway id or idempotency key.

    `amount` is what is paid, after the discount of `quoted`, whose coupon is used with it. A `success` is posted to
    the ledger at once; a `pending` one is given up after `OPEN_FOR`. The seller's share is what the fee leaves. Raises
    `PaymentDiffers`, `AmountUnusable`, `CurrencyUnknown`, `CouponUsedUp`, `CouponUsedByPerson`.
    """
    amount, tax_amount = check_money(amount, currency), check_money(tax_amount, currency)
    fee = (
        None
        if platform_fee_percent is None
        else round_money((amount - tax_amount) * platform_fee_percent / 100, currency)
    )
    values = {
        "user_id": user_id, "amount": amount, "currency": currency, "transaction_type": transaction_type,
        "reference_type": reference_type, "reference_id": reference_id, "seller_id": seller_id,
    }  # fmt: skip
    made: Transaction | None = await session.scalar(
        insert(Transaction)
        .values(
            **values, tenant_id=await bound_tenant(session), payment_method=payment_method, tax_amount=tax_amount,
            platform_fee_percent=platform_fee_percent, platform_fee_amount=fee,
            seller_payout_amount=None if fee is None else amount - tax_amount - fee, gateway_name=gateway_name,
            gateway_transaction_id=gateway_transaction_id, gateway_reference=gateway_reference,
            idempotency_key=idempotency_key, expires_at=datetime.now(UTC) + OPEN_FOR if status == "pending" else None,
        )
        .on_conflict_do_nothing()
        .returning(Transaction)
    )  # fmt: skip
    if made is None:
        known = await find_recorded(
            session, user_id=user_id, gateway_name=gateway_name, gateway_transaction_id=gateway_transaction_id,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        if known is None or any(getattr(known, name) != value for name, value in values.items()):
            raise PaymentDiffers
        return known
    if quoted is not None:
        await redeem(session, quoted=quoted, payment=made)
    return made if status == "pending" else await settle(session, made.id)


async def settle(
    session: AsyncSession, payment_id: UUID, *, gateway_name: str | None = None,
    gateway_transaction_id: str | None = None, gateway_reference: str | None = None,
) -> Transaction:  # fmt: skip
    """Record that the money of an open payment has arrived: status, ledger and a message to whom it concerns.

    Raises `PaymentStepRefused` where it is not open any more, `PaymentDiffers` where the gateway's id is another's.
    """
    values: dict[str, Any] = {"status": "success"}
    if gateway_transaction_id is not None:
        values |= {"gateway_name": gateway_name, "gateway_transaction_id": gateway_transaction_id}
    if gateway_reference is not None:
        values["gateway_reference"] = gateway_reference
    await name_action(session, "payment_processed")
    payment = await _step(session, payment_id, values)
    if payment.transaction_type == "refund":
        await ledger.post_refund(session, payment)
    else:
        await ledger.post_payment(session, payment, discount=await find_discount(session, payment.id))
    await announce(session, payment)
    return payment


async def fail_payment(session: AsyncSession, payment_id: UUID, *, reason: str | None = None) -> Transaction:
    """Record that the gateway refused it; a coupon it held is free again. Raises `PaymentStepRefused`."""
    return await _end(session, payment_id, {"status": "failed", "failure_reason": reason})


async def cancel_payment(session: AsyncSession, payment_id: UUID) -> Transaction:
    """Give up a payment before any money moved; a coupon it held is free again. Raises `PaymentStepRefused`."""
    return await _end(session, payment_id, {"status": "cancelled"})


async def _end(session: AsyncSession, payment_id: UUID, values: dict[str, Any]) -> Transaction:
    payment = await _step(session, payment_id, values)
    await announce(session, payment)
    return payment


async def _step(session: AsyncSession, payment_id: UUID, values: dict[str, Any]) -> Transaction:
    with refusing(_RULES | {"uq_transactions_tenant_id_gateway_name_gateway_transaction_id": PaymentDiffers}):
        payment: Transaction | None = await session.scalar(
            update(Transaction)
            .where(Transaction.id == payment_id, Transaction.status.in_(OPEN))
            .values(**values)
            .returning(Transaction)
            .execution_options(populate_existing=True)
        )
    if payment is None:
        await get_payment(session, payment_id)
        raise PaymentStepRefused
    return payment


async def announce(session: AsyncSession, payment: Transaction) -> None:
    """Tell whom it concerns how far a payment or refund got: `payment.success`, `refund.pending` and so on."""
    kind = "refund" if payment.transaction_type == "refund" else "payment"
    await publish(
        session, f"{kind}.{payment.status}",
        {
            "transaction_id": str(payment.id), "user_id": str(payment.user_id), "type": payment.transaction_type,
            "reference_type": payment.reference_type, "currency": payment.currency, "amount": str(payment.amount),
            "reference_id": str(payment.reference_id) if payment.reference_id else None,
        },
        key=f"payment:{payment.refund_of or payment.id}",
    )  # fmt: skip


async def expire_payments(session: AsyncSession, *, now: datetime, limit: int = 200) -> list[Transaction]:
    """Give up pending payments whose time is over, at most `limit`, and return them; several may run at once."""
    due = select(Transaction.id).where(Transaction.status == "pending", Transaction.expires_at <= now)
    ids = list(
        await session.scalars(due.order_by(Transaction.expires_at).limit(limit).with_for_update(skip_locked=True))
    )
    return [await cancel_payment(session, payment_id) for payment_id in ids]
