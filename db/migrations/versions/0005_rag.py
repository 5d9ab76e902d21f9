"""Transcripts, documents, chunks and their search vectors."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC, SPARSEVEC
from sqlalchemy.dialects import postgresql

from db import policies

revision = "0005"
down_revision = "0004"

COUNT_TERMS = """
CREATE FUNCTION rag.count_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Rows are locked in the order of their terms, so two writers wait for each other but never deadlock.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO rag.term_frequencies AS f (tenant_id, term, chunks)
        SELECT tenant_id, term, count(*) FROM (
            SELECT tenant_id, unnest(terms) AS term FROM changed UNION ALL SELECT tenant_id, 0 FROM changed
        ) counted GROUP BY tenant_id, term ORDER BY tenant_id, term
        ON CONFLICT (tenant_id, term) DO UPDATE SET chunks = f.chunks + excluded.chunks;
        RETURN NULL;
    END IF;
    -- No insert here: where the whole tenant goes, its counts may be gone before its chunks.
    PERFORM FROM rag.term_frequencies f
    WHERE f.tenant_id IN (SELECT tenant_id FROM changed) AND (f.term = 0 OR f.term IN (SELECT unnest(terms) FROM changed))
    ORDER BY f.tenant_id, f.term FOR UPDATE;
    UPDATE rag.term_frequencies f SET chunks = f.chunks - gone.chunks
    FROM (
        SELECT tenant_id, term, count(*) AS chunks FROM (
            SELECT tenant_id, unnest(terms) AS term FROM changed UNION ALL SELECT tenant_id, 0 FROM changed
        ) counted GROUP BY tenant_id, term
    ) gone
    WHERE f.tenant_id = gone.tenant_id AND f.term = gone.term;
    DELETE FROM rag.term_frequencies f USING (SELECT DISTINCT tenant_id FROM changed) c
    WHERE f.tenant_id = c.tenant_id AND f.chunks <= 0;
    RETURN NULL;
END $$
"""

INHERITING = ("transcripts", "transcript_segments", "documents", "document_chunks", "chunk_embeddings")

REQUIRE_INHERITED_AUDIENCE = """
CREATE FUNCTION rag.require_inherited_audience() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'transcripts', 'documents', 'document_chunks' THEN
        SELECT count(*) INTO wrong FROM changed c
        JOIN ingestion.ingested_objects p ON p.tenant_id = c.tenant_id AND p.id = c.object_id
        WHERE (c.visibility, c.client_id, c.coach_id) IS DISTINCT FROM (p.visibility, p.client_id, p.coach_id);
    WHEN 'transcript_segments' THEN
        SELECT count(*) INTO wrong FROM changed c
        JOIN rag.transcripts p ON p.tenant_id = c.tenant_id AND p.id = c.transcript_id
        WHERE (c.visibility, c.client_id, c.coach_id) IS DISTINCT FROM (p.visibility, p.client_id, p.coach_id);
    ELSE
        SELECT count(*) INTO wrong FROM changed c
        JOIN rag.document_chunks p ON p.tenant_id = c.tenant_id AND p.id = c.chunk_id
        WHERE (c.visibility, c.client_id, c.coach_id) IS DISTINCT FROM (p.visibility, p.client_id, p.coach_id);
    END CASE;
    IF wrong > 0 THEN
        RAISE EXCEPTION '% rows of %.% have another visibility or audience than their source', wrong,
            TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$
"""

PASS_AUDIENCE_ON = """
CREATE FUNCTION rag.pass_audience_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'ingested_objects' THEN
        UPDATE rag.transcripts SET visibility = NEW.visibility, client_id = NEW.client_id, coach_id = NEW.coach_id
        WHERE tenant_id = NEW.tenant_id AND object_id = NEW.id;
        UPDATE rag.documents SET visibility = NEW.visibility, client_id = NEW.client_id, coach_id = NEW.coach_id
        WHERE tenant_id = NEW.tenant_id AND object_id = NEW.id;
        UPDATE rag.document_chunks SET visibility = NEW.visibility, client_id = NEW.client_id, coach_id = NEW.coach_id
        WHERE tenant_id = NEW.tenant_id AND object_id = NEW.id;
    WHEN 'transcripts' THEN
        UPDATE rag.transcript_segments SET visibility = NEW.visibility, client_id = NEW.client_id, coach_id = NEW.coach_id
        WHERE tenant_id = NEW.tenant_id AND transcript_id = NEW.id;
    WHEN 'document_chunks' THEN
        UPDATE rag.chunk_embeddings SET visibility = NEW.visibility, client_id = NEW.client_id, coach_id = NEW.coach_id
        WHERE tenant_id = NEW.tenant_id AND chunk_id = NEW.id;
    ELSE
        NULL;
    END CASE;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.execute("CREATE SCHEMA rag")
    op.execute("GRANT USAGE ON SCHEMA rag TO regenesis_app")
    op.create_table(
        "embeddings_registry",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("vector_store_id", sa.Text(), server_default="pgvector", nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="building", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('building', 'active', 'retired')", name=("ck_embeddings_registry_status")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_embeddings_registry_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_embeddings_registry")),
        sa.UniqueConstraint("tenant_id", "model_name", name=("uq_embeddings_registry_tenant_id_model_name")),
        schema="rag",
    )
    op.create_index(
        "uq_embeddings_registry_active",
        "embeddings_registry",
        ["tenant_id"],
        unique=True,
        schema="rag",
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "term_frequencies",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("term", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_term_frequencies_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "term", name=("pk_term_frequencies")),
        schema="rag",
    )
    op.create_table(
        "documents",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_documents_visibility"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_documents_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_documents_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "object_id"],
            ["ingestion.ingested_objects.tenant_id", "ingestion.ingested_objects.id"],
            name=("fk_documents_tenant_id_object_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_documents_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_documents")),
        sa.UniqueConstraint("tenant_id", "object_id", name=("uq_documents_tenant_id_object_id")),
        schema="rag",
    )
    op.create_table(
        "transcripts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("coaching_session_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("segment_count", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_transcripts_visibility"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_transcripts_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_transcripts_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coaching_session_id"],
            ["coaching.coaching_sessions.tenant_id", "coaching.coaching_sessions.id"],
            name=("fk_transcripts_tenant_id_coaching_session_id"),
            ondelete="SET NULL (coaching_session_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "object_id"],
            ["ingestion.ingested_objects.tenant_id", "ingestion.ingested_objects.id"],
            name=("fk_transcripts_tenant_id_object_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_transcripts_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_transcripts")),
        sa.UniqueConstraint("tenant_id", "object_id", name=("uq_transcripts_tenant_id_object_id")),
        schema="rag",
    )
    op.create_index(
        "ix_transcripts_client", "transcripts", ["tenant_id", "client_id", "held_at"], unique=False, schema="rag"
    )
    op.create_table(
        "document_chunks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("transcript_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("chunk_index", sa.Integer(), nullable=False),
        sa.Column("cloudfront_url", sa.Text(), nullable=True),
        sa.Column("char_start", sa.Integer(), nullable=False),
        sa.Column("char_end", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("segment_first", sa.Integer(), nullable=True),
        sa.Column("segment_last", sa.Integer(), nullable=True),
        sa.Column("started_s", sa.Double(), nullable=True),
        sa.Column("ended_s", sa.Double(), nullable=True),
        sa.Column("page_first", sa.Integer(), nullable=True),
        sa.Column("page_last", sa.Integer(), nullable=True),
        sa.Column("heading", sa.Text(), nullable=True),
        sa.Column("word_count", sa.Integer(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_document_chunks_visibility"),
        ),
        sa.CheckConstraint("char_end - char_start = length(text)", name=("ck_document_chunks_range")),
        sa.CheckConstraint("num_nonnulls(transcript_id, document_id) = 1", name=("ck_document_chunks_one_source")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_document_chunks_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_document_chunks_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "document_id"],
            ["rag.documents.tenant_id", "rag.documents.id"],
            name=("fk_document_chunks_tenant_id_document_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "object_id"],
            ["ingestion.ingested_objects.tenant_id", "ingestion.ingested_objects.id"],
            name=("fk_document_chunks_tenant_id_object_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "transcript_id"],
            ["rag.transcripts.tenant_id", "rag.transcripts.id"],
            name=("fk_document_chunks_tenant_id_transcript_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_document_chunks_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_document_chunks")),
        sa.UniqueConstraint(
            "tenant_id", "object_id", "chunk_index", name=("uq_document_chunks_tenant_id_object_id_chunk_index")
        ),
        schema="rag",
    )
    op.create_index(
        "ix_document_chunks_document_id",
        "document_chunks",
        ["tenant_id", "document_id", "chunk_index"],
        unique=False,
        schema="rag",
    )
    op.create_index(
        "ix_document_chunks_transcript_id",
        "document_chunks",
        ["tenant_id", "transcript_id", "chunk_index"],
        unique=False,
        schema="rag",
    )
    op.create_table(
        "transcript_segments",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("transcript_id", sa.Uuid(), nullable=False),
        sa.Column("segment_index", sa.Integer(), nullable=False),
        sa.Column("speaker", sa.Text(), nullable=True),
        sa.Column("speaker_id", sa.Uuid(), nullable=True),
        sa.Column("started_s", sa.Double(), nullable=True),
        sa.Column("ended_s", sa.Double(), nullable=True),
        sa.Column("char_start", sa.Integer(), nullable=False),
        sa.Column("char_end", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column(
            "text_search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('english', text)", persisted=True),
            nullable=False,
        ),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_transcript_segments_visibility"),
        ),
        sa.CheckConstraint("char_end - char_start = length(text)", name=("ck_transcript_segments_range")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_transcript_segments_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_transcript_segments_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "speaker_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_transcript_segments_tenant_id_speaker_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "transcript_id"],
            ["rag.transcripts.tenant_id", "rag.transcripts.id"],
            name=("fk_transcript_segments_tenant_id_transcript_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_transcript_segments_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=("pk_transcript_segments")),
        sa.UniqueConstraint(
            "tenant_id",
            "transcript_id",
            "segment_index",
            name=("uq_transcript_segments_tenant_id_transcript_id_segment_index"),
        ),
        schema="rag",
    )
    op.create_index(
        "ix_transcript_segments_text_search",
        "transcript_segments",
        ["text_search"],
        unique=False,
        schema="rag",
        postgresql_using="gin",
    )
    op.create_table(
        "chunk_embeddings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("registry_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=False),
        sa.Column("chunk_index", sa.Integer(), nullable=False),
        sa.Column("coaching_session_id", sa.Uuid(), nullable=True),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("speakers", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("speaker_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("embedding", HALFVEC(), nullable=True),
        sa.Column("lexical", SPARSEVEC(dim=536870912), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("coach_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("source_kind IN ('transcript', 'document')", name=("ck_chunk_embeddings_source_kind")),
        sa.CheckConstraint(
            "visibility IN ('client_visible', 'coach_only', 'admin_aggregate', 'system_internal')",
            name=("ck_chunk_embeddings_visibility"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "chunk_id"],
            ["rag.document_chunks.tenant_id", "rag.document_chunks.id"],
            name=("fk_chunk_embeddings_tenant_id_chunk_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_chunk_embeddings_tenant_id_client_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "coach_id"],
            ["identity.users.tenant_id", "identity.users.id"],
            name=("fk_chunk_embeddings_tenant_id_coach_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "registry_id"],
            ["rag.embeddings_registry.tenant_id", "rag.embeddings_registry.id"],
            name=("fk_chunk_embeddings_tenant_id_registry_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_chunk_embeddings_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "registry_id", "chunk_id", name=("pk_chunk_embeddings")),
        schema="rag",
        postgresql_partition_by="LIST (tenant_id)",
    )
    op.create_index(
        "ix_chunk_embeddings_chunk_id", "chunk_embeddings", ["tenant_id", "chunk_id"], unique=False, schema="rag"
    )
    op.create_index(
        "ix_chunk_embeddings_source",
        "chunk_embeddings",
        ["tenant_id", "registry_id", "source_id", "chunk_index"],
        unique=False,
        schema="rag",
    )
    op.create_table(
        "search_metadata",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("terms", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("keywords", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "chunk_id"],
            ["rag.document_chunks.tenant_id", "rag.document_chunks.id"],
            name=("fk_search_metadata_tenant_id_chunk_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["platform.tenants.id"], name=("fk_search_metadata_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "chunk_id", name=("pk_search_metadata")),
        schema="rag",
    )
    op.execute("CREATE TABLE rag.chunk_embeddings_default PARTITION OF rag.chunk_embeddings DEFAULT")
    op.execute(COUNT_TERMS)
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_terms_{event.lower()} AFTER {event} ON rag.search_metadata "
            f"REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rag.count_terms()"
        )
    op.execute(REQUIRE_INHERITED_AUDIENCE)
    for table in INHERITING:
        for event in ("INSERT", "UPDATE"):
            op.execute(
                f"CREATE TRIGGER audience_{event.lower()} AFTER {event} ON rag.{table} "
                "REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rag.require_inherited_audience()"
            )
    op.execute(PASS_AUDIENCE_ON)
    for table in ("ingestion.ingested_objects", "rag.transcripts", "rag.documents", "rag.document_chunks"):
        op.execute(
            f"CREATE TRIGGER pass_audience_on AFTER UPDATE OF visibility, client_id, coach_id ON {table} FOR EACH ROW "
            "WHEN ((OLD.visibility, OLD.client_id, OLD.coach_id) IS DISTINCT FROM (NEW.visibility, NEW.client_id, NEW.coach_id)) "
            "EXECUTE FUNCTION rag.pass_audience_on()"
        )
    for table in ("transcripts", "transcript_segments", "documents", "document_chunks", "chunk_embeddings"):
        policies.guard_content(f"rag.{table}")
        policies.grant(f"rag.{table}")
    policies.guard_where(
        "rag.search_metadata",
        "EXISTS (SELECT FROM rag.document_chunks c "
        "WHERE c.tenant_id = search_metadata.tenant_id AND c.id = search_metadata.chunk_id)",
    )
    policies.grant("rag.search_metadata", "SELECT, INSERT, DELETE")
    for table in ("embeddings_registry", "term_frequencies"):
        policies.guard_where(f"rag.{table}", "true")
        policies.grant(f"rag.{table}")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP TRIGGER pass_audience_on ON ingestion.ingested_objects")
    op.execute("DROP SCHEMA rag CASCADE")
