"""Listing where material comes from, folder, file or S3 prefix, all through the one object store."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID

from core.errors import Invalid, NotFound
from core.settings import Settings
from core.storage import ObjectStore, StoredObject, open_store
from domain.objects import find_own_store
from pipelines.sidecar import MANIFEST, MAX_MANIFEST_BYTES

MAX_OBJECTS = 1_000_000


class TooManyObjects(Invalid):
    """The source holds more than a million objects; ingest its parts one after the other."""


class SourceMissing(NotFound):
    """There is no such folder, file or prefix; check the address."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place to list; `only` is the one key to take where a single file was named."""

    store: ObjectStore
    only: str | None = None

    @property
    def uri(self) -> str:
        """The address the source is remembered by: that of the file's folder where one file was named."""
        return self.store.url


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds: its objects by key, and the manifests among them with their bytes."""

    objects: Mapping[str, StoredObject]
    manifests: Mapping[str, bytes]


async def open_source(address: str, settings: Settings, tenant_id: UUID) -> Source:
    """Return the source at a path, `file:///…` or `s3://bucket/prefix`; raises `SourceMissing`, `UnknownScheme`.

    A single file belongs to its folder's source, so naming it alone and naming its folder find the same object. What
    lies in our own object store is opened as the tenant's; another tenant's raises `PlaceOfOthers` when it is listed.
    """
    if "\0" in address or not address.strip():
        raise SourceMissing(f"{address!r} is no address; give a folder, a file or an s3://bucket/prefix.")
    parts = urlsplit(address) if "://" in address else None
    if parts is None or parts.scheme == "file":
        return await asyncio.to_thread(_open_path, unquote(parts.path) if parts else address, settings, tenant_id)
    folder, _, name = address.rstrip("/").rpartition("/")
    if folder.count("/") >= 2 and not address.endswith("/"):
        above = _open(folder, settings, tenant_id)
        if await above.find(name) is not None:
            return Source(above, name)
    return Source(_open(address, settings, tenant_id))


def _open(address: str, settings: Settings, tenant_id: UUID) -> ObjectStore:
    return find_own_store(tenant_id, address, settings) or open_store(address, settings.storage)


def _open_path(named: str, settings: Settings, tenant_id: UUID) -> Source:
    path = Path(named).expanduser()
    # Links on the way to the source are the caller's own; those inside it are the store's to judge.
    path = path.absolute() if path.is_symlink() and path.is_file() else path.resolve()
    if path.is_dir():
        return Source(_open(path.as_uri(), settings, tenant_id))
    if path.is_file():
        return Source(_open(path.parent.as_uri(), settings, tenant_id), path.name)
    raise SourceMissing(f"There is no folder or file at {path}; check the path.")


async def list_source(source: Source) -> Listing:
    """Return what the source holds, without hidden files and with its manifests read.

    Raises `TooManyObjects` and the errors of the store.
    """
    found: dict[str, StoredObject] = {}
    if source.only is None:
        async for stored in source.store.list():
            if not _is_hidden(stored.key):
                found[stored.key] = stored
            if len(found) > MAX_OBJECTS:
                raise TooManyObjects
    else:
        for key in (source.only, MANIFEST):
            if (stored_one := await source.store.find(key)) is not None:
                found[key] = stored_one
    names = [key for key in found if PurePosixPath(key).name == MANIFEST]
    manifests = {name: await source.store.read(name, max_bytes=MAX_MANIFEST_BYTES) for name in names}
    objects = {key: found[key] for key in sorted(found) if key not in manifests}
    return Listing(objects, manifests)


def _is_hidden(key: str) -> bool:
    # Office programs leave "~$name.docx" beside a document that is open.
    return any(part.startswith((".", "~$")) for part in key.split("/"))
