-- name: agrees
CREATE FUNCTION evaluation.agrees(tenant uuid, person uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM identity.consents c
        WHERE c.tenant_id = tenant AND c.user_id = person AND c.purpose = 'evaluation' AND c.withdrawn_at IS NULL)
$$

-- name: may_study
-- Whoever asked allows it, for all answers or for this one, and so does every client whom the answer is about or cites.
-- What it cites stands in the message itself: rows of message_citations go when their source is indexed anew.
CREATE FUNCTION evaluation.may_study(tenant uuid, message uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM chat.chat_messages m JOIN chat.chat_sessions s ON s.tenant_id = m.tenant_id AND s.id = m.session_id
        WHERE m.tenant_id = tenant AND m.id = message AND m.role = 'assistant'
          AND (evaluation.agrees(tenant, m.user_id) OR EXISTS (
              SELECT FROM evidence.feedback f WHERE f.tenant_id = tenant AND f.target_type = 'message'
                AND f.target_id = m.id AND f.user_id = m.user_id AND f.may_be_studied))
          AND (s.client_id IS NULL OR s.client_id = m.user_id OR evaluation.agrees(tenant, s.client_id))
          AND NOT EXISTS (
              SELECT FROM jsonb_to_recordset(m."references" -> 'citations') AS c (source_id uuid)
              LEFT JOIN rag.transcripts t ON t.tenant_id = tenant AND t.id = c.source_id
              LEFT JOIN rag.documents d ON d.tenant_id = tenant AND d.id = c.source_id
              WHERE coalesce(t.client_id, d.client_id) <> m.user_id
                AND NOT evaluation.agrees(tenant, coalesce(t.client_id, d.client_id))))
$$

-- name: require_allowed
-- Whoever withdraws waits until this is stored, and then removes it; whoever stores waits until that is done.
CREATE FUNCTION evaluation.require_allowed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('study:' || NEW.tenant_id, 0));
    IF NOT evaluation.may_study(NEW.tenant_id, NEW.message_id) THEN
        RAISE EXCEPTION 'message % may not be studied', NEW.message_id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'may_study';
    END IF;
    RETURN NEW;
END $$

-- name: forget_messages
CREATE FUNCTION evaluation.forget_messages(tenant uuid, messages uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (SELECT m AS id FROM unnest(messages) AS m WHERE NOT evaluation.may_study(tenant, m)),
    proposals AS (
        DELETE FROM evaluation.case_proposals p USING gone WHERE p.tenant_id = tenant AND p.message_id = gone.id)
    DELETE FROM evaluation.rag_evaluations e USING gone WHERE e.tenant_id = tenant AND e.message_id = gone.id
$$

-- name: follow_consent
CREATE FUNCTION evaluation.follow_consent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('study:' || OLD.tenant_id, 0));
    PERFORM evaluation.forget_messages(OLD.tenant_id, ARRAY(
        SELECT k.message_id FROM (
            SELECT message_id, user_id FROM evaluation.case_proposals WHERE tenant_id = OLD.tenant_id
            UNION
            SELECT message_id, user_id FROM evaluation.rag_evaluations
            WHERE tenant_id = OLD.tenant_id AND message_id IS NOT NULL) k
        JOIN chat.chat_messages m ON m.tenant_id = OLD.tenant_id AND m.id = k.message_id
        JOIN chat.chat_sessions s ON s.tenant_id = m.tenant_id AND s.id = m.session_id
        WHERE OLD.user_id IN (k.user_id, s.client_id) OR EXISTS (
            SELECT FROM jsonb_to_recordset(m."references" -> 'citations') AS c (source_id uuid)
            LEFT JOIN rag.transcripts t ON t.tenant_id = m.tenant_id AND t.id = c.source_id
            LEFT JOIN rag.documents d ON d.tenant_id = m.tenant_id AND d.id = c.source_id
            WHERE OLD.user_id IN (t.client_id, d.client_id))));
    RETURN NULL;
END $$

-- name: follow_feedback
CREATE FUNCTION evaluation.follow_feedback() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('study:' || OLD.tenant_id, 0));
    PERFORM evaluation.forget_messages(OLD.tenant_id, ARRAY[OLD.target_id]);
    RETURN NULL;
END $$
