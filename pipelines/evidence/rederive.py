"""What no longer stands on its sources is derived anew from what remains, or goes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger, log_context
from db.session import Principal, tenant_session
from domain.consents import say_allowed
from pipelines.evidence.build import OnProgress, build_client
from pipelines.evidence.build_plan import BUILD_VERSION, UNSETTLED
from pipelines.evidence.build_report import BuildReport
from pipelines.evidence.cohorts import build_cohorts

Level = Literal["quotes", "claims", "patterns", "insights", "evidence_packs"]
LEVELS: Final[tuple[Level, ...]] = ("evidence_packs", "insights", "patterns", "claims", "quotes")
"""From the top down: what stands on another goes before it."""

log = get_logger("pipelines.evidence")


@dataclass(frozen=True, slots=True)
class _Stale:
    """One row that was stale when the run began."""

    level: Level
    id: UUID
    client_id: UUID | None
    cohort_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RederiveReport:
    """What was stale, and what became of it, rows by level; what could not be read anew is left for the next run."""

    stale: Mapping[str, int]
    rederived: Mapping[str, int]
    deleted: Mapping[str, int]
    left: Mapping[str, int]
    clients: tuple[BuildReport, ...] = ()
    failures: tuple[str, ...] = ()
    seconds: float = 0.0

    def summarize(self) -> str:
        """Return the counts in one line."""
        if not sum(self.stale.values()) and not self.clients:
            return "nothing is stale, nothing is new"
        counts = (
            ("stale", self.stale),
            ("derived anew", self.rederived),
            ("deleted", self.deleted),
            ("left", self.left),
        )
        said = ", ".join(f"{sum(by.values()):,} {name}" for name, by in counts)
        return f"{said}; {len(self.clients):,} clients in {self.seconds:.1f} s"


_LIST_STALE = text(
    " UNION ALL ".join(
        f"SELECT '{level}' AS level, id, client_id, {cohort} AS cohort_id"
        f" FROM evidence.{level} WHERE stale_at IS NOT NULL"
        for level, cohort in ((one, "cohort_id" if one == "patterns" else "NULL::uuid") for one in LEVELS)
    )
)
_LIST_UNBUILT = text(f"""
SELECT DISTINCT t.client_id FROM rag.transcripts t
LEFT JOIN evidence.extractions e ON e.tenant_id = t.tenant_id AND e.transcript_id = t.id
WHERE (e.content_hash IS DISTINCT FROM t.content_hash OR NOT starts_with(e.version, :version)
    OR right(e.version, length(CAST(:mark AS text))) = :mark) AND {say_allowed("t.client_id", "evidence")}
UNION
SELECT p.client_id FROM evidence.patterns p WHERE p.client_id IS NOT NULL AND {say_allowed("p.client_id", "evidence")}
GROUP BY p.client_id
HAVING max(p.sessions_in_scope) <> (SELECT count(*) FROM rag.transcripts t WHERE t.client_id = p.client_id)
""")
"""Clients, or nobody, with sessions not read or settled yet as they are now, or other sessions than patterns count."""
_DELETE = {
    level: text(f"DELETE FROM evidence.{level} WHERE id = ANY (:ids) AND stale_at IS NOT NULL") for level in LEVELS
}
_LIST_FRESH = {
    level: text(f"SELECT id FROM evidence.{level} WHERE id = ANY (:ids) AND stale_at IS NULL") for level in LEVELS
}


async def rederive_stale(
    tenant_id: UUID, *, clients: Collection[UUID] | None = None, on_progress: OnProgress | None = None
) -> RederiveReport:
    """Read sessions whose evidence is stale or missing again, settle their clients anew, delete what stays stale.

    With `clients`, only theirs, and what cohorts share.

    Asks no model, so it may run by itself and often. Safe to repeat and to kill at any point: nothing is deleted before
    all that could be derived anew was. What belongs to a client that could not be built is left for the next run.
    """
    began = perf_counter()
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        stale = [_Stale(*row) for row in (await session.execute(_LIST_STALE)).tuples()]
        unbuilt = set(await session.scalars(_LIST_UNBUILT, {"version": BUILD_VERSION, "mark": UNSETTLED}))
    if clients is not None:
        stale = [row for row in stale if row.client_id in clients or row.cohort_id or row.client_id is None]
        unbuilt &= set(clients)
    # What is stale of a session counts as not built, so building its client reads it again.
    wanted = sorted({row.client_id for row in stale if row.client_id} | unbuilt, key=str)
    reports, failures, failed = [], [], set[UUID | None]()
    with log_context(tenant_id=str(tenant_id)):
        for done, client_id in enumerate(wanted, 1):
            try:
                report = await build_client(tenant_id, client_id)
            except AppError as error:
                failures.append(f"client {client_id}: {error.message}")
                failed.add(client_id)
            else:
                reports.append(report)
                if report.failed:
                    failures += [f"session {one.transcript_id}: {one.error}" for one in report.failed]
                    failed.add(client_id)
            if on_progress is not None:
                await on_progress(done, len(wanted))
        if wanted or any(row.cohort_id for row in stale):
            await build_cohorts(tenant_id)
        async with tenant_session(system) as session:
            rederived, deleted, left = await _clear(session, stale, failed)
    report_ = RederiveReport(
        stale=_count(stale), rederived=rederived, deleted=deleted, left=left, clients=tuple(reports),
        failures=tuple(failures), seconds=round(perf_counter() - began, 3),
    )  # fmt: skip
    log.info("stale evidence derived anew", tenant_id=str(tenant_id), summary=report_.summarize())
    return report_


async def _clear(
    session: AsyncSession, stale: Sequence[_Stale], failed: set[UUID | None]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Delete what is still stale, and return how many rows were derived anew, deleted and left, by level."""
    rederived, deleted, left = Counter[str](), Counter[str](), Counter[str]()
    for level in LEVELS:
        rows = [row for row in stale if row.level == level]
        if not rows:
            continue
        fresh = set(await session.scalars(_LIST_FRESH[level], {"ids": [row.id for row in rows]}))
        waiting = {row.id for row in rows if row.client_id in failed} - fresh
        goes = [row.id for row in rows if row.id not in fresh and row.id not in waiting]
        await session.execute(_DELETE[level], {"ids": goes})
        rederived[level], deleted[level], left[level] = len(fresh), len(goes), len(waiting)
    return rederived, deleted, left


def _count(stale: Sequence[_Stale]) -> Counter[str]:
    return Counter(row.level for row in stale)
