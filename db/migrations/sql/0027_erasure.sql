-- name: require_erasure
-- Every function an erasure needs asks this first: the pipelines, a verified request of the bound tenant that is being
-- carried out, and nobody's order to keep what it is about.
CREATE FUNCTION governance.require_erasure(request uuid) RETURNS governance.deletion_requests
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked governance.deletion_requests;
BEGIN
    SELECT r.* INTO asked FROM governance.deletion_requests r
    WHERE r.tenant_id = current_setting('app.tenant_id')::uuid AND r.id = request
      AND r.status = 'running' AND r.verified_at IS NOT NULL AND current_setting('app.role') = 'system';
    IF asked.id IS NULL THEN
        RAISE EXCEPTION 'no verified erasure % is running', request USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (
        SELECT FROM governance.legal_holds h WHERE h.tenant_id = asked.tenant_id AND h.released_at IS NULL
          AND (h.subject_kind = 'tenant' OR asked.subject_kind = 'tenant' OR h.subject_id = asked.subject_id
               OR EXISTS (SELECT FROM governance.erasure_scopes s WHERE s.tenant_id = h.tenant_id
                          AND s.request_id = request AND h.subject_id = ANY (s.ids)))) THEN
        RAISE EXCEPTION 'erasure % is held', request USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'legal_hold';
    END IF;
    RETURN asked;
END $$

-- name: erase_rows
-- What no role of the product may otherwise take out or blank, store by store as pipelines/privacy/stores.py names them.
CREATE FUNCTION governance.erase_rows(request uuid, store text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked governance.deletion_requests := governance.require_erasure(request);
    whole boolean := asked.subject_kind = 'tenant';
    person uuid := CASE asked.subject_kind WHEN 'person' THEN asked.subject_id END;
    done bigint;
BEGIN
    CASE store
    WHEN 'content.content_approvals' THEN
        DELETE FROM content.content_approvals t WHERE t.tenant_id = asked.tenant_id AND (whole OR t.content_id IN (
            SELECT unnest(s.ids) FROM governance.erasure_scopes s WHERE s.tenant_id = asked.tenant_id
              AND s.request_id = request AND s.root IN ('posts', 'projects', 'articles')));
    WHEN 'community.view_tallies' THEN
        DELETE FROM community.view_tallies t WHERE t.tenant_id = asked.tenant_id AND whole;
    WHEN 'identity.consents' THEN
        DELETE FROM identity.consents t WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person);
    WHEN 'identity.user_roles' THEN
        DELETE FROM identity.user_roles t WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person);
    WHEN 'identity.user_settings' THEN
        DELETE FROM identity.user_settings t WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person);
    WHEN 'identity.user_profiles' THEN
        DELETE FROM identity.user_profiles t WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person);
    WHEN 'commerce.transactions' THEN
        UPDATE commerce.transactions t SET metadata = NULL, failure_reason = NULL, refund_reason = NULL
        WHERE t.tenant_id = asked.tenant_id AND (whole OR person IN (t.user_id, t.seller_id))
          AND num_nonnulls(t.metadata, t.failure_reason, t.refund_reason) > 0;
    WHEN 'commerce.orders' THEN
        UPDATE commerce.orders t SET shipping_address = NULL, tracking_number = NULL, tracking_url = NULL, notes = NULL,
            metadata = NULL
        WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person)
          AND num_nonnulls(t.shipping_address, t.tracking_number, t.tracking_url, t.notes, t.metadata) > 0;
    WHEN 'commerce.order_items' THEN
        UPDATE commerce.order_items t SET download_url = NULL
        WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person) AND t.download_url IS NOT NULL;
    WHEN 'commerce.subscriptions' THEN
        UPDATE commerce.subscriptions t SET cancellation_note = NULL, metadata = NULL
        WHERE t.tenant_id = asked.tenant_id AND (whole OR t.user_id = person)
          AND num_nonnulls(t.cancellation_note, t.metadata) > 0;
    ELSE
        RAISE EXCEPTION 'there is no store % to erase', store USING ERRCODE = 'invalid_parameter_value';
    END CASE;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END $$

-- name: redact_messages
-- Takes sentences out of other people's messages: `changes` holds of each its id, the pieces that stay in their order, and
-- its references without what went. The trigger on the table lets nothing else through.
CREATE FUNCTION governance.redact_messages(request uuid, changes jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked governance.deletion_requests := governance.require_erasure(request);
    done bigint;
BEGIN
    UPDATE chat.chat_messages m
    SET content = array_to_string(ARRAY(SELECT jsonb_array_elements_text(c.kept)), ' '), "references" = c.facts
    FROM jsonb_to_recordset(changes) AS c (id uuid, kept jsonb, facts jsonb)
    WHERE m.tenant_id = asked.tenant_id AND m.id = c.id;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END $$

-- name: keep_message
-- A message is never changed; while an erasure runs, parts of it may go. What stays is pieces of the old text in their
-- order, and references that the old ones contain; what was understood of the question may be emptied, a pack unnamed.
CREATE FUNCTION chat.keep_message() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    beside text[] := ARRAY['understood', 'pack_id'];
    rest text := OLD.content;
    piece text;
BEGIN
    IF NOT EXISTS (SELECT FROM governance.deletion_requests r WHERE r.tenant_id = OLD.tenant_id
                   AND r.status = 'running' AND r.verified_at IS NOT NULL)
       OR (OLD.tenant_id, OLD.id, OLD.created_at, OLD.session_id, OLD.user_id, OLD.role)
          IS DISTINCT FROM (NEW.tenant_id, NEW.id, NEW.created_at, NEW.session_id, NEW.user_id, NEW.role)
       OR NOT OLD."references" - beside @> NEW."references" - beside
       OR coalesce(NEW."references" ->> 'understood', '') NOT IN ('', coalesce(OLD."references" ->> 'understood', ''))
       OR coalesce(NEW."references" ->> 'pack_id', '') NOT IN ('', coalesce(OLD."references" ->> 'pack_id', ''))
       OR length(NEW.content) > length(OLD.content)
       OR NEW."references" ? 'sentences' AND NEW.content <> coalesce((
              SELECT string_agg(s ->> 'text', ' ' ORDER BY n)
              FROM jsonb_array_elements(NEW."references" -> 'sentences') WITH ORDINALITY AS one (s, n)), '')
    THEN
        RAISE EXCEPTION '%.% is never changed', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    -- Each word that stays is looked for from where the one before it was found.
    FOREACH piece IN ARRAY regexp_split_to_array(NEW.content, '\s+') LOOP
        IF strpos(rest, piece) = 0 THEN
            RAISE EXCEPTION '%.% is never changed', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END IF;
        rest := substr(rest, strpos(rest, piece) + length(piece));
    END LOOP;
    RETURN NEW;
END $$
