"""Events, tickets and registrations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, tenant_key

revision = "0016"
down_revision = "0015"

SEATED = "('registered', 'attended', 'no_show', 'pending_payment')"
ORGANISES = (
    f"e.organizer_id = {policies.USER} OR jsonb_exists(e.co_organizers, (SELECT current_setting('app.user_id')))"
)

COUNT_REGISTRATION = f"""
CREATE FUNCTION events.count_registration() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := coalesce(NEW.tenant_id, OLD.tenant_id);
    event uuid := coalesce(NEW.event_id, OLD.event_id);
    sat int := coalesce((OLD.status IN {SEATED})::int, 0);
    sits int := coalesce((NEW.status IN {SEATED})::int, 0);
    attended int := coalesce((NEW.status = 'attended')::int, 0) - coalesce((OLD.status = 'attended')::int, 0);
BEGIN
    IF sits <> sat OR attended <> 0 THEN
        UPDATE events.events e
        SET registration_count = e.registration_count + sits - sat, attendance_count = e.attendance_count + attended
        WHERE e.tenant_id = tenant AND e.id = event;
    END IF;
    IF OLD.ticket_id IS NOT DISTINCT FROM NEW.ticket_id THEN
        UPDATE events.event_tickets t SET quantity_sold = t.quantity_sold + sits - sat
        WHERE sits <> sat AND t.tenant_id = tenant AND t.id = NEW.ticket_id;
    ELSE
        UPDATE events.event_tickets t SET quantity_sold = t.quantity_sold + CASE t.id WHEN NEW.ticket_id THEN sits ELSE -sat END
        WHERE t.tenant_id = tenant AND t.id IN (NEW.ticket_id, OLD.ticket_id);
    END IF;
    RETURN NULL;
END $$
"""

EVENT_COLUMNS = (
    "title, slug, description, agenda, event_date, end_date, timezone, duration_minutes, location_type, physical_address, "
    "virtual_platform, organizer_id, co_organizers, speakers, capacity_limit, banner_image_url, status, is_featured, "
    "registration_opens_at, registration_closes_at, requires_approval, meta_description, published_at"
)
TICKET_COLUMNS = (
    "name, description, price, currency, quantity_available, sale_starts_at, sale_ends_at, perks, is_active"
)


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA events")
    op.execute("GRANT USAGE ON SCHEMA events TO regenesis_app")
    policies.view_audit("events")
    _create_tables()
    op.execute(COUNT_REGISTRATION)
    op.execute(
        "CREATE TRIGGER count AFTER INSERT OR DELETE OR UPDATE OF status, ticket_id ON events.event_registrations "
        "FOR EACH ROW EXECUTE FUNCTION events.count_registration()"
    )
    _guard()
    _audit()


def _guard() -> None:
    for table in ("events", "event_access", "event_tickets", "event_registrations"):
        policies.isolate_tenants(f"events.{table}")
    for table in ("events", "event_tickets"):  # counted by the owner's trigger
        policies.allow(f"events.{table}", "keeper", "ALL", "true", to="regenesis_owner")
    member = f"{policies.ROLE} IN ('client', 'coach', 'admin')"
    organises = ORGANISES.replace("e.", "")
    policies.guard_reading(
        "events.events", f"{member} AND (status <> 'draft' OR {policies.ROLE} = 'admin' OR {organises})"
    )
    # What a reader does not see of the events they do not see of the tickets either.
    policies.guard_reading(
        "events.event_tickets",
        f"{member} AND EXISTS (SELECT FROM events.events e WHERE e.tenant_id = event_tickets.tenant_id "
        "AND e.id = event_tickets.event_id)",
    )
    policies.guard_reading(
        "events.event_access",
        f"{policies.ROLE} = 'admin' OR EXISTS (SELECT FROM events.events e WHERE e.tenant_id = event_access.tenant_id "
        f"AND e.id = event_access.event_id AND ({ORGANISES})) "
        "OR EXISTS (SELECT FROM events.event_registrations r WHERE r.tenant_id = event_access.tenant_id "
        f"AND r.event_id = event_access.event_id AND r.user_id = {policies.USER} "
        "AND r.status IN ('registered', 'attended', 'no_show'))",
    )
    policies.guard_reading("events.event_registrations", f"user_id = {policies.USER} OR {policies.ROLE} = 'admin'")
    policies.grant("events.events", f"SELECT, INSERT, DELETE, UPDATE ({EVENT_COLUMNS}, updated_at)")
    policies.grant("events.event_tickets", f"SELECT, INSERT, DELETE, UPDATE ({TICKET_COLUMNS})")
    policies.grant("events.event_access")
    policies.grant("events.event_registrations")


def _audit() -> None:
    policies.audit_changes("events.event_access")
    policies.audit_changes("events.event_registrations", "status")
    # Counters change with every registration, which leaves a row of its own.
    policies.audit_changes("events.events", "status", "location_type", "timezone", of=EVENT_COLUMNS)
    policies.audit_changes("events.event_tickets", "currency", of=TICKET_COLUMNS)


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA events CASCADE")


def _create_tables() -> None:
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("agenda", sa.Text(), nullable=True),
        sa.Column("event_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("timezone", sa.String(length=50), nullable=False),
        sa.Column("duration_minutes", sa.Integer(), nullable=True),
        sa.Column("location_type", sa.String(length=20), nullable=False),
        sa.Column("physical_address", sa.Text(), nullable=True),
        sa.Column("virtual_platform", sa.String(length=50), nullable=True),
        sa.Column("organizer_id", sa.Uuid(), nullable=False),
        sa.Column("co_organizers", postgresql.JSONB(), nullable=True),
        sa.Column("speakers", postgresql.JSONB(), nullable=True),
        sa.Column("capacity_limit", sa.Integer(), nullable=True),
        sa.Column("registration_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attendance_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("banner_image_url", sa.String(length=500), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="draft", nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("registration_opens_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("registration_closes_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requires_approval", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("meta_description", sa.Text(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("location_type IN ('virtual', 'physical', 'hybrid')", name=op.f("ck_events_location_type")),
        sa.CheckConstraint(
            "status IN ('draft', 'published', 'in_progress', 'completed', 'cancelled')", name=op.f("ck_events_status")
        ),
        sa.CheckConstraint(
            "attendance_count BETWEEN 0 AND registration_count", name=op.f("ck_events_attendance_count")
        ),
        sa.CheckConstraint("duration_minutes > 0", name=op.f("ck_events_duration_minutes")),
        sa.CheckConstraint("end_date >= event_date", name=op.f("ck_events_end_date")),
        sa.CheckConstraint(
            "registration_closes_at > registration_opens_at", name=op.f("ck_events_registration_window")
        ),
        sa.CheckConstraint("registration_count <= capacity_limit", name=op.f("ck_events_capacity")),
        inner_key("events", "organizer_id", "identity.users"),
        tenant_key("events"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_events"),
        sa.UniqueConstraint("tenant_id", "slug", name="uq_events_tenant_id_slug"),
        schema="events",
    )
    add_index("ix_events_date", "events.events", "tenant_id", "event_date", "id", where="status = 'published'")
    add_index("ix_events_organizer", "events.events", "tenant_id", "organizer_id")
    add_index("ix_events_status", "events.events", "tenant_id", "status")
    op.create_table(
        "event_access",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("virtual_link", sa.String(length=500), nullable=True),
        sa.Column("meeting_id", sa.String(length=100), nullable=True),
        sa.Column("meeting_password", sa.LargeBinary(), nullable=True),
        sa.Column("recording_url", sa.String(length=500), nullable=True),
        inner_key("event_access", "event_id", "events.events", "CASCADE"),
        tenant_key("event_access"),
        sa.PrimaryKeyConstraint("tenant_id", "event_id", name="pk_event_access"),
        schema="events",
    )
    op.create_table(
        "event_tickets",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False),
        sa.Column("quantity_available", sa.Integer(), nullable=True),
        sa.Column("quantity_sold", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sale_starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sale_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("perks", postgresql.JSONB(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("ck_event_tickets_price")),
        sa.CheckConstraint(
            "quantity_sold >= 0 AND quantity_sold <= quantity_available", name=op.f("ck_event_tickets_quantity")
        ),
        sa.CheckConstraint("sale_ends_at > sale_starts_at", name=op.f("ck_event_tickets_sale_window")),
        inner_key("event_tickets", "event_id", "events.events", "CASCADE"),
        tenant_key("event_tickets"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_event_tickets"),
        sa.UniqueConstraint("tenant_id", "id", "event_id", name="uq_event_tickets_tenant_id_id_event_id"),
        schema="events",
    )
    add_index(
        "ix_event_tickets_active", "events.event_tickets", "tenant_id", "event_id", "is_active", where="is_active"
    )
    add_index("ix_event_tickets_event", "events.event_tickets", "tenant_id", "event_id")
    op.create_table(
        "event_registrations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "registration_date", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("status", sa.String(length=20), server_default="registered", nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("amount_paid", sa.Numeric(precision=10, scale=2), nullable=True),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("ticket_code", sa.String(length=100), nullable=True),
        sa.Column("qr_code_url", sa.String(length=500), nullable=True),
        sa.Column("checked_in", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("checked_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_in_by", sa.Uuid(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancellation_reason", sa.Text(), nullable=True),
        sa.Column("refund_issued", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending_payment') = (held_until IS NOT NULL)", name=op.f("ck_event_registrations_held_until")
        ),
        sa.CheckConstraint(
            "status IN ('registered', 'waitlisted', 'cancelled', 'attended', 'no_show', 'pending_payment', 'pending_approval')",
            name=op.f("ck_event_registrations_status"),
        ),
        sa.CheckConstraint("amount_paid >= 0", name=op.f("ck_event_registrations_amount_paid")),
        sa.CheckConstraint(
            "checked_in = (checked_in_at IS NOT NULL)", name=op.f("ck_event_registrations_checked_in_at")
        ),
        inner_key("event_registrations", "checked_in_by", "identity.users", "SET NULL"),
        inner_key("event_registrations", "event_id", "events.events"),
        inner_key("event_registrations", ("ticket_id", "event_id"), "events.event_tickets(id, event_id)"),
        inner_key("event_registrations", "transaction_id", "commerce.transactions", "RESTRICT"),
        inner_key("event_registrations", "user_id", "identity.users", "CASCADE"),
        tenant_key("event_registrations"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_event_registrations"),
        sa.UniqueConstraint(
            "tenant_id", "event_id", "user_id", name="uq_event_registrations_tenant_id_event_id_user_id"
        ),
        sa.UniqueConstraint("tenant_id", "ticket_code", name="uq_event_registrations_tenant_id_ticket_code"),
        sa.UniqueConstraint("tenant_id", "transaction_id", name="uq_event_registrations_tenant_id_transaction_id"),
        schema="events",
    )
    add_index(
        "ix_event_registrations_held",
        "events.event_registrations",
        "tenant_id",
        "held_until",
        where="held_until IS NOT NULL",
    )
    add_index(
        "ix_event_registrations_status",
        "events.event_registrations",
        "tenant_id",
        "event_id",
        "status",
        "registration_date",
    )
    add_index("ix_event_registrations_user", "events.event_registrations", "tenant_id", "user_id", "registration_date")
