"""Things to buy, and payments that arrived."""

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from db.models import Coupon, Plan, Product, Program, Transaction
from db.session import tenant_session
from domain import payments
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def offer_program(organisation: Organisation, price: str | None = "100.00", **values: Any) -> UUID:
    """Publish a program that costs this much."""
    async with tenant_session(organisation.system) as session:
        row = Program(
            **{
                "tenant_id": organisation.tenant_id, "title": "Listening well", "slug": f"program-{uuid4().hex}",
                "instructor_id": require_id(organisation.coach_a), "pricing_type": "one_time" if price else "free",
                "price_amount": Decimal(price) if price else None, "status": "published", **values,
            }
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


async def offer_plan(organisation: Organisation, tier: str = "build", amount: str = "30.00", **values: Any) -> UUID:
    """Put a plan on offer."""
    async with tenant_session(organisation.system) as session:
        row = Plan(
            **{"tenant_id": organisation.tenant_id, "tier": tier, "billing_cycle": "monthly", "amount": Decimal(amount)}
            | values
        )
        session.add(row)
        await session.flush()
        return row.id


async def offer_product(organisation: Organisation, price: str = "12.50", **values: Any) -> UUID:
    """Put a product on sale."""
    async with tenant_session(organisation.system) as session:
        row = Product(
            **{
                "tenant_id": organisation.tenant_id, "name": "Question cards", "slug": f"cards-{uuid4().hex}",
                "product_type": "physical", "price": Decimal(price), "status": "active", **values,
            }
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


async def issue_coupon(organisation: Organisation, code: str = "SPRING", value: str = "10", **values: Any) -> UUID:
    """Issue a coupon for everything, in percent."""
    async with tenant_session(organisation.system) as session:
        row = Coupon(
            **{
                "tenant_id": organisation.tenant_id, "code": code, "discount_type": "percentage",
                "discount_value": Decimal(value), "applies_to": "all", **values,
            }
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


async def pay(organisation: Organisation, amount: str = "100.00", **values: Any) -> Transaction:
    """Record a payment by client_a that arrived."""
    async with tenant_session(organisation.system) as session:
        return await payments.record_payment(
            session,
            **{
                "user_id": require_id(organisation.client_a), "amount": Decimal(amount), "currency": "USD",
                "transaction_type": "donation", "payment_method": "cash", "status": "success", **values,
            },
        )  # fmt: skip
