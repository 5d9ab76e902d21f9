"""Partners, their cohorts and members."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, tenant_key
from db.counting import keep_counts

revision = "0017"
down_revision = "0016"

MARK_CERTIFIED = """
CREATE FUNCTION partners.mark_certified() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE partners.cohort_members m SET is_certified = TG_OP <> 'DELETE' AND NOT coalesce(NEW.is_revoked, false)
    WHERE m.tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id)
      AND m.enrollment_id = coalesce(NEW.enrollment_id, OLD.enrollment_id);
    RETURN NULL;
END $$
"""

FIND_CERTIFICATE = """
CREATE FUNCTION partners.find_certificate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Whoever joins a cohort with an enrolment that was certified before counts too.
    NEW.is_certified := NEW.enrollment_id IS NOT NULL AND EXISTS (
        SELECT FROM learning.certificates c
        WHERE c.tenant_id = NEW.tenant_id AND c.enrollment_id = NEW.enrollment_id AND NOT c.is_revoked);
    RETURN NEW;
END $$
"""

PARTNER_COLUMNS = (
    "organization_name, slug, description, partner_type, primary_contact_user_id, contact_email, contact_phone, "
    "website_url, headquarters_location, operating_regions, logo_url, brand_colors, partnership_tier, "
    "partnership_start_date, partnership_end_date, programs_enrolled, custom_programs, status, is_featured, deleted_at"
)
COHORT_COLUMNS = "program_id, cohort_name, description, start_date, end_date, max_participants, is_white_labeled, custom_branding, status"
MEMBER_COLUMNS = "enrollment_id, employee_id, department, role, status, completed_at"


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA partners")
    op.execute("GRANT USAGE ON SCHEMA partners TO regenesis_app")
    _create_tables()
    keep_counts(
        "partners.cohort_members",
        ("partners.partner_cohorts", "id", "cohort_id", {"enrolled_count": "status <> 'dropped'"}),
        (
            "partners.partners", "id", "partner_id",
            {"total_participants": "true", "active_participants": "status = 'active'", "certifications_issued": "is_certified"},
        ),
    )  # fmt: skip
    op.execute(MARK_CERTIFIED)
    op.execute(
        "CREATE TRIGGER certify AFTER INSERT OR DELETE OR UPDATE OF is_revoked ON learning.certificates "
        "FOR EACH ROW EXECUTE FUNCTION partners.mark_certified()"
    )
    op.execute(FIND_CERTIFICATE)
    op.execute(
        "CREATE TRIGGER certify BEFORE INSERT OR UPDATE OF enrollment_id ON partners.cohort_members "
        "FOR EACH ROW EXECUTE FUNCTION partners.find_certificate()"
    )
    _guard()
    _audit()


def _guard() -> None:
    admin = f"{policies.ROLE} = 'admin'"
    for table in ("partners", "partner_cohorts", "cohort_members"):
        policies.isolate_tenants(f"partners.{table}")
        policies.allow(f"partners.{table}", "keeper", "ALL", "true", to="regenesis_owner")
    policies.guard_reading(
        "partners.partners",
        f"{admin} OR primary_contact_user_id = {policies.USER} "
        f"OR (deleted_at IS NULL AND status = 'active' AND {policies.ROLE} IN ('client', 'coach'))",
    )
    # A partner's own contact sees its cohorts and who is in them; a member sees their own cohort.
    own_partner = (
        f"partner_id IN (SELECT p.id FROM partners.partners p WHERE p.primary_contact_user_id = {policies.USER} "
        "AND p.deleted_at IS NULL)"
    )
    policies.guard_reading("partners.cohort_members", f"{admin} OR user_id = {policies.USER} OR {own_partner}")
    policies.guard_reading(
        "partners.partner_cohorts",
        f"{admin} OR {own_partner} "
        f"OR id IN (SELECT m.cohort_id FROM partners.cohort_members m WHERE m.user_id = {policies.USER})",
    )
    policies.grant("partners.partners", f"SELECT, INSERT, DELETE, UPDATE ({PARTNER_COLUMNS}, updated_at)")
    policies.grant("partners.partner_cohorts", f"SELECT, INSERT, DELETE, UPDATE ({COHORT_COLUMNS}, updated_at)")
    policies.grant("partners.cohort_members", f"SELECT, INSERT, DELETE, UPDATE ({MEMBER_COLUMNS})")


def _audit() -> None:
    # Counters change with every member, who leaves a row of their own.
    policies.audit_changes("partners.partners", "partner_type", "partnership_tier", "status", of=PARTNER_COLUMNS)
    policies.audit_changes("partners.partner_cohorts", "status", of=COHORT_COLUMNS)
    policies.audit_changes("partners.cohort_members", "status", of=MEMBER_COLUMNS)
    policies.view_audit("partners")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER certify ON learning.certificates")
    op.execute("DROP SCHEMA partners CASCADE")


def _create_tables() -> None:
    op.create_table(
        "partners",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("organization_name", sa.String(length=500), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("partner_type", sa.String(length=30), nullable=False),
        sa.Column("primary_contact_user_id", sa.Uuid(), nullable=True),
        sa.Column("contact_email", sa.String(length=255), nullable=True),
        sa.Column("contact_phone", sa.LargeBinary(), nullable=True),
        sa.Column("website_url", sa.String(length=500), nullable=True),
        sa.Column("headquarters_location", postgresql.JSONB(), nullable=True),
        sa.Column("operating_regions", postgresql.JSONB(), nullable=True),
        sa.Column("logo_url", sa.String(length=500), nullable=True),
        sa.Column("brand_colors", postgresql.JSONB(), nullable=True),
        sa.Column("partnership_tier", sa.String(length=20), nullable=True),
        sa.Column("partnership_start_date", sa.Date(), nullable=True),
        sa.Column("partnership_end_date", sa.Date(), nullable=True),
        sa.Column("programs_enrolled", postgresql.JSONB(), nullable=True),
        sa.Column("custom_programs", postgresql.JSONB(), nullable=True),
        sa.Column("total_participants", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("active_participants", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("certifications_issued", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "partner_type IN ('corporate', 'academic', 'ngo', 'government', 'cec_franchise', 'sponsor')",
            name=op.f("ck_partners_partner_type"),
        ),
        sa.CheckConstraint(
            "partnership_tier IN ('bronze', 'silver', 'gold', 'platinum')", name=op.f("ck_partners_partnership_tier")
        ),
        sa.CheckConstraint("status IN ('active', 'inactive', 'suspended')", name=op.f("ck_partners_status")),
        sa.CheckConstraint(
            "active_participants BETWEEN 0 AND total_participants", name=op.f("ck_partners_participants")
        ),
        sa.CheckConstraint("certifications_issued >= 0", name=op.f("ck_partners_certifications_issued")),
        sa.CheckConstraint(
            "partnership_end_date >= partnership_start_date", name=op.f("ck_partners_partnership_dates")
        ),
        inner_key("partners", "primary_contact_user_id", "identity.users", "SET NULL"),
        tenant_key("partners"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_partners"),
        sa.UniqueConstraint("tenant_id", "slug", name="uq_partners_tenant_id_slug"),
        schema="partners",
    )
    add_index("ix_partners_contact", "partners.partners", "tenant_id", "primary_contact_user_id")
    add_index("ix_partners_created_at", "partners.partners", "tenant_id", "created_at", "id")
    add_index("ix_partners_status", "partners.partners", "tenant_id", "status", where="status = 'active'")
    add_index("ix_partners_type", "partners.partners", "tenant_id", "partner_type")
    op.create_table(
        "partner_cohorts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("partner_id", sa.Uuid(), nullable=False),
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("cohort_name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=False),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("max_participants", sa.Integer(), nullable=True),
        sa.Column("enrolled_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_white_labeled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("custom_branding", postgresql.JSONB(), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'completed', 'cancelled')", name=op.f("ck_partner_cohorts_status")),
        sa.CheckConstraint("end_date >= start_date", name=op.f("ck_partner_cohorts_dates")),
        sa.CheckConstraint(
            "enrolled_count >= 0 AND enrolled_count <= max_participants",
            name=op.f("ck_partner_cohorts_max_participants"),
        ),
        inner_key("partner_cohorts", "partner_id", "partners.partners", "CASCADE"),
        inner_key("partner_cohorts", "program_id", "learning.programs"),
        tenant_key("partner_cohorts"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_partner_cohorts"),
        sa.UniqueConstraint("tenant_id", "id", "partner_id", name="uq_partner_cohorts_tenant_id_id_partner_id"),
        schema="partners",
    )
    add_index("ix_partner_cohorts_dates", "partners.partner_cohorts", "tenant_id", "start_date", "end_date")
    add_index("ix_partner_cohorts_partner", "partners.partner_cohorts", "tenant_id", "partner_id")
    add_index("ix_partner_cohorts_program", "partners.partner_cohorts", "tenant_id", "program_id")
    op.create_table(
        "cohort_members",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("cohort_id", sa.Uuid(), nullable=False),
        sa.Column("partner_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("enrollment_id", sa.Uuid(), nullable=True),
        sa.Column("employee_id", sa.String(length=100), nullable=True),
        sa.Column("department", sa.String(length=100), nullable=True),
        sa.Column("role", sa.String(length=100), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="active", nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_certified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'completed', 'dropped')", name=op.f("ck_cohort_members_status")),
        inner_key("cohort_members", ("cohort_id", "partner_id"), "partners.partner_cohorts(id, partner_id)", "CASCADE"),
        inner_key("cohort_members", "enrollment_id", "learning.enrollments", "SET NULL"),
        inner_key("cohort_members", "user_id", "identity.users", "CASCADE"),
        tenant_key("cohort_members"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_cohort_members"),
        sa.UniqueConstraint("tenant_id", "cohort_id", "user_id", name="uq_cohort_members_tenant_id_cohort_id_user_id"),
        schema="partners",
    )
    add_index("ix_cohort_members_enrollment", "partners.cohort_members", "tenant_id", "enrollment_id")
    add_index("ix_cohort_members_joined", "partners.cohort_members", "tenant_id", "cohort_id", "joined_at", "id")
    add_index("ix_cohort_members_user", "partners.cohort_members", "tenant_id", "user_id")
