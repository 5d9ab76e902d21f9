"""Refunds: part or all of a payment goes back, never more than it was, with the shares of tax, fee and seller."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid
from db.models import Transaction
from db.violations import refusing
from domain.governance import name_action
from domain.money import ZERO, check_money, round_money
from domain.payments import PaymentDiffers, announce, find_recorded, get_payment, settle


class NotRefundable(Conflict):
    """Only a payment that succeeded and is not refunded in full can be refunded; read it again to see its state."""


class RefundTooHigh(Invalid):
    """This is more than is left of the payment; refund what is left or less."""


_RULES = {
    "ck_transactions_refunded_amount": RefundTooHigh,
    "transactions_refundable": NotRefundable,
    "uq_transactions_tenant_id_gateway_name_gateway_transaction_id": PaymentDiffers,
}


async def refund_payment(
    session: AsyncSession, *, payment_id: UUID, reason: str, amount: Decimal | None = None, paid_out: bool,
    gateway_name: str | None = None, gateway_transaction_id: str | None = None, idempotency_key: str | None = None,
) -> Transaction:  # fmt: skip
    """Refund this much of the payment, all that is left by default, as a transaction of its own that names it.

    `paid_out` says the money went back already, as with cash; otherwise the refund stays pending until the gateway
    reports it, and its sum is taken already. Locks the payment, so refunds at once never exceed it together. Raises
    `NotRefundable`, `RefundTooHigh`, `PaymentDiffers`.
    """
    original = await get_payment(session, payment_id, lock=True)
    known = await find_recorded(
        session, user_id=original.user_id, gateway_name=gateway_name, gateway_transaction_id=gateway_transaction_id,
        idempotency_key=idempotency_key,
    )  # fmt: skip
    if known is not None:
        if known.refund_of != original.id or (amount is not None and known.amount != amount):
            raise PaymentDiffers
        return known
    left = original.amount - original.refunded_amount
    if original.status != "success" or original.transaction_type == "refund" or left <= 0:
        raise NotRefundable
    amount = left if amount is None else check_money(amount, original.currency)
    if not 0 < amount <= left:
        raise RefundTooHigh
    tax, fee = await _share(session, original, amount)
    await name_action(session, "payment_refunded")
    with refusing(_RULES):
        refund: Transaction = await _insert(
            session, original, amount=amount, tax=tax, fee=fee, reason=reason, gateway_name=gateway_name,
            gateway_transaction_id=gateway_transaction_id, idempotency_key=idempotency_key,
        )  # fmt: skip
    if paid_out:
        return await settle(session, refund.id)
    await announce(session, refund)
    return refund


async def _insert(
    session: AsyncSession, original: Transaction, *, amount: Decimal, tax: Decimal, fee: Decimal | None, reason: str,
    gateway_name: str | None, gateway_transaction_id: str | None, idempotency_key: str | None,
) -> Transaction:  # fmt: skip
    made: Transaction | None = await session.scalar(
        insert(Transaction)
        .values(
            tenant_id=original.tenant_id,
            user_id=original.user_id,
            seller_id=original.seller_id,
            amount=amount,
            tax_amount=tax,
            currency=original.currency,
            transaction_type="refund",
            reference_type=original.reference_type,
            reference_id=original.reference_id,
            refund_of=original.id,
            payment_method=original.payment_method,
            # where a gateway took the money, it is the one to give it back
            gateway_name=gateway_name or original.gateway_name,
            gateway_transaction_id=gateway_transaction_id,
            idempotency_key=idempotency_key,
            refund_reason=reason,
            platform_fee_percent=original.platform_fee_percent,
            platform_fee_amount=fee,
            seller_payout_amount=None if fee is None else amount - tax - fee,
        )
        .returning(Transaction)
    )
    if made is None:
        raise NotRefundable
    return made


async def _share(session: AsyncSession, original: Transaction, amount: Decimal) -> tuple[Decimal, Decimal | None]:
    """Return the tax and the fee within this refund.

    They are the payment's, in proportion to all that is refunded so far, less what earlier refunds took: the cents of
    rounding meet again in the last one, so a full refund gives back exactly what was paid.
    """
    earlier = (
        await session.execute(
            select(
                func.coalesce(func.sum(Transaction.tax_amount), ZERO),
                func.coalesce(func.sum(Transaction.platform_fee_amount), ZERO),
            ).where(Transaction.refund_of == original.id, Transaction.status.not_in(("failed", "cancelled")))
        )
    ).one()
    so_far = original.refunded_amount + amount
    tax_so_far = round_money(original.tax_amount * so_far / original.amount, original.currency)
    tax = min(max(tax_so_far - earlier[0], ZERO), amount)
    if original.platform_fee_amount is None:
        return tax, None
    net, net_so_far = original.amount - original.tax_amount, so_far - tax_so_far
    fee_so_far = round_money(original.platform_fee_amount * net_so_far / net, original.currency) if net else ZERO
    return tax, min(max(fee_so_far - earlier[1], ZERO), amount - tax)
