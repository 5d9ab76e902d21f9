-- name: list_material
-- What a subject is made of: itself, the sessions it takes part in, and the objects (documents and transcripts) about it,
-- by it or of these sessions. A document is known by its object's id, its own or its transcript's; a session without a
-- meeting by its transcript's.
CREATE FUNCTION governance.list_material(tenant uuid, subject_kind text, subject uuid) RETURNS TABLE (kind text, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH sessions AS (
        SELECT s.id FROM coaching.coaching_sessions s
        WHERE s.tenant_id = tenant
          AND (subject_kind = 'session' AND s.id = subject
               OR subject_kind = 'person' AND (s.client_id = subject OR s.coach_id = subject))
        UNION
        SELECT t.coaching_session_id FROM rag.transcripts t
        WHERE t.tenant_id = tenant AND subject_kind = 'session' AND t.id = subject AND t.coaching_session_id IS NOT NULL
        UNION
        SELECT a.session_id FROM coaching.session_attendance a
        WHERE a.tenant_id = tenant AND subject_kind = 'person' AND a.user_id = subject
    ), transcripts AS (
        SELECT t.object_id FROM rag.transcripts t
        WHERE t.tenant_id = tenant
          AND (subject_kind IN ('document', 'session') AND t.id = subject
               OR subject_kind = 'person' AND (t.client_id = subject OR t.coach_id = subject)
               OR t.coaching_session_id IN (SELECT s.id FROM sessions s))
        UNION
        SELECT t.object_id FROM rag.transcripts t
        WHERE t.tenant_id = tenant AND subject_kind = 'person' AND t.id IN (
            SELECT g.transcript_id FROM rag.transcript_segments g WHERE g.tenant_id = tenant AND g.speaker_id = subject)
    ), documents AS (
        SELECT d.object_id FROM rag.documents d
        WHERE d.tenant_id = tenant
          AND (subject_kind = 'document' AND d.id = subject
               OR subject_kind = 'person' AND (d.client_id = subject OR d.coach_id = subject))
    ), objects AS (
        SELECT o.id FROM ingestion.ingested_objects o
        WHERE o.tenant_id = tenant
          AND (subject_kind = 'document' AND o.id = subject
               OR subject_kind = 'person' AND (o.client_id = subject OR o.coach_id = subject)
               OR o.coaching_session_id IN (SELECT s.id FROM sessions s))
    )
    SELECT subject_kind, subject
    UNION SELECT 'session', s.id FROM sessions s
    UNION SELECT 'document', m.object_id FROM (
        SELECT object_id FROM transcripts UNION SELECT object_id FROM documents UNION SELECT o.id FROM objects o) AS m
$$

-- name: covering_holds
-- The open holds on something that the subject is made of, or that is made of the subject, the oldest first.
CREATE FUNCTION governance.covering_holds(tenant uuid, kind text, subject uuid) RETURNS SETOF governance.legal_holds
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.* FROM governance.legal_holds h
    WHERE h.tenant_id = tenant AND h.released_at IS NULL
      AND (h.subject_kind = 'tenant' OR kind = 'tenant' OR EXISTS (
          SELECT FROM governance.list_material(tenant, kind, subject) m
          JOIN governance.list_material(tenant, h.subject_kind, h.subject_id) k ON k.kind = m.kind AND k.id = m.id))
    ORDER BY h.placed_at, h.id
$$

-- name: find_holds
-- For compliance and the pipelines: a hold's reason is not for everybody whom it concerns.
CREATE FUNCTION governance.find_holds(kind text, subject uuid)
RETURNS TABLE (id uuid, subject_kind text, subject_id uuid, reason text, placed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.id, h.subject_kind, h.subject_id, h.reason, h.placed_at
    FROM governance.covering_holds(current_setting('app.tenant_id')::uuid, kind, subject) h
    WHERE current_setting('app.role') IN ('compliance', 'system')
$$

-- name: subject_exists
CREATE FUNCTION governance.subject_exists(kind text, subject uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT current_setting('app.role') IN ('compliance', 'system') AND CASE kind
        WHEN 'tenant' THEN b.tenant = subject
        WHEN 'person' THEN EXISTS (SELECT FROM identity.users u WHERE u.tenant_id = b.tenant AND u.id = subject)
        WHEN 'session' THEN EXISTS (
            SELECT FROM coaching.coaching_sessions s WHERE s.tenant_id = b.tenant AND s.id = subject
            UNION ALL SELECT FROM rag.transcripts t WHERE t.tenant_id = b.tenant AND t.id = subject)
        WHEN 'document' THEN EXISTS (
            SELECT FROM ingestion.ingested_objects o WHERE o.tenant_id = b.tenant AND o.id = subject
            UNION ALL SELECT FROM rag.transcripts t WHERE t.tenant_id = b.tenant AND t.id = subject
            UNION ALL SELECT FROM rag.documents d WHERE d.tenant_id = b.tenant AND d.id = subject)
        ELSE false END
    FROM (SELECT current_setting('app.tenant_id')::uuid) AS b (tenant)
$$

-- name: is_forgotten
-- Whether a column that named a person may be empty now: they are gone, and a foreign key emptied it.
CREATE FUNCTION governance.is_forgotten(tenant uuid, person uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM identity.users u WHERE u.tenant_id = tenant AND u.id = person)
$$

-- name: guard_request
-- What a request is of never changes; its steps follow one another; people take only the steps that are theirs, and no
-- hold stands in the way. The pipelines may begin again from any step: after a restore, what is erased lies there again.
CREATE FUNCTION governance.guard_request() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := coalesce(nullif(current_setting('app.role', true), ''), 'owner');
    me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
    by_code boolean := actor IN ('system', 'owner');
    steps boolean := TG_OP = 'INSERT';
    held uuid;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.subject_kind = 'tenant' AND NEW.subject_id <> NEW.tenant_id THEN
            RAISE EXCEPTION 'a request for a tenant is for the tenant it is in'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_subject';
        END IF;
        IF NEW.status <> 'requested' AND NOT (by_code AND NEW.status = 'verified') THEN
            RAISE EXCEPTION 'an erasure can not begin as %', NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_step';
        END IF;
        IF NOT by_code THEN
            IF NEW.requested_by IS DISTINCT FROM me
               OR NEW.user_id IS DISTINCT FROM (CASE NEW.subject_kind WHEN 'person' THEN NEW.subject_id END)
               OR num_nonnulls(NEW.verified_by, NEW.verified_at, NEW.verification_method, NEW.refused_by, NEW.refused_at,
                               NEW.refusal_reason, NEW.completed_at) > 0
            THEN
                RAISE EXCEPTION 'a request says who asks and about whom, and nothing of what follows'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_step';
            END IF;
            NEW.requested_at := now();
            NEW.due_at := now() + interval '30 days';
        END IF;
    ELSE
        PERFORM governance.keep_request(OLD, NEW, by_code);
        steps := NEW.status <> OLD.status;
        IF steps AND NOT (by_code AND NEW.status = 'verified') AND (OLD.status || '>' || NEW.status) <> ALL (ARRAY[
            'requested>verified', 'requested>refused', 'verified>running', 'verified>refused', 'verified>failed',
            'running>completed', 'running>failed', 'running>refused', 'failed>running', 'failed>refused'])
        THEN
            RAISE EXCEPTION 'an erasure can not go from % to %', OLD.status, NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_step';
        END IF;
        IF steps AND NOT by_code THEN
            IF actor <> 'compliance' OR OLD.status = 'running'
               OR (NEW.status = 'verified' AND NEW.verified_by = me
                   AND NEW.verification_method NOT IN ('operator', 'retention')
                   OR NEW.status = 'refused' AND NEW.refused_by = me) IS NOT TRUE
            THEN
                RAISE EXCEPTION 'a % can not take an erasure to %', actor, NEW.status
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_step';
            END IF;
            IF NEW.status = 'verified' AND (me = OLD.requested_by OR OLD.subject_kind = 'person' AND me = OLD.subject_id)
            THEN
                RAISE EXCEPTION 'an erasure is verified by another than asked for it or is erased'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_four_eyes';
            END IF;
            NEW.verified_at := CASE NEW.status WHEN 'verified' THEN now() ELSE NEW.verified_at END;
            NEW.refused_at := CASE NEW.status WHEN 'refused' THEN now() END;
        END IF;
    END IF;
    IF steps AND NEW.status = 'verified' THEN
        NEW.verified_at := coalesce(NEW.verified_at, now());
        NEW.verification_method := coalesce(NEW.verification_method, 'operator');
    END IF;
    IF steps AND NEW.status IN ('verified', 'running') THEN
        -- Whoever places a hold waits until this is stored; whoever comes here waits until that is.
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('legal_holds:' || NEW.tenant_id, 0));
        SELECT h.id INTO held FROM governance.covering_holds(NEW.tenant_id, NEW.subject_kind, NEW.subject_id) h LIMIT 1;
        IF held IS NOT NULL THEN
            -- governance.find_holds tells the reason to those who may know it
            RAISE EXCEPTION 'legal hold % covers what is to be erased', held
                USING ERRCODE = 'check_violation', CONSTRAINT = 'deletion_requests_held';
        END IF;
    END IF;
    RETURN NEW;
END $$

-- name: keep_request
-- People's names may only leave a request with the people; words only by the pipelines; facts stay.
CREATE FUNCTION governance.keep_request(
    was governance.deletion_requests, becomes governance.deletion_requests, by_code boolean
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := to_jsonb(was);
    after jsonb := to_jsonb(becomes);
    odd text;
BEGIN
    SELECT string_agg(k.name, ', ' ORDER BY k.name) INTO odd FROM jsonb_object_keys(after) AS k (name)
    WHERE before -> k.name <> after -> k.name AND NOT CASE
        WHEN k.name IN ('user_id', 'requested_by', 'verified_by', 'refused_by') AND before ->> k.name IS NOT NULL
            THEN after ->> k.name IS NULL
                 AND (by_code OR governance.is_forgotten(was.tenant_id, (before ->> k.name)::uuid))
        WHEN k.name IN ('tenant_id', 'id', 'subject_kind', 'subject_id', 'scope', 'requested_at', 'user_id',
                        'requested_by')
            THEN false
        WHEN by_code AND becomes.status = 'verified' AND k.name IN (
            'status', 'verified_at', 'refused_at', 'refused_by', 'refusal_reason', 'completed_at') THEN true
        WHEN k.name IN ('verified_at', 'verification_method', 'verified_by')
            THEN was.verified_at IS NULL AND becomes.status = 'verified'
        WHEN k.name IN ('reason', 'refusal_reason') AND before ->> k.name IS NOT NULL
            THEN by_code AND (after ->> k.name IS NULL OR k.name = 'refusal_reason' AND was.status <> 'refused')
        WHEN k.name IN ('refused_at', 'refused_by', 'completed_at') THEN was.status NOT IN ('refused', 'completed')
        ELSE by_code OR was.status <> becomes.status AND k.name IN ('status', 'refusal_reason')
    END;
    IF odd IS NOT NULL THEN
        RAISE EXCEPTION 'this of a request never changes: %', odd USING ERRCODE = 'restrict_violation';
    END IF;
END $$

-- name: guard_hold
CREATE FUNCTION governance.guard_hold() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := coalesce(nullif(current_setting('app.role', true), ''), 'owner');
    me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
    by_code boolean := actor IN ('system', 'owner');
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.released_at IS NULL THEN
            RAISE EXCEPTION 'a legal hold that is open is not deleted, nor is what it holds' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN OLD;
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('legal_holds:' || NEW.tenant_id, 0));
        IF NEW.subject_kind = 'tenant' AND NEW.subject_id <> NEW.tenant_id THEN
            RAISE EXCEPTION 'a hold on a tenant is on the tenant it is in'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'legal_holds_subject';
        END IF;
        IF NOT by_code THEN
            IF NEW.placed_by IS DISTINCT FROM me OR num_nonnulls(NEW.released_by, NEW.released_at) > 0 THEN
                RAISE EXCEPTION 'who places a hold says so' USING ERRCODE = 'check_violation', CONSTRAINT = 'legal_holds_step';
            END IF;
            NEW.placed_at := now();
        END IF;
        RETURN NEW;
    END IF;
    IF (OLD.tenant_id, OLD.id, OLD.subject_kind, OLD.subject_id, OLD.placed_at) IS DISTINCT FROM
       (NEW.tenant_id, NEW.id, NEW.subject_kind, NEW.subject_id, NEW.placed_at)
       -- an erasure takes the words of a hold that is over
       OR NEW.reason <> OLD.reason AND NOT (by_code AND OLD.released_at IS NOT NULL AND NEW.reason = 'erased')
       OR NEW.placed_by IS DISTINCT FROM OLD.placed_by AND NOT (
           NEW.placed_by IS NULL AND governance.is_forgotten(OLD.tenant_id, OLD.placed_by))
       OR OLD.released_at IS NOT NULL AND (NEW.released_at IS DISTINCT FROM OLD.released_at
           OR NEW.released_by IS DISTINCT FROM OLD.released_by AND NOT (
               NEW.released_by IS NULL AND governance.is_forgotten(OLD.tenant_id, OLD.released_by)))
    THEN
        RAISE EXCEPTION 'a legal hold is released once, and nothing else of it changes' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.released_at IS NULL AND NEW.released_at IS NOT NULL AND NOT by_code THEN
        IF NEW.released_by IS DISTINCT FROM me THEN
            RAISE EXCEPTION 'who releases a hold says so' USING ERRCODE = 'check_violation', CONSTRAINT = 'legal_holds_step';
        END IF;
        NEW.released_at := now();
    END IF;
    RETURN NEW;
END $$

-- name: guard_export
CREATE FUNCTION governance.guard_export() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := coalesce(nullif(current_setting('app.role', true), ''), 'owner');
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'requested' OR actor NOT IN ('system', 'owner') AND (NEW.counts <> '{}' OR num_nonnulls(
               NEW.object_key, NEW.size_bytes, NEW.sha256, NEW.completed_at, NEW.expires_at, NEW.error) > 0)
        THEN
            RAISE EXCEPTION 'an export begins as requested'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'data_exports_step';
        END IF;
        IF actor NOT IN ('system', 'owner') THEN
            NEW.requested_at := now();
        END IF;
        RETURN NEW;
    END IF;
    IF (OLD.tenant_id, OLD.id, OLD.user_id, OLD.requested_at) IS DISTINCT FROM
       (NEW.tenant_id, NEW.id, NEW.user_id, NEW.requested_at)
       OR NEW.requested_by IS NOT NULL AND NEW.requested_by IS DISTINCT FROM OLD.requested_by
       OR OLD.status = 'ready' AND NEW.expires_at > OLD.expires_at
    THEN
        RAISE EXCEPTION 'whom an export is of never changes, nor is it kept longer' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.status <> OLD.status AND (OLD.status || '>' || NEW.status) <> ALL (ARRAY[
        'requested>running', 'requested>failed', 'running>ready', 'running>failed', 'failed>running', 'ready>expired',
        'failed>expired', 'running>expired', 'requested>expired'])
    THEN
        RAISE EXCEPTION 'an export can not go from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'data_exports_step';
    END IF;
    RETURN NEW;
END $$
