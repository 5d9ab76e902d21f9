"""Plans, and the memberships people have of them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, status
from sqlalchemy import func, select, update

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.payments import person_id
from api.schemas.learning import Tier
from api.schemas.payments import TransactionOut
from api.schemas.subscriptions import (
    CancellationIn,
    ChoiceIn,
    ChoiceOut,
    PlanIn,
    PlanOut,
    PlanPatch,
    SubscriptionOut,
    SubscriptionStatus,
)
from db.models import Plan, Subscription
from db.session import Principal, tenant_session
from domain import subscriptions
from domain.money import check_money

router = APIRouter(prefix="/v1", tags=["memberships"])

READ: Any = [needs("read")]
WRITE: Any = [needs("write")]
ADMIN: Any = [needs("admin"), needs_role("admin")]


@router.get("/plans", operation_id="listPlans", dependencies=READ, responses=list_problem_responses())
async def list_plans(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    on_offer: Annotated[bool, Query(description="false: also those not on offer any more")] = True,
) -> Page[PlanOut]:
    """List what memberships cost."""
    query = select(Plan).where(Plan.is_active) if on_offer else select(Plan)
    order = (Plan.created_at, Plan.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[PlanOut.model_validate(row.Plan) for row in rows], next_cursor=following)


@router.post(
    "/plans", operation_id="createPlan", dependencies=ADMIN, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_plan(body: PlanIn, principal: PrincipalDep, session: SessionDep) -> PlanOut:
    """Put a plan on offer, one for each tier, cycle and currency."""
    check_money(body.amount, body.currency)
    row = Plan(tenant_id=principal.tenant_id, **body.model_dump())
    session.add(row)
    await session.flush()
    return PlanOut.model_validate(row)


@router.patch("/plans/{plan_id}", operation_id="changePlan", dependencies=ADMIN, responses=list_problem_responses(404))
async def change_plan(plan_id: UUID, body: PlanPatch, session: SessionDep) -> PlanOut:
    """Change a plan's price for those who choose it from now on, or take it off."""
    row = await session.scalar(
        update(Plan)
        .where(Plan.id == plan_id)
        .values(**body.model_dump(exclude_unset=True), updated_at=func.now())
        .returning(Plan)
    )
    if row is None:
        raise subscriptions.PlanNotFound
    check_money(row.amount, row.currency)
    return PlanOut.model_validate(row)


@router.get("/subscriptions", operation_id="listSubscriptions", dependencies=READ, responses=list_problem_responses())
async def list_subscriptions(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    principal: PrincipalDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    state: Annotated[SubscriptionStatus | None, Query(alias="status")] = None,
    tier: Tier | None = None,
    user_id: UUID | None = None,
) -> Page[SubscriptionOut]:
    """List memberships, the newest first: your own, an administrator's all."""
    query = select(Subscription)
    if principal.role != "admin":  # the policy says so too; said here, the planner takes the index for it
        query = query.where(Subscription.user_id == principal.user_id)
    for column, wanted in (
        (Subscription.status, state), (Subscription.tier, tier), (Subscription.user_id, user_id),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    order = (Subscription.created_at, Subscription.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[SubscriptionOut.model_validate(row.Subscription) for row in rows], next_cursor=following)


@router.get(
    "/subscriptions/{subscription_id}", operation_id="getSubscription", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_subscription(subscription_id: UUID, session: SessionDep) -> SubscriptionOut:
    """Read one membership."""
    return SubscriptionOut.model_validate(await subscriptions.get_subscription(session, subscription_id))


@router.post(
    "/subscriptions", operation_id="choosePlan", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def choose_plan(
    body: ChoiceIn, principal: PrincipalDep, session: SystemSessionDep, key: IdempotencyKey = None
) -> ChoiceOut:
    """Start your membership, or change the one that runs; a higher plan begins when it is paid, a lower one later."""
    choice = await subscriptions.choose_plan(
        session, user_id=person_id(principal), plan_id=body.plan_id, payment_method=body.payment_method,
        coupon_code=body.coupon_code, idempotency_key=key,
    )  # fmt: skip
    return ChoiceOut(
        subscription=SubscriptionOut.model_validate(choice.subscription) if choice.subscription else None,
        payment=TransactionOut.show(choice.payment, principal) if choice.payment else None,
    )


async def _check_own(principal: Principal, subscription_id: UUID) -> None:
    """Raise `SubscriptionNotFound` unless the caller may see it, which is to be able to end it."""
    async with tenant_session(principal) as session:
        await subscriptions.get_subscription(session, subscription_id)


@router.post(
    "/subscriptions/{subscription_id}/cancel", operation_id="cancelSubscription", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def cancel_subscription(subscription_id: UUID, body: CancellationIn, principal: PrincipalDep) -> SubscriptionOut:
    """End a membership with its period or at once."""
    await _check_own(principal, subscription_id)
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        row = await subscriptions.cancel(session, subscription_id, at_once=body.at_once, note=body.note)
        return SubscriptionOut.model_validate(row)


@router.post(
    "/subscriptions/{subscription_id}/resume", operation_id="resumeSubscription", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def resume_subscription(subscription_id: UUID, principal: PrincipalDep) -> SubscriptionOut:
    """Take a cancellation back before the period ends."""
    await _check_own(principal, subscription_id)
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        return SubscriptionOut.model_validate(await subscriptions.resume(session, subscription_id))
