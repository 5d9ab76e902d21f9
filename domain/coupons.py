"""Coupons: what a code takes off a price, and using it no more often than allowed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import Coupon, CouponRedemption, Transaction
from db.violations import refusing
from domain.identity import bound_tenant
from domain.money import ZERO, round_money


class CouponNotFound(NotFound):
    """There is no such coupon that can be used; check its code."""


class CouponNotValidNow(Invalid):
    """This coupon is not valid at this time; use another one or none."""


class CouponDoesNotApply(Invalid):
    """This coupon is for something else; use another one or none."""


class CouponUsedUp(Conflict):
    """This coupon was used as often as it may be; use another one or none."""


class CouponUsedByPerson(Conflict):
    """You have used this coupon as often as one person may; use another one or none."""


class CouponInUse(Conflict):
    """This coupon was used, so it can't be deleted; switch it off instead."""


class CouponLimitsRefused(Invalid):
    """These limits do not fit the coupon: it ends after it begins, and allows no fewer uses than it had."""


_RULES = {"ck_coupons_current_uses": CouponUsedUp, "coupon_redemptions_per_user": CouponUsedByPerson}
_LIMITS = {"ck_coupons_current_uses": CouponLimitsRefused, "ck_coupons_validity": CouponLimitsRefused}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What is to pay with a coupon: `original_amount - discount_amount = final_amount`."""

    coupon_id: UUID
    original_amount: Decimal
    discount_amount: Decimal
    final_amount: Decimal
    currency: str


def normalise_code(code: str) -> str:
    """Return the code as it is stored, however it was typed."""
    return code.strip().upper()


async def issue_coupon(session: AsyncSession, *, given: Mapping[str, Any], created_by: UUID | None) -> Coupon:
    """Add a coupon with these columns; raises `AlreadyStored` where the code is taken, `CouponLimitsRefused`."""
    coupon = Coupon(tenant_id=await bound_tenant(session), created_by=created_by, **given)
    session.add(coupon)
    with refusing(_LIMITS):
        await session.flush()
    return coupon


async def get_coupon(session: AsyncSession, coupon_id: UUID) -> Coupon:
    """Return the coupon, switched on or off; raises `CouponNotFound`."""
    coupon: Coupon | None = await session.scalar(select(Coupon).where(Coupon.id == coupon_id))
    if coupon is None:
        raise CouponNotFound
    return coupon


async def change_coupon(session: AsyncSession, coupon_id: UUID, *, changes: Mapping[str, Any]) -> Coupon:
    """Change these columns; raises `CouponNotFound`, `CouponLimitsRefused`."""
    with refusing(_LIMITS):
        coupon: Coupon | None = await session.scalar(
            update(Coupon)
            .where(Coupon.id == coupon_id)
            .values(**changes, updated_at=func.now())
            .returning(Coupon)
            .execution_options(populate_existing=True)
        )
    if coupon is None:
        raise CouponNotFound
    return coupon


async def delete_coupon(session: AsyncSession, coupon_id: UUID) -> None:
    """Delete a coupon nobody ever used; raises `CouponNotFound`, `CouponInUse`."""
    with refusing({"fk_coupon_redemptions_tenant_id_coupon_id": CouponInUse}):
        gone = await session.scalar(delete(Coupon).where(Coupon.id == coupon_id).returning(Coupon.id))
    if gone is None:
        raise CouponNotFound


async def get_coupon_by_code(session: AsyncSession, code: str) -> Coupon:
    """Return the coupon of this code that is switched on; raises `CouponNotFound`."""
    coupon: Coupon | None = await session.scalar(
        select(Coupon).where(Coupon.code == normalise_code(code), Coupon.is_active)
    )
    if coupon is None:
        raise CouponNotFound
    return coupon


async def quote(
    session: AsyncSession, *, code: str, user_id: UUID, amount: Decimal, currency: str, transaction_type: str,
    tier: str | None = None, items: Collection[UUID] = (), eligible: Decimal | None = None,
) -> Quote:  # fmt: skip
    """Return what is to pay with this code; nothing is used up yet.

    `items` are the ids of what is bought; `eligible` is the part of the amount the coupon's own items make, where that
    is not all. The discount is rounded to the currency's unit, halves up, and never exceeds that part. Raises
    `CouponNotFound`, `CouponNotValidNow`, `CouponDoesNotApply`, `CouponUsedUp`, `CouponUsedByPerson`.
    """
    coupon = await get_coupon_by_code(session, code)
    _check_validity(coupon, datetime.now(UTC))
    _check_scope(coupon, transaction_type=transaction_type, currency=currency, tier=tier, items=items)
    if coupon.max_uses is not None and coupon.current_uses >= coupon.max_uses:
        raise CouponUsedUp
    if coupon.max_uses_per_user is not None:
        used = await session.scalar(
            select(func.count()).where(
                CouponRedemption.coupon_id == coupon.id,
                CouponRedemption.user_id == user_id,
                CouponRedemption.released_at.is_(None),
            )
        )
        if (used or 0) >= coupon.max_uses_per_user:
            raise CouponUsedByPerson
    discount = _discount(coupon, amount if eligible is None else eligible, currency)
    return Quote(
        coupon_id=coupon.id, original_amount=amount, discount_amount=discount, final_amount=amount - discount,
        currency=currency,
    )  # fmt: skip


def _check_validity(coupon: Coupon, now: datetime) -> None:
    if now < coupon.valid_from or (coupon.valid_until is not None and now >= coupon.valid_until):
        raise CouponNotValidNow


def _check_scope(
    coupon: Coupon, *, transaction_type: str, currency: str, tier: str | None, items: Collection[UUID]
) -> None:
    if transaction_type in {"donation", "refund"} or coupon.applies_to not in {"all", transaction_type}:
        raise CouponDoesNotApply
    if coupon.discount_type == "fixed_amount" and coupon.currency != currency:
        raise CouponDoesNotApply
    if coupon.applicable_tiers is not None and tier is not None and tier not in coupon.applicable_tiers:
        raise CouponDoesNotApply
    if coupon.applicable_items is not None and not {str(item) for item in items} & set(coupon.applicable_items):
        raise CouponDoesNotApply


def _discount(coupon: Coupon, amount: Decimal, currency: str) -> Decimal:
    if coupon.discount_type == "percentage":
        return round_money(amount * coupon.discount_value / 100, currency)
    return min(coupon.discount_value, amount)


async def redeem(session: AsyncSession, *, quoted: Quote, payment: Transaction) -> None:
    """Use the coupon for this payment; it is given back by trigger when the payment fails or is cancelled.

    Locks the coupon until the transaction ends, so of many at once no more than allowed get through. Raises
    `CouponUsedUp`, `CouponUsedByPerson`.
    """
    with refusing(_RULES):
        await session.execute(
            insert(CouponRedemption).values(
                tenant_id=payment.tenant_id,
                coupon_id=quoted.coupon_id,
                user_id=payment.user_id,
                transaction_id=payment.id,
                discount_amount=quoted.discount_amount,
                original_amount=quoted.original_amount,
                final_amount=quoted.final_amount,
            )
        )


async def find_discount(session: AsyncSession, payment_id: UUID) -> Decimal:
    """Return what a coupon took off this payment, zero where none did."""
    found: Decimal | None = await session.scalar(
        select(CouponRedemption.discount_amount).where(
            CouponRedemption.transaction_id == payment_id, CouponRedemption.released_at.is_(None)
        )
    )
    return found if found is not None else ZERO
