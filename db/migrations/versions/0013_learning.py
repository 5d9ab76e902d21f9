"""Programs, lessons, enrolments, progress, assessments and certificates, with the triggers that count them."""

from alembic import op

from db import policies
from db.ddl import read_sql
from db.migrations.tables.learning_0013 import create_tables
from db.policies import CLIENTS, ROLE, USER

revision = "0013"
down_revision = "0012"

SQL = read_sql("0013_learning")

STRUCTURE = SQL["structure"]
COUNT_LESSONS = SQL["count_lessons"]
COUNT_PROGRESS = SQL["count_progress"]


COUNT_ENROLLMENTS = SQL["count_enrollments"]
PASS_ASSESSMENT = SQL["pass_assessment"]
IS_OPEN = SQL["is_open"]
OUTLINE = SQL["outline"]
FIND_CERTIFICATE = SQL["find_certificate"]
TRIGGERS = SQL["triggers"]

TABLES = (
    "programs", "modules", "lessons", "enrollments", "lesson_progress", "progress_events", "assessments",
    "assessment_keys", "assessment_submissions",
)  # fmt: skip

TEACHES = f"(instructor_id = {USER} OR co_instructors ? {USER}::text)"
READER_PROGRAMS = SQL["reader_programs"]

TAUGHT = f"({ROLE} = 'coach' AND program_id = ANY ((SELECT learning.list_taught_programs())::uuid[]))"
ENROLLED = "program_id = ANY ((SELECT learning.list_taken_programs())::uuid[])"
ABOUT_ME_OR_MY_CLIENT = f"user_id = {USER} OR user_id = ANY ({CLIENTS})"


def guard() -> None:
    """Say who reads and writes what."""
    for table in TABLES:
        policies.isolate_tenants(f"learning.{table}")
        # The triggers run as the owner, whoever writes; the tenant still binds them.
        policies.allow(f"learning.{table}", "triggers", "ALL", "true", to="regenesis_owner")
        policies.grant(f"learning.{table}")
    # Certificates are also found across tenants, by their code.
    policies.isolate_tenants("learning.certificates", to="regenesis_app")
    policies.allow_owner_lookup("learning.certificates")
    policies.grant("learning.certificates")

    policies.guard_reading(
        "learning.programs",
        f"({ROLE} IN ('client', 'coach') AND status <> 'draft' AND deleted_at IS NULL) OR ({ROLE} = 'coach' AND {TEACHES})",
    )
    policies.allow("learning.programs", "admin_all", "ALL", f"{ROLE} = 'admin'")
    policies.allow(
        "learning.programs",
        "coach_insert",
        "INSERT",
        f"{ROLE} = 'coach' AND instructor_id = {USER} AND status = 'draft'",
    )
    policies.allow("learning.programs", "coach_update", "UPDATE", f"{ROLE} = 'coach' AND {TEACHES}")

    policies.guard_reading("learning.modules", f"{ROLE} IN ('client', 'coach') AND is_visible")
    policies.guard_reading(
        "learning.lessons", f"{ROLE} IN ('client', 'coach') AND is_visible AND (is_preview OR {ENROLLED})"
    )
    policies.guard_reading("learning.assessments", f"{ROLE} IN ('client', 'coach') AND is_published AND {ENROLLED}")
    for table in ("modules", "lessons", "assessments", "assessment_keys"):
        policies.allow(f"learning.{table}", "teacher_all", "ALL", f"{ROLE} = 'admin' OR {TAUGHT}")

    policies.guard_reading("learning.enrollments", f"{ABOUT_ME_OR_MY_CLIENT} OR {ROLE} = 'admin' OR {TAUGHT}")
    policies.guard_reading("learning.lesson_progress", f"{ABOUT_ME_OR_MY_CLIENT} OR {TAUGHT}")
    for command in ("INSERT", "UPDATE"):
        policies.allow("learning.lesson_progress", f"own_{command.lower()}", command, f"user_id = {USER}")
    for command in ("SELECT", "INSERT"):
        policies.allow("learning.progress_events", f"own_{command.lower()}", command, f"user_id = {USER}")
    policies.guard_reading("learning.assessment_submissions", f"{ABOUT_ME_OR_MY_CLIENT} OR {TAUGHT}")
    policies.allow("learning.assessment_submissions", "teacher_update", "UPDATE", TAUGHT)
    policies.guard_reading(
        "learning.certificates", f"{ABOUT_ME_OR_MY_CLIENT} OR {ROLE} = 'admin' OR {TAUGHT}", to="regenesis_app"
    )
    policies.allow(
        "learning.certificates", "revoker_update", "UPDATE", f"{ROLE} = 'admin' OR {TAUGHT}", to="regenesis_app"
    )


def audit() -> None:
    """Leave audit rows of every change; `progress_events` only remembers which messages counted."""
    policies.audit_changes(
        "learning.programs", "status", "pricing_type", "difficulty_level", "currency",
        of="title, slug, description, long_description, category, tags, difficulty_level, instructor_id, co_instructors, "
           "pricing_type, price_amount, currency, tier_access, capacity, duration_weeks, estimated_hours, thumbnail_url, "
           "preview_video_url, status, published_at, archived_at, deleted_at, meta_description, meta_keywords",
    )  # fmt: skip
    policies.audit_changes(
        "learning.modules",
        of="title, description, sequence_order, unlock_after_module_id, unlock_date, estimated_duration_minutes, "
           "is_published",
    )  # fmt: skip
    policies.audit_changes(
        "learning.lessons", "content_type",
        of="module_id, title, description, sequence_order, content_type, video_url, video_duration_seconds, text_content, "
           "resource_urls, is_preview, estimated_minutes, is_published",
    )  # fmt: skip
    policies.audit_changes(
        "learning.enrollments", "status", "payment_type",
        of="status, completion_date, payment_type, transaction_id, certificate_issued, rating, review",
    )  # fmt: skip
    policies.audit_changes("learning.lesson_progress")
    policies.audit_changes("learning.assessments", "assessment_type")
    policies.audit_changes("learning.assessment_keys")
    policies.audit_changes("learning.assessment_submissions", "status")
    policies.audit_changes("learning.certificates")


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA learning")
    op.execute("GRANT USAGE ON SCHEMA learning TO regenesis_app")
    create_tables()
    for statements in (
        STRUCTURE, COUNT_LESSONS, COUNT_PROGRESS, COUNT_ENROLLMENTS, PASS_ASSESSMENT, IS_OPEN, OUTLINE, FIND_CERTIFICATE,
        READER_PROGRAMS, TRIGGERS,
    ):  # fmt: skip
        op.execute(statements)
    op.execute(
        "GRANT EXECUTE ON FUNCTION learning.lock_structure(uuid, boolean), learning.is_open(uuid, uuid), "
        "learning.outline(uuid), learning.find_certificate(text), learning.list_taken_programs(), "
        "learning.list_taught_programs() TO regenesis_app"
    )
    guard()
    audit()
    policies.view_audit("learning")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA learning CASCADE")
