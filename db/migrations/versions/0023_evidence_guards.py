"""Evidence guards itself: verbatim quotes, inherited visibility, staleness that reaches every descendant, minimums."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db import policies
from db.ddl import add_index, inner_key, read_sql, tenant_key

revision = "0023"
down_revision = "0022"

SQL = read_sql("0023_evidence_guards")

KEPT = (
    "quotes", "claims", "claim_quotes", "patterns", "pattern_claims", "insights", "insight_reviews", "derivations",
    "evidence_packs", "extractions",
)  # fmt: skip
"""What the owner's triggers read and write, inside the bound tenant as everyone."""

AUDIENCE = ("visibility", "client_id", "coach_id")
PARENT_AUDIENCE = "p.visibility, p.client_id, p.coach_id"
ALLOWED = "CASE WHEN i.visibility = 'client_visible' AND c.status <> 'accepted' THEN 'coach_only' ELSE i.visibility END"
"""The most an insight may be seen: a client sees what a coach accepted, if they may see all it was derived from."""
AS_ALLOWED = f"(c.visibility IN ({ALLOWED}, 'system_internal') OR c.visibility = 'coach_only' AND {ALLOWED} = 'client_visible')"
OF_COHORT = "CASE WHEN 'system_internal' = ANY (i.visibilities) THEN 'system_internal' ELSE 'admin_aggregate' END"
# A session that turns out to be another client's leaves its patterns about the one they were about, for nobody to see.
PATTERN_CLIENT = "CASE WHEN c.cohort_id IS NULL THEN coalesce(i.client_id, c.client_id) END"
PATTERN_COACH = "CASE WHEN c.cohort_id IS NULL THEN i.coach_id END"
SHARED = f"CASE WHEN c.cohort_id IS NULL THEN i.visibility ELSE {OF_COHORT} END"


def _parents(child: str, *parents: str, also: str = "") -> str:
    edges = " UNION ALL ".join(
        f"SELECT d.child_{child}_id, {PARENT_AUDIENCE} FROM evidence.derivations d "
        f"JOIN evidence.{parent}s p ON p.tenant_id = d.tenant_id AND p.id = d.parent_{parent}_id "
        f"WHERE d.tenant_id = tenant AND d.child_{child}_id = ANY (ids)"
        for parent in parents
    )
    if child == "pack":
        return edges
    # What is stale has lost parents, or may have: it never shows more than it did.
    return (
        f"{edges}{also} UNION ALL SELECT p.id, {PARENT_AUDIENCE} FROM evidence.{child}s p "
        "WHERE p.tenant_id = tenant AND p.id = ANY (ids) AND p.stale_at IS NOT NULL"
    )


SETTLED = (
    f" UNION ALL SELECT c.id, {PARENT_AUDIENCE} FROM evidence.claims c "
    "JOIN evidence.claims p ON p.tenant_id = c.tenant_id AND p.id = c.superseded_by "
    "WHERE c.tenant_id = tenant AND c.id = ANY (ids)"
)
"""What a later claim makes of an earlier one is derived from both."""

CHILDREN = {
    "claim": {
        "table": "claims",
        "parents": _parents("claim", "quote", also=SETTLED),
        "settings": "visibility = i.visibility, client_id = i.client_id, coach_id = i.coach_id",
        "differs": "(c.visibility, c.client_id, c.coach_id) IS DISTINCT FROM (i.visibility, i.client_id, i.coach_id)",
    },
    "pattern": {
        "table": "patterns",
        "parents": _parents("pattern", "claim"),
        "settings": f"visibility = {SHARED}, client_id = {PATTERN_CLIENT}, coach_id = {PATTERN_COACH}",
        "differs": f"(c.visibility, c.client_id, c.coach_id) "
        f"IS DISTINCT FROM ({SHARED}, {PATTERN_CLIENT}, {PATTERN_COACH})",
    },
    "insight": {
        "table": "insights",
        "parents": _parents("insight", "quote", "claim", "pattern"),
        "settings": f"visibility = CASE WHEN {AS_ALLOWED} THEN c.visibility ELSE {ALLOWED} END, "
        "client_id = i.client_id, coach_id = i.coach_id",
        "differs": f"((c.client_id, c.coach_id) IS DISTINCT FROM (i.client_id, i.coach_id) OR NOT {AS_ALLOWED})",
    },
    "pack": {
        "table": "evidence_packs",
        "parents": _parents("pack", "quote", "claim", "pattern"),
        "settings": "visibilities = array(SELECT unnest(i.visibilities) UNION SELECT unnest(c.visibilities) "
        "WHERE c.stale_at IS NOT NULL ORDER BY 1), client_ids = array(SELECT unnest(i.client_ids) "
        "UNION SELECT unnest(c.client_ids) WHERE c.stale_at IS NOT NULL ORDER BY 1)",
        "differs": "NOT (c.visibilities @> i.visibilities AND c.client_ids @> i.client_ids AND (c.stale_at IS NOT NULL "
        "OR c.visibilities <@ i.visibilities AND c.client_ids <@ i.client_ids))",
    },
}
"""By child: its table, its parents' visibility and audience, and what it gets of what they allow together."""

SOURCES = {
    "transcript": ("content_hash", *AUDIENCE, "held_at"),
    "document": ("content_hash", "text", *AUDIENCE, "program_id"),
}
"""By source: what of it its quotes stand on."""

FIXED = {
    "quotes": (
        "tenant_id", "id", "transcript_id", "document_id", "content_hash", "segment_first", "segment_last", "speaker",
        "speaker_id", "char_start", "char_end", "started_s", "ended_s", "exact", "prefix", "suffix", "method",
    ),
    "claims": (
        "tenant_id", "id", "transcript_id", "document_id", "claim_type", "statement", "holder", "holder_id", "subject",
        "polarity", "modality", "valid_from", "valid_to", "method",
    ),
    "patterns": ("tenant_id", "id", "kind", "cohort_id"),
    "insights": ("tenant_id", "id", "method"),
    "evidence_packs": (
        "tenant_id", "id", "user_id", "client_id", "question", "content", "content_hash", "sessions_in_scope",
        "sessions_examined", "sessions_supporting", "created_at",
    ),
    "claim_quotes": (),
    "pattern_claims": (),
}  # fmt: skip
"""By table: what is never changed, because others were derived from it; nothing named: nothing of it is."""

STALE = ("quotes", "claims", "patterns", "insights", "evidence_packs")
OLD_READER = f"user_id = {policies.USER} AND stale_at IS NULL"
PACK_READER = (
    f"{OLD_READER} AND (client_id IS NULL OR client_id = ANY ({policies.CLIENTS})) "
    f"AND client_ids <@ {policies.CLIENTS} AND visibilities <@ {policies.VISIBILITIES}"
)
# A lesson's document is for those who take its program, which no visibility says.
DOCUMENT_THERE = "document_id IS NULL OR EXISTS (SELECT FROM rag.documents d WHERE d.tenant_id = {table}.tenant_id AND d.id = {table}.document_id)"

HELPERS = (
    "list_edges(uuid, text, uuid[])", "mark_stale(uuid, uuid[], uuid[], uuid[], uuid[])",
    "mark_children(uuid, text, uuid[])", "inherit_from(uuid, text, uuid[])", "require_inherited(uuid, text, uuid[])",
    "check_later(uuid, uuid[])", "refuse_edge(text)", "contradicts(uuid, uuid)", "gives_away(uuid, uuid)",
    *(f"{name}_{child}s(uuid, uuid[])" for name in ("intersect", "inherit", "count_widened") for child in CHILDREN),
)  # fmt: skip
TRIGGERS = (
    "check_quotes", "follow_transcripts", "follow_documents", "follow_segments", "follow_quotes", "admit_claims",
    "follow_claims", "reopen_claim", "follow_patterns", "follow_insights", "follow_packs", "add_claim_edges",
    "add_pattern_edges", "keep_claim_quotes", "keep_pattern_claims", "admit_edges", "lose_edges", "stay_stale",
    "keep_reviews", "open_pack", "check_claim", "check_pattern", "check_insight", "begin_insight",
)  # fmt: skip


def upgrade() -> None:
    """Apply."""
    _change_tables()
    _make_functions()
    _make_triggers()
    for table in KEPT:
        policies.allow(f"evidence.{table}", "keeper", "ALL", "true", to="regenesis_owner")
    for table, commands in (("transcripts", ("SELECT", "UPDATE")), ("transcript_segments", ("SELECT",))):
        for command in commands:
            policies.allow(f"rag.{table}", f"quoting_{command.lower()}", command, "true", to="regenesis_owner")
    for table in ("quotes", "claims"):
        op.execute(
            f"CREATE POLICY reads_document ON evidence.{table} AS RESTRICTIVE FOR SELECT TO regenesis_app "
            f"USING ({DOCUMENT_THERE.format(table=table)})"
        )
    op.execute(f"ALTER POLICY reader ON evidence.evidence_packs USING ({PACK_READER})")
    for table in ("derivations", "insight_reviews"):
        op.execute(f"REVOKE DELETE ON evidence.{table} FROM regenesis_app")
    for name in ("contradicts", "gives_away"):
        op.execute(f"GRANT EXECUTE ON FUNCTION evidence.{name}(uuid, uuid) TO regenesis_app")
    for child in CHILDREN:
        for name in ("intersect", "count_widened"):
            op.execute(f"GRANT EXECUTE ON FUNCTION evidence.{name}_{child}s(uuid, uuid[]) TO regenesis_app")


def _change_tables() -> None:
    op.add_column("tenant_quotas", sa.Column("max_model_usd_month", sa.Numeric(), nullable=True), schema="platform")
    policies.audit_changes("platform.tenant_quotas")
    op.create_table(
        "extractions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("transcript_id", sa.Uuid(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("candidates", sa.Integer(), nullable=False),
        sa.Column("rejections", postgresql.JSONB(), nullable=False),
        sa.Column("dropped", postgresql.JSONB(), nullable=False),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("built_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        inner_key("extractions", "transcript_id", "rag.transcripts", "CASCADE"),
        inner_key("extractions", "run_id", "chat.agent_runs", "SET NULL"),
        tenant_key("extractions"),
        sa.PrimaryKeyConstraint("tenant_id", "transcript_id", name="pk_extractions"),
        schema="evidence",
    )
    policies.guard_internal("evidence.extractions")
    policies.grant("evidence.extractions")
    # The check of a new key reads as the owner, whom nobody has bound to a tenant.
    both = ("evidence.patterns", "partners.partner_cohorts")
    for table in both:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.create_foreign_key(
        "fk_patterns_tenant_id_cohort_id", "patterns", "partner_cohorts", ["tenant_id", "cohort_id"],
        ["tenant_id", "id"], source_schema="evidence", referent_schema="partners", ondelete="CASCADE",
    )  # fmt: skip
    for table in both:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.add_column(
        "claim_quotes", sa.Column("ordinal", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        schema="evidence",
    )  # fmt: skip
    for name, kind in (("visibilities", sa.Text()), ("client_ids", sa.Uuid())):
        op.add_column(
            "evidence_packs", sa.Column(name, sa.ARRAY(kind), server_default=sa.text("'{}'"), nullable=False),
            schema="evidence",
        )  # fmt: skip
    add_index(
        "ix_claims_superseded_by", "evidence.claims", "tenant_id", "superseded_by", where="superseded_by IS NOT NULL"
    )
    for table in STALE:
        add_index(f"ix_{table}_stale", f"evidence.{table}", "tenant_id", where="stale_at IS NOT NULL")


def _make_functions() -> None:
    op.execute(SQL["list_edges"])
    for name in ("intersect_parents", "inherit", "count_widened"):
        for child, parts in CHILDREN.items():
            op.execute(SQL[name] % {"child": child, **parts})
    for name in (
        "inherit_children", "mark_stale", "mark_children", "require_inherited", "check_later_claims", "refuse_edge",
        "contradicts", "gives_away", "check_quotes", "follow_segments", "follow_quotes", "admit_claims",
        "follow_claims", "reopen_claim", "admit_edges", "lose_edges", "stay_stale", "keep_review", "open_pack",
        "check_claim", "check_pattern", "check_insight", "begin_insight",
    ):  # fmt: skip
        op.execute(SQL[name])
    for kind, columns in SOURCES.items():
        op.execute(SQL["follow_sources"] % {"kind": kind, **_compare(columns)})
    for child in ("pattern", "insight", "pack"):
        columns = ("visibilities", "client_ids") if child == "pack" else AUDIENCE
        op.execute(
            SQL["follow_patterns"] % {
                "child": child,
                **_compare((*columns, "status") if child == "insight" else columns),
                "pass_on": "PERFORM evidence.inherit_from(tenant, 'pattern', moved);" if child == "pattern" else "",
                "mark": "IF fell IS NOT NULL THEN\n        PERFORM evidence.mark_children(tenant, 'pattern', fell);\n    END IF;"
                if child == "pattern" else "",
            }
        )  # fmt: skip
    for edge, child, parent in (("claim_quotes", "claim", "quote"), ("pattern_claims", "pattern", "claim")):
        op.execute(SQL["add_edges"] % {"child": child, "parent": parent})
        op.execute(SQL["keep_edges"] % {"edge": edge, "child": child, "parent": parent})


def _compare(columns: tuple[str, ...]) -> dict[str, str]:
    return {when: ", ".join(f"{row}.{name}" for name in columns) for when, row in (("after", "n"), ("before", "o"))}


def _make_triggers() -> None:
    for table, function in (
        ("rag.transcripts", "follow_transcripts"), ("rag.documents", "follow_documents"),
        ("rag.transcript_segments", "follow_segments"), ("evidence.quotes", "follow_quotes"),
        ("evidence.claims", "follow_claims"), ("evidence.patterns", "follow_patterns"),
        ("evidence.insights", "follow_insights"), ("evidence.evidence_packs", "follow_packs"),
    ):  # fmt: skip
        _watch("evidence_follows", "UPDATE", table, function, "OLD TABLE AS gone NEW TABLE AS added")
    _watch("evidence_goes", "DELETE", "rag.transcript_segments", "follow_segments", "OLD TABLE AS gone")
    _watch("evidence_comes", "INSERT", "rag.transcript_segments", "follow_segments", "NEW TABLE AS added")
    for table, function in (
        ("quotes", "check_quotes"), ("claims", "admit_claims"), ("claim_quotes", "add_claim_edges"),
        ("pattern_claims", "add_pattern_edges"), ("derivations", "admit_edges"),
    ):  # fmt: skip
        _watch("admit", "INSERT", f"evidence.{table}", function, "NEW TABLE AS added")
    for table, function in (
        ("claim_quotes", "keep_claim_quotes"), ("pattern_claims", "keep_pattern_claims"),
        ("derivations", "lose_edges"), ("insight_reviews", "keep_reviews"),
    ):  # fmt: skip
        _watch("keep", "DELETE", f"evidence.{table}", function, "OLD TABLE AS gone")
    for table, columns in FIXED.items():
        of = f"OF {', '.join(columns)} " if columns else ""
        op.execute(
            f"CREATE TRIGGER fixed BEFORE UPDATE {of}ON evidence.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()"
        )
    for table in STALE:
        op.execute(
            f"CREATE TRIGGER stay_stale BEFORE UPDATE OF stale_at ON evidence.{table} FOR EACH ROW "
            "WHEN (OLD.stale_at IS NOT NULL AND NEW.stale_at IS DISTINCT FROM OLD.stale_at) "
            "EXECUTE FUNCTION evidence.stay_stale()"
        )
    op.execute(
        "CREATE TRIGGER reopen BEFORE UPDATE OF superseded_by ON evidence.claims FOR EACH ROW WHEN "
        "(OLD.superseded_by IS NOT NULL AND NEW.superseded_by IS NULL AND NEW.status = OLD.status) "
        "EXECUTE FUNCTION evidence.reopen_claim()"
    )
    op.execute(
        "CREATE TRIGGER open BEFORE INSERT ON evidence.evidence_packs FOR EACH ROW EXECUTE FUNCTION evidence.open_pack()"
    )
    op.execute(
        "CREATE TRIGGER begin BEFORE INSERT OR UPDATE OF status ON evidence.insights FOR EACH ROW "
        "EXECUTE FUNCTION evidence.begin_insight()"
    )
    for row, event in (("claim", ""), ("pattern", " OR UPDATE OF statement, subject"), ("insight", "")):
        # At the end of the transaction: a row comes before its edges.
        op.execute(
            f"CREATE CONSTRAINT TRIGGER stands AFTER INSERT{event} ON evidence.{row}s DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW EXECUTE FUNCTION evidence.check_{row}()"
        )


def _watch(name: str, event: str, table: str, function: str, rows: str) -> None:
    op.execute(
        f"CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING {rows} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION evidence.{function}()"
    )


def downgrade() -> None:
    """Take back."""
    for function in TRIGGERS:
        op.execute(f"DROP FUNCTION evidence.{function}() CASCADE")
    for table in FIXED:
        op.execute(f"DROP TRIGGER fixed ON evidence.{table}")
    for helper in HELPERS:
        op.execute(f"DROP FUNCTION evidence.{helper}")
    for table in ("derivations", "insight_reviews"):
        op.execute(f"GRANT DELETE ON evidence.{table} TO regenesis_app")
    op.execute(f"ALTER POLICY reader ON evidence.evidence_packs USING ({OLD_READER})")
    for table in ("quotes", "claims"):
        op.execute(f"DROP POLICY reads_document ON evidence.{table}")
    for policy, table in (
        ("quoting_select", "transcripts"), ("quoting_update", "transcripts"), ("quoting_select", "transcript_segments"),
    ):  # fmt: skip
        op.execute(f"DROP POLICY {policy} ON rag.{table}")
    for table in KEPT:
        op.execute(f"DROP POLICY keeper ON evidence.{table}")
    for table in STALE:
        op.drop_index(f"ix_{table}_stale", table_name=table, schema="evidence")
    op.drop_index("ix_claims_superseded_by", table_name="claims", schema="evidence")
    for column in ("visibilities", "client_ids"):
        op.drop_column("evidence_packs", column, schema="evidence")
    op.drop_column("claim_quotes", "ordinal", schema="evidence")
    op.drop_constraint("fk_patterns_tenant_id_cohort_id", "patterns", schema="evidence", type_="foreignkey")
    op.drop_table("extractions", schema="evidence")
    op.drop_column("tenant_quotas", "max_model_usd_month", schema="platform")
    policies.audit_changes("platform.tenant_quotas")
