-- name: guard_transaction
CREATE FUNCTION commerce.guard_transaction() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a payment is never deleted' USING ERRCODE = 'restrict_violation';
    ELSIF TG_OP = 'INSERT' THEN
        IF NEW.status NOT IN ('pending', 'processing', 'success') OR NEW.refunded_amount <> 0 THEN
            RAISE EXCEPTION 'a payment can not begin as %', NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transactions_step';
        END IF;
    ELSE
        IF (OLD.tenant_id, OLD.id, OLD.user_id, OLD.seller_id, OLD.amount, OLD.tax_amount, OLD.currency, OLD.transaction_type,
            OLD.reference_type, OLD.reference_id, OLD.refund_of, OLD.platform_fee_amount, OLD.seller_payout_amount, OLD.created_at)
           IS DISTINCT FROM
           (NEW.tenant_id, NEW.id, NEW.user_id, NEW.seller_id, NEW.amount, NEW.tax_amount, NEW.currency, NEW.transaction_type,
            NEW.reference_type, NEW.reference_id, NEW.refund_of, NEW.platform_fee_amount, NEW.seller_payout_amount, NEW.created_at)
        THEN
            RAISE EXCEPTION 'what a payment is of never changes' USING ERRCODE = 'restrict_violation';
        END IF;
        IF OLD.status = NEW.status THEN
            IF NEW.status <> 'pending' AND (OLD.gateway_name, OLD.gateway_transaction_id) IS DISTINCT FROM
                                           (NEW.gateway_name, NEW.gateway_transaction_id)
               AND OLD.gateway_transaction_id IS NOT NULL
               OR (OLD.processed_at, OLD.failed_at, OLD.cancelled_at, OLD.refunded_at) IS DISTINCT FROM
                  (NEW.processed_at, NEW.failed_at, NEW.cancelled_at, NEW.refunded_at)
            THEN
                RAISE EXCEPTION 'when and where a payment was made never changes' USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END IF;
        IF NOT (OLD.status = 'pending' AND NEW.status IN ('processing', 'success', 'failed', 'cancelled')
                OR OLD.status = 'processing' AND NEW.status IN ('success', 'failed', 'cancelled')
                OR OLD.status = 'success' AND NEW.status = 'refunded' AND NEW.refunded_amount = NEW.amount
                   AND NEW.transaction_type <> 'refund')
        THEN
            RAISE EXCEPTION 'a payment can not go from % to %', OLD.status, NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transactions_step';
        END IF;
    END IF;
    IF NEW.status = 'success' THEN
        NEW.processed_at := coalesce(NEW.processed_at, now());
    ELSIF NEW.status = 'failed' THEN
        NEW.failed_at := coalesce(NEW.failed_at, now());
    ELSIF NEW.status = 'cancelled' THEN
        NEW.cancelled_at := coalesce(NEW.cancelled_at, now());
    ELSIF NEW.status = 'refunded' THEN
        NEW.refunded_at := coalesce(NEW.refunded_at, now());
    END IF;
    RETURN NEW;
END $$

-- name: count_refund
CREATE FUNCTION commerce.count_refund() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moved numeric := CASE WHEN NEW.status IN ('failed', 'cancelled') THEN 0 ELSE NEW.amount END
                   - CASE WHEN TG_OP = 'INSERT' OR OLD.status IN ('failed', 'cancelled') THEN 0 ELSE NEW.amount END;
BEGIN
    IF moved <> 0 THEN
        UPDATE commerce.transactions t SET refunded_amount = t.refunded_amount + moved
        WHERE t.tenant_id = NEW.tenant_id AND t.id = NEW.refund_of AND t.status = 'success' AND t.transaction_type <> 'refund';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'only a payment that succeeded can be refunded'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transactions_refundable';
        END IF;
    END IF;
    IF NEW.status = 'success' THEN
        -- Two refunds may arrive at once: the lock makes the later one see the earlier.
        PERFORM FROM commerce.transactions t WHERE t.tenant_id = NEW.tenant_id AND t.id = NEW.refund_of FOR NO KEY UPDATE;
        UPDATE commerce.transactions t SET status = 'refunded'
        WHERE t.tenant_id = NEW.tenant_id AND t.id = NEW.refund_of AND t.status = 'success' AND t.refunded_amount = t.amount
          AND NOT EXISTS (SELECT FROM commerce.transactions r WHERE r.tenant_id = t.tenant_id AND r.refund_of = t.id
                          AND r.status IN ('pending', 'processing'));
    END IF;
    RETURN NULL;
END $$

-- name: count_redemption
CREATE FUNCTION commerce.count_redemption() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    used int := (NEW.released_at IS NULL)::int - CASE WHEN TG_OP = 'INSERT' THEN 0 ELSE (OLD.released_at IS NULL)::int END;
    allowed int;
BEGIN
    IF used = 0 THEN
        RETURN NULL;
    END IF;
    -- The coupon's row is locked from here on, so the count below can't miss anyone's.
    UPDATE commerce.coupons c SET current_uses = c.current_uses + used
    WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.coupon_id RETURNING c.max_uses_per_user INTO allowed;
    IF used > 0 AND (SELECT count(*) FROM commerce.coupon_redemptions r WHERE r.tenant_id = NEW.tenant_id
                     AND r.coupon_id = NEW.coupon_id AND r.user_id = NEW.user_id AND r.released_at IS NULL) > allowed
    THEN
        RAISE EXCEPTION 'this person used this coupon as often as allowed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'coupon_redemptions_per_user';
    END IF;
    RETURN NULL;
END $$

-- name: release_coupon
CREATE FUNCTION commerce.release_coupon() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE commerce.coupon_redemptions r SET released_at = now()
    WHERE r.tenant_id = NEW.tenant_id AND r.transaction_id = NEW.id AND r.released_at IS NULL;
    RETURN NULL;
END $$

-- name: guard_order
CREATE FUNCTION commerce.guard_order() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (OLD.tenant_id, OLD.id, OLD.user_id, OLD.order_number, OLD.subtotal, OLD.discount_amount, OLD.tax_amount,
        OLD.shipping_amount, OLD.total_amount, OLD.currency)
       IS DISTINCT FROM
       (NEW.tenant_id, NEW.id, NEW.user_id, NEW.order_number, NEW.subtotal, NEW.discount_amount, NEW.tax_amount,
        NEW.shipping_amount, NEW.total_amount, NEW.currency)
    THEN
        RAISE EXCEPTION 'what was ordered never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.payment_status <> NEW.payment_status
       AND (OLD.payment_status, NEW.payment_status) NOT IN (('pending', 'paid'), ('paid', 'refunded'))
       OR OLD.fulfillment_status <> NEW.fulfillment_status
       AND ((OLD.fulfillment_status, NEW.fulfillment_status) NOT IN (
                ('pending', 'processing'), ('pending', 'delivered'), ('pending', 'cancelled'), ('processing', 'shipped'),
                ('processing', 'delivered'), ('processing', 'cancelled'), ('shipped', 'delivered'))
            OR NEW.fulfillment_status <> 'cancelled' AND NEW.payment_status = 'pending')
       OR OLD.payment_status = 'pending' AND NEW.payment_status = 'paid' AND NEW.fulfillment_status = 'cancelled'
    THEN
        RAISE EXCEPTION 'an order can not go from %/% to %/%', OLD.payment_status, OLD.fulfillment_status,
            NEW.payment_status, NEW.fulfillment_status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_step';
    END IF;
    IF OLD.payment_status = 'pending' AND NEW.payment_status = 'paid' THEN
        NEW.paid_at := coalesce(NEW.paid_at, now());
    END IF;
    IF OLD.fulfillment_status <> NEW.fulfillment_status THEN
        CASE NEW.fulfillment_status
            WHEN 'shipped' THEN NEW.shipped_at := coalesce(NEW.shipped_at, now());
            WHEN 'delivered' THEN NEW.delivered_at := coalesce(NEW.delivered_at, now());
            WHEN 'cancelled' THEN NEW.cancelled_at := coalesce(NEW.cancelled_at, now());
            ELSE NULL;
        END CASE;
    END IF;
    RETURN NEW;
END $$

-- name: check_balance
CREATE FUNCTION accounting.check_balance() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever the session is bound to by now: lines that can't be seen do not balance either.
    IF (SELECT sum(e.amount) FROM accounting.ledger_entries e
        WHERE e.tenant_id = NEW.tenant_id AND e.transaction_id = NEW.transaction_id) IS DISTINCT FROM 0
    THEN
        RAISE EXCEPTION 'the ledger lines of transaction % do not add up to zero', NEW.transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balance';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION accounting.check_posted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT sum(e.amount) FROM accounting.ledger_entries e WHERE e.tenant_id = NEW.tenant_id
        AND e.transaction_id = NEW.id AND e.account IN ('cash', 'receivable'))
       IS DISTINCT FROM (CASE NEW.transaction_type WHEN 'refund' THEN -NEW.amount ELSE NEW.amount END)
    THEN
        RAISE EXCEPTION 'the payment % succeeded without its ledger lines; record it through domain.payments', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transactions_posted';
    END IF;
    RETURN NULL;
END $$

-- name: balances
CREATE VIEW accounting.balances WITH (security_invoker = true) AS
SELECT tenant_id, account, currency, sum(amount) AS balance, count(*) AS entries, max(occurred_at) AS last_entry_at
FROM accounting.ledger_entries GROUP BY tenant_id, account, currency
