"""Schema `partners`: organisations we work with, and the groups of people they send."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TenantRow, Timestamped, encrypted, one_of, tenant_fk

PARTNER_TYPES = ("corporate", "academic", "ngo", "government", "cec_franchise", "sponsor")
PARTNER_TIERS = ("bronze", "silver", "gold", "platinum")
PARTNER_STATUSES = ("active", "inactive", "suspended")
COHORT_STATUSES = ("active", "completed", "cancelled")
MEMBER_STATUSES = ("active", "completed", "dropped")


class Partner(TenantRow, Timestamped, Base):
    """One organisation the tenant works with (seed 001 §6.7); `deleted_at` starts its 30 days of grace.

    Triggers keep the three metrics. The contact's phone number is ciphertext of the tenant's key.
    """

    __tablename__ = "partners"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        tenant_fk("primary_contact_user_id", "identity.users", ondelete="SET NULL"),
        one_of("partner_type", PARTNER_TYPES),
        one_of("partnership_tier", PARTNER_TIERS),
        one_of("status", PARTNER_STATUSES),
        CheckConstraint("partnership_end_date >= partnership_start_date", name="partnership_dates"),
        CheckConstraint("active_participants BETWEEN 0 AND total_participants", name="participants"),
        CheckConstraint("certifications_issued >= 0", name="certifications_issued"),
        Index("ix_partners_type", "tenant_id", "partner_type"),
        Index("ix_partners_status", "tenant_id", "status", postgresql_where=text("status = 'active'")),
        Index("ix_partners_contact", "tenant_id", "primary_contact_user_id"),
        Index("ix_partners_created_at", "tenant_id", "created_at", "id"),
        {"schema": "partners"},
    )

    organization_name: Mapped[str] = mapped_column(String(500))
    slug: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    partner_type: Mapped[str] = mapped_column(String(30))
    primary_contact_user_id: Mapped[UUID | None]
    contact_email: Mapped[str | None] = mapped_column(String(255))
    contact_phone: Mapped[bytes | None] = encrypted()
    website_url: Mapped[str | None] = mapped_column(String(500))
    headquarters_location: Mapped[dict[str, Any] | None]
    operating_regions: Mapped[list[Any] | None]
    logo_url: Mapped[str | None] = mapped_column(String(500))
    brand_colors: Mapped[dict[str, Any] | None]
    partnership_tier: Mapped[str | None] = mapped_column(String(20))
    partnership_start_date: Mapped[date | None]
    partnership_end_date: Mapped[date | None]
    programs_enrolled: Mapped[list[Any] | None]
    custom_programs: Mapped[dict[str, Any] | None]
    total_participants: Mapped[int] = mapped_column(server_default=text("0"))
    active_participants: Mapped[int] = mapped_column(server_default=text("0"))
    certifications_issued: Mapped[int] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(String(20), server_default="active")
    is_featured: Mapped[bool] = mapped_column(server_default=text("false"))
    deleted_at: Mapped[datetime | None]


class PartnerCohort(TenantRow, Timestamped, Base):
    """One group a partner sends through one program (seed 001 §6.7).

    A trigger keeps `enrolled_count`, those not dropped; the check on it holds `max_participants` whoever writes.
    """

    __tablename__ = "partner_cohorts"
    __table_args__ = (
        # What members refer to, so that a member's partner is their cohort's.
        UniqueConstraint("tenant_id", "id", "partner_id"),
        tenant_fk("partner_id", "partners.partners", ondelete="CASCADE"),
        tenant_fk("program_id", "learning.programs"),
        one_of("status", COHORT_STATUSES),
        CheckConstraint("end_date >= start_date", name="dates"),
        CheckConstraint("enrolled_count >= 0 AND enrolled_count <= max_participants", name="max_participants"),
        Index("ix_partner_cohorts_partner", "tenant_id", "partner_id"),
        Index("ix_partner_cohorts_program", "tenant_id", "program_id"),
        Index("ix_partner_cohorts_dates", "tenant_id", "start_date", "end_date"),
        {"schema": "partners"},
    )

    partner_id: Mapped[UUID]
    program_id: Mapped[UUID]
    cohort_name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None]
    start_date: Mapped[date]
    end_date: Mapped[date | None]
    max_participants: Mapped[int | None]
    enrolled_count: Mapped[int] = mapped_column(server_default=text("0"))
    is_white_labeled: Mapped[bool] = mapped_column(server_default=text("false"))
    custom_branding: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(String(20), server_default="active")


class CohortMember(TenantRow, Base):
    """One person in one partner's cohort (seed 001 §6.7); triggers keep `is_certified`, which the partner counts."""

    __tablename__ = "cohort_members"
    __table_args__ = (
        UniqueConstraint("tenant_id", "cohort_id", "user_id"),
        tenant_fk(("cohort_id", "partner_id"), "partners.partner_cohorts(id, partner_id)", ondelete="CASCADE"),
        tenant_fk("user_id", "identity.users", ondelete="CASCADE"),
        tenant_fk("enrollment_id", "learning.enrollments", ondelete="SET NULL"),
        one_of("status", MEMBER_STATUSES),
        Index("ix_cohort_members_user", "tenant_id", "user_id"),
        Index("ix_cohort_members_enrollment", "tenant_id", "enrollment_id"),
        Index("ix_cohort_members_joined", "tenant_id", "cohort_id", "joined_at", "id"),
        {"schema": "partners"},
    )

    cohort_id: Mapped[UUID]
    partner_id: Mapped[UUID]
    user_id: Mapped[UUID]
    enrollment_id: Mapped[UUID | None]
    employee_id: Mapped[str | None] = mapped_column(String(100))
    department: Mapped[str | None] = mapped_column(String(100))
    role: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20), server_default="active")
    joined_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
    is_certified: Mapped[bool] = mapped_column(server_default=text("false"))
