-- name: settle_post
-- Runs as the writer. The administrator's changes to others' posts are moderation: never of the words.
CREATE FUNCTION community.settle_post() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting text := coalesce(nullif(current_setting('app.role', true), ''), 'owner');
    writer uuid := nullif(current_setting('app.user_id', true), '')::uuid;
    words_changed boolean;
BEGIN
    IF acting IN ('system', 'owner') THEN
        IF NEW.status = 'published' AND NEW.published_at IS NULL THEN
            NEW.published_at := now();
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
        words_changed := true;
        NEW.published_at := NULL;
    ELSE
        words_changed := (NEW.title, NEW.content, NEW.tags, NEW.media_urls, NEW.category)
            IS DISTINCT FROM (OLD.title, OLD.content, OLD.tags, OLD.media_urls, OLD.category);
        NEW.published_at := OLD.published_at;
        IF words_changed AND OLD.author_id IS DISTINCT FROM writer THEN
            RAISE EXCEPTION 'a moderator changes nobody''s words' USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF NEW.author_id IS DISTINCT FROM OLD.author_id AND NEW.author_id IS NOT NULL THEN
            RAISE EXCEPTION 'a post keeps its author' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    IF acting <> 'admin' THEN
        IF TG_OP = 'INSERT' AND (NEW.is_pinned OR NEW.is_featured OR NEW.moderated_by IS NOT NULL)
           OR TG_OP = 'UPDATE'
           AND (NEW.is_pinned, NEW.is_featured, NEW.featured_until, NEW.moderated_by, NEW.moderation_note)
               IS DISTINCT FROM (OLD.is_pinned, OLD.is_featured, OLD.featured_until, OLD.moderated_by, OLD.moderation_note)
        THEN
            RAISE EXCEPTION 'only an administrator pins, features and moderates' USING ERRCODE = 'insufficient_privilege';
        END IF;
        -- Where the organisation moderates, what its people write or change waits for its administrator.
        IF NEW.status = 'published' AND (words_changed OR OLD.status <> 'published') AND EXISTS (
            SELECT FROM platform.tenants t
            WHERE t.id = NEW.tenant_id AND t.metadata -> 'community' ->> 'moderated' = 'true')
        THEN
            NEW.status := 'pending';
        END IF;
    END IF;
    IF NEW.status = 'published' AND NEW.published_at IS NULL THEN
        NEW.published_at := now();
    END IF;
    RETURN NEW;
END $$

-- name: settle_comment
-- The post's row is locked before the reply is stored: it can't be taken down in between, and its count comes next.
CREATE FUNCTION community.settle_comment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting text := coalesce(nullif(current_setting('app.role', true), ''), 'owner');
    writer uuid := nullif(current_setting('app.user_id', true), '')::uuid;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT p.visibility, p.client_id, p.coach_id, p.status = 'published'
        INTO NEW.visibility, NEW.client_id, NEW.coach_id, NEW.is_post_published
        FROM community.posts p WHERE p.tenant_id = NEW.tenant_id AND p.id = NEW.post_id FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no such post'
                USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'comments_post';
        END IF;
        -- It may have been taken down or narrowed while its lock was waited for.
        IF acting NOT IN ('system', 'owner') AND (NOT NEW.is_post_published
            OR NEW.visibility <> ALL (string_to_array(current_setting('app.visibilities'), ',')))
        THEN
            RAISE EXCEPTION 'there is no such post'
                USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'comments_post';
        END IF;
        IF NEW.parent_comment_id IS NOT NULL THEN
            SELECT c.depth + 1 INTO NEW.depth FROM community.comments c
            WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.parent_comment_id AND c.post_id = NEW.post_id
              AND c.status = 'published';
            IF NOT FOUND THEN
                RAISE EXCEPTION 'there is no such comment of this post'
                    USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'comments_parent';
            END IF;
        ELSE
            NEW.depth := 0;
        END IF;
    ELSIF acting NOT IN ('system', 'owner') THEN
        IF NEW.content IS DISTINCT FROM OLD.content AND OLD.author_id IS DISTINCT FROM writer THEN
            RAISE EXCEPTION 'a moderator changes nobody''s words' USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF acting <> 'admin' AND (NEW.status, NEW.moderated_by, NEW.moderation_note)
            IS DISTINCT FROM (OLD.status, OLD.moderated_by, OLD.moderation_note)
        THEN
            RAISE EXCEPTION 'only an administrator moderates' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    RETURN NEW;
END $$

-- name: copy_to_comments
CREATE FUNCTION community.copy_to_comments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE community.comments c
    SET visibility = NEW.visibility, client_id = NEW.client_id, coach_id = NEW.coach_id,
        is_post_published = (NEW.status = 'published')
    WHERE c.tenant_id = NEW.tenant_id AND c.post_id = NEW.id;
    RETURN NULL;
END $$

-- name: check_reaction
-- As the reader: what they can't read they can't react to.
CREATE FUNCTION community.check_reaction() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_it boolean;
BEGIN
    CASE NEW.entity_type
        WHEN 'post' THEN found_it := EXISTS (
            SELECT FROM community.posts p WHERE p.tenant_id = NEW.tenant_id AND p.id = NEW.entity_id);
        WHEN 'comment' THEN found_it := EXISTS (
            SELECT FROM community.comments c WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.entity_id);
        WHEN 'project' THEN found_it := EXISTS (
            SELECT FROM community.projects j WHERE j.tenant_id = NEW.tenant_id AND j.id = NEW.entity_id);
        ELSE found_it := EXISTS (
            SELECT FROM identity.user_profiles u WHERE u.tenant_id = NEW.tenant_id AND u.user_id = NEW.entity_id);
    END CASE;
    IF NOT found_it THEN
        RAISE EXCEPTION 'there is nothing to react to'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'reactions_entity';
    END IF;
    RETURN NEW;
END $$

-- name: hold_entity
-- A foreign key's lock, for a reference that can't be one: the thing stays until the reaction is stored.
CREATE FUNCTION community.hold_entity() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE NEW.entity_type
        WHEN 'post' THEN PERFORM FROM community.posts p
            WHERE p.tenant_id = NEW.tenant_id AND p.id = NEW.entity_id FOR KEY SHARE;
        WHEN 'comment' THEN PERFORM FROM community.comments c
            WHERE c.tenant_id = NEW.tenant_id AND c.id = NEW.entity_id FOR KEY SHARE;
        WHEN 'project' THEN PERFORM FROM community.projects j
            WHERE j.tenant_id = NEW.tenant_id AND j.id = NEW.entity_id FOR KEY SHARE;
        ELSE PERFORM FROM identity.user_profiles u
            WHERE u.tenant_id = NEW.tenant_id AND u.user_id = NEW.entity_id FOR KEY SHARE;
    END CASE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is nothing to react to'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'reactions_entity';
    END IF;
    RETURN NEW;
END $$

-- name: drop_reactions
CREATE FUNCTION community.drop_reactions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM community.reactions r USING gone g
    WHERE r.tenant_id = g.tenant_id AND r.entity_type = TG_ARGV[0]
      AND r.entity_id = (to_jsonb(g) ->> TG_ARGV[1])::uuid;
    DELETE FROM community.view_tallies v USING gone g
    WHERE v.tenant_id = g.tenant_id AND v.entity_type = TG_ARGV[0]
      AND v.entity_id = (to_jsonb(g) ->> TG_ARGV[1])::uuid;
    RETURN NULL;
END $$

-- name: settle_project
CREATE FUNCTION community.settle_project() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting text := coalesce(nullif(current_setting('app.role', true), ''), 'owner');
    writer uuid := nullif(current_setting('app.user_id', true), '')::uuid;
    words_changed boolean := TG_OP = 'INSERT' OR
        (NEW.title, NEW.problem_statement, NEW.solution_description, NEW.target_market, NEW.stage, NEW.support_needed,
         NEW.pitch_deck_url, NEW.demo_url, NEW.repo_url, NEW.media_urls) IS DISTINCT FROM
        (OLD.title, OLD.problem_statement, OLD.solution_description, OLD.target_market, OLD.stage, OLD.support_needed,
         OLD.pitch_deck_url, OLD.demo_url, OLD.repo_url, OLD.media_urls);
BEGIN
    IF acting NOT IN ('system', 'owner') THEN
        IF TG_OP = 'INSERT' THEN
            NEW.status := 'pending';
            NEW.published_at := NULL;
        ELSE
            NEW.published_at := OLD.published_at;
            IF NEW.submitted_by IS DISTINCT FROM OLD.submitted_by AND NEW.submitted_by IS NOT NULL THEN
                RAISE EXCEPTION 'a project keeps its submitter' USING ERRCODE = 'insufficient_privilege';
            END IF;
            IF words_changed AND OLD.submitted_by IS DISTINCT FROM writer THEN
                RAISE EXCEPTION 'a reviewer changes nobody''s words' USING ERRCODE = 'insufficient_privilege';
            END IF;
            -- What was approved is what was read: changed words are reviewed again.
            IF words_changed AND OLD.status IN ('approved', 'rejected') THEN
                NEW.status := 'pending';
            ELSIF NEW.status IS DISTINCT FROM OLD.status AND OLD.submitted_by = writer
                  AND NEW.status NOT IN ('archived', 'pending') THEN
                RAISE EXCEPTION 'someone else approves a project' USING ERRCODE = 'insufficient_privilege';
            END IF;
        END IF;
        IF acting <> 'admin' AND (
            TG_OP = 'INSERT' AND (NEW.reviewed_by IS NOT NULL OR NEW.is_featured)
            OR TG_OP = 'UPDATE' AND (NEW.reviewed_by, NEW.review_notes, NEW.is_featured, NEW.featured_until)
                IS DISTINCT FROM (OLD.reviewed_by, OLD.review_notes, OLD.is_featured, OLD.featured_until))
        THEN
            RAISE EXCEPTION 'only an administrator reviews and features' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    IF NEW.status = 'approved' AND NEW.published_at IS NULL THEN
        NEW.published_at := now();
    END IF;
    RETURN NEW;
END $$

-- name: may_message
-- Whether the bound person's message would be taken, and nothing else about the recipient.
CREATE FUNCTION community.may_message(recipient uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM identity.users u
        LEFT JOIN identity.user_settings s ON s.tenant_id = u.tenant_id AND s.user_id = u.id
        WHERE u.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND u.id = recipient AND u.status = 'active'
          AND u.role IN ('client', 'coach', 'admin')
          AND (coalesce(s.allow_messages, 'all') = 'all' OR s.allow_messages = 'connections_only' AND EXISTS (
              SELECT FROM identity.user_connections c
              WHERE c.tenant_id = u.tenant_id AND c.follower_id = u.id AND c.following_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid)))
          AND NOT EXISTS (
              SELECT FROM community.blocks b
              WHERE b.tenant_id = u.tenant_id
                AND (b.user_id = u.id AND b.blocked_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid) OR b.user_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid) AND b.blocked_id = u.id)))
$$;
CREATE FUNCTION community.check_message() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The pipelines restore and move messages; people write only to those who take them.
    IF NEW.sender_id = nullif(current_setting('app.user_id', true), '')::uuid
       AND NOT community.may_message(NEW.recipient_id) THEN
        RAISE EXCEPTION 'this person takes no messages from the sender'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'messages_taken';
    END IF;
    RETURN NEW;
END $$

-- name: delete_message
-- A row its reader may no longer see can't be written through the reader's own policies, so the owner does it.
CREATE FUNCTION community.delete_message(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    message community.messages;
BEGIN
    UPDATE community.messages m
    SET is_deleted_by_sender = m.is_deleted_by_sender OR m.sender_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid),
        is_deleted_by_recipient = m.is_deleted_by_recipient OR m.recipient_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid)
    WHERE m.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND m.id = wanted
      AND (m.sender_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid) AND NOT m.is_deleted_by_sender
           OR m.recipient_id = (SELECT nullif(current_setting('app.user_id'), '')::uuid) AND NOT m.is_deleted_by_recipient)
    RETURNING * INTO message;
    IF message.id IS NULL THEN
        RETURN false;
    END IF;
    DELETE FROM community.messages m
    WHERE m.tenant_id = message.tenant_id AND m.id = wanted AND m.is_deleted_by_sender AND m.is_deleted_by_recipient;
    RETURN true;
END $$

-- name: add_view
-- Sixteen views of a slot become one change of the counted row.
CREATE FUNCTION community.add_view(kind text, wanted uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := current_setting('app.tenant_id')::uuid;
    place smallint := floor(random() * 8);
    seen int;
BEGIN
    INSERT INTO community.view_tallies AS v VALUES (tenant, kind, wanted, place, 1)
    ON CONFLICT (tenant_id, entity_type, entity_id, slot) DO UPDATE SET views = v.views + 1
    RETURNING v.views INTO seen;
    IF seen >= 16 THEN
        DELETE FROM community.view_tallies v
        WHERE v.tenant_id = tenant AND v.entity_type = kind AND v.entity_id = wanted AND v.slot = place;
        CASE kind
            WHEN 'post' THEN UPDATE community.posts p SET view_count = p.view_count + seen
                WHERE p.tenant_id = tenant AND p.id = wanted;
            WHEN 'project' THEN UPDATE community.projects j SET view_count = j.view_count + seen
                WHERE j.tenant_id = tenant AND j.id = wanted;
            WHEN 'faq' THEN UPDATE content.faqs f SET view_count = f.view_count + seen
                WHERE f.tenant_id = tenant AND f.id = wanted;
        END CASE;
    END IF;
END $$
