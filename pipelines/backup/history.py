"""What is remembered of backups and drills, in `platform.backups` and `platform.drills`.

They are written with the connection that made them: the app's role only reads them.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.engine import URL

from core.logging import get_logger
from db.session import unbound_session
from pipelines.backup.snapshot import connect

if TYPE_CHECKING:
    from pipelines.backup.drill import DrillReport
    from pipelines.backup.manifest import Manifest

OLD_BACKUP_SECONDS, OLD_DRILL_SECONDS = 26 * 3_600, 9 * 86_400
"""A night and a bit, a week and a bit: older ones are warned of."""

_BACKUP = """
    INSERT INTO platform.backups (id, status, url, started_at, snapshot_at, finished_at, revision, tables, rows, bytes,
                                  objects, error)
    VALUES (%(id)s, %(status)s, %(url)s, %(started_at)s, %(snapshot_at)s, %(finished_at)s, %(revision)s, %(tables)s,
            %(rows)s, %(bytes)s, %(objects)s, %(error)s)
    ON CONFLICT (id) DO NOTHING
"""
_DRILL = """
    INSERT INTO platform.drills (backup_id, started_at, finished_at, passed, recovery_point_seconds, recovery_seconds,
                                 phases, differences)
    VALUES (%(backup_id)s, %(started_at)s, %(finished_at)s, %(passed)s, %(recovery_point_seconds)s,
            %(recovery_seconds)s, %(phases)s, %(differences)s)
"""
_LAST = text("""
    SELECT (SELECT max(snapshot_at) FROM platform.backups WHERE status = 'good') AS last_good,
           b.status AS last_status, b.error, b.started_at AS last_tried, d.passed, d.finished_at AS drilled_at,
           d.recovery_seconds, d.differences ->> 0 AS difference, now() AS now
    FROM (SELECT 1) one
    LEFT JOIN LATERAL (SELECT * FROM platform.backups ORDER BY started_at DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT * FROM platform.drills ORDER BY started_at DESC LIMIT 1) d ON true
""")

_log = get_logger("backup")


@dataclass(frozen=True, slots=True)
class Remembered:
    """The newest of what is remembered, all None where there is none; `difference` is the first of a failed drill."""

    last_good: datetime | None
    last_status: str | None
    error: str | None
    last_tried: datetime | None
    passed: bool | None
    drilled_at: datetime | None
    recovery_seconds: float | None
    difference: str | None
    now: datetime


async def read_last() -> Remembered:
    """Return what is remembered of the last backup and the last drill."""
    async with unbound_session() as session:
        return Remembered(*(await session.execute(_LAST)).one())


async def note_backup(url: URL, manifest: "Manifest", address: str) -> None:
    """Remember a backup that is whole."""
    await _execute(url, _BACKUP, [describe_backup(manifest, address)])


async def note_failed_backup(url: URL, backup_id: str, started: datetime, address: str, sentence: str) -> None:
    """Remember one that failed; where even that fails, the failure itself is what counts."""
    values = {
        "id": backup_id, "status": "failed", "url": address, "started_at": started, "error": sentence,
        **dict.fromkeys(("snapshot_at", "finished_at", "revision", "tables", "rows", "bytes", "objects")),
    }  # fmt: skip
    try:
        await _execute(url, _BACKUP, [values])
    except Exception as error:  # noqa: BLE001  # the database may be what failed
        _log.warning("a failed backup is not remembered", reason=type(error).__name__)


async def note_pruned(url: URL, backup_ids: Sequence[str]) -> None:
    """Remember that these are gone."""
    query = "UPDATE platform.backups SET status = 'pruned' WHERE id = %(id)s"
    await _execute(url, query, [{"id": one} for one in backup_ids])


async def note_drill(url: URL, report: "DrillReport") -> None:
    """Remember how a drill went."""
    values = {
        "backup_id": report.backup_id, "started_at": report.started_at, "finished_at": report.finished_at,
        "passed": report.passed, "recovery_point_seconds": report.recovery_point_seconds,
        "recovery_seconds": report.recovery_seconds, "phases": json.dumps(report.phases),
        "differences": json.dumps(report.differences),
    }  # fmt: skip
    await _execute(url, _DRILL, [values])


def describe_backup(manifest: "Manifest", address: str) -> dict[str, Any]:
    """Return the row of a backup that is whole."""
    return {
        "id": manifest.id, "status": "good", "url": address, "started_at": manifest.started_at,
        "snapshot_at": manifest.snapshot_at, "finished_at": manifest.finished_at, "revision": manifest.revision,
        "tables": len(manifest.tables), "rows": manifest.rows, "bytes": manifest.size, "objects": manifest.objects,
        "error": None,
    }  # fmt: skip


async def _execute(url: URL, query: str, values: list[dict[str, Any]]) -> None:
    def work() -> None:
        with connect(url) as connection:
            for one in values:
                connection.execute(query, one)

    if values:
        await asyncio.to_thread(work)
