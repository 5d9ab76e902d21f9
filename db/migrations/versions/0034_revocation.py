"""Shared links, withdrawn consents and corrections: what ends at once."""

import sqlalchemy as sa
from alembic import op

from db import policies
from db.ddl import add_index, inner_key, read_sql, tenant_key

revision = "0034"
down_revision = "0033"

SQL = read_sql("0034_revocation")

PROCESSING = ("assistant", "evidence", "analytics", "external_model")
BEFORE = (
    "terms_of_service", "privacy_policy", "session_recording", "ai_assistance", "evaluation", "research", "marketing",
)  # fmt: skip
AFTER = (
    "terms_of_service", "privacy_policy", "session_recording", "assistant", "evidence", "evaluation", "analytics",
    "external_model", "research", "marketing",
)  # fmt: skip
FUNCTIONS = (
    "identity.needs_consent(uuid, text)", "identity.list_withheld(text)",
    "identity.settle_consents(uuid, uuid[], text[])", "identity.follow_consents()", "identity.follow_texts()",
    "identity.follow_people()", "identity.follow_withheld()", "evidence.require_consent()",
    "analytics.skip_uncounted()", "evaluation.may_leave(uuid, uuid)", "chat.open_shared_link(text)", "chat.keep_link()", "governance.guard_correction()",
    "governance.follow_correction()", "evidence.keep_retracted()",
)  # fmt: skip

ASSISTED = f"(SELECT array(SELECT unnest({policies.CLIENTS}) EXCEPT SELECT unnest(identity.list_withheld('assistant'))))::uuid[]"
"""The reader's clients without those who want no assistant: worked out once a statement, so a row costs what it did."""
WORDIEST = "rag.wordiest_chunks(sparsevec,integer[],integer)"

MESSAGE = "chat.chat_messages(id, created_at)"
OWN = f"user_id = {policies.USER}"
LINKED_IS_OWN = (
    "(message_id IS NULL OR EXISTS (SELECT FROM chat.chat_messages m WHERE m.tenant_id = shared_links.tenant_id "
    "AND m.id = shared_links.message_id AND m.created_at = shared_links.message_created_at)) "
    "AND (pack_id IS NULL OR EXISTS (SELECT FROM evidence.evidence_packs k WHERE k.tenant_id = shared_links.tenant_id "
    "AND k.id = shared_links.pack_id))"
)
"""Under the policies of whoever shares: what they share is theirs to read."""
DECIDES = (
    f"{policies.ROLE} = 'compliance' OR ({policies.ROLE} = 'coach' AND client_id = ANY ({policies.CLIENTS}))"
)


def upgrade() -> None:
    """Apply."""
    _rename_purposes(BEFORE, AFTER, "ai_assistance", "assistant")
    _create_consents()
    _create_links()
    _create_corrections()
    for name in (
        "needs_consent", "list_withheld", "settle_consents", "follow_consents", "follow_texts", "follow_people",
        "follow_withheld", "require_consent", "skip_uncounted", "list_allowed", "may_leave", "open_shared_link", "keep_link",
        "guard_correction", "follow_correction", "keep_retracted",
    ):  # fmt: skip
        op.execute(SQL[name])
    op.execute(
        "GRANT EXECUTE ON FUNCTION identity.list_withheld(text), identity.needs_consent(uuid, text), "
        "evaluation.may_leave(uuid, uuid), "
        "chat.open_shared_link(text) TO regenesis_app"
    )
    _attach_triggers()
    _search_for(ASSISTED, policies.CLIENTS)
    # What people withdrew before there was anything that asked for it counts from now on.
    for table in ("identity.consents", "identity.users", "identity.withheld_purposes"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO identity.withheld_purposes (tenant_id, user_id, purpose) "
        "SELECT DISTINCT c.tenant_id, c.user_id, c.purpose FROM identity.consents c "
        f"WHERE c.purpose IN {PROCESSING} AND NOT EXISTS (SELECT FROM identity.consents r "
        "WHERE r.tenant_id = c.tenant_id AND r.user_id = c.user_id AND r.purpose = c.purpose "
        "AND r.withdrawn_at IS NULL)"
    )
    for table in ("identity.consents", "identity.users", "identity.withheld_purposes"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _rename_purposes(old: tuple[str, ...], new: tuple[str, ...], was: str, becomes: str) -> None:
    op.execute("ALTER TABLE identity.consents DROP CONSTRAINT ck_consents_purpose")
    op.execute("ALTER TABLE identity.consents NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE identity.consents DISABLE TRIGGER USER")
    op.execute(f"UPDATE identity.consents SET purpose = '{becomes}' WHERE purpose = '{was}'")
    op.execute(f"DELETE FROM identity.consents WHERE purpose NOT IN {new}")
    op.execute("ALTER TABLE identity.consents ENABLE TRIGGER USER")
    op.execute("ALTER TABLE identity.consents FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE identity.consents ADD CONSTRAINT ck_consents_purpose CHECK (purpose IN {new})")


def _create_consents() -> None:
    op.create_table(
        "consent_texts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("purpose", sa.String(length=50), nullable=False),
        sa.Column("version", sa.String(length=50), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=False),
        sa.Column("is_required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "published_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(f"purpose IN {AFTER}", name=op.f("ck_consent_texts_purpose")),
        sa.CheckConstraint("text_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_consent_texts_text_hash")),
        tenant_key("consent_texts"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_consent_texts"),
        sa.UniqueConstraint("tenant_id", "purpose", "version", name="uq_consent_texts_tenant_id_purpose_version"),
        schema="identity",
    )
    op.create_table(
        "withheld_purposes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=50), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint(f"purpose IN {PROCESSING}", name=op.f("ck_withheld_purposes_purpose")),
        inner_key("withheld_purposes", "user_id", "identity.users", "CASCADE"),
        tenant_key("withheld_purposes"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "purpose", name="pk_withheld_purposes"),
        schema="identity",
    )
    add_index("ix_withheld_purposes_purpose", "identity.withheld_purposes", "tenant_id", "purpose", "user_id")
    policies.isolate_tenants("identity.consent_texts")
    policies.guard_reading("identity.consent_texts", "true")
    policies.allow("identity.consent_texts", "keeper", "SELECT", "true", to="regenesis_owner")
    policies.allow("identity.consent_texts", "publisher", "INSERT", f"{policies.ROLE} IN ('admin', 'compliance')")
    policies.grant("identity.consent_texts", "SELECT, INSERT")
    policies.audit_changes("identity.consent_texts", "purpose", "version")
    policies.isolate_tenants("identity.withheld_purposes")
    policies.guard_reading("identity.withheld_purposes", f"{OWN} OR {policies.ROLE} = 'compliance'")
    policies.allow("identity.withheld_purposes", "keeper", "ALL", "true", to="regenesis_owner")
    policies.grant("identity.withheld_purposes", "SELECT")


def _create_links() -> None:
    table = "chat.shared_links"
    op.create_table(
        "shared_links",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("message_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pack_id", sa.Uuid(), nullable=True),
        sa.Column("reader_id", sa.Uuid(), nullable=True),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("num_nonnulls(message_id, pack_id) = 1", name=op.f("ck_shared_links_one_thing")),
        sa.CheckConstraint(
            "num_nonnulls(message_id, message_created_at) IN (0, 2)", name=op.f("ck_shared_links_message")
        ),
        sa.CheckConstraint(
            "expires_at > created_at AND expires_at <= created_at + interval '30 days'",
            name=op.f("ck_shared_links_expires_at"),
        ),
        sa.CheckConstraint("reader_id <> user_id", name=op.f("ck_shared_links_reader")),
        sa.CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_shared_links_token_hash")),
        inner_key("shared_links", "user_id", "identity.users", "CASCADE"),
        inner_key("shared_links", "reader_id", "identity.users", "CASCADE"),
        inner_key("shared_links", ("message_id", "message_created_at"), MESSAGE, "CASCADE"),
        inner_key("shared_links", "pack_id", "evidence.evidence_packs", "CASCADE"),
        tenant_key("shared_links"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_shared_links"),
        sa.UniqueConstraint("tenant_id", "token_hash", name="uq_shared_links_tenant_id_token_hash"),
        schema="chat",
    )
    add_index("ix_shared_links_user", table, "tenant_id", "user_id", "created_at")
    add_index("ix_shared_links_message", table, "tenant_id", "message_id", where="message_id IS NOT NULL")
    add_index("ix_shared_links_pack", table, "tenant_id", "pack_id", where="pack_id IS NOT NULL")
    policies.isolate_tenants(table)
    policies.allow(table, "keeper", "ALL", "true", to="regenesis_owner")
    policies.allow(table, "own_select", "SELECT", OWN)
    policies.allow(table, "own_insert", "INSERT", f"{OWN} AND {LINKED_IS_OWN}")
    policies.allow(table, "own_update", "UPDATE", OWN)
    policies.grant(table, "SELECT, INSERT, DELETE, UPDATE (revoked_at)")  # the pipelines alone may delete
    policies.audit_changes(table, of="revoked_at")


def _create_corrections() -> None:
    table = "governance.corrections"
    op.create_table(
        "corrections",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="requested", nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=True),
        sa.Column("segment_index", sa.Integer(), nullable=True),
        sa.Column("turn_hash", sa.Text(), nullable=True),
        sa.Column("proposed_text", sa.Text(), nullable=True),
        sa.Column("speaker_id", sa.Uuid(), nullable=True),
        sa.Column("claim_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('turn_words', 'turn_speaker', 'claim')", name=op.f("ck_corrections_kind")
        ),
        sa.CheckConstraint(
            "status IN ('requested', 'applied', 'refused', 'withdrawn')", name=op.f("ck_corrections_status")
        ),
        sa.CheckConstraint("(status = 'requested') = (decided_at IS NULL)", name=op.f("ck_corrections_decided")),
        sa.CheckConstraint(
            "(kind = 'claim') = (claim_id IS NOT NULL) AND (kind <> 'claim') = "
            "(num_nonnulls(object_id, segment_index, turn_hash) = 3) AND (kind = 'turn_speaker') = "
            "(speaker_id IS NOT NULL) AND (kind = 'turn_words' OR proposed_text IS NULL) "
            "AND (kind <> 'turn_words' OR proposed_text IS NOT NULL OR status IN ('refused', 'withdrawn'))",
            name=op.f("ck_corrections_subject"),
        ),
        inner_key("corrections", "requested_by", "identity.users", "CASCADE"),
        inner_key("corrections", "client_id", "identity.users", "CASCADE"),
        inner_key("corrections", "speaker_id", "identity.users", "CASCADE"),
        inner_key("corrections", "decided_by", "identity.users", "SET NULL"),
        inner_key("corrections", "object_id", "ingestion.ingested_objects", "CASCADE"),
        tenant_key("corrections"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_corrections"),
        schema="governance",
    )
    add_index("ix_corrections_requested", table, "tenant_id", "requested_at")
    add_index("ix_corrections_object", table, "tenant_id", "object_id", where="object_id IS NOT NULL")
    add_index("ix_corrections_claim", table, "tenant_id", "claim_id", where="claim_id IS NOT NULL")
    policies.guard_where(table, f"requested_by = {policies.USER} OR {DECIDES}")
    policies.allow(table, "keeper", "ALL", "true", to="regenesis_owner")
    policies.grant(table, "SELECT, INSERT, DELETE, UPDATE (status, proposed_text, decided_by, decision, decided_at)")
    policies.audit_changes(table, "kind", "status")


def _attach_triggers() -> None:
    for name, event, row in (("given", "INSERT", "NEW"), ("ended", "UPDATE OF withdrawn_at", "NEW"),
                             ("gone", "DELETE", "OLD")):  # fmt: skip
        op.execute(
            f"CREATE TRIGGER withholds_{name} AFTER {event} ON identity.consents FOR EACH ROW "
            f"WHEN ({row}.purpose IN {PROCESSING}) EXECUTE FUNCTION identity.follow_consents()"
        )
    op.execute(
        "CREATE TRIGGER withholds AFTER INSERT ON identity.consent_texts FOR EACH ROW "
        f"WHEN (NEW.purpose IN {PROCESSING}) EXECUTE FUNCTION identity.follow_texts()"
    )
    for table, name, function in (
        ("identity.users", "withholds", "identity.follow_people"),
        ("identity.withheld_purposes", "withholds", "identity.follow_withheld"),
        ("evidence.quotes", "consent", "evidence.require_consent"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} AFTER INSERT ON {table} REFERENCING NEW TABLE AS added "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
    op.execute(
        "CREATE TRIGGER uncounted BEFORE INSERT ON analytics.events FOR EACH ROW "
        "EXECUTE FUNCTION analytics.skip_uncounted()"
    )
    op.execute(
        "CREATE TRIGGER kept BEFORE UPDATE ON chat.shared_links FOR EACH ROW EXECUTE FUNCTION chat.keep_link()"
    )
    op.execute(
        "CREATE TRIGGER guarded BEFORE INSERT OR UPDATE ON governance.corrections FOR EACH ROW "
        "EXECUTE FUNCTION governance.guard_correction()"
    )
    op.execute(
        "CREATE TRIGGER applied AFTER UPDATE OF status ON governance.corrections FOR EACH ROW "
        "WHEN (NEW.kind = 'claim' AND NEW.status = 'applied' AND OLD.status <> 'applied') "
        "EXECUTE FUNCTION governance.follow_correction()"
    )
    op.execute(
        "CREATE TRIGGER retracted BEFORE INSERT OR UPDATE OF status, superseded_by ON evidence.claims FOR EACH ROW "
        "EXECUTE FUNCTION evidence.keep_retracted()"
    )


def _search_for(audience: str, instead: str) -> None:
    """Let search alone go by this audience; who may read a source stays as it is."""
    condition = f"visibility = ANY ({policies.VISIBILITIES}) AND ({policies.AUDIENCE})"
    op.execute(f"ALTER POLICY reader ON rag.chunk_embeddings USING ({condition.replace(policies.CLIENTS, audience)})")
    # The function that reads a partition as its owner says the policy's condition in its text.
    before, after = policies.quoted(instead), policies.quoted(audience)
    op.execute(
        f"DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('{WORDIEST}'::regprocedure), "
        f"$before${before}$before$, $after${after}$after$); END $do$"
    )


def downgrade() -> None:
    """Take back."""
    _search_for(policies.CLIENTS, ASSISTED)
    op.execute(read_sql("0025_studied_answers")["list_allowed"].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.drop_table("shared_links", schema="chat")
    op.drop_table("corrections", schema="governance")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function} CASCADE")
    op.drop_table("withheld_purposes", schema="identity")
    op.drop_table("consent_texts", schema="identity")
    _rename_purposes(AFTER, BEFORE, "assistant", "ai_assistance")
