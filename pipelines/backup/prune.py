"""Taking old backups away, and what interrupted ones left; never the last good one."""

from datetime import UTC, datetime, timedelta
from typing import Final

from core.crypto import MasterKey
from core.errors import AppError
from core.logging import get_logger
from core.settings import BackupSettings
from core.storage import ObjectStore, StoreMissing
from pipelines.backup.manifest import MANIFEST, check_parts, list_backups, read_manifest

LEFT_OVER_AFTER: Final = timedelta(days=2)
"""After so long a backup without a manifest was interrupted, and is not just being written."""
_FORM: Final = "%Y%m%dT%H%M%SZ"

_log = get_logger("backup")


async def prune(
    store: ObjectStore, settings: BackupSettings, master_key: MasterKey, *, now: datetime | None = None
) -> list[str]:
    """Remove backups beyond the newest `keep` or older than `keep_days`, and interrupted ones; return their ids.

    The newest backup that opens and has all its parts stays, however old it is. Of a backup the manifest goes first, so
    one that is half removed never counts as whole; a versioned bucket keeps no version of it.
    """
    now = now or datetime.now(UTC)
    there = await list_backups(store)
    old = [
        backup_id
        for number, backup_id in enumerate(reversed(there))
        if number >= settings.keep or _age(backup_id, now) > timedelta(days=settings.keep_days)
    ]
    if old:
        last_good = await find_last_good(store, there, master_key)
        # Where none is good, none goes: a person must look first.
        old = [one for one in old if one != last_good] if last_good else []
    unfinished = [
        backup_id
        for backup_id in await _list_folders(store)
        if backup_id not in there and _age(backup_id, now) > LEFT_OVER_AFTER
    ]
    for backup_id in (*old, *unfinished):
        await _remove(store, backup_id)
        _log.info("backup removed", backup=backup_id)
    return old


async def find_last_good(store: ObjectStore, there: list[str], master_key: MasterKey) -> str | None:
    """Return the newest backup whose manifest opens and whose parts are all there, None where there is none."""
    for backup_id in reversed(there):
        try:
            manifest, _ = await read_manifest(store, backup_id, master_key)
            await check_parts(store, manifest)
        except AppError as error:
            _log.warning("a backup is not good", backup=backup_id, reason=error.code)
        else:
            return backup_id
    return None


async def _remove(store: ObjectStore, backup_id: str) -> None:
    await store.purge(f"{backup_id}/{MANIFEST}")
    await store.purge_below(f"{backup_id}/")


async def _list_folders(store: ObjectStore) -> list[str]:
    """Return every first part of a key that looks like a backup's id."""
    try:
        found = {stored.key.partition("/")[0] async for stored in store.list()}
    except StoreMissing:
        return []
    return sorted(name for name in found if _parse(name) is not None)


def _age(backup_id: str, now: datetime) -> timedelta:
    moment = _parse(backup_id)
    return now - moment if moment else timedelta(0)


def _parse(backup_id: str) -> datetime | None:
    try:
        return datetime.strptime(backup_id.partition("-")[0], _FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
