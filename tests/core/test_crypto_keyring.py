"""A tenant's key lies in the keyring alone, and what is destroyed there is never made anew."""

import base64
import json
import stat
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from pydantic import SecretStr

from core.crypto import DataKeyDestroyed, MasterKeyWrong
from core.crypto_keyring import Keyring, KeyringDamaged, KeyringEntryMissing
from core.settings import CryptoSettings, Settings, StorageSettings
from core.storage import open_store


async def test_an_entry_is_made_once_and_is_its_tenant_s(tmp_path: Path) -> None:
    keyring, one, other = Keyring(Settings(home=tmp_path)), uuid4(), uuid4()
    with pytest.raises(KeyringEntryMissing):
        await keyring.get(one)
    made = await keyring.make(one)
    assert (await keyring.make(one)).id == made.id == (await keyring.get(one)).id
    assert (await keyring.make(other)).id != made.id
    path = tmp_path / "keyring" / str(one)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.with_name(str(other)).write_bytes(path.read_bytes())
    with pytest.raises(KeyringDamaged):
        await keyring.get(other)


async def test_an_entry_of_another_tenant_does_not_open_under_a_changed_name(tmp_path: Path) -> None:
    keyring, one, other = Keyring(Settings(home=tmp_path)), uuid4(), uuid4()
    await keyring.make(one)
    said = json.loads((tmp_path / "keyring" / str(one)).read_bytes())
    (tmp_path / "keyring" / str(other)).write_text(json.dumps(said | {"tenant_id": str(other)}))
    with pytest.raises(MasterKeyWrong):
        await keyring.get(other)


async def test_what_is_destroyed_is_never_made_anew(tmp_path: Path) -> None:
    keyring, tenant = Keyring(Settings(home=tmp_path)), uuid4()
    await keyring.make(tenant)
    wrapped = json.loads((tmp_path / "keyring" / str(tenant)).read_bytes())["wrapped"]
    for _ in range(2):
        await keyring.destroy(tenant)
        for attempt in (keyring.get(tenant), keyring.make(tenant)):
            with pytest.raises(DataKeyDestroyed):
                await attempt
    assert not await keyring.rewrap(tenant)
    assert wrapped not in "".join(path.read_text() for path in (tmp_path / "keyring").iterdir())
    entry = await keyring.find_entry(tenant)
    assert entry is not None
    assert entry.destroyed_at is not None


async def test_a_bucket_keeps_no_version_of_what_was_destroyed(s3_settings: StorageSettings, tmp_path: Path) -> None:
    client = boto3.client("s3", endpoint_url=s3_settings.endpoint_url, region_name="us-east-1")
    client.create_bucket(Bucket="keyring-of-all")
    client.put_bucket_versioning(Bucket="keyring-of-all", VersioningConfiguration={"Status": "Enabled"})
    crypto = CryptoSettings(keyring_url="s3://keyring-of-all/ring")
    settings, tenant = Settings(home=tmp_path, storage=s3_settings, crypto=crypto), uuid4()
    keyring = Keyring(settings)
    await keyring.make(tenant)
    await keyring.destroy(tenant)
    left = [found async for found in open_store("s3://keyring-of-all/ring", s3_settings).list_versions()]
    assert [found.key for found in left] == [str(tenant)]
    with pytest.raises(DataKeyDestroyed):
        await keyring.get(tenant)


async def test_another_master_key_opens_nothing_and_changes_nothing(tmp_path: Path) -> None:
    tenant = uuid4()
    await Keyring(Settings(home=tmp_path)).make(tenant)
    before = (tmp_path / "keyring" / str(tenant)).read_bytes()
    (tmp_path / "master.key").rename(tmp_path / "elsewhere")
    other = CryptoSettings(master_key=SecretStr(base64.b64encode(bytes(32)).decode()))
    keyring = Keyring(Settings(home=tmp_path, crypto=other))
    for attempt in (keyring.get(tenant), keyring.make(tenant), keyring.rewrap(tenant)):
        with pytest.raises(MasterKeyWrong):
            await attempt
    assert (tmp_path / "keyring" / str(tenant)).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"format": 2}', b'{"format": 1, "tenant_id": "x"}'])
async def test_a_damaged_entry_is_named_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    tenant = uuid4()
    (tmp_path / "keyring").mkdir()
    (tmp_path / "keyring" / str(tenant)).write_bytes(content)
    keyring = Keyring(Settings(home=tmp_path))
    for attempt in (keyring.get(tenant), keyring.make(tenant)):
        with pytest.raises(KeyringDamaged):
            await attempt
    assert (tmp_path / "keyring" / str(tenant)).read_bytes() == content
