"""Retention of what has bytes in the object store: ingested material, and files that nothing shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text

from core.storage import ObjectStore
from db.session import Principal, tenant_session
from domain.objects import tenant_store
from pipelines.content_sources import SOURCE_URI
from pipelines.index import withdraw_objects
from pipelines.retention.rules import MINE

OBJECTS_AT_ONCE: Final = 50

MATERIAL: Final = f"""
    SELECT t.id, t.key, s.uri, t.id IN (SELECT governance.held('object')) AS held
    FROM ingestion.ingested_objects t
    JOIN ingestion.data_sources s ON s.tenant_id = t.tenant_id AND s.id = t.data_source_id AND s.uri <> '{SOURCE_URI}'
    LEFT JOIN rag.transcripts r ON r.tenant_id = t.tenant_id AND r.object_id = t.id
    WHERE t.{MINE} AND t.ingestion_status <> 'expired'
      AND coalesce(r.held_at, t.held_at, t.indexed_at, t.created_at) < :before
"""
"""As old as the session or document itself; how long ago it was ingested counts where nobody said when that was."""
MEDIA: Final = f"""
    SELECT t.id, t.storage_key, t.uploaded_by IN (SELECT governance.held('person')) AS held
    FROM content.media_assets t WHERE t.{MINE} AND t.usage_count = 0 AND t.uploaded_at < :before
"""
_COUNT: Final = (
    "SELECT count(*) FILTER (WHERE NOT held) AS free, count(*) FILTER (WHERE held) AS held FROM ({due}) AS due"
)
_CHOOSE: Final = text(
    f"SELECT due.* FROM ({MATERIAL}) AS due JOIN ingestion.ingested_objects o "
    f"ON o.{MINE} AND o.id = due.id WHERE NOT held ORDER BY due.id LIMIT :most FOR UPDATE OF o"
)
_LOCK: Final = text("SELECT id FROM rag.embeddings_registry WHERE status = 'active' FOR NO KEY UPDATE")
_EXPIRE: Final = text(f"""
    UPDATE ingestion.ingested_objects o
    SET ingestion_status = 'expired', error = NULL, pieces = 0, indexed_at = NULL, title = NULL, storage_key = NULL,
        sidecar = '{{}}', sidecar_hash = NULL, updated_at = now()
    WHERE o.{MINE} AND o.id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_MEDIA_BATCH: Final = text(
    f"WITH chosen AS MATERIALIZED (SELECT * FROM ({MEDIA}) AS due WHERE NOT held LIMIT :most) "
    f"DELETE FROM content.media_assets x USING chosen c WHERE x.{MINE} AND x.id = c.id AND x.usage_count = 0 "
    "RETURNING x.storage_key"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that are free to go and rows that a hold keeps."""

    free: int
    held: int


async def count_due(principal: Principal, due: str, before: datetime) -> Counts:
    """Count what lies before this moment."""
    async with tenant_session(principal) as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        row = (await session.execute(text(_COUNT.format(due=due)), {"before": before})).one()
    return Counts(row.free, row.held)


async def expire_material(principal: Principal, before: datetime) -> int:
    """Take old material out of the store with all that came of it, then its bytes; return how many objects.

    The object's row stays as `expired` without words, so that what still lies in a customer's own folder is not
    ingested again; bytes are deleted only where they are ours.
    """
    store, gone = await tenant_store(principal.tenant_id), 0
    while True:
        async with tenant_session(principal) as session:
            await session.execute(_LOCK)
            rows = (await session.execute(_CHOOSE, {"before": before, "most": OBJECTS_AT_ONCE})).all()
            if rows:
                ids = [row.id for row in rows]
                await withdraw_objects(session, ids)
                await session.execute(_EXPIRE, {"ids": ids})
        for row in rows:
            await store.purge_below(f"tenants/{principal.tenant_id}/originals/{row.id}/")
        for folder in _list_uploads(principal.tenant_id, store, [row.uri for row in rows]):
            await store.purge_below(folder)
        gone += len(rows)
        if len(rows) < OBJECTS_AT_ONCE:
            return gone


async def delete_media(principal: Principal, before: datetime) -> int:
    """Delete files that nothing shows, rows first; bytes that are left over are found by the next reconciliation."""
    store, gone = await tenant_store(principal.tenant_id), 0
    while True:
        async with tenant_session(principal) as session:
            keys = list(await session.scalars(_MEDIA_BATCH, {"before": before, "most": OBJECTS_AT_ONCE}))
        for key in keys:
            await store.purge(key)
        gone += len(keys)
        if len(keys) < OBJECTS_AT_ONCE:
            return gone


def _list_uploads(tenant_id: UUID, store: ObjectStore, addresses: Sequence[str]) -> set[str]:
    """Return the folders of our own store, of this tenant's uploads, that are among these addresses."""
    ours = f"{store.url}/tenants/{tenant_id}/uploads/"
    return {
        f"tenants/{tenant_id}/uploads/{one.removeprefix(ours).strip('/')}/" for one in addresses if one.startswith(ours)
    }
