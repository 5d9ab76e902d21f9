"""A tenant's data key is made once, whoever asks first, and opens only what is that tenant's."""

import asyncio
import base64
from collections.abc import Iterator
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from core.crypto import DataKeyDestroyed, FieldUnreadable, MasterKeyWrong
from core.crypto_keyring import Keyring
from core.key_files import KEY_BYTES
from core.settings import CryptoSettings, get_settings
from db.models import EncryptionKey
from db.session import Principal, tenant_session, unbound_session
from domain import keys
from domain.keys import field_cipher
from tests.factories.people import Organisation, found_organisation

PLACE = {"table": "community.messages", "column": "content"}


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    keys._kept.clear()
    yield
    keys._kept.clear()


async def encrypt(reader: Principal, words: str) -> bytes:
    async with tenant_session(reader) as session:
        return (await field_cipher(session)).encrypt(words, row_id=reader.tenant_id, **PLACE)


async def decrypt(reader: Principal, sealed: bytes) -> str:
    async with tenant_session(reader) as session:
        return (await field_cipher(session)).decrypt(sealed, row_id=reader.tenant_id, **PLACE)


async def count_keys(organisation: Organisation) -> int:
    async with tenant_session(organisation.system) as session:
        return int(await session.scalar(select(func.count()).select_from(EncryptionKey)) or 0)


async def test_everyone_of_the_tenant_opens_what_anyone_sealed(organisation: Organisation) -> None:
    sealed = await encrypt(organisation.client_a, "see you at nine")
    for reader in (*organisation.people.values(), organisation.system):
        keys._kept.clear()
        assert await decrypt(reader, sealed) == "see you at nine"
    assert await count_keys(organisation) == 1


async def test_another_tenant_opens_nothing(organisation: Organisation) -> None:
    sealed = await encrypt(organisation.client_a, "see you at nine")
    other = await found_organisation()
    await encrypt(other.client_a, "mine")
    with pytest.raises(FieldUnreadable):
        await decrypt(other.client_a, sealed)


async def test_twenty_at_once_make_one_key(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEPT_SECONDS", -1)  # each asks the store, as so many processes would
    sealed = await asyncio.gather(*(encrypt(organisation.client_a, f"words {n}") for n in range(20)))
    assert await count_keys(organisation) == 1
    assert [await decrypt(organisation.system, one) for one in sealed] == [f"words {n}" for n in range(20)]


async def test_a_key_that_was_rolled_back_is_not_kept(organisation: Organisation) -> None:
    async with tenant_session(organisation.client_a) as session:
        await field_cipher(session)
        await session.rollback()
    assert await count_keys(organisation) == 0
    sealed = await encrypt(organisation.client_a, "after")
    keys._kept.clear()
    assert await decrypt(organisation.client_a, sealed) == "after"


async def test_the_key_is_kept_for_a_while(organisation: Organisation) -> None:
    await encrypt(organisation.client_a, "one")
    await encrypt(organisation.client_a, "two")
    async with tenant_session(organisation.client_a) as session:
        assert await field_cipher(session) is await field_cipher(session)


async def test_another_master_key_opens_nothing(organisation: Organisation) -> None:
    await encrypt(organisation.client_a, "one")
    settings = get_settings()
    other = CryptoSettings(
        master_key=SecretStr(base64.b64encode(bytes(KEY_BYTES)).decode()), keyring_url=settings.keyring_url
    )
    keys._kept.clear()
    # A home without the key's file, as on another machine.
    lost = Keyring(settings.model_copy(update={"crypto": other, "home": settings.home / "elsewhere"}))
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(MasterKeyWrong):
            await field_cipher(session, keyring=lost)


async def test_a_destroyed_key_opens_nothing_and_is_not_made_anew(organisation: Organisation) -> None:
    sealed = await encrypt(organisation.client_a, "one")
    async with tenant_session(organisation.system) as session:
        assert await keys.destroy_keys(session) == 1
    for attempt in (decrypt(organisation.client_a, sealed), encrypt(organisation.client_a, "two")):
        with pytest.raises(DataKeyDestroyed):
            await attempt
    assert await count_keys(organisation) == 1


async def test_people_reach_their_own_tenants_wrapped_keys_through_functions_only(organisation: Organisation) -> None:
    await encrypt(organisation.client_a, "one")
    async with tenant_session(organisation.client_a) as session:
        assert (await session.scalars(select(EncryptionKey))).all() == []
        assert len((await session.execute(text("SELECT * FROM platform.list_data_keys('fields')"))).all()) == 1
    other = await found_organisation()
    async with tenant_session(other.client_a) as session:
        assert (await session.execute(text("SELECT * FROM platform.list_data_keys('fields')"))).all() == []
    async with unbound_session() as session:
        with pytest.raises(DBAPIError):  # nothing is bound: the setting is missing, or empty after another use
            await session.execute(text("SELECT * FROM platform.list_data_keys('fields')"))
        await session.rollback()


async def test_a_second_key_never_replaces_the_first(organisation: Organisation) -> None:
    sealed = await encrypt(organisation.client_a, "one")
    async with tenant_session(organisation.client_b) as session:
        await session.execute(
            text("SELECT platform.add_data_key('fields', :master, :key)"), {"master": "mine", "key": uuid4().bytes}
        )
    keys._kept.clear()
    assert await decrypt(organisation.client_a, sealed) == "one"
