"""A field opens only in its own place, with its own key; the master key is its owner's alone."""

import base64
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto import (
    MASTER_KEY_FILE,
    DataKeyDestroyed,
    FieldCipher,
    FieldUnreadable,
    LocalMasterKey,
    MasterKey,
    MasterKeyWrong,
    load_master_key,
)  # fmt: skip
from core.key_files import KeyFileExposed, KeyFileUnusable
from core.settings import CryptoSettings, Settings, UnusableSetting
from core.signing import SIGNING_KEY_FILE, SigningKey, load_signing_key

TENANT, ROW = uuid4(), uuid4()
KEY = bytes(range(32))
PLACE = {"table": "identity.users", "column": "two_factor_secret"}


def cipher(**keys: bytes | None) -> FieldCipher:
    return FieldCipher(TENANT, {int(name[1:]): key for name, key in keys.items()} or {1: KEY})


@given(text=st.text())
def test_what_goes_in_comes_out(text: str) -> None:
    sealed = cipher().encrypt(text, row_id=ROW, **PLACE)
    assert cipher().decrypt(sealed, row_id=ROW, **PLACE) == text
    assert sealed != cipher().encrypt(text, row_id=ROW, **PLACE)


def test_it_opens_in_its_own_place_only() -> None:
    sealed = cipher().encrypt("JBSWY3DPEHPK3PXP", row_id=ROW, **PLACE)
    assert b"JBSWY3DP" not in sealed
    elsewhere = [
        (FieldCipher(uuid4(), {1: KEY}), {"row_id": ROW, **PLACE}),
        (cipher(), {"row_id": uuid4(), **PLACE}),
        (cipher(), {"row_id": ROW, **PLACE, "column": "phone_number"}),
        (cipher(), {"row_id": ROW, **PLACE, "table": "identity.integrations"}),
        (cipher(v1=bytes(32)), {"row_id": ROW, **PLACE}),
    ]
    for other, place in elsewhere:
        with pytest.raises(FieldUnreadable):
            other.decrypt(sealed, **place)  # type: ignore[arg-type]  # a dict of names and an id


def test_every_altered_byte_is_noticed() -> None:
    sealed = cipher().encrypt("words", row_id=ROW, **PLACE)
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(FieldUnreadable):
            cipher(v0=KEY, v1=KEY, v2=KEY).decrypt(bytes(altered), row_id=ROW, **PLACE)
    for length in range(len(sealed)):
        with pytest.raises(FieldUnreadable):
            cipher().decrypt(sealed[:length], row_id=ROW, **PLACE)


def test_newest_key_encrypts_and_older_ones_still_open() -> None:
    old = cipher(v1=KEY).encrypt("before", row_id=ROW, **PLACE)
    both = cipher(v1=KEY, v2=bytes(32))
    new = both.encrypt("after", row_id=ROW, **PLACE)
    assert (both.decrypt(old, row_id=ROW, **PLACE), both.decrypt(new, row_id=ROW, **PLACE)) == ("before", "after")
    with pytest.raises(FieldUnreadable):
        cipher(v1=KEY).decrypt(new, row_id=ROW, **PLACE)


def test_a_destroyed_key_opens_nothing() -> None:
    sealed = cipher().encrypt("words", row_id=ROW, **PLACE)
    with pytest.raises(DataKeyDestroyed):
        cipher(v1=None).decrypt(sealed, row_id=ROW, **PLACE)
    with pytest.raises(DataKeyDestroyed):
        cipher(v1=None).encrypt("words", row_id=ROW, **PLACE)


async def test_master_key_wraps_for_one_context() -> None:
    master = LocalMasterKey(KEY)
    wrapped = await master.wrap(b"k" * 32, "tenant a")
    assert await master.unwrap(wrapped, "tenant a") == b"k" * 32
    for other, context in ((master, "tenant b"), (LocalMasterKey(bytes(32)), "tenant a")):
        with pytest.raises(MasterKeyWrong):
            await other.unwrap(wrapped, context)
    with pytest.raises(MasterKeyWrong):
        await master.unwrap(b"", "tenant a")
    assert master.id != LocalMasterKey(bytes(32)).id
    assert KEY.hex()[:8] not in master.id


def settings_at(home: Path, key: str | None = None) -> Settings:
    return Settings(home=home, crypto=CryptoSettings(master_key=key))


def test_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    made = load_master_key(settings_at(tmp_path))
    path = tmp_path / MASTER_KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_bytes())) == 32
    assert load_master_key(settings_at(tmp_path)).id == made.id
    assert [file.name for file in tmp_path.iterdir()] == [MASTER_KEY_FILE]
    assert load_master_key(settings_at(tmp_path, path.read_text())).id == made.id


KEYS = pytest.mark.parametrize(
    ("load", "name", "setting"),
    [(load_master_key, MASTER_KEY_FILE, "MASTER_KEY"), (load_signing_key, SIGNING_KEY_FILE, "SIGNING_KEY")],
    ids=["master", "signing"],
)


def _load(home: str) -> str:
    return load_master_key(settings_at(Path(home))).id


def test_processes_that_race_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = set(pool.map(_load, [str(tmp_path)] * 16))
    assert found == {load_master_key(settings_at(tmp_path)).id}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@KEYS
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(
    tmp_path: Path, load: Callable[[Settings], MasterKey | SigningKey], name: str, setting: str, mode: int
) -> None:
    path = tmp_path / name
    path.write_bytes(base64.b64encode(KEY))
    path.chmod(mode)
    with pytest.raises(KeyFileExposed, match="chmod 600"):
        load(settings_at(tmp_path))
    path.chmod(0o600)
    assert load(settings_at(tmp_path)).id in {LocalMasterKey(KEY).id, SigningKey(KEY).id}


@KEYS
@pytest.mark.parametrize("content", [b"", b"not base64!", base64.b64encode(b"short"), b"\xff\xfe"])
def test_a_damaged_key_file_is_never_replaced(
    tmp_path: Path, load: Callable[[Settings], MasterKey | SigningKey], name: str, setting: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileUnusable, match=f"{path} .* set REGENESIS_CRYPTO__{setting}"):
        load(settings_at(tmp_path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("key", ["secret", base64.b64encode(b"k" * 31).decode()])
def test_an_unusable_key_setting_is_named_and_not_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(UnusableSetting, match="REGENESIS_CRYPTO__MASTER_KEY") as refused:
        load_master_key(settings_at(tmp_path, key))
    assert key not in refused.value.message
    assert list(tmp_path.iterdir()) == []
