"""What a backup holds: the sealed manifest that is written last, and the list of backups a store has.

`{id}/manifest.json` says in the open which master key wraps the backup's own; all else in it is sealed, as names of
objects may tell of people. A backup without it was interrupted and is never restored.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from core.crypto import MasterKey
from core.errors import NotFound
from core.storage import ObjectMissing, ObjectStore, StoreMissing
from pipelines.backup.seal import BackupDamaged, Sealer, open_key

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MOST_MANIFEST_BYTES: Final = 256 << 20
NAMED: Final = 5
"""Backups an error names."""


class BackupNotFound(NotFound):
    """There is no whole backup of this name; `regenesis db backups` lists those there are."""


class BackupCut(NotFound):
    """Parts of this backup are missing; restore another one."""


class BackupNewer(NotFound):
    """This backup was made by a newer version of this program; restore it with that one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """So many sealed parts below one name: `{name}.000000` and on; `size` is their bytes as stored."""

    name: str
    count: int
    size: int

    def keys(self) -> list[str]:
        """Return the parts' names in order."""
        return [f"{self.name}.{number:06d}" for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class TableRecord:
    """The rows of one table as the snapshot has them.

    `checksum` is the sum of `fingerprint`, a 64-bit hash in SQL, over all rows: it does not depend on their order, and
    the very same expression is summed up again wherever the backup was restored.
    """

    name: str
    columns: list[str]
    fingerprint: str
    rows: int
    checksum: int
    slices: list[Parts]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One whole backup; `newest_row_at` is when the last row of the snapshot was made.

    `schema` is pg_dump's archive of everything but rows, `on_views` the ids in it of functions over views' rows.
    """

    id: str
    product_version: str
    revision: str
    server_version: int
    dump_version: int
    started_at: datetime
    snapshot_at: datetime
    finished_at: datetime
    newest_row_at: datetime | None
    wal_position: str
    tables: list[TableRecord]
    sequences: dict[str, tuple[int, bool]]
    schema: Parts
    on_views: list[int]
    storage_url: str
    objects: int
    object_bytes: int
    object_list: Parts
    copies: bool
    copied: list[Parts] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def size(self) -> int:
        """Bytes as stored, without the manifest."""
        return sum(parts.size for parts in self.list_parts())

    def list_parts(self) -> list[Parts]:
        """Return everything the backup consists of beside the manifest."""
        slices = [parts for table in self.tables for parts in table.slices]
        return [self.schema, *slices, self.object_list, *self.copied]

    def to_json(self) -> dict[str, Any]:
        """Return what programs and people want to know of it, without the parts."""
        return {
            "id": self.id, "snapshot_at": self.snapshot_at, "started_at": self.started_at,
            "finished_at": self.finished_at, "newest_row_at": self.newest_row_at, "revision": self.revision,
            "product_version": self.product_version, "wal_position": self.wal_position, "tables": len(self.tables),
            "rows": self.rows, "bytes": self.size, "objects": self.objects, "object_bytes": self.object_bytes,
            "with_objects": self.copies,
            "seconds": round((self.finished_at - self.started_at).total_seconds(), 2),
        }  # fmt: skip


def name_backup(moment: datetime, suffix: str) -> str:
    """Return a backup's id; ids sort by time."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{suffix}"


async def write_manifest(
    store: ObjectStore, manifest: Manifest, sealer: Sealer, master_key_id: str, wrapped: bytes
) -> None:
    """Write it; from here on the backup counts as whole."""
    sealed = sealer.seal(MANIFEST, json.dumps(asdict(manifest), default=_to_text).encode())
    head = {
        "format": FORMAT, "id": manifest.id, "master_key": master_key_id,
        "wrapped_key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode(),
    }  # fmt: skip
    await store.write(f"{manifest.id}/{MANIFEST}", json.dumps(head).encode())


async def read_manifest(store: ObjectStore, backup_id: str, master_key: MasterKey) -> tuple[Manifest, Sealer]:
    """Return a whole backup's manifest and what opens its parts.

    Raises `BackupNotFound`, `BackupDamaged`, `BackupKeyWrong`, `BackupNewer`.
    """
    try:
        content = await store.read(f"{backup_id}/{MANIFEST}", max_bytes=MOST_MANIFEST_BYTES)
    except (ObjectMissing, StoreMissing) as error:
        newest = ", ".join(list(reversed(await list_backups(store)))[:NAMED])
        raise BackupNotFound(
            f"There is no whole backup {backup_id!r} in {store.url}; the newest are: {newest or 'none'}."
        ) from error
    damaged = BackupDamaged(f"The manifest of the backup {backup_id} was altered or damaged; restore another backup.")
    try:
        head = json.loads(content)
        if head["format"] != FORMAT:
            raise BackupNewer(f"The backup {backup_id} has format {head['format']}; restore it with a newer version.")
        wrapped = base64.b64decode(head["wrapped_key"], validate=True)
        sealed = base64.b64decode(head["sealed"], validate=True)
        wrapped_by = str(head["master_key"])
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise damaged from error
    sealer = await open_key(master_key, backup_id, wrapped, wrapped_by)
    return _parse(json.loads(sealer.open(MANIFEST, sealed))), sealer


async def list_backups(store: ObjectStore) -> list[str]:
    """Return the ids of the backups that were finished, oldest first."""
    try:
        return sorted([
            stored.key.rpartition("/")[0] async for stored in store.list() if stored.key.endswith(f"/{MANIFEST}")
        ])  # fmt: skip
    except StoreMissing:
        return []


async def find_newest(store: ObjectStore) -> str:
    """Return the id of the newest whole backup; raises `BackupNotFound`."""
    there = await list_backups(store)
    if not there:
        raise BackupNotFound(f"There is no whole backup in {store.url}; make one with `regenesis db backup`.")
    return there[-1]


async def check_parts(store: ObjectStore, manifest: Manifest) -> None:
    """Raise `BackupCut` where a part is missing or not as long as it was written; nothing is opened."""
    there = {stored.key: stored.size async for stored in store.list(f"{manifest.id}/")}
    for parts in manifest.list_parts():
        sizes = [there.get(f"{manifest.id}/{key}") for key in parts.keys()]  # noqa: SIM118  # no mapping
        missing = [key for key, size in zip(parts.keys(), sizes, strict=True) if size is None]
        if missing or sum(size or 0 for size in sizes) != parts.size:
            what = f"{missing[0]} is missing" if missing else f"{parts.name} is not as long as it was written"
            raise BackupCut(f"The backup {manifest.id} is not whole ({what}); restore another backup.")


def _to_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a manifest holds no {type(value).__name__}")


def _parse(read: dict[str, Any]) -> Manifest:
    moments = ("started_at", "snapshot_at", "finished_at", "newest_row_at")
    tables = [
        TableRecord(**{**table, "slices": _parse_parts(table["slices"])})
        for table in read["tables"]
    ]  # fmt: skip
    return Manifest(**{
        **read,
        **{name: datetime.fromisoformat(read[name]) if read[name] else None for name in moments},
        "tables": tables, "sequences": {name: (last, called) for name, (last, called) in read["sequences"].items()},
        "schema": Parts(**read["schema"]), "object_list": Parts(**read["object_list"]),
        "copied": _parse_parts(read["copied"]),
    })  # fmt: skip


def _parse_parts(read: Sequence[dict[str, Any]]) -> list[Parts]:
    return [Parts(**one) for one in read]
