-- name: bind_reader
CREATE OR REPLACE FUNCTION platform.bind_reader(tenant uuid, reader uuid, reader_role text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    actual text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)) THEN
        RAISE EXCEPTION 'role %% goes around row-level security; sign in as regenesis_app', current_user
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM set_config('app.tenant_id', tenant::text, true),
            set_config('app.user_id', coalesce(reader::text, ''), true),
            set_config('app.role', reader_role, true),
            set_config('app.clients', CASE reader_role WHEN 'client' THEN reader::text ELSE '' END, true),
            set_config('app.visibilities', CASE reader_role
                WHEN 'client' THEN 'client_visible'
                WHEN 'coach' THEN 'client_visible,coach_only'
                WHEN 'admin' THEN 'client_visible,admin_aggregate'
                WHEN 'executive' THEN 'admin_aggregate'
                WHEN 'system' THEN 'client_visible,coach_only,admin_aggregate,system_internal'
                ELSE '' END, true);
    IF reader_role = 'system' THEN
        IF reader IS NOT NULL THEN
            RAISE EXCEPTION 'the system role belongs to no user' USING ERRCODE = 'invalid_authorization_specification';
        END IF;
        RETURN;
    END IF;%(actual_role)s
    IF actual IS DISTINCT FROM reader_role THEN
        RAISE EXCEPTION 'user %% is not an active %% of this tenant', reader, reader_role
            USING ERRCODE = 'invalid_authorization_specification';
    END IF;
    IF reader_role = 'coach' THEN
        PERFORM set_config('app.clients', coalesce((
            SELECT string_agg(DISTINCT e.client_id::text, ',') FROM coaching.engagements e
            WHERE e.tenant_id = tenant AND e.coach_id = reader
              AND e.started_at <= now() AND (e.ended_at IS NULL OR e.ended_at > now())), ''), true);
    END IF;
END $$

-- name: find_principal
CREATE FUNCTION identity.pick_role(tenant uuid, person uuid, preferred text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT r.role_name FROM identity.user_roles r
    WHERE r.tenant_id = tenant AND r.user_id = person AND r.revoked_at IS NULL AND r.granted_at <= now() AND (r.expires_at IS NULL OR r.expires_at > now())
    ORDER BY r.role_name = preferred DESC, r.granted_at DESC, r.id DESC LIMIT 1
$$;
CREATE OR REPLACE FUNCTION identity.find_api_key(wanted text)
RETURNS TABLE (tenant_id uuid, user_id uuid, role text, scope text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.tenant_id, k.user_id, p.role, k.scope
    FROM identity.api_keys k
    JOIN identity.users u ON u.tenant_id = k.tenant_id AND u.id = k.user_id AND u.status = 'active'
    JOIN platform.tenants t ON t.id = k.tenant_id AND t.status = 'active'
    CROSS JOIN LATERAL identity.pick_role(u.tenant_id, u.id, u.role) AS p(role)
    WHERE k.hashed_key = wanted AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
      AND p.role IS NOT NULL
$$;
CREATE OR REPLACE FUNCTION identity.find_user(tenant_slug text, wanted text)
RETURNS TABLE (tenant_id uuid, user_id uuid, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.tenant_id, u.id, p.role
    FROM identity.users u JOIN platform.tenants t ON t.id = u.tenant_id AND t.status = 'active'
    CROSS JOIN LATERAL identity.pick_role(u.tenant_id, u.id, u.role) AS p(role)
    WHERE t.slug = tenant_slug AND u.email = lower(wanted) AND u.status = 'active' AND p.role IS NOT NULL
$$

-- name: find_session
CREATE FUNCTION identity.find_session(wanted text)
RETURNS TABLE (tenant_id uuid, id uuid, user_id uuid, role text, awaits_second_factor boolean, expires_at timestamptz,
               last_activity timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.tenant_id, s.id, s.user_id, s.role, s.awaits_second_factor, s.expires_at, s.last_activity
    FROM identity.sessions s
    JOIN identity.users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id AND u.status = 'active'
    JOIN platform.tenants t ON t.id = s.tenant_id AND t.status = 'active'
    JOIN identity.user_roles r ON r.tenant_id = s.tenant_id AND r.user_id = s.user_id AND r.role_name = s.role AND r.revoked_at IS NULL AND r.granted_at <= now() AND (r.expires_at IS NULL OR r.expires_at > now())
    WHERE s.token_hash = wanted AND s.revoked_at IS NULL AND s.expires_at > now()
$$

-- name: data_keys
-- Wrapped keys of the bound tenant, for whoever is bound: what reads a person's own row must open its fields.
CREATE FUNCTION platform.list_data_keys(wanted text)
RETURNS TABLE (version int, master_key_id text, wrapped_key bytea, is_settled boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.version, k.master_key_id, k.wrapped_key, k.created_at <> now()
    FROM platform.encryption_keys k
    WHERE k.tenant_id = current_setting('app.tenant_id')::uuid AND k.purpose = wanted ORDER BY k.version
$$;
CREATE FUNCTION platform.add_data_key(purpose text, master_key_id text, wrapped_key bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO platform.encryption_keys (tenant_id, purpose, version, master_key_id, wrapped_key)
    VALUES (current_setting('app.tenant_id')::uuid, purpose, 1, master_key_id, wrapped_key)
    ON CONFLICT (tenant_id, purpose, version) DO NOTHING
$$

-- name: find_principal_before
CREATE OR REPLACE FUNCTION identity.find_api_key(wanted text)
RETURNS TABLE (tenant_id uuid, user_id uuid, role text, scope text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.tenant_id, k.user_id, u.role, k.scope
    FROM identity.api_keys k
    JOIN identity.users u ON u.tenant_id = k.tenant_id AND u.id = k.user_id AND u.status = 'active'
    JOIN platform.tenants t ON t.id = k.tenant_id AND t.status = 'active'
    WHERE k.hashed_key = wanted AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
CREATE OR REPLACE FUNCTION identity.find_user(tenant_slug text, wanted text)
RETURNS TABLE (tenant_id uuid, user_id uuid, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.tenant_id, u.id, u.role
    FROM identity.users u JOIN platform.tenants t ON t.id = u.tenant_id AND t.status = 'active'
    WHERE t.slug = tenant_slug AND lower(u.email) = lower(wanted) AND u.status = 'active'
$$;
DROP FUNCTION identity.pick_role(uuid, uuid, text)

-- name: set_up_person
CREATE FUNCTION identity.set_up_person() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO identity.user_roles (tenant_id, user_id, role_name) VALUES (NEW.tenant_id, NEW.id, NEW.role);
    INSERT INTO identity.user_settings (tenant_id, user_id) VALUES (NEW.tenant_id, NEW.id);
    INSERT INTO identity.user_profiles (tenant_id, user_id, display_name, is_coach, profile_visibility)
    VALUES (NEW.tenant_id, NEW.id, NEW.full_name, NEW.role = 'coach',
            CASE WHEN NEW.status = 'active' THEN 'public' ELSE 'private' END);
    RETURN NULL;
END $$

-- name: copy_to_profile
CREATE FUNCTION identity.copy_to_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person uuid := (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
BEGIN
    -- Who is suspended or deleted shows nothing to the others.
    UPDATE identity.user_profiles p
    SET display_name = u.full_name, shown_email = CASE WHEN p.show_email THEN u.email END,
        profile_visibility = CASE WHEN u.status = 'active' THEN s.profile_visibility ELSE 'private' END
    FROM identity.users u JOIN identity.user_settings s ON s.tenant_id = u.tenant_id AND s.user_id = u.id
    WHERE u.tenant_id = NEW.tenant_id AND u.id = person AND p.tenant_id = u.tenant_id AND p.user_id = u.id;
    RETURN NULL;
END $$

-- name: mark_coach
CREATE FUNCTION identity.mark_coach() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE identity.user_profiles p
    SET is_coach = g.grants > 0, coach_until = CASE WHEN g.open = 0 THEN g.until END
    FROM (SELECT count(*) AS grants, count(*) FILTER (WHERE r.expires_at IS NULL) AS open, max(r.expires_at) AS until
          FROM identity.user_roles r
          WHERE r.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id) AND r.user_id = coalesce(NEW.user_id, OLD.user_id)
            AND r.role_name = 'coach' AND r.revoked_at IS NULL) g
    WHERE p.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id) AND p.user_id = coalesce(NEW.user_id, OLD.user_id);
    RETURN NULL;
END $$

-- name: count_connection
CREATE FUNCTION identity.count_connection() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step int := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
    link identity.user_connections := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
BEGIN
    -- Both rows in one order, so that two who follow each other at once do not wait for one another.
    PERFORM FROM identity.user_profiles p
    WHERE p.tenant_id = link.tenant_id AND p.user_id IN (link.follower_id, link.following_id)
    ORDER BY p.user_id FOR NO KEY UPDATE;
    UPDATE identity.user_profiles p
    SET following_count = p.following_count + CASE WHEN p.user_id = link.follower_id THEN step ELSE 0 END,
        follower_count = p.follower_count + CASE WHEN p.user_id = link.following_id THEN step ELSE 0 END
    WHERE p.tenant_id = link.tenant_id AND p.user_id IN (link.follower_id, link.following_id);
    RETURN NULL;
END $$

-- name: backfill
INSERT INTO identity.user_roles (tenant_id, user_id, role_name, granted_at)
SELECT tenant_id, id, role, created_at FROM identity.users;
INSERT INTO identity.user_settings (tenant_id, user_id) SELECT tenant_id, id FROM identity.users;
INSERT INTO identity.user_profiles (tenant_id, user_id, display_name, is_coach, profile_visibility)
SELECT tenant_id, id, full_name, role = 'coach', CASE WHEN status = 'active' THEN 'public' ELSE 'private' END
FROM identity.users

-- name: profile_columns
brand_name, tagline, bio, mission_statement, occupation, industry, years_experience, location, show_email, show_phone, social_links, skills, certifications, hourly_rate, currency, availability_status, coaching_specialties, profile_photo_url, cover_photo_url, portfolio_urls
