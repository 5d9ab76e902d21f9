-- name: structure
-- Locks are taken in this order, by functions and triggers alike: the program's structure (an advisory lock: shared to
-- enrol, alone to change modules and lessons), lessons, modules, enrolments, the program's row.
CREATE FUNCTION learning.lock_structure(program uuid, alone boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('learning.structure ' || program::text, 0));
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('learning.structure ' || program::text, 0));
    END IF;
END $$;

CREATE FUNCTION learning.place_module() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.program_id <> OLD.program_id THEN
        RAISE EXCEPTION 'a module stays in its program' USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM learning.lock_structure(NEW.program_id, true);
    NEW.is_visible := NEW.is_published AND EXISTS (
        SELECT FROM learning.programs p
        WHERE p.tenant_id = NEW.tenant_id AND p.id = NEW.program_id AND p.status <> 'draft' AND p.deleted_at IS NULL);
    RETURN NEW;
END $$;

CREATE FUNCTION learning.place_lesson() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.program_id := (
        SELECT m.program_id FROM learning.modules m WHERE m.tenant_id = NEW.tenant_id AND m.id = NEW.module_id);
    IF NEW.program_id IS NULL OR (TG_OP = 'UPDATE' AND NEW.program_id <> OLD.program_id) THEN
        RAISE EXCEPTION 'a lesson stays in its program' USING ERRCODE = 'foreign_key_violation';
    END IF;
    PERFORM learning.lock_structure(NEW.program_id, true);
    NEW.is_visible := NEW.is_published AND EXISTS (
        SELECT FROM learning.modules m JOIN learning.programs p ON p.tenant_id = m.tenant_id AND p.id = m.program_id
        WHERE m.tenant_id = NEW.tenant_id AND m.id = NEW.module_id AND m.is_published
          AND p.status <> 'draft' AND p.deleted_at IS NULL);
    RETURN NEW;
END $$;

CREATE FUNCTION learning.place_assessment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.lesson_id IS NOT NULL THEN
        NEW.program_id := (
            SELECT l.program_id FROM learning.lessons l WHERE l.tenant_id = NEW.tenant_id AND l.id = NEW.lesson_id);
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION learning.show_program() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Setting the column to itself lets place_lesson and place_module decide anew.
    UPDATE learning.lessons l SET is_visible = l.is_visible WHERE l.tenant_id = NEW.tenant_id AND l.program_id = NEW.id;
    UPDATE learning.modules m SET is_visible = m.is_visible WHERE m.tenant_id = NEW.tenant_id AND m.program_id = NEW.id;
    RETURN NULL;
END $$;

CREATE FUNCTION learning.keep_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'regenesis_owner' AND current_setting('app.role', true) IS DISTINCT FROM 'system' THEN
        RAISE EXCEPTION 'the counts of learning.% are kept by triggers', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION learning.guard_publishing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('app.role', true) = 'coach' AND NEW.status = 'published' THEN
        RAISE EXCEPTION 'a program is published by an administrator or by its approval'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$

-- name: count_lessons
CREATE FUNCTION learning.shift_lessons(of_tenant uuid, of_program uuid, which uuid[], direction int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Lessons begin (1) or cease (-1) to count: for the program and for everyone who takes it, in one step each, so
    -- that nobody is complete for a moment in between.
    IF cardinality(which) = 0 THEN
        RETURN;
    END IF;
    UPDATE learning.enrollments e
    SET lesson_total = e.lesson_total + direction * cardinality(which),
        completed_lessons = e.completed_lessons + direction * (
            SELECT count(*)::int FROM learning.lesson_progress lp
            WHERE lp.tenant_id = of_tenant AND lp.user_id = e.user_id AND lp.lesson_id = ANY (which)
              AND lp.completed_at IS NOT NULL)
    WHERE e.tenant_id = of_tenant AND e.program_id = of_program;
    UPDATE learning.programs p SET lesson_count = p.lesson_count + direction * cardinality(which)
    WHERE p.tenant_id = of_tenant AND p.id = of_program;
END $$;

CREATE FUNCTION learning.count_lesson() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_counted boolean := false;
    is_counted boolean := false;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.is_published THEN
        -- A module on its way out has subtracted its lessons itself: no row, so not counted.
        UPDATE learning.modules m SET lesson_count = m.lesson_count - 1
        WHERE m.tenant_id = OLD.tenant_id AND m.id = OLD.module_id RETURNING m.is_published INTO was_counted;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.is_published THEN
        UPDATE learning.modules m SET lesson_count = m.lesson_count + 1
        WHERE m.tenant_id = NEW.tenant_id AND m.id = NEW.module_id RETURNING m.is_published INTO is_counted;
    END IF;
    -- A lesson that only moves goes on counting; taking it out in between would complete those who lack just this one.
    IF was_counted AND is_counted IS NOT TRUE THEN
        PERFORM learning.shift_lessons(OLD.tenant_id, OLD.program_id, ARRAY[OLD.id], -1);
    ELSIF is_counted AND was_counted IS NOT TRUE THEN
        PERFORM learning.shift_lessons(NEW.tenant_id, NEW.program_id, ARRAY[NEW.id], 1);
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;

CREATE FUNCTION learning.count_module() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    subject learning.modules := coalesce(NEW, OLD);
    direction int := CASE WHEN TG_OP = 'DELETE' THEN -1 WHEN NEW.is_published THEN 1 ELSE -1 END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE learning.lessons l SET is_visible = l.is_visible
        WHERE l.tenant_id = subject.tenant_id AND l.module_id = subject.id;
    END IF;
    IF TG_OP = 'UPDATE' OR subject.is_published THEN
        PERFORM learning.shift_lessons(subject.tenant_id, subject.program_id, ARRAY(
            SELECT l.id FROM learning.lessons l
            WHERE l.tenant_id = subject.tenant_id AND l.module_id = subject.id AND l.is_published), direction);
        UPDATE learning.programs p SET module_count = p.module_count + direction
        WHERE p.tenant_id = subject.tenant_id AND p.id = subject.program_id;
    END IF;
    RETURN subject;
END $$

-- name: count_progress
CREATE FUNCTION learning.count_progress() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record;
    counted int;
BEGIN
    -- An enrolment at a time, in the order of ids, so that two batches of one person can't wait for each other.
    FOR changed IN EXECUTE CASE TG_OP
        WHEN 'INSERT' THEN
            'SELECT a.tenant_id, a.enrollment_id, 1 AS direction, '
            'array_agg(a.lesson_id) FILTER (WHERE a.completed_at IS NOT NULL) AS lessons, '
            'max(a.last_accessed_at) AS seen, (array_agg(a.lesson_id ORDER BY a.last_accessed_at DESC))[1] AS last '
            'FROM after a GROUP BY 1, 2 ORDER BY 2'
        WHEN 'UPDATE' THEN
            'SELECT a.tenant_id, a.enrollment_id, CASE WHEN a.completed_at IS NULL THEN -1 ELSE 1 END AS direction, '
            'array_agg(a.lesson_id) FILTER (WHERE (a.completed_at IS NULL) <> (b.completed_at IS NULL)) AS lessons, '
            'max(a.last_accessed_at) AS seen, (array_agg(a.lesson_id ORDER BY a.last_accessed_at DESC))[1] AS last '
            'FROM after a JOIN before b USING (tenant_id, id) GROUP BY 1, 2, 3 ORDER BY 2'
        ELSE
            'SELECT b.tenant_id, b.enrollment_id, -1 AS direction, '
            'array_agg(b.lesson_id) FILTER (WHERE b.completed_at IS NOT NULL) AS lessons, '
            'NULL::timestamptz AS seen, NULL::uuid AS last FROM before b GROUP BY 1, 2 ORDER BY 2'
        END
    LOOP
        counted := 0;
        IF changed.lessons IS NOT NULL THEN
            -- Shared locks: a lesson that is being withdrawn meanwhile is counted by one of the two, not by both.
            SELECT count(*) INTO counted FROM (
                SELECT FROM learning.lessons l
                JOIN learning.modules m ON m.tenant_id = l.tenant_id AND m.id = l.module_id
                WHERE l.tenant_id = changed.tenant_id AND l.id = ANY (changed.lessons) AND l.is_published AND m.is_published
                ORDER BY l.id FOR SHARE) AS held;
        END IF;
        UPDATE learning.enrollments e
        SET completed_lessons = e.completed_lessons + changed.direction * counted,
            last_accessed_at = greatest(e.last_accessed_at, changed.seen),
            (current_lesson_id, current_module_id) = (
                SELECT l.id, l.module_id FROM learning.lessons l
                WHERE l.tenant_id = e.tenant_id
                  AND l.id = CASE WHEN changed.seen < e.last_accessed_at OR changed.seen IS NULL THEN e.current_lesson_id
                                  ELSE changed.last END)
        WHERE e.tenant_id = changed.tenant_id AND e.id = changed.enrollment_id
          AND (counted <> 0 OR changed.seen IS NOT NULL);
    END LOOP;
    RETURN NULL;
END $$

-- name: count_enrollments
CREATE FUNCTION learning.begin_enrollment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM learning.lock_structure(NEW.program_id, false);
    NEW.completed_lessons := 0;
    NEW.lesson_total := coalesce((
        SELECT p.lesson_count FROM learning.programs p WHERE p.tenant_id = NEW.tenant_id AND p.id = NEW.program_id), 0);
    RETURN NEW;
END $$;

CREATE FUNCTION learning.derive_progress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'completed' THEN
        NEW.progress_percent := CASE WHEN NEW.lesson_total > 0
            THEN least(100, 100 * NEW.completed_lessons / NEW.lesson_total) ELSE 0 END;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION learning.finish_enrollment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A change of its own, so that the audit log has it apart from the counting.
    UPDATE learning.enrollments e SET status = 'completed', completion_date = now()
    WHERE e.tenant_id = NEW.tenant_id AND e.id = NEW.id;
    RETURN NULL;
END $$;

CREATE FUNCTION learning.count_enrollment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    of_tenant uuid := coalesce(NEW.tenant_id, OLD.tenant_id);
    of_program uuid := coalesce(NEW.program_id, OLD.program_id);
BEGIN
    UPDATE learning.programs p
    SET enrollment_count = p.enrollment_count + (NEW.id IS NOT NULL)::int - (OLD.id IS NOT NULL)::int,
        seats_taken = p.seats_taken + coalesce(NEW.status <> 'dropped', false)::int
                                    - coalesce(OLD.status <> 'dropped', false)::int,
        completion_count = p.completion_count + coalesce(NEW.status = 'completed', false)::int
                                              - coalesce(OLD.status = 'completed', false)::int,
        review_count = p.review_count + (NEW.rating IS NOT NULL)::int - (OLD.rating IS NOT NULL)::int,
        rating_sum = p.rating_sum + coalesce(NEW.rating, 0) - coalesce(OLD.rating, 0)
    WHERE p.tenant_id = of_tenant AND p.id = of_program;
    RETURN NULL;
END $$

-- name: pass_assessment
CREATE FUNCTION learning.complete_passed_lesson() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO learning.lesson_progress AS lp
        (tenant_id, user_id, program_id, lesson_id, enrollment_id, progress_percent, completed_at)
    SELECT NEW.tenant_id, NEW.user_id, NEW.program_id, a.lesson_id, NEW.enrollment_id, 100, now()
    FROM learning.assessments a
    WHERE a.tenant_id = NEW.tenant_id AND a.id = NEW.assessment_id AND a.lesson_id IS NOT NULL
    ON CONFLICT (tenant_id, user_id, lesson_id) DO UPDATE
    SET progress_percent = 100, completed_at = coalesce(lp.completed_at, now()), last_accessed_at = now();
    RETURN NULL;
END $$

-- name: is_open
-- Asked as the reader, so that policies hold.
CREATE FUNCTION learning.is_open(in_module uuid, reader uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT (m.unlock_date IS NULL OR m.unlock_date <= now()) AND (
        m.unlock_after_module_id IS NULL OR NOT EXISTS (
            SELECT FROM learning.lessons l
            WHERE l.tenant_id = m.tenant_id AND l.module_id = m.unlock_after_module_id AND l.is_visible
              AND NOT EXISTS (
                SELECT FROM learning.lesson_progress lp
                WHERE lp.tenant_id = l.tenant_id AND lp.user_id = reader AND lp.lesson_id = l.id
                  AND lp.completed_at IS NOT NULL)))
    FROM learning.modules m WHERE m.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND m.id = in_module
$$

-- name: outline
-- What a program is made of, without its texts, so that people can choose before they enrol.
CREATE FUNCTION learning.outline(of_program uuid)
RETURNS TABLE (
    module_id uuid, module_title varchar, module_description text, module_order int, unlock_date timestamptz,
    unlock_after_module_id uuid, lesson_id uuid, lesson_title varchar, lesson_order int, content_type varchar,
    is_preview boolean, estimated_minutes int, video_duration_seconds int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.id, m.title, m.description, m.sequence_order, m.unlock_date, m.unlock_after_module_id,
           l.id, l.title, l.sequence_order, l.content_type, l.is_preview, l.estimated_minutes, l.video_duration_seconds
    FROM learning.programs p
    JOIN learning.modules m ON m.tenant_id = p.tenant_id AND m.program_id = p.id
    LEFT JOIN learning.lessons l ON l.tenant_id = m.tenant_id AND l.module_id = m.id
    WHERE p.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND p.id = of_program
      AND CASE (SELECT current_setting('app.role'))
          WHEN 'system' THEN true
          WHEN 'admin' THEN true
          WHEN 'client' THEN m.is_visible AND l.is_visible IS NOT FALSE
          WHEN 'coach' THEN m.is_visible AND l.is_visible IS NOT FALSE
              OR p.instructor_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid)
              OR p.co_instructors ? (SELECT current_setting('app.user_id'))
          ELSE false END
    ORDER BY m.sequence_order, l.sequence_order
$$

-- name: find_certificate
-- The one thing anybody may ask of any tenant, with a code of 160 random bits in hand.
CREATE FUNCTION learning.find_certificate(code text)
RETURNS TABLE (holder text, title text, organisation text, certificate_number text, issued_at timestamptz,
               completion_date timestamptz, is_revoked boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.full_name, c.title, t.name, c.certificate_number, c.issued_at, c.completion_date, c.is_revoked
    FROM learning.certificates c
    JOIN identity.users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
    JOIN platform.tenants t ON t.id = c.tenant_id AND t.status = 'active'
    WHERE c.verification_code = code
$$

-- name: triggers
CREATE TRIGGER keep_counts BEFORE UPDATE ON learning.programs FOR EACH ROW WHEN (
    (OLD.module_count, OLD.lesson_count, OLD.enrollment_count, OLD.seats_taken, OLD.completion_count, OLD.review_count,
     OLD.rating_sum) IS DISTINCT FROM
    (NEW.module_count, NEW.lesson_count, NEW.enrollment_count, NEW.seats_taken, NEW.completion_count, NEW.review_count,
     NEW.rating_sum)) EXECUTE FUNCTION learning.keep_counts();
CREATE TRIGGER begin_counts BEFORE INSERT ON learning.programs FOR EACH ROW WHEN (
    (NEW.module_count, NEW.lesson_count, NEW.enrollment_count, NEW.seats_taken, NEW.completion_count, NEW.review_count,
     NEW.rating_sum) IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0)) EXECUTE FUNCTION learning.keep_counts();
CREATE TRIGGER keep_counts BEFORE UPDATE ON learning.modules FOR EACH ROW
    WHEN (OLD.lesson_count <> NEW.lesson_count) EXECUTE FUNCTION learning.keep_counts();
CREATE TRIGGER begin_counts BEFORE INSERT ON learning.modules FOR EACH ROW
    WHEN (NEW.lesson_count <> 0) EXECUTE FUNCTION learning.keep_counts();
CREATE TRIGGER guard_publishing BEFORE UPDATE ON learning.programs FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION learning.guard_publishing();
CREATE TRIGGER show_program AFTER UPDATE ON learning.programs FOR EACH ROW
    WHEN ((OLD.status, OLD.deleted_at) IS DISTINCT FROM (NEW.status, NEW.deleted_at))
    EXECUTE FUNCTION learning.show_program();
CREATE TRIGGER place BEFORE INSERT OR UPDATE OF program_id, is_published, is_visible ON learning.modules
    FOR EACH ROW EXECUTE FUNCTION learning.place_module();
CREATE TRIGGER count_new AFTER INSERT ON learning.modules FOR EACH ROW EXECUTE FUNCTION learning.count_module();
CREATE TRIGGER count_change AFTER UPDATE ON learning.modules FOR EACH ROW
    WHEN (OLD.is_published <> NEW.is_published) EXECUTE FUNCTION learning.count_module();
CREATE TRIGGER count_end BEFORE DELETE ON learning.modules FOR EACH ROW EXECUTE FUNCTION learning.count_module();
CREATE TRIGGER place BEFORE INSERT OR UPDATE OF program_id, module_id, is_published, is_visible ON learning.lessons
    FOR EACH ROW EXECUTE FUNCTION learning.place_lesson();
CREATE TRIGGER count_new AFTER INSERT ON learning.lessons FOR EACH ROW EXECUTE FUNCTION learning.count_lesson();
CREATE TRIGGER count_change AFTER UPDATE ON learning.lessons FOR EACH ROW
    WHEN ((OLD.module_id, OLD.is_published) IS DISTINCT FROM (NEW.module_id, NEW.is_published))
    EXECUTE FUNCTION learning.count_lesson();
CREATE TRIGGER count_end BEFORE DELETE ON learning.lessons FOR EACH ROW EXECUTE FUNCTION learning.count_lesson();
CREATE TRIGGER place BEFORE INSERT OR UPDATE OF lesson_id ON learning.assessments
    FOR EACH ROW EXECUTE FUNCTION learning.place_assessment();
CREATE TRIGGER begin BEFORE INSERT ON learning.enrollments
    FOR EACH ROW EXECUTE FUNCTION learning.begin_enrollment();
CREATE TRIGGER derive BEFORE UPDATE OF completed_lessons, lesson_total, status ON learning.enrollments
    FOR EACH ROW EXECUTE FUNCTION learning.derive_progress();
CREATE TRIGGER finish AFTER UPDATE ON learning.enrollments FOR EACH ROW
    WHEN (NEW.status = 'active' AND NEW.lesson_total > 0 AND NEW.completed_lessons >= NEW.lesson_total)
    EXECUTE FUNCTION learning.finish_enrollment();
CREATE TRIGGER count_new AFTER INSERT OR DELETE ON learning.enrollments
    FOR EACH ROW EXECUTE FUNCTION learning.count_enrollment();
CREATE TRIGGER count_change AFTER UPDATE ON learning.enrollments FOR EACH ROW
    WHEN ((OLD.status, OLD.rating) IS DISTINCT FROM (NEW.status, NEW.rating))
    EXECUTE FUNCTION learning.count_enrollment();
CREATE TRIGGER count_new AFTER INSERT ON learning.lesson_progress REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION learning.count_progress();
CREATE TRIGGER count_change AFTER UPDATE ON learning.lesson_progress REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION learning.count_progress();
CREATE TRIGGER count_end AFTER DELETE ON learning.lesson_progress REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION learning.count_progress();
CREATE TRIGGER complete_lesson AFTER UPDATE ON learning.assessment_submissions FOR EACH ROW
    WHEN (NEW.passed AND OLD.passed IS NOT TRUE) EXECUTE FUNCTION learning.complete_passed_lesson();

-- name: reader_programs
-- As sub-queries in the policies, which apply policies to their own tables in turn, these made planning a progress
-- message take 25 ms; as functions, whose plans are kept, a policy is one value, still read once a statement.
CREATE FUNCTION learning.list_taken_programs() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT e.program_id FROM learning.enrollments e
        WHERE e.tenant_id = current_setting('app.tenant_id')::uuid
          AND e.user_id = nullif(current_setting('app.user_id'), '')::uuid AND e.status IN ('active', 'completed'));
END $$;

CREATE FUNCTION learning.list_taught_programs() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT p.id FROM learning.programs p
        WHERE p.tenant_id = current_setting('app.tenant_id')::uuid AND current_setting('app.role') = 'coach'
          AND (p.instructor_id = nullif(current_setting('app.user_id'), '')::uuid
               OR p.co_instructors ? current_setting('app.user_id')));
END $$
