"""Each tenant's data keys: made on first use, stored wrapped, held in memory for a minute."""

import secrets
import time
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import KEY_BYTES, FieldCipher, MasterKey, load_master_key
from core.settings import get_settings
from domain.identity import bound_tenant

FIELDS: Final = "fields"
KEPT_SECONDS: Final = 60
"""How long a key that was destroyed may still open values in a process that used it before."""
_KEPT_TENANTS: Final = 10_000

_kept: dict[tuple[UUID, str], tuple[float, FieldCipher]] = {}

_LIST = text("SELECT version, master_key_id, wrapped_key, is_settled FROM platform.list_data_keys(:purpose)")
_ADD = text("SELECT platform.add_data_key(:purpose, :master_key_id, :wrapped_key)")


async def field_cipher(session: AsyncSession, *, master_key: MasterKey | None = None) -> FieldCipher:
    """Return the cipher for encrypted columns of the session's tenant, whoever is bound to it.

    The first call for a tenant makes its key, within the session's transaction; of several at once all get the same.
    Raises `MasterKeyWrong`, `MasterKeyExposed`, `MasterKeyUnusable`.
    """
    master_key = master_key or load_master_key(get_settings())
    tenant_id = await bound_tenant(session)
    kept = _kept.get((tenant_id, master_key.id))
    if kept is not None and kept[0] > time.monotonic():
        return kept[1]
    rows = (await session.execute(_LIST, {"purpose": FIELDS})).all()
    if not rows:
        wrapped = await master_key.wrap(secrets.token_bytes(KEY_BYTES), _context(tenant_id, 1))
        # Meets the unique key: a second one at the same time waits for the first and changes nothing.
        await session.execute(
            _ADD, {"purpose": FIELDS, "master_key_id": master_key.id, "wrapped_key": wrapped}
        )  # fmt: skip
        rows = (await session.execute(_LIST, {"purpose": FIELDS})).all()
    keys = {
        row.version: await master_key.unwrap(row.wrapped_key, _context(tenant_id, row.version))
        if row.wrapped_key is not None
        else None
        for row in rows
    }
    cipher = FieldCipher(tenant_id, keys)
    if all(row.is_settled for row in rows):  # a key of this very transaction may yet be rolled back
        if len(_kept) >= _KEPT_TENANTS:
            _kept.clear()
        _kept[tenant_id, master_key.id] = (time.monotonic() + KEPT_SECONDS, cipher)
    return cipher


def _context(tenant_id: UUID, version: int) -> str:
    return f"regenesis data key|{tenant_id}|{FIELDS}|{version}"
