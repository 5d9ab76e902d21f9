"""The objects beside the rows: what there is, as a sealed list, and copies of it where wanted."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Final

from core.settings import Settings
from core.storage import ObjectMissing, ObjectStore, StoredObject, StoreMissing, open_store
from pipelines.backup.manifest import Manifest, Parts
from pipelines.backup.seal import BackupDamaged, Sealer
from pipelines.backup.workers import PartWriter, Told, read_parts, tell_nobody

NEVER: Final = ("keyring/",)
"""Prefixes no backup holds: what was shredded by destroying its key must stay so in every backup."""
LIST: Final = "objects/list"
EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as it was; `sha256` is known of what was copied, whose parts are `copy`."""

    key: str
    size: int
    version: str
    sha256: str | None = None
    copy: int | None = None


@dataclass(slots=True)
class CopiedObjects:
    """What was listed and copied: number and bytes of objects, and the parts that hold the list and the copies."""

    listed: Parts
    count: int = 0
    size: int = 0
    copies: list[Parts] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ObjectsCheck:
    """How the objects of today's store compare with the list: as they were, changed since, gone since, written back.

    Objects go and change as people work, so the last three are told, and are no faults by themselves.
    """

    same: int = 0
    changed: int = 0
    gone: int = 0
    written: int = 0
    examples: tuple[str, ...] = ()


async def copy_objects(
    settings: Settings, write_to: Callable[[str], PartWriter], *, copies: bool, told: Told = tell_nobody
) -> CopiedObjects:
    """List every object, and copy each where wanted; one that goes meanwhile is left out."""
    source = open_store(settings.storage_url, settings.storage)
    writer = write_to(LIST)
    found = CopiedObjects(Parts(LIST, 0, 0))
    async for stored in _list_all(source, settings):
        one = ListedObject(stored.key, stored.size, stored.version)
        if copies:
            copied = await _copy(source, stored.key, write_to(f"objects/{len(found.copies):08d}"))
            if copied is None:
                continue
            parts, size, digest = copied
            found.copies.append(parts)
            one = ListedObject(stored.key, size, stored.version, digest, len(found.copies) - 1)
        await asyncio.to_thread(writer.write, json.dumps(asdict(one)).encode() + b"\n")
        found.count, found.size = found.count + 1, found.size + one.size
        told("objects", found.count, found.count)
    found.listed = await asyncio.to_thread(writer.close)
    return found


async def check_objects(
    settings: Settings, store: ObjectStore, manifest: Manifest, sealer: Sealer, *, write: bool = False
) -> ObjectsCheck:
    """Compare today's objects with the list; with `write`, put back what is gone and was copied.

    An object's version is compared where it lies in the same store still. Copies are opened and hashed all.
    """
    target = open_store(settings.storage_url, settings.storage)
    there = {stored.key: stored async for stored in _list_all(target, settings)}
    same_store = settings.storage_url == manifest.storage_url
    same = changed = gone = written = 0
    examples: list[str] = []
    async for one in _read_list(store, manifest, sealer):
        now = there.get(one.key)
        copy = (
            _open_copy(store, manifest, sealer, manifest.copied[one.copy], one.sha256) if one.copy is not None else None
        )
        if now is None and write and copy is not None:
            await target.write_stream(one.key, copy)
            written += 1
            continue
        if copy is not None:
            async with aclosing(copy) as chunks:  # proven all the same, before it is needed
                async for _ in chunks:
                    pass
        if now is None:
            gone += 1
            examples.append(one.key)
        elif now.size != one.size or (same_store and now.version != one.version):
            changed += 1
        else:
            same += 1
    return ObjectsCheck(same, changed, gone, written, tuple(examples[:EXAMPLES]))


async def _copy(source: ObjectStore, key: str, copy: PartWriter) -> tuple[Parts, int, str] | None:
    """Copy the object as it is now; return the parts, its bytes and their SHA-256, or None where it is gone."""
    digest, size = hashlib.sha256(), 0
    try:
        async with aclosing(source.read_stream(key)) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                await asyncio.to_thread(copy.write, chunk)
    except ObjectMissing:
        return None
    return await asyncio.to_thread(copy.close), size, digest.hexdigest()


async def _open_copy(
    store: ObjectStore, manifest: Manifest, sealer: Sealer, parts: Parts, sha256: str | None
) -> AsyncGenerator[bytes, None]:
    """Iterate over a copy's bytes; raises `BackupDamaged` at their end where they are not what was copied."""
    digest = hashlib.sha256()
    opened = read_parts(store, sealer, manifest.id, parts, asyncio.get_running_loop())
    while (content := await asyncio.to_thread(next, opened, None)) is not None:
        digest.update(content)
        yield content
    if digest.hexdigest() != sha256:
        raise BackupDamaged


async def _read_list(store: ObjectStore, manifest: Manifest, sealer: Sealer) -> AsyncIterator[ListedObject]:
    loop = asyncio.get_running_loop()
    parts = read_parts(store, sealer, manifest.id, manifest.object_list, loop)
    rest = b""
    while (content := await asyncio.to_thread(next, parts, None)) is not None:
        *lines, rest = (rest + content).split(b"\n")
        for line in lines:
            yield ListedObject(**json.loads(line))


async def _list_all(source: ObjectStore, settings: Settings) -> AsyncIterator[StoredObject]:
    """Iterate over all objects that a backup may know of."""
    try:
        async for stored in source.list():
            if not stored.key.startswith(_leave_out(source, settings)):
                yield stored
    except StoreMissing:
        return


def _leave_out(source: ObjectStore, settings: Settings) -> tuple[str, ...]:
    """Return the prefixes of the keyring and of backups, where these lie in the same store."""
    above = f"{source.url}/"
    others = [open_store(url, settings.storage).url for url in (settings.keyring_url, settings.backup_url)]
    return NEVER + tuple(f"{url.removeprefix(above)}/" for url in others if url.startswith(above))
