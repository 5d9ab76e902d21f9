"""Orders: stock held when placed, paid, sent and delivered, or cancelled with the stock given back.

Every function takes a session bound as the pipelines: the caller has checked whose order it is.
"""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import Order, OrderItem, Product, ProductFile, Transaction
from db.violations import refusing
from domain import coupons
from domain.comms import publish
from domain.governance import name_action
from domain.keys import field_cipher
from domain.money import ZERO, check_money, round_money
from domain.payments import OPEN, PaymentDiffers, cancel_payment, find_repeated, record_payment
from domain.refunds import refund_payment

DOWNLOADABLE_FOR: Final = timedelta(days=365)
"""How long a bought file may be fetched."""

_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: nothing in it is mistaken for another letter when read aloud."""


class ProductNotFound(NotFound):
    """There is no such product on sale; list the products to see those there are."""


class OrderNotFound(NotFound):
    """There is no such order that you may see; list yours to see their ids."""


class OrderItemNotFound(NotFound):
    """There is no such item in this order; read the order to see its items."""


class OutOfStock(Conflict):
    """There is not enough of this product left; order fewer or something else."""


class CurrenciesMixed(Invalid):
    """These products are priced in different currencies; order them separately."""


class AddressMissing(Invalid):
    """Something in this order is sent by post; give a shipping address."""


class OrderStepRefused(Conflict):
    """An order in this state can't take this step; read it again to see how far it got."""


class DownloadRefused(Conflict):
    """This file can't be fetched: the order is not paid, or the downloads or the time for them are used up."""


_RULES = {"orders_step": OrderStepRefused, "ck_products_inventory_quantity": OutOfStock}


@dataclass(frozen=True, slots=True)
class Line:
    """So many of a product."""

    product_id: UUID
    quantity: int


async def get_order(session: AsyncSession, order_id: UUID, *, lock: bool = False) -> Order:
    """Return the order; `lock` keeps others from changing it. Raises `OrderNotFound`."""
    query = select(Order).where(Order.id == order_id).execution_options(populate_existing=True)
    order: Order | None = await session.scalar(query.with_for_update() if lock else query)
    if order is None:
        raise OrderNotFound
    return order


async def list_items(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[OrderItem]]:
    """Return the lines of these orders, by order."""
    wanted = list(order_ids)
    rows = await session.scalars(select(OrderItem).where(OrderItem.order_id.in_(wanted)).order_by(OrderItem.id))
    items: dict[UUID, list[OrderItem]] = {order_id: [] for order_id in wanted}
    for row in rows:
        items[row.order_id].append(row)
    return items


async def place_order(
    session: AsyncSession, *, user_id: UUID, lines: Sequence[Line], payment_method: str,
    shipping_address: Mapping[str, str] | None = None, shipping_method: str | None = None,
    shipping_amount: Decimal = ZERO, tax_amount: Decimal = ZERO, coupon_code: str | None = None,
    idempotency_key: str | None = None, notes: str | None = None,
) -> Order:  # fmt: skip
    """Place an order at today's prices, hold its stock, and open the payment for it.

    Locks the products in the order of their ids, so of many at once no more get one than there are. An order that
    costs nothing is paid at once. Shipping and tax are the caller's to know. The same idempotency key returns the first
    order. Raises `ProductNotFound`, `OutOfStock`, `CurrenciesMixed`, `AddressMissing` and what coupons raise.
    """
    known = await find_repeated(session, user_id=user_id, idempotency_key=idempotency_key)
    if known is not None:
        return await _get_order_of(session, known)
    wanted: Counter[UUID] = Counter()
    for line in lines:
        wanted[line.product_id] += line.quantity
    products = await _take_stock(session, wanted)
    currency = products[0].currency
    if any(product.currency != currency for product in products):
        raise CurrenciesMixed
    if shipping_address is None and any(product.requires_shipping for product in products):
        raise AddressMissing
    subtotal = sum((product.price * wanted[product.id] for product in products), ZERO)
    discounts: dict[UUID, Decimal] = {}
    quoted = None
    if coupon_code is not None:
        quoted, discounts = await _discount(
            session, coupon_code, user_id=user_id, products=products, wanted=wanted, subtotal=subtotal
        )
    off = quoted.discount_amount if quoted else ZERO
    total = check_money(subtotal - off + tax_amount + shipping_amount, currency)
    order = Order(
        tenant_id=products[0].tenant_id, id=await session.scalar(select(func.uuidv7())), user_id=user_id,
        order_number=_make_number(), subtotal=subtotal, discount_amount=off, tax_amount=tax_amount,
        shipping_amount=shipping_amount, total_amount=total, currency=currency, shipping_method=shipping_method,
        notes=notes,
    )  # fmt: skip
    if shipping_address is not None:
        cipher = await field_cipher(session)
        order.shipping_address = cipher.encrypt(
            json.dumps(dict(shipping_address)), table="commerce.orders", column="shipping_address", row_id=order.id
        )
    payment = await record_payment(
        session, user_id=user_id, amount=total, currency=currency, transaction_type="merchandise",
        tax_amount=tax_amount, payment_method=payment_method, reference_type="order", reference_id=order.id,
        idempotency_key=idempotency_key, quoted=quoted, status="pending" if total else "success",
    )  # fmt: skip
    order.transaction_id = payment.id
    await name_action(session, "order_placed")
    session.add(order)
    await session.flush()
    await session.execute(
        insert(OrderItem), [_describe(order, product, wanted[product.id], discounts) for product in products]
    )
    return order if total else await mark_paid(session, payment)


async def _get_order_of(session: AsyncSession, payment: Transaction) -> Order:
    if payment.reference_type != "order" or payment.reference_id is None:
        raise PaymentDiffers
    return await get_order(session, payment.reference_id)


async def _take_stock(session: AsyncSession, wanted: Mapping[UUID, int]) -> list[Product]:
    query = select(Product).where(Product.id.in_(wanted), Product.status == "active").order_by(Product.id)
    products = list(await session.scalars(query.with_for_update().execution_options(populate_existing=True)))
    if len(products) != len(wanted) or not products:
        raise ProductNotFound
    for product in products:
        if not product.track_inventory or product.inventory_quantity is None:
            continue
        if product.inventory_quantity < wanted[product.id]:
            raise OutOfStock(
                f"There are {product.inventory_quantity} left of “{product.name}”; order fewer or another."
            )
        product.inventory_quantity -= wanted[product.id]
    with refusing(_RULES):
        await session.flush()
    return products


async def _discount(
    session: AsyncSession, code: str, *, user_id: UUID, products: Sequence[Product], wanted: Mapping[UUID, int],
    subtotal: Decimal,
) -> tuple[coupons.Quote, dict[UUID, Decimal]]:  # fmt: skip
    """Return what the coupon takes off, and what of it falls on each product it is for, in proportion."""
    only = (await coupons.get_coupon_by_code(session, code)).applicable_items
    sums = {p.id: p.price * wanted[p.id] for p in products if only is None or str(p.id) in only}
    eligible = sum(sums.values(), ZERO)
    quoted = await coupons.quote(
        session, code=code, user_id=user_id, amount=subtotal, currency=products[0].currency,
        transaction_type="merchandise", items=list(wanted), eligible=eligible,
    )  # fmt: skip
    shares, given, passed = {}, ZERO, ZERO
    for product_id, amount in sums.items():
        passed += amount
        so_far = round_money(quoted.discount_amount * passed / eligible, quoted.currency) if eligible else ZERO
        shares[product_id], given = so_far - given, so_far
    return quoted, shares


def _describe(order: Order, product: Product, quantity: int, discounts: Mapping[UUID, Decimal]) -> dict[str, Any]:
    subtotal, off = product.price * quantity, discounts.get(product.id, ZERO)
    return {
        "tenant_id": order.tenant_id, "order_id": order.id, "user_id": order.user_id, "product_id": product.id,
        "product_name": product.name, "product_sku": product.sku, "unit_price": product.price, "quantity": quantity,
        "subtotal": subtotal, "discount_amount": off, "total": subtotal - off,
        "download_limit": None if product.download_limit is None else product.download_limit * quantity,
    }  # fmt: skip


def _make_number() -> str:
    """Return a readable number no one can guess others' from: the day and 40 random bits."""
    parts = ["".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2)]
    return f"{datetime.now(UTC):%Y%m%d}-{'-'.join(parts)}"


async def mark_paid(session: AsyncSession, payment: Transaction) -> Order:
    """Record that the order's money arrived: files may be fetched, and what is not sent by post is delivered.

    Raises `OrderStepRefused` where it was cancelled before.
    """
    order = await _get_order_of(session, payment)
    await session.execute(
        update(OrderItem)
        .where(OrderItem.order_id == order.id, OrderItem.product_id == ProductFile.product_id)
        .values(download_url=ProductFile.digital_file_url, download_expires_at=datetime.now(UTC) + DOWNLOADABLE_FOR)
        .execution_options(synchronize_session=False)
    )
    posted = await session.scalar(
        select(func.bool_or(Product.requires_shipping))
        .select_from(OrderItem)
        .join(Product, (Product.tenant_id == OrderItem.tenant_id) & (Product.id == OrderItem.product_id))
        .where(OrderItem.order_id == order.id)
    )
    return await _step(
        session, order.id, payment_status="paid", transaction_id=payment.id,
        fulfillment_status="processing" if posted else "delivered",
    )  # fmt: skip


async def _step(session: AsyncSession, order_id: UUID, **values: Any) -> Order:  # noqa: ANN401  # columns of the order
    with refusing(_RULES):
        order: Order | None = await session.scalar(
            update(Order)
            .where(Order.id == order_id)
            .values(**values)
            .returning(Order)
            .execution_options(populate_existing=True)
        )
    if order is None:
        raise OrderNotFound
    payload = {
        "order_id": str(order.id), "user_id": str(order.user_id), "payment_status": order.payment_status,
        "fulfillment_status": order.fulfillment_status,
    }  # fmt: skip
    await publish(session, "order.changed", payload, key=f"order:{order.id}")
    return order


async def ship(
    session: AsyncSession, order_id: UUID, *, tracking_number: str | None = None, tracking_url: str | None = None
) -> Order:
    """Record that it was sent; raises `OrderStepRefused` unless it is paid and being prepared."""
    return await _step(
        session, order_id, fulfillment_status="shipped", tracking_number=tracking_number, tracking_url=tracking_url
    )


async def deliver(session: AsyncSession, order_id: UUID) -> Order:
    """Record that it arrived; raises `OrderStepRefused` where it was not paid or was cancelled."""
    return await _step(session, order_id, fulfillment_status="delivered")


async def cancel(session: AsyncSession, order_id: UUID, *, reason: str = "order cancelled") -> Order:
    """Cancel what was not sent yet: stock returns, an open payment is given up, a paid one is refunded.

    The refund stays pending until the gateway, or the person who pays it out, reports it. Cancelling twice changes
    nothing. Raises `OrderStepRefused`.
    """
    order = await get_order(session, order_id, lock=True)
    if order.fulfillment_status == "cancelled":
        return order
    order = await _step(session, order_id, fulfillment_status="cancelled")
    await name_action(session, "order_cancelled")
    await session.execute(
        update(Product)
        .where(Product.id == OrderItem.product_id, OrderItem.order_id == order_id, Product.track_inventory)
        .values(inventory_quantity=Product.inventory_quantity + OrderItem.quantity)
        .execution_options(synchronize_session=False)
    )
    if order.transaction_id is None:
        return order
    payment = await session.get(Transaction, (order.tenant_id, order.transaction_id), populate_existing=True)
    if payment is not None and payment.status in OPEN:
        await cancel_payment(session, payment.id)
    elif payment is not None and payment.status == "success" and payment.amount > payment.refunded_amount:
        await refund_payment(session, payment_id=payment.id, reason=reason, paid_out=False)
    return order


async def mark_refunded(session: AsyncSession, order_id: UUID) -> None:
    """Note that the whole payment of the order went back."""
    await _step(session, order_id, payment_status="refunded")


async def fetch_download(session: AsyncSession, *, order_id: UUID, item_id: UUID) -> str:
    """Count one download and return where the file is; raises `OrderItemNotFound`, `DownloadRefused`."""
    item = await session.scalar(select(OrderItem.id).where(OrderItem.id == item_id, OrderItem.order_id == order_id))
    if item is None:
        raise OrderItemNotFound
    url: str | None = await session.scalar(
        update(OrderItem)
        .where(
            OrderItem.id == item_id,
            OrderItem.order_id == Order.id,
            Order.payment_status == "paid",
            OrderItem.download_url.is_not(None),
            OrderItem.download_expires_at > func.now(),
            OrderItem.download_limit.is_(None) | (OrderItem.download_count < OrderItem.download_limit),
        )
        .values(download_count=OrderItem.download_count + 1)
        .returning(OrderItem.download_url)
        .execution_options(synchronize_session=False)
    )
    if url is None:
        raise DownloadRefused
    return url


async def read_address(session: AsyncSession, order: Order) -> dict[str, str] | None:
    """Return the order's address as it was given, or None where it has none."""
    if order.shipping_address is None:
        return None
    cipher = await field_cipher(session)
    address: dict[str, str] = json.loads(
        cipher.decrypt(order.shipping_address, table="commerce.orders", column="shipping_address", row_id=order.id)
    )
    return address
