"""Objects of a subject in the object store, with all their versions, and in sources that are the customer's own."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.logging import get_logger
from core.settings import Settings
from core.storage import ObjectStore, StoreMissing, open_store
from db.models import ErasedKey
from domain.identity import bound_tenant
from domain.ingestion import hash_address
from pipelines.archives.months import archives_folder
from pipelines.content_sources import SOURCE_URI
from pipelines.privacy.stores import Count
from pipelines.privacy.subjects import Scope

KINDS: Final = ("objects:originals", "objects:uploads", "objects:media", "objects:exports", "objects:all")
"""What objects are called in receipts; `all` are a whole tenant's."""

_UPLOADS: Final = text("""
SELECT DISTINCT substr(d.uri, length(CAST(:ours AS text)) + 2) || '/' FROM ingestion.ingested_objects o
JOIN ingestion.data_sources d ON d.tenant_id = o.tenant_id AND d.id = o.data_source_id
WHERE o.id = ANY (:ids) AND starts_with(d.uri, CAST(:ours AS text) || '/tenants/')
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_MEDIA: Final = text("SELECT a.storage_key FROM content.media_assets a WHERE a.id = ANY (:ids)").bindparams(
    bindparam("ids", type_=ARRAY(Uuid))
)
_EXPORTS: Final = text(
    "SELECT e.object_key FROM governance.data_exports e WHERE e.user_id = ANY (:ids) AND e.object_key IS NOT NULL"
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_FOREIGN: Final = text("""
SELECT d.uri, o.key FROM ingestion.ingested_objects o
JOIN ingestion.data_sources d ON d.tenant_id = o.tenant_id AND d.id = o.data_source_id
WHERE o.id = ANY (:ids) AND d.uri <> :content AND NOT starts_with(d.uri, CAST(:ours AS text) || '/tenants/')
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))

log = get_logger("pipelines.privacy")


@dataclass(frozen=True, slots=True)
class Places:
    """Where a subject's objects lie: what their keys begin with, by what they are called in a receipt."""

    prefixes: dict[str, tuple[str, ...]]
    spared: tuple[str, ...] = ()
    """What lies below these is left: another step writes the subject's rows out of it."""


def _find_whole(tenant_id: UUID) -> Places:
    """Return where all of an organisation's objects lie but its archives, of which money and the log stay."""
    return Places(
        {"objects:all": (f"tenants/{tenant_id}/", f"media/{tenant_id}/")}, spared=(archives_folder(tenant_id),)
    )


def _own(scope: Scope) -> tuple[UUID, ...]:
    """Return the ingested objects whose bytes hold the subject's words."""
    return (*scope["objects"], *scope["rebuilt"])


async def find_places(session: AsyncSession, scope: Scope, store: ObjectStore) -> Places:
    """Return where the subject's objects lie, while the rows that tell are there; keys are never stored."""
    tenant = scope.tenant_id
    if scope.kind == "tenant":
        return _find_whole(tenant)
    uploads = await session.scalars(_UPLOADS, {"ids": list(_own(scope)), "ours": store.url})
    media = await session.scalars(_MEDIA, {"ids": list(scope["media"])})
    exports = await session.scalars(_EXPORTS, {"ids": list(scope["persons"])})
    return Places(
        {
            "objects:originals": tuple(f"tenants/{tenant}/originals/{one}/" for one in _own(scope)),
            "objects:uploads": tuple(uploads),
            "objects:media": tuple(media),
            "objects:exports": tuple(exports),
        }
    )


def places_of_receipt(scope: Scope) -> Places:
    """Return the places that follow from the scope alone, when no row tells any more."""
    tenant = scope.tenant_id
    if scope.kind == "tenant":
        return _find_whole(tenant)
    return Places(
        {
            "objects:originals": tuple(f"tenants/{tenant}/originals/{one}/" for one in _own(scope)),
            "objects:uploads": tuple(f"tenants/{tenant}/uploads/{one}/" for one in scope["uploads"]),
            "objects:media": tuple(f"media/{tenant}/{one}." for one in scope["media"]),
            "objects:exports": tuple(f"tenants/{tenant}/exports/{one}" for one in scope["exports"]),
        }
    )


async def count_objects(store: ObjectStore, places: Places) -> dict[str, Count]:
    """Count the objects at these places, old versions too; the hash is over the hashes of their keys and versions."""
    counts = {}
    for name, prefixes in places.prefixes.items():
        hashes = []
        for prefix in prefixes:
            async for key, version in _list_versions(store, prefix):
                if not key.startswith(places.spared):
                    hashes.append(hashlib.sha256(f"{key}\n{version}".encode()).hexdigest())
        counts[name] = Count(len(hashes), hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest())
    return counts


async def purge_objects(store: ObjectStore, places: Places) -> int:
    """Remove all objects at these places with all their versions; return how many there were. Safe to repeat."""
    removed = 0
    for prefixes in places.prefixes.values():
        for prefix in prefixes:
            for part in await _leave_out(store, prefix, places.spared):
                removed += await _purge_below(store, part)
    return removed


async def _leave_out(store: ObjectStore, prefix: str, spared: tuple[str, ...]) -> list[str]:
    """Return what is to be removed below the prefix: all of it, or its folders without those that are spared."""
    if not any(one.startswith(prefix) for one in spared):
        return [prefix]
    parts = set[str]()
    async for key, _ in _list_versions(store, prefix):
        folder, slash, _ = key.removeprefix(prefix).partition("/")
        parts.add(f"{prefix}{folder}{slash}")
    return sorted(part for part in parts if not any(one.startswith(part) for one in spared))


async def _list_versions(store: ObjectStore, prefix: str) -> AsyncIterator[tuple[str, str]]:
    listing = getattr(store, "list_versions", store.list)
    try:
        async for stored in listing(prefix):
            yield stored.key, stored.version
    except StoreMissing:  # a folder store without a single object has no folder
        return


async def _purge_below(store: ObjectStore, prefix: str) -> int:
    purge = getattr(store, "purge_below", None)
    if purge is not None:
        return int(await purge(prefix))
    keys = sorted({key async for key, _ in _list_versions(store, prefix)})
    for key in keys:
        await store.delete(key)
    return len(keys)


async def remember_foreign(session: AsyncSession, scope: Scope, store: ObjectStore) -> Sequence[tuple[str, str]]:
    """Note by hashes which objects of others' sources are never ingested again; return their sources and keys."""
    values = {"ids": list(_own(scope)), "ours": store.url, "content": SOURCE_URI}
    rows = (await session.execute(_FOREIGN, values)).all()
    if rows:
        tenant_id = await bound_tenant(session)
        hashed = [
            {"tenant_id": tenant_id, "source_hash": hash_address(row.uri), "key_hash": hash_address(row.key)}
            for row in rows
        ]
        await session.execute(insert(ErasedKey).values(hashed).on_conflict_do_nothing())
    return [(row.uri, row.key) for row in rows]


async def delete_foreign(objects: Sequence[tuple[str, str]], settings: Settings) -> int:
    """Delete the objects in their own sources, as was asked; return how many could not be."""
    failed = 0
    for uri, key in objects:
        try:
            foreign = open_store(uri, settings.storage)
            purge = getattr(foreign, "purge", foreign.delete)
            await purge(key)
        except AppError as error:
            failed += 1
            log.warning("an erased object stays in its source", source=uri, error=error.code)
    return failed
