"""Products, and the orders people place for them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, status
from sqlalchemy import select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.payments import FromQuery, UntilQuery, person_id
from api.schemas.orders import (
    CancelOrderIn,
    DownloadOut,
    FulfillmentStatus,
    OrderDetailOut,
    OrderIn,
    OrderItemOut,
    OrderOut,
    PaymentState,
    ProductFileIn,
    ProductIn,
    ProductOut,
    ProductPatch,
    ProductStatus,
    ProductType,
    ShipmentIn,
)
from db.models import Order, Product
from db.session import tenant_session
from domain import orders, products

router = APIRouter(prefix="/v1", tags=["orders"])

READ: Any = [needs("read")]
WRITE: Any = [needs("write")]
ADMIN: Any = [needs("admin"), needs_role("admin")]


@router.get("/products", operation_id="listProducts", dependencies=READ, responses=list_problem_responses())
async def list_products(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    state: Annotated[ProductStatus, Query(alias="status", description="others than active for administrators")] = (
        "active"
    ),
    kind: Annotated[ProductType | None, Query(alias="type")] = None,
    category: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    featured: bool | None = None,
) -> Page[ProductOut]:
    """List products, the newest first."""
    query = select(Product).where(Product.status == state)
    for column, wanted in (
        (Product.product_type, kind), (Product.category, category and category.replace("\x00", "")),
        (Product.is_featured, featured),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    order = (Product.created_at, Product.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ProductOut.model_validate(row.Product) for row in rows], next_cursor=following)


@router.get(
    "/products/{product_id}", operation_id="getProduct", dependencies=READ, responses=list_problem_responses(404)
)
async def get_product(product_id: UUID, session: SessionDep) -> ProductOut:
    """Read one product."""
    return ProductOut.model_validate(await products.get_product(session, product_id))


@router.post(
    "/products", operation_id="createProduct", dependencies=ADMIN, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_product(body: ProductIn, session: SessionDep) -> ProductOut:
    """Add a product, as a draft unless it says otherwise."""
    return ProductOut.model_validate(await products.create_product(session, given=body.changes()))


@router.patch(
    "/products/{product_id}", operation_id="changeProduct", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def change_product(product_id: UUID, body: ProductPatch, session: SessionDep) -> ProductOut:
    """Change a product; orders keep it as it was when they were placed."""
    return ProductOut.model_validate(await products.change_product(session, product_id, changes=body.changes()))


@router.put(
    "/products/{product_id}/file", operation_id="setProductFile", dependencies=ADMIN,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def set_product_file(product_id: UUID, body: ProductFileIn, session: SessionDep) -> None:
    """Say where a digital product's file is."""
    await products.set_file(session, product_id, url=str(body.digital_file_url))


@router.get("/orders", operation_id="listOrders", dependencies=READ, responses=list_problem_responses())
async def list_orders(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    principal: PrincipalDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    payment_status: PaymentState | None = None,
    fulfillment_status: FulfillmentStatus | None = None,
    user_id: UUID | None = None,
    number: Annotated[str | None, Query(max_length=50, pattern=r"^[0-9A-Z-]+$")] = None,
    since: FromQuery = None,
    until: UntilQuery = None,
) -> Page[OrderOut]:
    """List orders, the newest first: your own, an administrator's all."""
    query = select(Order)
    if principal.role != "admin":  # the policy says so too; said here, the planner takes the index for it
        query = query.where(Order.user_id == principal.user_id)
    for column, wanted in (
        (Order.payment_status, payment_status), (Order.fulfillment_status, fulfillment_status),
        (Order.user_id, user_id), (Order.order_number, number),
    ):  # fmt: skip
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(Order.created_at >= since)
    if until is not None:
        query = query.where(Order.created_at < until)
    order = (Order.created_at, Order.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[OrderOut.model_validate(row.Order) for row in rows], next_cursor=following)


@router.get("/orders/{order_id}", operation_id="getOrder", dependencies=READ, responses=list_problem_responses(404))
async def get_order(order_id: UUID, session: SessionDep) -> OrderDetailOut:
    """Read one order with its lines."""
    order = await orders.get_order(session, order_id)
    items = (await orders.list_items(session, [order_id]))[order_id]
    return OrderDetailOut(
        **OrderOut.model_validate(order).model_dump(),
        items=[OrderItemOut.model_validate(item) for item in items],
        shipping_address=await orders.read_address(session, order),
    )


@router.post(
    "/orders", operation_id="placeOrder", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def place_order(
    body: OrderIn, principal: PrincipalDep, session: SystemSessionDep, key: IdempotencyKey = None
) -> OrderOut:
    """Place an order; its stock is held while its payment is open, which is for a day."""
    address = None if body.shipping_address is None else body.shipping_address.model_dump(exclude_none=True)
    order = await orders.place_order(
        session, user_id=person_id(principal), payment_method=body.payment_method, idempotency_key=key,
        lines=[orders.Line(line.product_id, line.quantity) for line in body.lines], shipping_address=address,
        shipping_method=body.shipping_method, coupon_code=body.coupon_code, notes=body.notes,
    )  # fmt: skip
    return OrderOut.model_validate(order)


@router.post(
    "/orders/{order_id}/cancel", operation_id="cancelOrder", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def cancel_order(order_id: UUID, body: CancelOrderIn, principal: PrincipalDep) -> OrderOut:
    """Cancel an order that was not sent yet; what was paid is refunded."""
    async with tenant_session(principal) as session:
        await orders.get_order(session, order_id)  # who may see it may cancel it
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        return OrderOut.model_validate(await orders.cancel(session, order_id, reason=body.reason))


@router.post(
    "/orders/{order_id}/ship", operation_id="shipOrder", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def ship_order(order_id: UUID, body: ShipmentIn, session: SystemSessionDep) -> OrderOut:
    """Record that an order was sent."""
    sent = await orders.ship(
        session,
        order_id,
        tracking_number=body.tracking_number,
        tracking_url=str(body.tracking_url) if body.tracking_url else None,
    )
    return OrderOut.model_validate(sent)


@router.post(
    "/orders/{order_id}/deliver", operation_id="deliverOrder", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def deliver_order(order_id: UUID, session: SystemSessionDep) -> OrderOut:
    """Record that an order arrived."""
    return OrderOut.model_validate(await orders.deliver(session, order_id))


@router.post(
    "/orders/{order_id}/items/{item_id}/download", operation_id="downloadOrderItem", dependencies=READ,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def download_item(order_id: UUID, item_id: UUID, principal: PrincipalDep) -> DownloadOut:
    """Learn where a bought file is; this counts as a download."""
    async with tenant_session(principal) as session:
        order = await orders.get_order(session, order_id)
    if order.user_id != principal.user_id:
        raise orders.OrderNotFound
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        return DownloadOut(url=await orders.fetch_download(session, order_id=order_id, item_id=item_id))
