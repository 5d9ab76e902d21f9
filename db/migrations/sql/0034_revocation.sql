-- name: list_withheld
-- Whose material may not be processed for this purpose now: of the bound reader themself and their clients; for the
-- pipelines, of anyone of the tenant.
CREATE FUNCTION identity.list_withheld(wanted text) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN array(
        SELECT w.user_id FROM identity.withheld_purposes w
        WHERE w.tenant_id = current_setting('app.tenant_id')::uuid AND w.purpose = wanted
          AND (current_setting('app.role') = 'system'
               OR w.user_id = nullif(current_setting('app.user_id'), '')::uuid
               OR w.user_id = ANY (string_to_array(current_setting('app.clients'), ',')::uuid[])));
END $$

-- name: settle_consents
-- Makes the withheld purposes of these people (null: of all) what their consents and the texts say now.
CREATE FUNCTION identity.settle_consents(tenant uuid, people uuid[], purposes text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What is derived or studied at this moment is waited for, and sees what is written here once it is there.
    PERFORM pg_advisory_xact_lock(hashtextextended('consent:' || tenant, 0));
    DELETE FROM identity.withheld_purposes w
    WHERE w.tenant_id = tenant AND w.purpose = ANY (purposes) AND (people IS NULL OR w.user_id = ANY (people))
      AND (EXISTS (SELECT FROM identity.consents c WHERE c.tenant_id = tenant AND c.user_id = w.user_id
                   AND c.purpose = w.purpose AND c.withdrawn_at IS NULL)
           OR NOT identity.needs_consent(tenant, w.purpose) AND NOT EXISTS (
               SELECT FROM identity.consents c
               WHERE c.tenant_id = tenant AND c.user_id = w.user_id AND c.purpose = w.purpose));
    INSERT INTO identity.withheld_purposes (tenant_id, user_id, purpose)
    SELECT tenant, u.id, p.purpose
    FROM unnest(purposes) AS p (purpose)
    CROSS JOIN LATERAL (SELECT identity.needs_consent(tenant, p.purpose) AS needed) n
    JOIN identity.users u ON u.tenant_id = tenant AND (people IS NULL OR u.id = ANY (people))
    WHERE NOT EXISTS (SELECT FROM identity.consents c WHERE c.tenant_id = tenant AND c.user_id = u.id
                      AND c.purpose = p.purpose AND c.withdrawn_at IS NULL)
      AND (n.needed AND u.role = 'client' OR EXISTS (
          SELECT FROM identity.consents c WHERE c.tenant_id = tenant AND c.user_id = u.id AND c.purpose = p.purpose))
    ON CONFLICT DO NOTHING;
END $$

-- name: needs_consent
-- Whether clients of the tenant must have agreed to this before it is done: what the newest text says.
CREATE FUNCTION identity.needs_consent(tenant uuid, wanted text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT t.is_required FROM identity.consent_texts t WHERE t.tenant_id = tenant AND t.purpose = wanted
        ORDER BY t.published_at DESC, t.id DESC LIMIT 1), false);
END $$

-- name: follow_consents
CREATE FUNCTION identity.follow_consents() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one identity.consents := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    -- A person who goes takes their rows along by key.
    IF EXISTS (SELECT FROM identity.users u WHERE u.tenant_id = one.tenant_id AND u.id = one.user_id) THEN
        PERFORM identity.settle_consents(one.tenant_id, ARRAY[one.user_id], ARRAY[one.purpose::text]);
    END IF;
    RETURN NULL;
END $$

-- name: follow_texts
CREATE FUNCTION identity.follow_texts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM identity.settle_consents(NEW.tenant_id, NULL, ARRAY[NEW.purpose::text]);
    RETURN NULL;
END $$

-- name: follow_people
-- Whoever joins where consent must come first has not given it yet.
CREATE FUNCTION identity.follow_people() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    joined record;
BEGIN
    FOR joined IN SELECT a.tenant_id, array_agg(a.id) AS people FROM added a WHERE a.role = 'client' GROUP BY 1 LOOP
        IF EXISTS (SELECT FROM identity.consent_texts t WHERE t.tenant_id = joined.tenant_id AND t.is_required) THEN
            PERFORM identity.settle_consents(
                joined.tenant_id, joined.people,
                array(SELECT DISTINCT t.purpose::text FROM identity.consent_texts t
                      WHERE t.tenant_id = joined.tenant_id AND t.is_required));
        END IF;
    END LOOP;
    RETURN NULL;
END $$

-- name: follow_withheld
-- What was derived from a person's words is stale from this moment, and what was proposed of them goes.
CREATE FUNCTION identity.follow_withheld() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := (SELECT a.tenant_id FROM added a LIMIT 1);
    studied uuid[];
BEGIN
    IF tenant IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE evidence.quotes q SET stale_at = now()
    FROM added a
    WHERE a.purpose = 'evidence' AND q.tenant_id = a.tenant_id AND q.client_id = a.user_id AND q.stale_at IS NULL;
    IF EXISTS (SELECT FROM added a WHERE a.purpose = 'assistant') THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('study:' || tenant, 0));
        studied := array(SELECT k.message_id FROM evaluation.list_studied(tenant) k);
        IF studied <> '{}' THEN
            PERFORM evaluation.forget_messages(tenant, array(
                SELECT about.message_id FROM evaluation.list_clients(tenant, studied) about
                JOIN added a ON a.user_id = about.client_id AND a.purpose = 'assistant'));
        END IF;
    END IF;
    RETURN NULL;
END $$

-- name: require_consent
-- Nothing is derived from the words of sources about someone who does not want that.
CREATE FUNCTION evidence.require_consent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    refused uuid;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('consent:' || current_setting('app.tenant_id'), 0));
    SELECT w.user_id INTO refused FROM (SELECT DISTINCT a.tenant_id, a.client_id FROM added a) a
    JOIN identity.withheld_purposes w
        ON w.tenant_id = a.tenant_id AND w.user_id = a.client_id AND w.purpose = 'evidence' LIMIT 1;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'person % does not agree to evidence', refused
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'evidence_consent';
    END IF;
    RETURN NULL;
END $$

-- name: skip_uncounted
-- What someone does who does not want to be counted is not counted.
CREATE FUNCTION analytics.skip_uncounted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM identity.withheld_purposes w
               WHERE w.tenant_id = NEW.tenant_id AND w.user_id = NEW.user_id AND w.purpose = 'analytics') THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$

-- name: list_allowed
CREATE OR REPLACE FUNCTION evaluation.list_allowed(tenant uuid, messages uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.id FROM chat.chat_messages m
    WHERE m.tenant_id = tenant AND m.id = ANY (messages) AND m.role = 'assistant'
      AND (EXISTS (
          SELECT FROM identity.consents c WHERE c.tenant_id = tenant AND c.user_id = m.user_id
            AND c.purpose = 'evaluation' AND c.withdrawn_at IS NULL)
        OR EXISTS (
          SELECT FROM evidence.feedback f WHERE f.tenant_id = tenant AND f.target_type = 'message'
            AND f.target_id = m.id AND f.user_id = m.user_id AND f.may_be_studied))
      AND NOT EXISTS (
          SELECT FROM evaluation.list_clients(tenant, messages) about
          WHERE about.message_id = m.id AND (
              about.client_id <> m.user_id AND NOT EXISTS (
                  SELECT FROM identity.consents c WHERE c.tenant_id = tenant AND c.user_id = about.client_id
                    AND c.purpose = 'evaluation' AND c.withdrawn_at IS NULL)
              OR EXISTS (
                  SELECT FROM identity.withheld_purposes w
                  WHERE w.tenant_id = tenant AND w.user_id = about.client_id AND w.purpose = 'assistant')))
      AND NOT EXISTS (
          SELECT FROM jsonb_to_recordset(m."references" -> 'citations') AS c (source_id uuid, content_hash text)
          WHERE NOT EXISTS (
              SELECT FROM rag.transcripts t
              WHERE t.tenant_id = tenant AND t.id = c.source_id AND t.content_hash = c.content_hash)
            AND NOT EXISTS (
              SELECT FROM rag.documents d
              WHERE d.tenant_id = tenant AND d.id = c.source_id AND d.content_hash = c.content_hash))
$$

-- name: may_leave
-- Whether the words of a stored answer may be sent to a model outside: whoever asked and everyone whom it is about agree.
CREATE FUNCTION evaluation.may_leave(tenant uuid, message uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT FROM identity.withheld_purposes w
        WHERE w.tenant_id = tenant AND w.purpose = 'external_model' AND w.user_id IN (
            SELECT about.client_id FROM evaluation.list_clients(tenant, ARRAY[message]) about
            UNION ALL SELECT m.user_id FROM chat.chat_messages m WHERE m.tenant_id = tenant AND m.id = message))
$$

-- name: open_shared_link
-- What a link leads to, for someone of the same tenant who is there now; counted as opened. Whoever renders it reads every
-- word under the opener's own policies.
CREATE FUNCTION chat.open_shared_link(wanted text)
RETURNS TABLE (id uuid, user_id uuid, message_id uuid, pack_id uuid, expires_at timestamptz, asked text,
               role text, created_at timestamptz, content text, facts jsonb, pack_content jsonb, pack_hash text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    reader uuid := nullif(current_setting('app.user_id'), '')::uuid;
    link chat.shared_links;
BEGIN
    UPDATE chat.shared_links l SET opened_count = l.opened_count + 1, last_opened_at = clock_timestamp()
    FROM identity.users u
    WHERE l.tenant_id = tenant AND l.token_hash = wanted AND l.revoked_at IS NULL AND l.expires_at > now()
      AND reader IS NOT NULL AND (l.reader_id IS NULL OR reader IN (l.reader_id, l.user_id))
      AND u.tenant_id = tenant AND u.id = l.user_id AND u.status = 'active'
    RETURNING l.* INTO link;
    IF link.id IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT link.id, link.user_id, link.message_id, link.pack_id, link.expires_at,
            coalesce(k.question, (
                SELECT q.content FROM chat.chat_messages q
                WHERE q.tenant_id = tenant AND q.session_id = m.session_id AND q.role = 'user'
                  AND q.created_at < m.created_at ORDER BY q.created_at DESC LIMIT 1)),
            m.role, coalesce(m.created_at, k.created_at), m.content, m."references", k.content, k.content_hash
        FROM (SELECT) nothing
        LEFT JOIN chat.chat_messages m
            ON m.tenant_id = tenant AND m.id = link.message_id AND m.created_at = link.message_created_at
        LEFT JOIN evidence.evidence_packs k ON k.tenant_id = tenant AND k.id = link.pack_id AND k.stale_at IS NULL
        WHERE num_nonnulls(m.id, k.id) = 1;
END $$

-- name: keep_link
-- A link says what it said; it is opened more often, or revoked once.
CREATE FUNCTION chat.keep_link() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        RAISE EXCEPTION 'a revoked link stays revoked'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'link_revoked';
    END IF;
    RETURN NEW;
END $$

-- name: guard_correction
CREATE FUNCTION governance.guard_correction() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    decider text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'requested' THEN
            RAISE EXCEPTION 'a correction is requested before anyone decides on it'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'correction_state';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.id, NEW.kind, NEW.requested_by, NEW.requested_at, NEW.client_id, NEW.object_id,
        NEW.segment_index, NEW.turn_hash, NEW.claim_id, NEW.speaker_id)
       IS DISTINCT FROM (OLD.tenant_id, OLD.id, OLD.kind, OLD.requested_by, OLD.requested_at, OLD.client_id,
        OLD.object_id, OLD.segment_index, OLD.turn_hash, OLD.claim_id, OLD.speaker_id)
       OR NEW.proposed_text IS DISTINCT FROM OLD.proposed_text AND NEW.proposed_text IS NOT NULL THEN
        RAISE EXCEPTION 'what a correction asks for is never changed: request another'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'correction_fixed';
    END IF;
    IF NEW.status = OLD.status AND (OLD.status = 'requested' OR NEW.decision IS NOT DISTINCT FROM OLD.decision
        AND (NEW.decided_by IS NULL OR NEW.decided_by = OLD.decided_by))
    THEN
        RETURN NEW;
    END IF;
    IF OLD.status <> 'requested' THEN
        RAISE EXCEPTION 'this correction is % already', OLD.status
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'correction_state';
    END IF;
    IF NEW.status IN ('applied', 'refused') THEN
        SELECT u.role INTO decider FROM identity.users u
        WHERE u.tenant_id = NEW.tenant_id AND u.id = NEW.decided_by AND u.status = 'active';
        IF decider IS NULL OR NOT (
            EXISTS (SELECT FROM identity.user_roles r
                    WHERE r.tenant_id = NEW.tenant_id AND r.user_id = NEW.decided_by AND r.role_name = 'compliance'
                      AND r.revoked_at IS NULL AND (r.expires_at IS NULL OR r.expires_at > now()))
            OR NEW.decided_by <> NEW.requested_by AND EXISTS (
                SELECT FROM coaching.engagements e
                WHERE e.tenant_id = NEW.tenant_id AND e.coach_id = NEW.decided_by AND e.client_id = NEW.client_id
                  AND e.started_at <= now() AND (e.ended_at IS NULL OR e.ended_at > now()))
            OR NEW.kind = 'claim' AND NEW.decided_by = NEW.requested_by)
        THEN
            RAISE EXCEPTION 'a correction is decided by the client''s coach or by compliance'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'correction_decider';
        END IF;
    END IF;
    IF NEW.status <> 'applied' THEN
        NEW.proposed_text := NULL;
    END IF;
    NEW.decided_at := clock_timestamp();
    RETURN NEW;
END $$

-- name: follow_correction
-- A claim that its holder disputes is taken back, and what stands on it is stale.
CREATE FUNCTION governance.follow_correction() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE evidence.claims c SET status = 'retracted', superseded_by = NULL
    WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.claim_id AND c.stale_at IS NULL;
    PERFORM evidence.mark_children(NEW.tenant_id, 'claim', ARRAY[NEW.claim_id]);
    RETURN NULL;
END $$

-- name: keep_retracted
-- A claim with the same words, derived again, is as disputed as before.
CREATE FUNCTION evidence.keep_retracted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.status <> 'retracted' OR NEW.superseded_by IS NOT NULL) AND EXISTS (
        SELECT FROM governance.corrections k
        WHERE k.tenant_id = NEW.tenant_id AND k.claim_id = NEW.id AND k.status = 'applied')
    THEN
        NEW.status := 'retracted';
        NEW.superseded_by := NULL;
    END IF;
    RETURN NEW;
END $$
