"""The payment of a coaching session: paid once it arrives, gone back, and back at once where it came too late."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, update

from db.models import CoachingSession, Transaction
from db.session import tenant_session
from domain.fulfilment import complete_payment, give_back
from domain.payments import record_payment
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def book(organisation: Organisation) -> tuple[UUID, Transaction]:
    """Keep a session of coach_a with client_a that waits for its payment."""
    async with tenant_session(organisation.system) as session:
        row = CoachingSession(
            tenant_id=organisation.tenant_id, coach_id=require_id(organisation.coach_a),
            client_id=require_id(organisation.client_a), scheduled_at=datetime.now(UTC) + timedelta(days=3),
            payment_amount=Decimal("80.00"),
        )  # fmt: skip
        session.add(row)
        await session.flush()
        payment = await record_payment(
            session, user_id=row.client_id, amount=Decimal("80.00"), currency="USD", transaction_type="coaching",
            payment_method="card", reference_type="coaching_session", reference_id=row.id, seller_id=row.coach_id,
            platform_fee_percent=Decimal(10),
        )  # fmt: skip
        row.transaction_id = payment.id
        return row.id, payment


async def read(organisation: Organisation, session_id: UUID) -> str:
    async with tenant_session(organisation.system) as session:
        found = await session.scalar(select(CoachingSession.payment_status).where(CoachingSession.id == session_id))
        assert found is not None
        return found


async def arrive(organisation: Organisation, payment: Transaction) -> Transaction:
    return await complete_payment(
        organisation.system, payment_id=payment.id, amount=payment.amount, currency="USD", gateway_name="stripe",
        gateway_transaction_id=f"pi-{payment.id}",
    )  # fmt: skip


async def test_session_is_paid_and_refunded_with_its_payment(organisation: Organisation) -> None:
    session_id, payment = await book(organisation)
    assert await read(organisation, session_id) == "pending"
    for _ in range(2):
        await arrive(organisation, payment)
    assert await read(organisation, session_id) == "paid"
    for amount, status in ((Decimal("10.00"), "paid"), (None, "refunded")):
        async with tenant_session(organisation.system) as session:
            await give_back(session, payment_id=payment.id, reason="ill", amount=amount, paid_out=True)
        assert await read(organisation, session_id) == status


async def test_money_for_a_cancelled_session_goes_back(organisation: Organisation) -> None:
    session_id, payment = await book(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(CoachingSession).where(CoachingSession.id == session_id).values(status="cancelled")
        )
    paid = await arrive(organisation, payment)
    assert paid.status == "success"
    async with tenant_session(organisation.system) as session:
        back = await session.scalar(select(Transaction).where(Transaction.refund_of == paid.id))
        assert back is not None
        assert (back.status, back.amount) == ("pending", Decimal("80.00"))
