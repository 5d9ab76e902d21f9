"""Memberships: started with a payment or a trial, renewed, changed, cancelled, and ended when nobody pays.

Every function takes a session bound as the pipelines: the caller has checked whose membership it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, NotFound
from db.models import Plan, Subscription, Transaction
from db.models.commerce import TIERS
from db.violations import refusing
from domain import coupons
from domain.comms import publish
from domain.governance import name_action
from domain.money import ZERO, round_money
from domain.payments import OPEN, PaymentDiffers, cancel_payment, find_repeated, record_payment, settle
from domain.periods import find_period_end

GRACE: Final = timedelta(days=7)
"""How long a membership whose renewal is not paid goes on before it ends."""

RUNNING: Final = ("active", "past_due", "suspended")


class PlanNotFound(NotFound):
    """There is no such plan on offer; list the plans to see those there are."""


class SubscriptionNotFound(NotFound):
    """There is no such membership that you may see; list yours to see their ids."""


class SubscriptionRuns(Conflict):
    """A membership runs already; change its plan instead, or cancel it first."""


class SubscriptionEnded(Conflict):
    """This membership has ended; choose a plan to start a new one."""


class SubscriptionNotCancelled(Conflict):
    """This membership is not about to end, so there is nothing to resume."""


class PlanUnchanged(Conflict):
    """The membership has this plan already; choose another one."""


class PlanInOtherCurrency(Conflict):
    """The membership is paid in another currency; choose a plan in its currency, or cancel it first."""


_RULES = {"uq_subscriptions_running": SubscriptionRuns}


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of choosing a plan: a membership that runs, a payment that is due for it, or both."""

    subscription: Subscription | None
    payment: Transaction | None


async def get_plan(session: AsyncSession, plan_id: UUID) -> Plan:
    """Return the plan if it is on offer; raises `PlanNotFound`."""
    plan: Plan | None = await session.scalar(select(Plan).where(Plan.id == plan_id, Plan.is_active))
    if plan is None:
        raise PlanNotFound
    return plan


async def get_subscription(session: AsyncSession, subscription_id: UUID, *, lock: bool = False) -> Subscription:
    """Return the membership; `lock` keeps others from changing it. Raises `SubscriptionNotFound`."""
    query = select(Subscription).where(Subscription.id == subscription_id).execution_options(populate_existing=True)
    found: Subscription | None = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise SubscriptionNotFound
    return found


async def find_running(session: AsyncSession, user_id: UUID, *, lock: bool = False) -> Subscription | None:
    """Return the person's membership that runs, paid or overdue, or None."""
    query = select(Subscription).where(Subscription.user_id == user_id, Subscription.status.in_(RUNNING))
    query = query.execution_options(populate_existing=True)
    found: Subscription | None = await session.scalar(query.with_for_update() if lock else query)
    return found


async def choose_plan(
    session: AsyncSession, *, user_id: UUID, plan_id: UUID, payment_method: str, coupon_code: str | None = None,
    idempotency_key: str | None = None, now: datetime | None = None,
) -> Choice:  # fmt: skip
    """Start a membership, or change the one that runs.

    The first one begins with the plan's trial, without a payment. An upgrade costs the new price less what the paid
    period still holds, and starts when that is paid; a downgrade waits for the end of the period and costs nothing now.
    Raises `PlanNotFound`, `PlanUnchanged`, `PlanInOtherCurrency`, and what coupons raise.
    """
    now = now or datetime.now(UTC)
    known = await find_repeated(session, user_id=user_id, idempotency_key=idempotency_key)
    if known is not None:
        if known.reference_type != "plan" or known.reference_id != plan_id:
            raise PaymentDiffers
        return Choice(await find_running(session, user_id), known)
    plan = await get_plan(session, plan_id)
    # In this order: one that begins in between is found as running, and never taken for one that has ended.
    had_one = await session.scalar(select(exists().where(Subscription.user_id == user_id)))
    running = await find_running(session, user_id, lock=True)
    if running is None:
        if plan.trial_days and not had_one:
            end = now + timedelta(days=plan.trial_days)
            trial = await _start(
                session, user_id=user_id, plan=plan, start=now, end=end, payment_method=payment_method, trial=True
            )
            return Choice(trial, None)
        credit = ZERO
    else:
        if running.currency != plan.currency:
            raise PlanInOtherCurrency
        rank = _rank(running.tier, running.billing_cycle), _rank(plan.tier, plan.billing_cycle)
        if rank[0] == rank[1]:
            raise PlanUnchanged
        if rank[1] < rank[0]:
            return Choice(await _change_later(session, running, plan), None)
        credit = await _credit(session, running, now)
    price = max(plan.amount - credit, ZERO)
    quoted = None
    if coupon_code is not None:
        quoted = await coupons.quote(
            session, code=coupon_code, user_id=user_id, amount=price, currency=plan.currency,
            transaction_type="subscription", tier=plan.tier, items=(plan.id,),
        )  # fmt: skip
    payment = await record_payment(
        session, user_id=user_id, amount=price if quoted is None else quoted.final_amount, currency=plan.currency,
        transaction_type="subscription", payment_method=payment_method, reference_type="plan", reference_id=plan.id,
        idempotency_key=idempotency_key, quoted=quoted,
    )  # fmt: skip
    if payment.amount > 0 or payment.status != "pending":
        return Choice(running, payment)
    payment = await settle(session, payment.id)
    return Choice(await apply_plan_payment(session, payment, now=now), payment)


def _rank(tier: str, cycle: str) -> tuple[int, bool]:
    return TIERS.index(tier), cycle == "annual"


async def _credit(session: AsyncSession, running: Subscription, now: datetime) -> Decimal:
    """Return what the rest of the paid period is worth; a trial or an overdue period is worth nothing."""
    if running.last_payment_transaction_id is None or running.status != "active" or now >= running.current_period_end:
        return ZERO
    paid = await session.scalar(
        select(Transaction.amount - Transaction.refunded_amount).where(
            Transaction.id == running.last_payment_transaction_id
        )
    )
    rest = running.current_period_end - max(now, running.current_period_start)
    whole = running.current_period_end - running.current_period_start
    share = Decimal(int(rest.total_seconds())) / Decimal(int(whole.total_seconds()))
    return round_money((paid or ZERO) * share, running.currency)


async def _start(
    session: AsyncSession, *, user_id: UUID, plan: Plan, start: datetime, end: datetime, payment_method: str | None,
    trial: bool = False, payment_id: UUID | None = None,
) -> Subscription:  # fmt: skip
    row = Subscription(
        tenant_id=plan.tenant_id, user_id=user_id, tier=plan.tier, billing_cycle=plan.billing_cycle,
        amount=plan.amount, currency=plan.currency, started_at=start, current_period_start=start,
        current_period_end=end, next_billing_date=end, payment_method=payment_method,
        trial_start=start if trial else None, trial_end=end if trial else None, last_payment_transaction_id=payment_id,
    )  # fmt: skip
    session.add(row)
    with refusing(_RULES):
        await session.flush()
    await _tell(session, row, "started")
    return row


async def _change_later(session: AsyncSession, running: Subscription, plan: Plan) -> Subscription:
    running.next_plan_id = plan.id
    await session.flush()
    await _tell(session, running, "downgrade_planned")
    return running


async def apply_plan_payment(
    session: AsyncSession, payment: Transaction, *, now: datetime | None = None
) -> Subscription:
    """Give the person the plan they paid for, ending the one that runs; the same plan paid again prolongs it."""
    now = now or datetime.now(UTC)
    plan: Plan | None = await session.scalar(select(Plan).where(Plan.id == payment.reference_id))
    if plan is None:
        raise PlanNotFound
    running = await find_running(session, payment.user_id, lock=True)
    if running is not None:
        if (running.tier, running.billing_cycle) == (plan.tier, plan.billing_cycle):
            return await renew(session, running, payment_id=payment.id)
        await _close(session, running, status="cancelled", reason="upgrade", now=now)
    return await _start(
        session, user_id=payment.user_id, plan=plan, start=now, end=find_period_end(now, plan.billing_cycle),
        payment_method=payment.payment_method, payment_id=payment.id,
    )  # fmt: skip


async def apply_renewal_payment(session: AsyncSession, payment: Transaction) -> Subscription:
    """Prolong the membership this payment renews; raises `SubscriptionEnded` where it came too late (001 W1)."""
    if payment.reference_id is None:
        raise SubscriptionNotFound
    subscription = await get_subscription(session, payment.reference_id, lock=True)
    return await renew(session, subscription, payment_id=payment.id)


async def renew(session: AsyncSession, subscription: Subscription, *, payment_id: UUID | None) -> Subscription:
    """Begin the next period where this one ends, with the plan that was chosen for it. Raises `SubscriptionEnded`.

    A payment that renewed it already changes nothing.
    """
    if payment_id is not None and subscription.last_payment_transaction_id == payment_id:
        return subscription
    if subscription.status not in RUNNING:
        raise SubscriptionEnded
    if subscription.next_plan_id is not None:
        plan = await session.get_one(Plan, (subscription.tenant_id, subscription.next_plan_id))
        subscription.tier, subscription.billing_cycle, subscription.amount = plan.tier, plan.billing_cycle, plan.amount
        subscription.next_plan_id = None
    start = subscription.current_period_end
    anchor = (subscription.trial_end or subscription.started_at).astimezone(UTC)
    end = find_period_end(start.astimezone(UTC), subscription.billing_cycle, day=anchor.day)
    subscription.current_period_start, subscription.current_period_end = start, end
    subscription.status = "active"
    subscription.next_billing_date = end if subscription.auto_renew else None
    subscription.last_payment_transaction_id = payment_id
    await name_action(session, "subscription_renewed")
    await session.flush()
    await _tell(session, subscription, "renewed")
    return subscription


async def cancel(
    session: AsyncSession, subscription_id: UUID, *, at_once: bool, note: str | None = None
) -> Subscription:
    """Let it end with the paid period, or now; an overdue one ends now. Its open payments are given up.

    Cancelling twice changes nothing. Nothing is refunded: that is a decision of its own. Raises `SubscriptionEnded`.
    """
    now = datetime.now(UTC)
    row = await get_subscription(session, subscription_id, lock=True)
    if row.status not in RUNNING:
        raise SubscriptionEnded
    await name_action(session, "subscription_cancelled")
    open_payments = await session.scalars(
        select(Transaction.id).where(
            Transaction.reference_type == "subscription", Transaction.reference_id == row.id,
            Transaction.status == "pending",
        ).with_for_update()
    )  # fmt: skip
    for payment_id in open_payments.all():
        await cancel_payment(session, payment_id)
    row.cancellation_note = note or row.cancellation_note
    if at_once or row.status != "active" or row.current_period_end <= now:
        return await _close(session, row, status="cancelled", reason="user_requested", now=now)
    if row.cancelled_at is None:
        row.cancelled_at, row.auto_renew, row.next_billing_date, row.next_plan_id = now, False, None, None
        row.cancellation_reason = "user_requested"
        await session.flush()
        await _tell(session, row, "cancelled")
    return row


async def resume(session: AsyncSession, subscription_id: UUID) -> Subscription:
    """Take a cancellation back before the period ends. Raises `SubscriptionEnded`, `SubscriptionNotCancelled`."""
    row = await get_subscription(session, subscription_id, lock=True)
    if row.status not in RUNNING or row.current_period_end <= datetime.now(UTC):
        raise SubscriptionEnded
    if row.cancelled_at is None:
        raise SubscriptionNotCancelled
    row.cancelled_at = row.cancellation_reason = row.cancellation_note = None
    row.auto_renew, row.next_billing_date = True, row.current_period_end
    await session.flush()
    await _tell(session, row, "resumed")
    return row


async def _close(session: AsyncSession, row: Subscription, *, status: str, reason: str, now: datetime) -> Subscription:
    row.status, row.cancellation_reason, row.ended_at = status, reason, now
    row.cancelled_at = row.cancelled_at or now
    row.auto_renew, row.next_billing_date, row.next_plan_id = False, None, None
    await session.flush()
    await _tell(session, row, "ended")
    return row


async def _tell(session: AsyncSession, row: Subscription | Mapping[Any, Any], event: str) -> None:
    value = row.get if isinstance(row, Mapping) else lambda name: getattr(row, name)
    payload = {"subscription_id": str(value("id")), "user_id": str(value("user_id")), "tier": value("tier")}
    await publish(session, f"subscription.{event}", payload, key=f"subscription:{value('id')}")


async def open_renewals(session: AsyncSession, *, now: datetime, limit: int = 200) -> int:
    """Open a payment for every membership due to renew, at most `limit`; one that costs nothing is renewed at once.

    Running again opens no second payment for a period. Several may run at the same time.
    """
    waiting = exists().where(
        Transaction.reference_type == "subscription", Transaction.reference_id == Subscription.id,
        Transaction.status.in_(OPEN),
    )  # fmt: skip
    due = await session.scalars(
        select(Subscription)
        .where(
            Subscription.status == "active", Subscription.auto_renew, Subscription.next_billing_date <= now, ~waiting
        )
        .order_by(Subscription.next_billing_date)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    opened = 0
    for row in due.all():
        amount = row.amount
        if row.next_plan_id is not None:
            amount = (await session.get_one(Plan, (row.tenant_id, row.next_plan_id))).amount
        payment = await record_payment(
            session, user_id=row.user_id, amount=amount, currency=row.currency, transaction_type="subscription",
            payment_method=row.payment_method or "card", reference_type="subscription", reference_id=row.id,
            idempotency_key=f"renewal:{row.id}:{row.current_period_end:%Y-%m-%d}",
        )  # fmt: skip
        if payment.status == "pending" and amount == 0:
            payment = await settle(session, payment.id)
            await renew(session, row, payment_id=payment.id)
        opened += payment.status in {"pending", "success"}
    return opened


async def mark_past_due(session: AsyncSession, subscription_id: UUID) -> None:
    """Note that a renewal's payment failed; a membership that does not run is left as it is."""
    row = await get_subscription(session, subscription_id, lock=True)
    if row.status == "active":
        row.status = "past_due"
        await session.flush()
        await _tell(session, row, "past_due")


async def expire_subscriptions(session: AsyncSession, *, now: datetime, limit: int = 500) -> int:
    """End what is over, at most `limit` memberships, and return how many changed; several may run at the same time.

    Past its period, one that was cancelled becomes cancelled, one that should have renewed past due; after `GRACE`
    unpaid it expires.
    """
    s = Subscription
    over = (
        select(s.id)
        .where(
            ((s.status == "active") & (s.current_period_end <= now))
            | ((s.status == "past_due") & (s.current_period_end <= now - GRACE))
        )
        .order_by(s.current_period_end)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(await session.scalars(over))
    status = case(
        (s.status == "past_due", "expired"), (s.auto_renew, "past_due"), (s.cancelled_at.is_not(None), "cancelled"),
        else_="expired",
    )  # fmt: skip
    ended = case((s.status == "past_due", now), (s.auto_renew, None), else_=s.current_period_end)
    reason = case((s.status == "past_due", "payment_failed"), else_=s.cancellation_reason)
    changed = await session.execute(
        update(s)
        .where(s.id.in_(ids))
        .values(status=status, ended_at=ended, cancellation_reason=reason, updated_at=func.now())
        .returning(s.id, s.user_id, s.tier, s.status)
        .execution_options(synchronize_session=False)
    )
    rows = changed.mappings().all()
    for row in rows:
        await _tell(session, row, "past_due" if row["status"] == "past_due" else "ended")
    return len(rows)
