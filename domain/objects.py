"""The product's own objects, as one tenant's: originals, uploads, media, exports, archives, reports.

Keys are whole (`tenants/{tenant_id}/…`) and what they hold is encrypted with the tenant's key; what belongs to other
systems, such as a customer's bucket that is ingested, is opened by `core.storage.open_store`.
"""

from urllib.parse import unquote
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import Settings, get_settings
from core.storage import ObjectStore, open_store
from core.storage_encrypted import EncryptedStore, ObjectKeys
from db.session import BOUND_TO
from domain.keys import find_object_keys, load_object_keys


def list_folders(tenant_id: UUID) -> tuple[str, ...]:
    """Return what the keys of all objects of the tenant begin with."""
    return (f"tenants/{tenant_id}/", f"media/{tenant_id}/")


async def tenant_store(
    tenant_id: UUID,
    settings: Settings | None = None,
    *,
    session: AsyncSession | None = None,
    reads_plain: bool | None = None,
) -> ObjectStore:
    """Return the object store of the settings, as this tenant reads and writes it: encrypted, in its own folders only.

    Who has a session of the tenant open gives it, so that no second connection is taken meanwhile; the store is used
    while that session is. `reads_plain` lets what is not encrypted be read though the settings do not, by whoever knows
    its hash.
    """
    settings = settings or get_settings()
    if session is not None and session.info[BOUND_TO].tenant_id != tenant_id:
        raise ValueError("the session is bound to another tenant")
    inner = open_store(settings.storage_url, settings.storage)
    return _wrap(inner, tenant_id, settings, session, reads_plain=reads_plain)


def find_own_store(tenant_id: UUID, address: str, settings: Settings) -> ObjectStore | None:
    """Return the tenant's store of what lies at this address, None where it is not in our own object store.

    Its keys are relative to the address. Raises `PlaceOfOthers` on use where that is not the tenant's.
    """
    own, inner = open_store(settings.storage_url, settings.storage), open_store(address, settings.storage)
    if inner.url != own.url and not inner.url.startswith(f"{own.url}/"):
        return None
    below = inner.url.removeprefix(own.url).strip("/")
    if below:
        below = f"{unquote(below) if inner.url.startswith('file:') else below}/"
    return _wrap(inner, tenant_id, settings, None, below=below)


def _wrap(
    inner: ObjectStore,
    tenant_id: UUID,
    settings: Settings,
    session: AsyncSession | None,
    *,
    below: str = "",
    reads_plain: bool | None = None,
) -> EncryptedStore:
    async def load() -> ObjectKeys:
        known = await find_object_keys(session) if session is not None else None
        # made in a transaction of its own, whatever becomes of the caller's
        return known or await load_object_keys(tenant_id)

    return EncryptedStore(
        inner, tenant_id, load, folders=list_folders(tenant_id), below=below,
        reads_plain=settings.crypto.read_plain_objects if reads_plain is None else reads_plain,
    )  # fmt: skip
