"""Posts, comments, reactions, messages and projects."""

from alembic import op

from db import policies
from db.ddl import read_sql
from db.migrations.tables.community_0014 import create_tables
from db.counting import keep_counts

revision = "0014"
down_revision = "0013"

SQL = read_sql("0014_community")

USER, ROLE = policies.USER, policies.ROLE
SHOWN = f"visibility = ANY ({policies.VISIBILITIES}) AND ({policies.AUDIENCE})"
TAKES_PART = f"{ROLE} IN ('client', 'coach', 'admin')"
# Who writes chooses between everyone and the coaches; no one writes about one client here.
WRITES = (
    f"{TAKES_PART} AND visibility IN ('client_visible', 'coach_only') AND visibility = ANY ({policies.VISIBILITIES}) "
    "AND client_id IS NULL AND coach_id IS NULL"
)

DEFINER = "RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

SETTLE_POST = SQL["settle_post"]
SETTLE_COMMENT = SQL["settle_comment"]
COPY_TO_COMMENTS = SQL["copy_to_comments"]
CHECK_REACTION = SQL["check_reaction"]
HOLD_ENTITY = SQL["hold_entity"]
DROP_REACTIONS = SQL["drop_reactions"]
SETTLE_PROJECT = SQL["settle_project"]
MAY_MESSAGE = SQL["may_message"]
DELETE_MESSAGE = SQL["delete_message"]
ADD_VIEW = SQL["add_view"]


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA community")
    op.execute("GRANT USAGE ON SCHEMA community TO regenesis_app")
    create_tables()
    for statement in (
        SETTLE_POST, SETTLE_COMMENT, COPY_TO_COMMENTS, CHECK_REACTION, HOLD_ENTITY, DROP_REACTIONS, SETTLE_PROJECT,
        MAY_MESSAGE, DELETE_MESSAGE, ADD_VIEW,
    ):  # fmt: skip
        op.execute(statement)
    _attach_triggers()
    _guard()
    _audit()


def _attach_triggers() -> None:
    op.execute(
        "CREATE TRIGGER settle BEFORE INSERT OR UPDATE OF author_id, title, content, category, tags, media_urls, status, "
        "published_at, moderated_by, moderation_note, is_pinned, is_featured, featured_until ON community.posts "
        "FOR EACH ROW EXECUTE FUNCTION community.settle_post()"
    )
    op.execute(
        "CREATE TRIGGER copy AFTER UPDATE OF status, visibility, client_id, coach_id ON community.posts FOR EACH ROW "
        "WHEN ((OLD.status = 'published', OLD.visibility, OLD.client_id, OLD.coach_id) IS DISTINCT FROM "
        "(NEW.status = 'published', NEW.visibility, NEW.client_id, NEW.coach_id)) "
        "EXECUTE FUNCTION community.copy_to_comments()"
    )
    op.execute(
        "CREATE TRIGGER settle BEFORE INSERT OR UPDATE OF content, status, moderated_by, moderation_note "
        "ON community.comments FOR EACH ROW EXECUTE FUNCTION community.settle_comment()"
    )
    op.execute(
        "CREATE TRIGGER settle BEFORE INSERT OR UPDATE OF submitted_by, title, problem_statement, solution_description, "
        "target_market, stage, support_needed, pitch_deck_url, demo_url, repo_url, media_urls, status, published_at, "
        "reviewed_by, review_notes, is_featured, featured_until ON community.projects "
        "FOR EACH ROW EXECUTE FUNCTION community.settle_project()"
    )
    for name in ("check_reaction", "hold_entity"):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE INSERT ON community.reactions "
            f"FOR EACH ROW EXECUTE FUNCTION community.{name}()"
        )
    op.execute(
        "CREATE TRIGGER check_message BEFORE INSERT ON community.messages "
        "FOR EACH ROW EXECUTE FUNCTION community.check_message()"
    )
    for table, kind, key in (
        ("community.posts", "post", "id"),
        ("community.comments", "comment", "id"),
        ("community.projects", "project", "id"),
        ("identity.user_profiles", "profile", "user_id"),
    ):
        op.execute(
            f"CREATE TRIGGER drop_reactions AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone "
            f"FOR EACH STATEMENT EXECUTE FUNCTION community.drop_reactions('{kind}', '{key}')"
        )
    keep_counts(
        "community.posts", ("identity.user_profiles", "user_id", "author_id", {"post_count": "status = 'published'"})
    )
    keep_counts("community.comments", ("community.posts", "id", "post_id", {"comment_count": "status = 'published'"}))
    keep_counts(
        "community.reactions",
        ("community.posts", "id", "entity_id", {
            "like_count": "entity_type = 'post' AND reaction_type IN ('like', 'love')",
            "bookmark_count": "entity_type = 'post' AND reaction_type = 'bookmark'",
        }),
        ("community.comments", "id", "entity_id", {
            "like_count": "entity_type = 'comment' AND reaction_type IN ('like', 'love')",
        }),
        ("community.projects", "id", "entity_id", {
            "endorsement_count": "entity_type = 'project' AND reaction_type = 'endorse'",
        }),
    )  # fmt: skip
    keep_counts(
        "community.project_collaborators",
        ("community.projects", "id", "project_id", {"collaboration_request_count": "true"}),
    )


def _guard() -> None:
    tables = (
        "posts", "comments", "reactions", "view_tallies", "messages", "blocks", "projects", "project_collaborators",
    )  # fmt: skip
    for table in tables:
        policies.isolate_tenants(f"community.{table}")
        # The triggers run as the owner, whoever writes.
        policies.allow(f"community.{table}", "keeper", "ALL", "true", to="regenesis_owner")
    policies.allow("identity.user_connections", "message_lookup", "SELECT", "true", to="regenesis_owner")

    posts, own_post = "community.posts", f"author_id = {USER} AND {TAKES_PART}"
    policies.guard_reading(posts, f"status = 'published' AND {SHOWN}")
    policies.allow(posts, "own_reading", "SELECT", own_post)
    policies.allow(
        posts,
        "moderator_reading",
        "SELECT",
        f"{ROLE} = 'admin' AND status IN ('pending', 'flagged', 'removed') AND {SHOWN}",
    )
    writable = "status IN ('draft', 'pending', 'published')"
    policies.allow(
        posts, "own_insert", "INSERT",
        f"author_id = {USER} AND {WRITES} AND {writable} AND (category <> 'announcement' OR {ROLE} IN ('coach', 'admin'))",
    )  # fmt: skip
    policies.allow(posts, "own_update", "UPDATE", f"author_id = {USER} AND {WRITES} AND {writable}")
    policies.allow(posts, "moderator_update", "UPDATE", f"{ROLE} = 'admin' AND status <> 'draft' AND {SHOWN}")
    policies.allow(posts, "own_delete", "DELETE", f"{own_post} AND {writable}")
    policies.grant(
        posts,
        "SELECT, DELETE, INSERT (tenant_id, id, author_id, title, content, category, tags, media_urls, status, slug, "
        "visibility, client_id, coach_id, published_at, created_at), "
        "UPDATE (title, content, category, tags, media_urls, status, slug, visibility, moderated_by, moderation_note, "
        "is_pinned, is_featured, featured_until, updated_at)",
    )

    comments = "community.comments"
    policies.guard_reading(comments, f"status = 'published' AND is_post_published AND {SHOWN}")
    policies.allow(
        comments, "own_reading", "SELECT", f"author_id = {USER} AND {TAKES_PART} AND is_post_published AND {SHOWN}"
    )
    policies.allow(
        comments,
        "moderator_reading",
        "SELECT",
        f"{ROLE} = 'admin' AND (status <> 'published' OR NOT is_post_published) AND {SHOWN}",
    )
    policies.allow(
        comments, "own_insert", "INSERT",
        f"author_id = {USER} AND {TAKES_PART} AND status = 'published' AND is_post_published AND {SHOWN}",
    )  # fmt: skip
    policies.allow(
        comments, "own_update", "UPDATE", f"author_id = {USER} AND {TAKES_PART} AND status = 'published' AND {SHOWN}"
    )
    policies.allow(comments, "moderator_update", "UPDATE", f"{ROLE} = 'admin' AND {SHOWN}")
    policies.allow(comments, "own_delete", "DELETE", f"author_id = {USER} AND {TAKES_PART} AND status = 'published'")
    policies.grant(
        comments,
        "SELECT, DELETE, INSERT (tenant_id, id, post_id, author_id, parent_comment_id, content, created_at), "
        "UPDATE (content, status, moderated_by, moderation_note, updated_at)",
    )

    policies.allow("community.reactions", "own_all", "ALL", f"user_id = {USER} AND {TAKES_PART}")
    policies.grant(
        "community.reactions",
        "SELECT, DELETE, INSERT (tenant_id, id, user_id, entity_type, entity_id, reaction_type, created_at), UPDATE (reaction_type)",
    )
    policies.grant("community.view_tallies", "SELECT")
    policies.allow("community.blocks", "own_all", "ALL", f"user_id = {USER}")
    policies.grant("community.blocks", "SELECT, INSERT, DELETE")

    messages = "community.messages"
    policies.guard_reading(
        messages,
        f"sender_id = {USER} AND NOT is_deleted_by_sender OR recipient_id = {USER} AND NOT is_deleted_by_recipient",
    )
    policies.allow(
        messages, "own_insert", "INSERT",
        f"sender_id = {USER} AND {TAKES_PART} AND NOT is_read AND NOT is_deleted_by_sender AND NOT is_deleted_by_recipient",
    )  # fmt: skip
    policies.allow(messages, "recipient_update", "UPDATE", f"recipient_id = {USER}")
    policies.grant(
        messages,
        "SELECT, DELETE, INSERT (tenant_id, id, sender_id, recipient_id, content, attachments, created_at), "
        "UPDATE (is_read, read_at)",
    )

    projects, own_project = "community.projects", f"submitted_by = {USER} AND {TAKES_PART}"
    policies.guard_reading(projects, f"status = 'approved' AND {SHOWN}")
    policies.allow(projects, "own_reading", "SELECT", own_project)
    policies.allow(projects, "reviewer_reading", "SELECT", f"{ROLE} = 'admin' AND {SHOWN}")
    policies.allow(projects, "own_insert", "INSERT", f"submitted_by = {USER} AND {WRITES}")
    policies.allow(projects, "own_update", "UPDATE", f"submitted_by = {USER} AND {WRITES}")
    policies.allow(projects, "reviewer_update", "UPDATE", f"{ROLE} = 'admin' AND {SHOWN}")
    policies.allow(projects, "own_delete", "DELETE", own_project)
    words = (
        "title, slug, problem_statement, solution_description, target_market, stage, support_needed, pitch_deck_url, "
        "demo_url, repo_url, media_urls, visibility"
    )
    policies.grant(
        projects,
        f"SELECT, DELETE, INSERT (tenant_id, id, submitted_by, {words}, status, published_at, created_at), "
        f"UPDATE ({words}, status, reviewed_by, review_notes, is_featured, featured_until, updated_at)",
    )

    collaborators = "community.project_collaborators"
    led = f"EXISTS (SELECT FROM community.projects j WHERE j.tenant_id = project_collaborators.tenant_id AND j.id = project_id AND j.submitted_by = {USER})"
    shown = "EXISTS (SELECT FROM community.projects j WHERE j.tenant_id = project_collaborators.tenant_id AND j.id = project_id)"
    policies.guard_reading(collaborators, f"user_id = {USER} OR {led} OR status = 'accepted' AND {shown}")
    policies.allow(
        collaborators, "own_insert", "INSERT",
        f"user_id = {USER} AND {TAKES_PART} AND status = 'requested' AND {shown} AND NOT {led}",
    )  # fmt: skip
    policies.allow(collaborators, "leader_update", "UPDATE", led)
    policies.allow(collaborators, "own_delete", "DELETE", f"user_id = {USER} OR {led}")
    policies.grant(
        collaborators,
        "SELECT, DELETE, INSERT (tenant_id, id, project_id, user_id, role, message, created_at), "
        "UPDATE (role, status, answered_at, joined_at)",
    )
    for function in ("may_message(uuid)", "delete_message(uuid)", "add_view(text, uuid)"):
        op.execute(f"GRANT EXECUTE ON FUNCTION community.{function} TO regenesis_app")


def _audit() -> None:
    policies.view_audit("community")
    # Counts and views are kept by triggers; a row of the log for each would drown what people did.
    policies.audit_changes(
        "community.posts", "category", "status", "visibility",
        of="title, content, category, tags, media_urls, status, visibility, moderated_by, moderation_note, is_pinned, "
        "is_featured, featured_until",
    )  # fmt: skip
    policies.audit_changes("community.comments", "status", of="content, status, moderated_by, moderation_note")
    policies.audit_changes("community.reactions", "entity_type", "reaction_type")
    policies.audit_changes("community.messages")
    policies.audit_changes("community.blocks")
    policies.audit_changes(
        "community.projects", "stage", "status", "visibility",
        of="title, problem_statement, solution_description, target_market, stage, support_needed, pitch_deck_url, "
        "demo_url, repo_url, media_urls, status, visibility, reviewed_by, review_notes, is_featured, featured_until",
    )  # fmt: skip
    policies.audit_changes("community.project_collaborators", "status")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER drop_reactions ON identity.user_profiles")
    op.execute("DROP POLICY message_lookup ON identity.user_connections")
    op.execute("DROP SCHEMA community CASCADE")
