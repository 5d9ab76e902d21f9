-- name: find_capacity
-- A day and a time of day meet in the rule's own zone; 23:59 stands for midnight.
CREATE FUNCTION coaching.find_capacity(tenant uuid, coach uuid, starts timestamptz, ends timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp STABLE AS $$
BEGIN
    RETURN coalesce((
        SELECT max(a.max_sessions_per_slot) FROM coaching.coach_availability a
        WHERE a.tenant_id = tenant AND a.coach_id = coach AND a.is_active
          AND extract(dow FROM starts AT TIME ZONE a.timezone) = a.day_of_week
          AND (starts AT TIME ZONE a.timezone)::date >= a.effective_from
          AND (a.effective_until IS NULL OR (starts AT TIME ZONE a.timezone)::date <= a.effective_until)
          AND (starts AT TIME ZONE a.timezone)::time >= a.start_time
          AND (ends AT TIME ZONE a.timezone) <= (starts AT TIME ZONE a.timezone)::date
              + CASE WHEN a.end_time >= '23:59' THEN interval '24 hours' ELSE a.end_time - time '00:00' END), 1);
END $$

-- name: guard_session
CREATE FUNCTION coaching.guard_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ends timestamptz := NEW.scheduled_at + make_interval(mins => NEW.duration_minutes);
    busiest int;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.status <> OLD.status THEN
        IF (OLD.status || ' ' || NEW.status) NOT IN (
            'scheduled confirmed', 'scheduled in_progress', 'scheduled completed', 'scheduled cancelled',
            'scheduled no_show', 'confirmed scheduled', 'confirmed in_progress', 'confirmed completed',
            'confirmed cancelled', 'confirmed no_show', 'in_progress completed', 'in_progress no_show') THEN
            RAISE EXCEPTION 'a session that is % can not become %', OLD.status, NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'session_step';
        END IF;
        IF NEW.status = 'cancelled' THEN
            NEW.cancelled_at := coalesce(NEW.cancelled_at, clock_timestamp());
        ELSIF NEW.status = 'completed' THEN
            NEW.completed_at := coalesce(NEW.completed_at, clock_timestamp());
        END IF;
    END IF;
    IF NEW.status NOT IN ('scheduled', 'confirmed', 'in_progress')
       OR TG_OP = 'UPDATE' AND (NEW.coach_id, NEW.client_id, NEW.scheduled_at, NEW.duration_minutes)
                             = (OLD.coach_id, OLD.client_id, OLD.scheduled_at, OLD.duration_minutes) THEN
        RETURN NEW;
    END IF;

    -- What follows must see everything committed before the lock was had, which only this level shows.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'sessions are put in a calendar in READ COMMITTED transactions only'
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- Coaches before clients, always: nobody waits in a circle.
    PERFORM pg_advisory_xact_lock(hashtextextended('coach ' || NEW.tenant_id || NEW.coach_id, 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('client ' || NEW.tenant_id || NEW.client_id, 0));
    IF EXISTS (SELECT FROM coaching.coach_blocked_times b
               WHERE b.tenant_id = NEW.tenant_id AND b.coach_id = NEW.coach_id
                 AND b.blocked_from < ends AND b.blocked_until > NEW.scheduled_at) THEN
        RAISE EXCEPTION 'the coach blocked this time' USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'coach_not_blocked';
    END IF;
    WITH met AS (
        SELECT greatest(s.scheduled_at, NEW.scheduled_at) AS begins,
               s.scheduled_at + make_interval(mins => s.duration_minutes) AS ends
        FROM coaching.coaching_sessions s
        WHERE s.tenant_id = NEW.tenant_id AND s.coach_id = NEW.coach_id AND s.id <> NEW.id
          AND s.status IN ('scheduled', 'confirmed', 'in_progress')
          AND s.scheduled_at < ends AND s.scheduled_at > NEW.scheduled_at - interval '24 hours'
          AND s.scheduled_at + make_interval(mins => s.duration_minutes) > NEW.scheduled_at
    )
    SELECT max((SELECT count(*) FROM met o WHERE o.begins <= m.begins AND o.ends > m.begins)) INTO busiest FROM met m;
    IF busiest >= coaching.find_capacity(NEW.tenant_id, NEW.coach_id, NEW.scheduled_at, ends) THEN
        RAISE EXCEPTION 'the coach has a session at this time' USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'coach_free';
    END IF;
    IF EXISTS (SELECT FROM coaching.coaching_sessions s
               WHERE s.tenant_id = NEW.tenant_id AND s.client_id = NEW.client_id AND s.id <> NEW.id
                 AND s.status IN ('scheduled', 'confirmed', 'in_progress')
                 AND s.scheduled_at < ends AND s.scheduled_at > NEW.scheduled_at - interval '24 hours'
                 AND s.scheduled_at + make_interval(mins => s.duration_minutes) > NEW.scheduled_at) THEN
        RAISE EXCEPTION 'the client has a session at this time' USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'client_free';
    END IF;
    RETURN NEW;
END $$

-- name: queue_calendar
CREATE FUNCTION coaching.queue_calendar() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A block and a booking of the same coach happen one after the other.
    PERFORM pg_advisory_xact_lock(hashtextextended('coach ' || NEW.tenant_id || NEW.coach_id, 0));
    RETURN NEW;
END $$

-- name: check_zone
CREATE FUNCTION coaching.check_zone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM now() AT TIME ZONE NEW.timezone;
    RETURN NEW;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'no time zone is called %', NEW.timezone USING ERRCODE = 'check_violation', CONSTRAINT = 'known_zone';
END $$

-- name: count_session
CREATE FUNCTION coaching.count_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    FOR d IN
        SELECT c.tenant_id, c.coach_id, sum(c.step * (c.status NOT IN ('cancelled', 'no_show'))::int) AS standing,
               sum(c.step * (c.status = 'completed')::int) AS completed
        FROM (SELECT NEW.tenant_id, NEW.coach_id, NEW.status, 1 WHERE TG_OP <> 'DELETE'
              UNION ALL SELECT OLD.tenant_id, OLD.coach_id, OLD.status, -1 WHERE TG_OP <> 'INSERT')
             AS c(tenant_id, coach_id, status, step)
        GROUP BY 1, 2 ORDER BY 2
    LOOP
        IF d.standing <> 0 OR d.completed <> 0 THEN
            UPDATE identity.user_profiles p
            SET session_count = p.session_count + d.standing,
                completed_session_count = p.completed_session_count + d.completed
            WHERE p.tenant_id = d.tenant_id AND p.user_id = d.coach_id;
        END IF;
    END LOOP;
    RETURN NULL;
END $$

-- name: rate_coach
CREATE FUNCTION coaching.rate_coach() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    coach uuid;
BEGIN
    FOR coach IN
        SELECT DISTINCT c.coach_id FROM (SELECT NEW.coach_id WHERE TG_OP <> 'DELETE'
                                         UNION ALL SELECT OLD.coach_id WHERE TG_OP <> 'INSERT') AS c(coach_id)
        ORDER BY 1
    LOOP
        -- An average can't be kept by steps; with the profile locked first, the next statement sees every rating.
        PERFORM FROM identity.user_profiles p
        WHERE p.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id) AND p.user_id = coach FOR NO KEY UPDATE;
        UPDATE identity.user_profiles p
        SET rating_count = r.ratings, average_rating = r.average
        FROM (SELECT count(*) AS ratings, avg(f.rating)::numeric(3, 2) AS average FROM coaching.session_feedback f
              WHERE f.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id) AND f.coach_id = coach) r
        WHERE p.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id) AND p.user_id = coach;
    END LOOP;
    RETURN NULL;
END $$

-- name: inherit_audience
CREATE FUNCTION coaching.inherit_audience() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    meeting coaching.coaching_sessions;
BEGIN
    SELECT * INTO meeting FROM coaching.coaching_sessions s WHERE s.tenant_id = NEW.tenant_id AND s.id = NEW.session_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no session %', NEW.session_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'session_exists';
    END IF;
    IF TG_TABLE_NAME = 'session_feedback' AND TG_OP = 'INSERT' AND meeting.status <> 'completed' THEN
        RAISE EXCEPTION 'only a completed session takes feedback'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'session_completed';
    END IF;
    NEW.client_id := meeting.client_id;
    NEW.coach_id := meeting.coach_id;
    RETURN NEW;
END $$;
CREATE FUNCTION coaching.pass_audience_on() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE coaching.session_notes c SET coach_id = NEW.coach_id WHERE c.tenant_id = NEW.tenant_id AND c.session_id = NEW.id;
    UPDATE coaching.session_attendance c SET coach_id = NEW.coach_id WHERE c.tenant_id = NEW.tenant_id AND c.session_id = NEW.id;
    UPDATE coaching.session_feedback c SET coach_id = NEW.coach_id WHERE c.tenant_id = NEW.tenant_id AND c.session_id = NEW.id;
    UPDATE coaching.qa_reviews c SET coach_id = NEW.coach_id WHERE c.tenant_id = NEW.tenant_id AND c.session_id = NEW.id;
    RETURN NULL;
END $$

-- name: follow_payment
CREATE FUNCTION coaching.follow_payment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE coaching.coaching_sessions s
    SET payment_status = CASE NEW.status WHEN 'success' THEN 'paid' WHEN 'refunded' THEN 'refunded'
                                         WHEN 'failed' THEN 'cancelled' WHEN 'cancelled' THEN 'cancelled' ELSE 'pending' END,
        updated_at = now()
    WHERE s.tenant_id = NEW.tenant_id AND s.transaction_id = NEW.id;
    RETURN NULL;
END $$
