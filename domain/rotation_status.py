"""What an organisation's data is encrypted with, as whoever is answerable for it wants to see it."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from core.crypto_keyring import Keyring
from core.settings import Settings
from db.models import EncryptionKey
from db.session import Principal, tenant_session
from domain.rotation import count_fields
from domain.rotation_objects import ODD, count_objects


async def examine_keys(tenant_id: UUID, settings: Settings, *, objects: bool = True) -> dict[str, Any]:
    """Return every key with what is encrypted with it, the state of the keyring's entry, and what has no key.

    `odd` counts values and objects that are no ciphertext of ours. Raises the errors of keyring and object store.
    """
    async with tenant_session(Principal(tenant_id, "system")) as session:
        order = (EncryptionKey.purpose, EncryptionKey.version)
        rows = (await session.scalars(select(EncryptionKey).order_by(*order))).all()
        fields: dict[int, int] = {}
        for (_, version), amount in (await count_fields(session)).items():
            fields[version] = fields.get(version, 0) + amount
    stored = dict(await count_objects(tenant_id, settings)) if objects else {}
    entry = await Keyring(settings).find_entry(tenant_id)
    return {
        "keys": [
            {
                "purpose": row.purpose, "version": row.version, "created_at": row.created_at,
                "retired_at": row.retired_at, "destroyed_at": row.destroyed_at, "wrapped_by": row.master_key_id,
                "fields": fields.get(row.version, 0) if row.purpose == "fields" else None,
                "objects": stored.get(row.version, 0) if row.purpose == "objects" and objects else None,
            }
            for row in rows
        ],
        "plain_objects": stored.get(None, 0),
        "odd": fields.get(0, 0) + stored.get(ODD, 0),
        "keyring": (
            "has no entry yet" if entry is None
            else f"destroyed {entry.destroyed_at:%Y-%m-%d %H:%M}" if entry.destroyed_at
            else f"wrapped by {entry.master_key_id}"
        ),
    }  # fmt: skip
