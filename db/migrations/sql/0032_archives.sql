-- name: monthly_tables
-- What is archived by month: the table, the kind of data its retention is about, and the column that tells the month.
CREATE FUNCTION governance.monthly_tables()
RETURNS TABLE (name text, data_type text, moment text, is_partitioned boolean) LANGUAGE sql IMMUTABLE AS $$
    VALUES ('governance.audit_logs', 'audit_logs', 'occurred_at', true),
           ('chat.chat_messages', 'conversations', 'created_at', true),
           ('comms.notifications', 'notifications', 'created_at', true),
           ('analytics.events', 'analytics_events', 'occurred_at', true),
           ('platform.usage_metrics', 'usage', 'date', true),
           ('commerce.transactions', 'transactions', 'created_at', false)
$$

-- name: retention_defaults
CREATE OR REPLACE FUNCTION governance.retention_defaults() RETURNS TABLE (data_type text, action text, days int)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('accounts_deleted', 'delete', 30), ('accounts_inactive', 'archive', 730),
           ('accounts_inactive', 'delete', 1095), ('transactions', 'archive', 730), ('audit_logs', 'archive', 365),
           ('audit_logs', 'delete', 1095), ('messages', 'delete', 365), ('notifications', 'delete', 90),
           ('sign_in_sessions', 'delete', 1), ('unused_media', 'archive', 180), ('unused_media', 'delete', 365),
           ('analytics_events', 'delete', 365), ('deliveries', 'delete', 90)
$$

-- name: retention_days
-- The bound tenant's days for this; null: for ever. Material and conversations follow the tenant's own retention.
CREATE FUNCTION governance.retention_days(wanted text, wanted_action text) RETURNS int LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT p.days FROM governance.retention_policies p
         WHERE p.tenant_id = (SELECT current_setting('app.tenant_id')::uuid)
           AND p.data_type = wanted AND p.action = wanted_action),
        (SELECT t.retention_days FROM platform.tenants t
         WHERE t.id = (SELECT current_setting('app.tenant_id')::uuid)
           AND wanted IN ('material', 'conversations') AND wanted_action = 'delete'))
$$

-- name: is_month_due
CREATE FUNCTION governance.is_month_due(wanted text, wanted_action text, month date) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC'
            + make_interval(days => governance.retention_days(wanted, wanted_action)) <= now(), false)
$$

-- name: list_held
-- What open holds of the bound tenant cover, as erasure sees it: people, sessions, and documents by their object's id.
CREATE FUNCTION governance.list_held() RETURNS TABLE (kind text, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT m.kind, m.id FROM governance.legal_holds h
    CROSS JOIN LATERAL governance.list_material(h.tenant_id, h.subject_kind, h.subject_id) m
    WHERE h.tenant_id = current_setting('app.tenant_id')::uuid AND h.released_at IS NULL
      AND current_setting('app.role') IN ('compliance', 'system')
$$

-- name: held
-- Ids that an open legal hold of the bound tenant keeps, for statements that ask once. Kinds: tenant, person, session,
-- object (a file), transcript and document (what was made of one), conversation (of or about somebody held, or citing
-- what is held). A hold on the tenant keeps all of them.
CREATE FUNCTION governance.held(wanted text) RETURNS SETOF uuid LANGUAGE plpgsql STABLE ROWS 100 AS $$
#variable_conflict use_column
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    whole boolean := EXISTS (SELECT FROM governance.legal_holds h WHERE h.tenant_id = tenant
                             AND h.subject_kind = 'tenant' AND h.released_at IS NULL);
    people uuid[];
    sessions uuid[];
    objects uuid[];
BEGIN
    IF wanted NOT IN ('tenant', 'person', 'session', 'object', 'transcript', 'document', 'conversation') THEN
        RAISE EXCEPTION 'no hold is about a %', wanted USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF wanted = 'tenant' THEN
        RETURN QUERY SELECT tenant WHERE whole;
        RETURN;
    END IF;
    IF NOT whole THEN
        SELECT coalesce(array_agg(m.id) FILTER (WHERE m.kind = 'person'), '{}'),
               coalesce(array_agg(m.id) FILTER (WHERE m.kind = 'session'), '{}'),
               coalesce(array_agg(m.id) FILTER (WHERE m.kind = 'document'), '{}')
        INTO people, sessions, objects FROM governance.list_held() AS m;
        IF people || sessions || objects = '{}' THEN
            RETURN;
        END IF;
    END IF;
    CASE wanted
    WHEN 'person' THEN
        RETURN QUERY SELECT u.id FROM identity.users u WHERE u.tenant_id = tenant AND (whole OR u.id = ANY (people));
    WHEN 'session' THEN
        RETURN QUERY SELECT s.id FROM coaching.coaching_sessions s
            WHERE s.tenant_id = tenant AND (whole OR s.id = ANY (sessions));
    WHEN 'object' THEN
        RETURN QUERY SELECT o.id FROM ingestion.ingested_objects o
            WHERE o.tenant_id = tenant AND (whole OR o.id = ANY (objects));
    WHEN 'transcript' THEN
        RETURN QUERY SELECT t.id FROM rag.transcripts t
            WHERE t.tenant_id = tenant AND (whole OR t.object_id = ANY (objects));
    WHEN 'document' THEN
        RETURN QUERY SELECT d.id FROM rag.documents d
            WHERE d.tenant_id = tenant AND (whole OR d.object_id = ANY (objects));
    WHEN 'conversation' THEN
        RETURN QUERY SELECT c.id FROM chat.chat_sessions c
            WHERE c.tenant_id = tenant AND (whole OR c.user_id = ANY (people) OR c.client_id = ANY (people))
            UNION SELECT m.session_id FROM chat.message_citations r
            JOIN chat.chat_messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
              AND m.created_at = r.message_created_at
            LEFT JOIN rag.transcripts t ON t.tenant_id = r.tenant_id AND t.id = r.transcript_id
            LEFT JOIN rag.documents d ON d.tenant_id = r.tenant_id AND d.id = r.document_id
            WHERE NOT whole AND r.tenant_id = tenant
              AND (t.object_id = ANY (objects) OR d.object_id = ANY (objects));
    END CASE;
END $$;
CREATE FUNCTION governance.is_held(wanted text, subject uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM governance.held(wanted) AS h(id) WHERE h.id = subject)
$$

-- name: fingerprint_month
-- How many rows the bound tenant has in a month of a table, and a sum over their texts that no order changes.
CREATE FUNCTION governance.fingerprint_month(wanted text, month date) RETURNS TABLE (rows bigint, checksum numeric)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD'
SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
    about record;
BEGIN
    SELECT * INTO about FROM governance.monthly_tables() m WHERE m.name = wanted;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not kept by month', wanted USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM %s t '
        'WHERE t.tenant_id = $1 AND t.%I >= $2::date AND t.%I < ($2::date + interval ''1 month'')',
        wanted, about.moment, about.moment)
    USING current_setting('app.tenant_id')::uuid, date_trunc('month', month::timestamp)::date;
END $$

-- name: find_reason
-- Why these rows of the bound tenant must stay in the store; null: nothing speaks against their going.
CREATE FUNCTION governance.find_reason(wanted text, month date, rows bigint, checksum numeric) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    kind text := (SELECT m.data_type FROM governance.monthly_tables() m WHERE m.name = wanted);
    first date := date_trunc('month', find_reason.month::timestamp);
    kept governance.archives;
BEGIN
    IF NOT EXISTS (SELECT FROM platform.tenants t WHERE t.id = tenant) THEN
        -- The log outlives its tenant, for as long as the seed says.
        RETURN CASE WHEN first + interval '1 month' + interval '1095 days' > now() AT TIME ZONE 'UTC'
                    THEN 'it outlives its organisation for three years' END;
    END IF;
    IF governance.is_month_due(kind, 'delete', first) AND wanted <> 'governance.audit_logs' AND NOT EXISTS (
        SELECT FROM governance.legal_holds h WHERE h.tenant_id = tenant AND h.released_at IS NULL)
    THEN
        RETURN NULL;
    END IF;
    IF NOT governance.is_month_due(kind, 'archive', first) THEN
        RETURN CASE WHEN governance.is_month_due(kind, 'delete', first)
                    THEN 'a legal hold is open' ELSE 'its retention keeps it' END;
    END IF;
    SELECT * INTO kept FROM governance.archives a
    WHERE a.tenant_id = tenant AND a.table_name = wanted AND a.month = first;
    RETURN CASE
        WHEN kept.id IS NULL THEN format('%s rows are not archived', rows)
        WHEN kept.rows <> find_reason.rows OR kept.checksum IS DISTINCT FROM find_reason.checksum
        THEN 'its archive holds other rows' END;
END $$

-- name: clear_month
-- Takes the bound tenant's rows of a month out of a table whose other tenants still need theirs.
CREATE FUNCTION governance.clear_month(wanted text, month date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    first date := date_trunc('month', clear_month.month::timestamp);
    about record;
    held record;
    reason text;
    gone bigint;
BEGIN
    IF current_setting('app.role') <> 'system' THEN
        RAISE EXCEPTION 'only the pipelines clear months' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT * INTO about FROM governance.monthly_tables() m WHERE m.name = wanted;
    IF NOT FOUND OR NOT about.is_partitioned OR wanted = 'governance.audit_logs' THEN
        RAISE EXCEPTION 'rows of % are never taken out', wanted USING ERRCODE = 'restrict_violation';
    END IF;
    SELECT * INTO held FROM governance.fingerprint_month(wanted, first);
    reason := governance.find_reason(wanted, first, held.rows, held.checksum);
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION '% of % stays: %', wanted, to_char(first, 'YYYY-MM'), reason
            USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('DELETE FROM %s t WHERE t.tenant_id = $1 AND t.%I >= $2 AND t.%I < ($2 + interval ''1 month'')',
                   wanted, about.moment, about.moment) USING tenant, first;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone <> held.rows THEN
        RAISE EXCEPTION 'rows came while % of % was cleared', wanted, to_char(first, 'YYYY-MM')
            USING ERRCODE = 'serialization_failure';
    END IF;
    UPDATE governance.archives a SET dropped_at = now()
    WHERE a.tenant_id = tenant AND a.table_name = wanted AND a.month = first AND a.dropped_at IS NULL;
    RETURN gone;
END $$

-- name: list_months
-- The past months of which a partitioned table holds rows, and whose; the default partition's months too.
CREATE FUNCTION governance.list_months(wanted text) RETURNS TABLE (month date, tenant_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    about record;
    part record;
BEGIN
    SELECT * INTO about FROM governance.monthly_tables() m WHERE m.name = wanted AND m.is_partitioned;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% has no months', wanted USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR part IN
        SELECT i.inhrelid::regclass AS name, to_date(substring(c.relname FROM '_p(\d{4}_\d{2})$'), 'YYYY_MM') AS month
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = wanted::regclass AND NOT i.inhdetachpending
    LOOP
        IF part.month IS NULL THEN
            RETURN QUERY EXECUTE format(
                'SELECT DISTINCT date_trunc(''month'', p.%I%s)::date, p.tenant_id FROM %s p WHERE p.%I < $1', about.moment,
                CASE about.moment WHEN 'date' THEN '::timestamp' ELSE ' AT TIME ZONE ''UTC''' END, part.name, about.moment)
            USING date_trunc('month', now() AT TIME ZONE 'UTC')::date;
        ELSIF part.month < date_trunc('month', now() AT TIME ZONE 'UTC') THEN
            RETURN QUERY EXECUTE format('SELECT DISTINCT $1, p.tenant_id FROM %s p', part.name) USING part.month;
        END IF;
    END LOOP;
END $$

-- name: list_partitions
CREATE FUNCTION governance.list_partitions(wanted text) RETURNS TABLE (month date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_date(substring(c.relname FROM '_p(\d{4}_\d{2})$'), 'YYYY_MM') FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid JOIN governance.monthly_tables() m ON m.name = wanted AND m.is_partitioned
    WHERE i.inhparent = to_regclass(wanted) AND c.relname ~ '_p\d{4}_\d{2}$' ORDER BY 1
$$

-- name: drop_month
-- Takes a whole month out of the store, once every tenant's rows of it are archived or beyond their time. Whoever calls
-- it can't make it drop anything else. Returns the rows that went, null where the month is gone already. It notes
-- nothing in the audit log: its own lock on the log would wait for itself at commit.
CREATE FUNCTION platform.drop_month(wanted text, month date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET timezone = 'UTC'
SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
    first date := date_trunc('month', drop_month.month::timestamp);
    part regclass := to_regclass(wanted || to_char(first, '"_p"YYYY_MM'));
    was text[] := ARRAY[current_setting('app.tenant_id', true), current_setting('app.role', true),
                        current_setting('app.user_id', true)];
    tenants uuid[] := '{}';
    gone bigint := 0;
    one record;
    reason text;
BEGIN
    IF NOT EXISTS (SELECT FROM governance.monthly_tables() m WHERE m.name = wanted AND m.is_partitioned) THEN
        RAISE EXCEPTION '% has no months', wanted USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF first >= date_trunc('month', now() AT TIME ZONE 'UTC') THEN
        RAISE EXCEPTION '% of % is not over', wanted, to_char(first, 'YYYY-MM') USING ERRCODE = 'restrict_violation';
    END IF;
    IF part IS NULL OR NOT EXISTS (
        SELECT FROM pg_inherits i WHERE i.inhrelid = part AND i.inhparent = wanted::regclass)
    THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE MODE', part);
    FOR one IN EXECUTE format(
        'SELECT p.tenant_id, count(*) AS rows, sum(hashtextextended(p::text, 0)::numeric) AS checksum FROM %s p '
        'GROUP BY p.tenant_id', part)
    LOOP
        -- A tenant's archives, retention and holds are read as that tenant's pipelines would.
        PERFORM set_config('app.tenant_id', one.tenant_id::text, true), set_config('app.role', 'system', true),
                set_config('app.user_id', '', true);
        reason := governance.find_reason(wanted, first, one.rows, one.checksum);
        IF reason IS NOT NULL THEN
            RAISE EXCEPTION '% of % stays: organisation %: %', wanted, to_char(first, 'YYYY-MM'), one.tenant_id, reason
                USING ERRCODE = 'restrict_violation';
        END IF;
        tenants := tenants || one.tenant_id;
        gone := gone + one.rows;
    END LOOP;
    -- What refers to rows is looked for under one tenant's policies alone, so such a month must be cleared before.
    IF gone > 0 AND EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = wanted::regclass) THEN
        RAISE EXCEPTION '% of % stays: other rows may refer to its %', wanted, to_char(first, 'YYYY-MM'), gone
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF tenants = '{}' THEN
        PERFORM set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true),
                set_config('app.role', 'system', true), set_config('app.user_id', '', true);
    END IF;
    IF wanted = 'governance.audit_logs' THEN
        PERFORM governance.anchor_month(first);
    END IF;
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', wanted, part);
    EXECUTE format('DROP TABLE %s', part);
    FOR one IN SELECT unnest(tenants) AS tenant_id LOOP
        PERFORM set_config('app.tenant_id', one.tenant_id::text, true), set_config('app.role', 'system', true),
                set_config('app.user_id', '', true);
        UPDATE governance.archives a SET dropped_at = now()
        WHERE a.tenant_id = one.tenant_id AND a.table_name = wanted AND a.month = first AND a.dropped_at IS NULL;
    END LOOP;
    PERFORM set_config('app.tenant_id', coalesce(was[1], ''), true), set_config('app.role', coalesce(was[2], ''), true),
            set_config('app.user_id', coalesce(was[3], ''), true);
    RETURN gone;
END $$

-- name: guard_archive
CREATE FUNCTION governance.guard_archive() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.dropped_at IS NOT NULL OR NEW.month >= date_trunc('month', now() AT TIME ZONE 'UTC') THEN
            RAISE EXCEPTION 'only a month that is over is archived, and it is dropped after that'
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.tenant_id, NEW.id, NEW.table_name, NEW.month) IS DISTINCT FROM
           (OLD.tenant_id, OLD.id, OLD.table_name, OLD.month)
        THEN
            RAISE EXCEPTION 'an archive stays what it is of' USING ERRCODE = 'restrict_violation';
        END IF;
        IF OLD.dropped_at IS NOT NULL AND (NEW.rows > OLD.rows OR NEW.dropped_at IS DISTINCT FROM OLD.dropped_at) THEN
            RAISE EXCEPTION 'rows that left the store can only become fewer' USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.dropped_at IS DISTINCT FROM OLD.dropped_at AND current_user <> 'regenesis_owner' THEN
            RAISE EXCEPTION 'only dropping a month says that it was dropped' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    SELECT m.data_type INTO kind FROM governance.monthly_tables() m WHERE m.name = OLD.table_name;
    -- Its rows are still in the store, or nothing is left in it, or the whole tenant goes, or its time is over.
    IF pg_trigger_depth() > 1 OR OLD.rows = 0 OR OLD.dropped_at IS NULL AND kind <> 'transactions' OR EXISTS (
        SELECT FROM governance.deletion_requests r WHERE r.tenant_id = OLD.tenant_id AND r.subject_kind = 'tenant'
          AND r.status = 'running')
    THEN
        RETURN OLD;
    END IF;
    IF kind = 'transactions' OR NOT governance.is_month_due(kind, 'delete', OLD.month)
       OR kind = 'audit_logs' AND OLD.month + interval '1 month' + interval '2557 days' > now() AT TIME ZONE 'UTC'
    THEN
        RAISE EXCEPTION 'this archive is kept by its retention' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (SELECT FROM governance.legal_holds h WHERE h.tenant_id = OLD.tenant_id AND h.released_at IS NULL) THEN
        RAISE EXCEPTION 'this archive is kept by a legal hold' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$
