"""Coupons: issued by administrators, tried out by whoever has a code."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, status
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.payments import person_id
from api.schemas.coupons import CouponCheckIn, CouponIn, CouponOut, CouponPatch, QuoteOut
from db.models import Coupon
from domain import coupons
from domain.money import check_money

router = APIRouter(prefix="/v1", tags=["coupons"])

ADMIN: Any = [needs("admin"), needs_role("admin")]


@router.get("/coupons", operation_id="listCoupons", dependencies=ADMIN, responses=list_problem_responses())
async def list_coupons(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    active: Annotated[bool | None, Query(description="only those switched on, or off")] = None,
) -> Page[CouponOut]:
    """List coupons, the newest first."""
    query = select(Coupon) if active is None else select(Coupon).where(Coupon.is_active == active)
    order = (Coupon.created_at, Coupon.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[CouponOut.model_validate(row.Coupon) for row in rows], next_cursor=following)


@router.post(
    "/coupons", operation_id="createCoupon", dependencies=ADMIN, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_coupon(body: CouponIn, principal: PrincipalDep, session: SessionDep) -> CouponOut:
    """Issue a coupon; its code is unique here and may be typed in any case."""
    if body.currency is not None:
        check_money(body.discount_value, body.currency)
    given = body.changes() | {"code": body.code}
    row = await coupons.issue_coupon(session, given=given, created_by=principal.user_id)
    return CouponOut.model_validate(row)


@router.get("/coupons/{coupon_id}", operation_id="getCoupon", dependencies=ADMIN, responses=list_problem_responses(404))
async def get_coupon(coupon_id: UUID, session: SessionDep) -> CouponOut:
    """Read one coupon and how often it was used."""
    return CouponOut.model_validate(await coupons.get_coupon(session, coupon_id))


@router.patch(
    "/coupons/{coupon_id}", operation_id="changeCoupon", dependencies=ADMIN, responses=list_problem_responses(404, 409)
)
async def change_coupon(coupon_id: UUID, body: CouponPatch, session: SessionDep) -> CouponOut:
    """Change a coupon's limits or scope, or switch it off."""
    return CouponOut.model_validate(await coupons.change_coupon(session, coupon_id, changes=body.changes()))


@router.delete(
    "/coupons/{coupon_id}", operation_id="deleteCoupon", dependencies=ADMIN, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_coupon(coupon_id: UUID, session: SessionDep) -> None:
    """Delete a coupon nobody ever used."""
    await coupons.delete_coupon(session, coupon_id)


@router.post(
    "/coupons/check", operation_id="checkCoupon", dependencies=[needs("read")],
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def check_coupon(body: CouponCheckIn, principal: PrincipalDep, session: SystemSessionDep) -> QuoteOut:
    """Learn what a code would take off; nothing is used up."""
    quoted = await coupons.quote(
        session, code=body.code, user_id=person_id(principal), amount=check_money(body.amount, body.currency),
        currency=body.currency, transaction_type=body.transaction_type, tier=body.tier, items=body.items,
    )  # fmt: skip
    return QuoteOut.model_validate(quoted)
