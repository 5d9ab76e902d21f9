"""Encrypting a tenant's objects anew, and counting by which key each is encrypted, while they are read and written."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID

from core.crypto import DataKeyDestroyed
from core.crypto_frames import SealedUnreadable
from core.settings import Settings
from core.storage import ObjectChanged, ObjectMissing, ObjectStore, StoredObject, StoreMissing, open_store
from core.storage_encrypted import HEADER_BYTES, ObjectUnreadable, read_version
from domain.objects import list_folders, tenant_store

AT_ONCE: Final = 8
ODD: Final = -1
"""Stands for the version of an object whose header was cut short or is of another format."""


@dataclass(slots=True)
class Pass:
    """What one pass over a tenant's objects did."""

    renewed: int = 0
    unreadable: int = 0
    seen: int = 0


async def count_objects(tenant_id: UUID, settings: Settings) -> Mapping[int | None, int]:
    """Return how many objects of the tenant there are by version; None stands for those that are not encrypted.

    The start of each object is read, some at once. Only what a reader sees is counted: earlier versions that a bucket
    keeps are not.
    """
    store = open_store(settings.storage_url, settings.storage)
    counts: Counter[int | None] = Counter()
    async for page in _list_pages(store, tenant_id):
        counts.update(version for _, version in page)
    return counts


async def renew_objects(
    tenant_id: UUID, settings: Settings, *, version: int | None, on_seen: Callable[[int], None]
) -> Pass:
    """Encrypt every object anew that is not of this version, each replaced only where it still is what was read.

    In a bucket with versions, the earlier ones of what is replaced are removed: they would stay as they were.
    """
    inner, store = open_store(settings.storage_url, settings.storage), await tenant_store(tenant_id, settings)
    done = Pass()
    async for page in _list_pages(inner, tenant_id):
        try:
            async with asyncio.TaskGroup() as group:
                for found, there in page:
                    if there != version or version is None:
                        group.create_task(_renew(store, found, done))
        except ExceptionGroup as several:  # the store went away under all of them: one sentence will do
            raise several.exceptions[0] from several
        on_seen(done.seen)
    return done


async def _renew(store: ObjectStore, found: StoredObject, done: Pass) -> None:
    try:
        async with aclosing(store.read_stream(found.key)) as content:
            await store.write_stream(found.key, content, replacing=found.version)
        await store.purge(found.key, keep_newest=True)
        done.renewed += 1
    except (ObjectChanged, ObjectMissing):
        pass  # whoever changed it wrote it with the newest key, or deleted it
    except (SealedUnreadable, ObjectUnreadable, DataKeyDestroyed):
        done.unreadable += 1
    done.seen += 1


async def _list_pages(store: ObjectStore, tenant_id: UUID) -> AsyncIterator[list[tuple[StoredObject, int | None]]]:
    """Iterate over the tenant's objects with the version each is encrypted with, some at once."""
    listed: list[StoredObject] = []
    for folder in list_folders(tenant_id):
        try:
            # listed before anything is replaced: what is written meanwhile is written with the newest key
            listed += [found async for found in store.list(folder) if not _is_draft(found.key)]
        except StoreMissing:
            continue  # nothing was ever stored
    for page in _cut(listed):
        looked = await asyncio.gather(*(_look(store, found) for found in page))
        yield [one for one in looked if one is not None]


async def _look(store: ObjectStore, found: StoredObject) -> tuple[StoredObject, int | None] | None:
    try:
        return found, read_version(await store.read_start(found.key, count=HEADER_BYTES))
    except ObjectUnreadable:
        return found, ODD
    except ObjectMissing:
        return None


def _is_draft(key: str) -> bool:
    return PurePosixPath(key).name.startswith(".draft-")  # a write on its way


def _cut(listed: list[StoredObject]) -> Iterable[list[StoredObject]]:
    return (listed[first : first + AT_ONCE] for first in range(0, len(listed), AT_ONCE))
