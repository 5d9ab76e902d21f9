-- name: list_clients
-- Whom stored answers are about: the conversation's client, those whose sources, claims and patterns an answer tells,
-- and those who speak the words it cites. What it cites stands in the message itself: rows of message_citations go when
-- their source is indexed anew.
CREATE FUNCTION evaluation.list_clients(tenant uuid, messages uuid[]) RETURNS TABLE (message_id uuid, client_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH answers AS (
        SELECT m.id, s.client_id, m."references" AS facts
        FROM chat.chat_messages m JOIN chat.chat_sessions s ON s.tenant_id = m.tenant_id AND s.id = m.session_id
        WHERE m.tenant_id = tenant AND m.id = ANY (messages)),
    cited AS (
        SELECT a.id, c.* FROM answers a
        CROSS JOIN LATERAL jsonb_to_recordset(a.facts -> 'citations')
            AS c (source_id uuid, char_start integer, char_end integer)),
    told AS (
        SELECT a.id, e.item::uuid AS item FROM answers a
        CROSS JOIN LATERAL jsonb_array_elements(a.facts -> 'sentences') AS s (sentence)
        CROSS JOIN LATERAL jsonb_array_elements_text(s.sentence -> 'evidence') AS e (item))
    SELECT about.id, about.client_id FROM (
        SELECT a.id, a.client_id FROM answers a
        UNION SELECT c.id, t.client_id
        FROM cited c JOIN rag.transcripts t ON t.tenant_id = tenant AND t.id = c.source_id
        UNION SELECT c.id, d.client_id
        FROM cited c JOIN rag.documents d ON d.tenant_id = tenant AND d.id = c.source_id
        UNION SELECT c.id, u.id FROM cited c
        JOIN rag.transcript_segments g ON g.tenant_id = tenant AND g.transcript_id = c.source_id
            AND g.char_start < c.char_end AND g.char_end > c.char_start
        JOIN identity.users u ON u.tenant_id = tenant AND u.id = g.speaker_id AND u.role = 'client'
        UNION SELECT o.id, k.client_id FROM told o JOIN evidence.claims k ON k.tenant_id = tenant AND k.id = o.item
        UNION SELECT o.id, p.client_id FROM told o JOIN evidence.patterns p ON p.tenant_id = tenant AND p.id = o.item
    ) about WHERE about.client_id IS NOT NULL
$$

-- name: list_allowed
-- Those of the messages that may be studied: answers whose asker allows it, for all or for this one, and so does every
-- client whom it is about; and what it cites is there as it was.
CREATE FUNCTION evaluation.list_allowed(tenant uuid, messages uuid[]) RETURNS SETOF uuid
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
          WHERE about.message_id = m.id AND about.client_id <> m.user_id AND NOT EXISTS (
              SELECT FROM identity.consents c WHERE c.tenant_id = tenant AND c.user_id = about.client_id
                AND c.purpose = 'evaluation' AND c.withdrawn_at IS NULL))
      AND NOT EXISTS (
          SELECT FROM jsonb_to_recordset(m."references" -> 'citations') AS c (source_id uuid, content_hash text)
          WHERE NOT EXISTS (
              SELECT FROM rag.transcripts t
              WHERE t.tenant_id = tenant AND t.id = c.source_id AND t.content_hash = c.content_hash)
            AND NOT EXISTS (
              SELECT FROM rag.documents d
              WHERE d.tenant_id = tenant AND d.id = c.source_id AND d.content_hash = c.content_hash))
$$

-- name: may_study
CREATE FUNCTION evaluation.may_study(tenant uuid, message uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM evaluation.list_allowed(tenant, ARRAY[message]))
$$

-- name: list_studied
CREATE FUNCTION evaluation.list_studied(tenant uuid) RETURNS TABLE (message_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.message_id, p.user_id FROM evaluation.case_proposals p WHERE p.tenant_id = tenant
    UNION
    SELECT e.message_id, e.user_id FROM evaluation.rag_evaluations e
    WHERE e.tenant_id = tenant AND e.message_id IS NOT NULL
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
    WITH gone AS MATERIALIZED (
        SELECT m AS id FROM unnest(messages) AS m
        EXCEPT SELECT allowed FROM evaluation.list_allowed(tenant, messages) AS allowed),
    proposals AS (
        DELETE FROM evaluation.case_proposals p USING gone WHERE p.tenant_id = tenant AND p.message_id = gone.id)
    DELETE FROM evaluation.rag_evaluations e USING gone WHERE e.tenant_id = tenant AND e.message_id = gone.id
$$

-- name: follow_consent
CREATE FUNCTION evaluation.follow_consent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    studied uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('study:' || OLD.tenant_id, 0));
    studied := ARRAY(SELECT k.message_id FROM evaluation.list_studied(OLD.tenant_id) k);
    PERFORM evaluation.forget_messages(OLD.tenant_id, ARRAY(
        SELECT k.message_id FROM evaluation.list_studied(OLD.tenant_id) k WHERE k.user_id = OLD.user_id
        UNION
        SELECT about.message_id FROM evaluation.list_clients(OLD.tenant_id, studied) about
        WHERE about.client_id = OLD.user_id));
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

-- name: follow_source
-- When the transaction ends, as indexing anew removes a source and puts the same words back under the same id.
CREATE FUNCTION evaluation.follow_source() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM rag.transcripts t WHERE t.tenant_id = OLD.tenant_id AND t.id = OLD.id
          AND t.content_hash = OLD.content_hash AND t.client_id IS NOT DISTINCT FROM OLD.client_id
        UNION ALL
        SELECT FROM rag.documents d WHERE d.tenant_id = OLD.tenant_id AND d.id = OLD.id
          AND d.content_hash = OLD.content_hash AND d.client_id IS NOT DISTINCT FROM OLD.client_id) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('study:' || OLD.tenant_id, 0));
    PERFORM evaluation.forget_messages(OLD.tenant_id, ARRAY(
        SELECT k.message_id FROM evaluation.list_studied(OLD.tenant_id) k
        JOIN chat.chat_messages m ON m.tenant_id = OLD.tenant_id AND m.id = k.message_id
        WHERE m."references" -> 'citations' @> jsonb_build_array(jsonb_build_object('source_id', OLD.id))));
    RETURN NULL;
END $$
