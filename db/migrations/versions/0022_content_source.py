"""What people write inside the product is a source for the assistant: hidden as it changes, then indexed anew."""

import sqlalchemy as sa
from alembic import op

from db import policies

revision = "0022"
down_revision = "0021"

HELD = ("ingestion.ingested_objects", "rag.documents", "rag.document_chunks", "rag.chunk_embeddings")
"""What a source is held in, and may be found by."""

# A lesson is for those who take or teach its program, which no visibility says. Both arrays are read once a statement,
# and only where a row asks for them.
TAKES_PROGRAM = (
    f"program_id IS NULL OR {policies.ROLE} IN ('system', 'admin') "
    f"OR program_id = ANY ((SELECT array(SELECT e.program_id FROM learning.enrollments e "
    f"WHERE e.user_id = {policies.USER} AND e.status IN ('active', 'completed')))::uuid[]) "
    f"OR ({policies.ROLE} = 'coach' AND program_id = ANY ((SELECT array(SELECT p.id FROM learning.programs p "
    f"WHERE p.instructor_id = {policies.USER} OR p.co_instructors ? {policies.USER}::text))::uuid[]))"
)

# Runs as the owner, since whoever writes a post may not touch what it is found by. Hiding takes effect in the same
# transaction, whoever runs and whatever is down; what is shown again is for the dispatcher, which reads the row itself.
NOTE_CONTENT_CHANGE = """
CREATE FUNCTION rag.note_content_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
    written uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END;
    place text := TG_ARGV[0] || '/' || written;
BEGIN
    UPDATE ingestion.ingested_objects o SET visibility = 'system_internal'
    WHERE o.tenant_id = tenant AND o.id = md5(place)::uuid AND o.visibility <> 'system_internal';
    PERFORM comms.publish(
        'content_changed', jsonb_build_object('kind', TG_ARGV[0], 'id', written), 'content:' || place);
    RETURN NULL;
END $$
"""

TABLES = {
    "learning.lessons": (
        "lesson", "{row}.is_visible AND {row}.text_content IS NOT NULL",
        ("title", "description", "text_content", "is_visible", "is_preview", "program_id"),
    ),
    "community.posts": (
        "post", "{row}.status = 'published'",
        ("title", "content", "status", "published_at", "visibility", "client_id", "coach_id"),
    ),
    "content.faqs": (
        "faq", "{row}.is_published", ("question", "answer", "is_published", "visibility", "client_id", "coach_id"),
    ),
    "content.blog_posts": (
        "blog_post", "{row}.status = 'published'",
        ("title", "summary", "content", "status", "published_at", "visibility", "client_id", "coach_id"),
    ),
    "coaching.coaching_sessions": (
        "session", "num_nonnulls({row}.notes, {row}.action_items) > 0",
        ("topic", "notes", "action_items", "scheduled_at", "timezone", "visibility", "client_id", "coach_id"),
    ),
    "coaching.session_notes": ("session_note", "true", ("content", "visibility", "client_id", "coach_id")),
}  # fmt: skip
"""By table: what one row is called, when it may be shown, and the columns that decide what is shown to whom."""


def _watch(table: str, kind: str, shown: str, columns: tuple[str, ...]) -> None:
    old, new = (shown.format(row=row) for row in ("OLD", "NEW"))
    before, after = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    for event, condition in (
        ("insert", new),
        ("update", f"({old} OR {new}) AND ({before}) IS DISTINCT FROM ({after})"),
        ("delete", old),
    ):
        op.execute(
            f"CREATE TRIGGER content_{event} AFTER {event.upper()} ON {table} FOR EACH ROW WHEN ({condition}) "
            f"EXECUTE FUNCTION rag.note_content_change('{kind}')"
        )


def upgrade() -> None:
    """Apply."""
    for table in HELD:
        schema, name = table.split(".")
        op.add_column(name, sa.Column("program_id", sa.Uuid(), nullable=True), schema=schema)
        op.execute(
            f"CREATE POLICY takes_program ON {table} AS RESTRICTIVE FOR SELECT TO regenesis_app USING ({TAKES_PROGRAM})"
        )
        for command in ("SELECT", "UPDATE"):
            policies.allow(table, f"hiding_{command.lower()}", command, "true", to="regenesis_owner")
    policies.audit_changes("rag.documents", "visibility", of="visibility, client_id, coach_id, program_id")
    op.execute(NOTE_CONTENT_CHANGE)
    for table, (kind, shown, columns) in TABLES.items():
        _watch(table, kind, shown, columns)


def downgrade() -> None:
    """Take back."""
    policies.audit_changes("rag.documents", "visibility", of="visibility, client_id, coach_id")
    for table in TABLES:
        for event in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER content_{event} ON {table}")
    op.execute("DROP FUNCTION rag.note_content_change()")
    for table in HELD:
        schema, name = table.split(".")
        for policy in ("hiding_select", "hiding_update", "takes_program"):
            op.execute(f"DROP POLICY {policy} ON {table}")
        op.drop_column(name, "program_id", schema=schema)
