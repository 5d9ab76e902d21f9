"""What says that it is running, and is not: tries, runs, exports, evaluations whose process died; what is overdue."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.holds import is_held
from db.session import tenant_session
from domain import ingestion
from pipelines.reconcile import MINE, MOST_NAMED, Finding, Task, list_found, mend

LONGEST_RUN: Final = timedelta(hours=24)
"""How long a run that derives or judges may take between two requests."""
DIED: Final = "The process died; a reconciliation closed this."

_TRIES: Final = text(f"""
    SELECT DISTINCT s.id, s.uri FROM ingestion.ingestion_attempts a
    JOIN ingestion.ingested_objects o ON o.tenant_id = a.tenant_id AND o.id = a.object_id
    JOIN ingestion.data_sources s ON s.tenant_id = o.tenant_id AND s.id = o.data_source_id
    WHERE a.{MINE} AND a.outcome = 'running' AND a.started_at < now() - CAST(:grace AS interval)
""")
_DEAD_RUNS: Final = f"""
    SELECT r.id FROM chat.agent_runs r
    WHERE r.{MINE} AND r.status = 'running'
      AND r.started_at < now() - CASE r.agent_type WHEN 'assistant' THEN CAST(:grace AS interval)
                                 ELSE interval '{int(LONGEST_RUN.total_seconds())} seconds' END
      AND coalesce((r.metadata->>'reserved_until')::timestamptz, '-infinity') < now()
"""
_CLOSE_RUNS: Final = f"""
    WITH closed AS (
        UPDATE chat.agent_runs r SET status = 'failed', completed_at = clock_timestamp(),
            metadata = r.metadata - CAST('{{reserved_usd,reserved_until}}' AS text[])
        WHERE r.{MINE} AND r.id IN (SELECT id FROM ({_DEAD_RUNS}) AS d) RETURNING r.tenant_id, r.id
    )
    INSERT INTO chat.agent_failures (tenant_id, agent_run_id, error_type, error_message, retryable)
    SELECT tenant_id, id, 'RunDied', '{DIED}', true FROM closed RETURNING agent_run_id
"""
_EXPERIMENTS: Final = text(f"""
    SELECT e.id FROM evaluation.experiments e
    WHERE e.{MINE} AND e.status = 'running' AND e.started_at < now() - CAST(:grace AS interval) ORDER BY e.id
""")
_INTERRUPT: Final = text(
    f"UPDATE evaluation.experiments e SET status = 'interrupted' WHERE e.{MINE} AND e.id = :id AND e.status = 'running'"
)
_EXPORTS: Final = f"""
    SELECT x.id FROM governance.data_exports x
    WHERE x.{MINE} AND x.status = 'running' AND x.requested_at < now() - interval '6 hours'
"""
_FAIL_EXPORTS: Final = f"""
    UPDATE governance.data_exports x SET status = 'failed', error = '{DIED}'
    WHERE x.{MINE} AND x.id IN (SELECT id FROM ({_EXPORTS}) AS d) RETURNING x.id
"""
_WAITING: Final = f"""
    SELECT r.id FROM governance.deletion_requests r
    WHERE r.{MINE} AND r.status IN ('verified', 'running')
      AND r.verified_at < now() - CAST(:grace AS interval)
"""
_OVERDUE: Final = f"""
    SELECT r.id FROM governance.deletion_requests r
    WHERE r.{MINE} AND r.status NOT IN ('completed', 'refused') AND r.due_at < now()
"""
_RECEIVED: Final = f"""
    SELECT o.id FROM ingestion.ingested_objects o
    WHERE o.{MINE} AND o.ingestion_status = 'received' AND o.updated_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM ingestion.ingestion_attempts a
                      WHERE a.tenant_id = o.tenant_id AND a.object_id = o.id AND a.outcome = 'running')
"""
WAITING_KIND: Final = "erasures that wait"


async def check_runs(task: Task) -> list[Finding]:
    """Compare what says that it runs with what does."""
    return [
        await _close_tries(task),
        await mend(task, "runs of a model that died", _DEAD_RUNS, _CLOSE_RUNS),
        await _interrupt_experiments(task),
        await mend(task, "exports that died", _EXPORTS, _FAIL_EXPORTS),
        await _tell(task, "files never ingested", _RECEIVED, "no run took it; ingest its source again"),
        await _tell(task, WAITING_KIND, _WAITING, "the flow erase-subject carries it out, or goes on with it"),
        await _tell(task, "requests overdue", _OVERDUE, "compliance verifies or refuses it"),
    ]


async def list_waiting_erasures(session: AsyncSession) -> list[UUID]:
    """Return the verified requests of the bound tenant that no run has completed, the oldest first."""
    rows = await session.scalars(
        text(
            f"SELECT r.id FROM governance.deletion_requests r WHERE r.{MINE} AND r.status IN ('verified', 'running') "
            "ORDER BY r.verified_at"
        )
    )
    return list(rows)


async def _tell(task: Task, kind: str, query: str, reason: str) -> Finding:
    async with tenant_session(task.principal) as session:
        found, named = await list_found(session, query, task.values)
    return Finding(kind=kind, found=found, named=named, reason=reason if found else None)


async def _close_tries(task: Task) -> Finding:
    """Close tries of sources that nobody holds; the next run of the source goes on from there."""
    tenant_id = task.principal.tenant_id
    async with tenant_session(task.principal) as session:
        sources = (await session.execute(_TRIES, {"grace": task.grace})).all()
    found, repaired, named = 0, 0, []
    for source in sources:
        async with tenant_session(task.principal) as session:
            if await is_held(session, tenant_id, source.uri):
                continue
            named.append(str(source.id))
            found += 1
            if task.repair:
                repaired += 1 if await ingestion.close_interrupted(session, source.id) else 0
    return Finding(kind="sources with tries that died", found=found, repaired=repaired, named=named[:MOST_NAMED])


async def _interrupt_experiments(task: Task) -> Finding:
    """Say of evaluations that nobody runs that they were interrupted; starting the suite again goes on with them."""
    async with tenant_session(task.principal) as session:
        running = list(await session.scalars(_EXPERIMENTS, {"grace": task.grace}))
    dead: list[UUID] = []
    for experiment_id in running:
        async with tenant_session(task.principal) as session:
            # the name that whoever runs it holds (evaluation/store.py, which these pipelines must not import)
            if await is_held(session, task.principal.tenant_id, f"experiment:{experiment_id}"):
                continue
            dead.append(experiment_id)
            if task.repair:
                await session.execute(_INTERRUPT, {"id": experiment_id})
    return Finding(
        kind="evaluations that died", found=len(dead), repaired=len(dead) if task.repair else 0,
        named=[str(one) for one in dead[:MOST_NAMED]],
    )  # fmt: skip
