"""The one statement a search is: scan, fuse and weigh neighbours inside the database, under its policies."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import TextClause, text

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

_SCORED: Final = f"""
scored AS MATERIALIZED (
    SELECT e.chunk_id, e.source_id, e.chunk_index, -(e.lexical <#> {_ASKED}) AS words, {{meaning}}
    FROM rag.chunk_embeddings e
    WHERE e.tenant_id = {_HERE} AND e.registry_id = {_MODEL}{{filters}}
)"""

# Scores become comparable as distances from the mean in standard deviations; where all are equal they say nothing.
# Plain sums are several times faster than avg and stddev_pop, and scores of one size lose no digits by them.
_SPREAD: Final = """
summed AS (
    SELECT count(*) AS chunks, sum(words) / count(*) AS words_mean, sum(words * words) / count(*) AS words_square,
        sum(meaning) / count(meaning) AS meaning_mean, sum(meaning * meaning) / count(meaning) AS meaning_square
    FROM scored
),
spread AS MATERIALIZED (
    SELECT chunks, words_mean, coalesce(meaning_mean, 0) AS meaning_mean,
        CASE WHEN words_square - words_mean ^ 2 > 1e-9 * words_square
            THEN 1 / sqrt(words_square - words_mean ^ 2) ELSE 0 END AS words_scale,
        CASE WHEN meaning_square - meaning_mean ^ 2 > 1e-9 * meaning_square
            THEN 1 / sqrt(meaning_square - meaning_mean ^ 2) ELSE 0 END AS meaning_scale,
        (SELECT count(*) FROM (SELECT DISTINCT source_id FROM scored) each_once) AS sources
    FROM summed
),
best AS MATERIALIZED (
    SELECT source_id, chunk_index FROM scored, spread
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


def search_statement(scope: Scope, *, with_meaning: bool) -> TextClause:
    """Return the statement for what the scope narrows; its values come from `bind_scope` and the caller."""
    return _compose(tuple(name for name in _FILTERS if getattr(scope, name)), with_meaning)


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


@lru_cache(maxsize=256)  # 2 for each of the 128 ways to narrow
def _compose(filters: tuple[str, ...], with_meaning: bool) -> TextClause:  # arguments are its cache key
    # Vectors of another model can't be compared with the question's, then words alone decide.
    meaning = (
        f"CASE WHEN {_SAME_MODEL} THEN -(e.embedding <#> CAST(:vector AS halfvec)) END AS meaning"
        if with_meaning
        else "CAST(NULL AS float8) AS meaning"
    )
    parts = [
        _SCORED.format(meaning=meaning, filters="".join(f" AND {_FILTERS[name]}" for name in filters)),
        _SPREAD,
        _AROUND,
        _write_stretches(),
    ]
    return text(f"WITH {','.join(parts)}{_FOUND}")
