"""Taking rows out of an archive, or words out of its rows, without a moment at which both or neither are kept."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import delete, update

from core.errors import NotFound
from core.settings import Settings, get_settings
from core.storage import ObjectStore, open_store
from core.storage_encrypted import HEADER_BYTES, read_version
from db.models import Archive
from db.session import Principal, tenant_session
from domain.objects import tenant_store
from pipelines.archives.columns import FINGERPRINT, digest, make_schema, sum_fingerprints
from pipelines.archives.columns import Column as ArchivedColumn
from pipelines.archives.files import ROWS_AT_ONCE, hash_file, nameless_file, open_writer, store_file
from pipelines.archives.months import archive_folder, next_key
from pipelines.archives.read import read_archive
from pipelines.archives.write import Proof, hold_archives, prove

Keep = Callable[[pa.RecordBatch], pa.BooleanArray]
"""Says of each row of a batch whether it stays."""
Change = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Returns the batch with words blanked; the same columns, the same number of rows."""


class ArchiveNotFound(NotFound):
    """There is no such archive; `regenesis retention show` lists those there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What an archive is after rows were taken out: `sha256` is null where nothing was left and it is gone."""

    sha256: bytes | None
    rows: int
    removed: int
    changed: int


async def rewrite_archive(
    tenant_id: UUID, archive_id: UUID, *, keep: Keep | None = None, change: Change | None = None,
    settings: Settings | None = None, in_plain: bool = False,
) -> Rewritten:  # fmt: skip
    """Leave only the rows that `keep` names, as `change` returns them; an archive that becomes empty goes.

    `in_plain` leaves it unencrypted, for an organisation whose keys are going to be destroyed.

    The new object is written and proven before the row names it, and the old one goes after that: killed anywhere, the
    archive is the old one or the new one, and calling again completes it and removes what was left behind. Raises
    `ArchiveNotFound`, `ArchiveDamaged`.
    """
    system = Principal(tenant_id, "system")
    async with hold_archives(tenant_id):
        async with tenant_session(system) as session:
            archive = await session.get(Archive, (tenant_id, archive_id))
        if archive is None:
            raise ArchiveNotFound
        settings = settings or get_settings()
        store = await tenant_store(tenant_id, settings, reads_plain=in_plain or None)
        await remove_leftovers(store, archive)
        target = open_store(settings.storage_url, settings.storage) if in_plain else store
        is_sealed = (
            in_plain and read_version(await store.read_start(archive.object_key, count=HEADER_BYTES)) is not None
        )
        rewritten, key, checksum, size = await _write(store, archive, keep, change, target=target, anyway=is_sealed)
        if not (rewritten.removed or rewritten.changed or is_sealed):
            return rewritten
        async with tenant_session(system) as session:
            await session.execute(
                update(Archive)
                .where(Archive.id == archive_id)
                .values(
                    object_key=key, rows=rewritten.rows, size_bytes=size, sha256=rewritten.sha256, checksum=checksum
                )
                .execution_options(synchronize_session=False)
            )
        await store.purge(archive.object_key)
        if not rewritten.rows:
            await store.purge(key)
            async with tenant_session(system) as session:
                await session.execute(delete(Archive).where(Archive.id == archive_id))
            return Rewritten(sha256=None, rows=0, removed=rewritten.removed, changed=0)
    return rewritten


async def remove_leftovers(store: ObjectStore, archive: Archive) -> int:
    """Remove objects of the archive's month that it does not name, left by a rewriting that was killed."""
    begin = f"{archive_folder(archive.tenant_id, archive.table_name)}{archive.month:%Y-%m}"
    found = {stored.key async for stored in store.list_versions(begin) if stored.key != archive.object_key}
    for key in found:
        await store.purge(key)
    return len(found)


async def drop_archive(tenant_id: UUID, table: str, month: date) -> int:
    """Delete an archive whose time is over, object first, and return its rows; the database refuses what is kept."""
    system = Principal(tenant_id, "system")
    async with hold_archives(tenant_id):
        # The row is deleted first and committed last, so that the database can refuse before the object is gone.
        async with tenant_session(system) as session:
            found = (
                await session.execute(
                    delete(Archive)
                    .where(Archive.table_name == table, Archive.month == month)
                    .returning(Archive.object_key, Archive.rows)
                )
            ).one_or_none()
            if found is None:
                return 0
            store = await tenant_store(tenant_id, session=session)
            await store.purge(found.object_key)
        return int(found.rows)


async def _write(
    store: ObjectStore,
    archive: Archive,
    keep: Keep | None,
    change: Change | None,
    *,
    target: ObjectStore,
    anyway: bool,
) -> tuple[Rewritten, str, int | None, int]:
    schema = make_schema([ArchivedColumn(name, kind) for name, kind in archive.columns])
    rows = removed = changed = checksum = 0
    digests: list[bytes] = []
    with nameless_file() as file:
        with open_writer(file, schema) as writer:
            async for batch in read_archive(archive, store):
                left = batch.filter(keep(batch)) if keep else batch
                removed += batch.num_rows - left.num_rows
                if change and left.num_rows:
                    new = change(left)
                    touched = _count_changes(left, new)
                    changed += touched
                    left = _forget_fingerprints(new, left) if touched else new
                if left.num_rows:
                    await asyncio.to_thread(writer.write_batch, left, row_group_size=ROWS_AT_ONCE)
                    digests.append(digest(left))
                rows += left.num_rows
                checksum += sum_fingerprints(left)
        size, sha256 = await asyncio.to_thread(hash_file, file)
        key = next_key(archive.object_key, archive.tenant_id, archive.table_name, archive.month)
        rewritten = Rewritten(sha256=sha256, rows=rows, removed=removed, changed=changed)
        if removed or changed or anyway:
            await store_file(target, key, file)
            await prove(target, key, Proof(sha256=sha256, digests=digests, rows=rows, checksum=checksum))
    kept_sum = None if changed or archive.checksum is None else checksum
    return rewritten, key, kept_sum, size


def _count_changes(before: pa.RecordBatch, after: pa.RecordBatch) -> int:
    return sum(_differ(before, after))


def _differ(before: pa.RecordBatch, after: pa.RecordBatch) -> list[bool]:
    differs = [False] * before.num_rows
    for old, new in zip(before.columns, after.columns, strict=True):
        if not old.equals(new):
            same = pc.fill_null(pc.equal(old, new), False).to_pylist()
            nulls = pc.and_(pc.is_null(old), pc.is_null(new)).to_pylist()
            differs = [was or not (alike or none) for was, alike, none in zip(differs, same, nulls, strict=True)]
    return differs


def _forget_fingerprints(after: pa.RecordBatch, before: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch without the hashes of rows that are not what they were."""
    hashes = after.column(FINGERPRINT).to_pylist()
    left = [None if gone else value for gone, value in zip(_differ(before, after), hashes, strict=True)]
    place = after.schema.get_field_index(FINGERPRINT)
    return after.set_column(place, after.schema.field(place), pa.array(left, type=pa.int64()))
