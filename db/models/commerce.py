"""Schema `commerce`: payments, subscriptions, coupons, products and orders.

The seed's indexes on a coupon's code, a product's slug and SKU and an order's number are the unique keys' own here.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Numeric, String, UniqueConstraint, desc, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, encrypted, one_of, tenant_fk

TRANSACTION_TYPES = ("subscription", "course", "event", "merchandise", "coaching", "donation", "refund")
TRANSACTION_STATUSES = ("pending", "processing", "success", "failed", "refunded", "cancelled")
REFERENCE_TYPES = ("program", "event", "coaching_session", "product", "plan", "subscription", "order")
"""What a payment can be for; `plan` buys a new subscription, `subscription` renews one."""

TIERS = ("discover", "build", "thrive", "impact")
"""The tiers of membership, from the lowest to the highest."""

BILLING_CYCLES = ("monthly", "annual")
RUNNING = "status IN ('active', 'past_due', 'suspended')"
MONEY = Numeric(10, 2)


def in_currency() -> CheckConstraint:
    """Return a check that a currency has the form of ISO 4217's codes."""
    return CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency")


class Transaction(TenantRow, Base):
    """One payment or refund and how far it got (seed 001 §6.5).

    A trigger holds its state machine: pending, processing, then success, failed or cancelled; success becomes refunded
    when refunds add up to the amount. What was paid, by whom and for what never changes after the insert.
    `refunded_amount` is kept by trigger and counts refunds that are under way, so that two can't exceed the payment.
    """

    __tablename__ = "transactions"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="RESTRICT"),
        tenant_fk("seller_id", "identity.users", ondelete="RESTRICT"),
        # What the ledger and refunds refer to, so that no line can be in another currency.
        UniqueConstraint("tenant_id", "id", "currency"),
        tenant_fk(("refund_of", "currency"), "commerce.transactions(id, currency)", ondelete="RESTRICT"),
        UniqueConstraint("tenant_id", "gateway_name", "gateway_transaction_id"),
        UniqueConstraint("tenant_id", "user_id", "idempotency_key"),
        one_of("transaction_type", TRANSACTION_TYPES),
        one_of("status", TRANSACTION_STATUSES),
        one_of("reference_type", REFERENCE_TYPES),
        in_currency(),
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint("tax_amount BETWEEN 0 AND amount", name="tax_amount"),
        CheckConstraint("refunded_amount BETWEEN 0 AND amount", name="refunded_amount"),
        CheckConstraint("(transaction_type = 'refund') = (refund_of IS NOT NULL)", name="refund_of"),
        CheckConstraint("gateway_transaction_id IS NULL OR gateway_name IS NOT NULL", name="gateway"),
        CheckConstraint("payment_method ~ '^[a-z0-9_]{2,30}$'", name="payment_method"),
        CheckConstraint("gateway_name ~ '^[a-z0-9_]{2,50}$'", name="gateway_name"),
        CheckConstraint("platform_fee_percent BETWEEN 0 AND 100", name="platform_fee_percent"),
        CheckConstraint("platform_fee_amount >= 0 AND seller_payout_amount >= 0", name="commission_signs"),
        CheckConstraint(
            "(platform_fee_amount IS NULL) = (seller_payout_amount IS NULL) AND "
            "platform_fee_amount + seller_payout_amount = amount - tax_amount",
            name="commission",
        ),
        Index("ix_transactions_user", "tenant_id", "user_id", desc("created_at")),
        Index(
            "ix_transactions_seller", "tenant_id", "seller_id", desc("created_at"),
            postgresql_where=text("seller_id IS NOT NULL"),
        ),
        Index("ix_transactions_status", "tenant_id", "status"),
        Index("ix_transactions_type", "tenant_id", "transaction_type"),
        Index("ix_transactions_gateway", "tenant_id", "gateway_transaction_id"),
        Index("ix_transactions_reference", "tenant_id", "reference_type", "reference_id"),
        Index("ix_transactions_success", "tenant_id", desc("created_at"), postgresql_where=text("status = 'success'")),
        # Beyond the seed's: what an administrator pages through, and what triggers and flows look for.
        Index("ix_transactions_created_at", "tenant_id", "created_at", "id"),
        Index("ix_transactions_refund_of", "tenant_id", "refund_of", postgresql_where=text("refund_of IS NOT NULL")),
        Index("ix_transactions_expiring", "tenant_id", "expires_at", postgresql_where=text("status = 'pending'")),
        {"schema": "commerce"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    seller_id: Mapped[UUID | None]
    amount: Mapped[Decimal] = mapped_column(MONEY)
    tax_amount: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    transaction_type: Mapped[str] = mapped_column(String(30))
    reference_type: Mapped[str | None] = mapped_column(String(30))
    reference_id: Mapped[UUID | None]
    refund_of: Mapped[UUID | None]
    refunded_amount: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    payment_method: Mapped[str] = mapped_column(String(30))
    gateway_name: Mapped[str | None] = mapped_column(String(50))
    gateway_transaction_id: Mapped[str | None] = mapped_column(String(255))
    gateway_reference: Mapped[str | None] = mapped_column(String(255))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(20), server_default="pending")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    processed_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    refunded_at: Mapped[datetime | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    failure_reason: Mapped[str | None]
    refund_reason: Mapped[str | None]
    platform_fee_percent: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    platform_fee_amount: Mapped[Decimal | None] = mapped_column(MONEY)
    seller_payout_amount: Mapped[Decimal | None] = mapped_column(MONEY)


class PaymentGateway(TenantRow, Timestamped, Base):
    """One gateway whose callbacks the tenant accepts, with the secret they are signed with, encrypted."""

    __tablename__ = "payment_gateways"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        CheckConstraint("name ~ '^[a-z0-9_]{2,50}$'", name="name"),
        {"schema": "commerce"},
    )

    name: Mapped[str] = mapped_column(String(50))
    secret: Mapped[bytes] = encrypted()
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))


class Plan(TenantRow, Timestamped, Base):
    """What one tier of membership costs for one cycle; a subscription copies the price when it starts."""

    __tablename__ = "plans"
    __table_args__ = (
        UniqueConstraint("tenant_id", "tier", "billing_cycle", "currency"),
        one_of("tier", TIERS),
        one_of("billing_cycle", BILLING_CYCLES),
        in_currency(),
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint("trial_days BETWEEN 0 AND 365", name="trial_days"),
        {"schema": "commerce"},
    )

    tier: Mapped[str] = mapped_column(String(20))
    billing_cycle: Mapped[str] = mapped_column(String(20))
    amount: Mapped[Decimal] = mapped_column(MONEY)
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    trial_days: Mapped[int] = mapped_column(server_default=text("0"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))


class Subscription(TenantRow, Timestamped, Base):
    """One person's membership from its start to its end (seed 001 §6.5); a person has one that runs at most.

    `next_plan_id` is the plan it changes to at its next renewal.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="RESTRICT"),
        tenant_fk("last_payment_transaction_id", "commerce.transactions", ondelete="RESTRICT"),
        tenant_fk("next_plan_id", "commerce.plans", ondelete="RESTRICT"),
        one_of("tier", TIERS),
        one_of("billing_cycle", BILLING_CYCLES),
        one_of("status", ("active", "cancelled", "expired", "suspended", "past_due")),
        one_of(
            "cancellation_reason", ("user_requested", "payment_failed", "upgrade", "downgrade"), "cancellation_reason"
        ),
        in_currency(),
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint("current_period_end > current_period_start", name="current_period"),
        CheckConstraint("(trial_start IS NULL) = (trial_end IS NULL) AND trial_end > trial_start", name="trial"),
        CheckConstraint("(status IN ('cancelled', 'expired')) = (ended_at IS NOT NULL)", name="ended_at"),
        Index("ix_subscriptions_user", "tenant_id", "user_id"),
        Index("ix_subscriptions_status", "tenant_id", "status"),
        # Serves what the seed's index of active ones serves, and lets nobody have two.
        Index("uq_subscriptions_running", "tenant_id", "user_id", unique=True, postgresql_where=text(RUNNING)),
        Index(
            "ix_subscriptions_renewal", "tenant_id", "next_billing_date",
            postgresql_where=text("status = 'active' AND auto_renew"),
        ),
        Index(
            "ix_subscriptions_ending", "tenant_id", "current_period_end",
            postgresql_where=text("status IN ('active', 'past_due')"),
        ),
        {"schema": "commerce"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    tier: Mapped[str] = mapped_column(String(20))
    billing_cycle: Mapped[str] = mapped_column(String(20))
    amount: Mapped[Decimal] = mapped_column(MONEY)
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    status: Mapped[str] = mapped_column(String(20), server_default="active")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    current_period_start: Mapped[datetime]
    current_period_end: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    payment_method: Mapped[str | None] = mapped_column(String(30))
    gateway_subscription_id: Mapped[str | None] = mapped_column(String(255))
    auto_renew: Mapped[bool] = mapped_column(server_default=text("true"))
    next_billing_date: Mapped[datetime | None]
    next_plan_id: Mapped[UUID | None]
    last_payment_transaction_id: Mapped[UUID | None]
    trial_start: Mapped[datetime | None]
    trial_end: Mapped[datetime | None]
    cancellation_reason: Mapped[str | None] = mapped_column(String(20))
    cancellation_note: Mapped[str | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")


class Coupon(TenantRow, Timestamped, Base):
    """One discount code (seed 001 §6.5); `current_uses` is kept by trigger and can't pass `max_uses`."""

    __tablename__ = "coupons"
    __table_args__ = (
        UniqueConstraint("tenant_id", "code"),
        tenant_fk("created_by", "identity.users", ondelete="SET NULL"),
        one_of("discount_type", ("percentage", "fixed_amount")),
        # The seed lists the first five; coaching is sold too.
        one_of("applies_to", ("all", "subscription", "course", "event", "merchandise", "coaching")),
        in_currency(),
        # Kept in capitals, so that a code is found however it was typed.
        CheckConstraint("code ~ '^[A-Z0-9][A-Z0-9_-]{2,49}$'", name="code"),
        CheckConstraint(
            "discount_type <> 'percentage' OR (discount_value >= 0 AND discount_value <= 100)", name="percentage"
        ),
        CheckConstraint(
            "discount_type <> 'fixed_amount' OR (discount_value >= 0 AND currency IS NOT NULL)", name="fixed_amount"
        ),
        CheckConstraint("max_uses > 0 AND max_uses_per_user > 0", name="limits"),
        CheckConstraint("current_uses >= 0 AND (max_uses IS NULL OR current_uses <= max_uses)", name="current_uses"),
        CheckConstraint("valid_until > valid_from", name="validity"),
        Index("ix_coupons_validity", "tenant_id", "valid_from", "valid_until", postgresql_where=text("is_active")),
        {"schema": "commerce"},
    )

    code: Mapped[str] = mapped_column(String(50))
    discount_type: Mapped[str] = mapped_column(String(20))
    discount_value: Mapped[Decimal] = mapped_column(MONEY)
    currency: Mapped[str | None] = mapped_column(String(3))
    applies_to: Mapped[str] = mapped_column(String(30))
    applicable_tiers: Mapped[list[Any] | None]
    applicable_items: Mapped[list[Any] | None]
    max_uses: Mapped[int | None]
    max_uses_per_user: Mapped[int | None] = mapped_column(server_default=text("1"))
    current_uses: Mapped[int] = mapped_column(server_default=text("0"))
    valid_from: Mapped[datetime] = mapped_column(server_default=func.now())
    valid_until: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_by: Mapped[UUID | None]
    description: Mapped[str | None]
    internal_notes: Mapped[str | None]


class CouponRedemption(TenantRow, Base):
    """One use of a coupon by one person (seed 001 §6.5); released when its payment failed or was given up."""

    __tablename__ = "coupon_redemptions"
    __table_args__ = (
        tenant_fk("coupon_id", "commerce.coupons", ondelete="RESTRICT"),
        tenant_fk("user_id", "identity.users", ondelete="RESTRICT"),
        tenant_fk("transaction_id", "commerce.transactions", ondelete="RESTRICT"),
        CheckConstraint(
            "discount_amount >= 0 AND final_amount >= 0 AND original_amount - discount_amount = final_amount",
            name="amounts",
        ),
        Index("ix_coupon_redemptions_coupon", "tenant_id", "coupon_id", "user_id"),
        Index("ix_coupon_redemptions_user", "tenant_id", "user_id"),
        Index("ix_coupon_redemptions_transaction_id", "tenant_id", "transaction_id"),
        {"schema": "commerce"},
    )

    coupon_id: Mapped[UUID]
    user_id: Mapped[UUID]
    transaction_id: Mapped[UUID | None]
    discount_amount: Mapped[Decimal] = mapped_column(MONEY)
    original_amount: Mapped[Decimal] = mapped_column(MONEY)
    final_amount: Mapped[Decimal] = mapped_column(MONEY)
    redeemed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    released_at: Mapped[datetime | None]


class Product(TenantRow, Timestamped, Base):
    """One thing for sale (seed 001 §6.5); its file's address stands in `product_files`, which buyers can't read."""

    __tablename__ = "products"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        UniqueConstraint("tenant_id", "sku"),
        one_of("product_type", ("physical", "digital", "bundle")),
        one_of("status", ("draft", "active", "archived")),
        in_currency(),
        CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug"),
        CheckConstraint("price >= 0 AND compare_at_price >= 0", name="price"),
        CheckConstraint("inventory_quantity >= 0", name="inventory_quantity"),
        CheckConstraint("NOT track_inventory OR inventory_quantity IS NOT NULL", name="track_inventory"),
        CheckConstraint("download_limit > 0", name="download_limit"),
        Index("ix_products_category", "tenant_id", "category"),
        Index("ix_products_status", "tenant_id", "status", postgresql_where=text("status = 'active'")),
        {"schema": "commerce"},
    )

    name: Mapped[str] = mapped_column(String(500))
    slug: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    product_type: Mapped[str] = mapped_column(String(20))
    category: Mapped[str | None] = mapped_column(String(100))
    price: Mapped[Decimal] = mapped_column(MONEY)
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    compare_at_price: Mapped[Decimal | None] = mapped_column(MONEY)
    sku: Mapped[str | None] = mapped_column(String(100))
    track_inventory: Mapped[bool] = mapped_column(server_default=text("false"))
    inventory_quantity: Mapped[int | None]
    low_stock_threshold: Mapped[int | None]
    download_limit: Mapped[int | None]
    requires_shipping: Mapped[bool] = mapped_column(server_default=text("false"))
    weight_grams: Mapped[int | None]
    images: Mapped[list[Any] | None]
    status: Mapped[str] = mapped_column(String(20), server_default="draft")
    is_featured: Mapped[bool] = mapped_column(server_default=text("false"))
    meta_description: Mapped[str | None]
    meta_keywords: Mapped[list[Any] | None]


class ProductFile(TenantScoped, Base):
    """Where a digital product's file is (seed 001 §6.5, `products.digital_file_url`), for those who sell it only.

    A table of its own, because a policy hides rows and the product's other columns are for everyone.
    """

    __tablename__ = "product_files"
    __table_args__ = (tenant_fk("product_id", "commerce.products", ondelete="CASCADE"), {"schema": "commerce"})

    product_id: Mapped[UUID] = mapped_column(primary_key=True)
    digital_file_url: Mapped[str] = mapped_column(String(500))


class Order(TenantRow, Base):
    """One purchase of products (seed 001 §6.5); a trigger holds the steps of its payment and of its delivery.

    The address bears a name and a phone number, so it is encrypted (the JSON of the seed's column).
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("tenant_id", "order_number"),
        UniqueConstraint("tenant_id", "id", "user_id"),
        tenant_fk("user_id", "identity.users", ondelete="RESTRICT"),
        tenant_fk("transaction_id", "commerce.transactions", ondelete="RESTRICT"),
        one_of("payment_status", ("pending", "paid", "refunded")),
        one_of("fulfillment_status", ("pending", "processing", "shipped", "delivered", "cancelled")),
        in_currency(),
        CheckConstraint(
            "subtotal >= 0 AND discount_amount BETWEEN 0 AND subtotal AND tax_amount >= 0 AND shipping_amount >= 0 "
            "AND total_amount = subtotal - discount_amount + tax_amount + shipping_amount",
            name="amounts",
        ),
        Index("ix_orders_user", "tenant_id", "user_id", desc("created_at")),
        Index(
            "ix_orders_fulfillment", "tenant_id", "fulfillment_status",
            postgresql_where=text("fulfillment_status IN ('pending', 'processing')"),
        ),
        Index("ix_orders_transaction_id", "tenant_id", "transaction_id"),
        Index("ix_orders_created_at", "tenant_id", "created_at", "id"),
        {"schema": "commerce"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    order_number: Mapped[str] = mapped_column(String(50))
    subtotal: Mapped[Decimal] = mapped_column(MONEY)
    discount_amount: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    tax_amount: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    shipping_amount: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    total_amount: Mapped[Decimal] = mapped_column(MONEY)
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    payment_status: Mapped[str] = mapped_column(String(20), server_default="pending")
    transaction_id: Mapped[UUID | None]
    shipping_address: Mapped[bytes | None] = encrypted()
    shipping_method: Mapped[str | None] = mapped_column(String(50))
    tracking_number: Mapped[str | None] = mapped_column(String(100))
    tracking_url: Mapped[str | None] = mapped_column(String(500))
    fulfillment_status: Mapped[str] = mapped_column(String(20), server_default="pending")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    paid_at: Mapped[datetime | None]
    shipped_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    notes: Mapped[str | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")


class OrderItem(TenantRow, Base):
    """One line of an order, as the product was when it was bought (seed 001 §6.5).

    It bears its order's user, so that a policy reads a column instead of another table.
    """

    __tablename__ = "order_items"
    __table_args__ = (
        tenant_fk(("order_id", "user_id"), "commerce.orders(id, user_id)", ondelete="CASCADE"),
        tenant_fk("product_id", "commerce.products", ondelete="RESTRICT"),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint(
            "unit_price >= 0 AND subtotal = unit_price * quantity AND discount_amount BETWEEN 0 AND subtotal "
            "AND total = subtotal - discount_amount",
            name="amounts",
        ),
        CheckConstraint(
            "download_count >= 0 AND (download_limit IS NULL OR download_count <= download_limit)", name="downloads"
        ),
        Index("ix_order_items_order", "tenant_id", "order_id"),
        Index("ix_order_items_product", "tenant_id", "product_id"),
        {"schema": "commerce"},
    )

    order_id: Mapped[UUID]
    user_id: Mapped[UUID]
    product_id: Mapped[UUID | None]
    product_name: Mapped[str] = mapped_column(String(500))
    product_sku: Mapped[str | None] = mapped_column(String(100))
    unit_price: Mapped[Decimal] = mapped_column(MONEY)
    quantity: Mapped[int] = mapped_column(server_default=text("1"))
    subtotal: Mapped[Decimal] = mapped_column(MONEY)
    discount_amount: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    total: Mapped[Decimal] = mapped_column(MONEY)
    download_url: Mapped[str | None] = mapped_column(String(500))
    download_expires_at: Mapped[datetime | None]
    download_count: Mapped[int] = mapped_column(server_default=text("0"))
    download_limit: Mapped[int | None]
