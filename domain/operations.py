"""How the organisation's own work goes, for its administrator: counts, causes and times, never a word or a name.

An administrator may not see clients' files or conversations, so what is told of them is counted here, as the pipelines,
for somebody whose role was checked: no file's name, no sentence that may hold one, and people only from five on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden
from db.session import BOUND_TO, Principal, acting_as_system

FEWEST_PEOPLE: Final = 5
"""Of a smaller group it is not told how many they are."""

_STATES: Final = text(
    """
    SELECT ingestion_status AS state, count(*) AS objects, coalesce(sum(size_bytes), 0)::bigint AS size_bytes,
           coalesce(sum(pieces), 0)::bigint AS pieces, max(updated_at) AS last_at
    FROM ingestion.ingested_objects GROUP BY 1 ORDER BY 1
    """
)
# What an object failed of is its newest try's; of one that was refused before any stage there is none.
_CAUSES: Final = text(
    """
    SELECT s.id AS source_id, s.name AS source_name, s.uri AS source_uri, o.ingestion_status AS state,
           a.error_code AS cause, a.stage, count(*) AS objects, max(o.updated_at) AS last_at,
           (array_agg(a.run_id ORDER BY o.updated_at DESC))[1] AS run_id
    FROM ingestion.ingested_objects o
    JOIN ingestion.data_sources s ON s.tenant_id = o.tenant_id AND s.id = o.data_source_id
    LEFT JOIN LATERAL (
        SELECT t.error_code, t.stage, t.run_id FROM ingestion.ingestion_attempts t
        WHERE t.tenant_id = o.tenant_id AND t.object_id = o.id AND t.outcome IN ('failed', 'interrupted')
        ORDER BY t.started_at DESC LIMIT 1
    ) a ON true
    WHERE o.ingestion_status IN ('failed', 'refused')
    GROUP BY s.id, s.name, s.uri, o.ingestion_status, a.error_code, a.stage
    ORDER BY max(o.updated_at) DESC, s.id, a.error_code, a.stage LIMIT :limit OFFSET :offset
    """
)
_RUNNING: Final = text(
    """
    SELECT a.run_id, a.stage, s.name AS source_name, count(*) AS objects, min(a.started_at) AS since
    FROM ingestion.ingestion_attempts a
    JOIN ingestion.ingested_objects o ON o.tenant_id = a.tenant_id AND o.id = a.object_id
    JOIN ingestion.data_sources s ON s.tenant_id = o.tenant_id AND s.id = o.data_source_id
    WHERE a.outcome = 'running'
    GROUP BY a.run_id, a.stage, s.name ORDER BY min(a.started_at), a.run_id, a.stage LIMIT 50
    """
)
_FAILURES: Final = text(
    """
    SELECT r.agent_type, f.error_type AS cause, f.retryable, count(*) AS failures,
           count(DISTINCT r.id) AS runs, count(DISTINCT r.id) FILTER (WHERE r.status = 'succeeded') AS answered,
           count(DISTINCT r.user_id) AS people, max(f.created_at) AS last_at
    FROM chat.agent_failures f
    JOIN chat.agent_runs r ON r.tenant_id = f.tenant_id AND r.id = f.agent_run_id
    WHERE r.started_at >= :since
    GROUP BY r.agent_type, f.error_type, f.retryable ORDER BY max(f.created_at) DESC, f.error_type LIMIT 50
    """
)
_RUNS: Final = text(
    """
    SELECT agent_type, status, count(*) AS runs,
           percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at))::float8 AS p95_s
    FROM chat.agent_runs WHERE started_at >= :since GROUP BY 1, 2 ORDER BY 1, 2
    """
)


class NotAdministrator(Forbidden):
    """Only an administrator sees how the organisation's work goes; ask one of yours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """How many objects are in one state, `received` to `expired` (db/models/ingestion.py), and when that last grew."""

    state: str
    objects: int
    size_bytes: int
    pieces: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """Objects of one source that failed, or were refused, at the same stage for the same reason.

    `cause` is the name of an error, None where nothing was noted; `run_id` is the newest run that met it.
    """

    source_id: UUID
    source_name: str
    source_uri: str
    state: str
    cause: str | None
    stage: str | None
    objects: int
    last_at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStage:
    """What one run does at this moment, and since when."""

    run_id: str
    stage: str
    source_name: str
    objects: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFailure:
    """What went wrong inside runs of one kind: how often, in how many runs, and how many of these succeeded anyway.

    `people` is None below five.
    """

    agent_type: str
    cause: str
    retryable: bool
    failures: int
    runs: int
    answered: int
    people: int | None
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCount:
    """How many runs of one kind ended so, and the seconds that 95 of 100 of them took at most."""

    agent_type: str
    status: str
    runs: int
    p95_s: float | None


def ensure_administrator(session: AsyncSession) -> Principal:
    """Return whom the session is bound to; raises `NotAdministrator`."""
    principal: Principal = session.info[BOUND_TO]
    if principal.role != "admin":
        raise NotAdministrator
    return principal


async def count_objects(session: AsyncSession) -> list[StateCount]:
    """Return how many objects are in which state, over all of the organisation; raises `NotAdministrator`."""
    return [StateCount(**row) for row in await _read(session, _STATES)]


async def list_failure_causes(session: AsyncSession, *, limit: int = 20, offset: int = 0) -> list[FailureCause]:
    """Return why objects failed, the latest first, counted by source, stage and cause; raises `NotAdministrator`."""
    return [FailureCause(**row) for row in await _read(session, _CAUSES, limit=limit, offset=offset)]


async def list_running(session: AsyncSession) -> list[RunningStage]:
    """Return what ingestion does now, the longest first, fifty at most; raises `NotAdministrator`."""
    return [RunningStage(**row) for row in await _read(session, _RUNNING)]


async def count_answer_failures(session: AsyncSession, *, since: datetime) -> list[AnswerFailure]:
    """Return what failed inside runs begun since then, the latest first; raises `NotAdministrator`."""
    rows = await _read(session, _FAILURES, since=since)
    return [AnswerFailure(**{**row, "people": hide_few(row["people"])}) for row in rows]


async def count_runs(session: AsyncSession, *, since: datetime) -> list[RunCount]:
    """Return how runs begun since then ended, by kind; raises `NotAdministrator`."""
    return [RunCount(**row) for row in await _read(session, _RUNS, since=since)]


def hide_few(people: int) -> int | None:
    """Return the number of people where it tells of nobody, None below `FEWEST_PEOPLE`."""
    return people if people >= FEWEST_PEOPLE else None


async def _read(session: AsyncSession, query: Any, **values: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # parameters
    ensure_administrator(session)
    async with acting_as_system(session):
        return [dict(row) for row in (await session.execute(query, values)).mappings()]
