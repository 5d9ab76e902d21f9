"""Buying a program: what it costs, the payment that is opened for it, and payment with enrolment in one piece (T1)."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid
from db.models import Enrollment, Program, Transaction
from db.session import Principal
from domain import coupons, learning
from domain.payments import PaymentDiffers, find_recorded, find_repeated, record_payment, settle
from domain.turns import run_in_turn


class ProgramNotSold(Conflict):
    """This program is not sold on its own; enrol in it directly, or with a membership of its tiers."""


class ProgramOwned(Conflict):
    """This person takes this program already, so there is nothing to pay."""


class PriceDiffers(Invalid):
    """This is not what the program costs; read its price again, and name the coupon if one was used."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A program and what it costs this person; `quoted` where a coupon lowers it."""

    program: Program
    amount: Decimal
    quoted: coupons.Quote | None


@dataclass(frozen=True, slots=True)
class Purchase:
    """A payment that arrived and the seat it gave."""

    payment: Transaction
    enrollment: Enrollment


async def price_program(
    session: AsyncSession, *, program_id: UUID, user_id: UUID, coupon_code: str | None = None
) -> Offer:
    """Return what the program costs this person now.

    Raises `ProgramNotFound`, `ProgramNotOpen`, `ProgramNotSold`, `ProgramOwned`, and what coupons raise.
    """
    program: Program | None = await session.scalar(
        select(Program).where(Program.id == program_id, Program.deleted_at.is_(None))
    )
    if program is None:
        raise learning.ProgramNotFound
    if program.status != "published":
        raise learning.ProgramNotOpen
    if program.pricing_type != "one_time" or program.price_amount is None:
        raise ProgramNotSold
    taken = await learning.find_enrollment(session, program_id=program_id, user_id=user_id)
    if taken is not None and taken.status in {"active", "completed"} and taken.payment_type == "one_time":
        raise ProgramOwned
    if coupon_code is None:
        return Offer(program, program.price_amount, None)
    quoted = await coupons.quote(
        session, code=coupon_code, user_id=user_id, amount=program.price_amount, currency=program.currency,
        transaction_type="course", items=(program_id,),
    )  # fmt: skip
    return Offer(program, quoted.final_amount, quoted)


async def buy_program(
    session: AsyncSession, *, program_id: UUID, user_id: UUID, payment_method: str, coupon_code: str | None = None,
    idempotency_key: str | None = None,
) -> Transaction:  # fmt: skip
    """Open the payment for a program; the gateway's callback completes it. Nothing left to pay enrols at once.

    A seat is not held meanwhile: a payment that finds the program full is refunded. Needs a system session. Raises
    what `price_program` and `enroll` raise, `PaymentDiffers`.
    """
    known = await find_repeated(session, user_id=user_id, idempotency_key=idempotency_key)
    if known is not None:
        if (known.reference_type, known.reference_id) != ("program", program_id):
            raise PaymentDiffers
        return known
    offer = await price_program(session, program_id=program_id, user_id=user_id, coupon_code=coupon_code)
    if offer.program.capacity is not None and offer.program.seats_taken >= offer.program.capacity:
        raise learning.ProgramFull
    payment = await record_payment(
        session, user_id=user_id, amount=offer.amount, currency=offer.program.currency, transaction_type="course",
        payment_method=payment_method, reference_type="program", reference_id=program_id,
        idempotency_key=idempotency_key, quoted=offer.quoted,
    )  # fmt: skip
    if payment.amount > 0:
        return payment
    payment = await settle(session, payment.id)
    await enroll_payer(session, payment)
    return payment


async def enroll_payer(session: AsyncSession, payment: Transaction) -> Enrollment:
    """Give whoever paid for a program their seat; raises what `enroll` raises."""
    if payment.reference_id is None:
        raise learning.ProgramNotFound
    return await learning.enroll(
        session, program_id=payment.reference_id, user_id=payment.user_id, payment_type="one_time",
        transaction_id=payment.id,
    )  # fmt: skip


async def pay_and_enroll(
    principal: Principal, *, user_id: UUID, program_id: UUID, amount: Decimal, currency: str, payment_method: str,
    gateway_name: str, gateway_transaction_id: str, coupon_code: str | None = None,
) -> Purchase:  # fmt: skip
    """Record money that arrived for a program and enrol its payer, in one SERIALIZABLE transaction (seed 001 T1).

    Payment, ledger, seat, audit and message are all there or none; tried again by itself where writes meet. The caller
    has checked who may record payments. Raises what `record_purchase` raises.
    """
    work = partial(
        record_purchase, user_id=user_id, program_id=program_id, amount=amount, currency=currency,
        payment_method=payment_method, gateway_name=gateway_name, gateway_transaction_id=gateway_transaction_id,
        coupon_code=coupon_code,
    )  # fmt: skip
    return await run_in_turn(principal.as_system(), work)


async def record_purchase(
    session: AsyncSession, *, user_id: UUID, program_id: UUID, amount: Decimal, currency: str, payment_method: str,
    gateway_name: str, gateway_transaction_id: str, coupon_code: str | None = None,
) -> Purchase:  # fmt: skip
    """Do what `pay_and_enroll` does, in a SERIALIZABLE session of the caller's.

    The gateway's id is the key: the same payment again returns the first result, also when many arrive at once; with
    another amount, payer or program it raises `PaymentDiffers`. Raises `PriceDiffers` where the amount is not the
    price, and what `price_program` and `enroll` raise.
    """
    known = await find_recorded(
        session, user_id=user_id, gateway_name=gateway_name, gateway_transaction_id=gateway_transaction_id
    )
    if known is not None:
        return await _repeat(session, known, user_id=user_id, program_id=program_id, amount=amount, currency=currency)
    offer = await price_program(session, program_id=program_id, user_id=user_id, coupon_code=coupon_code)
    if (offer.amount, offer.program.currency) != (amount, currency):
        raise PriceDiffers
    payment = await record_payment(
        session, user_id=user_id, amount=amount, currency=currency, transaction_type="course", status="success",
        payment_method=payment_method, reference_type="program", reference_id=program_id,
        gateway_name=gateway_name, gateway_transaction_id=gateway_transaction_id, quoted=offer.quoted,
    )  # fmt: skip
    return Purchase(payment, await enroll_payer(session, payment))


async def _repeat(
    session: AsyncSession, known: Transaction, *, user_id: UUID, program_id: UUID, amount: Decimal, currency: str
) -> Purchase:
    told = user_id, "program", program_id, amount, currency
    if (known.user_id, known.reference_type, known.reference_id, known.amount, known.currency) != told:
        raise PaymentDiffers
    enrollment = await learning.find_enrollment(session, program_id=program_id, user_id=user_id)
    if known.status not in {"success", "refunded"} or enrollment is None:
        raise PaymentDiffers
    return Purchase(known, enrollment)
