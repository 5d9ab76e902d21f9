-- name: step_approval
-- One way from the writer's desk to the public; each stage leaves who passed it, and the end is the end.
CREATE FUNCTION content.step_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor uuid := nullif(current_setting('app.user_id', true), '')::uuid;
    step text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.current_stage NOT IN ('draft', 'editorial_review')
           OR coalesce(NEW.editorial_reviewer_id, NEW.brand_reviewer_id, NEW.final_approver_id, NEW.rejected_by) IS NOT NULL
           OR coalesce(NEW.editorial_reviewed_at, NEW.brand_reviewed_at, NEW.final_approved_at, NEW.rejected_at) IS NOT NULL
        THEN
            RAISE EXCEPTION 'a submission begins with its first review' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.content_type, NEW.content_id, NEW.version, NEW.content_hash, NEW.submitted_at)
       IS DISTINCT FROM (OLD.content_type, OLD.content_id, OLD.version, OLD.content_hash, OLD.submitted_at)
       OR NEW.submitted_by IS DISTINCT FROM OLD.submitted_by AND NEW.submitted_by IS NOT NULL
    THEN
        RAISE EXCEPTION 'a submission stays what was submitted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.current_stage = OLD.current_stage THEN
        -- A reviewer's account may go; what was reviewed, when, and the words of it stay.
        IF (NEW.editorial_reviewed_at, NEW.brand_reviewed_at, NEW.final_approved_at, NEW.rejected_at, NEW.editorial_notes,
            NEW.brand_notes, NEW.legal_notes, NEW.rejection_reason) IS DISTINCT FROM
           (OLD.editorial_reviewed_at, OLD.brand_reviewed_at, OLD.final_approved_at, OLD.rejected_at, OLD.editorial_notes,
            OLD.brand_notes, OLD.legal_notes, OLD.rejection_reason)
        THEN
            RAISE EXCEPTION 'a review is written once' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    step := OLD.current_stage || ' > ' || NEW.current_stage;
    IF NOT (
        step = 'draft > editorial_review'
        OR step = 'editorial_review > brand_review' AND NEW.editorial_reviewer_id IS NOT NULL
           AND NEW.editorial_reviewed_at IS NOT NULL
        OR step = 'brand_review > legal_review' AND NEW.brand_reviewer_id IS NOT NULL AND NEW.brand_reviewed_at IS NOT NULL
        OR step = 'legal_review > approved' AND NEW.final_approver_id IS NOT NULL AND NEW.final_approved_at IS NOT NULL
        OR NEW.current_stage = 'rejected' AND OLD.current_stage <> 'approved' AND NEW.rejected_by IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'content can''t go from % to %', OLD.current_stage, NEW.current_stage
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF actor IS NOT NULL AND actor = OLD.submitted_by AND NEW.current_stage NOT IN ('editorial_review', 'rejected') THEN
        RAISE EXCEPTION 'someone else reviews a submission' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$

-- name: hash_content
-- As the reader, so that nobody asks about what they can't see. What readers and rules change in passing is no content.
CREATE FUNCTION content.hash_content(kind text, wanted uuid) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    words jsonb;
BEGIN
    CASE kind
        WHEN 'post' THEN
            SELECT jsonb_build_array(p.title, p.content, p.category, p.tags, p.media_urls, p.visibility)
            INTO words FROM community.posts p WHERE p.id = wanted;
        WHEN 'project' THEN
            SELECT jsonb_build_array(j.title, j.problem_statement, j.solution_description, j.target_market, j.stage,
                                     j.support_needed, j.pitch_deck_url, j.demo_url, j.repo_url, j.media_urls, j.visibility)
            INTO words FROM community.projects j WHERE j.id = wanted;
        WHEN 'program' THEN
            SELECT jsonb_build_array(g.title, g.description, g.long_description, g.category, g.tags, g.pricing_type,
                                     g.price_amount, g.currency, g.tier_access, g.thumbnail_url, g.preview_video_url,
                (SELECT jsonb_agg(to_jsonb(m) - ARRAY['updated_at', 'is_visible', 'lesson_count'] ORDER BY m.id)
                 FROM learning.modules m WHERE m.program_id = g.id),
                (SELECT jsonb_agg(to_jsonb(l) - ARRAY['updated_at', 'is_visible'] ORDER BY l.id)
                 FROM learning.lessons l WHERE l.program_id = g.id))
            INTO words FROM learning.programs g WHERE g.id = wanted;
        WHEN 'event' THEN
            SELECT jsonb_build_array(e.title, e.description, e.agenda, e.event_date, e.end_date, e.timezone,
                                     e.location_type, e.physical_address, e.speakers, e.banner_image_url)
            INTO words FROM events.events e WHERE e.id = wanted;
    END CASE;
    RETURN sha256(convert_to(words::text, 'UTF8'));
END $$

-- name: name_tag
-- What a tag is found by: letters and figures of any script, lower case, joined by hyphens.
CREATE FUNCTION content.name_tag(word text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT trim(BOTH '-' FROM left(regexp_replace(lower(word COLLATE "pg_c_utf8"), '[^[:alnum:]]+', '-', 'g'), 100))
$$

-- name: add_tags
-- In the order of the slug, so that statements that meet wait for each other and never deadlock.
CREATE FUNCTION content.add_tags(tenant uuid, before jsonb[], after jsonb[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    FOR d IN
        SELECT w.slug, min(w.word) AS word, sum(w.step) AS step
        FROM (SELECT content.name_tag(e.word) AS slug, min(left(btrim(e.word), 100)) AS word, s.step
              FROM (SELECT u.list, u.place, 1 AS step FROM unnest(after) WITH ORDINALITY AS u(list, place)
                    UNION ALL
                    SELECT u.list, u.place, -1 FROM unnest(before) WITH ORDINALITY AS u(list, place)) s,
                   jsonb_array_elements_text(s.list) AS e(word)
              GROUP BY s.place, s.step, 1) w
        WHERE w.slug <> '' GROUP BY w.slug HAVING sum(w.step) <> 0 ORDER BY w.slug
    LOOP
        IF d.step > 0 THEN
            INSERT INTO content.tags AS t (tenant_id, name, slug, usage_count) VALUES (tenant, d.word, d.slug, d.step)
            ON CONFLICT (tenant_id, slug) DO UPDATE SET usage_count = t.usage_count + excluded.usage_count;
        ELSE
            UPDATE content.tags t SET usage_count = t.usage_count + d.step
            WHERE t.tenant_id = tenant AND t.slug = d.slug;
        END IF;
    END LOOP;
END $$

-- name: add_media
CREATE FUNCTION content.add_media(tenant uuid, before jsonb[], after jsonb[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    FOR d IN
        SELECT w.asset, sum(w.step) AS step
        FROM (SELECT DISTINCT (e.item ->> 'asset_id')::uuid AS asset, s.place, s.step
              FROM (SELECT u.list, u.place, 1 AS step FROM unnest(after) WITH ORDINALITY AS u(list, place)
                    UNION ALL
                    SELECT u.list, u.place, -1 FROM unnest(before) WITH ORDINALITY AS u(list, place)) s,
                   jsonb_array_elements(s.list) AS e(item)
              WHERE e.item ->> 'asset_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') w
        GROUP BY w.asset HAVING sum(w.step) <> 0 ORDER BY w.asset
    LOOP
        UPDATE content.media_assets t SET usage_count = t.usage_count + d.step
        WHERE t.tenant_id = tenant AND t.id = d.asset;
    END LOOP;
END $$

-- name: count_listed
-- Inserts and deletes are counted a statement at a time; an update only where it changes the list.
CREATE FUNCTION content.count_%(noun)s() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid;
    lists jsonb[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT min(a.tenant_id::text)::uuid, array_agg(a.%(column)s) INTO tenant, lists
        FROM added a WHERE jsonb_typeof(a.%(column)s) = 'array' AND a.%(column)s <> '[]';
        IF lists IS NOT NULL THEN
            PERFORM content.add_%(noun)s(tenant, NULL, lists);
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT min(g.tenant_id::text)::uuid, array_agg(g.%(column)s) INTO tenant, lists
        FROM gone g WHERE jsonb_typeof(g.%(column)s) = 'array' AND g.%(column)s <> '[]';
        IF lists IS NOT NULL THEN
            PERFORM content.add_%(noun)s(tenant, lists, NULL);
        END IF;
    ELSE
        PERFORM content.add_%(noun)s(
            NEW.tenant_id, ARRAY[coalesce(OLD.%(column)s, '[]')], ARRAY[coalesce(NEW.%(column)s, '[]')]);
    END IF;
    RETURN NULL;
END $$

-- name: settle_blog_post
CREATE FUNCTION content.settle_blog_post() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.author_id IS DISTINCT FROM OLD.author_id AND NEW.author_id IS NOT NULL THEN
        RAISE EXCEPTION 'an article keeps its author' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.status = 'published' AND NEW.published_at IS NULL THEN
        NEW.published_at := now();
    END IF;
    RETURN NEW;
END $$
