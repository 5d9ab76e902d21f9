"""Products and orders on the wire."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.learning import Link, Slug, Summary, Tag, Title
from api.schemas.payments import CouponCode, Currency, Method, Money, Reason
from api.schemas.text import CleanText

ProductType = Literal["physical", "digital", "bundle"]
ProductStatus = Literal["draft", "active", "archived"]
PaymentState = Literal["pending", "paid", "refunded"]
FulfillmentStatus = Literal["pending", "processing", "shipped", "delivered", "cancelled"]
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Short = Annotated[CleanText, Field(min_length=1, max_length=100)]


class ImageIn(BaseModel):
    """One picture of a product."""

    model_config = ConfigDict(extra="forbid")

    url: Link
    alt_text: Annotated[CleanText, Field(max_length=500)] = ""
    sequence: Annotated[int, Field(ge=0, le=1000)] = 0


class ProductPatch(BaseModel):
    """What to change of a product."""

    model_config = ConfigDict(extra="forbid")

    name: Title = ""
    slug: Slug = ""
    description: Summary | None = None
    product_type: ProductType = "physical"
    category: Short | None = None
    price: Money = Decimal(0)
    currency: Currency = "USD"
    compare_at_price: Money | None = None
    sku: Short | None = None
    track_inventory: bool = False
    inventory_quantity: Count | None = None
    low_stock_threshold: Count | None = None
    download_limit: Annotated[int, Field(ge=1, le=1_000)] | None = Field(None, description="for each one bought")
    requires_shipping: bool = False
    weight_grams: Count | None = None
    images: Annotated[list[ImageIn], Field(max_length=30)] | None = None
    status: ProductStatus = "draft"
    is_featured: bool = False
    meta_description: Annotated[CleanText, Field(max_length=500)] | None = None
    meta_keywords: Annotated[list[Tag], Field(max_length=30)] | None = None

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent, as rows keep them."""
        return self.model_dump(exclude_unset=True)


class ProductIn(ProductPatch):
    """A product to sell."""

    name: Title
    slug: Slug
    product_type: ProductType
    price: Money


class ProductOut(BaseModel):
    """One product."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    slug: str
    description: str | None
    product_type: ProductType
    category: str | None
    price: Decimal
    currency: str
    compare_at_price: Decimal | None
    sku: str | None
    track_inventory: bool
    inventory_quantity: int | None
    download_limit: int | None
    requires_shipping: bool
    weight_grams: int | None
    images: list[dict[str, Any]] | None
    status: ProductStatus
    is_featured: bool
    created_at: datetime


class ProductFileIn(BaseModel):
    """Where a digital product's file is; buyers reach it through their order only."""

    model_config = ConfigDict(extra="forbid")

    digital_file_url: Link


class LineIn(BaseModel):
    """So many of a product."""

    model_config = ConfigDict(extra="forbid")

    product_id: UUID
    quantity: Annotated[int, Field(ge=1, le=1_000)] = 1


class AddressIn(BaseModel):
    """Where an order is sent; stored encrypted."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[CleanText, Field(min_length=1, max_length=200)]
    street: Annotated[CleanText, Field(min_length=1, max_length=300)]
    city: Annotated[CleanText, Field(min_length=1, max_length=200)]
    postal_code: Annotated[CleanText, Field(max_length=20)] | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1")]
    phone: Annotated[CleanText, Field(max_length=50)] | None = None


class OrderIn(BaseModel):
    """What to order."""

    model_config = ConfigDict(extra="forbid")

    lines: Annotated[list[LineIn], Field(min_length=1, max_length=100)]
    payment_method: Method
    shipping_address: AddressIn | None = None
    shipping_method: Annotated[CleanText, Field(max_length=50)] | None = None
    coupon_code: CouponCode | None = None
    notes: Annotated[CleanText, Field(max_length=1_000)] | None = None


class ShipmentIn(BaseModel):
    """How an order was sent."""

    model_config = ConfigDict(extra="forbid")

    tracking_number: Short | None = None
    tracking_url: Link | None = None


class CancelOrderIn(BaseModel):
    """Why an order is cancelled."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = "order cancelled"


class OrderItemOut(BaseModel):
    """One line of an order, as the product was then."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    product_id: UUID | None
    product_name: str
    product_sku: str | None
    unit_price: Decimal
    quantity: int
    subtotal: Decimal
    discount_amount: Decimal
    total: Decimal
    download_count: int
    download_limit: int | None
    download_expires_at: datetime | None


class OrderOut(BaseModel):
    """One order; pay its transaction to have it sent."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    order_number: str
    subtotal: Decimal
    discount_amount: Decimal
    tax_amount: Decimal
    shipping_amount: Decimal
    total_amount: Decimal
    currency: str
    payment_status: PaymentState
    fulfillment_status: FulfillmentStatus
    transaction_id: UUID | None
    shipping_method: str | None
    tracking_number: str | None
    tracking_url: str | None
    created_at: datetime
    paid_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    cancelled_at: datetime | None
    notes: str | None


class OrderDetailOut(OrderOut):
    """One order with its lines and address."""

    items: list[OrderItemOut]
    shipping_address: dict[str, str] | None = Field(description="for the buyer and administrators")


class DownloadOut(BaseModel):
    """Where a bought file can be fetched; asking counts as a download."""

    url: str
