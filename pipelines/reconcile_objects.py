"""Objects that no row names, and rows whose object is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.storage import ObjectStore, StoredObject
from db.session import tenant_session
from domain.objects import list_folders, tenant_store
from pipelines.reconcile import MINE, MOST_NAMED, Finding, Task

PAGE: Final = 1_000
MOST_LOOKED_UP: Final = 1_000
"""Missing objects asked for by name, which makes sure that they are, in one run."""

KINDS: Final = ("originals", "uploads", "exports", "archives", "reports")
"""The folders of a tenant whose objects rows name; of what lies in another nobody knows whether it is needed."""

MOST_ORPHANS: Final = 100
"""Objects of nobody's that are removed without a second thought."""

_LISTED: Final = text(
    'CREATE TEMP TABLE listed (key text COLLATE "C" PRIMARY KEY, modified timestamptz NOT NULL) ON COMMIT DROP'
)
_ADD: Final = text(
    "INSERT INTO listed SELECT key, modified FROM json_to_recordset(CAST(:page AS json)) "
    "AS r(key text, modified timestamptz) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Rows that name objects: `keys` selects them as `key` and `id`, `lost` says what becomes of one without."""

    kind: str
    keys: str
    lost: str | None
    reason: str | None = None


def _list_owners(store: ObjectStore) -> Sequence[Owner]:
    reports = f"{store.url}/".replace("'", "''")
    return (
        Owner(
            "originals", f"SELECT o.storage_key AS key, o.id FROM ingestion.ingested_objects o "
            f"WHERE o.{MINE} AND o.storage_key IS NOT NULL",
            f"UPDATE ingestion.ingested_objects o SET storage_key = NULL, version = NULL, pipeline_version = NULL, "
            f"checksum = NULL WHERE o.{MINE} AND o.id = :id",
            "the next run of its source reads and keeps it anew, if it is still there",
        ),
        Owner(
            "files", f"SELECT m.storage_key AS key, m.id FROM content.media_assets m WHERE m.{MINE}",
            f"UPDATE content.media_assets m SET processing_status = 'failed' WHERE m.{MINE} AND m.id = :id "
            "AND m.processing_status <> 'failed'",
            "its bytes are lost: restore the object from a backup, or delete the file",
        ),
        Owner(
            "exports", f"SELECT x.object_key AS key, x.id FROM governance.data_exports x "
            f"WHERE x.{MINE} AND x.status = 'ready'",
            f"UPDATE governance.data_exports x SET status = 'expired', error = 'Its file was lost; ask for it again.' "
            f"WHERE x.{MINE} AND x.id = :id",
        ),
        Owner(
            "archives still in the store", f"SELECT a.object_key AS key, a.id FROM governance.archives a "
            f"WHERE a.{MINE} AND a.dropped_at IS NULL AND a.table_name <> 'commerce.transactions'",
            f"DELETE FROM governance.archives a WHERE a.{MINE} AND a.id = :id", "the month is archived anew",
        ),
        Owner(
            "archives", f"SELECT a.object_key AS key, a.id FROM governance.archives a "
            f"WHERE a.{MINE} AND (a.dropped_at IS NOT NULL OR a.table_name = 'commerce.transactions')", None,
            "its rows are nowhere else: restore the object from a backup of the object store",
        ),
        Owner(
            "reports", f"SELECT substr(p.report_url, {len(reports) + 1}) AS key, p.id FROM evaluation.rag_reports p "
            f"WHERE p.{MINE} AND starts_with(p.report_url, '{reports}')",
            f"DELETE FROM evaluation.rag_reports p WHERE p.{MINE} AND p.id = :id", "publish the report again",
        ),
    )  # fmt: skip


async def check_objects(task: Task) -> list[Finding]:
    """Compare the tenant's objects with the rows that name them, a page of either in memory at a time.

    What is listed goes into a table of this transaction, so that both directions are one statement each. An object
    counts as nobody's only once it is older than the grace; a row's object only after it was asked for by name.
    """
    store, started = await tenant_store(task.principal.tenant_id), datetime.now(UTC)
    owners = _list_owners(store)
    async with tenant_session(task.principal) as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        await session.execute(_LISTED)
        await _list_all(session, store, list_folders(task.principal.tenant_id))
        orphans = await _find_orphans(session, task, owners, started, base=store.url)
        lost = {one.kind: await _find_lost(session, one) for one in owners}
        listed = await session.scalar(text("SELECT count(*) FROM listed")) or 0
    findings = [await _remove_orphans(task, store, orphans, listed)]
    return [*findings, *[await _settle_lost(task, store, owner, lost[owner.kind]) for owner in owners]]


async def _list_all(session: AsyncSession, store: ObjectStore, folders: Sequence[str]) -> None:
    page: list[StoredObject] = []

    async def flush() -> None:
        rows = orjson.dumps([{"key": one.key, "modified": one.modified} for one in page]).decode()
        await session.execute(_ADD, {"page": rows})
        page.clear()

    for folder in folders:
        async for stored in store.list(folder):
            page.append(stored)
            if len(page) == PAGE:
                await flush()
    if page:
        await flush()


async def _find_orphans(
    session: AsyncSession, task: Task, owners: Sequence[Owner], now: datetime, *, base: str
) -> list[str]:
    """Return the keys that no row names; a folder of uploads is named by its source, which lists what lies there."""
    named = " UNION ALL ".join(f"SELECT key FROM ({owner.keys}) AS k" for owner in owners)
    tenant_id = task.principal.tenant_id
    uploads = f"tenants/{tenant_id}/uploads/"
    query = f"""
        SELECT l.key FROM listed l
        WHERE l.modified < :before AND NOT EXISTS (SELECT FROM ({named}) AS n WHERE n.key = l.key)
          AND (starts_with(l.key, 'media/') OR split_part(l.key, '/', 3) = ANY (CAST(:kinds AS text[])))
          AND NOT (starts_with(l.key, :uploads) AND EXISTS (
              SELECT FROM ingestion.data_sources s WHERE s.{MINE}
                AND rtrim(s.uri, '/') = :base || :uploads || split_part(substr(l.key, length(:uploads) + 1), '/', 1)
                AND EXISTS (SELECT FROM ingestion.ingested_objects o WHERE o.tenant_id = s.tenant_id
                            AND o.data_source_id = s.id AND o.ingestion_status <> 'expired')))
        ORDER BY l.key
    """
    rows = await session.scalars(
        text(query), {"before": now - task.grace, "uploads": uploads, "base": f"{base}/", "kinds": list(KINDS)}
    )
    return list(rows)


async def _remove_orphans(task: Task, store: ObjectStore, keys: Sequence[str], listed: int) -> Finding:
    kind, named = "objects without rows", list(keys[:MOST_NAMED])
    if len(keys) > MOST_ORPHANS and 2 * len(keys) > listed:
        # a database restored from long ago, or another's object store, looks like this
        return Finding(
            kind=kind, found=len(keys), named=named,
            reason="more than half of all objects are nobody's: do database and object store belong together?",
        )  # fmt: skip
    if task.repair:
        for key in keys:
            await store.purge(key)
    return Finding(kind=kind, found=len(keys), repaired=len(keys) if task.repair else 0, named=named)


async def _find_lost(session: AsyncSession, owner: Owner) -> list[tuple[str, Any]]:
    rows = await session.execute(
        text(f"SELECT k.key, k.id FROM ({owner.keys}) AS k WHERE NOT EXISTS (SELECT FROM listed l WHERE l.key = k.key) "
             f"ORDER BY k.key LIMIT {MOST_LOOKED_UP}")
    )  # fmt: skip
    return [(row.key, row.id) for row in rows]


async def _settle_lost(task: Task, store: ObjectStore, owner: Owner, suspects: Sequence[tuple[str, Any]]) -> Finding:
    lost = [(key, row_id) for key, row_id in suspects if await store.find(key) is None]
    repaired = 0
    if task.repair and owner.lost is not None:
        for _, row_id in lost:
            async with tenant_session(task.principal) as session:
                done = await session.execute(text(owner.lost), {"id": row_id})
                repaired += done.rowcount  # type: ignore[attr-defined]  # an UPDATE or DELETE has one
    return Finding(
        kind=f"{owner.kind} without their object", found=len(lost), repaired=repaired,
        named=[key for key, _ in lost[:MOST_NAMED]], reason=owner.reason if lost else None,
    )  # fmt: skip
