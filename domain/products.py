"""What is for sale, and where the files of digital products are."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid
from db.models import Product, ProductFile
from db.violations import refusing
from domain.identity import bound_tenant
from domain.money import check_money
from domain.orders import ProductNotFound


class StockMissing(Invalid):
    """A product whose stock is counted needs to know how many there are; give inventory_quantity."""


_RULES = {"ck_products_track_inventory": StockMissing}


async def get_product(session: AsyncSession, product_id: UUID) -> Product:
    """Return the product; raises `ProductNotFound`."""
    product: Product | None = await session.scalar(select(Product).where(Product.id == product_id))
    if product is None:
        raise ProductNotFound
    return product


async def create_product(session: AsyncSession, *, given: Mapping[str, Any]) -> Product:
    """Add a product; raises `AlreadyStored` for a slug or SKU that is taken, `StockMissing`, `AmountUnusable`."""
    product = Product(tenant_id=await bound_tenant(session), **given)
    session.add(product)
    with refusing(_RULES):
        await session.flush()
    return _check(product)


async def change_product(session: AsyncSession, product_id: UUID, *, changes: Mapping[str, Any]) -> Product:
    """Change these columns; raises `ProductNotFound`, and what adding one raises."""
    with refusing(_RULES):
        product: Product | None = await session.scalar(
            update(Product)
            .where(Product.id == product_id)
            .values(**changes, updated_at=func.now())
            .returning(Product)
            .execution_options(populate_existing=True)
        )
    if product is None:
        raise ProductNotFound
    return _check(product)


def _check(product: Product) -> Product:
    check_money(product.price, product.currency)
    if product.compare_at_price is not None:
        check_money(product.compare_at_price, product.currency)
    return product


async def set_file(session: AsyncSession, product_id: UUID, *, url: str) -> None:
    """Say where the product's file is, for orders paid from now on; raises `ProductNotFound`."""
    product = await get_product(session, product_id)
    values = {"tenant_id": product.tenant_id, "product_id": product_id, "digital_file_url": url}
    await session.execute(
        insert(ProductFile)
        .values(values)
        .on_conflict_do_update(index_elements=("tenant_id", "product_id"), set_={"digital_file_url": url})
    )
