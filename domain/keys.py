"""Each tenant's data keys, one row of versions a purpose: made on first use, stored wrapped, opened in memory only.

They are wrapped by the tenant's key in the keyring (`core.crypto_keyring`). Every use asks the database, in the round
trip that it takes anyway, whether the tenant's keys are still those that this process opened: a new version is used
and a destroyed one refused by all processes at once.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import FieldCipher, KeyContext, LocalMasterKey, find_master_key
from core.crypto_keyring import KIND, Keyring
from core.errors import Conflict, Forbidden
from core.key_files import KEY_BYTES
from core.settings import get_settings
from core.storage_encrypted import ObjectKeys
from db.session import BOUND_TO, Principal, acting_as_system, tenant_session
from db.violations import refusing
from domain.governance import record_event

Purpose = Literal["fields", "objects"]
PURPOSES: Final[tuple[Purpose, ...]] = ("fields", "objects")
KEPT_SECONDS: Final = 60
"""How long a process goes on with keys that it opened before it asks keyring and master key again."""
FRESH_SECONDS: Final = 1.0
"""How long objects are read and written, without a session to ask in, with the keys that were found last."""
_MOST_KEPT: Final = 10_000

DataKeys = Mapping[int, bytes | None]
"""Data keys by version, None where destroyed."""

_kept: dict[tuple[UUID, str, str], tuple[float, str, DataKeys]] = {}
"""By tenant, purpose and keyring: until when, in which state of the rows, and the keys."""
_ciphers: dict[UUID, tuple[DataKeys, FieldCipher]] = {}
_fresh: dict[UUID, tuple[float, ObjectKeys]] = {}

_STATE = text("SELECT current_setting('app.tenant_id') AS tenant_id, platform.find_key_state(:purpose) AS state")
_LIST = text("SELECT version, master_key_id, wrapped_key FROM platform.list_data_keys(:purpose)")
_ADD = text("SELECT platform.add_data_key(:purpose, :wrapper, :wrapped)")
_ADD_VERSION = text("SELECT platform.add_key_version(:purpose, :version, :wrapper, :wrapped)")
_REWRAP = text("SELECT platform.rewrap_data_key(:purpose, :version, :before, :wrapper, :wrapped)")
_WRAPPED_ALREADY = text(
    "SELECT count(*) FROM unnest(CAST(:purposes AS text[])) AS p(purpose), platform.list_data_keys(p.purpose) AS k "
    "WHERE starts_with(k.master_key_id, :kind)"
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('regenesis keyring ' || :tenant, 0))")


class KeysHeld(Conflict):
    """A legal hold keeps this organisation's data, so its keys can't be destroyed; release the hold first."""


class KeysGuarded(Forbidden):
    """Only compliance or an operator may destroy an organisation's keys; ask one of them."""


async def field_cipher(session: AsyncSession, *, keyring: Keyring | None = None) -> FieldCipher:
    """Return the cipher for encrypted columns of the session's tenant, whoever is bound to it.

    The first call for a tenant makes its key, within the session's transaction; of several at once all get the same.
    Raises `DataKeyDestroyed`, `MasterKeyWrong`, `KeyFileExposed`, `KeyFileUnusable`, and the errors of the keyring
    and of the key service.
    """
    tenant_id, keys = await _load(session, "fields", keyring, makes=True)
    kept = _ciphers.get(tenant_id)
    if kept is not None and kept[0] is keys:
        return kept[1]
    cipher = FieldCipher(tenant_id, keys)
    if len(_ciphers) >= _MOST_KEPT:
        _ciphers.clear()
    _ciphers[tenant_id] = (keys, cipher)
    return cipher


async def find_object_keys(session: AsyncSession) -> ObjectKeys | None:
    """Return the keys that the tenant's objects are encrypted with, None where there is none yet."""
    _, keys = await _load(session, "objects", None, makes=False)
    return ObjectKeys(keys) if keys else None


async def load_object_keys(tenant_id: UUID) -> ObjectKeys:
    """Return the keys for the tenant's objects, in a transaction of its own; the first call makes one.

    It is committed before anything is encrypted with it. Raises what `field_cipher` raises.
    """
    until, fresh = _fresh.get(tenant_id, (0.0, None))
    if fresh is not None and until > time.monotonic():
        return fresh
    async with tenant_session(Principal(tenant_id, "system")) as session:
        _, keys = await _load(session, "objects", None, makes=True)
    if len(_fresh) >= _MOST_KEPT:
        _fresh.clear()
    _fresh[tenant_id] = (time.monotonic() + FRESH_SECONDS, ObjectKeys(keys))
    return ObjectKeys(keys)


async def add_key_version(session: AsyncSession, purpose: Purpose) -> int:
    """Add a key that everything is encrypted with from the commit on, by all processes; return its version.

    Needs a session of the pipelines in a tenant that has a key. Raises what `field_cipher` raises.
    """
    tenant_id = session.info[BOUND_TO].tenant_id
    await session.execute(_LOCK, {"tenant": str(tenant_id)})
    wrapper = await Keyring(get_settings()).get(tenant_id)
    rows = (await session.execute(_LIST, {"purpose": purpose})).all()
    version = 1 + max(int(row.version) for row in rows)
    wrapped = await wrapper.wrap(secrets.token_bytes(KEY_BYTES), KeyContext(tenant_id, purpose, version))
    await session.execute(
        _ADD_VERSION, {"purpose": purpose, "version": version, "wrapper": wrapper.id, "wrapped": wrapped}
    )
    return version


async def destroy_keys(session: AsyncSession) -> int:
    """Destroy every key of the session's tenant: what was encrypted with them never opens again, in backups neither.

    Takes effect in all processes with the commit, for backups at once; if the commit fails, doing it again ends it.
    Four eyes are the caller's to see to. Returns how many keys there were. Raises `KeysHeld`, `KeysGuarded`.
    """
    principal = session.info[BOUND_TO]
    if principal.role not in {"system", "compliance"}:
        raise KeysGuarded
    async with _as_system(session):
        await session.execute(_LOCK, {"tenant": str(principal.tenant_id)})
        with refusing({"keys_held": KeysHeld}):
            destroyed = await session.scalar(text("SELECT platform.destroy_data_keys()")) or 0
    await record_event(session, action="data_keys_destroyed", metadata={"keys": destroyed}, severity="critical")
    # Last, for it can't be taken back: whatever refuses has refused by now.
    await Keyring(get_settings()).destroy(principal.tenant_id)
    forget_keys(principal.tenant_id)
    return int(destroyed)


def forget_keys(tenant_id: UUID) -> None:
    """Let go of the tenant's keys that this process opened."""
    for place in [place for place in _kept if place[0] == tenant_id]:
        del _kept[place]
    _ciphers.pop(tenant_id, None)
    _fresh.pop(tenant_id, None)


async def rewrap_keyring(session: AsyncSession) -> bool:
    """Wrap the tenant's key in the keyring with today's master key; return whether it was another's.

    No data key changes and nothing is encrypted anew. Needs a session of the pipelines; raises `MasterKeyWrong` where
    the master key that wrapped it is not at hand, and the errors of keyring and key service.
    """
    tenant_id = session.info[BOUND_TO].tenant_id
    await session.execute(_LOCK, {"tenant": str(tenant_id)})
    for purpose in PURPOSES:
        await _load(session, purpose, None, makes=False)  # what the master key wrapped itself moves into the keyring
    return await Keyring(get_settings()).rewrap(tenant_id)


async def _load(
    session: AsyncSession, purpose: Purpose, keyring: Keyring | None, *, makes: bool
) -> tuple[UUID, DataKeys]:
    settings = get_settings()
    url = keyring.url if keyring is not None else settings.keyring_url
    found = (await session.execute(_STATE, {"purpose": purpose})).one()
    tenant_id, state = UUID(found.tenant_id), found.state
    place = (tenant_id, purpose, url)
    kept = _kept.get(place)
    if kept is not None and kept[0] > time.monotonic() and kept[1] == state:
        return tenant_id, kept[2]
    keyring = keyring or Keyring(settings)
    if state is None and makes:
        await _make_first(session, tenant_id, purpose, keyring)
        state = (await session.execute(_STATE, {"purpose": purpose})).one().state
    rows = (await session.execute(_LIST, {"purpose": purpose})).all()
    keys = await _open(session, tenant_id, purpose, rows, keyring)
    if state is not None:  # it names the rows, so a key that is rolled back is known to nobody else
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[place] = (time.monotonic() + KEPT_SECONDS, state, keys)
    return tenant_id, keys


async def _make_first(session: AsyncSession, tenant_id: UUID, purpose: Purpose, keyring: Keyring) -> None:
    # One at a time: two that made an entry of the keyring at once would leave one with a key that nothing opens.
    await session.execute(_LOCK, {"tenant": str(tenant_id)})
    wrapper = await _get_wrapper(session, tenant_id, keyring)
    wrapped = await wrapper.wrap(secrets.token_bytes(KEY_BYTES), KeyContext(tenant_id, purpose, 1))
    # Meets the unique key: where somebody was first, this changes nothing.
    await session.execute(_ADD, {"purpose": purpose, "wrapper": wrapper.id, "wrapped": wrapped})


async def _get_wrapper(session: AsyncSession, tenant_id: UUID, keyring: Keyring) -> LocalMasterKey:
    """Return the tenant's key in the keyring; made anew only where nothing is wrapped with one that was lost."""
    known = {"purposes": list(PURPOSES), "kind": f"{KIND}:"}
    if await session.scalar(_WRAPPED_ALREADY, known):
        return await keyring.get(tenant_id)
    return await keyring.make(tenant_id)


async def _open(
    session: AsyncSession, tenant_id: UUID, purpose: Purpose, rows: Sequence[Any], keyring: Keyring
) -> DataKeys:
    """Unwrap the rows' keys; what a master key wrapped itself, as was done before there was a keyring, moves there."""
    keys: dict[int, bytes | None] = {}
    live = [row for row in rows if row.wrapped_key is not None]
    wrapper = await keyring.get(tenant_id) if any(_is_in_keyring(row) for row in live) else None
    old = [row for row in live if not _is_in_keyring(row)]
    for row in rows:
        context = KeyContext(tenant_id, purpose, row.version)
        if row.wrapped_key is None:
            keys[row.version] = None
        elif row in old:
            keys[row.version] = await find_master_key(row.master_key_id, get_settings()).unwrap(
                row.wrapped_key, context
            )
        elif wrapper is not None:
            keys[row.version] = await wrapper.unwrap(row.wrapped_key, context)
    if old:
        async with _as_system(session):
            await session.execute(_LOCK, {"tenant": str(tenant_id)})
            wrapper = wrapper or await _get_wrapper(session, tenant_id, keyring)
            for row in old:
                wrapped = await wrapper.wrap(keys[row.version] or b"", KeyContext(tenant_id, purpose, row.version))
                await session.execute(
                    _REWRAP, {"purpose": purpose, "version": row.version, "before": row.wrapped_key,
                              "wrapper": wrapper.id, "wrapped": wrapped},
                )  # fmt: skip
    return keys


def _is_in_keyring(row: Any) -> bool:  # noqa: ANN401  # a row of _LIST
    return bool(row.master_key_id.startswith(f"{KIND}:"))


def _as_system(session: AsyncSession) -> AbstractAsyncContextManager[None]:
    return nullcontext() if session.info[BOUND_TO].role == "system" else acting_as_system(session)
