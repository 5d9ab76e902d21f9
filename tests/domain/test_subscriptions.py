"""Memberships: periods by the calendar, one that runs a person, paid for exactly once, ended when nobody pays."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from db.models import LedgerEntry, Subscription, Transaction
from db.session import tenant_session
from domain import payments, subscriptions
from domain.fulfilment import complete_payment, expire_payments, fail_payment
from domain.periods import add_months, find_period_end
from tests.factories.commerce import issue_coupon, offer_plan
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "cycle", "end"),
    [
        ("2026-01-31", "monthly", "2026-02-28"),
        ("2028-01-31", "monthly", "2028-02-29"),
        ("2026-12-15", "monthly", "2027-01-15"),
        ("2028-02-29", "annual", "2029-02-28"),
        ("2027-02-28", "annual", "2028-02-28"),
        ("2026-03-31", "monthly", "2026-04-30"),
    ],
)
def test_periods_end_by_the_calendar(start: str, cycle: str, end: str) -> None:
    assert find_period_end(at(start), cycle) == at(end)


def test_a_month_s_last_day_is_not_lost() -> None:
    ends, moment = [], at("2026-01-31")
    for _ in range(4):
        moment = find_period_end(moment, "monthly", day=31)
        ends.append(f"{moment:%m-%d}")
    assert ends == ["02-28", "03-31", "04-30", "05-31"]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)), st.integers(1, 36))  # noqa: DTZ001  # hypothesis wants them naive
def test_months_later_is_the_same_day_or_the_month_s_last(moment: datetime, months: int) -> None:
    later = add_months(moment, months)
    assert (later.year * 12 + later.month) - (moment.year * 12 + moment.month) == months
    assert later.time() == moment.time()
    assert later.day == moment.day or (later + timedelta(days=1)).day == 1


async def choose(
    organisation: Organisation, plan_id: UUID, *, now: datetime | None = None, key: str | None = None,
    coupon: str | None = None,
) -> subscriptions.Choice:  # fmt: skip
    async with tenant_session(organisation.system) as session:
        return await subscriptions.choose_plan(
            session, user_id=require_id(organisation.client_a), plan_id=plan_id, payment_method="card", now=now,
            idempotency_key=key, coupon_code=coupon,
        )  # fmt: skip


async def arrive(organisation: Organisation, payment: Transaction | None, reference: str) -> Transaction:
    assert payment is not None
    return await complete_payment(
        organisation.system, payment_id=payment.id, amount=payment.amount, currency=payment.currency,
        gateway_name="stripe", gateway_transaction_id=reference,
    )  # fmt: skip


async def running(organisation: Organisation) -> Subscription:
    async with tenant_session(organisation.system) as session:
        found = await subscriptions.find_running(session, require_id(organisation.client_a))
        assert found is not None
        return found


async def age(organisation: Organisation, by: timedelta) -> None:
    """Let the running membership be older."""
    s = Subscription
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(s).values(
                started_at=s.started_at - by, current_period_start=s.current_period_start - by,
                current_period_end=s.current_period_end - by, next_billing_date=s.next_billing_date - by,
            )
        )  # fmt: skip


async def test_payment_starts_a_membership_and_renews_it_once(organisation: Organisation) -> None:
    choice = await choose(organisation, await offer_plan(organisation))
    assert choice.subscription is None
    for _ in range(2):
        await arrive(organisation, choice.payment, "in_1")
    first = await running(organisation)
    assert (first.status, first.tier, first.amount) == ("active", "build", Decimal("30.00"))
    assert first.current_period_end == find_period_end(first.current_period_start, "monthly")
    async with tenant_session(organisation.system) as session:
        opened = [await subscriptions.open_renewals(session, now=first.current_period_end) for _ in range(3)]
        assert opened == [1, 0, 0]
        due = await session.scalar(select(Transaction).where(Transaction.reference_type == "subscription"))
    results = await asyncio.gather(*(arrive(organisation, due, "in_2") for _ in range(20)))
    assert len({result.id for result in results}) == 1
    renewed = await running(organisation)
    assert (renewed.id, renewed.current_period_start) == (first.id, first.current_period_end)
    assert renewed.last_payment_transaction_id == results[0].id
    async with tenant_session(organisation.system) as session:
        cash = await session.scalar(select(func.sum(LedgerEntry.amount)).where(LedgerEntry.account == "cash"))
        assert cash == Decimal("60.00")


async def test_first_membership_begins_with_a_trial_the_second_does_not(organisation: Organisation) -> None:
    plan = await offer_plan(organisation, trial_days=14)
    trial = (await choose(organisation, plan)).subscription
    assert trial is not None
    assert trial.trial_end is not None
    assert trial.current_period_end == trial.trial_end == trial.current_period_start + timedelta(days=14)
    async with tenant_session(organisation.system) as session:
        ended = await subscriptions.cancel(session, trial.id, at_once=True)
        assert (ended.status, ended.cancellation_reason) == ("cancelled", "user_requested")
    again = await choose(organisation, plan)
    assert again.subscription is None
    assert again.payment is not None


async def test_fifty_choices_at_once_leave_one_membership(organisation: Organisation) -> None:
    plan = await offer_plan(organisation, trial_days=7)
    outcomes = await asyncio.gather(*(choose(organisation, plan) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(outcome, subscriptions.Choice) for outcome in outcomes) == 1
    errors = {type(outcome) for outcome in outcomes if isinstance(outcome, Exception)}
    assert errors <= {subscriptions.SubscriptionRuns, subscriptions.PlanUnchanged}
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Subscription)) == 1


async def test_upgrade_costs_what_the_period_does_not_cover(organisation: Organisation) -> None:
    small, big = await offer_plan(organisation), await offer_plan(organisation, "thrive", "90.00")
    await arrive(organisation, (await choose(organisation, small)).payment, "in_1")
    old = await running(organisation)
    with pytest.raises(subscriptions.PlanUnchanged):
        await choose(organisation, small)
    half = old.current_period_start + (old.current_period_end - old.current_period_start) / 2
    choice = await choose(organisation, big, now=half)
    assert choice.payment is not None
    assert choice.payment.amount == Decimal("75.00")  # 90 less half of 30
    assert (await running(organisation)).tier == "build"
    await arrive(organisation, choice.payment, "in_2")
    new = await running(organisation)
    assert (new.tier, new.amount) == ("thrive", Decimal("90.00"))
    async with tenant_session(organisation.system) as session:
        ended = await subscriptions.get_subscription(session, old.id)
        assert (ended.status, ended.cancellation_reason) == ("cancelled", "upgrade")


async def test_downgrade_waits_for_the_next_period(organisation: Organisation) -> None:
    big = await offer_plan(organisation, "impact", "200.00")
    small = await offer_plan(organisation, "discover", "10.00")
    await arrive(organisation, (await choose(organisation, big)).payment, "in_1")
    choice = await choose(organisation, small)
    assert choice.payment is None
    assert (await running(organisation)).tier == "impact"
    async with tenant_session(organisation.system) as session:
        await subscriptions.open_renewals(session, now=(await running(organisation)).current_period_end)
        due = await session.scalar(select(Transaction).where(Transaction.reference_type == "subscription"))
        assert due is not None
        assert due.amount == Decimal("10.00")
    await arrive(organisation, due, "in_2")
    after = await running(organisation)
    assert (after.tier, after.amount, after.next_plan_id) == ("discover", Decimal("10.00"), None)


async def test_other_currency_and_coupons_of_other_tiers_are_refused(organisation: Organisation) -> None:
    await arrive(organisation, (await choose(organisation, await offer_plan(organisation))).payment, "in_1")
    with pytest.raises(subscriptions.PlanInOtherCurrency):
        await choose(organisation, await offer_plan(organisation, "impact", "9000.00", currency="KES"))
    with pytest.raises(subscriptions.PlanNotFound):
        await choose(organisation, await offer_plan(organisation, "impact", "9.00", is_active=False))


async def test_free_first_period_starts_at_once(organisation: Organisation) -> None:
    await issue_coupon(organisation, value="100", applies_to="subscription", applicable_tiers=["build"])
    choice = await choose(organisation, await offer_plan(organisation), coupon="spring", key="k")
    assert choice.subscription is not None
    assert choice.payment is not None
    assert choice.payment.status == "success"
    again = await choose(organisation, (await offer_plan(organisation, "thrive")), key="other")
    assert again.payment is not None
    assert again.payment.amount == Decimal("30.00"), "a free period leaves no credit"


async def test_cancelled_goes_on_until_the_period_ends_and_may_be_resumed(organisation: Organisation) -> None:
    await arrive(organisation, (await choose(organisation, await offer_plan(organisation))).payment, "in_1")
    row = await running(organisation)
    async with tenant_session(organisation.system) as session:
        for _ in range(2):
            cancelled = await subscriptions.cancel(session, row.id, at_once=False, note="too busy")
            assert (cancelled.status, cancelled.auto_renew) == ("active", False)
        assert await subscriptions.open_renewals(session, now=row.current_period_end) == 0
        resumed = await subscriptions.resume(session, row.id)
        assert (resumed.auto_renew, resumed.cancelled_at) == (True, None)
        with pytest.raises(subscriptions.SubscriptionNotCancelled):
            await subscriptions.resume(session, row.id)
        await subscriptions.cancel(session, row.id, at_once=False)
        assert await subscriptions.expire_subscriptions(session, now=row.current_period_end) == 1
        ended = await subscriptions.get_subscription(session, row.id)
        assert (ended.status, ended.ended_at) == ("cancelled", row.current_period_end)
        for act in (subscriptions.cancel(session, row.id, at_once=True), subscriptions.resume(session, row.id)):
            with pytest.raises(subscriptions.SubscriptionEnded):
                await act


async def test_unpaid_renewal_is_past_due_then_over(organisation: Organisation) -> None:
    await arrive(organisation, (await choose(organisation, await offer_plan(organisation))).payment, "in_1")
    row = await running(organisation)
    async with tenant_session(organisation.system) as session:
        await subscriptions.open_renewals(session, now=row.current_period_end)
        due = await session.scalar(select(Transaction).where(Transaction.reference_type == "subscription"))
        assert due is not None
        await fail_payment(session, payment_id=due.id, reason="card expired")
    assert (await running(organisation)).status == "past_due"
    async with tenant_session(organisation.system) as session:
        soon, later = row.current_period_end + timedelta(days=6), row.current_period_end + timedelta(days=7)
        assert await subscriptions.expire_subscriptions(session, now=soon) == 0
        assert await subscriptions.expire_subscriptions(session, now=later) == 1
        over = await subscriptions.get_subscription(session, row.id)
        assert (over.status, over.cancellation_reason) == ("expired", "payment_failed")


async def test_late_payment_of_a_past_due_membership_brings_it_back(organisation: Organisation) -> None:
    await arrive(organisation, (await choose(organisation, await offer_plan(organisation))).payment, "in_1")
    await age(organisation, timedelta(days=33))
    row = await running(organisation)
    async with tenant_session(organisation.system) as session:
        assert await subscriptions.open_renewals(session, now=datetime.now(UTC)) == 1
        assert await subscriptions.expire_subscriptions(session, now=datetime.now(UTC)) == 1
        due = await session.scalar(select(Transaction).where(Transaction.reference_type == "subscription"))
    assert (await running(organisation)).status == "past_due"
    await arrive(organisation, due, "in_2")
    back = await running(organisation)
    assert (back.status, back.current_period_start) == ("active", row.current_period_end)


async def test_expiry_by_several_at_once_ends_each_once(organisation: Organisation) -> None:
    end = datetime.now(UTC) - timedelta(days=1)
    people = [require_id(person) for person in (organisation.client_a, organisation.client_b, organisation.client_c)]
    async with tenant_session(organisation.system) as session:
        session.add_all(
            Subscription(
                tenant_id=organisation.tenant_id, user_id=person, tier="build", billing_cycle="monthly",
                amount=Decimal(30), auto_renew=False, current_period_start=end - timedelta(days=30),
                current_period_end=end,
            )
            for person in people
        )  # fmt: skip

    async def expire() -> int:
        async with tenant_session(organisation.system) as session:
            return await subscriptions.expire_subscriptions(session, now=datetime.now(UTC), limit=2)

    assert sum(await asyncio.gather(*(expire() for _ in range(6)))) == 3


async def test_forgotten_payment_is_given_up_after_a_day(organisation: Organisation) -> None:
    payment = (await choose(organisation, await offer_plan(organisation))).payment
    assert payment is not None
    async with tenant_session(organisation.system) as session:
        assert await expire_payments(session, now=datetime.now(UTC)) == 0
        assert await expire_payments(session, now=datetime.now(UTC) + timedelta(hours=25)) == 1
        assert (await payments.get_payment(session, payment.id)).status == "cancelled"
