-- name: require_system
CREATE FUNCTION platform.require_system() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('app.role') <> 'system' THEN
        RAISE EXCEPTION 'usage is counted by the pipelines alone' USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$

-- name: name_period
CREATE FUNCTION platform.name_period(kind text) RETURNS date
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE kind WHEN 'storage' THEN DATE '1970-01-01'
                     WHEN 'usd' THEN date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
                     ELSE (clock_timestamp() AT TIME ZONE 'UTC')::date END
$$

-- name: end_period
CREATE FUNCTION platform.end_period(kind text) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE kind WHEN 'storage' THEN NULL
                     WHEN 'usd' THEN (platform.name_period(kind) + interval '1 month') AT TIME ZONE 'UTC'
                     ELSE (platform.name_period(kind) + interval '1 day') AT TIME ZONE 'UTC' END
$$

-- name: add_used
CREATE FUNCTION platform.add_used(tenant uuid, counted text, more numeric) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this constant date := platform.name_period(counted);
BEGIN
    IF more = 0 THEN RETURN; END IF;
    UPDATE platform.quota_counters c SET used = c.used + more
    WHERE c.tenant_id = tenant AND c.kind = counted AND c.period = this;
    IF FOUND OR more < 0 THEN RETURN; END IF;
    INSERT INTO platform.quota_counters AS c (tenant_id, kind, period, used) VALUES (tenant, counted, this, more)
    ON CONFLICT (tenant_id, kind, period) DO UPDATE SET used = c.used + excluded.used;
    -- a new day or month began: what the ones before it used stands in usage_metrics
    DELETE FROM platform.quota_counters c WHERE c.tenant_id = tenant AND c.kind = counted AND c.period < this;
END $$

-- name: lock_quotas
CREATE FUNCTION platform.lock_quotas(tenant uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('quotas:' || tenant, 0));
    -- of processes that died; whoever settles one at this moment keeps it
    DELETE FROM platform.quota_reservations r WHERE r.tenant_id = tenant AND r.id IN (
        SELECT o.id FROM platform.quota_reservations o
        WHERE o.tenant_id = tenant AND o.lapses_at < clock_timestamp() FOR UPDATE SKIP LOCKED);
END $$

-- name: reserve_usage
CREATE FUNCTION platform.reserve_usage(
    wanted uuid, more_tokens bigint, more_ingestions int, more_bytes bigint, more_usd numeric, lapse interval,
    always boolean,
    OUT refused text, OUT cap numeric, OUT used numeric, OUT reserved numeric, OUT resets_at timestamptz, OUT held boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    tenant constant uuid := current_setting('app.tenant_id')::uuid;
    q platform.tenant_quotas;
    of_kind record;
BEGIN
    PERFORM platform.require_system();
    IF least(more_tokens, more_ingestions, more_bytes, more_usd) < 0 OR lapse NOT BETWEEN interval '0' AND interval '1 day' THEN
        RAISE EXCEPTION 'only amounts from nothing up are reserved, for a day at most' USING ERRCODE = 'check_violation';
    END IF;
    SELECT * INTO q FROM platform.tenant_quotas t WHERE t.tenant_id = tenant;
    held := (more_tokens > 0 AND q.max_tokens_per_day IS NOT NULL)
        OR (more_ingestions > 0 AND q.max_ingestions_day IS NOT NULL)
        OR (more_bytes > 0 AND q.max_storage_bytes IS NOT NULL)
        OR (coalesce(more_usd, 1) > 0 AND q.max_model_usd_month IS NOT NULL);
    IF held THEN
        PERFORM platform.lock_quotas(tenant);
        -- One statement, one snapshot: what is settled meanwhile is seen either as reserved or as used.
        FOR of_kind IN
            SELECT k.kind, k.most, k.more, k.exact, coalesce(c.used, 0) AS used, k.held FROM (
                SELECT coalesce(sum(r.tokens), 0) AS tokens, coalesce(sum(r.ingestions), 0) AS ingestions,
                       coalesce(sum(r.bytes), 0) AS bytes, coalesce(sum(r.usd), 0) AS usd
                FROM platform.quota_reservations r WHERE r.tenant_id = tenant AND r.lapses_at >= clock_timestamp()
            ) h
            CROSS JOIN LATERAL (VALUES
                (1, 'tokens', q.max_tokens_per_day::numeric, more_tokens::numeric, false, h.tokens::numeric),
                (2, 'ingestions', q.max_ingestions_day, more_ingestions, true, h.ingestions),
                (3, 'storage', q.max_storage_bytes, more_bytes, true, h.bytes),
                (4, 'usd', q.max_model_usd_month, coalesce(more_usd, -1), true, h.usd)
            ) AS k (place, kind, most, more, exact, held)
            LEFT JOIN platform.quota_counters c
                ON c.tenant_id = tenant AND c.kind = k.kind AND c.period = platform.name_period(k.kind)
            WHERE k.most IS NOT NULL AND k.more <> 0 ORDER BY k.place
        LOOP
            -- What is exact must fit; tokens are reserved at their most, of which little is used, so there the last
            -- request may begin as long as anything is left: it alone can pass the limit.
            IF of_kind.more < 0 OR of_kind.used + of_kind.held >= of_kind.most
               OR (of_kind.exact AND of_kind.used + of_kind.held + of_kind.more > of_kind.most) THEN
                refused := CASE WHEN of_kind.more < 0 THEN 'price' ELSE of_kind.kind END;
                cap := of_kind.most; used := of_kind.used; reserved := of_kind.held;
                resets_at := platform.end_period(of_kind.kind); held := false;
                RETURN;
            END IF;
        END LOOP;
    END IF;
    IF held OR always THEN
        INSERT INTO platform.quota_reservations AS r (tenant_id, id, tokens, ingestions, bytes, usd, lapses_at)
        VALUES (tenant, wanted, more_tokens, more_ingestions, more_bytes, coalesce(more_usd, 0), clock_timestamp() + lapse)
        ON CONFLICT (tenant_id, id) DO UPDATE SET
            tokens = r.tokens + excluded.tokens, ingestions = r.ingestions + excluded.ingestions,
            bytes = r.bytes + excluded.bytes, usd = r.usd + excluded.usd,
            lapses_at = greatest(r.lapses_at, excluded.lapses_at);
        held := true;
    END IF;
END $$

-- name: reserve_objects
CREATE FUNCTION platform.reserve_objects(ids uuid[], sizes bigint[], lapse interval)
RETURNS TABLE (object_id uuid, refused text, cap numeric, used numeric, reserved numeric, resets_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    tenant constant uuid := current_setting('app.tenant_id')::uuid;
    q platform.tenant_quotas;
    known uuid[];
    counted numeric; counted_held numeric; kept numeric; kept_held numeric;
    granted uuid[] := '{}'; granted_bytes bigint[] := '{}';
BEGIN
    PERFORM platform.require_system();
    IF lapse NOT BETWEEN interval '0' AND interval '1 day' OR cardinality(ids) <> cardinality(sizes) OR 0 > ANY (sizes) THEN
        RAISE EXCEPTION 'only sizes from nothing up are reserved, for a day at most' USING ERRCODE = 'check_violation';
    END IF;
    SELECT * INTO q FROM platform.tenant_quotas t WHERE t.tenant_id = tenant;
    IF q.max_ingestions_day IS NULL AND q.max_storage_bytes IS NULL THEN RETURN; END IF;
    PERFORM platform.lock_quotas(tenant);
    SELECT coalesce(sum(r.ingestions), 0), coalesce(sum(r.bytes), 0),
           coalesce(array_agg(r.id) FILTER (WHERE r.id = ANY (ids)), '{}'),
           coalesce((SELECT c.used FROM platform.quota_counters c WHERE c.tenant_id = tenant AND c.kind = 'ingestions'
                     AND c.period = platform.name_period('ingestions')), 0),
           coalesce((SELECT c.used FROM platform.quota_counters c WHERE c.tenant_id = tenant AND c.kind = 'storage'
                     AND c.period = platform.name_period('storage')), 0)
    INTO counted_held, kept_held, known, counted, kept
    FROM platform.quota_reservations r WHERE r.tenant_id = tenant AND r.lapses_at >= clock_timestamp();
    FOR n IN 1..cardinality(ids) LOOP
        CONTINUE WHEN ids[n] = ANY (known);  -- granted when it was uploaded
        object_id := ids[n]; refused := NULL;
        IF counted + counted_held + 1 > q.max_ingestions_day THEN
            refused := 'ingestions'; cap := q.max_ingestions_day; used := counted; reserved := counted_held;
        ELSIF sizes[n] > 0 AND kept + kept_held + sizes[n] > q.max_storage_bytes THEN
            refused := 'storage'; cap := q.max_storage_bytes; used := kept; reserved := kept_held;
        END IF;
        IF refused IS NULL THEN
            counted_held := counted_held + 1; kept_held := kept_held + sizes[n];
            granted := granted || ids[n]; granted_bytes := granted_bytes || sizes[n];
        ELSE
            resets_at := platform.end_period(refused);
            RETURN NEXT;
        END IF;
    END LOOP;
    INSERT INTO platform.quota_reservations (tenant_id, id, ingestions, bytes, lapses_at)
    SELECT tenant, g.id, 1, g.size, clock_timestamp() + lapse FROM unnest(granted, granted_bytes) AS g (id, size)
    ON CONFLICT (tenant_id, id) DO UPDATE SET ingestions = 1, bytes = excluded.bytes, lapses_at = excluded.lapses_at;
END $$

-- name: settle_usage
CREATE FUNCTION platform.settle_usage(finished uuid[], calls jsonb, wanted uuid, back_tokens bigint, back_usd numeric)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant constant uuid := current_setting('app.tenant_id')::uuid;
    today constant date := platform.name_period('tokens');
    total record;
BEGIN
    PERFORM platform.require_system();
    IF least(back_tokens, back_usd) < 0 THEN
        RAISE EXCEPTION 'only amounts from nothing up are given back' USING ERRCODE = 'check_violation';
    END IF;
    SELECT coalesce(sum(c.input_tokens + c.output_tokens), 0) AS tokens, coalesce(sum(c.ingestions), 0) AS ingestions,
           coalesce(sum(c.cost_usd), 0) AS usd,
           coalesce(least(min(c.requests), min(c.input_tokens), min(c.output_tokens), min(c.ingestions), min(c.unpriced),
                          min(c.stored_bytes), min(c.cost_usd)), 0) AS lowest
    INTO total FROM jsonb_to_recordset(calls) AS c (
        requests int, input_tokens bigint, output_tokens bigint, ingestions int, unpriced int, stored_bytes bigint,
        cost_usd numeric);
    IF total.lowest < 0 OR total.usd = 'NaN' THEN
        RAISE EXCEPTION 'usage only grows' USING ERRCODE = 'check_violation';
    END IF;
    -- Rows and counters are always taken in the same order, so that those who meet on them wait and never deadlock.
    INSERT INTO platform.usage_metrics AS m (
        tenant_id, date, feature, flow_run_id, requests, input_tokens, output_tokens, tokens_used, ingestions, unpriced,
        storage_used, cost_usd)
    SELECT tenant, today, c.feature, c.flow_run_id, sum(c.requests), sum(c.input_tokens), sum(c.output_tokens),
           sum(c.input_tokens + c.output_tokens), sum(c.ingestions), sum(c.unpriced), sum(c.stored_bytes), sum(c.cost_usd)
    FROM jsonb_to_recordset(calls) AS c (
        feature text, flow_run_id uuid, requests int, input_tokens bigint, output_tokens bigint, ingestions int,
        unpriced int, stored_bytes bigint, cost_usd numeric)
    GROUP BY c.feature, c.flow_run_id ORDER BY c.feature, c.flow_run_id
    ON CONFLICT (tenant_id, date, feature, flow_run_id) DO UPDATE SET
        requests = m.requests + excluded.requests, input_tokens = m.input_tokens + excluded.input_tokens,
        output_tokens = m.output_tokens + excluded.output_tokens, tokens_used = m.tokens_used + excluded.tokens_used,
        ingestions = m.ingestions + excluded.ingestions, unpriced = m.unpriced + excluded.unpriced,
        storage_used = m.storage_used + excluded.storage_used,
        cost_usd = CASE WHEN excluded.cost_usd IS NULL THEN m.cost_usd
                        ELSE coalesce(m.cost_usd, 0) + excluded.cost_usd END;
    PERFORM platform.add_used(tenant, 'tokens', total.tokens);
    PERFORM platform.add_used(tenant, 'ingestions', total.ingestions);
    PERFORM platform.add_used(tenant, 'usd', total.usd);
    -- What was used is counted in the same transaction in which what was reserved for it goes.
    IF wanted IS NOT NULL THEN
        UPDATE platform.quota_reservations r
        SET tokens = greatest(r.tokens - back_tokens, 0), usd = greatest(r.usd - back_usd, 0)
        WHERE r.tenant_id = tenant AND r.id = wanted;
    END IF;
    DELETE FROM platform.quota_reservations r WHERE r.tenant_id = tenant
        AND (r.id = ANY (finished) OR (r.id = wanted AND r.tokens + r.ingestions + r.bytes + r.usd = 0));
END $$

-- name: hand_over_upload
CREATE FUNCTION platform.hand_over_upload(object_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM platform.require_system();
    -- Its bytes are counted since its row was written, in this transaction; its turn is kept for the flow.
    UPDATE platform.quota_reservations r SET bytes = 0 WHERE r.tenant_id = current_setting('app.tenant_id')::uuid
        AND r.id = object_id AND EXISTS (
            SELECT FROM ingestion.ingested_objects o
            WHERE o.tenant_id = r.tenant_id AND o.id = object_id AND o.storage_key IS NOT NULL);
END $$

-- name: end_reservation
CREATE FUNCTION chat.end_reservation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM platform.quota_reservations r WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.id;
    RETURN NULL;
END $$

-- name: count_object_bytes
CREATE FUNCTION ingestion.count_object_bytes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR d IN SELECT tenant_id, sum(size_bytes) AS more FROM added
                 WHERE storage_key IS NOT NULL OR ingestion_status = 'indexed' GROUP BY 1 LOOP
            PERFORM platform.add_used(d.tenant_id, 'storage', d.more);
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR d IN SELECT tenant_id, sum(size_bytes) AS more FROM gone
                 WHERE storage_key IS NOT NULL OR ingestion_status = 'indexed' GROUP BY 1 LOOP
            PERFORM platform.add_used(d.tenant_id, 'storage', -d.more);
        END LOOP;
    ELSE
        FOR d IN SELECT tenant_id, sum(more) AS more FROM (
                     SELECT tenant_id, size_bytes AS more FROM added WHERE storage_key IS NOT NULL OR ingestion_status = 'indexed'
                     UNION ALL
                     SELECT tenant_id, -size_bytes FROM gone WHERE storage_key IS NOT NULL OR ingestion_status = 'indexed'
                 ) both_ GROUP BY 1 LOOP
            PERFORM platform.add_used(d.tenant_id, 'storage', d.more);
        END LOOP;
    END IF;
    RETURN NULL;
END $$

-- name: count_media_bytes
CREATE FUNCTION content.count_media_bytes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR d IN SELECT tenant_id, sum(file_size_bytes) AS more FROM added GROUP BY 1 LOOP
            PERFORM platform.add_used(d.tenant_id, 'storage', d.more);
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR d IN SELECT tenant_id, sum(file_size_bytes) AS more FROM gone GROUP BY 1 LOOP
            PERFORM platform.add_used(d.tenant_id, 'storage', -d.more);
        END LOOP;
    ELSE
        FOR d IN SELECT tenant_id, sum(more) AS more FROM (
                     SELECT tenant_id, file_size_bytes AS more FROM added
                     UNION ALL SELECT tenant_id, -file_size_bytes FROM gone
                 ) both_ GROUP BY 1 LOOP
            PERFORM platform.add_used(d.tenant_id, 'storage', d.more);
        END LOOP;
    END IF;
    RETURN NULL;
END $$

-- name: take_over_usage
INSERT INTO platform.usage_metrics (
    tenant_id, date, feature, requests, input_tokens, output_tokens, tokens_used, unpriced, cost_usd)
SELECT r.tenant_id, (r.started_at AT TIME ZONE 'UTC')::date,
       CASE r.agent_type WHEN 'claim_extractor' THEN 'evidence' WHEN 'answer_judge' THEN 'evaluation' ELSE 'chat' END AS feature,
       count(*), coalesce(sum((r.metadata->>'input_tokens')::bigint), 0),
       coalesce(sum((r.metadata->>'output_tokens')::bigint), 0),
       coalesce(sum((r.metadata->>'input_tokens')::bigint), 0) + coalesce(sum((r.metadata->>'output_tokens')::bigint), 0),
       count(*) FILTER (WHERE r.metadata ? 'cost_usd' AND r.metadata->>'cost_usd' IS NULL),
       sum((r.metadata->>'cost_usd')::numeric)
FROM chat.agent_runs r GROUP BY 1, 2, 3
ON CONFLICT DO NOTHING

-- name: take_over_counters
INSERT INTO platform.quota_counters (tenant_id, kind, period, used)
SELECT m.tenant_id, k.kind, k.period, sum(k.used) FROM platform.usage_metrics m
CROSS JOIN LATERAL (VALUES
    ('tokens', platform.name_period('tokens'), m.date, m.tokens_used::numeric),
    ('usd', platform.name_period('usd'), date_trunc('month', m.date)::date, m.cost_usd)
) AS k (kind, period, own, used)
WHERE k.own = k.period GROUP BY 1, 2, 3 HAVING sum(k.used) > 0

-- name: take_over_storage
INSERT INTO platform.quota_counters (tenant_id, kind, period, used)
SELECT b.tenant_id, 'storage', platform.name_period('storage'), sum(b.bytes) FROM (
    SELECT tenant_id, size_bytes AS bytes FROM ingestion.ingested_objects
    WHERE storage_key IS NOT NULL OR ingestion_status = 'indexed'
    UNION ALL SELECT tenant_id, file_size_bytes FROM content.media_assets
) b GROUP BY 1
