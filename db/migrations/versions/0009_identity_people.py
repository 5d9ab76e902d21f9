"""Roles with their times, profiles, sign-in sessions and consents."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, read_sql, tenant_key

revision = "0009"
down_revision = "0008"

SQL = read_sql("0009_identity_people")

RUNS = "r.revoked_at IS NULL AND r.granted_at <= now() AND (r.expires_at IS NULL OR r.expires_at > now())"

ACTUAL_ROLE = {
    "0008": """
    SELECT u.role INTO actual
    FROM identity.users u JOIN platform.tenants t ON t.id = u.tenant_id
    WHERE u.tenant_id = tenant AND u.id = reader AND u.status = 'active' AND t.status = 'active';""",
    "0009": f"""
    SELECT r.role_name INTO actual
    FROM identity.users u JOIN platform.tenants t ON t.id = u.tenant_id
    JOIN identity.user_roles r ON r.tenant_id = u.tenant_id AND r.user_id = u.id AND r.role_name = reader_role
    WHERE u.tenant_id = tenant AND u.id = reader AND u.status = 'active' AND t.status = 'active' AND {RUNS};""",
}
"""How a reader's role is known: until now by the user's row, from now on by a grant that runs."""

BIND_READER = SQL["bind_reader"]
FIND_PRINCIPAL = SQL["find_principal"]
FIND_SESSION = SQL["find_session"]
DATA_KEYS = SQL["data_keys"]
FIND_PRINCIPAL_BEFORE = SQL["find_principal_before"]

# Trigger functions run as the owner, who may write what the reader who caused it may not.
DEFINER = "RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

SET_UP_PERSON = SQL["set_up_person"]
COPY_TO_PROFILE = SQL["copy_to_profile"]
MARK_COACH = SQL["mark_coach"]
COUNT_CONNECTION = SQL["count_connection"]
BACKFILL = SQL["backfill"]
PROFILE_COLUMNS = SQL["profile_columns"]

SETTINGS_COLUMNS = (
    "language, timezone, currency, email_notifications, sms_notifications, push_notifications, profile_visibility, "
    "show_activity, allow_messages, theme, dashboard_layout"
)
TABLES = (
    "user_roles", "user_profiles", "user_connections", "sessions", "recovery_codes", "user_settings", "integrations",
    "consents",
)  # fmt: skip


def upgrade() -> None:
    """Apply."""
    _create_tables()
    _change_users()
    op.execute(BACKFILL)
    for statement in (
        SET_UP_PERSON,
        COPY_TO_PROFILE,
        MARK_COACH,
        COUNT_CONNECTION,
        FIND_PRINCIPAL,
        FIND_SESSION,
        DATA_KEYS,
    ):
        op.execute(statement)
    op.execute(
        "GRANT EXECUTE ON FUNCTION identity.find_session(text), identity.pick_role(uuid, uuid, text), platform.list_data_keys(text), "
        "platform.add_data_key(text, text, bytea) TO regenesis_app"
    )
    op.execute(BIND_READER % {"actual_role": ACTUAL_ROLE["0009"]})
    _guard()
    _attach_triggers()


def _create_tables() -> None:
    op.create_table(
        "consents",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=50), nullable=False),
        sa.Column("version", sa.String(length=50), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.String(length=20), server_default="api", nullable=False),
        sa.CheckConstraint(
            "purpose IN ('terms_of_service', 'privacy_policy', 'session_recording', 'ai_assistance', 'evaluation', 'research', 'marketing')",
            name=op.f("ck_consents_purpose"),
        ),
        sa.CheckConstraint("source IN ('web', 'api', 'import', 'admin')", name=op.f("ck_consents_source")),
        sa.CheckConstraint(
            "withdrawn_at IS NULL OR withdrawn_at >= granted_at", name=op.f("ck_consents_withdrawn_after_grant")
        ),
        inner_key("consents", "user_id", "identity.users", "CASCADE"),
        tenant_key("consents"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_consents"),
        schema="identity",
    )
    add_index("ix_consents_user", "identity.consents", "tenant_id", "user_id", "granted_at")
    add_index(
        "uq_consents_running",
        "identity.consents",
        "tenant_id",
        "user_id",
        "purpose",
        "version",
        unique=True,
        where="withdrawn_at IS NULL",
    )
    op.create_table(
        "integrations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("access_token", sa.LargeBinary(), nullable=True),
        sa.Column("refresh_token", sa.LargeBinary(), nullable=True),
        sa.Column("scopes", postgresql.ARRAY(sa.String(length=200)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'expired', 'revoked', 'failed')", name=op.f("ck_integrations_status")),
        inner_key("integrations", "user_id", "identity.users", "CASCADE"),
        tenant_key("integrations"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_integrations"),
        sa.UniqueConstraint("tenant_id", "user_id", "provider", name="uq_integrations_tenant_id_user_id_provider"),
        schema="identity",
    )
    op.create_table(
        "recovery_codes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        inner_key("recovery_codes", "user_id", "identity.users", "CASCADE"),
        tenant_key("recovery_codes"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_recovery_codes"),
        sa.UniqueConstraint("tenant_id", "user_id", "code_hash", name="uq_recovery_codes_tenant_id_user_id_code_hash"),
        schema="identity",
    )
    op.create_table(
        "sessions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.String(length=255), nullable=False),
        sa.Column("ip_address", postgresql.INET(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_activity", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("awaits_second_factor", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("second_factor_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role IN ('client', 'coach', 'admin', 'executive', 'compliance', 'evaluator')",
            name=op.f("ck_sessions_role"),
        ),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_sessions_expires_after_start")),
        inner_key("sessions", "user_id", "identity.users", "CASCADE"),
        tenant_key("sessions"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_sessions"),
        sa.UniqueConstraint("tenant_id", "token_hash", name="uq_sessions_tenant_id_token_hash"),
        schema="identity",
    )
    add_index("ix_sessions_expires", "identity.sessions", "tenant_id", "expires_at")
    add_index("ix_sessions_token_hash", "identity.sessions", "token_hash")
    add_index("ix_sessions_user", "identity.sessions", "tenant_id", "user_id")
    op.create_table(
        "user_connections",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("follower_id", sa.Uuid(), nullable=False),
        sa.Column("following_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("follower_id <> following_id", name=op.f("ck_user_connections_no_self_follow")),
        inner_key("user_connections", "follower_id", "identity.users", "CASCADE"),
        inner_key("user_connections", "following_id", "identity.users", "CASCADE"),
        tenant_key("user_connections"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_user_connections"),
        sa.UniqueConstraint(
            "tenant_id", "follower_id", "following_id", name="uq_user_connections_tenant_id_follower_id_following_id"
        ),
        schema="identity",
    )
    add_index("ix_user_connections_following", "identity.user_connections", "tenant_id", "following_id")
    op.create_table(
        "user_profiles",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("shown_email", sa.String(length=255), nullable=True),
        sa.Column("brand_name", sa.String(length=255), nullable=True),
        sa.Column("tagline", sa.String(length=500), nullable=True),
        sa.Column("bio", sa.Text(), nullable=True),
        sa.Column("mission_statement", sa.Text(), nullable=True),
        sa.Column("occupation", sa.String(length=255), nullable=True),
        sa.Column("industry", sa.String(length=100), nullable=True),
        sa.Column("years_experience", sa.Integer(), nullable=True),
        sa.Column("location", postgresql.JSONB(), nullable=True),
        sa.Column("show_email", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("show_phone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("social_links", postgresql.JSONB(), nullable=True),
        sa.Column("skills", postgresql.JSONB(), nullable=True),
        sa.Column("certifications", postgresql.JSONB(), nullable=True),
        sa.Column("hourly_rate", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("availability_status", sa.String(length=20), nullable=True),
        sa.Column("coaching_specialties", postgresql.JSONB(), nullable=True),
        sa.Column("profile_photo_url", sa.String(length=500), nullable=True),
        sa.Column("cover_photo_url", sa.String(length=500), nullable=True),
        sa.Column("portfolio_urls", postgresql.JSONB(), nullable=True),
        sa.Column("profile_visibility", sa.String(length=20), server_default="public", nullable=False),
        sa.Column("is_coach", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("coach_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("profile_completion_percent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("post_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("follower_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("following_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("session_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rating_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("average_rating", sa.Numeric(precision=3, scale=2), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "availability_status IN ('available', 'busy', 'away')", name=op.f("ck_user_profiles_availability_status")
        ),
        sa.CheckConstraint(
            "profile_visibility IN ('public', 'members_only', 'private')",
            name=op.f("ck_user_profiles_profile_visibility"),
        ),
        sa.CheckConstraint("average_rating BETWEEN 1 AND 5", name=op.f("ck_user_profiles_average_rating")),
        sa.CheckConstraint("hourly_rate >= 0", name=op.f("ck_user_profiles_hourly_rate")),
        sa.CheckConstraint(
            "least(post_count, follower_count, following_count, session_count, rating_count) >= 0",
            name=op.f("ck_user_profiles_counts"),
        ),
        sa.CheckConstraint(
            "profile_completion_percent BETWEEN 0 AND 100", name=op.f("ck_user_profiles_profile_completion_percent")
        ),
        sa.CheckConstraint("years_experience BETWEEN 0 AND 100", name=op.f("ck_user_profiles_years_experience")),
        inner_key("user_profiles", "user_id", "identity.users", "CASCADE"),
        tenant_key("user_profiles"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_user_profiles"),
        sa.UniqueConstraint("tenant_id", "user_id", name="uq_user_profiles_tenant_id_user_id"),
        schema="identity",
    )
    add_index(
        "ix_user_profiles_coach_status",
        "identity.user_profiles",
        "tenant_id",
        "availability_status",
        where="hourly_rate IS NOT NULL",
    )
    add_index("ix_user_profiles_location", "identity.user_profiles", "location", using="gin")
    add_index("ix_user_profiles_skills", "identity.user_profiles", "skills", using="gin")
    op.create_table(
        "user_roles",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_name", sa.String(length=50), nullable=False),
        sa.Column("granted_by", sa.Uuid(), nullable=True),
        sa.Column("granted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role_name IN ('client', 'coach', 'admin', 'executive', 'compliance', 'evaluator')",
            name=op.f("ck_user_roles_role_name"),
        ),
        sa.CheckConstraint(
            "expires_at IS NULL OR expires_at > granted_at", name=op.f("ck_user_roles_expires_after_grant")
        ),
        sa.CheckConstraint("revoked_at IS NULL OR revoked_at > granted_at", name=op.f("ck_user_roles_active_role")),
        inner_key("user_roles", "granted_by", "identity.users", "SET NULL"),
        inner_key("user_roles", "user_id", "identity.users", "CASCADE"),
        tenant_key("user_roles"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_user_roles"),
        schema="identity",
    )
    add_index(
        "ix_user_roles_role_name",
        "identity.user_roles",
        "tenant_id",
        "role_name",
        "user_id",
        where="revoked_at IS NULL",
    )
    add_index("ix_user_roles_user", "identity.user_roles", "tenant_id", "user_id")
    add_index(
        "uq_user_roles_active",
        "identity.user_roles",
        "tenant_id",
        "user_id",
        "role_name",
        unique=True,
        where="revoked_at IS NULL",
    )
    op.create_table(
        "user_settings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(length=10), server_default="en", nullable=False),
        sa.Column("timezone", sa.String(length=50), server_default="Africa/Nairobi", nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="KES", nullable=False),
        sa.Column(
            "email_notifications", postgresql.JSONB(), server_default=sa.text("'{\"all\": true}'"), nullable=False
        ),
        sa.Column(
            "sms_notifications", postgresql.JSONB(), server_default=sa.text("'{\"all\": false}'"), nullable=False
        ),
        sa.Column(
            "push_notifications", postgresql.JSONB(), server_default=sa.text("'{\"all\": true}'"), nullable=False
        ),
        sa.Column("profile_visibility", sa.String(length=20), server_default="public", nullable=False),
        sa.Column("show_activity", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("allow_messages", sa.String(length=20), server_default="all", nullable=False),
        sa.Column("theme", sa.String(length=10), server_default="light", nullable=False),
        sa.Column("dashboard_layout", postgresql.JSONB(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "allow_messages IN ('all', 'connections_only', 'off')", name=op.f("ck_user_settings_allow_messages")
        ),
        sa.CheckConstraint(
            "profile_visibility IN ('public', 'members_only', 'private')",
            name=op.f("ck_user_settings_profile_visibility"),
        ),
        sa.CheckConstraint("theme IN ('light', 'dark', 'auto')", name=op.f("ck_user_settings_theme")),
        inner_key("user_settings", "user_id", "identity.users", "CASCADE"),
        tenant_key("user_settings"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_user_settings"),
        sa.UniqueConstraint("tenant_id", "user_id", name="uq_user_settings_tenant_id_user_id"),
        schema="identity",
    )


def _change_users() -> None:
    op.add_column("users", sa.Column("two_factor_last_step", sa.BigInteger(), nullable=True), schema="identity")
    for column in ("phone_number", "two_factor_secret"):
        # Nothing wrote them yet, and plain text can't be taken for ciphertext.
        op.execute(f"ALTER TABLE identity.users ALTER COLUMN {column} TYPE bytea USING NULL")
    # The owner is bound by the table's policies unless they are lifted for a moment.
    op.execute("ALTER TABLE identity.users NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE identity.users SET email = lower(email) WHERE email <> lower(email)")
    op.execute(
        "UPDATE identity.users SET deleted_at = CASE WHEN status = 'deleted' THEN coalesce(deleted_at, updated_at) END "
        "WHERE (status = 'deleted') <> (deleted_at IS NOT NULL)"
    )
    op.execute("ALTER TABLE identity.users FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE identity.users ADD CONSTRAINT ck_users_email_lower CHECK (email = lower(email))")
    op.execute(
        "ALTER TABLE identity.users ADD CONSTRAINT ck_users_deleted_at "
        "CHECK ((status = 'deleted') = (deleted_at IS NOT NULL))"
    )


def _guard() -> None:
    own = f"user_id = {policies.USER}"
    for command in ("SELECT", "INSERT"):
        policies.allow("platform.encryption_keys", f"keeper_{command.lower()}", command, "true", to="regenesis_owner")
    # Looked up by the owner's functions before any tenant is bound.
    for table in ("identity.user_roles", "identity.sessions"):
        policies.isolate_tenants(table, to=policies.APP)
        policies.allow(table, "keeper", "ALL", "true", to="regenesis_owner")
        policies.isolate_owner_writes(table)
    policies.guard_reading(
        "identity.user_roles", f"{own} OR {policies.ROLE} IN ('admin', 'compliance')", to=policies.APP
    )
    policies.grant("identity.user_roles", "SELECT, INSERT, UPDATE (expires_at, revoked_at)")
    policies.guard_reading("identity.sessions", own, to=policies.APP)
    policies.grant("identity.sessions")

    # Written by the owner's triggers too.
    for table in ("identity.user_profiles", "identity.user_settings"):
        policies.isolate_tenants(table)
        policies.allow(table, "keeper", "ALL", "true", to="regenesis_owner")
        policies.allow(table, "own_update", "UPDATE", own)
    policies.guard_reading(
        "identity.user_profiles",
        f"{own} OR {policies.ROLE} = 'admin' OR user_id = ANY ({policies.CLIENTS}) "
        f"OR (profile_visibility <> 'private' AND {policies.ROLE} IN ('client', 'coach'))",
    )
    policies.grant(
        "identity.user_profiles", f"SELECT, UPDATE ({PROFILE_COLUMNS}, profile_completion_percent, updated_at)"
    )
    policies.guard_reading("identity.user_settings", own)
    policies.grant("identity.user_settings", f"SELECT, UPDATE ({SETTINGS_COLUMNS}, updated_at)")

    policies.isolate_tenants("identity.user_connections")
    policies.guard_reading("identity.user_connections", f"{policies.USER} IN (follower_id, following_id)")
    policies.allow("identity.user_connections", "own_insert", "INSERT", f"follower_id = {policies.USER}")
    policies.allow("identity.user_connections", "own_delete", "DELETE", f"follower_id = {policies.USER}")
    policies.grant("identity.user_connections", "SELECT, INSERT, DELETE")

    policies.guard_internal("identity.recovery_codes")
    policies.grant("identity.recovery_codes")
    policies.guard_private("identity.integrations")
    policies.grant("identity.integrations")

    policies.isolate_tenants("identity.consents")
    policies.guard_reading("identity.consents", f"{own} OR {policies.ROLE} = 'compliance'")
    policies.allow("identity.consents", "own_insert", "INSERT", own)
    policies.allow("identity.consents", "own_update", "UPDATE", own)
    policies.grant("identity.consents", "SELECT, INSERT, UPDATE (withdrawn_at)")


def _attach_triggers() -> None:
    for table, when, function in (
        ("users", "set_up AFTER INSERT", "set_up_person()"),
        ("users", "copy AFTER UPDATE OF full_name, email, status", "copy_to_profile('id')"),
        ("user_settings", "copy AFTER UPDATE OF profile_visibility", "copy_to_profile('user_id')"),
        ("user_profiles", "copy AFTER UPDATE OF show_email", "copy_to_profile('user_id')"),
        ("user_connections", "count AFTER INSERT OR DELETE", "count_connection()"),
    ):
        event, _, rest = when.partition(" ")
        op.execute(
            f"CREATE TRIGGER {event} {rest} ON identity.{table} FOR EACH ROW EXECUTE FUNCTION identity.{function}"
        )
    # Most people never coach: only a grant to coach is looked at, so that many people can be added at once.
    for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER coach_{event.lower()} AFTER {event} ON identity.user_roles FOR EACH ROW "
            f"WHEN ({row}.role_name = 'coach') EXECUTE FUNCTION identity.mark_coach()"
        )
    policies.audit_changes("identity.user_roles", "role_name")
    policies.audit_changes("identity.recovery_codes")
    policies.audit_changes("identity.integrations", "provider", "status")
    policies.audit_changes("identity.consents", "purpose", "version", "source")
    # What changes with every request or is counted by a trigger is no business state.
    policies.audit_changes(
        "identity.users", "role", "status",
        of="email, username, email_verified, password_hash, full_name, phone_number, phone_verified, role, status, "
        "two_factor_enabled, two_factor_secret, deleted_at",
    )  # fmt: skip
    policies.audit_changes("identity.sessions", "role", of="revoked_at, second_factor_at")
    policies.audit_changes(
        "identity.user_profiles", "availability_status", "currency", of=PROFILE_COLUMNS, inserts=False
    )
    policies.audit_changes(
        "identity.user_settings", "language", "timezone", "currency", "profile_visibility", "allow_messages", "theme",
        of=SETTINGS_COLUMNS, inserts=False,
    )  # fmt: skip


def downgrade() -> None:
    """Take back."""
    op.execute(BIND_READER % {"actual_role": ACTUAL_ROLE["0008"]})
    op.execute(FIND_PRINCIPAL_BEFORE)
    op.execute("DROP FUNCTION identity.find_session(text)")
    op.execute("DROP FUNCTION platform.list_data_keys(text), platform.add_data_key(text, text, bytea)")
    for command in ("select", "insert"):
        op.execute(f"DROP POLICY keeper_{command} ON platform.encryption_keys")
    for trigger in ("set_up", "copy", "audit"):
        op.execute(f"DROP TRIGGER {trigger} ON identity.users")
    for table in TABLES:
        op.execute(f"DROP TABLE identity.{table}")
    for function in ("set_up_person", "copy_to_profile", "mark_coach", "count_connection"):
        op.execute(f"DROP FUNCTION identity.{function}()")
    for constraint in ("email_lower", "deleted_at"):
        op.execute(f"ALTER TABLE identity.users DROP CONSTRAINT ck_users_{constraint}")
    op.execute("ALTER TABLE identity.users ALTER COLUMN phone_number TYPE varchar(50) USING NULL")
    op.execute("ALTER TABLE identity.users ALTER COLUMN two_factor_secret TYPE varchar(255) USING NULL")
    op.drop_column("users", "two_factor_last_step", schema="identity")
