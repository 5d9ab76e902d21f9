"""When coaches can meet, what came of sessions, and the guards that let no hour be given twice."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

from db import policies
from db.ddl import add_index, read_sql
from db.migrations.tables.coaching_practice_0012 import create_tables

revision = "0012"
down_revision = "0011"

SQL = read_sql("0012_coaching_practice")

DEFINER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

FIND_CAPACITY = SQL["find_capacity"]
GUARD_SESSION = SQL["guard_session"]
QUEUE_CALENDAR = SQL["queue_calendar"]
CHECK_ZONE = SQL["check_zone"]
COUNT_SESSION = SQL["count_session"]
RATE_COACH = SQL["rate_coach"]
INHERIT_AUDIENCE = SQL["inherit_audience"]
FOLLOW_PAYMENT = SQL["follow_payment"]

FUNCTIONS = (
    "find_capacity(uuid, uuid, timestamptz, timestamptz)", "guard_session()", "queue_calendar()", "check_zone()",
    "count_session()", "rate_coach()", "inherit_audience()", "pass_audience_on()", "follow_payment()",
)  # fmt: skip
CHILDREN = ("session_notes", "session_attendance", "session_feedback", "qa_reviews")
SESSION_TRIGGERS = {
    "guard": "BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION coaching.guard_session()",
    "count_insert": "AFTER INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION coaching.count_session()",
    "count_update": (
        "AFTER UPDATE OF status, coach_id ON {table} FOR EACH ROW "
        "WHEN ((OLD.status, OLD.coach_id) IS DISTINCT FROM (NEW.status, NEW.coach_id)) "
        "EXECUTE FUNCTION coaching.count_session()"
    ),
    "pass_on": (
        "AFTER UPDATE OF coach_id ON {table} FOR EACH ROW WHEN (OLD.coach_id <> NEW.coach_id) "
        "EXECUTE FUNCTION coaching.pass_audience_on()"
    ),
}


def upgrade() -> None:
    """Apply."""
    _change_sessions()
    _change_engagements()
    _change_profiles()
    create_tables()
    for statement in (
        FIND_CAPACITY, GUARD_SESSION, QUEUE_CALENDAR, CHECK_ZONE, COUNT_SESSION, RATE_COACH, INHERIT_AUDIENCE,
        FOLLOW_PAYMENT,
    ):  # fmt: skip
        op.execute(statement)
    _guard()
    _attach_triggers()


@contextmanager
def _policies_lifted(*tables: str) -> Iterator[None]:
    """Let the owner see all tenants' rows of these tables for a moment: it is bound by their policies else."""
    for table in tables:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    yield
    for table in tables:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _change_sessions() -> None:
    op.add_column(
        "coaching_sessions", sa.Column("booking_key", sa.String(length=255), nullable=True), schema="coaching"
    )
    op.add_column("coaching_sessions", sa.Column("transaction_id", sa.Uuid(), nullable=True), schema="coaching")
    # Nothing wrote it yet, and plain text can't be taken for ciphertext.
    op.execute("ALTER TABLE coaching.coaching_sessions ALTER COLUMN meeting_password TYPE bytea USING NULL")
    with _policies_lifted("coaching.coaching_sessions", "commerce.transactions"):
        op.create_foreign_key(
            "fk_coaching_sessions_tenant_id_transaction_id",
            "coaching_sessions",
            "transactions",
            ["tenant_id", "transaction_id"],
            ["tenant_id", "id"],
            source_schema="coaching",
            referent_schema="commerce",
            ondelete="RESTRICT",
        )
    op.create_unique_constraint(
        "uq_coaching_sessions_tenant_id_client_id_booking_key",
        "coaching_sessions",
        ["tenant_id", "client_id", "booking_key"],
        schema="coaching",
    )
    for name, condition in (
        ("duration_minutes", "duration_minutes BETWEEN 1 AND 1440"),
        ("payment_amount", "payment_amount >= 0"),
    ):
        op.create_check_constraint(
            op.f(f"ck_coaching_sessions_{name}"), "coaching_sessions", condition, schema="coaching"
        )
    add_index("ix_coaching_sessions_coach_status", "coaching.coaching_sessions", "tenant_id", "coach_id", "status")
    add_index(
        "ix_coaching_sessions_upcoming",
        "coaching.coaching_sessions",
        "tenant_id",
        "scheduled_at",
        where="status IN ('scheduled', 'confirmed')",
    )
    add_index(
        "ix_coaching_sessions_transaction",
        "coaching.coaching_sessions",
        "tenant_id",
        "transaction_id",
        where="transaction_id IS NOT NULL",
    )


def _change_engagements() -> None:
    with _policies_lifted("coaching.engagements"):
        op.execute(
            "ALTER TABLE coaching.engagements ADD CONSTRAINT ex_engagements_pair EXCLUDE USING gist ("
            "int8range(hashtextextended(tenant_id::text || coach_id::text || client_id::text, 0), "
            "hashtextextended(tenant_id::text || coach_id::text || client_id::text, 0), '[]') WITH &&, "
            "tstzrange(started_at, ended_at) WITH &&)"
        )


def _change_profiles() -> None:
    op.add_column(
        "user_profiles",
        sa.Column("completed_session_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        schema="identity",
    )
    op.create_check_constraint(
        op.f("ck_user_profiles_completed_session_count"),
        "user_profiles",
        "completed_session_count >= 0",
        schema="identity",
    )
    add_index(
        "ix_user_profiles_directory",
        "identity.user_profiles",
        "tenant_id",
        "average_rating DESC NULLS LAST",
        "completed_session_count DESC",
        "user_id DESC",
        where="is_coach",
    )
    with _policies_lifted("identity.user_profiles", "coaching.coaching_sessions"):
        op.execute(
            "UPDATE identity.user_profiles p SET session_count = s.standing, completed_session_count = s.completed "
            "FROM (SELECT tenant_id, coach_id, count(*) FILTER (WHERE status NOT IN ('cancelled', 'no_show')) AS standing, "
            "count(*) FILTER (WHERE status = 'completed') AS completed FROM coaching.coaching_sessions GROUP BY 1, 2) s "
            "WHERE p.tenant_id = s.tenant_id AND p.user_id = s.coach_id"
        )


def _guard() -> None:
    admin = f"{policies.ROLE} = 'admin'"
    own_hours = f"{policies.ROLE} = 'coach' AND coach_id = {policies.USER}"
    for table in ("coach_availability", "coach_blocked_times"):
        policies.isolate_tenants(f"coaching.{table}")
        policies.allow(f"coaching.{table}", "own_all", "ALL", own_hours)
        policies.allow(f"coaching.{table}", "admin_all", "ALL", admin)
        policies.grant(f"coaching.{table}")
    # Why a coach is away is theirs; others learn of it only as hours that are not free.
    policies.guard_reading("coaching.coach_availability", "true")

    policies.isolate_tenants("coaching.rubrics")
    policies.guard_reading("coaching.rubrics", f"{policies.ROLE} IN ('coach', 'admin')")
    policies.allow("coaching.rubrics", "admin_all", "ALL", admin)
    policies.grant("coaching.rubrics")
    policies.guard_where(
        "coaching.qa_reviews", f"{admin} OR ({policies.ROLE} = 'coach' AND {policies.USER} IN (coach_id, reviewer_id))"
    )
    policies.grant("coaching.qa_reviews")

    policies.guard_content("coaching.session_notes")
    own_note = (
        f"author_id = {policies.USER} AND client_id = ANY ({policies.CLIENTS}) "
        f"AND visibility = ANY ({policies.VISIBILITIES}) AND (kind <> 'coach_notes' OR {policies.ROLE} = 'coach')"
    )
    policies.allow("coaching.session_notes", "own_all", "ALL", own_note)
    policies.grant("coaching.session_notes", "SELECT, INSERT, UPDATE (content, visibility, updated_at), DELETE")

    policies.guard_where("coaching.session_attendance", f"client_id = ANY ({policies.CLIENTS})")
    policies.grant("coaching.session_attendance")

    policies.guard_content("coaching.session_feedback")
    own_feedback = f"submitted_by = {policies.USER} AND {policies.ROLE} = 'client' AND visibility = 'client_visible'"
    policies.allow("coaching.session_feedback", "own_insert", "INSERT", own_feedback)
    policies.allow("coaching.session_feedback", "own_update", "UPDATE", own_feedback)
    # What was said stays as it was said; only whether others may see it is taken back.
    policies.grant("coaching.session_feedback", "SELECT, INSERT, UPDATE (is_public), DELETE")

    # Before the first call there is no engagement by which the coach could read it; nor should there be one after.
    policies.allow(
        "coaching.coaching_sessions",
        "own_discovery",
        "SELECT",
        f"session_type = 'discovery_call' AND status IN ('scheduled', 'confirmed', 'in_progress') AND ({own_hours})",
    )

    # The triggers run as the owner, whoever writes.
    for table in ("coaching_sessions", "coach_availability", "coach_blocked_times", *CHILDREN):
        policies.allow(f"coaching.{table}", "keeper", "ALL", "true", to="regenesis_owner")


def _attach_triggers() -> None:
    for name, definition in SESSION_TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} " + definition.format(table="coaching.coaching_sessions"))
    op.execute(
        "CREATE TRIGGER queue BEFORE INSERT OR UPDATE ON coaching.coach_blocked_times "
        "FOR EACH ROW EXECUTE FUNCTION coaching.queue_calendar()"
    )
    op.execute(
        "CREATE TRIGGER zone BEFORE INSERT OR UPDATE OF timezone ON coaching.coach_availability "
        "FOR EACH ROW EXECUTE FUNCTION coaching.check_zone()"
    )
    for table in CHILDREN:
        op.execute(
            f"CREATE TRIGGER inherit BEFORE INSERT OR UPDATE OF session_id, client_id, coach_id ON coaching.{table} "
            "FOR EACH ROW EXECUTE FUNCTION coaching.inherit_audience()"
        )
    op.execute(
        "CREATE TRIGGER rate AFTER INSERT OR DELETE OR UPDATE OF rating, coach_id ON coaching.session_feedback "
        "FOR EACH ROW EXECUTE FUNCTION coaching.rate_coach()"
    )
    op.execute(
        "CREATE TRIGGER coaching_session AFTER UPDATE OF status ON commerce.transactions FOR EACH ROW "
        "WHEN (NEW.reference_type = 'coaching_session' AND OLD.status <> NEW.status) "
        "EXECUTE FUNCTION coaching.follow_payment()"
    )
    policies.audit_changes(
        "coaching.coaching_sessions", "status", "session_type", "payment_status", "currency", "meeting_platform",
        "visibility", "timezone",
    )  # fmt: skip
    policies.audit_changes("coaching.engagements")
    policies.audit_changes("coaching.session_notes", "kind", "visibility")
    policies.audit_changes("coaching.session_attendance", "role")
    policies.audit_changes("coaching.session_feedback", "visibility")
    policies.audit_changes("coaching.coach_availability", "timezone", "start_time", "end_time")
    policies.audit_changes("coaching.coach_blocked_times")
    policies.audit_changes("coaching.rubrics")
    policies.audit_changes("coaching.qa_reviews")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER coaching_session ON commerce.transactions")
    for table in ("coaching_sessions", "engagements"):
        op.execute(f"DROP TRIGGER audit ON coaching.{table}")
    for name in SESSION_TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON coaching.coaching_sessions")
    op.execute("DROP POLICY keeper ON coaching.coaching_sessions")
    op.execute("DROP POLICY own_discovery ON coaching.coaching_sessions")
    for table in (*CHILDREN, "rubrics", "coach_blocked_times", "coach_availability"):
        op.drop_table(table, schema="coaching")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION coaching.{function}")
    op.execute("ALTER TABLE coaching.engagements DROP CONSTRAINT ex_engagements_pair")
    op.drop_index("ix_user_profiles_directory", "user_profiles", schema="identity")
    op.drop_column("user_profiles", "completed_session_count", schema="identity")
    for name in ("coach_status", "upcoming", "transaction"):
        op.drop_index(f"ix_coaching_sessions_{name}", "coaching_sessions", schema="coaching")
    for name in ("duration_minutes", "payment_amount"):
        op.drop_constraint(op.f(f"ck_coaching_sessions_{name}"), "coaching_sessions", schema="coaching")
    op.execute("ALTER TABLE coaching.coaching_sessions ALTER COLUMN meeting_password TYPE varchar(100) USING NULL")
    # With them go the keys that name them.
    for column in ("transaction_id", "booking_key"):
        op.drop_column("coaching_sessions", column, schema="coaching")
