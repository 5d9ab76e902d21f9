"""What `regenesis doctor` says of the master key and the keyring."""

import base64
from pathlib import Path

import pytest

from cli.checks import check_keyring, check_master_key
from core.crypto_keyring import Keyring
from core.kms import KmsKeyDisabled, KmsUnreachable
from core.settings import CryptoSettings, Settings
from tests.factories.key_server import RefusingKeyServer, kms_settings, refusing_kms
from tests.factories.people import Organisation

__all__ = ["kms_settings", "refusing_kms"]


async def test_a_key_service_is_tried(kms_settings: CryptoSettings, tmp_path: Path) -> None:
    found = await check_master_key(Settings(home=tmp_path, crypto=kms_settings))
    assert (found.status, found.detail) == ("ok", f"kms:{kms_settings.kms_key_id} makes, wraps and unwraps keys")


async def test_what_the_key_service_refuses_is_said(
    refusing_kms: RefusingKeyServer, tmp_path: Path
) -> None:  # a fixture
    refusing_kms.answers = [(400, "DisabledException")]
    crypto = CryptoSettings(kms_key_id="doctor", kms_endpoint_url=refusing_kms.url)
    with pytest.raises(KmsKeyDisabled):
        await check_master_key(Settings(home=tmp_path, crypto=crypto))
    away = CryptoSettings(kms_key_id="doctor", kms_endpoint_url="http://127.0.0.1:9")
    with pytest.raises(KmsUnreachable):
        await check_master_key(Settings(home=tmp_path, crypto=away))


async def test_entries_that_do_not_open_and_old_wrappings_are_told(
    organisation: Organisation, store: Settings, tmp_path: Path
) -> None:
    settings = store.model_copy(update={"home": tmp_path})
    keyring = Keyring(settings)
    await keyring.make(organisation.tenant_id)
    assert (await check_keyring(settings)).status == "ok"
    entry = await keyring.find_entry(organisation.tenant_id)
    assert entry is not None
    (tmp_path / "master.key").rename(tmp_path / "before")
    new = base64.b64encode(bytes(range(32))).decode()
    other = settings.model_copy(update={"crypto": CryptoSettings.model_validate({"master_key": new})})
    shut = await check_keyring(other)
    assert shut.status == "fail"
    assert organisation.slug in shut.detail
    old = (tmp_path / "before").read_text().strip()
    crypto = CryptoSettings.model_validate({"master_key": new, "previous_master_key": old})
    both = settings.model_copy(update={"crypto": crypto})
    found = await check_keyring(both)
    assert found.status == "warn"
    assert "earlier master key" in found.detail
