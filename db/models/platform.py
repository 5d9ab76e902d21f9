"""Schema `platform`: tenants and what the operator configures for them."""

import datetime as dt
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, TenantScoped, Timestamped, one_of


class Tenant(Timestamped, Base):
    """One organisation: the root of isolation and of retention (seed 002 §1.1; 003's brand)."""

    __tablename__ = "tenants"
    __table_args__ = (
        one_of("status", ("active", "suspended", "deleted")),
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{1,62}$'", name="slug"),
        CheckConstraint("retention_days > 0", name="retention_days"),
        {"schema": "platform"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="active")
    retention_days: Mapped[int | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))


class SystemAdmin(Base):
    """One operator of the whole platform; never changed, never deleted (seed 002 §2.1)."""

    __tablename__ = "system_admins"
    __table_args__ = ({"schema": "platform"},)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    email: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    immutable: Mapped[bool] = mapped_column(server_default=text("true"))


class SystemSetting(Base):
    """One platform-wide setting (seed 001 §6.9)."""

    __tablename__ = "system_settings"
    __table_args__ = ({"schema": "platform"},)

    setting_key: Mapped[str] = mapped_column(String(100), primary_key=True)
    setting_value: Mapped[dict[str, Any]]
    description: Mapped[str | None]
    is_public: Mapped[bool] = mapped_column(server_default=text("false"))
    updated_by: Mapped[UUID | None] = mapped_column(ForeignKey("platform.system_admins.id"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class LlmProvider(Base):
    """One kind of language-model endpoint tenants can be configured for (seed 002 §8.1)."""

    __tablename__ = "llm_providers"
    __table_args__ = (one_of("type", ("openai_compatible", "extractive")), {"schema": "platform"})

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    name: Mapped[str] = mapped_column(unique=True)
    type: Mapped[str]
    base_url: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TenantLlmConfig(TenantRow, Base):
    """One provider and model a tenant uses; tried in order of `priority`, the lowest first (seed 002 §8.2)."""

    __tablename__ = "tenant_llm_config"
    __table_args__ = (
        UniqueConstraint("tenant_id", "priority"),
        CheckConstraint("max_tokens BETWEEN 16 AND 32768", name="max_tokens"),
        CheckConstraint("temperature BETWEEN 0 AND 2", name="temperature"),
        {"schema": "platform"},
    )

    provider_id: Mapped[UUID] = mapped_column(ForeignKey("platform.llm_providers.id"))
    model_name: Mapped[str]
    priority: Mapped[int]
    max_tokens: Mapped[int] = mapped_column(server_default=text("1024"))
    temperature: Mapped[float] = mapped_column(server_default=text("0.2"))
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))


class TenantQuota(TenantScoped, Base):
    """The limits of one tenant by day, by month and in all; null means no limit (seed 002 §9.1)."""

    __tablename__ = "tenant_quotas"
    __table_args__ = ({"schema": "platform"},)

    max_tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)
    max_ingestions_day: Mapped[int | None]
    max_storage_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_model_usd_month: Mapped[Decimal | None]
    """What models that derive and evaluate may cost, in USD a calendar month."""


FEATURES = ("chat", "search", "embedding", "evidence", "evaluation", "ingestion")
"""What is counted apart: questions, searches, vectors of material, derivations, evaluations, objects taken in."""

NO_FLOW = UUID(int=0)
"""In `usage_metrics`, what no flow run began: unique keys take no null for equal."""


class UsageMetric(TenantRow, Base):
    """What one tenant used on one day (UTC) for one feature in one flow run (seed 002 §9.2); partitioned by month.

    `flow_run_id` is all zeros outside of flows. `cost_usd` sums the calls whose price is known, null where none was;
    `unpriced` counts the others. `storage_used` are bytes taken in. Written by `platform.settle_usage` alone.
    """

    __tablename__ = "usage_metrics"
    __table_args__ = (
        UniqueConstraint("tenant_id", "date", "feature", "flow_run_id"),
        one_of("feature", ("all", *FEATURES)),
        CheckConstraint(
            "least(tokens_used, input_tokens, output_tokens, requests, ingestions, unpriced, storage_used, cost_usd) "
            ">= 0",
            name="counted_up",
        ),
        {"schema": "platform", "postgresql_partition_by": "RANGE (date)"},
    )

    date: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    feature: Mapped[str] = mapped_column(server_default="all")
    tokens_used: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    requests: Mapped[int] = mapped_column(server_default=text("0"))
    storage_used: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    cost_usd: Mapped[Decimal | None]
    flow_run_id: Mapped[UUID] = mapped_column(server_default=str(NO_FLOW))
    input_tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    output_tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    ingestions: Mapped[int] = mapped_column(server_default=text("0"))
    unpriced: Mapped[int] = mapped_column(server_default=text("0"))


class QuotaCounter(TenantScoped, Base):
    """What counts towards one limit of one tenant in its running period; functions and triggers count, nobody writes.

    `period` is the day (UTC) of tokens and ingestions, the first of the month of usd, and 1970-01-01 for storage.
    """

    __tablename__ = "quota_counters"
    __table_args__ = (
        one_of("kind", ("tokens", "ingestions", "storage", "usd")),
        CheckConstraint("used >= 0", name="used"),
        {"schema": "platform"},
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    used: Mapped[Decimal] = mapped_column(server_default=text("0"))


class QuotaReservation(TenantRow, Base):
    """What one piece of work under way may take at most of the tenant's limits; it lapses where the work died."""

    __tablename__ = "quota_reservations"
    __table_args__ = (
        CheckConstraint("least(tokens, ingestions, bytes, usd) >= 0", name="amounts"),
        {"schema": "platform"},
    )

    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    ingestions: Mapped[int] = mapped_column(server_default=text("0"))
    bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    usd: Mapped[Decimal] = mapped_column(server_default=text("0"))
    lapses_at: Mapped[datetime]


class ModelPrice(TenantRow, Base):
    """What one tenant pays for models of a name from a moment on, in USD a million tokens; it wins over list prices.

    `service` and `model` may hold `*` for any characters. `cached_usd` is for input the service had read before.
    """

    __tablename__ = "model_prices"
    __table_args__ = (
        UniqueConstraint("tenant_id", "service", "model", "valid_from"),
        CheckConstraint("length(service) BETWEEN 1 AND 300 AND length(model) BETWEEN 1 AND 200", name="names"),
        CheckConstraint("least(input_usd, output_usd, cached_usd) >= 0", name="prices"),
        {"schema": "platform"},
    )

    service: Mapped[str] = mapped_column(server_default="*")
    model: Mapped[str]
    input_usd: Mapped[Decimal]
    output_usd: Mapped[Decimal]
    cached_usd: Mapped[Decimal | None]
    valid_from: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class EncryptionKey(TenantRow, Base):
    """One data key of a tenant, wrapped by its key in the keyring; destroyed keys keep the row, not the key (seed 000).

    `reencrypted` counts the values that a rotation moved to this version; `reencrypting` marks its transaction.
    """

    __tablename__ = "encryption_keys"
    __table_args__ = (
        UniqueConstraint("tenant_id", "purpose", "version"),
        CheckConstraint("(wrapped_key IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),
        {"schema": "platform"},
    )

    purpose: Mapped[str]
    version: Mapped[int]
    algorithm: Mapped[str] = mapped_column(server_default="AES-256-GCM")
    master_key_id: Mapped[str]
    wrapped_key: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    retired_at: Mapped[datetime | None]
    reencrypting: Mapped[int | None] = mapped_column(BigInteger)
    reencrypted: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    destroyed_at: Mapped[datetime | None]


class Entitlement(TenantRow, Base):
    """One feature that a tenant's tier may or may not use (seed 003)."""

    __tablename__ = "entitlements"
    __table_args__ = (UniqueConstraint("tenant_id", "tier", "feature"), {"schema": "platform"})

    tier: Mapped[str]
    feature: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


Index("ix_tenant_llm_config_provider_id", TenantLlmConfig.provider_id)


class Backup(Base):
    """One attempt to back up the whole store; the backup itself, sealed, lies at `url`. Belongs to no tenant."""

    __tablename__ = "backups"
    __table_args__ = (
        one_of("status", ("good", "failed", "pruned")),
        CheckConstraint(
            "(status = 'failed') = (error IS NOT NULL) AND (status = 'failed') = (finished_at IS NULL)", name="failed"
        ),
        Index("ix_backups_started_at", "started_at"),
        {"schema": "platform"},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    url: Mapped[str]
    started_at: Mapped[datetime]
    snapshot_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    revision: Mapped[str | None]
    tables: Mapped[int | None]
    rows: Mapped[int | None] = mapped_column(BigInteger)
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    objects: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None]


class Drill(Base):
    """One restore of a backup into a fresh server: whether all was there, how long it took. Belongs to no tenant."""

    __tablename__ = "drills"
    __table_args__ = (Index("ix_drills_started_at", "started_at"), {"schema": "platform"})

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    backup_id: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    passed: Mapped[bool]
    recovery_point_seconds: Mapped[float | None]
    recovery_seconds: Mapped[float | None]
    phases: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    differences: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
