"""What the product stores of a tenant is that tenant's alone, in the folder of another process too."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.settings import CryptoSettings, Settings, StorageSettings
from core.storage import open_store
from core.storage_encrypted import HEADER_BYTES, PlaceOfOthers, read_version
from db.models import EncryptionKey
from db.session import tenant_session
from domain import keys
from domain.objects import find_own_store, list_folders, tenant_store
from tests.factories.people import Organisation, found_organisation


def settings_at(folder: Path) -> Settings:
    return Settings(
        home=folder / "home", storage=StorageSettings(url=(folder / "o b").as_uri()), crypto=CryptoSettings()
    )


def forget() -> None:
    keys._kept.clear()
    keys._fresh.clear()


async def test_a_tenant_reads_what_it_wrote_and_nobody_else(organisation: Organisation, tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    key = f"tenants/{organisation.tenant_id}/a"
    store = await tenant_store(organisation.tenant_id, settings)
    await store.write(key, b"words")
    forget()
    assert await (await tenant_store(organisation.tenant_id, settings)).read(key, max_bytes=10) == b"words"
    plain = open_store(settings.storage_url, settings.storage)
    assert read_version(await plain.read_start(key, count=HEADER_BYTES)) == 1
    other = await found_organisation()
    with pytest.raises(PlaceOfOthers):
        await (await tenant_store(other.tenant_id, settings)).read(key, max_bytes=10)
    async with tenant_session(organisation.client_a) as session:
        mine = await tenant_store(organisation.tenant_id, settings, session=session)
        assert await mine.read(key, max_bytes=10) == b"words"
        with pytest.raises(ValueError, match="another tenant"):
            await tenant_store(other.tenant_id, settings, session=session)


async def test_a_first_key_outlives_a_transaction_that_fails(organisation: Organisation, tmp_path: Path) -> None:
    settings, key = settings_at(tmp_path), f"media/{organisation.tenant_id}/a"
    async with tenant_session(organisation.client_a) as session:
        await (await tenant_store(organisation.tenant_id, settings, session=session)).write(key, b"words")
        await session.rollback()
    forget()
    assert await (await tenant_store(organisation.tenant_id, settings)).read(key, max_bytes=10) == b"words"
    async with tenant_session(organisation.system) as session:
        of_objects = select(func.count()).where(EncryptionKey.purpose == "objects")
        assert await session.scalar(of_objects) == 1


async def test_an_address_in_our_own_store_is_opened_as_the_tenant_s(
    organisation: Organisation, tmp_path: Path
) -> None:
    settings = settings_at(tmp_path)
    folder = f"{list_folders(organisation.tenant_id)[0]}uploads/some one"
    await (await tenant_store(organisation.tenant_id, settings)).write(f"{folder}/a b.txt", b"words")
    own = open_store(settings.storage_url, settings.storage)
    address = open_store(f"{own.url}/{folder.replace(' ', '%20')}", settings.storage).url
    store = find_own_store(organisation.tenant_id, address, settings)
    assert store is not None
    assert store.url == address
    assert await store.read("a b.txt", max_bytes=10) == b"words"
    assert find_own_store(organisation.tenant_id, (tmp_path / "elsewhere").as_uri(), settings) is None
    assert find_own_store(organisation.tenant_id, f"{own.url}-other", settings) is None
    other = await found_organisation()
    for tenant, below in ((other.tenant_id, address), (organisation.tenant_id, own.url)):
        found = find_own_store(tenant, below, settings)
        assert found is not None
        with pytest.raises(PlaceOfOthers):
            found.list()
