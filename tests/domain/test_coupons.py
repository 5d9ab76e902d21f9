"""Coupons: exact discounts, for what they are meant for, and never used more often than allowed."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from core.errors import AppError
from db.models import Coupon, CouponRedemption
from db.session import tenant_session
from domain import coupons, identity, payments
from tests.factories.commerce import issue_coupon
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

NOW = datetime.now(UTC)
ITEM = uuid4()


async def quote(organisation: Organisation, **given: Any) -> coupons.Quote:
    values = {
        "code": "SPRING", "user_id": require_id(organisation.client_a), "amount": Decimal("100.00"), "currency": "USD",
        "transaction_type": "course", **given,
    }  # fmt: skip
    async with tenant_session(organisation.system) as session:
        return await coupons.quote(session, **values)


@pytest.mark.parametrize(
    ("value", "amount", "currency", "discount"),
    [
        ("10", "100.00", "USD", "10.00"),
        ("15", "0.10", "USD", "0.02"),  # 0.015 rounds up
        ("33.33", "9.99", "USD", "3.33"),
        ("12.5", "0.04", "USD", "0.01"),  # 0.005 rounds up
        ("50", "101.00", "JPY", "51.00"),  # no sen: 50.5 rounds up
        ("100", "19.99", "USD", "19.99"),
        ("0", "19.99", "USD", "0.00"),
    ],
)
async def test_percentages_round_half_up_to_the_currency_s_unit(
    organisation: Organisation, value: str, amount: str, currency: str, discount: str
) -> None:
    await issue_coupon(organisation, value=value)
    quoted = await quote(organisation, amount=Decimal(amount), currency=currency)
    assert quoted.discount_amount == Decimal(discount)
    assert quoted.final_amount == Decimal(amount) - Decimal(discount)


async def test_fixed_amount_never_exceeds_the_price(organisation: Organisation) -> None:
    await issue_coupon(organisation, value="25", discount_type="fixed_amount", currency="USD")
    assert (await quote(organisation)).final_amount == Decimal("75.00")
    assert (await quote(organisation, amount=Decimal("20.00"))).final_amount == 0
    with pytest.raises(coupons.CouponDoesNotApply):
        await quote(organisation, currency="EUR")


@pytest.mark.parametrize(
    ("coupon", "given", "error"),
    [
        ({}, {"code": "AUTUMN"}, coupons.CouponNotFound),
        ({"is_active": False}, {}, coupons.CouponNotFound),
        ({"valid_from": NOW + timedelta(days=1)}, {}, coupons.CouponNotValidNow),
        (
            {"valid_from": NOW - timedelta(days=2), "valid_until": NOW - timedelta(days=1)},
            {},
            coupons.CouponNotValidNow,
        ),
        ({"applies_to": "event"}, {}, coupons.CouponDoesNotApply),
        ({}, {"transaction_type": "donation"}, coupons.CouponDoesNotApply),
        ({"applicable_tiers": ["thrive"]}, {"tier": "build"}, coupons.CouponDoesNotApply),
        ({"applicable_items": [str(ITEM)]}, {"items": [uuid4()]}, coupons.CouponDoesNotApply),
    ],
)
async def test_coupon_that_does_not_fit_says_why(
    organisation: Organisation, coupon: dict[str, Any], given: dict[str, Any], error: type[AppError]
) -> None:
    await issue_coupon(organisation, **coupon)
    with pytest.raises(error):
        await quote(organisation, **given)


async def test_coupon_of_its_item_and_tier_fits(organisation: Organisation) -> None:
    await issue_coupon(organisation, applicable_items=[str(ITEM)], applicable_tiers=["thrive"])
    assert (await quote(organisation, items=[uuid4(), ITEM], tier="thrive")).discount_amount == 10


async def use(organisation: Organisation, user_id: UUID) -> UUID:
    async with tenant_session(organisation.system) as session:
        quoted = await coupons.quote(
            session, code="SPRING", user_id=user_id, amount=Decimal("100.00"), currency="USD", transaction_type="course"
        )
        payment = await payments.record_payment(
            session, user_id=user_id, amount=quoted.final_amount, currency="USD", transaction_type="course",
            payment_method="mpesa", quoted=quoted,
        )  # fmt: skip
        return payment.id


async def count_uses(organisation: Organisation) -> tuple[int, int]:
    async with tenant_session(organisation.system) as session:
        kept = await session.scalar(select(Coupon.current_uses))
        rows = await session.scalars(select(CouponRedemption.id).where(CouponRedemption.released_at.is_(None)))
        return kept or 0, len(rows.all())


async def test_fifty_at_once_use_a_coupon_of_ten_exactly_ten_times(organisation: Organisation) -> None:
    await issue_coupon(organisation, max_uses=10)
    async with tenant_session(organisation.system) as session:
        people = [
            await identity.create_user(session, email=f"p{i}@{organisation.slug}.example", full_name="P", role="client")
            for i in range(50)
        ]
    outcomes = await asyncio.gather(*(use(organisation, person.id) for person in people), return_exceptions=True)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, UUID)]
    assert len(refused) == 40
    assert {type(refusal) for refusal in refused} == {coupons.CouponUsedUp}
    assert await count_uses(organisation) == (10, 10)


async def test_one_person_at_once_uses_it_as_often_as_one_may(organisation: Organisation) -> None:
    await issue_coupon(organisation, max_uses_per_user=2)
    person = require_id(organisation.client_a)
    outcomes = await asyncio.gather(*(use(organisation, person) for _ in range(20)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, UUID)]
    assert len(refused) == 18
    assert {type(refusal) for refusal in refused} == {coupons.CouponUsedByPerson}
    assert await count_uses(organisation) == (2, 2)
    await use(organisation, require_id(organisation.client_b))


async def test_failed_and_given_up_payments_free_their_coupon(organisation: Organisation) -> None:
    await issue_coupon(organisation, max_uses=1)
    person = require_id(organisation.client_a)
    failed = await use(organisation, person)
    with pytest.raises(coupons.CouponUsedUp):
        await use(organisation, require_id(organisation.client_b))
    async with tenant_session(organisation.system) as session:
        await payments.fail_payment(session, failed, reason="declined")
    given_up = await use(organisation, person)
    async with tenant_session(organisation.system) as session:
        await payments.cancel_payment(session, given_up)
    await use(organisation, person)
    assert await count_uses(organisation) == (1, 1)


async def test_limit_can_not_fall_below_what_was_used(organisation: Organisation) -> None:
    coupon_id = await issue_coupon(organisation, max_uses=5)
    for person in (organisation.client_a, organisation.client_b):
        await use(organisation, require_id(person))
    with pytest.raises(Exception, match="ck_coupons_current_uses"):
        async with tenant_session(organisation.admin) as session:
            await session.execute(update(Coupon).where(Coupon.id == coupon_id).values(max_uses=1))
