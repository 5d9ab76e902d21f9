"""What every tenant's data keys are wrapped with, one entry a tenant, kept outside the database and in no backup.

A backup of the database holds each tenant's wrapped data keys. Were they wrapped by the one master key, whoever keeps
that and an old backup could open a tenant's values after its keys were destroyed. So they are wrapped by a key of the
tenant's own, which lies here, itself wrapped by the master key. Once its entry is destroyed, no backup opens any more.

An entry is a small JSON document at the key `{tenant_id}`. What is destroyed leaves a tombstone, so that a database
restored from before meets the refusal and not a missing entry.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from core.crypto import DataKeyDestroyed, KeyContext, LocalMasterKey, MasterKey, find_master_key, load_master_key
from core.errors import Unavailable
from core.settings import Settings
from core.storage import ObjectMissing, ObjectStore, open_store

KIND: Final = "keyring"
"""What the id of a tenant's own wrapping key begins with, as `local` and `kms` begin those of master keys."""
_MOST_BYTES: Final = 16_384
_FORMAT: Final = 1


class KeyringEntryMissing(Unavailable):
    """The keyring has no entry of this organisation; restore the keyring, or set REGENESIS_CRYPTO__KEYRING_URL."""


class KeyringDamaged(Unavailable):
    """The keyring's entry of this organisation can't be read; restore that file from the keyring's own copy."""


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """A tenant's entry: the wrapped key and what wrapped it, or when it was destroyed."""

    key_id: str | None
    master_key_id: str | None
    wrapped: bytes | None
    made_at: datetime | None
    destroyed_at: datetime | None = None


class Keyring:
    """The entries of all tenants, in a folder or bucket of their own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: ObjectStore = open_store(settings.keyring_url, settings.storage)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._store.url

    async def find_entry(self, tenant_id: UUID) -> KeyringEntry | None:
        """Return the tenant's entry; raises `KeyringDamaged` and the errors of the store."""
        try:
            content = await self._store.read(str(tenant_id), max_bytes=_MOST_BYTES)
        except ObjectMissing:
            return None
        return _read(content, tenant_id)

    async def get(self, tenant_id: UUID) -> LocalMasterKey:
        """Return the tenant's wrapping key.

        Raises `KeyringEntryMissing`, `DataKeyDestroyed`, `MasterKeyWrong`, `KeyringDamaged` and the errors of the store
        and of the key service.
        """
        entry = await self.find_entry(tenant_id)
        if entry is None:
            raise KeyringEntryMissing
        return await self._open(tenant_id, entry)

    async def make(self, tenant_id: UUID) -> LocalMasterKey:
        """Return the tenant's wrapping key, made if there is none; callers hold a lock on the tenant.

        Raises what `get` raises: what is destroyed is never made anew.
        """
        entry = await self.find_entry(tenant_id)
        if entry is not None:
            return await self._open(tenant_id, entry)
        master = load_master_key(self._settings)
        key, wrapped = await master.make(_context(tenant_id))
        made = LocalMasterKey(key, kind=KIND)
        await self._write(tenant_id, KeyringEntry(made.id, master.id, wrapped, datetime.now(UTC)))
        return made

    async def rewrap(self, tenant_id: UUID) -> bool:
        """Wrap the tenant's entry with today's master key; return whether it was another's. Callers hold a lock."""
        entry = await self.find_entry(tenant_id)
        master = load_master_key(self._settings)
        if entry is None or entry.wrapped is None or entry.master_key_id == master.id:
            return False
        key = await self._find_master(entry).unwrap(entry.wrapped, _context(tenant_id))
        wrapped = await master.wrap(key, _context(tenant_id))
        await self._write(tenant_id, KeyringEntry(entry.key_id, master.id, wrapped, entry.made_at))
        return True

    async def destroy(self, tenant_id: UUID) -> None:
        """Replace the tenant's entry by a tombstone, in every version; what was wrapped with it never opens again."""
        entry = await self.find_entry(tenant_id)
        if entry is None or entry.destroyed_at is None:
            await self._write(tenant_id, KeyringEntry(None, None, None, None, datetime.now(UTC)))
        await self._store.purge(str(tenant_id), keep_newest=True)

    async def _open(self, tenant_id: UUID, entry: KeyringEntry) -> LocalMasterKey:
        if entry.wrapped is None:
            raise DataKeyDestroyed
        key = LocalMasterKey(await self._find_master(entry).unwrap(entry.wrapped, _context(tenant_id)), kind=KIND)
        if key.id != entry.key_id:
            raise KeyringDamaged
        return key

    def _find_master(self, entry: KeyringEntry) -> MasterKey:
        return find_master_key(entry.master_key_id or "", self._settings)

    async def _write(self, tenant_id: UUID, entry: KeyringEntry) -> None:
        said = {
            "format": _FORMAT, "tenant_id": str(tenant_id), "key_id": entry.key_id,
            "master_key_id": entry.master_key_id,
            "wrapped": base64.b64encode(entry.wrapped).decode() if entry.wrapped is not None else None,
            "made_at": entry.made_at.isoformat() if entry.made_at else None,
            "destroyed_at": entry.destroyed_at.isoformat() if entry.destroyed_at else None,
        }  # fmt: skip
        kept = {name: value for name, value in said.items() if value is not None}
        await self._store.write(str(tenant_id), json.dumps(kept, indent=1).encode() + b"\n")


def _read(content: bytes, tenant_id: UUID) -> KeyringEntry:
    try:
        said = json.loads(content)
        if said["format"] != _FORMAT or said["tenant_id"] != str(tenant_id):
            raise KeyringDamaged
        if "destroyed_at" in said:
            return KeyringEntry(None, None, None, None, datetime.fromisoformat(said["destroyed_at"]))
        wrapped = base64.b64decode(said["wrapped"], validate=True)
        return KeyringEntry(
            str(said["key_id"]), str(said["master_key_id"]), wrapped, datetime.fromisoformat(said["made_at"])
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise KeyringDamaged from error


def _context(tenant_id: UUID) -> KeyContext:
    return KeyContext(tenant_id, KIND, 1)
