"""After an organisation's keys are destroyed nothing of it opens: fields, objects, and a backup from before."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update

from core.crypto import DataKeyDestroyed, KeyContext, LocalMasterKey, MasterKeyWrong, load_master_key
from core.crypto_keyring import Keyring, KeyringEntryMissing
from core.settings import CryptoSettings, Settings, get_settings
from core.storage import open_store
from db.locate import owner_url
from db.models import EncryptionKey, User
from db.provision import to_libpq_url
from db.session import Principal, tenant_session
from domain import keys
from domain.keys import destroy_keys, field_cipher, rewrap_keyring
from domain.objects import tenant_store
from tests.factories.people import Organisation, found_organisation

PLACE = {"table": "identity.users", "column": "phone_number"}


def person_of(organisation: Organisation) -> UUID:
    assert organisation.client_a.user_id is not None
    return organisation.client_a.user_id


async def fill(organisation: Organisation) -> str:
    """Store a number and an object of the organisation; return the object's key."""
    key = f"tenants/{organisation.tenant_id}/notes.txt"
    async with tenant_session(organisation.system) as session:
        sealed = (await field_cipher(session)).encrypt("+250 788", row_id=person_of(organisation), **PLACE)
        await session.execute(update(User).where(User.id == person_of(organisation)).values(phone_number=sealed))
    await (await tenant_store(organisation.tenant_id)).write(key, b"what she said")
    return key


async def read_field(organisation: Organisation, reader: Principal | None = None) -> str:
    async with tenant_session(reader or organisation.system) as session:
        cipher = await field_cipher(session)
        sealed = await session.scalar(select(User.phone_number).where(User.id == person_of(organisation)))
        assert sealed is not None
        return cipher.decrypt(sealed, row_id=person_of(organisation), **PLACE)


async def read_object(organisation: Organisation, key: str) -> bytes:
    return await (await tenant_store(organisation.tenant_id)).read(key, max_bytes=100)


@pytest.fixture
async def superuser(store: Settings) -> AsyncIterator[psycopg.AsyncConnection]:
    connection = await psycopg.AsyncConnection.connect(to_libpq_url(owner_url(store)))
    yield connection
    await connection.close()


async def bring_back(superuser: psycopg.AsyncConnection, rows: list[EncryptionKey]) -> None:
    """Put the rows of keys back as a restored database has them: no trigger fired for what a backup loads."""
    await superuser.execute("ALTER TABLE platform.encryption_keys DISABLE TRIGGER guard")
    for row in rows:
        await superuser.execute(
            "UPDATE platform.encryption_keys SET wrapped_key = %s, destroyed_at = NULL "
            "WHERE tenant_id = %s AND id = %s",
            [row.wrapped_key, row.tenant_id, row.id],
        )
    await superuser.execute("ALTER TABLE platform.encryption_keys ENABLE ALWAYS TRIGGER guard")
    await superuser.commit()


async def test_fields_objects_and_a_backup_no_longer_open(
    organisation: Organisation, superuser: psycopg.AsyncConnection
) -> None:
    key = await fill(organisation)
    other = await found_organisation()
    key_of_other = await fill(other)
    plain = open_store(get_settings().storage_url, get_settings().storage)
    async with tenant_session(organisation.system) as session:
        backup = (await session.scalars(select(EncryptionKey))).all()
        sealed_field = await session.scalar(select(User.phone_number).where(User.id == person_of(organisation)))
    sealed_object = await plain.read(key, max_bytes=1000)
    assert (await read_field(organisation), await read_object(organisation, key)) == ("+250 788", b"what she said")

    async with tenant_session(organisation.system) as session:
        assert await destroy_keys(session) == 2

    async def prove_nothing_opens() -> None:
        for attempt in (
            read_field(organisation), read_field(organisation, organisation.client_a), read_object(organisation, key),
        ):  # fmt: skip
            with pytest.raises(DataKeyDestroyed):
                await attempt

    await prove_nothing_opens()
    with pytest.raises(DataKeyDestroyed):
        await (await tenant_store(organisation.tenant_id)).write(key, b"new words")

    # The backup: the same rows of keys and values, and the same object.
    await bring_back(superuser, list(backup))
    await plain.write(key, sealed_object)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == person_of(organisation)).values(phone_number=sealed_field))
        assert None not in {row.wrapped_key for row in await session.scalars(select(EncryptionKey))}
    keys.forget_keys(organisation.tenant_id)
    await prove_nothing_opens()

    # Whoever has the backup and the master key, and looks no further than these.
    master = load_master_key(get_settings())
    for row in backup:
        assert row.wrapped_key is not None
        with pytest.raises(MasterKeyWrong):
            await master.unwrap(row.wrapped_key, KeyContext(organisation.tenant_id, row.purpose, row.version))
    assert str(organisation.tenant_id) not in (await list_secrets())
    assert (await read_field(other), await read_object(other, key_of_other)) == ("+250 788", b"what she said")


async def list_secrets() -> set[str]:
    """Return the tenants of which the keyring still holds a key."""
    store = open_store(get_settings().keyring_url, get_settings().storage)
    held = set()
    async for found in store.list_versions():
        if b'"wrapped"' in await store.read(found.key, max_bytes=100_000):
            held.add(found.key)
    return held


async def test_a_tenant_without_values_gets_no_key_after(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        assert await destroy_keys(session) == 0
    with pytest.raises(DataKeyDestroyed):
        await fill(organisation)


async def test_other_processes_stop_at_once(organisation: Organisation) -> None:
    """A process that opened the keys before asks the database again before it uses them."""
    key = await fill(organisation)
    held = dict(keys._kept), dict(keys._ciphers)
    async with tenant_session(organisation.system) as session:
        await destroy_keys(session)
    keys._kept.update(held[0])
    keys._ciphers.update(held[1])
    with pytest.raises(DataKeyDestroyed):
        await read_field(organisation)
    with pytest.raises(DataKeyDestroyed):
        await read_object(organisation, key)


async def test_a_refused_destruction_destroys_nothing(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await fill(organisation)

    async def refuse(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Keyring, "destroy", refuse)
    with pytest.raises(ZeroDivisionError):
        async with tenant_session(organisation.system) as session:
            await destroy_keys(session)
    assert (await read_field(organisation), await read_object(organisation, key)) == ("+250 788", b"what she said")


async def test_a_destruction_whose_commit_fails_is_ended_by_another(organisation: Organisation) -> None:
    await fill(organisation)
    async with tenant_session(organisation.system) as session:
        await destroy_keys(session)
        await session.rollback()
    keys.forget_keys(organisation.tenant_id)
    with pytest.raises(DataKeyDestroyed):
        await read_field(organisation)
    async with tenant_session(organisation.system) as session:
        assert await destroy_keys(session) == 2


async def test_a_lost_keyring_is_named_and_not_replaced(organisation: Organisation, tmp_path: Path) -> None:
    await fill(organisation)
    path = get_settings().home / "keyring" / str(organisation.tenant_id)
    path.rename(tmp_path / "elsewhere")
    keys.forget_keys(organisation.tenant_id)
    with pytest.raises(KeyringEntryMissing):
        await read_field(organisation)
    with pytest.raises(KeyringEntryMissing):
        async with tenant_session(organisation.system) as session:
            await keys.add_key_version(session, "fields")
    assert not path.exists()
    (tmp_path / "elsewhere").rename(path)
    assert await read_field(organisation) == "+250 788"


async def wrap_as_before(organisation: Organisation, superuser: psycopg.AsyncConnection) -> None:
    """Give the tenant a key as it was before there was a keyring: wrapped by the master key itself."""
    master = load_master_key(get_settings())
    context = f"regenesis data key|{organisation.tenant_id}|fields|1"
    async with tenant_session(organisation.client_a) as session:
        await session.execute(
            text("SELECT platform.add_data_key('fields', :master, :wrapped)"),
            {"master": master.id, "wrapped": await master.wrap(b"k" * 32, context)},
        )


async def test_a_key_from_before_moves_into_the_keyring_on_first_use(
    organisation: Organisation, superuser: psycopg.AsyncConnection
) -> None:
    await wrap_as_before(organisation, superuser)
    await fill(organisation)
    assert str(organisation.tenant_id) in await list_secrets()
    async with tenant_session(organisation.system) as session:
        rows = (await session.scalars(select(EncryptionKey))).all()
        assert {row.master_key_id.partition(":")[0] for row in rows} == {"keyring"}
        assert (await field_cipher(session))._ciphers[1] is not None
    keys.forget_keys(organisation.tenant_id)
    assert await read_field(organisation, organisation.client_a) == "+250 788"


async def test_twenty_at_once_move_it_once(organisation: Organisation, superuser: psycopg.AsyncConnection) -> None:
    await wrap_as_before(organisation, superuser)

    async def open_it(reader: Principal) -> bytes:
        async with tenant_session(reader) as session:
            return (await field_cipher(session)).encrypt("x", row_id=person_of(organisation), **PLACE)

    readers = [*organisation.people.values()] * 2
    sealed = await asyncio.gather(*(open_it(reader) for reader in readers))
    keys.forget_keys(organisation.tenant_id)
    async with tenant_session(organisation.system) as session:
        cipher = await field_cipher(session)
    assert {cipher.decrypt(one, row_id=person_of(organisation), **PLACE) for one in sealed} == {"x"}


async def test_the_master_key_changes_and_no_value_is_touched(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await fill(organisation)
    settings = get_settings()
    old = (settings.home / "master.key").read_text().strip()
    new = base64.b64encode(bytes(range(32))).decode()
    changed = CryptoSettings(master_key=SecretStr(new), previous_master_key=SecretStr(old))
    async with tenant_session(organisation.system) as session:
        before = await session.scalar(select(User.phone_number).where(User.id == person_of(organisation)))
    monkeypatch.setattr("domain.keys.get_settings", lambda: settings.model_copy(update={"crypto": changed}))
    keys.forget_keys(organisation.tenant_id)
    assert await read_field(organisation) == "+250 788"
    async with tenant_session(organisation.system) as session:
        assert await rewrap_keyring(session)
        assert not await rewrap_keyring(session)
    alone = settings.model_copy(update={"crypto": CryptoSettings(master_key=SecretStr(new))})
    monkeypatch.setattr("domain.keys.get_settings", lambda: alone)
    keys.forget_keys(organisation.tenant_id)
    assert (await read_field(organisation), await read_object(organisation, key)) == ("+250 788", b"what she said")
    entry = await Keyring(alone).find_entry(organisation.tenant_id)
    assert entry is not None
    assert entry.master_key_id == LocalMasterKey(bytes(range(32))).id
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(User.phone_number).where(User.id == person_of(organisation))) == before
