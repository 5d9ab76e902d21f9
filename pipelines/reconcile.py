"""Does the store agree with itself, with the object store and with what is really running? Found, told, mended.

Each check finds one kind of fault in one organisation, says how many and which, and mends it where that loses nothing;
where it can't, the finding says why. `reconcile_objects.py` compares with the object store, `reconcile_runs.py` with
what is running.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError, Conflict
from core.logging import get_logger
from db.holds import hold
from db.session import Principal, tenant_session
from domain.governance import record_event

GRACE: Final = timedelta(hours=1)
"""What is younger may be under way: an object is written before its row is committed."""
MOST_NAMED: Final = 10
ROWS_AT_ONCE: Final = 5_000

log = get_logger("pipelines.reconcile")


class ReconciliationBusy(Conflict):
    """This organisation is being reconciled; wait until that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of fault: how many there are, some of them by id or key, how many were mended, why not all."""

    kind: str
    found: int
    repaired: int = 0
    reason: str | None = None
    named: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Task:
    """What a check is given: whose rows, whether to mend, and what is too young to judge."""

    principal: Principal
    repair: bool
    grace: timedelta = GRACE

    @property
    def values(self) -> dict[str, Any]:
        """The parameters statements share."""
        return {"grace": self.grace, "most": ROWS_AT_ONCE}


Check = Callable[[Task], Awaitable[list[Finding]]]

MINE: Final = "tenant_id = (SELECT current_setting('app.tenant_id')::uuid)"

_UNFOUND: Final = f"""
    SELECT DISTINCT c.object_id AS id FROM rag.document_chunks c
    JOIN ingestion.ingested_objects o ON o.tenant_id = c.tenant_id AND o.id = c.object_id
    WHERE c.{MINE} AND o.updated_at < now() - CAST(:grace AS interval) AND {{missing}}
"""
_NO_VECTOR: Final = _UNFOUND.format(
    missing="EXISTS (SELECT FROM rag.embeddings_registry r WHERE r.tenant_id = c.tenant_id AND r.status = 'active') "
    "AND NOT EXISTS (SELECT FROM rag.chunk_embeddings e JOIN rag.embeddings_registry r ON r.tenant_id = e.tenant_id "
    "AND r.id = e.registry_id AND r.status = 'active' WHERE e.tenant_id = c.tenant_id AND e.chunk_id = c.id)"
)
_NO_WORDS: Final = _UNFOUND.format(
    missing="NOT EXISTS (SELECT FROM rag.search_metadata m WHERE m.tenant_id = c.tenant_id AND m.chunk_id = c.id)"
)
_INDEX_ANEW: Final = f"""
    UPDATE ingestion.ingested_objects o SET pipeline_version = NULL, version = NULL
    WHERE o.{MINE} AND o.id IN (SELECT id FROM ({{found}}) AS f) AND o.pipeline_version IS NOT NULL RETURNING o.id
"""
"""The next run of its source reads the object and indexes it as if it were new."""
_RETIRED: Final = f"""
    SELECT e.registry_id, e.chunk_id FROM rag.chunk_embeddings e
    JOIN rag.embeddings_registry r ON r.tenant_id = e.tenant_id AND r.id = e.registry_id
    WHERE e.{MINE} AND r.status = 'retired'
"""
_DELETE_RETIRED: Final = text(f"""
    WITH chosen AS MATERIALIZED ({_RETIRED} LIMIT :most), gone AS (
        DELETE FROM rag.chunk_embeddings x USING chosen c
        WHERE x.{MINE} AND x.registry_id = c.registry_id AND x.chunk_id = c.chunk_id RETURNING 1)
    SELECT count(*) FROM gone
""")
_COUNTED: Final = f"""
    SELECT term, count(*)::int AS chunks FROM (
        SELECT unnest(m.terms) AS term FROM rag.search_metadata m WHERE m.{MINE}
        UNION ALL SELECT 0 FROM rag.search_metadata m WHERE m.{MINE}) AS t GROUP BY term
"""
_WRONG_TERMS: Final = f"""
    SELECT coalesce(f.term, c.term) AS id
    FROM (SELECT term, chunks FROM rag.term_frequencies f WHERE f.{MINE}) AS f
    FULL JOIN ({_COUNTED}) AS c ON c.term = f.term WHERE f.chunks IS DISTINCT FROM c.chunks
"""
_LOCK_INDEX: Final = text("SELECT id FROM rag.embeddings_registry WHERE status = 'active' FOR NO KEY UPDATE")
_DROP_TERMS: Final = text(f"""
    DELETE FROM rag.term_frequencies f WHERE f.{MINE} AND f.term IN (SELECT id FROM ({_WRONG_TERMS}) AS w)
""")
_ADD_TERMS: Final = text(f"""
    INSERT INTO rag.term_frequencies (tenant_id, term, chunks)
    SELECT (SELECT current_setting('app.tenant_id')::uuid), c.term, c.chunks FROM ({_COUNTED}) AS c
    ON CONFLICT (tenant_id, term) DO NOTHING
""")


async def reconcile_tenant(tenant_id: UUID, *, repair: bool, grace: timedelta = GRACE) -> list[Finding]:
    """Look for every kind of fault in one organisation and return a finding of each, also where nothing was found.

    Without `repair` nothing is written. A check that fails is a finding with its sentence and leaves the others alone.
    Raises `ReconciliationBusy`.
    """
    from pipelines.reconcile_objects import check_objects  # they import this module
    from pipelines.reconcile_runs import check_runs

    task = Task(Principal(tenant_id, "system"), repair, grace)
    checks: dict[str, Check] = {"index": check_index, "objects": check_objects, "runs": check_runs}
    findings: list[Finding] = []
    async with hold(tenant_id, "reconcile", busy=ReconciliationBusy()):
        for name, check in checks.items():
            try:
                findings += await check(task)
            except AppError as error:
                log.warning("reconciliation failed", check=name, code=error.code)
                findings.append(Finding(kind=f"{name} not checked", found=1, reason=error.message))
        repaired = {one.kind: one.repaired for one in findings if one.repaired}
        if repaired:
            async with tenant_session(task.principal) as session:
                await record_event(session, action="store_reconciled", metadata={"repaired": repaired})
    return findings


async def check_index(task: Task) -> list[Finding]:
    """Compare the search index with the chunks it is of."""
    return [
        await _index_anew(task, "chunks without vectors", _NO_VECTOR),
        await _index_anew(task, "chunks without search words", _NO_WORDS),
        await _clear_retired(task),
        await _recount_terms(task),
    ]


async def list_found(session: AsyncSession, query: str, values: dict[str, Any]) -> tuple[int, list[str]]:
    """Return how many rows a query finds and the first ids of them."""
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    rows = await session.execute(
        text(f"SELECT id::text, count(*) OVER () AS total FROM ({query}) AS f ORDER BY 1 LIMIT {MOST_NAMED}"),
        {name: value for name, value in values.items() if f":{name}" in query},
    )
    found = rows.all()
    return (found[0].total if found else 0), [row.id for row in found]


async def mend(task: Task, kind: str, query: str, statement: str, *, reason: str | None = None) -> Finding:
    """Find by a query of ids; where it is to be mended, run the statement, which returns a row for each it mended."""
    async with tenant_session(task.principal) as session:
        found, named = await list_found(session, query, task.values)
        repaired = 0
        if found and task.repair:
            values = {name: value for name, value in task.values.items() if f":{name}" in statement}
            repaired = len((await session.execute(text(statement), values)).all())
    return Finding(kind=kind, found=found, repaired=repaired, named=named, reason=reason if found else None)


async def _index_anew(task: Task, kind: str, query: str) -> Finding:
    """Have objects indexed anew whose chunks nobody finds."""
    return await mend(
        task, kind, query, _INDEX_ANEW.format(found=query),
        reason="the next run of its source indexes it anew; what was written in the product is indexed when it changes",
    )  # fmt: skip


async def _clear_retired(task: Task) -> Finding:
    """Delete vectors of models that serve no more, which a killed change of model left."""
    async with tenant_session(task.principal) as session:
        query = f"SELECT chunk_id AS id FROM ({_RETIRED}) AS r"
        found, named = await list_found(session, query, {})
    repaired = 0
    while task.repair and repaired < found:
        async with tenant_session(task.principal) as session:
            gone = int(await session.scalar(_DELETE_RETIRED, {"most": ROWS_AT_ONCE}) or 0)
        repaired += gone
        if not gone:
            break
    return Finding(kind="vectors of retired models", found=found, repaired=repaired, named=named)


async def _recount_terms(task: Task) -> Finding:
    """Count anew in how many chunks each word occurs; mended under the lock that writers of the index take."""
    async with tenant_session(task.principal) as session:
        found, named = await list_found(session, _WRONG_TERMS, {})
    repaired = 0
    if found and task.repair:
        async with tenant_session(task.principal) as session:
            await session.execute(_LOCK_INDEX)
            repaired, _ = await list_found(session, _WRONG_TERMS, {})
            await session.execute(_DROP_TERMS)
            await session.execute(_ADD_TERMS)
    return Finding(kind="wrong word counts", found=found, repaired=repaired, named=named)


def to_rows(slug: str, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return what was found as rows of a table."""
    return [
        {"organisation": slug, **asdict(one), "named": ", ".join(one.named)} for one in findings if one.found
    ]  # fmt: skip
