"""Schema `identity`: people and the keys they call with."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, Timestamped, one_of, tenant_fk

ROLES = ("client", "coach", "admin", "executive", "compliance", "evaluator")
"""What a person may be; `system` is the pipelines' role and belongs to no person."""


class User(TenantRow, Timestamped, Base):
    """One person of one tenant (seeds 001 §6.1 and 002 §1.2)."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("tenant_id", "email"),
        UniqueConstraint("tenant_id", "username"),
        CheckConstraint(r"email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$'", name="email"),
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
    phone_number: Mapped[str | None] = mapped_column(String(50))
    phone_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    role: Mapped[str]
    status: Mapped[str] = mapped_column(String(20), server_default="active")
    last_login_at: Mapped[datetime | None]
    failed_login_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    locked_until: Mapped[datetime | None]
    two_factor_enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    two_factor_secret: Mapped[str | None] = mapped_column(String(255))
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
