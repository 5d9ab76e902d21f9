"""Payment with enrolment (T1): all or nothing, once per gateway id, at the right price, however many arrive at once."""

import asyncio
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import func, select

from core.errors import AppError
from db.models import AuditLog, Coupon, Enrollment, LedgerEntry, Outbox, Program, Transaction
from db.session import Principal, run_serializable, tenant_session
from domain import coupons, identity, learning
from domain.checkout import (
    PriceDiffers,
    ProgramNotSold,
    ProgramOwned,
    Purchase,
    buy_program,
    pay_and_enroll,
    record_purchase,
)
from domain.payments import PaymentDiffers
from tests.factories.commerce import issue_coupon, offer_program
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def pay(organisation: Organisation, program_id: UUID, **given: object) -> Purchase:
    values = {
        "user_id": require_id(organisation.client_a), "program_id": program_id, "amount": Decimal("100.00"),
        "currency": "USD", "payment_method": "mpesa", "gateway_name": "flutterwave", "gateway_transaction_id": "fw-1",
        **given,
    }  # fmt: skip
    return await pay_and_enroll(organisation.system, **values)  # type: ignore[arg-type]  # tests vary one value at a time


async def count(principal: Principal, table: type) -> int:
    async with tenant_session(principal) as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def test_payment_seat_ledger_audit_and_message_come_together(organisation: Organisation) -> None:
    program_id = await offer_program(organisation)
    bought = await pay(organisation, program_id)
    assert (bought.payment.status, bought.payment.amount) == ("success", Decimal("100.00"))
    assert bought.payment.processed_at is not None
    assert (bought.enrollment.status, bought.enrollment.transaction_id) == ("active", bought.payment.id)
    async with tenant_session(organisation.system) as session:
        lines = await session.execute(select(LedgerEntry.account, LedgerEntry.amount, LedgerEntry.currency))
        assert sorted(lines.tuples()) == [("cash", Decimal("100.00"), "USD"), ("revenue", Decimal("-100.00"), "USD")]
        program = await session.get_one(Program, (organisation.tenant_id, program_id))
        assert program.enrollment_count == 1
        audited = set(await session.scalars(select(AuditLog.entity_type).where(AuditLog.action == "payment_processed")))
        assert audited >= {"transaction", "ledger_entry", "enrollment"}
        topics = set(await session.scalars(select(Outbox.topic)))
        assert topics >= {"payment.success", "enrollment_created"}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"amount": Decimal("99.99")}, PriceDiffers),
        ({"amount": Decimal("100.01")}, PriceDiffers),
        ({"currency": "KES"}, PriceDiffers),
        ({"coupon_code": "none-such"}, coupons.CouponNotFound),
    ],
)
async def test_wrong_payment_leaves_nothing(
    organisation: Organisation, given: dict[str, object], error: type[AppError]
) -> None:
    program_id = await offer_program(organisation)
    with pytest.raises(error):
        await pay(organisation, program_id, **given)
    for table in (Transaction, LedgerEntry, Enrollment):
        assert await count(organisation.system, table) == 0


async def test_refused_seat_takes_the_payment_back(organisation: Organisation) -> None:
    draft = await offer_program(organisation, status="draft")
    with pytest.raises(learning.ProgramNotOpen):
        await pay(organisation, draft)
    with pytest.raises(ProgramNotSold):
        await pay(organisation, await offer_program(organisation, None))
    full = await offer_program(organisation, capacity=1)
    await pay(organisation, full, user_id=require_id(organisation.client_b))
    with pytest.raises(learning.ProgramFull):
        await pay(organisation, full, gateway_transaction_id="fw-2")
    assert await count(organisation.system, Transaction) == 1
    assert await count(organisation.system, LedgerEntry) == 2


async def test_same_gateway_id_returns_the_first_result_or_is_refused(organisation: Organisation) -> None:
    program_id, other = await offer_program(organisation), await offer_program(organisation)
    first = await pay(organisation, program_id)
    again = await pay(organisation, program_id)
    assert (again.payment.id, again.payment.processed_at) == (first.payment.id, first.payment.processed_at)
    assert again.enrollment.id == first.enrollment.id
    for given in (
        {"amount": Decimal("50.00")},
        {"currency": "EUR"},
        {"user_id": require_id(organisation.client_b)},
        {"program_id": other},
    ):
        with pytest.raises(PaymentDiffers):
            await pay(organisation, **{"program_id": program_id, **given})  # type: ignore[arg-type]  # one at a time
    assert await count(organisation.system, Transaction) == 1
    with pytest.raises(ProgramOwned):
        await pay(organisation, program_id, gateway_transaction_id="fw-3")


async def test_fifty_repeats_of_one_gateway_id_make_one_payment(organisation: Organisation) -> None:
    program_id = await offer_program(organisation)
    results = await asyncio.gather(*(pay(organisation, program_id) for _ in range(50)))
    assert len({result.payment.id for result in results}) == 1
    assert len({result.enrollment.id for result in results}) == 1
    assert await count(organisation.system, Transaction) == 1
    assert await count(organisation.system, LedgerEntry) == 2
    assert await count(organisation.system, Enrollment) == 1


async def test_fifty_people_pay_at_once(organisation: Organisation) -> None:
    program_id = await offer_program(organisation)
    async with tenant_session(organisation.system) as session:
        people = [
            await identity.create_user(session, email=f"p{i}@{organisation.slug}.example", full_name="P", role="client")
            for i in range(50)
        ]
    results = await asyncio.gather(
        *(pay(organisation, program_id, user_id=p.id, gateway_transaction_id=f"fw-{p.id}") for p in people)
    )
    assert len({result.payment.id for result in results}) == 50
    assert await count(organisation.system, LedgerEntry) == 100
    async with tenant_session(organisation.system) as session:
        program = await session.get_one(Program, (organisation.tenant_id, program_id))
        assert program.enrollment_count == 50
        assert await session.scalar(select(func.sum(LedgerEntry.amount)).where(LedgerEntry.account == "cash")) == 5000
        assert await session.scalar(select(func.sum(LedgerEntry.amount))) == 0


async def test_coupon_lowers_the_price_and_shows_in_the_ledger(organisation: Organisation) -> None:
    program_id = await offer_program(organisation, "99.99")
    coupon_id = await issue_coupon(organisation, value="15")
    with pytest.raises(PriceDiffers):
        await pay(organisation, program_id, amount=Decimal("99.99"), coupon_code="spring")
    bought = await pay(organisation, program_id, amount=Decimal("84.99"), coupon_code=" spring ")  # 14.9985 off
    async with tenant_session(organisation.system) as session:
        assert (await session.get_one(Coupon, (organisation.tenant_id, coupon_id))).current_uses == 1
        lines = await session.execute(
            select(LedgerEntry.account, LedgerEntry.amount).where(LedgerEntry.transaction_id == bought.payment.id)
        )
        assert dict(lines.tuples().all()) == {
            "cash": Decimal("84.99"), "revenue": Decimal("-99.99"), "discounts": Decimal("15.00"),
        }  # fmt: skip


async def test_purchase_opens_a_payment_and_nothing_left_to_pay_enrols_at_once(organisation: Organisation) -> None:
    program_id = await offer_program(organisation)
    await issue_coupon(organisation, code="GIFT", value="100")
    a, b = require_id(organisation.client_a), require_id(organisation.client_b)
    async with tenant_session(organisation.system) as session:
        opened = await buy_program(
            session, program_id=program_id, user_id=a, payment_method="mpesa", idempotency_key="k"
        )
        again = await buy_program(
            session, program_id=program_id, user_id=a, payment_method="mpesa", idempotency_key="k"
        )
        assert (opened.id, opened.status, opened.processed_at) == (again.id, "pending", None)
        assert await learning.find_enrollment(session, program_id=program_id, user_id=a) is None
        given = await buy_program(session, program_id=program_id, user_id=b, payment_method="mpesa", coupon_code="gift")
        assert (given.status, given.amount) == ("success", Decimal(0))
        seat = await learning.find_enrollment(session, program_id=program_id, user_id=b)
        assert seat is not None
        assert seat.status == "active"
    with pytest.raises(PaymentDiffers):
        async with tenant_session(organisation.system) as session:
            await buy_program(
                session, program_id=await offer_program(organisation), user_id=a, payment_method="mpesa",
                idempotency_key="k",
            )  # fmt: skip


async def test_payments_of_several_processes_meet_and_all_get_through(organisation: Organisation) -> None:
    program_id = await offer_program(organisation)
    async with tenant_session(organisation.system) as session:
        people = [
            await identity.create_user(session, email=f"p{i}@{organisation.slug}.example", full_name="P", role="client")
            for i in range(16)
        ]

    async def pay_elsewhere(person: UUID) -> Purchase:
        """Pay as another process would, which shares no turns with the others."""
        work = partial(
            record_purchase, user_id=person, program_id=program_id, amount=Decimal("100.00"), currency="USD",
            payment_method="mpesa", gateway_name="flutterwave", gateway_transaction_id=f"fw-{person}",
        )  # fmt: skip
        return await run_serializable(organisation.system, work)

    # four processes, each with one payment at a time under way, and each payment reported twice
    gate = asyncio.Semaphore(4)

    async def take(person: UUID) -> UUID:
        async with gate:
            return (await pay_elsewhere(person)).payment.id

    ids = [person.id for person in people] * 2
    assert len(set(await asyncio.gather(*(take(person) for person in ids)))) == 16
    assert await count(organisation.system, Transaction) == 16
    assert await count(organisation.system, LedgerEntry) == 32
    async with tenant_session(organisation.system) as session:
        assert (await session.get_one(Program, (organisation.tenant_id, program_id))).enrollment_count == 16
