"""The flow that collects what is due moves every organisation's memberships and payments on, once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from db.models import Subscription, Transaction
from db.session import tenant_session
from flows.collect_dues import collect_dues
from tests.factories.commerce import pay
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id

pytestmark = pytest.mark.usefixtures("prefect_server")


async def subscribe(organisation: Organisation, **values: object) -> None:
    end = datetime.now(UTC) - timedelta(minutes=5)
    async with tenant_session(organisation.system) as session:
        session.add(
            Subscription(
                tenant_id=organisation.tenant_id, user_id=require_id(organisation.client_a), tier="build",
                billing_cycle="monthly", amount=Decimal("30.00"), current_period_start=end - timedelta(days=30),
                current_period_end=end, next_billing_date=end, **values,
            )
        )  # fmt: skip


async def read(organisation: Organisation) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the membership's status, and kind and status of every payment."""
    async with tenant_session(organisation.system) as session:
        status = await session.scalar(select(Subscription.status))
        rows = await session.execute(
            select(Transaction.transaction_type, Transaction.status).order_by(Transaction.created_at)
        )
        return status, list(rows.tuples())


async def test_dues_of_every_organisation_are_collected_once(organisation: Organisation) -> None:
    other = await found_organisation()
    await subscribe(organisation)
    await subscribe(other, auto_renew=False)
    forgotten = await pay(other, status="pending")
    async with tenant_session(other.system) as session:
        row = await session.get_one(Transaction, (other.tenant_id, forgotten.id))
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    first = await collect_dues()
    assert (first["renewals"], first["given_up"]) >= (1, 1)
    expected = ("past_due", [("subscription", "pending")]), ("expired", [("donation", "cancelled")])
    assert (await read(organisation), await read(other)) == expected
    await collect_dues()
    assert (await read(organisation), await read(other)) == expected
