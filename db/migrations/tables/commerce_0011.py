"""The tables of migration 0011: payments, subscriptions, coupons, orders, and the ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.ddl import add_index, inner_key, tenant_key


def create_tables() -> None:
    """Create the tables and their indexes, without a word on who may read them."""
    op.create_table(
        "payment_gateways",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name ~ '^[a-z0-9_]{2,50}$'", name=op.f("ck_payment_gateways_name")),
        tenant_key("payment_gateways"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_payment_gateways")),
        sa.UniqueConstraint("tenant_id", "name", name=("uq_payment_gateways_tenant_id_name")),
        schema="commerce",
    )
    op.create_table(
        "plans",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("billing_cycle", sa.String(length=20), nullable=False),
        sa.Column("amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("trial_days", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("billing_cycle IN ('monthly', 'annual')", name=op.f("ck_plans_billing_cycle")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_plans_currency")),
        sa.CheckConstraint("tier IN ('discover', 'build', 'thrive', 'impact')", name=op.f("ck_plans_tier")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_plans_amount")),
        sa.CheckConstraint("trial_days BETWEEN 0 AND 365", name=op.f("ck_plans_trial_days")),
        tenant_key("plans"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_plans")),
        sa.UniqueConstraint(
            "tenant_id", "tier", "billing_cycle", "currency", name=("uq_plans_tenant_id_tier_billing_cycle_currency")
        ),
        schema="commerce",
    )
    op.create_table(
        "products",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("product_type", sa.String(length=20), nullable=False),
        sa.Column("category", sa.String(length=100), nullable=True),
        sa.Column("price", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("compare_at_price", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("sku", sa.String(length=100), nullable=True),
        sa.Column("track_inventory", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("inventory_quantity", sa.Integer(), nullable=True),
        sa.Column("low_stock_threshold", sa.Integer(), nullable=True),
        sa.Column("download_limit", sa.Integer(), nullable=True),
        sa.Column("requires_shipping", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("weight_grams", sa.Integer(), nullable=True),
        sa.Column("images", postgresql.JSONB(), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="draft", nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("meta_description", sa.Text(), nullable=True),
        sa.Column("meta_keywords", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_products_currency")),
        sa.CheckConstraint("product_type IN ('physical', 'digital', 'bundle')", name=op.f("ck_products_product_type")),
        sa.CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f("ck_products_slug")),
        sa.CheckConstraint("status IN ('draft', 'active', 'archived')", name=op.f("ck_products_status")),
        sa.CheckConstraint(
            "NOT track_inventory OR inventory_quantity IS NOT NULL", name=op.f("ck_products_track_inventory")
        ),
        sa.CheckConstraint("download_limit > 0", name=op.f("ck_products_download_limit")),
        sa.CheckConstraint("inventory_quantity >= 0", name=op.f("ck_products_inventory_quantity")),
        sa.CheckConstraint("price >= 0 AND compare_at_price >= 0", name=op.f("ck_products_price")),
        tenant_key("products"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_products")),
        sa.UniqueConstraint("tenant_id", "sku", name=("uq_products_tenant_id_sku")),
        sa.UniqueConstraint("tenant_id", "slug", name=("uq_products_tenant_id_slug")),
        schema="commerce",
    )
    add_index("ix_products_category", "commerce.products", "tenant_id", "category")
    add_index("ix_products_status", "commerce.products", "tenant_id", "status", where="status = 'active'")
    op.create_table(
        "coupons",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("code", sa.String(length=50), nullable=False),
        sa.Column("discount_type", sa.String(length=20), nullable=False),
        sa.Column("discount_value", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("applies_to", sa.String(length=30), nullable=False),
        sa.Column("applicable_tiers", postgresql.JSONB(), nullable=True),
        sa.Column("applicable_items", postgresql.JSONB(), nullable=True),
        sa.Column("max_uses", sa.Integer(), nullable=True),
        sa.Column("max_uses_per_user", sa.Integer(), server_default=sa.text("1"), nullable=True),
        sa.Column("current_uses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("internal_notes", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "applies_to IN ('all', 'subscription', 'course', 'event', 'merchandise', 'coaching')",
            name=op.f("ck_coupons_applies_to"),
        ),
        sa.CheckConstraint("code ~ '^[A-Z0-9][A-Z0-9_-]{2,49}$'", name=op.f("ck_coupons_code")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_coupons_currency")),
        sa.CheckConstraint(
            "discount_type <> 'fixed_amount' OR (discount_value >= 0 AND currency IS NOT NULL)",
            name=op.f("ck_coupons_fixed_amount"),
        ),
        sa.CheckConstraint(
            "discount_type <> 'percentage' OR (discount_value >= 0 AND discount_value <= 100)",
            name=op.f("ck_coupons_percentage"),
        ),
        sa.CheckConstraint("discount_type IN ('percentage', 'fixed_amount')", name=op.f("ck_coupons_discount_type")),
        sa.CheckConstraint(
            "current_uses >= 0 AND (max_uses IS NULL OR current_uses <= max_uses)", name=op.f("ck_coupons_current_uses")
        ),
        sa.CheckConstraint("max_uses > 0 AND max_uses_per_user > 0", name=op.f("ck_coupons_limits")),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_coupons_validity")),
        inner_key("coupons", "created_by", "identity.users", "SET NULL"),
        tenant_key("coupons"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_coupons")),
        sa.UniqueConstraint("tenant_id", "code", name=("uq_coupons_tenant_id_code")),
        schema="commerce",
    )
    add_index("ix_coupons_validity", "commerce.coupons", "tenant_id", "valid_from", "valid_until", where="is_active")
    op.create_table(
        "product_files",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("digital_file_url", sa.String(length=500), nullable=False),
        inner_key("product_files", "product_id", "commerce.products", "CASCADE"),
        tenant_key("product_files"),
        sa.PrimaryKeyConstraint("tenant_id", "product_id", name=("pk_product_files")),
        schema="commerce",
    )
    op.create_table(
        "transactions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("seller_id", sa.Uuid(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("tax_amount", sa.Numeric(precision=10, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("transaction_type", sa.String(length=30), nullable=False),
        sa.Column("reference_type", sa.String(length=30), nullable=True),
        sa.Column("reference_id", sa.Uuid(), nullable=True),
        sa.Column("refund_of", sa.Uuid(), nullable=True),
        sa.Column("refunded_amount", sa.Numeric(precision=10, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("payment_method", sa.String(length=30), nullable=False),
        sa.Column("gateway_name", sa.String(length=50), nullable=True),
        sa.Column("gateway_transaction_id", sa.String(length=255), nullable=True),
        sa.Column("gateway_reference", sa.String(length=255), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="pending", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("refund_reason", sa.Text(), nullable=True),
        sa.Column("platform_fee_percent", sa.Numeric(precision=5, scale=2), nullable=True),
        sa.Column("platform_fee_amount", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("seller_payout_amount", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.CheckConstraint(
            "(transaction_type = 'refund') = (refund_of IS NOT NULL)", name=op.f("ck_transactions_refund_of")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_transactions_currency")),
        sa.CheckConstraint("gateway_name ~ '^[a-z0-9_]{2,50}$'", name=op.f("ck_transactions_gateway_name")),
        sa.CheckConstraint("payment_method ~ '^[a-z0-9_]{2,30}$'", name=op.f("ck_transactions_payment_method")),
        sa.CheckConstraint(
            "reference_type IN ('program', 'event', 'coaching_session', 'product', 'plan', 'subscription', 'order')",
            name=op.f("ck_transactions_reference_type"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'success', 'failed', 'refunded', 'cancelled')",
            name=op.f("ck_transactions_status"),
        ),
        sa.CheckConstraint(
            "transaction_type IN ('subscription', 'course', 'event', 'merchandise', 'coaching', 'donation', 'refund')",
            name=op.f("ck_transactions_transaction_type"),
        ),
        sa.CheckConstraint(
            "(platform_fee_amount IS NULL) = (seller_payout_amount IS NULL) AND platform_fee_amount + seller_payout_amount = amount - tax_amount",
            name=op.f("ck_transactions_commission"),
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_transactions_amount")),
        sa.CheckConstraint(
            "gateway_transaction_id IS NULL OR gateway_name IS NOT NULL", name=op.f("ck_transactions_gateway")
        ),
        sa.CheckConstraint(
            "platform_fee_amount >= 0 AND seller_payout_amount >= 0", name=op.f("ck_transactions_commission_signs")
        ),
        sa.CheckConstraint("platform_fee_percent BETWEEN 0 AND 100", name=op.f("ck_transactions_platform_fee_percent")),
        sa.CheckConstraint("refunded_amount BETWEEN 0 AND amount", name=op.f("ck_transactions_refunded_amount")),
        sa.CheckConstraint("tax_amount BETWEEN 0 AND amount", name=op.f("ck_transactions_tax_amount")),
        inner_key("transactions", ("refund_of", "currency"), "commerce.transactions(id, currency)", "RESTRICT"),
        inner_key("transactions", "seller_id", "identity.users", "RESTRICT"),
        inner_key("transactions", "user_id", "identity.users", "RESTRICT"),
        tenant_key("transactions"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_transactions")),
        sa.UniqueConstraint(
            "tenant_id",
            "gateway_name",
            "gateway_transaction_id",
            name=("uq_transactions_tenant_id_gateway_name_gateway_transaction_id"),
        ),
        sa.UniqueConstraint("tenant_id", "id", "currency", name=("uq_transactions_tenant_id_id_currency")),
        sa.UniqueConstraint(
            "tenant_id", "user_id", "idempotency_key", name=("uq_transactions_tenant_id_user_id_idempotency_key")
        ),
        schema="commerce",
    )
    add_index(
        "ix_transactions_expiring", "commerce.transactions", "tenant_id", "expires_at", where="status = 'pending'"
    )
    add_index("ix_transactions_gateway", "commerce.transactions", "tenant_id", "gateway_transaction_id")
    add_index("ix_transactions_reference", "commerce.transactions", "tenant_id", "reference_type", "reference_id")
    add_index(
        "ix_transactions_refund_of", "commerce.transactions", "tenant_id", "refund_of", where="refund_of IS NOT NULL"
    )
    add_index(
        "ix_transactions_seller",
        "commerce.transactions",
        "tenant_id",
        "seller_id",
        "created_at DESC",
        where="seller_id IS NOT NULL",
    )
    add_index("ix_transactions_status", "commerce.transactions", "tenant_id", "status")
    add_index(
        "ix_transactions_success", "commerce.transactions", "tenant_id", "created_at DESC", where="status = 'success'"
    )
    add_index("ix_transactions_type", "commerce.transactions", "tenant_id", "transaction_type")
    add_index("ix_transactions_user", "commerce.transactions", "tenant_id", "user_id", "created_at DESC")
    op.create_table(
        "ledger_entries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.String(length=30), nullable=False),
        sa.Column("amount", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("memo", sa.String(length=50), nullable=False),
        sa.CheckConstraint(
            "account IN ('cash', 'receivable', 'revenue', 'discounts', 'refunds', 'tax', 'platform_fees', 'seller_payable')",
            name=op.f("ck_ledger_entries_account"),
        ),
        sa.CheckConstraint("memo ~ '^[a-z][a-z_]{1,49}$'", name=op.f("ck_ledger_entries_memo")),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_entries_amount")),
        inner_key("ledger_entries", ("transaction_id", "currency"), "commerce.transactions(id, currency)", "RESTRICT"),
        tenant_key("ledger_entries"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_ledger_entries")),
        schema="accounting",
    )
    add_index("ix_ledger_entries_account", "accounting.ledger_entries", "tenant_id", "account", "occurred_at")
    add_index("ix_ledger_entries_transaction_id", "accounting.ledger_entries", "tenant_id", "transaction_id")
    op.create_table(
        "coupon_redemptions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("coupon_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("discount_amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("original_amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("final_amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "discount_amount >= 0 AND final_amount >= 0 AND original_amount - discount_amount = final_amount",
            name=op.f("ck_coupon_redemptions_amounts"),
        ),
        inner_key("coupon_redemptions", "coupon_id", "commerce.coupons", "RESTRICT"),
        inner_key("coupon_redemptions", "transaction_id", "commerce.transactions", "RESTRICT"),
        inner_key("coupon_redemptions", "user_id", "identity.users", "RESTRICT"),
        tenant_key("coupon_redemptions"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_coupon_redemptions")),
        schema="commerce",
    )
    add_index("ix_coupon_redemptions_coupon", "commerce.coupon_redemptions", "tenant_id", "coupon_id", "user_id")
    add_index("ix_coupon_redemptions_transaction_id", "commerce.coupon_redemptions", "tenant_id", "transaction_id")
    add_index("ix_coupon_redemptions_user", "commerce.coupon_redemptions", "tenant_id", "user_id")
    op.create_table(
        "orders",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("order_number", sa.String(length=50), nullable=False),
        sa.Column("subtotal", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("discount_amount", sa.Numeric(precision=10, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("tax_amount", sa.Numeric(precision=10, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("shipping_amount", sa.Numeric(precision=10, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("total_amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("payment_status", sa.String(length=20), server_default="pending", nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("shipping_address", sa.LargeBinary(), nullable=True),
        sa.Column("shipping_method", sa.String(length=50), nullable=True),
        sa.Column("tracking_number", sa.String(length=100), nullable=True),
        sa.Column("tracking_url", sa.String(length=500), nullable=True),
        sa.Column("fulfillment_status", sa.String(length=20), server_default="pending", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_orders_currency")),
        sa.CheckConstraint(
            "fulfillment_status IN ('pending', 'processing', 'shipped', 'delivered', 'cancelled')",
            name=op.f("ck_orders_fulfillment_status"),
        ),
        sa.CheckConstraint("payment_status IN ('pending', 'paid', 'refunded')", name=op.f("ck_orders_payment_status")),
        sa.CheckConstraint(
            "subtotal >= 0 AND discount_amount BETWEEN 0 AND subtotal AND tax_amount >= 0 AND shipping_amount >= 0 AND total_amount = subtotal - discount_amount + tax_amount + shipping_amount",
            name=op.f("ck_orders_amounts"),
        ),
        inner_key("orders", "transaction_id", "commerce.transactions", "RESTRICT"),
        inner_key("orders", "user_id", "identity.users", "RESTRICT"),
        tenant_key("orders"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_orders")),
        sa.UniqueConstraint("tenant_id", "id", "user_id", name=("uq_orders_tenant_id_id_user_id")),
        sa.UniqueConstraint("tenant_id", "order_number", name=("uq_orders_tenant_id_order_number")),
        schema="commerce",
    )
    add_index(
        "ix_orders_fulfillment",
        "commerce.orders",
        "tenant_id",
        "fulfillment_status",
        where="fulfillment_status IN ('pending', 'processing')",
    )
    add_index("ix_orders_transaction_id", "commerce.orders", "tenant_id", "transaction_id")
    add_index("ix_orders_user", "commerce.orders", "tenant_id", "user_id", "created_at DESC")
    op.create_table(
        "subscriptions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("billing_cycle", sa.String(length=20), nullable=False),
        sa.Column("amount", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payment_method", sa.String(length=30), nullable=True),
        sa.Column("gateway_subscription_id", sa.String(length=255), nullable=True),
        sa.Column("auto_renew", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("next_billing_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_plan_id", sa.Uuid(), nullable=True),
        sa.Column("last_payment_transaction_id", sa.Uuid(), nullable=True),
        sa.Column("trial_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancellation_reason", sa.String(length=20), nullable=True),
        sa.Column("cancellation_note", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'expired')) = (ended_at IS NOT NULL)", name=op.f("ck_subscriptions_ended_at")
        ),
        sa.CheckConstraint("billing_cycle IN ('monthly', 'annual')", name=op.f("ck_subscriptions_billing_cycle")),
        sa.CheckConstraint(
            "cancellation_reason IN ('user_requested', 'payment_failed', 'upgrade', 'downgrade')",
            name=op.f("ck_subscriptions_cancellation_reason"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_subscriptions_currency")),
        sa.CheckConstraint(
            "status IN ('active', 'cancelled', 'expired', 'suspended', 'past_due')",
            name=op.f("ck_subscriptions_status"),
        ),
        sa.CheckConstraint("tier IN ('discover', 'build', 'thrive', 'impact')", name=op.f("ck_subscriptions_tier")),
        sa.CheckConstraint(
            "(trial_start IS NULL) = (trial_end IS NULL) AND trial_end > trial_start",
            name=op.f("ck_subscriptions_trial"),
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_subscriptions_amount")),
        sa.CheckConstraint("current_period_end > current_period_start", name=op.f("ck_subscriptions_current_period")),
        inner_key("subscriptions", "last_payment_transaction_id", "commerce.transactions", "RESTRICT"),
        inner_key("subscriptions", "next_plan_id", "commerce.plans", "RESTRICT"),
        inner_key("subscriptions", "user_id", "identity.users", "RESTRICT"),
        tenant_key("subscriptions"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_subscriptions")),
        schema="commerce",
    )
    add_index(
        "ix_subscriptions_ending",
        "commerce.subscriptions",
        "tenant_id",
        "current_period_end",
        where="status IN ('active', 'past_due')",
    )
    add_index(
        "ix_subscriptions_renewal",
        "commerce.subscriptions",
        "tenant_id",
        "next_billing_date",
        where="status = 'active' AND auto_renew",
    )
    add_index("ix_subscriptions_status", "commerce.subscriptions", "tenant_id", "status")
    add_index("ix_subscriptions_user", "commerce.subscriptions", "tenant_id", "user_id")
    add_index(
        "uq_subscriptions_running",
        "commerce.subscriptions",
        "tenant_id",
        "user_id",
        unique=True,
        where="status IN ('active', 'past_due', 'suspended')",
    )
    op.create_table(
        "order_items",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=True),
        sa.Column("product_name", sa.String(length=500), nullable=False),
        sa.Column("product_sku", sa.String(length=100), nullable=True),
        sa.Column("unit_price", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subtotal", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("discount_amount", sa.Numeric(precision=10, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("download_url", sa.String(length=500), nullable=True),
        sa.Column("download_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("download_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("download_limit", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "download_count >= 0 AND (download_limit IS NULL OR download_count <= download_limit)",
            name=op.f("ck_order_items_downloads"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_items_quantity")),
        sa.CheckConstraint(
            "unit_price >= 0 AND subtotal = unit_price * quantity AND discount_amount BETWEEN 0 AND subtotal AND total = subtotal - discount_amount",
            name=op.f("ck_order_items_amounts"),
        ),
        inner_key("order_items", ("order_id", "user_id"), "commerce.orders(id, user_id)", "CASCADE"),
        inner_key("order_items", "product_id", "commerce.products", "RESTRICT"),
        tenant_key("order_items"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_order_items")),
        schema="commerce",
    )
    add_index("ix_order_items_order", "commerce.order_items", "tenant_id", "order_id")
    add_index("ix_order_items_product", "commerce.order_items", "tenant_id", "product_id")
    for schema, table, column in (
        ("commerce", "transactions", "created_at"),
        ("commerce", "orders", "created_at"),
        ("accounting", "ledger_entries", "occurred_at"),
    ):
        op.create_index(f"ix_{table}_{column}", table, ["tenant_id", column, "id"], schema=schema)
