"""What follows from a payment: a seat, a membership or an order; and what follows when it fails or goes back.

Money that arrived is never lost: where what it was for can't be given any more, the payment is recorded all the same
and a refund of it opened, which an administrator sees.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError, Conflict, Unavailable
from db.models import CoachingSession, Transaction
from db.session import Principal
from domain import learning, orders, payments, registrations, subscriptions
from domain.checkout import enroll_payer
from domain.comms import publish
from domain.gateways import GatewayEvent
from domain.payments import OPEN, PaymentDiffers, get_payment, record_payment, settle
from domain.refunds import refund_payment
from domain.turns import run_in_turn


class SessionPaidTooLate(Conflict):
    """This session was cancelled before its payment came, so the payment goes back."""


async def require_session_held(session: AsyncSession, payment: Transaction) -> None:
    """Raise `SessionPaidTooLate` where the session was cancelled; that it is paid, the store itself notes on it."""
    if (
        await session.scalar(select(CoachingSession.status).where(CoachingSession.id == payment.reference_id))
        == "cancelled"
    ):
        raise SessionPaidTooLate


FULFILMENTS: Final[Mapping[str, Callable[[AsyncSession, Transaction], Awaitable[object]]]] = {
    "program": enroll_payer,
    "plan": subscriptions.apply_plan_payment,
    "subscription": subscriptions.apply_renewal_payment,
    "order": orders.mark_paid,
    "event": registrations.confirm_payment,
    "coaching_session": require_session_held,
}
"""What a payment of each reference type gives; other types are told of by the message `payment.success` alone."""


class FulfilmentRefused(Conflict):
    """What was paid for can't be given any more, so the payment goes back."""


async def complete_payment(
    principal: Principal, *, payment_id: UUID, amount: Decimal, currency: str, gateway_name: str,
    gateway_transaction_id: str, gateway_reference: str | None = None,
) -> Transaction:  # fmt: skip
    """Record that the money of this payment or refund moved, and give what it was for, all or nothing (001 T1, W1).

    SERIALIZABLE and tried again where writes meet. The same report again changes nothing. A payment that was given up
    before its money came is recorded anew. Raises `PaymentNotFound`, `PaymentDiffers`.
    """

    async def work(session: AsyncSession, *, give: bool = True) -> Transaction:
        payment = await get_payment(session, payment_id, lock=True)
        if (payment.amount, payment.currency) != (amount, currency):
            raise PaymentDiffers
        if payment.status in {"success", "refunded"}:
            if (payment.gateway_name, payment.gateway_transaction_id) != (gateway_name, gateway_transaction_id):
                raise PaymentDiffers
            return payment
        if payment.status not in OPEN:
            payment = await _record_anew(session, payment, gateway_name, gateway_transaction_id)
            if payment.status != "pending":
                return payment
        payment = await settle(
            session, payment.id, gateway_name=gateway_name, gateway_transaction_id=gateway_transaction_id,
            gateway_reference=gateway_reference,
        )  # fmt: skip
        if payment.transaction_type == "refund":
            await undo(session, payment)
        elif give:
            await _fulfil(session, payment)
        else:
            refund = await refund_payment(session, payment_id=payment.id, reason="not delivered", paid_out=False)
            told = {"transaction_id": str(payment.id), "refund_id": str(refund.id), "user_id": str(payment.user_id)}
            await publish(session, "payment.unfulfilled", told, key=f"payment:{payment.id}")
        return payment

    system = principal.as_system()
    try:
        return await run_in_turn(system, work)
    except FulfilmentRefused:
        return await run_in_turn(system, lambda session: work(session, give=False))


async def _record_anew(
    session: AsyncSession, given_up: Transaction, gateway_name: str, gateway_transaction_id: str
) -> Transaction:
    """Return a payment in place of one that failed or was given up, made once for each id of the gateway."""
    if given_up.transaction_type == "refund":
        raise PaymentDiffers
    return await record_payment(
        session, user_id=given_up.user_id, amount=given_up.amount, currency=given_up.currency,
        transaction_type=given_up.transaction_type, payment_method=given_up.payment_method,
        reference_type=given_up.reference_type, reference_id=given_up.reference_id, tax_amount=given_up.tax_amount,
        seller_id=given_up.seller_id, platform_fee_percent=given_up.platform_fee_percent, gateway_name=gateway_name,
        gateway_transaction_id=gateway_transaction_id,
    )  # fmt: skip


async def _fulfil(session: AsyncSession, payment: Transaction) -> None:
    fulfil = FULFILMENTS.get(payment.reference_type or "")
    if fulfil is None:
        return
    try:
        await fulfil(session, payment)
    except Unavailable:
        raise
    except AppError as error:
        raise FulfilmentRefused(refused=error.code) from error


async def fail_payment(session: AsyncSession, *, payment_id: UUID, reason: str | None = None) -> Transaction:
    """Record that the gateway refused it: an order is cancelled, a renewal makes the membership past due.

    Told again, or told of a payment that ended otherwise, it changes nothing. Raises `PaymentNotFound`.
    """
    payment = await get_payment(session, payment_id, lock=True)
    if payment.status not in OPEN:
        return payment
    payment = await payments.fail_payment(session, payment_id, reason=reason)
    await _release(session, payment)
    return payment


async def cancel_payment(session: AsyncSession, *, payment_id: UUID) -> Transaction:
    """Give up a payment no money has come for; what it held is released. Raises `PaymentStepRefused`."""
    payment = await payments.cancel_payment(session, payment_id)
    await _release(session, payment)
    return payment


async def _release(session: AsyncSession, payment: Transaction) -> None:
    if payment.reference_id is None or payment.transaction_type == "refund":
        return
    if payment.reference_type == "order":
        await orders.cancel(session, payment.reference_id)
    elif payment.reference_type == "subscription":
        await subscriptions.mark_past_due(session, payment.reference_id)
    elif payment.reference_type == "event":
        await registrations.release_unpaid(session, payment)


async def expire_payments(session: AsyncSession, *, now: datetime, limit: int = 200) -> int:
    """Give up pending payments whose time is over and release what they held; return how many."""
    expired = await payments.expire_payments(session, now=now, limit=limit)
    for payment in expired:
        await _release(session, payment)
    return len(expired)


async def give_back(
    session: AsyncSession, *, payment_id: UUID, reason: str, amount: Decimal | None = None, paid_out: bool,
    gateway_name: str | None = None, gateway_transaction_id: str | None = None, idempotency_key: str | None = None,
) -> Transaction:  # fmt: skip
    """Refund a payment, see `refund_payment`, and take back what it gave once all of it is refunded."""
    refund = await refund_payment(
        session, payment_id=payment_id, reason=reason, amount=amount, paid_out=paid_out, gateway_name=gateway_name,
        gateway_transaction_id=gateway_transaction_id, idempotency_key=idempotency_key,
    )  # fmt: skip
    if refund.status == "success":
        await undo(session, refund)
    return refund


async def undo(session: AsyncSession, refund: Transaction) -> None:
    """Take back what a payment gave, where this refund was the last part of it; a partial refund takes nothing.

    A seat is suspended, so that progress stays should the person pay again; an order is marked; a place at an event
    is passed on. A membership goes on until somebody ends it: a refund may be goodwill.
    """
    if refund.refund_of is None:
        return
    original = await get_payment(session, refund.refund_of)
    if original.status != "refunded" or original.reference_id is None:
        return
    if original.reference_type == "program":
        seat = await learning.find_enrollment(session, program_id=original.reference_id, user_id=original.user_id)
        if seat is not None and seat.status == "active" and seat.transaction_id == original.id:
            await learning.suspend_enrollment(session, seat.id)
    elif original.reference_type == "order":
        order = await orders.get_order(session, original.reference_id, lock=True)
        if order.payment_status == "paid" and order.transaction_id == original.id:
            await orders.mark_refunded(session, order.id)
    elif original.reference_type == "event":
        await registrations.take_back_refunded(session, original)


async def take_event(principal: Principal, event: GatewayEvent, *, gateway: str) -> Transaction:
    """Do what a gateway's callback says; told again, it changes nothing. Raises `PaymentNotFound`, `PaymentDiffers`."""
    if event.kind.endswith(".succeeded"):
        return await complete_payment(
            principal, payment_id=event.transaction_id, amount=event.amount, currency=event.currency,
            gateway_name=gateway, gateway_transaction_id=event.gateway_transaction_id,
            gateway_reference=event.gateway_reference,
        )  # fmt: skip
    return await run_in_turn(
        principal.as_system(),
        lambda session: fail_payment(session, payment_id=event.transaction_id, reason=event.reason),
    )
