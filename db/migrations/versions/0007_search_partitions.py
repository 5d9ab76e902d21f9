"""Own partitions for large tenants, each with indexes for meaning and for words."""

from alembic import op

from db import policies

revision = "0007"
down_revision = "0006"

LIST_TERMS = """
CREATE FUNCTION rag.list_terms(words sparsevec) RETURNS int[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(split_part(element, ':', 1)::int)
    FROM unnest(string_to_array(trim('{}' FROM split_part(words::text, '/', 1)), ',')) AS element
    WHERE element <> ''
$$
"""

NAME_PARTITION = """
CREATE FUNCTION rag.name_partition(tenant uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'chunk_embeddings_t' || replace(tenant::text, '-', '') $$
"""

GIVE_PARTITION = """
CREATE FUNCTION rag.give_partition(tenant uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET maintenance_work_mem = '1GB' AS $$
-- Moves a large tenant's search rows into a partition of its own and indexes the active model there; returns whether
-- there was anything to do. Readers go on; writers of search rows wait, as the move locks the shared partition.
DECLARE
    part text := rag.name_partition(tenant);
    model record;
    indexed text;
    did boolean := false;
BEGIN
    IF tenant IS DISTINCT FROM current_setting('app.tenant_id')::uuid OR current_setting('app.role') <> 'system' THEN
        RAISE EXCEPTION 'only the pipelines of a tenant give it a partition' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('regenesis.partitions'));
    IF to_regclass('rag.' || part) IS NULL THEN
        LOCK TABLE rag.chunk_embeddings IN SHARE ROW EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE rag.%I (LIKE rag.chunk_embeddings_default INCLUDING ALL)', part);
        EXECUTE format(
            'WITH moved AS (DELETE FROM rag.chunk_embeddings_default WHERE tenant_id = %L RETURNING *) '
            'INSERT INTO rag.%I SELECT * FROM moved ORDER BY source_id, chunk_index', tenant, part);
        EXECUTE format('CREATE INDEX ON rag.%I USING gin (rag.list_terms(lexical))', part);
        EXECUTE format('ALTER TABLE rag.chunk_embeddings ATTACH PARTITION rag.%I FOR VALUES IN (%L)', part, tenant);
        did := true;
    END IF;
    SELECT id, dimensions INTO model FROM rag.embeddings_registry WHERE tenant_id = tenant AND status = 'active';
    indexed := part || '_' || left(coalesce(model.id::text, ''), 8);
    IF model.dimensions > 0 AND to_regclass(format('rag.%I', indexed)) IS NULL THEN
        -- Partial, as a model that is being built beside this one may have vectors of another length.
        EXECUTE format(
            'CREATE INDEX %I ON rag.%I USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops) '
            'WITH (m = 16, ef_construction = 128) WHERE registry_id = %L',
            indexed, part, model.dimensions, model.id);
        did := true;
    END IF;
    IF did THEN
        EXECUTE format('ANALYZE rag.%I', part);
    END IF;
    RETURN did;
END $$
"""

NEAREST_CHUNKS = """
CREATE FUNCTION rag.nearest_chunks(meaning text, most int) RETURNS TABLE (source_id uuid, chunk_index int)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 800 SET hnsw.max_scan_tuples = 100000 AS $$
-- The chunks nearest to a vector by the tenant's own index, as the reader; none where it has no partition.
-- The statement is written anew for each model, as only a literal lets PostgreSQL use a partial index.
DECLARE
    here uuid := current_setting('app.tenant_id')::uuid;
    model record;
BEGIN
    SELECT id, dimensions INTO model FROM rag.embeddings_registry WHERE tenant_id = here AND status = 'active';
    IF model.id IS NULL OR meaning IS NULL OR to_regclass('rag.' || rag.name_partition(here)) IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT source_id, chunk_index FROM rag.chunk_embeddings WHERE tenant_id = %L AND registry_id = %L '
        'ORDER BY (embedding::halfvec(%s)) <#> $1::halfvec(%s) LIMIT $2', here, model.id, model.dimensions, model.dimensions)
        USING meaning, most;
END $$
"""

WORDIEST_CHUNKS = f"""
CREATE FUNCTION rag.wordiest_chunks(asked sparsevec, terms int[], most int) RETURNS TABLE (source_id uuid, chunk_index int)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
-- The chunks with the best BM25 score among those that hold one of the terms. Under a policy no index of words could be
-- used (its operator is not leakproof), so this reads the partition as its owner, with the policies' own conditions;
-- whoever joins its result to the table is held to the policies once more.
DECLARE
    here uuid := current_setting('app.tenant_id')::uuid;
    model uuid := (SELECT id FROM rag.embeddings_registry WHERE tenant_id = here AND status = 'active');
    -- The rarest terms, while few chunks hold them: the common ones decide little and would have everything read.
    rare int[] := (
        SELECT array_agg(term) FROM (
            SELECT term, sum(chunks) OVER (ORDER BY chunks, term) AS together, row_number() OVER (ORDER BY chunks, term) AS place
            FROM rag.term_frequencies WHERE tenant_id = here AND term = ANY (terms)
        ) counted WHERE together <= 50000 OR place = 1
    );
BEGIN
    IF model IS NULL OR rare IS NULL OR to_regclass('rag.' || rag.name_partition(here)) IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT source_id, chunk_index FROM rag.%I WHERE registry_id = $1 AND rag.list_terms(lexical) && $2 '
        'AND ({policies.quoted(policies.SYSTEM)} OR (visibility = ANY ({policies.quoted(policies.VISIBILITIES)}) '
        'AND ({policies.quoted(policies.AUDIENCE)}))) ORDER BY lexical <#> $3 LIMIT $4', rag.name_partition(here))
        USING model, rare, asked, most;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_chunk_embeddings_client", "chunk_embeddings", ["tenant_id", "registry_id", "client_id"], schema="rag"
    )
    # The extension's settings are known, and so may be kept with a function, once its library is loaded.
    op.execute("SELECT '[1]'::vector")
    for function in (LIST_TERMS, NAME_PARTITION, GIVE_PARTITION, NEAREST_CHUNKS, WORDIEST_CHUNKS):
        op.execute(function)
    op.execute(
        # list_terms too: a partition's index calls it for every row the app writes
        "GRANT EXECUTE ON FUNCTION rag.list_terms(sparsevec), rag.name_partition(uuid), rag.give_partition(uuid), "
        "rag.nearest_chunks(text, int), rag.wordiest_chunks(sparsevec, int[], int) TO regenesis_app"
    )


def downgrade() -> None:
    """Take back; tenants' partitions go back into the shared one."""
    op.execute(
        """
        DO $$
        DECLARE
            part text;
        BEGIN
            FOR part IN
                SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'rag.chunk_embeddings'::regclass AND c.relname ~ '_t[0-9a-f]{32}$'
            LOOP
                EXECUTE format('ALTER TABLE rag.chunk_embeddings DETACH PARTITION rag.%I', part);
                EXECUTE format('INSERT INTO rag.chunk_embeddings_default SELECT * FROM rag.%I', part);
                EXECUTE format('DROP TABLE rag.%I', part);
            END LOOP;
        END $$
        """
    )
    op.execute("DROP FUNCTION rag.wordiest_chunks(sparsevec, int[], int)")
    op.execute("DROP FUNCTION rag.nearest_chunks(text, int)")
    op.execute("DROP FUNCTION rag.give_partition(uuid)")
    op.execute("DROP FUNCTION rag.name_partition(uuid)")
    op.execute("DROP FUNCTION rag.list_terms(sparsevec)")
    op.drop_index("ix_chunk_embeddings_client", "chunk_embeddings", schema="rag")
