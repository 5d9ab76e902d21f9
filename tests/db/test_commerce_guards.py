"""Money is held by the database: nobody reads others' payments, and nothing that was posted can be changed."""

import asyncio
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from db.locate import owner_url
from db.models import Coupon, LedgerEntry, Order, OrderItem, Subscription, Transaction
from db.session import Principal, tenant_session
from domain import payments
from tests.factories.commerce import issue_coupon, offer_product, pay
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

POST = text(
    "INSERT INTO accounting.ledger_entries (tenant_id, transaction_id, account, amount, currency, memo) "
    "VALUES (:tenant, :id, :account, :amount, :currency, 'payment')"
)


async def post(
    reader: Principal, payment_id: UUID, *lines: tuple[str, str], currency: str = "USD", bind_after: str | None = None
) -> None:
    """Add these lines in one transaction, as the app's role."""
    async with tenant_session(reader) as session:
        for account, amount in lines:
            await session.execute(
                POST,
                {"tenant": reader.tenant_id, "id": payment_id, "account": account, "amount": Decimal(amount),
                 "currency": currency},
            )  # fmt: skip
        if bind_after is not None:
            await session.execute(text("SELECT set_config('app.role', :role, true)"), {"role": bind_after})


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ((("cash", "5.00"),), "do not add up to zero"),
        ((("cash", "5.00"), ("revenue", "-4.99")), "do not add up to zero"),
        ((("cash", "0.00"), ("revenue", "0.00")), "ck_ledger_entries_amount"),
        ((("pocket", "5.00"), ("cash", "-5.00")), "ck_ledger_entries_account"),
    ],
)
async def test_lines_that_do_not_balance_are_refused(
    organisation: Organisation, lines: tuple[tuple[str, str], ...], refusal: str
) -> None:
    payment = await pay(organisation)
    with pytest.raises(DBAPIError, match=refusal):
        await post(organisation.system, payment.id, *lines)
    # Bound to somebody else by the time of the commit, whose eyes would see no lines at all.
    if "zero" in refusal:
        with pytest.raises(DBAPIError, match=refusal):
            await post(organisation.system, payment.id, *lines, bind_after="client")
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(LedgerEntry)) == 2


async def test_lines_are_in_the_currency_of_their_payment(organisation: Organisation) -> None:
    payment = await pay(organisation)
    for currency in ("EUR", "usd"):
        with pytest.raises(DBAPIError, match="foreign key"):
            await post(organisation.system, payment.id, ("cash", "5"), ("revenue", "-5"), currency=currency)
    other = await found_organisation()
    with pytest.raises(DBAPIError, match="foreign key"):
        await post(other.system, payment.id, ("cash", "5"), ("revenue", "-5"))


async def test_success_needs_its_lines(organisation: Organisation) -> None:
    a = require_id(organisation.client_a)
    with pytest.raises(DBAPIError, match="succeeded without its ledger lines"):
        async with tenant_session(organisation.system) as session:
            session.add(
                Transaction(
                    tenant_id=organisation.tenant_id, user_id=a, amount=Decimal(5), transaction_type="donation",
                    payment_method="cash", status="success",
                )
            )  # fmt: skip
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Transaction)) == 0


async def test_app_can_not_change_the_ledger_or_what_was_paid(organisation: Organisation) -> None:
    payment = await pay(organisation)
    attempts = (
        "UPDATE accounting.ledger_entries SET amount = 1",
        "UPDATE accounting.ledger_entries SET memo = 'other'",
        "DELETE FROM accounting.ledger_entries",
        "TRUNCATE accounting.ledger_entries",
        "UPDATE commerce.transactions SET amount = 1",
        "UPDATE commerce.transactions SET user_id = user_id",
        "UPDATE commerce.transactions SET refunded_amount = 100",
        "UPDATE commerce.coupons SET current_uses = 0",
        "UPDATE commerce.coupon_redemptions SET discount_amount = 0",
        "UPDATE commerce.orders SET total_amount = 0",
        "UPDATE commerce.order_items SET download_limit = NULL",
        "DELETE FROM commerce.transactions",
        "DELETE FROM commerce.orders",
        "TRUNCATE commerce.transactions CASCADE",
        "ALTER TABLE accounting.ledger_entries DISABLE TRIGGER ALL",
    )
    for reader in (organisation.system, organisation.admin, organisation.client_a):
        for statement in attempts:
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                async with tenant_session(reader) as session:
                    await session.execute(text(statement))
    async with tenant_session(organisation.system) as session:
        assert (await payments.get_payment(session, payment.id)).amount == Decimal("100.00")


async def test_owner_can_not_change_the_ledger_by_mistake(store: Settings, organisation: Organisation) -> None:
    await pay(organisation)
    engine = create_engine(owner_url(store))
    attempts = {
        "UPDATE accounting.ledger_entries SET amount = 1": "ledger_entries is never changed",
        "DELETE FROM accounting.ledger_entries": "ledger_entries is never changed",
        "TRUNCATE accounting.ledger_entries": "ledger_entries is never changed",
        "UPDATE commerce.transactions SET amount = 1": "what a payment is of never changes",
        "UPDATE commerce.transactions SET status = 'pending'": r"can not go from \w+ to pending",
        "UPDATE commerce.transactions SET processed_at = now()": "when and where a payment was made never changes",
        "DELETE FROM commerce.transactions": "a payment is never deleted",
        "TRUNCATE commerce.transactions CASCADE": "transactions is never changed",
        "DELETE FROM platform.tenants": "never|violates",
        "DELETE FROM identity.users": "violates",
    }
    with engine.connect() as connection:
        for role in ("RESET ROLE", "SET ROLE regenesis_owner"):
            for statement, refusal in attempts.items():
                if "RESET" not in role and ("identity" in statement or "platform" in statement):
                    continue  # the owner's policies let it read these only
                connection.execute(text(role))
                connection.execute(
                    text("SELECT set_config('app.tenant_id', :t, true), set_config('app.user_id', '', true), "
                         "set_config('app.role', 'system', true), set_config('app.clients', '', true), "
                         "set_config('app.visibilities', '', true)"),
                    {"t": str(organisation.tenant_id)},
                )  # fmt: skip
                suffix = {"platform.tenants": " WHERE id = :t", "identity.users": " WHERE tenant_id = :t"}
                where = next((part for table, part in suffix.items() if table in statement), "")
                with pytest.raises(DBAPIError, match=refusal):
                    connection.execute(text(statement + where), {"t": organisation.tenant_id} if where else {})
                connection.rollback()
    engine.dispose()


STEPS = {
    "pending": {"processing", "success", "failed", "cancelled"},
    "processing": {"success", "failed", "cancelled"},
    "success": set(),  # refunded only through refunds
    "failed": set(),
    "cancelled": set(),
}


async def test_payment_takes_only_the_steps_there_are(organisation: Organisation) -> None:
    a = require_id(organisation.client_a)
    for start, allowed in STEPS.items():
        for goal in ("pending", "processing", "success", "failed", "refunded", "cancelled"):
            if goal == start:
                continue
            async with tenant_session(organisation.system) as session:
                payment = await payments.record_payment(
                    session, user_id=a, amount=Decimal("10.00"), currency="USD", transaction_type="donation",
                    payment_method="cash", status="success" if start == "success" else "pending",
                )  # fmt: skip
                if start not in {"pending", "success"}:
                    await session.execute(update(Transaction).where(Transaction.id == payment.id).values(status=start))
            if goal in allowed - {"success"}:
                async with tenant_session(organisation.system) as session:
                    await session.execute(update(Transaction).where(Transaction.id == payment.id).values(status=goal))
                    row = await payments.get_payment(session, payment.id)
                    assert row.status == goal
                    assert (row.failed_at is not None) == (goal == "failed")
                    assert (row.cancelled_at is not None) == (goal == "cancelled")
            elif goal not in allowed:
                with pytest.raises(DBAPIError, match=f"can not go from {start} to {goal}"):
                    async with tenant_session(organisation.system) as session:
                        await session.execute(
                            update(Transaction).where(Transaction.id == payment.id).values(status=goal)
                        )


async def test_payment_can_not_begin_at_its_end(organisation: Organisation) -> None:
    for status in ("failed", "refunded", "cancelled"):
        with pytest.raises(DBAPIError, match=f"can not begin as {status}"):
            async with tenant_session(organisation.system) as session:
                session.add(
                    Transaction(
                        tenant_id=organisation.tenant_id, user_id=require_id(organisation.client_a),
                        amount=Decimal(5), transaction_type="donation", payment_method="cash", status=status,
                    )
                )  # fmt: skip


async def test_everyone_sees_their_own_and_the_admin_all(organisation: Organisation) -> None:
    own = await pay(organisation)
    sold = await pay(
        organisation, user_id=require_id(organisation.client_b), seller_id=require_id(organisation.coach_a),
        platform_fee_percent=Decimal(20), transaction_type="coaching",
    )  # fmt: skip
    expected = {
        "client_a": {own.id}, "client_b": {sold.id}, "coach_a": {sold.id}, "coach_b": set(), "client_c": set(),
        "admin": {own.id, sold.id}, "executive": set(), "compliance": set(), "evaluator": set(),
    }  # fmt: skip
    for name, reader in organisation.people.items():
        async with tenant_session(reader) as session:
            assert set(await session.scalars(select(Transaction.id))) == expected[name], name
            lines = await session.scalar(select(func.count()).select_from(LedgerEntry))
            assert lines == (5 if name == "admin" else 0), name
            balances = await session.scalar(text("SELECT count(*) FROM accounting.balances"))
            assert (balances or 0) > 0 if name == "admin" else balances == 0
    other = await found_organisation()
    async with tenant_session(other.admin) as session:
        assert await session.scalar(select(func.count()).select_from(Transaction)) == 0


async def test_people_write_no_money(organisation: Organisation) -> None:
    payment = await pay(organisation)
    await issue_coupon(organisation)
    product = await offer_product(organisation)
    a, tenant = require_id(organisation.client_a), organisation.tenant_id
    for reader in (organisation.client_a, organisation.coach_a, organisation.admin, organisation.executive):
        for row in (
            Transaction(
                tenant_id=tenant, user_id=a, amount=Decimal(1), transaction_type="donation", payment_method="cash"
            ),
            Order(tenant_id=tenant, user_id=a, order_number="X", subtotal=Decimal(0), total_amount=Decimal(0)),
            OrderItem(
                tenant_id=tenant, order_id=payment.id, user_id=a, product_name="x", unit_price=Decimal(0), quantity=1,
                subtotal=Decimal(0), total=Decimal(0), product_id=product,
            ),
            Subscription(
                tenant_id=tenant, user_id=a, tier="impact", billing_cycle="annual", amount=Decimal(0),
                current_period_start=func.now(), current_period_end=func.now(),
            ),
        ):  # fmt: skip
            with pytest.raises(DBAPIError, match="row-level security"):
                async with tenant_session(reader) as session:
                    session.add(row)
        with pytest.raises(DBAPIError, match="row-level security"):
            await post(reader, payment.id, ("cash", "5"), ("revenue", "-5"))
        async with tenant_session(reader) as session:
            changed = await session.execute(update(Transaction).values(refund_reason="mine"))
            assert changed.rowcount == 0  # type: ignore[attr-defined]  # a cursor result
    async with tenant_session(organisation.client_a) as session:
        assert await session.scalar(select(func.count()).select_from(Coupon)) == 0, "codes are not for browsing"


async def test_two_can_not_take_the_last_unit(organisation: Organisation) -> None:
    product = await offer_product(organisation, track_inventory=True, inventory_quantity=1)

    async def take() -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text("UPDATE commerce.products SET inventory_quantity = inventory_quantity - 1 WHERE id = :id"),
                {"id": product},
            )

    outcomes = await asyncio.gather(*(take() for _ in range(10)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert len(refused) == 9
    assert all("ck_products_inventory_quantity" in str(refusal) for refusal in refused)
