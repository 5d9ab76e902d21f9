"""Schema `identity`: people, what they may be, how they show themselves, and what they call with."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, encrypted, one_of, tenant_fk

ROLES = ("client", "coach", "admin", "executive", "compliance", "evaluator")
"""What a person may be; `system` is the pipelines' role and belongs to no person."""


AVAILABILITIES = ("available", "busy", "away")
PROFILE_VISIBILITIES = ("public", "members_only", "private")
MESSAGE_AUDIENCES = ("all", "connections_only", "off")
THEMES = ("light", "dark", "auto")
CONSENT_PURPOSES = (
    "terms_of_service", "privacy_policy", "session_recording", "assistant", "evidence", "evaluation", "analytics",
    "external_model", "research", "marketing",
)  # fmt: skip
PROCESSING_PURPOSES = ("assistant", "evidence", "analytics", "external_model")
"""What is done unless a person withdraws, or before they agree where the organisation's text requires that."""


class User(TenantRow, Timestamped, Base):
    """One person of one tenant (seeds 001 §6.1 and 002 §1.2).

    `role` is the one a sign-in acts in by default; what a person may be stands in `user_roles`. The unique keys
    serve the look-ups by address and name, so 001's two partial indexes on the same columns are not repeated.
    Phone number and second-factor secret are ciphertext of the tenant's key.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("tenant_id", "email"),
        UniqueConstraint("tenant_id", "username"),
        CheckConstraint(r"email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$'", name="email"),
        CheckConstraint("email = lower(email)", name="email_lower"),
        CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", name="deleted_at"),
        one_of("status", ("active", "suspended", "deleted", "pending_verification")),
        one_of("role", ROLES),
        Index("ix_users_status", "tenant_id", "status"),
        Index("ix_users_created_at", "tenant_id", "created_at"),
        {"schema": "identity"},
    )

    email: Mapped[str] = mapped_column(String(255))
    username: Mapped[str | None] = mapped_column(String(100))
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    full_name: Mapped[str] = mapped_column(String(255))
    phone_number: Mapped[bytes | None] = encrypted()
    phone_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    role: Mapped[str]
    status: Mapped[str] = mapped_column(String(20), server_default="active")
    last_login_at: Mapped[datetime | None]
    failed_login_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    locked_until: Mapped[datetime | None]
    two_factor_enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    two_factor_secret: Mapped[bytes | None] = encrypted()
    two_factor_last_step: Mapped[int | None] = mapped_column(BigInteger)
    deleted_at: Mapped[datetime | None]


class ApiKey(TenantRow, Base):
    """One key a user calls the API with; only its SHA-256 is stored (seed 002 §1.3)."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("tenant_id", "hashed_key"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        # The one look-up that does not know its tenant yet.
        Index("ix_api_keys_hashed_key", "hashed_key"),
        Index("ix_api_keys_user_id", "tenant_id", "user_id"),
        {"schema": "identity"},
    )

    user_id: Mapped[UUID]
    name: Mapped[str]
    hashed_key: Mapped[str]
    scope: Mapped[str] = mapped_column(server_default="chat search ingest")
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]


class UserRole(TenantRow, Base):
    """One person may be something from `granted_at` until it expires or is revoked (seed 001 §6.1).

    001's member is our client; partners are organisations here, and its super admin is `platform.system_admins`.
    """

    __tablename__ = "user_roles"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("granted_by", "identity.users", ondelete="SET NULL"),
        one_of("role_name", ROLES),
        CheckConstraint("revoked_at IS NULL OR revoked_at > granted_at", name="active_role"),
        CheckConstraint("expires_at IS NULL OR expires_at > granted_at", name="expires_after_grant"),
        Index("ix_user_roles_user", "tenant_id", "user_id"),
        # A predicate can't ask for the time: what has expired is closed before the same role is granted again.
        Index(
            "uq_user_roles_active", "tenant_id", "user_id", "role_name",
            unique=True, postgresql_where=text("revoked_at IS NULL"),
        ),
        Index(
            "ix_user_roles_role_name", "tenant_id", "role_name", "user_id", postgresql_where=text("revoked_at IS NULL")
        ),
        {"schema": "identity"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    role_name: Mapped[str] = mapped_column(String(50))
    granted_by: Mapped[UUID | None]
    granted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class UserProfile(TenantRow, Timestamped, Base):
    """How one person shows themself to the others of the tenant (seed 001 §6.1); made with the user, by trigger.

    Others read this and not `users`. The database keeps the copies (`display_name`, `shown_email`,
    `profile_visibility` from users and settings; `is_coach`, `coach_until` from the grants) and all counts.
    """

    __tablename__ = "user_profiles"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("availability_status", AVAILABILITIES),
        one_of("profile_visibility", PROFILE_VISIBILITIES),
        CheckConstraint("hourly_rate >= 0", name="hourly_rate"),
        CheckConstraint("years_experience BETWEEN 0 AND 100", name="years_experience"),
        CheckConstraint("profile_completion_percent BETWEEN 0 AND 100", name="profile_completion_percent"),
        CheckConstraint("average_rating BETWEEN 1 AND 5", name="average_rating"),
        CheckConstraint("completed_session_count >= 0", name="completed_session_count"),
        CheckConstraint(
            "least(post_count, follower_count, following_count, session_count, rating_count) >= 0",
            name="counts",
        ),
        Index("ix_user_profiles_skills", "skills", postgresql_using="gin"),
        Index("ix_user_profiles_location", "location", postgresql_using="gin"),
        Index(
            "ix_user_profiles_coach_status", "tenant_id", "availability_status",
            postgresql_where=text("hourly_rate IS NOT NULL"),
        ),
        # The directory of coaches (001 §4 P4), the best rated first.
        Index(
            "ix_user_profiles_directory", "tenant_id", text("average_rating DESC NULLS LAST"),
            text("completed_session_count DESC"), text("user_id DESC"), postgresql_where=text("is_coach"),
        ),
        {"schema": "identity"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    display_name: Mapped[str] = mapped_column(String(255))
    shown_email: Mapped[str | None] = mapped_column(String(255))
    brand_name: Mapped[str | None] = mapped_column(String(255))
    tagline: Mapped[str | None] = mapped_column(String(500))
    bio: Mapped[str | None]
    mission_statement: Mapped[str | None]
    occupation: Mapped[str | None] = mapped_column(String(255))
    industry: Mapped[str | None] = mapped_column(String(100))
    years_experience: Mapped[int | None]
    location: Mapped[dict[str, Any] | None]
    show_email: Mapped[bool] = mapped_column(server_default=text("false"))
    show_phone: Mapped[bool] = mapped_column(server_default=text("false"))
    social_links: Mapped[dict[str, Any] | None]
    skills: Mapped[list[Any] | None]
    certifications: Mapped[list[Any] | None]
    hourly_rate: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    availability_status: Mapped[str | None] = mapped_column(String(20))
    coaching_specialties: Mapped[list[Any] | None]
    profile_photo_url: Mapped[str | None] = mapped_column(String(500))
    cover_photo_url: Mapped[str | None] = mapped_column(String(500))
    portfolio_urls: Mapped[list[Any] | None]
    profile_visibility: Mapped[str] = mapped_column(String(20), server_default="public")
    is_coach: Mapped[bool] = mapped_column(server_default=text("false"))
    coach_until: Mapped[datetime | None]
    profile_completion_percent: Mapped[int] = mapped_column(server_default=text("0"))
    post_count: Mapped[int] = mapped_column(server_default=text("0"))
    follower_count: Mapped[int] = mapped_column(server_default=text("0"))
    following_count: Mapped[int] = mapped_column(server_default=text("0"))
    session_count: Mapped[int] = mapped_column(server_default=text("0"))
    completed_session_count: Mapped[int] = mapped_column(server_default=text("0"))
    rating_count: Mapped[int] = mapped_column(server_default=text("0"))
    average_rating: Mapped[Decimal | None] = mapped_column(Numeric(3, 2))


class UserConnection(TenantRow, Base):
    """One person follows another (seed 001 §6.1)."""

    __tablename__ = "user_connections"
    __table_args__ = (
        UniqueConstraint("tenant_id", "follower_id", "following_id"),
        tenant_fk("follower_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("following_id", "identity.users", ondelete="CASCADE"),
        CheckConstraint("follower_id <> following_id", name="no_self_follow"),
        Index("ix_user_connections_following", "tenant_id", "following_id"),
        {"schema": "identity"},
    )

    follower_id: Mapped[UUID]
    following_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuthSession(TenantRow, Base):
    """One sign-in of one person in one role, until it expires or is revoked (seed 001 §6.1).

    Only the SHA-256 of its token is stored. While it awaits the second factor its token is good for nothing else.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "token_hash"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("role", ROLES),
        CheckConstraint("expires_at > created_at", name="expires_after_start"),
        # The look-up that does not know its tenant yet.
        Index("ix_sessions_token_hash", "token_hash"),
        Index("ix_sessions_user", "tenant_id", "user_id"),
        Index("ix_sessions_expires", "tenant_id", "expires_at"),
        {"schema": "identity"},
    )

    user_id: Mapped[UUID]
    role: Mapped[str]
    token_hash: Mapped[str] = mapped_column(String(255))
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    last_activity: Mapped[datetime] = mapped_column(server_default=func.now())
    awaits_second_factor: Mapped[bool] = mapped_column(server_default=text("false"))
    second_factor_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RecoveryCode(TenantRow, Base):
    """One code that replaces the second factor once; only its hash is stored."""

    __tablename__ = "recovery_codes"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id", "code_hash"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        {"schema": "identity"},
    )

    user_id: Mapped[UUID]
    code_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    used_at: Mapped[datetime | None]


class UserSettings(TenantRow, Base):
    """One person's preferences (seed 001 §6.9); made with the user, by trigger."""

    __tablename__ = "user_settings"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("profile_visibility", PROFILE_VISIBILITIES),
        one_of("allow_messages", MESSAGE_AUDIENCES),
        one_of("theme", THEMES),
        {"schema": "identity"},
    )

    user_id: Mapped[UUID]
    language: Mapped[str] = mapped_column(String(10), server_default="en")
    timezone: Mapped[str] = mapped_column(String(50), server_default="Africa/Nairobi")
    currency: Mapped[str] = mapped_column(String(3), server_default="KES")
    email_notifications: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{\"all\": true}'"))
    sms_notifications: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{\"all\": false}'"))
    push_notifications: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{\"all\": true}'"))
    profile_visibility: Mapped[str] = mapped_column(String(20), server_default="public")
    show_activity: Mapped[bool] = mapped_column(server_default=text("true"))
    allow_messages: Mapped[str] = mapped_column(String(20), server_default="all")
    theme: Mapped[str] = mapped_column(String(10), server_default="light")
    dashboard_layout: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Integration(TenantRow, Timestamped, Base):
    """One account of a person elsewhere that we may use; its tokens are ciphertext of the tenant's key (seed 004)."""

    __tablename__ = "integrations"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id", "provider"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("status", ("active", "expired", "revoked", "failed")),
        {"schema": "identity"},
    )

    user_id: Mapped[UUID]
    provider: Mapped[str] = mapped_column(String(50))
    access_token: Mapped[bytes | None] = encrypted()
    refresh_token: Mapped[bytes | None] = encrypted()
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String(200)), server_default=text("'{}'"))
    expires_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(20), server_default="active")


class Consent(TenantRow, Base):
    """One person's consent to one version of one purpose, from when and until when (seed 000, store 1).

    Withdrawing closes the row; consenting again is a new one, so the history is complete.
    """

    __tablename__ = "consents"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("purpose", CONSENT_PURPOSES),
        one_of("source", ("web", "api", "import", "admin")),
        CheckConstraint("withdrawn_at IS NULL OR withdrawn_at >= granted_at", name="withdrawn_after_grant"),
        Index(
            "uq_consents_running", "tenant_id", "user_id", "purpose", "version",
            unique=True, postgresql_where=text("withdrawn_at IS NULL"),
        ),
        Index("ix_consents_user", "tenant_id", "user_id", "granted_at"),
        {"schema": "identity"},
    )  # fmt: skip

    user_id: Mapped[UUID]
    purpose: Mapped[str] = mapped_column(String(50))
    version: Mapped[str] = mapped_column(String(50))
    granted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    withdrawn_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(String(20), server_default="api")


class ConsentText(TenantRow, Base):
    """One version of what people agree to for one purpose, by its hash; the newest says whether clients must first."""

    __tablename__ = "consent_texts"
    __table_args__ = (
        one_of("purpose", CONSENT_PURPOSES),
        CheckConstraint("text_hash ~ '^[0-9a-f]{64}$'", name="text_hash"),
        UniqueConstraint("tenant_id", "purpose", "version"),
        {"schema": "identity"},
    )

    purpose: Mapped[str] = mapped_column(String(50))
    version: Mapped[str] = mapped_column(String(50))
    text_hash: Mapped[str]
    is_required: Mapped[bool] = mapped_column(server_default=text("false"))
    published_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class WithheldPurpose(TenantScoped, Base):
    """One purpose for which one person's material may not be processed now; worked out of consents by trigger."""

    __tablename__ = "withheld_purposes"
    __table_args__ = (
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        one_of("purpose", PROCESSING_PURPOSES),
        Index("ix_withheld_purposes_purpose", "tenant_id", "purpose", "user_id"),
        {"schema": "identity"},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(String(50), primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
