"""Orders: stock sold once, prices and discounts exact, paid, sent and fetched as often as allowed."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from core.errors import AppError
from db.models import Order, Product, ProductFile, Transaction
from db.session import tenant_session
from domain import orders
from domain.fulfilment import complete_payment, expire_payments, fail_payment, give_back
from domain.orders import Line
from domain.payments import get_payment
from tests.factories.commerce import issue_coupon, offer_product
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

ADDRESS = {"name": "Amina W.", "street": "4 Acacia Lane", "city": "Nairobi", "country": "KE", "phone": "+254700000000"}


async def place(organisation: Organisation, *lines: tuple[UUID, int], **given: Any) -> Order:
    values = {"user_id": require_id(organisation.client_a), "payment_method": "mpesa", **given}
    async with tenant_session(organisation.system) as session:
        return await orders.place_order(session, lines=[Line(*line) for line in lines], **values)


async def arrive(organisation: Organisation, order: Order, reference: str = "fw-1") -> Transaction:
    assert order.transaction_id is not None
    return await complete_payment(
        organisation.system, payment_id=order.transaction_id, amount=order.total_amount, currency=order.currency,
        gateway_name="flutterwave", gateway_transaction_id=reference,
    )  # fmt: skip


async def read(organisation: Organisation, order_id: UUID) -> Order:
    async with tenant_session(organisation.system) as session:
        return await orders.get_order(session, order_id)


async def stock(organisation: Organisation, product_id: UUID) -> int | None:
    async with tenant_session(organisation.system) as session:
        found: int | None = await session.scalar(select(Product.inventory_quantity).where(Product.id == product_id))
        return found


async def test_order_is_paid_sent_and_delivered(organisation: Organisation) -> None:
    cards = await offer_product(
        organisation, requires_shipping=True, track_inventory=True, inventory_quantity=5, sku="CARDS-1"
    )
    order = await place(organisation, (cards, 2), (cards, 1), shipping_address=ADDRESS)
    assert (order.subtotal, order.total_amount) == (Decimal("37.50"), Decimal("37.50"))
    assert await stock(organisation, cards) == 2
    with pytest.raises(orders.OrderStepRefused):
        async with tenant_session(organisation.system) as session:
            await orders.ship(session, order.id)
    for _ in range(2):
        await arrive(organisation, order)
    paid = await read(organisation, order.id)
    assert (paid.payment_status, paid.fulfillment_status) == ("paid", "processing")
    assert paid.paid_at is not None
    async with tenant_session(organisation.system) as session:
        sent = await orders.ship(session, order.id, tracking_number="KE123")
        assert sent.shipped_at is not None
        with pytest.raises(orders.OrderStepRefused):
            await orders.cancel(session, order.id)
    async with tenant_session(organisation.system) as session:
        assert (await orders.deliver(session, order.id)).delivered_at is not None
        assert await orders.read_address(session, paid) == ADDRESS
        (item,) = (await orders.list_items(session, [order.id]))[order.id]
        assert (item.product_name, item.product_sku, item.quantity) == ("Question cards", "CARDS-1", 3)
        raw = await session.scalar(text("SELECT encode(shipping_address, 'escape') FROM commerce.orders"))
        assert "Acacia" not in raw
        assert "2547" not in raw


async def test_fifty_orders_at_once_share_ten_units(organisation: Organisation) -> None:
    cards = await offer_product(organisation, track_inventory=True, inventory_quantity=10)
    outcomes = await asyncio.gather(*(place(organisation, (cards, 1)) for _ in range(50)), return_exceptions=True)
    placed = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    assert len(placed) == 10
    assert {type(outcome) for outcome in outcomes if not isinstance(outcome, Order)} == {orders.OutOfStock}
    assert await stock(organisation, cards) == 0
    assert len({order.order_number for order in placed}) == 10


async def test_orders_of_several_products_do_not_deadlock(organisation: Organisation) -> None:
    products = [await offer_product(organisation, track_inventory=True, inventory_quantity=40) for _ in range(4)]
    placed = await asyncio.gather(
        *(
            place(organisation, *((product, 1) for product in (products if i % 2 else products[::-1])))
            for i in range(40)
        )
    )
    assert len(placed) == 40
    assert [await stock(organisation, product) for product in products] == [0] * 4


async def test_refused_order_leaves_stock_and_coupon_alone(organisation: Organisation) -> None:
    many = await offer_product(organisation, track_inventory=True, inventory_quantity=9)
    few = await offer_product(organisation, track_inventory=True, inventory_quantity=1)
    posted = await offer_product(organisation, requires_shipping=True)
    abroad = await offer_product(organisation, currency="KES")
    hidden = await offer_product(organisation, status="draft")
    refusals: list[tuple[tuple[tuple[UUID, int], ...], type[AppError]]] = [
        (((many, 1), (few, 2)), orders.OutOfStock),
        (((many, 1), (posted, 1)), orders.AddressMissing),
        (((many, 1), (abroad, 1)), orders.CurrenciesMixed),
        (((many, 1), (hidden, 1)), orders.ProductNotFound),
        (((many, 1), (uuid4(), 1)), orders.ProductNotFound),
        ((), orders.ProductNotFound),
    ]
    for lines, error in refusals:
        with pytest.raises(error):
            await place(organisation, *lines)
    assert await stock(organisation, many) == 9
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Transaction)) == 0


async def test_same_key_places_one_order(organisation: Organisation) -> None:
    cards = await offer_product(organisation, track_inventory=True, inventory_quantity=9)
    placed = await asyncio.gather(*(place(organisation, (cards, 1), idempotency_key="k") for _ in range(20)))
    assert len({order.id for order in placed}) == 1
    assert await stock(organisation, cards) == 8


async def test_coupon_of_one_product_lowers_its_lines_only(organisation: Organisation) -> None:
    cards, book = await offer_product(organisation, "3.33"), await offer_product(organisation, "10.00")
    await issue_coupon(organisation, value="50", applicable_items=[str(cards)])
    order = await place(organisation, (cards, 3), (book, 1), coupon_code="spring")
    assert (order.subtotal, order.discount_amount) == (Decimal("19.99"), Decimal("5.00"))  # 9.99 / 2 = 4.995
    async with tenant_session(organisation.system) as session:
        lines = {
            item.product_id: item.discount_amount for item in (await orders.list_items(session, [order.id]))[order.id]
        }
    assert lines == {cards: Decimal("5.00"), book: Decimal("0.00")}


async def test_failed_and_forgotten_payments_give_the_stock_back(organisation: Organisation) -> None:
    cards = await offer_product(organisation, track_inventory=True, inventory_quantity=3)
    failed, forgotten = await place(organisation, (cards, 1)), await place(organisation, (cards, 2))
    assert await stock(organisation, cards) == 0
    assert failed.transaction_id is not None
    async with tenant_session(organisation.system) as session:
        for _ in range(2):
            await fail_payment(session, payment_id=failed.transaction_id)
    assert await stock(organisation, cards) == 1
    async with tenant_session(organisation.system) as session:
        assert await expire_payments(session, now=datetime.now(UTC) + timedelta(hours=25)) == 1
    assert await stock(organisation, cards) == 3
    assert (await read(organisation, forgotten.id)).fulfillment_status == "cancelled"
    # Its money comes all the same: it is recorded, and goes back.
    late = await arrive(organisation, forgotten)
    assert late.status == "success"
    async with tenant_session(organisation.system) as session:
        back = await session.scalar(select(Transaction).where(Transaction.refund_of == late.id))
        assert back is not None
        assert back.amount == late.amount


async def test_cancelled_paid_order_is_refunded_once(organisation: Organisation) -> None:
    cards = await offer_product(organisation, requires_shipping=True, track_inventory=True, inventory_quantity=1)
    order = await place(organisation, (cards, 1), shipping_address=ADDRESS)
    await arrive(organisation, order)
    async with tenant_session(organisation.system) as session:
        for _ in range(2):
            await orders.cancel(session, order.id)
        refunds = (await session.scalars(select(Transaction).where(Transaction.refund_of.is_not(None)))).all()
    assert [(refund.status, refund.amount) for refund in refunds] == [("pending", Decimal("12.50"))]
    await complete_payment(
        organisation.system, payment_id=refunds[0].id, amount=refunds[0].amount, currency="USD",
        gateway_name="flutterwave", gateway_transaction_id="fw-back",
    )  # fmt: skip
    assert (await read(organisation, order.id)).payment_status == "refunded"
    assert await stock(organisation, cards) == 1


async def test_files_are_fetched_as_often_as_allowed_once_paid(organisation: Organisation) -> None:
    book = await offer_product(organisation, product_type="digital", download_limit=3)
    async with tenant_session(organisation.system) as session:
        session.add(
            ProductFile(tenant_id=organisation.tenant_id, product_id=book, digital_file_url="https://files.example/b")
        )
    order = await place(organisation, (book, 1))

    async def fetch() -> str:
        async with tenant_session(organisation.system) as session:
            (item,) = (await orders.list_items(session, [order.id]))[order.id]
            return await orders.fetch_download(session, order_id=order.id, item_id=item.id)

    with pytest.raises(orders.DownloadRefused):
        await fetch()
    payment = await arrive(organisation, order)
    assert (await read(organisation, order.id)).fulfillment_status == "delivered"
    outcomes = await asyncio.gather(*(fetch() for _ in range(12)), return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["https://files.example/b"] * 3
    async with tenant_session(organisation.system) as session:
        await give_back(session, payment_id=payment.id, reason="broken file", paid_out=True)
        assert (await get_payment(session, payment.id)).status == "refunded"
    assert (await read(organisation, order.id)).payment_status == "refunded"
