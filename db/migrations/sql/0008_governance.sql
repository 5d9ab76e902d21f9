-- name: note
CREATE FUNCTION governance.note(
    tenant uuid, action text, entity_schema text, entity_type text, entity_id uuid,
    description text, changes jsonb, metadata jsonb, severity text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    told text := current_setting('app.context', true);
    actor text := nullif(current_setting('app.user_id', true), '');
    role text := nullif(current_setting('app.role', true), '');
    context jsonb;
    ip inet;
    request uuid;
BEGIN
    -- What a client sent must never be able to make a change fail, hence the checks of form.
    IF told NOT IN ('', '{}') AND pg_input_is_valid(told, 'jsonb') THEN
        context := told::jsonb;
        -- The pipelines act for the person who asked, if one did.
        actor := coalesce(actor, context ->> 'actor_id');
        ip := CASE WHEN pg_input_is_valid(context ->> 'ip_address', 'inet') THEN context ->> 'ip_address' END;
        request := CASE WHEN pg_input_is_valid(context ->> 'request_id', 'uuid') THEN context ->> 'request_id' END;
    END IF;
    IF role IS NULL THEN
        -- Nobody is bound: maintenance, by this role of the database.
        metadata := coalesce(metadata, '{}') || jsonb_build_object('database_role', session_user);
    END IF;
    INSERT INTO governance.audit_pending (
        tenant_id, transaction_id, waits, actor_id, actor_role, action, entity_schema, entity_type, entity_id,
        description, changes, metadata, ip_address, user_agent, request_id, severity)
    VALUES (
        tenant, txid_current(), current_setting('transaction_isolation') <> 'read committed',
        CASE WHEN pg_input_is_valid(actor, 'uuid') THEN actor::uuid END, coalesce(role, 'owner'), left(action, 100),
        entity_schema, left(entity_type, 63), entity_id, left(description, 500), changes, metadata, ip,
        left(context ->> 'user_agent', 500), request, severity);
END $$

-- name: record_change
-- Its arguments are written by watch_table: the noun, the key where there is no id, the columns whose values are kept.
CREATE FUNCTION governance.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    subject jsonb := coalesce(after, before);
    tenant uuid := coalesce(subject ->> 'tenant_id', subject ->> 'id')::uuid;
    changed jsonb;
    key jsonb;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(
            k.name, CASE WHEN k.name = ANY (TG_ARGV[2:]) THEN jsonb_build_array(before -> k.name, k.value)
                         ELSE '"changed"' END)
        INTO changed FROM jsonb_each(after) AS k(name, value)
        WHERE k.value IS DISTINCT FROM before -> k.name AND k.name <> 'updated_at';
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
    ELSE
        SELECT jsonb_object_agg(k.name, jsonb_build_array(before -> k.name, after -> k.name))
        INTO changed FROM unnest(TG_ARGV[2:]) AS k(name)
        WHERE subject -> k.name <> 'null' AND k.name <> ALL ('{tenant_id,id,created_at,updated_at}');
    END IF;
    IF TG_ARGV[1] <> '' THEN
        SELECT jsonb_build_object('key', jsonb_object_agg(k.name, subject -> k.name)) INTO key
        FROM unnest(string_to_array(TG_ARGV[1], ',')) AS k(name);
    END IF;
    PERFORM governance.note(
        tenant,
        coalesce(nullif(current_setting('app.action', true), ''), TG_ARGV[0] || CASE TG_OP
            WHEN 'INSERT' THEN '_created' WHEN 'UPDATE' THEN '_updated' ELSE '_deleted' END),
        TG_TABLE_SCHEMA, TG_ARGV[0],
        CASE WHEN subject ? 'id' THEN (subject ->> 'id')::uuid WHEN key IS NULL THEN tenant END,
        null, changed, key, 'info');
    RETURN NULL;
END $$

-- name: record_event
CREATE FUNCTION governance.record_event(
    action text, entity_schema text, entity_type text, entity_id uuid, description text, metadata jsonb, severity text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM governance.note(current_setting('app.tenant_id')::uuid, action, entity_schema, entity_type, entity_id,
                            description, null, metadata, severity);
END $$

-- name: watch_table
CREATE FUNCTION governance.watch_table(
    watched regclass, noun text, recorded text[], columns text[], inserts boolean
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    odd text;
    key text;
    kept text[];
BEGIN
    SELECT string_agg(name, ', ') INTO odd FROM unnest(recorded || columns) AS n(name)
    WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = watched AND a.attname = n.name AND a.attnum > 0);
    IF odd IS NOT NULL THEN
        RAISE EXCEPTION '% has no column %', watched, odd;
    END IF;
    SELECT string_agg(a.attname, ', ') INTO odd FROM pg_attribute a
    WHERE a.attrelid = watched AND a.attname = ANY (recorded)
      AND a.atttypid IN ('bytea'::regtype, 'json'::regtype, 'jsonb'::regtype);
    IF odd IS NOT NULL THEN
        RAISE EXCEPTION '%.% can hold anything, so the audit log can not hold it', watched, odd;
    END IF;
    -- Numbers, booleans, ids and moments tell no words; days may be birthdays, and ids may be secrets.
    SELECT array_agg(a.attname::text ORDER BY a.attnum) INTO kept FROM pg_attribute a
    WHERE a.attrelid = watched AND a.attnum > 0 AND NOT a.attisdropped AND (a.attname = ANY (recorded)
       OR a.atttypid = ANY ('{int2,int4,int8,float4,float8,numeric,bool,timestamptz}'::regtype[])
       OR a.atttypid = 'uuid'::regtype AND a.attname !~ '(token|secret|code|key)$');
    SELECT string_agg(a.attname, ',' ORDER BY a.attname) INTO key FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) AND a.attname <> 'tenant_id'
    WHERE i.indrelid = watched AND i.indisprimary AND NOT EXISTS (
        SELECT FROM pg_attribute o WHERE o.attrelid = watched AND o.attname = 'id' AND NOT o.attisdropped);
    EXECUTE format('DROP TRIGGER IF EXISTS audit ON %s', watched);
    EXECUTE format(
        'CREATE TRIGGER audit AFTER %s DELETE OR UPDATE %s ON %s FOR EACH ROW '
        'EXECUTE FUNCTION governance.record_change(%L, %L%s)', CASE WHEN inserts THEN 'INSERT OR' END,
        'OF ' || (SELECT nullif(string_agg(quote_ident(c), ', '), '') FROM unnest(columns) AS c), watched,
        noun, coalesce(key, ''), (SELECT string_agg(', ' || quote_literal(k), '') FROM unnest(kept) AS k));
END $$

-- name: told
-- The row before tells the place in the chain, so the sequence is not hashed: a row moved is told from one changed.
-- None of these types' texts depends on a setting.
convert_to(ROW(e.tenant_id, e.id, extract(epoch FROM e.occurred_at), e.actor_id, e.actor_role, e.impersonating_user_id, e.action, e.entity_schema, e.entity_type, e.entity_id, e.description, e.changes, e.metadata, e.ip_address::text, e.user_agent, e.request_id, e.severity)::text, 'UTF8')

-- name: hash_entry
CREATE FUNCTION governance.hash_entry(previous bytea, e governance.audit_logs) RETURNS bytea
LANGUAGE sql STABLE RETURN sha256(previous || convert_to(ROW(e.tenant_id, e.id, extract(epoch FROM e.occurred_at), e.actor_id, e.actor_role, e.impersonating_user_id, e.action, e.entity_schema, e.entity_type, e.entity_id, e.description, e.changes, e.metadata, e.ip_address::text, e.user_agent, e.request_id, e.severity)::text, 'UTF8'));
CREATE FUNCTION governance.chain_step(hash bytea, head bytea, told bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE RETURN sha256(coalesce(hash, head) || told);
CREATE AGGREGATE governance.chain(head bytea, told bytea) (SFUNC = governance.chain_step, STYPE = bytea);
REVOKE EXECUTE ON FUNCTION governance.chain(bytea, bytea) FROM PUBLIC

-- name: link_entries
CREATE FUNCTION governance.link_entries(tenant uuid) RETURNS int
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
        DELETE FROM governance.audit_pending p
        WHERE p.tenant_id = tenant AND p.waits AND p.transaction_id <> txid_current() RETURNING p.*
    ), placed AS (
        SELECT e.*, row_number() OVER chain AS place, governance.chain(head.hash, convert_to(ROW(e.tenant_id, e.id, extract(epoch FROM e.occurred_at), e.actor_id, e.actor_role, e.impersonating_user_id, e.action, e.entity_schema, e.entity_type, e.entity_id, e.description, e.changes, e.metadata, e.ip_address::text, e.user_agent, e.request_id, e.severity)::text, 'UTF8')) OVER chain AS hash
        FROM (SELECT * FROM own UNION ALL SELECT * FROM waiting) AS e WINDOW chain AS (ORDER BY e.id)
    ), logged AS (
        INSERT INTO governance.audit_logs (tenant_id, id, occurred_at, actor_id, actor_role, impersonating_user_id, action, entity_schema, entity_type, entity_id, description, changes, metadata, ip_address, user_agent, request_id, severity, sequence, previous_hash, hash)
        SELECT tenant_id, id, occurred_at, actor_id, actor_role, impersonating_user_id, action, entity_schema, entity_type, entity_id, description, changes, metadata, ip_address, user_agent, request_id, severity, head.sequence + place,
               lag(hash, 1, head.hash) OVER (ORDER BY place), hash
        FROM placed
    )
    UPDATE governance.audit_heads h SET sequence = head.sequence + l.place, hash = l.hash
    FROM (SELECT place, hash FROM placed ORDER BY place DESC LIMIT 1) AS l
    WHERE h.tenant_id = tenant RETURNING l.place INTO linked;
    RETURN coalesce(linked, 0);
END $$;
CREATE FUNCTION governance.link_at_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Fired for each row at commit, when every other lock is held already; the first links them all. Under a snapshot
    -- older than the chain's end there is no linking: such rows wait for the next commit of the tenant.
    IF NOT NEW.waits AND EXISTS (
        SELECT FROM governance.audit_pending p
        WHERE p.tenant_id = NEW.tenant_id AND p.transaction_id = NEW.transaction_id AND p.id = NEW.id)
    THEN
        PERFORM governance.link_entries(NEW.tenant_id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION governance.link_waiting() RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN EXISTS (SELECT FROM governance.audit_pending p
                 WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND p.waits)
    THEN governance.link_entries(current_setting('app.tenant_id')::uuid) ELSE 0 END

-- name: seed_retention
CREATE FUNCTION governance.seed_retention() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO governance.retention_policies (tenant_id, data_type, action, days)
    SELECT NEW.id, p.data_type, p.action, p.days FROM governance.retention_defaults() AS p;
    RETURN NULL;
END $$;
CREATE FUNCTION governance.retention_defaults() RETURNS TABLE (data_type text, action text, days int)
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('accounts_deleted', 'delete', 30), ('accounts_inactive', 'archive', 730),
           ('accounts_inactive', 'delete', 1095), ('transactions', 'archive', 730), ('audit_logs', 'archive', 365),
           ('audit_logs', 'delete', 1095), ('messages', 'delete', 365), ('notifications', 'delete', 90),
           ('sign_in_sessions', 'delete', 1), ('unused_media', 'archive', 180), ('unused_media', 'delete', 365)
$$

-- name: seal_partitions
    -- PostgreSQL gives a partition its parent's row triggers, but not those on TRUNCATE.
    EXECUTE coalesce((
        SELECT string_agg(format('CREATE TRIGGER %1$I BEFORE TRUNCATE ON %2$s FOR EACH STATEMENT '
            'EXECUTE FUNCTION platform.refuse_change(); ALTER TABLE %2$s ENABLE %3$s TRIGGER %1$I;',
            t.tgname, i.inhrelid::regclass, CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' END), ' ')
        FROM pg_trigger t JOIN pg_inherits i ON i.inhparent = t.tgrelid JOIN pg_class c ON c.oid = t.tgrelid
        WHERE t.tgfoid = 'platform.refuse_change()'::regprocedure AND t.tgtype & 32 <> 0 AND NOT t.tgisinternal
          AND pg_get_userbyid(c.relowner) = current_user
          AND NOT EXISTS (SELECT FROM pg_trigger s WHERE s.tgrelid = i.inhrelid AND s.tgname = t.tgname)), 'SELECT');
    RETURN made;

-- name: unseal_messages
DO $$
DECLARE
    sealed regclass;
BEGIN
    FOR sealed IN
        SELECT tgrelid FROM pg_trigger WHERE tgname = 'keep_all' AND tgrelid::regclass::text LIKE 'chat.%'
    LOOP
        EXECUTE format('DROP TRIGGER keep_all ON %s', sealed);
    END LOOP;
END $$
