"""The one statement a search is: scan, fuse and weigh neighbours inside the database, under its policies."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import TextClause, text

from domain.consents import say_allowed
from rag.lexical import DIMENSIONS
from rag.passages import Scope

CANDIDATES: Final = 60
"""Chunks whose surroundings are weighed; on the development sets 50 already give the same passages as all."""
SUPPORT: Final = 0.3  # of a chunk's score counts for each of its two neighbours
STRETCHES: Final = (2, 4, 6)
"""Lengths, in chunks, of the longer stretches that a chunk may be a part of."""
DISCOUNT: Final = 0.75
"""A stretch of n chunks scores its sum over n**0.75: between the sum and the mean, so that one sharp hit and a long
discussion compete (a scan statistic; Glaz, Naus and Wallenstein, 2001, divide by the root)."""
INDEXED: Final = 800
"""Chunks that each index of a large tenant brings; the ten best of an exact search are among them."""
SAMPLE: Final = 10_000
"""Chunks, about, from which means and spreads are estimated where not all are scored."""
REACH: Final = STRETCHES[-1]  # a candidate's own stretches, and the neighbour that supports their ends

_FILTERS: Final = {
    "client_ids": "e.client_id = ANY (CAST(:client_ids AS uuid[]))",
    "coaching_session_ids": "e.coaching_session_id = ANY (CAST(:coaching_session_ids AS uuid[]))",
    "source_ids": "e.source_id = ANY (CAST(:source_ids AS uuid[]))",
    "held_from": "e.held_at >= :held_from",
    "held_until": "e.held_at < :held_until",
    "speakers": "EXISTS (SELECT FROM unnest(e.speakers) label WHERE lower(label) = ANY (CAST(:speakers AS text[])))",
    "source_kinds": "e.source_kind = ANY (CAST(:source_kinds AS text[]))",
}

# The policies say so too; said here as well, indexes serve every join, and the statement reads the same without them.
_HERE: Final = "(SELECT current_setting('app.tenant_id')::uuid)"

# Sub-selects and no common table expressions, which would keep the scan of a large tenant from using several cores.
_MODEL: Final = f"(SELECT id FROM rag.embeddings_registry WHERE tenant_id = {_HERE} AND status = 'active')"
_SAME_MODEL: Final = _MODEL.replace("SELECT id", "SELECT model_name = :model")

# The weights of the question's terms, their idf among all chunks of the tenant, as the other side of BM25.
_ASKED: Final = f"""(
    SELECT ('{{{{' || coalesce(string_agg(term || ':' || idf, ',' ORDER BY term), '') || '}}}}/{DIMENSIONS}')
        ::sparsevec({DIMENSIONS})
    FROM (
        SELECT f.term, ln(1 + (greatest(n.chunks - f.chunks, 0) + 0.5) / (f.chunks + 0.5)) AS idf
        FROM rag.term_frequencies f JOIN rag.term_frequencies n USING (tenant_id)
        WHERE f.tenant_id = {_HERE} AND n.term = 0 AND f.term = ANY (CAST(:terms AS int[]))
    ) weighed
)"""

_WORDS: Final = f"-(e.lexical <#> {_ASKED}) AS words"
_OURS: Final = f"e.tenant_id = {_HERE} AND e.registry_id = {_MODEL}"

_ALLOWED: Final = say_allowed("e.client_id", "assistant")

_SCORED: Final = f"""
scored AS MATERIALIZED (
    SELECT e.chunk_id, e.source_id, e.chunk_index, {_WORDS}, {{meaning}}
    FROM rag.chunk_embeddings e
    WHERE {_OURS}{{filters}}
)"""

# In a tenant with indexes of its own only what they find is scored, and means and spreads come from a sample. The
# functions see what the reader sees, and the table is read under its policies all the same.
_MET: Final = f"""
found AS MATERIALIZED (
    SELECT source_id, chunk_index FROM rag.nearest_chunks(CAST(:vector AS text), {INDEXED})
    UNION SELECT source_id, chunk_index FROM rag.wordiest_chunks({_ASKED}, CAST(:terms AS int[]), {INDEXED})
),
met AS MATERIALIZED (
    SELECT each_found.* FROM found, LATERAL (
        SELECT e.chunk_id, e.source_id, e.chunk_index, {_WORDS}, {{meaning}} FROM rag.chunk_embeddings e
        WHERE {_OURS} AND e.source_id = found.source_id AND e.chunk_index = found.chunk_index
        OFFSET 0 -- looked up by index one by one, whatever the planner guesses
    ) each_found
),
sampled AS MATERIALIZED (
    SELECT {_WORDS}, {{meaning}} FROM rag.chunk_embeddings e TABLESAMPLE SYSTEM (:percent) WHERE {_OURS}
)"""

_SCORED_AROUND: Final = f"""
scored AS MATERIALIZED (
    SELECT DISTINCT ON (near.chunk_id) near.* FROM best, LATERAL (
        SELECT e.chunk_id, e.source_id, e.chunk_index, {_WORDS}, {{meaning}} FROM rag.chunk_embeddings e
        WHERE {_OURS} AND e.source_id = best.source_id
            AND e.chunk_index BETWEEN best.chunk_index - {REACH} AND best.chunk_index + {REACH}
        OFFSET 0
    ) near
)"""

# Scores become comparable as distances from the mean in standard deviations; where all are equal they say nothing.
# Plain sums are several times faster than avg and stddev_pop, and scores of one size lose no digits by them.
_SPREAD: Final = """
summed AS (
    SELECT {chunks} AS chunks, sum(words) / count(*) AS words_mean, sum(words * words) / count(*) AS words_square,
        sum(meaning) / count(meaning) AS meaning_mean, sum(meaning * meaning) / count(meaning) AS meaning_square
    FROM {population}
),
spread AS MATERIALIZED (
    SELECT chunks, words_mean, coalesce(meaning_mean, 0) AS meaning_mean,
        CASE WHEN words_square - words_mean ^ 2 > 1e-9 * words_square
            THEN 1 / sqrt(words_square - words_mean ^ 2) ELSE 0 END AS words_scale,
        CASE WHEN meaning_square - meaning_mean ^ 2 > 1e-9 * meaning_square
            THEN 1 / sqrt(meaning_square - meaning_mean ^ 2) ELSE 0 END AS meaning_scale,
        {sources} AS sources
    FROM summed
),
best AS MATERIALIZED (
    SELECT source_id, chunk_index FROM {candidates}, spread
    WHERE meaning IS NOT NULL OR words > 0
    ORDER BY words * words_scale + coalesce(meaning, 0) * meaning_scale DESC, chunk_id LIMIT :candidates
)"""

# A hashed sub-select and no join: joins are planned by the number of the tenant's rows, which is guessed far too low
# until statistics catch up, and a nested loop would compare everything with everything.
_AROUND: Final = f"""
around AS (
    SELECT chunk_id, source_id, chunk_index,
        (words - words_mean) * words_scale + coalesce((meaning - meaning_mean) * meaning_scale, 0) AS score
    FROM (
        SELECT scored.*, (source_id, chunk_index) IN (
            SELECT source_id, chunk_index + step FROM best, generate_series(-{REACH}, {REACH}) AS step
        ) AS near
        FROM scored
    ) placed, spread
    WHERE near
),
supported AS (
    SELECT chunk_id, source_id, chunk_index, {1 - SUPPORT} * score + {SUPPORT} * sum(score) OVER (
        PARTITION BY source_id ORDER BY chunk_index RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING
    ) AS score
    FROM around
)"""


def _write_stretches() -> str:
    """Return the part that gives each chunk its own score plus that of the best stretch it is in."""
    ending = ", ".join(
        f"sum(score) OVER (run RANGE BETWEEN {n - 1} PRECEDING AND CURRENT ROW) / {n**DISCOUNT:.6f} AS ending_{n}"
        for n in STRETCHES
    )
    holding = ", ".join(
        f"max(ending_{n}) OVER (run RANGE BETWEEN CURRENT ROW AND {n - 1} FOLLOWING)" for n in STRETCHES
    )
    run = "WINDOW run AS (PARTITION BY source_id ORDER BY chunk_index)"
    return f"""
stretched AS (SELECT *, {ending} FROM supported {run}),
ranked AS (
    SELECT chunk_id, chunk_index, score + greatest(score, {holding}) AS score FROM stretched {run}
    ORDER BY 3 DESC, chunk_id LIMIT :units
)"""


_FOUND: Final = f"""
SELECT spread.chunks, spread.sources, found.*
FROM spread LEFT JOIN (
    SELECT ranked.score, c.id, ranked.chunk_index, coalesce(c.transcript_id, c.document_id) AS source_id,
        CASE WHEN c.transcript_id IS NULL THEN 'document' ELSE 'transcript' END AS source_kind,
        c.object_id, coalesce(t.title, d.title) AS title, coalesce(t.content_hash, d.content_hash) AS content_hash,
        coalesce(t.held_at, d.held_at) AS held_at, c.client_id, t.coaching_session_id, c.text, c.char_start,
        c.char_end, c.segment_first, c.segment_last, e.speakers, c.started_s, c.ended_s, c.page_first, c.page_last,
        c.heading
    FROM ranked
    JOIN rag.document_chunks c ON c.tenant_id = {_HERE} AND c.id = ranked.chunk_id
    JOIN rag.chunk_embeddings e ON e.tenant_id = c.tenant_id AND e.chunk_id = c.id
    LEFT JOIN rag.transcripts t ON t.tenant_id = c.tenant_id AND t.id = c.transcript_id
    LEFT JOIN rag.documents d ON d.tenant_id = c.tenant_id AND d.id = c.document_id
    WHERE e.registry_id = {_MODEL}
) found ON true
ORDER BY found.score DESC, found.id"""


VISIBLE: Final = text(
    f"""
    SELECT coalesce(sum(pieces), 0) AS chunks, count(*) AS sources FROM ingestion.ingested_objects
    WHERE tenant_id = {_HERE} AND ingestion_status = 'indexed'
    """
)
"""How much a reader may see: chunks and sources, counted by their objects."""


def search_statement(
    scope: Scope, *, with_meaning: bool, by_index: bool = False, as_system: bool = False
) -> TextClause:
    """Return the statement for what the scope narrows; its values come from `bind_scope` and the caller.

    People's policies leave out clients who want no assistant; for the pipelines (`as_system`), who see all, it says so.
    """
    filters = tuple(name for name in _FILTERS if getattr(scope, name))
    return _compose(filters, with_meaning, by_index, as_system)


def bind_scope(scope: Scope) -> dict[str, Any]:
    """Return the values of the scope's filters by the names the statement has for them."""
    values: dict[str, Any] = {}
    for name in _FILTERS:
        value: Any = getattr(scope, name)
        if value:
            values[name] = _fold(value) if name == "speakers" else list(value) if isinstance(value, tuple) else value
    return values


def _fold(labels: Sequence[str]) -> list[str]:
    return [label.strip().lower() for label in labels]


@lru_cache(maxsize=512)  # 4 for each of the 128 ways to narrow
def _compose(
    filters: tuple[str, ...], with_meaning: bool, by_index: bool, as_system: bool
) -> TextClause:  # arguments are its cache key
    # Vectors of another model can't be compared with the question's, then words alone decide.
    meaning = (
        f"CASE WHEN {_SAME_MODEL} THEN -(e.embedding <#> CAST(:vector AS halfvec)) END AS meaning"
        if with_meaning
        else "CAST(NULL AS float8) AS meaning"
    )
    if by_index:
        parts = [
            _MET.format(meaning=meaning),
            _SPREAD.format(chunks="CAST(:chunks AS bigint)", sources="CAST(:sources AS bigint)",
                           population="sampled", candidates="met"),
            _SCORED_AROUND.format(meaning=meaning),
        ]  # fmt: skip
    else:
        each_source = "(SELECT count(*) FROM (SELECT DISTINCT source_id FROM scored) each_once)"
        parts = [
            _SCORED.format(meaning=meaning, filters="".join(f" AND {_FILTERS[name]}" for name in filters)),
            _SPREAD.format(chunks="count(*)", sources=each_source, population="scored", candidates="scored"),
        ]
    statement = f"WITH {','.join([*parts, _AROUND, _write_stretches()])}{_FOUND}"
    return text(statement.replace(_OURS, f"{_OURS} AND {_ALLOWED}") if as_system else statement)
