"""Old backups go, interrupted ones go, and the last good one never."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.crypto import load_master_key
from core.settings import BackupSettings
from core.storage import ObjectStore, open_store
from pipelines.backup.manifest import Manifest, list_backups, name_backup, read_manifest, write_manifest
from pipelines.backup.prune import prune
from pipelines.backup.seal import make_key
from tests.factories.backups import BackupWorld

pytestmark = pytest.mark.whole_store

NOW = datetime(2026, 6, 1, tzinfo=UTC)


async def plant(world: BackupWorld, made: Manifest, store: ObjectStore, days: int, *, good: bool = True) -> str:
    """Write a small backup of so many days ago: a manifest whose only part is there, or is not."""
    import dataclasses

    from pipelines.backup.manifest import Parts

    backup_id = name_backup(NOW - timedelta(days=days), f"{days:06d}")
    master_key = load_master_key(world.settings)
    sealer, wrapped = await make_key(master_key, backup_id)
    sealed = sealer.seal("schema.000000", b"tables")
    small = dataclasses.replace(
        made, id=backup_id, tables=[], copied=[], schema=Parts("schema", 1, len(sealed)),
        object_list=Parts("objects/list", 0, 0),
    )  # fmt: skip
    if good:
        await store.write(f"{backup_id}/schema.000000", sealed)
    await write_manifest(store, small, sealer, master_key.id, wrapped)
    await read_manifest(store, backup_id, master_key)
    return backup_id


async def test_old_and_surplus_backups_go(world: BackupWorld, made: Manifest, tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri(), world.settings.storage)
    there = [await plant(world, made, store, days) for days in (40, 20, 3, 2, 1)]
    await store.write("20260501T000000Z-abcdef/rows/0001-00000000.000000", b"interrupted")
    await store.write(f"{name_backup(NOW, 'abcdef')}/rows/0001-00000000.000000", b"being written")
    await store.write("notes.txt", b"somebody else's")
    gone = await prune(store, BackupSettings(keep=3, keep_days=30), load_master_key(world.settings), now=NOW)
    assert sorted(gone) == there[:2]
    assert await list_backups(store) == there[2:]
    left = sorted({stored.key.partition("/")[0] async for stored in store.list()})
    assert left == [*there[2:], name_backup(NOW, "abcdef"), "notes.txt"]


async def test_the_last_good_one_stays_however_old(world: BackupWorld, made: Manifest, tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri(), world.settings.storage)
    good = await plant(world, made, store, 90)
    cut = [await plant(world, made, store, days, good=False) for days in (60, 50)]
    gone = await prune(store, BackupSettings(keep=1, keep_days=30), load_master_key(world.settings), now=NOW)
    assert sorted(gone) == cut
    assert await list_backups(store) == [good]


async def test_where_none_is_good_none_goes(world: BackupWorld, made: Manifest, tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri(), world.settings.storage)
    cut = [await plant(world, made, store, days, good=False) for days in (60, 50)]
    assert await prune(store, BackupSettings(keep=1, keep_days=30), load_master_key(world.settings), now=NOW) == []
    assert await list_backups(store) == cut
