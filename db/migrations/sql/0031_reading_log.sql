-- name: without_traces
-- What tells of a person in an entry's metadata; all else of it are ids, counts and closed vocabulary.
CREATE FUNCTION governance.without_traces(metadata jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE RETURN metadata - '{name,email,phone,address,ip_address,user_agent,device,location,reason,note,words}'::text[];
CREATE FUNCTION governance.redacted(e governance.audit_logs) RETURNS governance.audit_logs
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    e.ip_address := NULL;
    e.user_agent := NULL;
    e.description := NULL;
    e.metadata := governance.without_traces(e.metadata);
    RETURN e;
END $$;
-- What remains of a redacted entry, as the entry that tells of it holds it: its hash without the one before it.
CREATE FUNCTION governance.hash_remains(e governance.audit_logs) RETURNS text
LANGUAGE sql STABLE RETURN encode(governance.hash_entry(''::bytea, e), 'hex')

-- name: keep_log
CREATE FUNCTION governance.keep_log() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One change is let through: the blanks of governance.redact_entries, once the entry that tells of them is noted
    -- in the same transaction and holds what will remain.
    IF TG_OP = 'UPDATE' THEN
        IF NEW IS NOT DISTINCT FROM governance.redacted(OLD) AND EXISTS (
            SELECT FROM governance.audit_pending p
            WHERE p.tenant_id = OLD.tenant_id AND p.transaction_id = txid_current() AND p.action = 'entries_redacted'
              AND p.metadata -> 'remains' ->> OLD.sequence::text = governance.hash_remains(NEW))
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '%.% is never changed', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$

-- name: redact_entries
-- Blanks what could tell of the person in the entries of what they did (no person: of everyone, when the organisation
-- is erased), `most` at a call, and returns how many those were: call it again, each time in a transaction of its
-- own, until it returns 0. Entries that still wait for their place are not seen: governance.link_waiting first.
CREATE FUNCTION governance.redact_entries(subject uuid, request uuid, most int DEFAULT 5000) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    ids uuid[];
    moments timestamptz[];
    remains jsonb;
    place timestamptz := '-infinity';
    done int := 0;
BEGIN
    IF current_setting('app.role') <> 'system' OR NOT EXISTS (
        SELECT FROM governance.deletion_requests r
        WHERE r.tenant_id = tenant AND r.id = request AND r.status IN ('verified', 'running')
          AND (r.subject_kind = 'tenant' OR r.subject_kind = 'person' AND r.subject_id = subject))
    THEN
        RAISE EXCEPTION 'entries are redacted only while their person is erased' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'entries are redacted in a transaction that links its own' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    WHILE done < most LOOP
        SELECT array_agg((c.e).id), array_agg((c.e).occurred_at), max((c.e).occurred_at),
               jsonb_object_agg((c.e).sequence, governance.hash_remains(governance.redacted(c.e)))
        INTO ids, moments, place, remains
        FROM (SELECT a AS e FROM governance.audit_logs a
              WHERE a.tenant_id = tenant AND (subject IS NULL OR a.actor_id = subject) AND a.occurred_at >= place
                AND (a.ip_address IS NOT NULL OR a.user_agent IS NOT NULL OR a.description IS NOT NULL
                     OR a.metadata IS DISTINCT FROM governance.without_traces(a.metadata))
              ORDER BY a.occurred_at LIMIT least(500, most - done)) AS c;
        EXIT WHEN ids IS NULL;
        PERFORM governance.note(
            tenant, 'entries_redacted', 'governance', 'deletion_request', request, null, null,
            jsonb_build_object('subject', subject, 'entries', cardinality(ids), 'remains', remains), 'info');
        UPDATE governance.audit_logs a
        SET ip_address = NULL, user_agent = NULL, description = NULL, metadata = governance.without_traces(a.metadata)
        FROM unnest(ids, moments) AS c (id, occurred_at)
        WHERE a.tenant_id = tenant AND a.id = c.id AND a.occurred_at = c.occurred_at;
        done := done + cardinality(ids);
    END LOOP;
    RETURN done;
END $$

-- name: record_event
CREATE OR REPLACE FUNCTION governance.record_event(
    action text, entity_schema text, entity_type text, entity_id uuid, description text, metadata jsonb, severity text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What the check of the chain and the list of readings go by is written by the functions that do it, never told.
    IF action IN ('entries_redacted', 'audit_month_anchored') OR metadata ? 'read' THEN
        RAISE EXCEPTION '% is not told, it is done', action USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM governance.note(current_setting('app.tenant_id')::uuid, action, entity_schema, entity_type, entity_id,
                            description, null, metadata, severity);
END $$

-- name: anchor_month
-- Keeps of a month's entries, before they are dropped, what the chain is held by: of each unbroken run of them the
-- first and last place, the hash before it and its last. Nearly always that is one run a tenant; entries written
-- around midnight make more. `archived` names the object of each tenant's archive, by the tenant's id. The chain
-- itself tells of it, so that nobody can pass a row removed for a row dropped.
-- Call it in a transaction of its own before the one that drops: a lock on a chain and one on the whole table, taken in
-- this order by commits and in the other by a drop, would wait crosswise. Called again, by what drops, it only looks.
-- Returns each tenant's last entry of the month.
CREATE FUNCTION governance.anchor_month(wanted date, archived jsonb DEFAULT '{}')
RETURNS TABLE (tenant_id uuid, sequence bigint, hash bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    starts timestamptz := date_trunc('month', wanted::timestamp) AT TIME ZONE 'UTC';
    ends timestamptz := (date_trunc('month', wanted::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    run record;
BEGIN
    IF coalesce(current_setting('app.role', true), '') NOT IN ('', 'system') THEN
        RAISE EXCEPTION 'only the pipelines anchor months' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF ends > now() - interval '365 days' THEN
        RAISE EXCEPTION 'the log of % is kept at hand for a year', to_char(wanted, 'YYYY-MM')
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('regenesis.anchors'));
    FOR run IN
        WITH runs AS (
            SELECT a.tenant_id, min(a.sequence) AS first_sequence, max(a.sequence) AS sequence
            FROM (SELECT l.tenant_id, l.sequence,
                         l.sequence - row_number() OVER (PARTITION BY l.tenant_id ORDER BY l.sequence) AS island
                  FROM governance.audit_logs l WHERE l.occurred_at >= starts AND l.occurred_at < ends) AS a
            GROUP BY a.tenant_id, a.island)
        INSERT INTO governance.audit_anchors AS n (
            tenant_id, sequence, first_sequence, month, previous_hash, hash, archived_key)
        SELECT r.tenant_id, r.sequence, r.first_sequence, starts::date, f.previous_hash, l.hash,
               archived ->> r.tenant_id::text
        FROM runs r
        JOIN governance.audit_logs f ON f.tenant_id = r.tenant_id AND f.sequence = r.first_sequence
        JOIN governance.audit_logs l ON l.tenant_id = r.tenant_id AND l.sequence = r.sequence
        ORDER BY r.tenant_id, r.sequence
        ON CONFLICT DO NOTHING RETURNING n.*
    LOOP
        PERFORM governance.note(
            run.tenant_id, 'audit_month_anchored', 'governance', 'audit_log', null, null, null,
            jsonb_build_object('month', run.month, 'first', run.first_sequence, 'last', run.sequence,
                               'hash', encode(run.hash, 'hex')), 'info');
    END LOOP;
    RETURN QUERY SELECT DISTINCT ON (n.tenant_id) n.tenant_id, n.sequence, n.hash FROM governance.audit_anchors n
                 WHERE n.month = starts::date ORDER BY n.tenant_id, n.sequence DESC;
END $$

-- name: record_reading
-- Who reads what is noted in the reader's own transaction and waits for its place in the chain: a search may not stand
-- in line at a lock. Of what was read it takes ids by kind, so it can't take a word.
CREATE FUNCTION governance.record_reading(
    action text, entity_schema text, entity_type text, entity_id uuid, kinds text[], ids uuid[], surface text,
    left_out int
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    odd text := (SELECT name FROM unnest(kinds || action || surface || entity_type) AS n(name)
                 WHERE name !~ '^[a-z][a-z_]{0,49}$' LIMIT 1);
BEGIN
    IF odd IS NOT NULL OR cardinality(ids) <> cardinality(kinds) OR cardinality(ids) = 0 OR action !~ '_(read|retrieved)$'
    THEN
        RAISE EXCEPTION 'a reading is noted by its name and by ids of kinds' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM governance.note(
        current_setting('app.tenant_id')::uuid, action, entity_schema, entity_type, entity_id, null, null,
        jsonb_build_object('surface', surface, 'read', (
            SELECT jsonb_object_agg(r.kind, r.ids)
            FROM (SELECT kind, jsonb_agg(DISTINCT id) AS ids FROM unnest(kinds, ids) AS g(kind, id) GROUP BY kind) AS r))
        || CASE WHEN left_out > 0 THEN jsonb_build_object('left_out', left_out) ELSE '{}' END, 'info', true);
END $$

-- name: link_entries
DROP FUNCTION governance.link_waiting();
DROP FUNCTION governance.link_entries(uuid);
CREATE FUNCTION governance.link_entries(tenant uuid, most int DEFAULT 100) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head governance.audit_heads;
    linked int;
BEGIN
    INSERT INTO governance.audit_heads VALUES (tenant, 0, '') ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM governance.audit_heads h WHERE h.tenant_id = tenant FOR UPDATE;
    WITH own AS (
        DELETE FROM governance.audit_pending p WHERE p.tenant_id = tenant AND p.transaction_id = txid_current()
        RETURNING p.*
    ), waiting AS (
        -- No more than that at once: a commit that came after thousands of searches must not link them all.
        DELETE FROM governance.audit_pending p USING (
            SELECT w.transaction_id, w.id FROM governance.audit_pending w
            WHERE w.tenant_id = tenant AND w.waits AND w.transaction_id <> txid_current() ORDER BY w.id LIMIT most) AS w
        WHERE p.tenant_id = tenant AND p.transaction_id = w.transaction_id AND p.id = w.id RETURNING p.*
    ), placed AS (
        SELECT e.*, row_number() OVER chain AS place, governance.chain(head.hash, convert_to(ROW(e.tenant_id, e.id, extract(epoch FROM e.occurred_at), e.actor_id, e.actor_role, e.impersonating_user_id, e.action, e.entity_schema, e.entity_type, e.entity_id, e.description, e.changes, e.metadata, e.ip_address::text, e.user_agent, e.request_id, e.severity)::text, 'UTF8')) OVER chain AS hash
        FROM (SELECT * FROM own UNION ALL SELECT * FROM waiting) AS e WINDOW chain AS (ORDER BY e.id)
    ), logged AS (
        INSERT INTO governance.audit_logs (tenant_id, id, occurred_at, actor_id, actor_role, impersonating_user_id, action, entity_schema, entity_type, entity_id, description, changes, metadata, ip_address, user_agent, request_id, severity, sequence, previous_hash, hash)
        SELECT tenant_id, id, occurred_at, actor_id, actor_role, impersonating_user_id, action, entity_schema, entity_type, entity_id, description, changes, metadata, ip_address, user_agent, request_id, severity, head.sequence + place,
               lag(hash, 1, head.hash) OVER (ORDER BY place), hash
        FROM placed
    ), listed AS (
        -- Chunks come and go with every indexing; who asks by one asks by its source. Nothing that stands in an entry
        -- may keep a commit from coming about.
        INSERT INTO governance.audit_readings (tenant_id, kind, target_id, sequence, occurred_at)
        SELECT p.tenant_id, k.key, i.target::uuid, head.sequence + p.place, p.occurred_at
        FROM placed p CROSS JOIN LATERAL jsonb_each(
            CASE WHEN jsonb_typeof(p.metadata -> 'read') = 'object' THEN p.metadata -> 'read' END) AS k
        CROSS JOIN LATERAL jsonb_array_elements_text(
            CASE WHEN jsonb_typeof(k.value) = 'array' THEN k.value END) AS i(target)
        WHERE k.key <> 'chunk' AND pg_input_is_valid(i.target, 'uuid')
        ON CONFLICT DO NOTHING
    )
    UPDATE governance.audit_heads h SET sequence = head.sequence + l.place, hash = l.hash
    FROM (SELECT place, hash FROM placed ORDER BY place DESC LIMIT 1) AS l
    WHERE h.tenant_id = tenant RETURNING l.place INTO linked;
    RETURN coalesce(linked, 0);
END $$;
CREATE FUNCTION governance.link_waiting() RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN EXISTS (SELECT FROM governance.audit_pending p
                 WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.waits)
    THEN governance.link_entries(current_setting('app.tenant_id')::uuid, 500) ELSE 0 END

-- name: list_waiting
-- The tenants whose entries wait for their place in the chain; ids alone, for those that link them.
CREATE FUNCTION governance.list_waiting() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT p.tenant_id FROM governance.audit_pending p WHERE p.waits
$$

-- name: prune_readings
-- Drops the months of the list whose entries have left the log. Returns how many those were.
CREATE FUNCTION governance.prune_readings() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET timezone = 'UTC' AS $$
DECLARE
    part record;
    is_needed boolean;
    pruned int := 0;
BEGIN
    FOR part IN
        SELECT c.oid::regclass AS name, to_date(substring(c.relname FROM '_p(\d{4}_\d{2})$'), 'YYYY_MM') AS month
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'governance.audit_readings'::regclass AND c.relname ~ '_p\d{4}_\d{2}$'
    LOOP
        CONTINUE WHEN part.month + interval '1 month' > now() - interval '365 days';
        SELECT EXISTS (SELECT FROM governance.audit_logs a
                       WHERE a.occurred_at >= part.month AND a.occurred_at < part.month + interval '1 month') INTO is_needed;
        CONTINUE WHEN is_needed;
        EXECUTE format('ALTER TABLE governance.audit_readings DETACH PARTITION %s', part.name);
        EXECUTE format('DROP TABLE %s', part.name);
        pruned := pruned + 1;
    END LOOP;
    RETURN pruned;
END $$
