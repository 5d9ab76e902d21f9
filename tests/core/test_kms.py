"""A key of AWS KMS wraps as a local one does, and each of its refusals is said once, in the product's words."""

import base64
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from pydantic import SecretStr, ValidationError

from core import kms
from core.crypto import KeyContext, LocalMasterKey, MasterKeyWrong, find_master_key, load_master_key
from core.crypto_keyring import Keyring
from core.kms import KmsMasterKey
from core.settings import CryptoSettings, Settings
from tests.factories.key_server import RefusingKeyServer, make_kms_key

CONTEXT = KeyContext(uuid4(), "keyring", 1)


def open_key(settings: CryptoSettings, key_id: str | None = None) -> KmsMasterKey:
    return KmsMasterKey(key_id or settings.kms_key_id or "", settings)


async def test_what_it_wraps_opens_in_its_context_only(kms_settings: CryptoSettings) -> None:
    master = open_key(kms_settings)
    key, wrapped = await master.make(CONTEXT)
    assert len(key) == 32
    assert key not in wrapped
    assert await master.unwrap(wrapped, CONTEXT) == key
    assert await master.unwrap(await master.wrap(key, "a backup"), "a backup") == key
    for other in (KeyContext(uuid4(), "keyring", 1), KeyContext(CONTEXT.tenant_id, "fields", 1), "a backup"):
        with pytest.raises(MasterKeyWrong):
            await master.unwrap(wrapped, other)
    with pytest.raises(MasterKeyWrong):
        await master.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]), CONTEXT)


async def test_the_service_is_told_tenant_purpose_and_version(kms_settings: CryptoSettings) -> None:
    key, wrapped = await open_key(kms_settings).make(CONTEXT)
    client = boto3.client("kms", endpoint_url=kms_settings.kms_endpoint_url, region_name="us-east-1")
    said = {"tenant": str(CONTEXT.tenant_id), "purpose": "keyring", "version": "1"}
    assert client.decrypt(CiphertextBlob=wrapped, EncryptionContext=said)["Plaintext"] == key


async def test_another_key_and_a_missing_one_are_told_apart(kms_settings: CryptoSettings) -> None:
    _, wrapped = await open_key(kms_settings).make(CONTEXT)
    other = open_key(kms_settings, make_kms_key(str(kms_settings.kms_endpoint_url)))
    with pytest.raises((MasterKeyWrong, kms.KmsDenied)):
        await other.unwrap(wrapped, CONTEXT)
    with pytest.raises(kms.KmsKeyMissing):
        await open_key(kms_settings, str(uuid4())).make(CONTEXT)


@pytest.mark.parametrize(
    ("status", "code", "expected", "attempts"),
    [
        (400, "AccessDeniedException", kms.KmsDenied, 1),
        (400, "UnrecognizedClientException", kms.KmsDenied, 1),
        (400, "DisabledException", kms.KmsKeyDisabled, 1),
        (400, "KMSInvalidStateException", kms.KmsKeyDisabled, 1),
        (400, "NotFoundException", kms.KmsKeyMissing, 1),
        (400, "InvalidKeyUsageException", kms.KmsRefused, 1),
        (400, "InvalidCiphertextException", MasterKeyWrong, 1),
        (400, "IncorrectKeyException", MasterKeyWrong, 1),
        (400, "ThrottlingException", kms.KmsThrottled, kms.ATTEMPTS),
        (500, "KMSInternalException", kms.KmsUnreachable, kms.ATTEMPTS),
        (503, "", kms.KmsUnreachable, kms.ATTEMPTS),
    ],
)
async def test_every_refusal_is_translated_and_repeated_only_where_it_passes(  # pytest gives them by name
    refusing_kms: RefusingKeyServer, status: int, code: str, expected: type[Exception], attempts: int
) -> None:
    refusing_kms.answers = [(status, code)]
    with pytest.raises(expected):
        await open_key(CryptoSettings(kms_key_id="k", kms_endpoint_url=refusing_kms.url)).unwrap(b"x", CONTEXT)
    assert refusing_kms.asked == attempts


async def test_what_passes_is_repeated_until_it_has_passed(refusing_kms: RefusingKeyServer) -> None:
    refusing_kms.answers = [(400, "ThrottlingException"), (500, "KMSInternalException"), (400, "DisabledException")]
    with pytest.raises(kms.KmsKeyDisabled):
        await open_key(CryptoSettings(kms_key_id="k", kms_endpoint_url=refusing_kms.url)).wrap(b"x", CONTEXT)
    assert refusing_kms.asked == 3


async def test_a_service_that_is_away_and_absent_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    away = CryptoSettings(kms_key_id="k", kms_endpoint_url="http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(kms.KmsUnreachable, match=r"127\.0\.0\.1:9 does not answer"):
        await open_key(away).make(CONTEXT)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(kms.KmsDenied, match="AWS_ACCESS_KEY_ID"):
        await open_key(away).make(CONTEXT)


@pytest.mark.parametrize("alias", ["alias/mine", "arn:aws:kms:eu-west-1:1:alias/mine"])
def test_an_alias_is_refused(alias: str) -> None:
    """It could be pointed at another key, and nothing would notice that the keyring is still wrapped by the first."""
    with pytest.raises(ValidationError, match="alias"):
        CryptoSettings(kms_key_id=alias)
    with pytest.raises(ValidationError, match="alone"):
        CryptoSettings(kms_key_id="k", master_key=SecretStr("x"))


async def test_a_keyring_moves_from_a_local_key_to_the_service_and_on(
    kms_settings: CryptoSettings, tmp_path: Path
) -> None:
    tenant = uuid4()
    local = Settings(home=tmp_path)
    made = await Keyring(local).make(tenant)
    second = kms_settings.model_copy(update={"kms_key_id": make_kms_key(str(kms_settings.kms_endpoint_url))})
    third = SecretStr(base64.b64encode(bytes(32)).decode())
    for crypto in (
        kms_settings, second, CryptoSettings(master_key=third, kms_endpoint_url=kms_settings.kms_endpoint_url)
    ):  # fmt: skip
        settings = Settings(home=tmp_path, crypto=crypto)
        assert (await Keyring(settings).get(tenant)).id == made.id  # before it is wrapped anew, nobody waits
        assert await Keyring(settings).rewrap(tenant)
        assert not await Keyring(settings).rewrap(tenant)
        entry = await Keyring(settings).find_entry(tenant)
        assert entry is not None
        assert entry.master_key_id == load_master_key(settings).id
        assert (await Keyring(settings).get(tenant)).id == made.id
    (tmp_path / "master.key").unlink()
    assert (await Keyring(settings).get(tenant)).id == made.id


def test_the_key_before_is_found_by_its_id(tmp_path: Path) -> None:
    old, new = (base64.b64encode(bytes([byte]) * 32).decode() for byte in (1, 2))
    settings = Settings(
        home=tmp_path, crypto=CryptoSettings(master_key=SecretStr(new), previous_master_key=SecretStr(old))
    )
    for byte in (1, 2):
        key = LocalMasterKey(bytes([byte]) * 32)
        assert find_master_key(key.id, settings).id == key.id
    with pytest.raises(MasterKeyWrong):
        find_master_key(LocalMasterKey(bytes(32)).id, settings)
