-- name: key_functions
-- Tells whoever is bound whether the tenant's keys are still those it opened: their rows, and which are destroyed.
CREATE FUNCTION platform.find_key_state(wanted text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(k.id || CASE WHEN k.destroyed_at IS NULL THEN '' ELSE '-' END, ' ' ORDER BY k.version)
    FROM platform.encryption_keys k
    WHERE k.tenant_id = current_setting('app.tenant_id')::uuid AND k.purpose = wanted
$$;
CREATE FUNCTION platform.require_pipelines() RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('app.role') <> 'system' THEN
        RAISE EXCEPTION 'only the pipelines change keys' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN current_setting('app.tenant_id')::uuid;
END $$;
-- A field's first key is made by whoever needs it first; objects are the pipelines' to encrypt.
CREATE OR REPLACE FUNCTION platform.add_data_key(purpose text, master_key_id text, wrapped_key bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO platform.encryption_keys (tenant_id, purpose, version, master_key_id, wrapped_key)
    SELECT current_setting('app.tenant_id')::uuid, purpose, 1, master_key_id, wrapped_key
    WHERE purpose = 'fields' OR purpose = 'objects' AND current_setting('app.role') = 'system'
    ON CONFLICT (tenant_id, purpose, version) DO NOTHING
$$;
CREATE FUNCTION platform.add_key_version(wanted text, next int, wrapper text, wrapped bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
BEGIN
    -- Versions follow one another, and what was destroyed as a whole begins no new row of them.
    IF NOT EXISTS (
        SELECT FROM platform.encryption_keys k WHERE k.tenant_id = tenant AND k.purpose = wanted
        HAVING max(k.version) = next - 1 AND bool_or(k.version = next - 1 AND k.destroyed_at IS NULL))
    THEN
        RAISE EXCEPTION 'version % does not follow a key that is in use', next
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'key_follows';
    END IF;
    INSERT INTO platform.encryption_keys (tenant_id, purpose, version, master_key_id, wrapped_key)
    VALUES (tenant, wanted, next, wrapper, wrapped);
END $$;
CREATE FUNCTION platform.rewrap_data_key(wanted text, which int, before bytea, wrapper text, wrapped bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
BEGIN
    UPDATE platform.encryption_keys k SET master_key_id = wrapper, wrapped_key = wrapped
    WHERE k.tenant_id = tenant AND k.purpose = wanted AND k.version = which AND k.wrapped_key = before;
    RETURN FOUND;
END $$;
CREATE FUNCTION platform.retire_data_keys(wanted text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
    newest int := (SELECT max(k.version) FROM platform.encryption_keys k WHERE k.tenant_id = tenant AND k.purpose = wanted);
    retired int;
BEGIN
    IF wanted = 'fields' AND EXISTS (SELECT FROM platform.count_fields() c WHERE c.version <> newest) THEN
        RAISE EXCEPTION 'values are still encrypted with an older key'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'key_unused';
    END IF;
    UPDATE platform.encryption_keys k SET retired_at = now()
    WHERE k.tenant_id = tenant AND k.purpose = wanted AND k.version < newest AND k.retired_at IS NULL
      AND k.destroyed_at IS NULL;
    GET DIAGNOSTICS retired = ROW_COUNT;
    RETURN retired;
END $$;
CREATE FUNCTION platform.destroy_retired_keys(wanted text, retired_until timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
    destroyed int;
BEGIN
    IF wanted = 'fields' AND EXISTS (
        SELECT FROM platform.count_fields() c JOIN platform.encryption_keys k
            ON k.tenant_id = tenant AND k.purpose = wanted AND k.version = c.version AND k.retired_at IS NOT NULL)
    THEN
        RAISE EXCEPTION 'values are still encrypted with an older key'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'key_unused';
    END IF;
    UPDATE platform.encryption_keys k SET wrapped_key = NULL, destroyed_at = now()
    WHERE k.tenant_id = tenant AND k.purpose = wanted AND k.retired_at <= retired_until AND k.destroyed_at IS NULL;
    GET DIAGNOSTICS destroyed = ROW_COUNT;
    RETURN destroyed;
END $$;
CREATE FUNCTION platform.destroy_data_keys() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
    destroyed int;
BEGIN
    IF EXISTS (SELECT FROM governance.legal_holds h WHERE h.tenant_id = tenant AND h.released_at IS NULL) THEN
        RAISE EXCEPTION 'a legal hold keeps what these keys open'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'keys_held';
    END IF;
    UPDATE platform.encryption_keys k SET wrapped_key = NULL, destroyed_at = now()
    WHERE k.tenant_id = tenant AND k.destroyed_at IS NULL;
    GET DIAGNOSTICS destroyed = ROW_COUNT;
    RETURN destroyed;
END $$;
CREATE FUNCTION platform.guard_data_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        -- Only with its tenant: a row that were gone could be made anew under the same version.
        IF EXISTS (SELECT FROM platform.tenants t WHERE t.id = OLD.tenant_id) THEN
            RAISE EXCEPTION 'keys are destroyed, not deleted' USING ERRCODE = 'restrict_violation', CONSTRAINT = 'keys_stay';
        END IF;
        RETURN OLD;
    END IF;
    IF (OLD.tenant_id, OLD.id, OLD.purpose, OLD.version, OLD.algorithm, OLD.created_at)
       IS DISTINCT FROM (NEW.tenant_id, NEW.id, NEW.purpose, NEW.version, NEW.algorithm, NEW.created_at)
       OR OLD.retired_at IS NOT NULL AND NEW.retired_at IS DISTINCT FROM OLD.retired_at
       OR OLD.destroyed_at IS NOT NULL
       AND (NEW.destroyed_at IS DISTINCT FROM OLD.destroyed_at OR NEW.wrapped_key IS NOT NULL)
    THEN
        RAISE EXCEPTION 'a key stays what it is, and destroyed for good'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'keys_stay';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON platform.encryption_keys
    FOR EACH ROW EXECUTE FUNCTION platform.guard_data_key();
ALTER TABLE platform.encryption_keys ENABLE ALWAYS TRIGGER guard

-- name: field_functions
-- A column is encrypted when its comment says so: `encrypted, bound to COLUMN`, the column that binds a value to its row.
CREATE FUNCTION platform.list_encrypted_columns() RETURNS TABLE (table_name text, column_name text, bound_to text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.nspname || '.' || c.relname, a.attname::text, substring(d.description FROM '^encrypted, bound to (\w+)$')
    FROM pg_description d
    JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid AND c.relkind IN ('r', 'p')
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND a.atttypid = 'bytea'::regtype
    WHERE NOT c.relispartition AND d.description ~ '^encrypted, bound to \w+$' ORDER BY 1, 2
$$;
-- The version of the key that a value is encrypted with; 0 where it is no ciphertext of ours.
CREATE FUNCTION platform.read_key_version(value bytea) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL THEN NULL WHEN octet_length(value) < 33 OR get_byte(value, 0) <> 1 THEN 0
       ELSE (get_byte(value, 1) << 24) | (get_byte(value, 2) << 16) | (get_byte(value, 3) << 8) | get_byte(value, 4) END;
CREATE FUNCTION platform.count_fields() RETURNS TABLE (table_name text, column_name text, version int, amount bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
    one record;
BEGIN
    FOR one IN SELECT * FROM platform.list_encrypted_columns() LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %L, %L, platform.read_key_version(t.%I), count(*) FROM %s t '
            'WHERE t.tenant_id = $1 AND t.%I IS NOT NULL GROUP BY 3',
            one.table_name, one.column_name, one.column_name, one.table_name::regclass, one.column_name) USING tenant;
    END LOOP;
END $$;
-- Replaces ciphertexts by ciphertexts of the same values under the newest key, where they still are what was read.
CREATE FUNCTION platform.reencrypt_fields(
    target text, field text, ids uuid[], before bytea[], after bytea[]
) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := platform.require_pipelines();
    bound text;
    newest platform.encryption_keys;
    changed int;
BEGIN
    SELECT c.bound_to INTO bound FROM platform.list_encrypted_columns() c
    WHERE c.table_name = target AND c.column_name = field;
    SELECT * INTO newest FROM platform.encryption_keys k
    WHERE k.tenant_id = tenant AND k.purpose = 'fields' ORDER BY k.version DESC LIMIT 1 FOR UPDATE;
    IF bound IS NULL OR newest.id IS NULL OR EXISTS (
        SELECT FROM unnest(before, after) AS v(b, a)
        WHERE platform.read_key_version(v.a) IS DISTINCT FROM newest.version OR platform.read_key_version(v.b) = 0)
    THEN
        RAISE EXCEPTION '%.% can not be encrypted anew so', target, field USING ERRCODE = 'restrict_violation';
    END IF;
    -- The audit log leaves out what happens between these two; the count stays with the key, and one event tells of it.
    UPDATE platform.encryption_keys k SET reencrypting = txid_current() WHERE k.tenant_id = tenant AND k.id = newest.id;
    PERFORM set_config('app.reencrypting', target::regclass::oid::text, true);
    EXECUTE format(
        'UPDATE %s t SET %I = v.after FROM unnest($2, $3, $4) AS v(id, before, after) '
        'WHERE t.tenant_id = $1 AND t.%I = v.id AND t.%I = v.before', target::regclass, field, bound, field)
        USING tenant, ids, before, after;
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.reencrypting', '', true);
    UPDATE platform.encryption_keys k SET reencrypting = NULL, reencrypted = k.reencrypted + changed
    WHERE k.tenant_id = tenant AND k.id = newest.id;
    RETURN changed;
END $$

-- name: record_change
CREATE OR REPLACE FUNCTION governance.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb;
    after jsonb;
    subject jsonb;
    tenant uuid;
    changed jsonb;
    key jsonb;
BEGIN
    -- Values that are only encrypted anew stay what they were, and one event tells of them all. The setting is anybody's
    -- to set; the mark beside it is there while platform.reencrypt_fields runs, and only its owner can leave one.
    IF TG_OP = 'UPDATE' AND coalesce(current_setting('app.reencrypting', true), '') = TG_RELID::text THEN
        IF EXISTS (SELECT FROM platform.encryption_keys k
                   WHERE k.tenant_id = current_setting('app.tenant_id')::uuid AND k.reencrypting = txid_current()) THEN
            RETURN NULL;
        END IF;
    END IF;
    before := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    subject := coalesce(after, before);
    tenant := coalesce(subject ->> 'tenant_id', subject ->> 'id')::uuid;
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
