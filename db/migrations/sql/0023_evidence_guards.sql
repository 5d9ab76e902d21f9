-- name: check_quotes
-- Reads the words anew from where the quote says they stand. The source is locked, so that it can't change in between
-- without its change seeing these quotes.
CREATE FUNCTION evidence.check_quotes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    transcripts uuid[];
    documents uuid[];
    wrong record;
BEGIN
    SELECT array_agg(DISTINCT a.transcript_id ORDER BY a.transcript_id) FILTER (WHERE a.transcript_id IS NOT NULL),
           array_agg(DISTINCT a.document_id ORDER BY a.document_id) FILTER (WHERE a.document_id IS NOT NULL)
    INTO transcripts, documents FROM added a;
    IF transcripts IS NOT NULL THEN
        PERFORM FROM rag.transcripts t WHERE t.id = ANY (transcripts) ORDER BY t.id FOR SHARE;
    END IF;
    IF documents IS NOT NULL THEN
        PERFORM FROM rag.documents d WHERE d.id = ANY (documents) ORDER BY d.id FOR SHARE;
    END IF;
    WITH spoken AS MATERIALIZED (
        SELECT s.tenant_id, s.transcript_id AS source_id, string_agg(s.text, E'\n' ORDER BY s.segment_index) AS words
        FROM rag.transcript_segments s WHERE s.transcript_id = ANY (transcripts) GROUP BY 1, 2
        UNION ALL SELECT d.tenant_id, d.id, d.text FROM rag.documents d WHERE d.id = ANY (documents)
    ), sources AS (
        SELECT t.tenant_id, t.id, t.content_hash, t.visibility, t.client_id, t.coach_id FROM rag.transcripts t
        WHERE t.id = ANY (transcripts)
        UNION ALL SELECT d.tenant_id, d.id, d.content_hash, d.visibility, d.client_id, d.coach_id FROM rag.documents d
        WHERE d.id = ANY (documents)
    )
    SELECT a.id, CASE
        WHEN s.id IS NULL THEN 'its source is not there'
        WHEN a.content_hash <> s.content_hash THEN 'its source has another version now'
        WHEN a.char_start < length(a.prefix)
            OR substr(w.words, a.char_start - length(a.prefix) + 1, length(a.prefix) + length(a.exact) + length(a.suffix))
               IS DISTINCT FROM a.prefix || a.exact || a.suffix THEN 'these are not the words that stand there'
        WHEN a.document_id IS NOT NULL AND num_nonnulls(a.speaker, a.speaker_id, a.segment_last, a.started_s) > 0
            THEN 'nobody speaks in a document'
        WHEN a.transcript_id IS NOT NULL AND (p.turns IS DISTINCT FROM a.segment_last - a.segment_first + 1
            OR a.char_start < p.first_start OR a.char_start >= p.first_end
            OR a.char_end > p.last_end OR a.char_end <= p.last_start) THEN 'it stands in other turns'
        WHEN a.transcript_id IS NOT NULL AND (NOT p.one_voice OR p.turns > 1 AND num_nonnulls(a.speaker, a.speaker_id) = 0)
            THEN 'somebody else speaks there'
        WHEN a.started_s < p.started_s OR a.ended_s > p.ended_s THEN 'it was said at another time'
        WHEN (a.visibility, a.client_id, a.coach_id) IS DISTINCT FROM (s.visibility, s.client_id, s.coach_id)
            THEN 'it has another visibility or audience than its source'
        END AS why
    INTO wrong
    FROM added a
    LEFT JOIN sources s ON s.tenant_id = a.tenant_id AND s.id = coalesce(a.transcript_id, a.document_id)
    LEFT JOIN spoken w ON w.tenant_id = a.tenant_id AND w.source_id = s.id
    LEFT JOIN LATERAL (
        SELECT count(*) AS turns, min(g.char_start) AS first_start, max(g.char_end) AS last_end,
               min(g.char_end) FILTER (WHERE g.segment_index = a.segment_first) AS first_end,
               max(g.char_start) FILTER (WHERE g.segment_index = a.segment_last) AS last_start,
               bool_and(g.speaker IS NOT DISTINCT FROM a.speaker AND g.speaker_id IS NOT DISTINCT FROM a.speaker_id)
                   AS one_voice,
               min(g.started_s) AS started_s, max(g.ended_s) AS ended_s
        FROM rag.transcript_segments g
        WHERE g.tenant_id = a.tenant_id AND g.transcript_id = a.transcript_id
          AND g.segment_index BETWEEN a.segment_first AND a.segment_last
    ) p ON a.transcript_id IS NOT NULL
    ORDER BY 2 NULLS LAST LIMIT 1;
    IF wrong.why IS NOT NULL THEN
        RAISE EXCEPTION 'quote % is not verbatim: %', wrong.id, wrong.why
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'quote_verbatim';
    END IF;
    RETURN NULL;
END $$

-- name: intersect_parents
-- What all parents of each child allow together: the narrowest visibility, and the readers they have in common. What no
-- pair of visibility and audience can say is nobody's but the pipelines'.
CREATE FUNCTION evidence.intersect_%(child)ss(tenant uuid, ids uuid[])
RETURNS TABLE (id uuid, visibility text, client_id uuid, coach_id uuid, visibilities text[], client_ids uuid[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT g.child,
        CASE
            WHEN cardinality(g.clients) > 1 OR g.clients IS NOT NULL AND g.alone
                OR g.clients IS NULL AND cardinality(g.coaches) > 1 THEN 'system_internal'
            WHEN cardinality(g.seen) = 1 THEN g.seen[1]
            WHEN g.seen <@ ARRAY['client_visible', 'coach_only'] THEN 'coach_only'
            ELSE 'system_internal'
        END,
        CASE WHEN cardinality(g.clients) = 1 THEN g.clients[1] END,
        CASE WHEN cardinality(g.coaches) = 1 AND NOT g.of_several THEN g.coaches[1] END,
        g.seen, coalesce(g.clients, '{}')
    FROM (
        SELECT p.child, array_agg(DISTINCT p.visibility) AS seen,
               array_agg(DISTINCT p.client_id) FILTER (WHERE p.client_id IS NOT NULL) AS clients,
               array_agg(DISTINCT p.coach_id) FILTER (WHERE p.coach_id IS NOT NULL) AS coaches,
               bool_or(p.client_id IS NULL AND p.coach_id IS NOT NULL) AS alone,
               bool_or(p.client_id IS NOT NULL AND p.coach_id IS NULL) AS of_several
        FROM (%(parents)s) AS p (child, visibility, client_id, coach_id)
        GROUP BY p.child
    ) g
$$

-- name: inherit
-- Gives each child what its parents allow now, and counts those that had something else.
CREATE FUNCTION evidence.inherit_%(child)ss(tenant uuid, ids uuid[]) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH given AS (
        UPDATE evidence.%(table)s c SET %(settings)s
        FROM evidence.intersect_%(child)ss(tenant, ids) i
        WHERE c.tenant_id = tenant AND c.id = i.id AND %(differs)s
        RETURNING 1
    )
    SELECT count(*) FROM given
$$

-- name: inherit_children
-- Lets what hangs on these parents inherit again.
CREATE FUNCTION evidence.inherit_from(tenant uuid, parent text, ids uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
BEGIN
    IF parent = 'claim' THEN
        PERFORM evidence.inherit_claims(tenant, array(
            SELECT c.id FROM evidence.claims c WHERE c.tenant_id = tenant AND c.superseded_by = ANY (ids)));
    END IF;
    SELECT array_agg(DISTINCT d.child_claim_id) FILTER (WHERE d.child_claim_id IS NOT NULL) AS claims,
           array_agg(DISTINCT d.child_pattern_id) FILTER (WHERE d.child_pattern_id IS NOT NULL) AS patterns,
           array_agg(DISTINCT d.child_insight_id) FILTER (WHERE d.child_insight_id IS NOT NULL) AS insights,
           array_agg(DISTINCT d.child_pack_id) FILTER (WHERE d.child_pack_id IS NOT NULL) AS packs
    INTO e FROM evidence.list_edges(tenant, parent, ids) d;
    IF e.claims IS NOT NULL THEN PERFORM evidence.inherit_claims(tenant, e.claims); END IF;
    IF e.patterns IS NOT NULL THEN PERFORM evidence.inherit_patterns(tenant, e.patterns); END IF;
    IF e.insights IS NOT NULL THEN PERFORM evidence.inherit_insights(tenant, e.insights); END IF;
    IF e.packs IS NOT NULL THEN PERFORM evidence.inherit_packs(tenant, e.packs); END IF;
END $$

-- name: list_edges
CREATE FUNCTION evidence.list_edges(tenant uuid, parent text, ids uuid[]) RETURNS SETOF evidence.derivations
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE parent
    WHEN 'quote' THEN
        RETURN QUERY SELECT d.* FROM evidence.derivations d WHERE d.tenant_id = tenant AND d.parent_quote_id = ANY (ids);
    WHEN 'claim' THEN
        RETURN QUERY SELECT d.* FROM evidence.derivations d WHERE d.tenant_id = tenant AND d.parent_claim_id = ANY (ids);
    WHEN 'pattern' THEN
        RETURN QUERY SELECT d.* FROM evidence.derivations d WHERE d.tenant_id = tenant AND d.parent_pattern_id = ANY (ids);
    END CASE;
END $$

-- name: mark_stale
-- Each table's own trigger carries it on to the children of what is marked here.
CREATE FUNCTION evidence.mark_stale(tenant uuid, claim_ids uuid[], pattern_ids uuid[], insight_ids uuid[], pack_ids uuid[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF claim_ids IS NOT NULL THEN
        UPDATE evidence.claims c SET stale_at = now()
        WHERE c.tenant_id = tenant AND c.id = ANY (claim_ids) AND c.stale_at IS NULL;
    END IF;
    IF pattern_ids IS NOT NULL THEN
        UPDATE evidence.patterns c SET stale_at = now()
        WHERE c.tenant_id = tenant AND c.id = ANY (pattern_ids) AND c.stale_at IS NULL;
    END IF;
    IF insight_ids IS NOT NULL THEN
        UPDATE evidence.insights c SET stale_at = now()
        WHERE c.tenant_id = tenant AND c.id = ANY (insight_ids) AND c.stale_at IS NULL;
    END IF;
    IF pack_ids IS NOT NULL THEN
        UPDATE evidence.evidence_packs c SET stale_at = now()
        WHERE c.tenant_id = tenant AND c.id = ANY (pack_ids) AND c.stale_at IS NULL;
    END IF;
END $$

-- name: mark_children
CREATE FUNCTION evidence.mark_children(tenant uuid, parent text, ids uuid[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT evidence.mark_stale(tenant,
        array_agg(DISTINCT d.child_claim_id) FILTER (WHERE d.child_claim_id IS NOT NULL),
        array_agg(DISTINCT d.child_pattern_id) FILTER (WHERE d.child_pattern_id IS NOT NULL),
        array_agg(DISTINCT d.child_insight_id) FILTER (WHERE d.child_insight_id IS NOT NULL),
        array_agg(DISTINCT d.child_pack_id) FILTER (WHERE d.child_pack_id IS NOT NULL))
    FROM evidence.list_edges(tenant, parent, ids) d HAVING count(*) > 0
$$

-- name: follow_sources
-- A transcript or document that says something else, at another time or to others: its quotes follow it and are stale.
CREATE FUNCTION evidence.follow_%(kind)ss() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE evidence.quotes q
    SET visibility = n.visibility, client_id = n.client_id, coach_id = n.coach_id, stale_at = coalesce(q.stale_at, now())
    FROM added n JOIN gone o ON o.tenant_id = n.tenant_id AND o.id = n.id
    WHERE q.tenant_id = n.tenant_id AND q.%(kind)s_id = n.id
      AND (%(after)s) IS DISTINCT FROM (%(before)s);
    RETURN NULL;
END $$

-- name: follow_segments
-- A turn more, less or otherwise makes another text, where no quote can be sure of its place; another speaker changes who
-- said the words of that turn. Turns that go with their whole transcript take its quotes along by key.
CREATE FUNCTION evidence.follow_segments() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE evidence.quotes q SET stale_at = now() FROM (SELECT DISTINCT n.tenant_id, n.transcript_id FROM added n) t
        WHERE q.tenant_id = t.tenant_id AND q.transcript_id = t.transcript_id AND q.stale_at IS NULL;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE evidence.quotes q SET stale_at = now() FROM (SELECT DISTINCT o.tenant_id, o.transcript_id FROM gone o) g
        JOIN rag.transcripts t ON t.tenant_id = g.tenant_id AND t.id = g.transcript_id
        WHERE q.tenant_id = g.tenant_id AND q.transcript_id = g.transcript_id AND q.stale_at IS NULL;
    ELSE
        UPDATE evidence.quotes q SET stale_at = now()
        FROM added n JOIN gone o ON o.tenant_id = n.tenant_id AND o.id = n.id
        WHERE q.tenant_id = o.tenant_id AND q.transcript_id IN (o.transcript_id, n.transcript_id) AND q.stale_at IS NULL
          AND ((n.transcript_id, n.segment_index, n.text, n.char_start, n.char_end)
                  IS DISTINCT FROM (o.transcript_id, o.segment_index, o.text, o.char_start, o.char_end)
               OR (n.speaker, n.speaker_id) IS DISTINCT FROM (o.speaker, o.speaker_id)
                  AND o.segment_index BETWEEN q.segment_first AND q.segment_last);
    END IF;
    RETURN NULL;
END $$

-- name: follow_quotes
CREATE FUNCTION evidence.follow_quotes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid;
    fell uuid[];
    moved uuid[];
BEGIN
    SELECT (array_agg(n.tenant_id))[1], array_agg(n.id) FILTER (WHERE n.stale_at IS NOT NULL AND o.stale_at IS NULL),
           array_agg(n.id) FILTER (WHERE (n.visibility, n.client_id, n.coach_id)
                                         IS DISTINCT FROM (o.visibility, o.client_id, o.coach_id))
    INTO tenant, fell, moved FROM added n JOIN gone o ON o.tenant_id = n.tenant_id AND o.id = n.id;
    IF moved IS NOT NULL THEN
        IF EXISTS (
            SELECT FROM evidence.quotes q
            LEFT JOIN rag.transcripts t ON t.tenant_id = q.tenant_id AND t.id = q.transcript_id
            LEFT JOIN rag.documents d ON d.tenant_id = q.tenant_id AND d.id = q.document_id
            WHERE q.tenant_id = tenant AND q.id = ANY (moved) AND (q.visibility, q.client_id, q.coach_id)
                IS DISTINCT FROM (coalesce(t.visibility, d.visibility), coalesce(t.client_id, d.client_id),
                                  coalesce(t.coach_id, d.coach_id)))
        THEN
            RAISE EXCEPTION 'a quote has the visibility and audience of its source'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'inherited';
        END IF;
        PERFORM evidence.inherit_from(tenant, 'quote', moved);
    END IF;
    IF fell IS NOT NULL THEN
        -- What was read from this source is to be read again.
        DELETE FROM evidence.extractions x USING added n
        WHERE x.tenant_id = tenant AND n.id = ANY (fell) AND x.transcript_id = n.transcript_id;
        PERFORM evidence.mark_children(tenant, 'quote', fell);
    END IF;
    RETURN NULL;
END $$

-- name: check_later_claims
CREATE FUNCTION evidence.check_later(tenant uuid, ids uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    later uuid[] := array(
        SELECT c.superseded_by FROM evidence.claims c
        WHERE c.tenant_id = tenant AND c.id = ANY (ids) AND c.superseded_by IS NOT NULL ORDER BY 1);
BEGIN
    -- Locked first and looked at by another statement, so that a claim can't go stale without opening what it settled.
    PERFORM FROM evidence.claims b WHERE b.tenant_id = tenant AND b.id = ANY (later) ORDER BY b.id FOR SHARE;
    IF EXISTS (SELECT FROM evidence.claims b WHERE b.tenant_id = tenant AND b.id = ANY (later) AND b.stale_at IS NOT NULL)
        OR EXISTS (
            SELECT FROM evidence.claims c
            JOIN evidence.claims b ON b.tenant_id = c.tenant_id AND b.id = c.superseded_by
            LEFT JOIN rag.transcripts s ON s.tenant_id = c.tenant_id AND s.id = c.transcript_id
            LEFT JOIN rag.transcripts t ON t.tenant_id = b.tenant_id AND t.id = b.transcript_id
            WHERE c.tenant_id = tenant AND c.id = ANY (ids)
              AND (b.id = c.id OR b.superseded_by = c.id OR b.client_id IS DISTINCT FROM c.client_id
                   OR s.id IS DISTINCT FROM t.id AND (c.client_id IS NULL OR s.held_at <= t.held_at IS NOT TRUE)))
    THEN
        RAISE EXCEPTION 'only a claim of the same client that stands, from the same session or a later one, settles a claim'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'later_claim';
    END IF;
END $$

-- name: admit_claims
CREATE FUNCTION evidence.admit_claims() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid;
    settled uuid[];
BEGIN
    SELECT (array_agg(a.tenant_id))[1], array_agg(a.id) INTO tenant, settled FROM added a
    WHERE a.superseded_by IS NOT NULL;
    IF settled IS NOT NULL THEN
        PERFORM evidence.check_later(tenant, settled);
    END IF;
    RETURN NULL;
END $$

-- name: follow_claims
CREATE FUNCTION evidence.follow_claims() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid;
    fell uuid[];
    moved uuid[];
    settled uuid[];
    unsettled uuid[];
BEGIN
    SELECT (array_agg(n.tenant_id))[1], array_agg(n.id) FILTER (WHERE n.stale_at IS NOT NULL AND o.stale_at IS NULL),
           array_agg(n.id) FILTER (WHERE (n.visibility, n.client_id, n.coach_id)
                                         IS DISTINCT FROM (o.visibility, o.client_id, o.coach_id)),
           array_agg(n.id) FILTER (WHERE n.superseded_by IS DISTINCT FROM o.superseded_by),
           array_agg(n.id) FILTER (WHERE n.superseded_by IS DISTINCT FROM o.superseded_by AND o.superseded_by IS NOT NULL)
    INTO tenant, fell, moved, settled, unsettled
    FROM added n JOIN gone o ON o.tenant_id = n.tenant_id AND o.id = n.id;
    IF settled IS NOT NULL THEN
        PERFORM evidence.check_later(tenant, settled);
        PERFORM evidence.inherit_claims(tenant, settled);
    END IF;
    IF moved IS NOT NULL THEN
        -- First what hangs on these, which may be among them: a claim and the one that settles it change together.
        PERFORM evidence.inherit_from(tenant, 'claim', moved);
        PERFORM evidence.require_inherited(tenant, 'claim', moved);
    END IF;
    IF fell IS NOT NULL THEN
        DELETE FROM evidence.extractions x USING added n
        WHERE x.tenant_id = tenant AND n.id = ANY (fell) AND x.transcript_id = n.transcript_id;
        UPDATE evidence.claims c SET superseded_by = NULL WHERE c.tenant_id = tenant AND c.superseded_by = ANY (fell);
        PERFORM evidence.mark_children(tenant, 'claim', fell);
    END IF;
    IF unsettled IS NOT NULL THEN
        -- What settled these was a parent of all that stands on them.
        PERFORM evidence.mark_children(tenant, 'claim', unsettled);
    END IF;
    RETURN NULL;
END $$

-- name: reopen_claim
-- A claim whose settling claim is gone says again what its own quotes say.
CREATE FUNCTION evidence.reopen_claim() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.status := 'asserted';
    RETURN NEW;
END $$

-- name: follow_patterns
CREATE FUNCTION evidence.follow_%(child)ss() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid;
    fell uuid[];
    moved uuid[];
BEGIN
    SELECT (array_agg(n.tenant_id))[1], array_agg(n.id) FILTER (WHERE n.stale_at IS NOT NULL AND o.stale_at IS NULL),
           array_agg(n.id) FILTER (WHERE (%(after)s) IS DISTINCT FROM (%(before)s))
    INTO tenant, fell, moved FROM added n JOIN gone o ON o.tenant_id = n.tenant_id AND o.id = n.id;
    IF moved IS NOT NULL THEN
        PERFORM evidence.require_inherited(tenant, '%(child)s', moved);
        %(pass_on)s
    END IF;
    %(mark)s
    RETURN NULL;
END $$

-- name: require_inherited
-- Whoever changes a visibility or audience by hand gets what the parents allow, or nothing.
CREATE FUNCTION evidence.require_inherited(tenant uuid, child text, ids uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    corrected bigint;
BEGIN
    CASE child
        WHEN 'claim' THEN corrected := evidence.count_widened_claims(tenant, ids);
        WHEN 'pattern' THEN corrected := evidence.count_widened_patterns(tenant, ids);
        WHEN 'insight' THEN corrected := evidence.count_widened_insights(tenant, ids);
        WHEN 'pack' THEN corrected := evidence.count_widened_packs(tenant, ids);
    END CASE;
    IF corrected > 0 THEN
        RAISE EXCEPTION '% %s have another visibility or audience than all their parents together allow', corrected, child
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'inherited';
    END IF;
END $$

-- name: count_widened
-- Rows that have something else than their parents allow; one whose parents are all gone keeps what it had.
CREATE FUNCTION evidence.count_widened_%(child)ss(tenant uuid, ids uuid[]) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) FROM evidence.%(table)s c JOIN evidence.intersect_%(child)ss(tenant, ids) i ON i.id = c.id
    WHERE c.tenant_id = tenant AND %(differs)s
$$

-- name: add_edges
-- The one place where the edges of claims and patterns come from: what they were written with.
CREATE FUNCTION evidence.add_%(child)s_edges() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO evidence.derivations (tenant_id, child_%(child)s_id, parent_%(parent)s_id, role, run_id)
    SELECT a.tenant_id, a.%(child)s_id, a.%(parent)s_id, a.role, c.run_id
    FROM added a JOIN evidence.%(child)ss c ON c.tenant_id = a.tenant_id AND c.id = a.%(child)s_id
    ORDER BY 2, 3;
    RETURN NULL;
END $$

-- name: keep_edges
-- An edge goes with one of its ends, or with the whole tenant.
CREATE FUNCTION evidence.keep_%(edge)s() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone o
        JOIN evidence.%(child)ss c ON c.tenant_id = o.tenant_id AND c.id = o.%(child)s_id
        JOIN evidence.%(parent)ss p ON p.tenant_id = o.tenant_id AND p.id = o.%(parent)s_id
        JOIN platform.tenants t ON t.id = o.tenant_id)
    THEN
        RAISE EXCEPTION 'a %(child)s keeps every %(parent)s it was derived from: delete it and derive it again'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'edge_kept';
    END IF;
    RETURN NULL;
END $$

-- name: admit_edges
CREATE FUNCTION evidence.admit_edges() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    wrong text;
BEGIN
    SELECT (array_agg(a.tenant_id))[1] AS tenant,
           array_agg(DISTINCT a.parent_quote_id) FILTER (WHERE a.parent_quote_id IS NOT NULL) AS quotes,
           array_agg(DISTINCT a.parent_claim_id) FILTER (WHERE a.parent_claim_id IS NOT NULL) AS claims,
           array_agg(DISTINCT a.parent_pattern_id) FILTER (WHERE a.parent_pattern_id IS NOT NULL) AS patterns,
           array_agg(DISTINCT a.child_claim_id) FILTER (WHERE a.child_claim_id IS NOT NULL) AS to_claims,
           array_agg(DISTINCT a.child_pattern_id) FILTER (WHERE a.child_pattern_id IS NOT NULL) AS to_patterns,
           array_agg(DISTINCT a.child_insight_id) FILTER (WHERE a.child_insight_id IS NOT NULL) AS to_insights,
           array_agg(DISTINCT a.child_pack_id) FILTER (WHERE a.child_pack_id IS NOT NULL) AS to_packs
    INTO e FROM added a;
    IF e.tenant IS NULL THEN
        RETURN NULL;
    END IF;
    -- Locked first and looked at by another statement, so that a parent can't go stale without seeing its new child.
    PERFORM FROM evidence.quotes q WHERE q.tenant_id = e.tenant AND q.id = ANY (e.quotes) ORDER BY q.id FOR SHARE;
    PERFORM FROM evidence.claims c WHERE c.tenant_id = e.tenant AND c.id = ANY (e.claims) ORDER BY c.id FOR SHARE;
    PERFORM FROM evidence.patterns p WHERE p.tenant_id = e.tenant AND p.id = ANY (e.patterns) ORDER BY p.id FOR SHARE;
    IF EXISTS (SELECT FROM evidence.quotes q WHERE q.tenant_id = e.tenant AND q.id = ANY (e.quotes)
               AND q.stale_at IS NOT NULL)
        OR EXISTS (SELECT FROM evidence.claims c WHERE c.tenant_id = e.tenant AND c.id = ANY (e.claims)
                   AND c.stale_at IS NOT NULL)
        OR EXISTS (SELECT FROM evidence.patterns p WHERE p.tenant_id = e.tenant AND p.id = ANY (e.patterns)
                   AND p.stale_at IS NOT NULL)
    THEN
        RAISE EXCEPTION 'nothing is derived from what is stale: derive that again first'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'parent_stale';
    END IF;
    IF e.to_claims IS NOT NULL THEN
        SELECT CASE
            WHEN a.parent_quote_id IS NULL OR NOT EXISTS (
                SELECT FROM evidence.claim_quotes s WHERE s.tenant_id = a.tenant_id AND s.claim_id = a.child_claim_id
                  AND s.quote_id = a.parent_quote_id AND s.role = a.role) THEN 'a claim is derived from its quotes alone'
            WHEN q.client_id IS DISTINCT FROM c.client_id THEN 'a claim and its quotes are about one client'
            END
        INTO wrong FROM added a
        JOIN evidence.claims c ON c.tenant_id = a.tenant_id AND c.id = a.child_claim_id
        LEFT JOIN evidence.quotes q ON q.tenant_id = a.tenant_id AND q.id = a.parent_quote_id
        ORDER BY 1 NULLS LAST LIMIT 1;
        PERFORM evidence.refuse_edge(wrong);
        PERFORM evidence.inherit_claims(e.tenant, e.to_claims);
    END IF;
    IF e.to_patterns IS NOT NULL THEN
        SELECT CASE
            WHEN a.parent_claim_id IS NULL OR NOT EXISTS (
                SELECT FROM evidence.pattern_claims s WHERE s.tenant_id = a.tenant_id AND s.pattern_id = a.child_pattern_id
                  AND s.claim_id = a.parent_claim_id AND s.role = a.role) THEN 'a pattern is derived from its claims alone'
            WHEN c.transcript_id IS NULL THEN 'a pattern is derived from what was said in sessions'
            WHEN p.cohort_id IS NULL AND c.client_id IS DISTINCT FROM p.client_id
                THEN 'a pattern and its claims are about one client, or about a declared cohort'
            WHEN p.cohort_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM partners.cohort_members m
                WHERE m.tenant_id = a.tenant_id AND m.cohort_id = p.cohort_id AND m.user_id = c.client_id)
                THEN 'a pattern of a cohort is derived from claims of its members'
            END
        INTO wrong FROM added a
        JOIN evidence.patterns p ON p.tenant_id = a.tenant_id AND p.id = a.child_pattern_id
        LEFT JOIN evidence.claims c ON c.tenant_id = a.tenant_id AND c.id = a.parent_claim_id
        ORDER BY 1 NULLS LAST LIMIT 1;
        PERFORM evidence.refuse_edge(wrong);
        PERFORM evidence.inherit_patterns(e.tenant, e.to_patterns);
    END IF;
    IF e.to_insights IS NOT NULL THEN
        SELECT 'an insight and what it is derived from are about one client'
        INTO wrong FROM added a
        JOIN evidence.insights i ON i.tenant_id = a.tenant_id AND i.id = a.child_insight_id
        LEFT JOIN evidence.quotes q ON q.tenant_id = a.tenant_id AND q.id = a.parent_quote_id
        LEFT JOIN evidence.claims c ON c.tenant_id = a.tenant_id AND c.id = a.parent_claim_id
        LEFT JOIN evidence.patterns p ON p.tenant_id = a.tenant_id AND p.id = a.parent_pattern_id
        WHERE coalesce(q.client_id, c.client_id, p.client_id) IS DISTINCT FROM i.client_id LIMIT 1;
        PERFORM evidence.refuse_edge(wrong);
        PERFORM evidence.inherit_insights(e.tenant, e.to_insights);
    END IF;
    IF e.to_packs IS NOT NULL THEN
        SELECT 'a pack holds what its reader may see'
        INTO wrong FROM added a
        JOIN evidence.evidence_packs k ON k.tenant_id = a.tenant_id AND k.id = a.child_pack_id
        LEFT JOIN evidence.quotes q ON q.tenant_id = a.tenant_id AND q.id = a.parent_quote_id
        LEFT JOIN evidence.claims c ON c.tenant_id = a.tenant_id AND c.id = a.parent_claim_id
        WHERE coalesce(q.client_id, c.client_id) IS NULL AND coalesce(q.coach_id, c.coach_id) <> k.user_id LIMIT 1;
        PERFORM evidence.refuse_edge(wrong);
        PERFORM evidence.inherit_packs(e.tenant, e.to_packs);
    END IF;
    RETURN NULL;
END $$

-- name: refuse_edge
CREATE FUNCTION evidence.refuse_edge(why text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF why IS NOT NULL THEN
        RAISE EXCEPTION '%', why USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'edge_fits';
    END IF;
END $$

-- name: lose_edges
-- A child that loses a parent is stale, even where it could stand on what is left: that is for deriving it again.
CREATE FUNCTION evidence.lose_edges() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
BEGIN
    SELECT (array_agg(o.tenant_id))[1] AS tenant,
           array_agg(DISTINCT c.id) FILTER (WHERE c.id IS NOT NULL) AS claims,
           array_agg(DISTINCT p.id) FILTER (WHERE p.id IS NOT NULL) AS patterns,
           array_agg(DISTINCT i.id) FILTER (WHERE i.id IS NOT NULL) AS insights,
           array_agg(DISTINCT k.id) FILTER (WHERE k.id IS NOT NULL) AS packs,
           bool_or(q.id IS NOT NULL OR d.id IS NOT NULL OR r.id IS NOT NULL) AS parent_there
    INTO e FROM gone o
    LEFT JOIN evidence.claims c ON c.tenant_id = o.tenant_id AND c.id = o.child_claim_id
    LEFT JOIN evidence.patterns p ON p.tenant_id = o.tenant_id AND p.id = o.child_pattern_id
    LEFT JOIN evidence.insights i ON i.tenant_id = o.tenant_id AND i.id = o.child_insight_id
    LEFT JOIN evidence.evidence_packs k ON k.tenant_id = o.tenant_id AND k.id = o.child_pack_id
    LEFT JOIN evidence.quotes q ON q.tenant_id = o.tenant_id AND q.id = o.parent_quote_id
    LEFT JOIN evidence.claims d ON d.tenant_id = o.tenant_id AND d.id = o.parent_claim_id
    LEFT JOIN evidence.patterns r ON r.tenant_id = o.tenant_id AND r.id = o.parent_pattern_id
    WHERE num_nonnulls(c.id, p.id, i.id, k.id) > 0;
    IF e.tenant IS NULL OR NOT EXISTS (SELECT FROM platform.tenants t WHERE t.id = e.tenant) THEN
        RETURN NULL;
    END IF;
    IF e.parent_there THEN
        RAISE EXCEPTION 'an edge goes only with one of its ends'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'edge_kept';
    END IF;
    PERFORM evidence.mark_stale(e.tenant, e.claims, e.patterns, e.insights, e.packs);
    RETURN NULL;
END $$

-- name: stay_stale
CREATE FUNCTION evidence.stay_stale() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what is stale is derived again, never declared fresh'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'stale_stays';
END $$

-- name: keep_review
CREATE FUNCTION evidence.keep_reviews() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone o JOIN evidence.insights i ON i.tenant_id = o.tenant_id AND i.id = o.insight_id
        JOIN platform.tenants t ON t.id = o.tenant_id)
    THEN
        RAISE EXCEPTION 'a review stays as long as its insight'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'review_kept';
    END IF;
    RETURN NULL;
END $$

-- name: open_pack
-- Whose words a pack holds is what its edges say.
CREATE FUNCTION evidence.open_pack() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.visibilities := '{}';
    NEW.client_ids := '{}';
    RETURN NEW;
END $$

-- name: check_claim
CREATE FUNCTION evidence.check_claim() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c evidence.claims;
    supported boolean;
    in_own_words boolean;
BEGIN
    SELECT * INTO c FROM evidence.claims WHERE tenant_id = NEW.tenant_id AND id = NEW.id AND stale_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT count(*) > 0, coalesce(bool_or(q.speaker_id = c.client_id), false) INTO supported, in_own_words
    FROM evidence.claim_quotes e JOIN evidence.quotes q ON q.tenant_id = e.tenant_id AND q.id = e.quote_id
    WHERE e.tenant_id = c.tenant_id AND e.claim_id = c.id AND e.role = 'supporting' AND q.stale_at IS NULL
      AND (q.transcript_id = c.transcript_id OR q.document_id = c.document_id);
    IF NOT supported THEN
        RAISE EXCEPTION 'claim % has no supporting quote of its own source', c.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'claim_supported';
    END IF;
    IF c.modality = 'stated' AND c.claim_type IN ('goal', 'belief', 'emotion') AND c.holder_id = c.client_id
       AND NOT in_own_words
    THEN
        RAISE EXCEPTION 'claim % states what a client has not said in their own words', c.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'own_words';
    END IF;
    RETURN NULL;
END $$

-- name: check_pattern
CREATE FUNCTION evidence.check_pattern() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p evidence.patterns;
    supporting record;
BEGIN
    SELECT * INTO p FROM evidence.patterns WHERE tenant_id = NEW.tenant_id AND id = NEW.id AND stale_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT count(*) AS claims, count(DISTINCT c.transcript_id) AS sessions,
           count(DISTINCT c.client_id) FILTER (WHERE c.holder_id = c.client_id) AS clients
    INTO supporting
    FROM evidence.pattern_claims e JOIN evidence.claims c ON c.tenant_id = e.tenant_id AND c.id = e.claim_id
    WHERE e.tenant_id = p.tenant_id AND e.pattern_id = p.id AND e.role = 'supporting' AND c.stale_at IS NULL;
    IF supporting.claims < 2 OR supporting.sessions < 2 THEN
        RAISE EXCEPTION 'pattern % stands on % claims of % sessions; it needs two of two', p.id, supporting.claims,
            supporting.sessions USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'pattern_minimum';
    END IF;
    IF p.kind = 'contradiction' AND NOT evidence.contradicts(p.tenant_id, p.id) THEN
        RAISE EXCEPTION 'pattern % has no two sides that hold at the same time: it is a change', p.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'contradiction_overlap';
    END IF;
    IF p.cohort_id IS NOT NULL THEN
        IF supporting.clients < 5 THEN
            RAISE EXCEPTION 'pattern % speaks of a cohort for % of its people; it needs five', p.id, supporting.clients
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'cohort_minimum';
        END IF;
        IF evidence.gives_away(p.tenant_id, p.id) THEN
            RAISE EXCEPTION 'pattern % of a cohort repeats somebody''s words or name', p.id
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'cohort_words';
        END IF;
    END IF;
    RETURN NULL;
END $$

-- name: contradicts
-- Two claims of which one speaks against the other, or which are of opposite polarity, valid at the same time. A claim
-- that names no day holds always.
CREATE FUNCTION evidence.contradicts(tenant uuid, pattern uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH side AS (
        SELECT e.role, c.id, c.polarity,
               daterange(c.valid_from, c.valid_to, '[]') AS valid
        FROM evidence.pattern_claims e JOIN evidence.claims c ON c.tenant_id = e.tenant_id AND c.id = e.claim_id
        WHERE e.tenant_id = tenant AND e.pattern_id = pattern AND c.stale_at IS NULL
    )
    SELECT EXISTS (
        SELECT FROM side a JOIN side b ON a.id <> b.id AND a.valid && b.valid
        WHERE a.role = 'supporting' AND (b.role = 'counter' OR a.polarity <> b.polarity))
$$

-- name: gives_away
-- Whether the statement holds the words of a quote under it, or the name of one of its people.
CREATE FUNCTION evidence.gives_away(tenant uuid, pattern uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM evidence.patterns p
        JOIN evidence.pattern_claims e ON e.tenant_id = p.tenant_id AND e.pattern_id = p.id
        JOIN evidence.claims c ON c.tenant_id = e.tenant_id AND c.id = e.claim_id
        LEFT JOIN identity.users u ON u.tenant_id = c.tenant_id AND u.id IN (c.client_id, c.coach_id, c.holder_id)
        LEFT JOIN evidence.claim_quotes s ON s.tenant_id = c.tenant_id AND s.claim_id = c.id
        LEFT JOIN evidence.quotes q ON q.tenant_id = s.tenant_id AND q.id = s.quote_id
        CROSS JOIN LATERAL (SELECT lower(concat_ws(' ', p.subject, p.statement)) AS words) t
        WHERE p.tenant_id = tenant AND p.id = pattern
          AND (length(u.full_name) > 1 AND strpos(t.words, lower(u.full_name)) > 0
               OR length(q.exact) >= 12 AND strpos(t.words, lower(q.exact)) > 0))
$$

-- name: check_insight
CREATE FUNCTION evidence.check_insight() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM evidence.insights i WHERE i.tenant_id = NEW.tenant_id AND i.id = NEW.id AND i.stale_at IS NULL)
       AND NOT EXISTS (
           SELECT FROM evidence.derivations d WHERE d.tenant_id = NEW.tenant_id AND d.child_insight_id = NEW.id)
    THEN
        RAISE EXCEPTION 'insight % is derived from nothing', NEW.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'insight_derived';
    END IF;
    RETURN NULL;
END $$

-- name: begin_insight
-- A verdict is given on what is there to be read and still stands; what was rejected may be kept as rejected.
CREATE FUNCTION evidence.begin_insight() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status = 'accepted' THEN
            RAISE EXCEPTION 'an insight is accepted once it is there to be read'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'insight_draft';
        END IF;
    ELSIF OLD.stale_at IS NOT NULL AND NEW.status <> OLD.status THEN
        RAISE EXCEPTION 'a stale insight is derived again before anyone decides on it'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'stale_stays';
    END IF;
    RETURN NEW;
END $$
