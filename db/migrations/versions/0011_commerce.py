"""Payments, subscriptions, coupons, orders, and the ledger."""

from alembic import op

from db import policies
from db.ddl import read_sql
from db.migrations.tables.commerce_0011 import create_tables

revision = "0011"
down_revision = "0010"

SQL = read_sql("0011_commerce")

GUARD_TRANSACTION = SQL["guard_transaction"]
COUNT_REFUND = SQL["count_refund"]
COUNT_REDEMPTION = SQL["count_redemption"]
RELEASE_COUPON = SQL["release_coupon"]
GUARD_ORDER = SQL["guard_order"]
CHECK_BALANCE = SQL["check_balance"]
BALANCES = SQL["balances"]


def upgrade() -> None:
    """Apply."""
    for schema in ("commerce", "accounting"):
        op.execute(f"CREATE SCHEMA {schema}")
        op.execute(f"GRANT USAGE ON SCHEMA {schema} TO regenesis_app")
        policies.view_audit(schema)
    create_tables()
    for statement in (
        GUARD_TRANSACTION,
        COUNT_REFUND,
        COUNT_REDEMPTION,
        RELEASE_COUPON,
        GUARD_ORDER,
        CHECK_BALANCE,
        BALANCES,
    ):
        op.execute(statement)
    _create_triggers()
    _guard()


TRIGGERS = (
    "guard BEFORE INSERT OR UPDATE OR DELETE ON commerce.transactions FOR EACH ROW EXECUTE FUNCTION commerce.guard_transaction()",
    "keep_all BEFORE TRUNCATE ON commerce.transactions FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()",
    "refund AFTER INSERT OR UPDATE OF status ON commerce.transactions FOR EACH ROW "
    "WHEN (NEW.transaction_type = 'refund') EXECUTE FUNCTION commerce.count_refund()",
    "release AFTER UPDATE OF status ON commerce.transactions FOR EACH ROW "
    "WHEN (NEW.status IN ('failed', 'cancelled')) EXECUTE FUNCTION commerce.release_coupon()",
    "count AFTER INSERT OR UPDATE OF released_at ON commerce.coupon_redemptions FOR EACH ROW "
    "EXECUTE FUNCTION commerce.count_redemption()",
    "guard BEFORE UPDATE ON commerce.orders FOR EACH ROW EXECUTE FUNCTION commerce.guard_order()",
    "keep BEFORE UPDATE OR DELETE ON accounting.ledger_entries FOR EACH ROW EXECUTE FUNCTION platform.refuse_change()",
    "keep_all BEFORE TRUNCATE ON accounting.ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()",
)
DEFERRED = (
    "balance AFTER INSERT ON accounting.ledger_entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
    "EXECUTE FUNCTION accounting.check_balance()",
    "posted AFTER INSERT OR UPDATE OF status ON commerce.transactions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
    "WHEN (NEW.status = 'success' AND NEW.amount > 0) EXECUTE FUNCTION accounting.check_posted()",
)


def _create_triggers() -> None:
    for trigger in TRIGGERS:
        op.execute(f"CREATE TRIGGER {trigger}")
    for trigger in DEFERRED:
        op.execute(f"CREATE CONSTRAINT TRIGGER {trigger}")
    # Counters that triggers keep leave no audit row of their own: the redemption or refund that moved them does.
    policies.audit_changes(
        "commerce.transactions",
        "status",
        "transaction_type",
        "reference_type",
        "payment_method",
        "gateway_name",
        "currency",
        of="status, gateway_name, gateway_transaction_id, gateway_reference, failure_reason, refund_reason",
    )
    policies.audit_changes(
        "commerce.coupons",
        "discount_type",
        "applies_to",
        "currency",
        of="code, discount_type, discount_value, currency, applies_to, applicable_tiers, applicable_items, max_uses, "
        "max_uses_per_user, valid_from, valid_until, is_active, description, internal_notes",
    )
    policies.audit_changes("commerce.payment_gateways", "name")
    policies.audit_changes("commerce.plans", "tier", "billing_cycle", "currency")
    policies.audit_changes(
        "commerce.subscriptions", "tier", "billing_cycle", "status", "currency", "cancellation_reason"
    )
    policies.audit_changes("commerce.coupon_redemptions")
    policies.audit_changes("commerce.products", "product_type", "status", "currency")
    policies.audit_changes("commerce.product_files")
    policies.audit_changes("commerce.orders", "payment_status", "fulfillment_status", "currency")
    policies.audit_changes("commerce.order_items")
    policies.audit_changes("accounting.ledger_entries", "account", "currency", "memo")


def _guard() -> None:
    admin = f"{policies.ROLE} = 'admin'"
    policies.guard_where(
        "commerce.transactions", f"user_id = {policies.USER} OR seller_id = {policies.USER} OR {admin}"
    )
    for table in ("subscriptions", "coupon_redemptions", "orders", "order_items"):
        policies.guard_where(f"commerce.{table}", f"user_id = {policies.USER} OR {admin}")
    policies.guard_shared("commerce.plans")
    policies.guard_where("commerce.products", f"status = 'active' OR {admin}")
    for table in ("coupons", "product_files"):
        policies.guard_where(f"commerce.{table}", admin)
    for table in ("products", "coupons", "product_files"):
        policies.allow(f"commerce.{table}", "admin_all", "ALL", admin)
    policies.guard_internal("commerce.payment_gateways")
    policies.guard_where("accounting.ledger_entries", admin)
    # The triggers run as the owner, whoever writes; they name their tenant themselves.
    for table in ("transactions", "coupons", "coupon_redemptions"):
        policies.allow(f"commerce.{table}", "counting", "ALL", "true", to="regenesis_owner")
    policies.allow("accounting.ledger_entries", "checking", "SELECT", "true", to="regenesis_owner")

    # What must not change, the app's role may not change: sums, counters, what was bought.
    policies.grant(
        "commerce.transactions",
        "SELECT, INSERT, UPDATE (status, gateway_name, gateway_transaction_id, gateway_reference, payment_method, expires_at, "
        "processed_at, failed_at, cancelled_at, refunded_at, metadata, failure_reason, refund_reason)",
    )
    policies.grant("commerce.subscriptions", "SELECT, INSERT, UPDATE")
    policies.grant("commerce.coupon_redemptions", "SELECT, INSERT, UPDATE (released_at)")
    policies.grant(
        "commerce.coupons",
        "SELECT, INSERT, DELETE, UPDATE (code, discount_type, discount_value, currency, applies_to, applicable_tiers, "
        "applicable_items, max_uses, max_uses_per_user, valid_from, valid_until, is_active, description, internal_notes, "
        "updated_at)",
    )
    policies.grant(
        "commerce.orders",
        "SELECT, INSERT, UPDATE (payment_status, transaction_id, shipping_address, shipping_method, tracking_number, "
        "tracking_url, fulfillment_status, paid_at, shipped_at, delivered_at, cancelled_at, notes, metadata)",
    )
    policies.grant("commerce.order_items", "SELECT, INSERT, UPDATE (download_url, download_expires_at, download_count)")
    for table in ("payment_gateways", "plans", "products", "product_files"):
        policies.grant(f"commerce.{table}")
    policies.grant("accounting.ledger_entries", "SELECT, INSERT")
    policies.grant("accounting.balances", "SELECT")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA accounting CASCADE")
    op.execute("DROP SCHEMA commerce CASCADE")
