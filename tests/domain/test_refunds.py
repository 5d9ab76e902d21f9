"""Refunds: never more than the payment, shares exact to the cent, and what the payment gave is taken back."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from core.errors import AppError
from db.models import LedgerEntry, Transaction
from db.session import tenant_session
from domain import learning
from domain.checkout import buy_program, pay_and_enroll
from domain.fulfilment import complete_payment, fail_payment, give_back
from domain.payments import PaymentDiffers, get_payment
from domain.refunds import NotRefundable, RefundTooHigh
from tests.factories.commerce import offer_program, pay
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def refund(organisation: Organisation, payment_id: UUID, amount: str | None = None, **given: Any) -> Transaction:
    values = {"reason": "unhappy", "paid_out": True, **given}
    async with tenant_session(organisation.system) as session:
        return await give_back(
            session, payment_id=payment_id, amount=None if amount is None else Decimal(amount), **values
        )


async def sum_account(organisation: Organisation, account: str) -> Decimal:
    async with tenant_session(organisation.system) as session:
        query = select(func.coalesce(func.sum(LedgerEntry.amount), 0)).where(LedgerEntry.account == account)
        return Decimal(await session.scalar(query) or 0)


async def test_parts_add_up_to_the_payment_and_then_no_more(organisation: Organisation) -> None:
    payment = await pay(organisation)
    assert (await refund(organisation, payment.id, "30.00")).status == "success"
    for amount in ("70.01", "0.00", "1000000.00"):
        with pytest.raises(RefundTooHigh):
            await refund(organisation, payment.id, amount)
    async with tenant_session(organisation.system) as session:
        assert (await get_payment(session, payment.id)).status == "success"
    rest = await refund(organisation, payment.id)
    assert rest.amount == Decimal("70.00")
    async with tenant_session(organisation.system) as session:
        whole = await get_payment(session, payment.id)
        assert (whole.status, whole.refunded_amount) == ("refunded", Decimal("100.00"))
        assert whole.refunded_at is not None
    with pytest.raises(NotRefundable):
        await refund(organisation, payment.id)
    with pytest.raises(NotRefundable):
        await refund(organisation, rest.id)
    assert await sum_account(organisation, "cash") == 0
    assert await sum_account(organisation, "refunds") == Decimal("100.00")


async def test_open_payment_is_not_refundable(organisation: Organisation) -> None:
    with pytest.raises(NotRefundable):
        await refund(organisation, (await pay(organisation, status="pending")).id)


async def test_fifty_refunds_at_once_never_exceed_the_payment(organisation: Organisation) -> None:
    payment = await pay(organisation)
    outcomes = await asyncio.gather(
        *(refund(organisation, payment.id, "7.00", paid_out=i % 2 == 0) for i in range(50)), return_exceptions=True
    )
    made = [outcome for outcome in outcomes if isinstance(outcome, Transaction)]
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Transaction)]
    assert len(made) == 14  # 98.00 of 100.00
    assert {type(error) for error in refused} == {RefundTooHigh}
    async with tenant_session(organisation.system) as session:
        assert (await get_payment(session, payment.id)).refunded_amount == Decimal("98.00")


async def test_full_refund_fifty_times_at_once_happens_once(organisation: Organisation) -> None:
    payment = await pay(organisation)
    outcomes = await asyncio.gather(*(refund(organisation, payment.id) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(outcome, Transaction) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes if isinstance(outcome, AppError)} == {NotRefundable}


async def test_same_key_refunds_once(organisation: Organisation) -> None:
    payment = await pay(organisation)
    first = await refund(organisation, payment.id, "10.00", idempotency_key="once")
    assert (await refund(organisation, payment.id, "10.00", idempotency_key="once")).id == first.id
    with pytest.raises(PaymentDiffers):
        await refund(organisation, payment.id, "11.00", idempotency_key="once")


@pytest.mark.parametrize("parts", [["33.33", "33.33", "33.34"], ["0.01", "99.98", "0.01"], ["14.29"] * 6 + ["14.26"]])
async def test_shares_of_tax_fee_and_seller_come_back_to_the_cent(organisation: Organisation, parts: list[str]) -> None:
    payment = await pay(
        organisation, tax_amount=Decimal("7.77"), platform_fee_percent=Decimal("12.50"), transaction_type="coaching",
        seller_id=require_id(organisation.coach_a),
    )  # fmt: skip
    assert (payment.platform_fee_amount, payment.seller_payout_amount) == (Decimal("11.53"), Decimal("80.70"))
    for part in parts:
        await refund(organisation, payment.id, part)
    for account in ("cash", "tax", "platform_fees", "seller_payable"):
        assert await sum_account(organisation, account) == 0, account


async def test_pending_refund_holds_its_sum_until_it_fails(organisation: Organisation) -> None:
    payment = await pay(organisation, gateway_name="stripe", gateway_transaction_id="pi_1")
    waiting = await refund(organisation, payment.id, "60.00", paid_out=False)
    assert (waiting.status, waiting.gateway_name) == ("pending", "stripe")
    with pytest.raises(RefundTooHigh):
        await refund(organisation, payment.id, "50.00")
    async with tenant_session(organisation.system) as session:
        await fail_payment(session, payment_id=waiting.id, reason="account closed")
    await refund(organisation, payment.id, "50.00")
    assert await sum_account(organisation, "refunds") == Decimal("50.00")


async def test_full_refund_suspends_the_seat_and_paying_again_opens_it(organisation: Organisation) -> None:
    program_id, person = await offer_program(organisation), require_id(organisation.client_a)

    async def buy(reference: str) -> UUID:
        bought = await pay_and_enroll(
            organisation.system, user_id=person, program_id=program_id, amount=Decimal("100.00"), currency="USD",
            payment_method="mpesa", gateway_name="flutterwave", gateway_transaction_id=reference,
        )  # fmt: skip
        return bought.payment.id

    async def seat() -> str:
        async with tenant_session(organisation.system) as session:
            found = await learning.find_enrollment(session, program_id=program_id, user_id=person)
            assert found is not None
            return found.status

    first = await buy("fw-1")
    await refund(organisation, first, "40.00")
    assert await seat() == "active"
    await refund(organisation, first)
    assert await seat() == "suspended"
    await buy("fw-2")
    assert await seat() == "active"


async def test_money_for_a_full_program_is_recorded_and_goes_back(organisation: Organisation) -> None:
    program_id = await offer_program(organisation, capacity=1)
    opened = []
    for person in (organisation.client_a, organisation.client_b):
        async with tenant_session(organisation.system) as session:
            opened.append(
                await buy_program(session, program_id=program_id, user_id=require_id(person), payment_method="mpesa")
            )

    async def arrive(payment: Transaction, reference: str) -> Transaction:
        return await complete_payment(
            organisation.system, payment_id=payment.id, amount=payment.amount, currency="USD",
            gateway_name="flutterwave", gateway_transaction_id=reference,
        )  # fmt: skip

    seated, late = await arrive(opened[0], "fw-1"), await arrive(opened[1], "fw-2")
    assert (seated.status, late.status) == ("success", "success")
    assert (await arrive(opened[1], "fw-2")).id == late.id
    with pytest.raises(PaymentDiffers):
        await arrive(opened[1], "fw-3")
    async with tenant_session(organisation.system) as session:
        waiting = (await session.scalars(select(Transaction).where(Transaction.refund_of.is_not(None)))).all()
        assert [(row.refund_of, row.status, row.amount) for row in waiting] == [(late.id, "pending", late.amount)]
    back = await arrive(waiting[0], "fw-back")
    assert back.status == "success"
    async with tenant_session(organisation.system) as session:
        assert (await get_payment(session, late.id)).status == "refunded"
        assert (await get_payment(session, seated.id)).status == "success"
    assert await sum_account(organisation, "cash") == Decimal("100.00")


async def test_money_that_came_after_the_payment_was_given_up_still_counts(organisation: Organisation) -> None:
    program_id, person = await offer_program(organisation), require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        opened = await buy_program(session, program_id=program_id, user_id=person, payment_method="mpesa")
        await fail_payment(session, payment_id=opened.id, reason="timed out")
    paid = {
        await complete_payment(
            organisation.system, payment_id=opened.id, amount=opened.amount, currency="USD", gateway_name="mpesa",
            gateway_transaction_id="late",
        )
        for _ in range(2)
    }  # fmt: skip
    assert len({payment.id for payment in paid}) == 1
    assert opened.id not in {payment.id for payment in paid}
    async with tenant_session(organisation.system) as session:
        assert await learning.find_enrollment(session, program_id=program_id, user_id=person) is not None
    assert await sum_account(organisation, "cash") == Decimal("100.00")
