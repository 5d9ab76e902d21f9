"""Encryption of single fields: AES-256-GCM with a tenant's data key, which a master key wraps.

What is encrypted is bound to its place: the additional data names tenant, table, column and row, so ciphertext copied
to another row, column or tenant does not open. The master key never touches a field; it only wraps data keys, so it
may live in a key service that wraps and unwraps, and nothing here would change.
"""

import base64
import binascii
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Unavailable
from core.settings import Settings, UnusableSetting, ensure_home

KEY_BYTES: Final = 32
MASTER_KEY_FILE: Final = "master.key"
_NONCE_BYTES: Final = 12
"""Random nonces of 96 bits are good for 2**32 encryptions a key (NIST SP 800-38D §8.3)."""
_FORMAT: Final = b"\x01"
_VERSION_BYTES: Final = 4


class FieldUnreadable(Unavailable):
    """This encrypted value does not open in its place; restore the row from a backup or store the value anew."""


class DataKeyDestroyed(Unavailable):
    """The key of this organisation's encrypted values was destroyed, and they can't be read again."""


class MasterKeyWrong(Unavailable):
    """This organisation's keys are wrapped by another master key; restore it, see REGENESIS_CRYPTO__MASTER_KEY."""


class MasterKeyExposed(Unavailable):
    """The master key can be read by other users of this machine; run `chmod 600` on its file."""


class MasterKeyUnusable(Unavailable):
    """The master key can't be read; restore its file, or set REGENESIS_CRYPTO__MASTER_KEY."""


class MasterKey(Protocol):
    """Wraps data keys; a local key does it here, a key service would do it there."""

    @property
    def id(self) -> str:
        """What tells this key from others, stored beside what it wrapped."""

    async def wrap(self, key: bytes, context: str) -> bytes:
        """Return the key, encrypted and bound to the context."""

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Return the key; raises `MasterKeyWrong` where this is not what wrapped it in this context."""


class LocalMasterKey:
    """A master key of 32 bytes that this process holds."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.id = "local:" + hashlib.sha256(b"regenesis master key " + key).hexdigest()[:16]

    async def wrap(self, key: bytes, context: str) -> bytes:
        """Return nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, context.encode())

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Return the key; raises `MasterKeyWrong`."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise MasterKeyWrong from error


class FieldCipher:
    """Encrypts and decrypts fields of one tenant; `keys` are its data keys by version, None where destroyed.

    A ciphertext is a format byte, the key's version (4 bytes, big-endian), a nonce (12) and what AES-GCM returns.
    """

    def __init__(self, tenant_id: UUID, keys: Mapping[int, bytes | None]) -> None:
        self._tenant_id = tenant_id
        self._ciphers = {version: AESGCM(key) if key else None for version, key in keys.items()}
        self._newest = max(keys)

    def encrypt(self, plaintext: str | bytes, *, table: str, column: str, row_id: UUID) -> bytes:
        """Return the ciphertext to store in this column of this row; `table` is `schema.table`.

        Equal texts give different ciphertexts. Raises `DataKeyDestroyed`.
        """
        prefix = _FORMAT + self._newest.to_bytes(_VERSION_BYTES, "big")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = plaintext.encode() if isinstance(plaintext, str) else plaintext
        bound = self._place(prefix, table, column, row_id)
        return prefix + nonce + self._find_cipher(self._newest).encrypt(nonce, content, bound)

    def decrypt(self, ciphertext: bytes, *, table: str, column: str, row_id: UUID) -> str:
        """Return the text; raises `FieldUnreadable` where it was altered or moved, `DataKeyDestroyed`."""
        start = len(_FORMAT) + _VERSION_BYTES
        prefix, nonce, rest = ciphertext[:start], ciphertext[start : start + _NONCE_BYTES], ciphertext[start:][12:]
        version = int.from_bytes(prefix[len(_FORMAT) :], "big")
        if ciphertext[:1] != _FORMAT or version not in self._ciphers:
            raise FieldUnreadable
        try:
            return self._find_cipher(version).decrypt(nonce, rest, self._place(prefix, table, column, row_id)).decode()
        except (InvalidTag, ValueError) as error:
            raise FieldUnreadable from error

    def _find_cipher(self, version: int) -> AESGCM:
        cipher = self._ciphers[version]
        if cipher is None:
            raise DataKeyDestroyed
        return cipher

    def _place(self, prefix: bytes, table: str, column: str, row_id: UUID) -> bytes:
        # names of tables and columns hold no "|", so the parts can't run into each other
        return prefix + f"|{self._tenant_id}|{table}|{column}|{row_id}".encode()


def load_master_key(settings: Settings) -> MasterKey:
    """Return the master key of the settings, or of the file in the home, which is made on first use.

    Raises `UnusableSetting`, `MasterKeyExposed`, `MasterKeyUnusable`.
    """
    given = settings.crypto.master_key
    if given is not None:
        key = _decode(given.get_secret_value())
        if key is None:
            raise UnusableSetting("The setting REGENESIS_CRYPTO__MASTER_KEY can't be used; give 32 bytes as base64.")
        return LocalMasterKey(key)
    return _load_from_file(ensure_home(settings) / MASTER_KEY_FILE)


@cache
def _load_from_file(path: Path) -> LocalMasterKey:
    if not path.exists():
        _make_file(path)
    try:
        is_exposed = os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        key = _decode(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise MasterKeyUnusable(
            f"The master key in {path} can't be read; restore it, or set REGENESIS_CRYPTO__MASTER_KEY."
        ) from error
    if is_exposed:
        raise MasterKeyExposed(f"The master key can be read by other users of this machine; run `chmod 600 {path}`.")
    if key is None:
        raise MasterKeyUnusable(
            f"The master key in {path} is damaged; restore the file, or set REGENESIS_CRYPTO__MASTER_KEY."
        )
    return LocalMasterKey(key)


def _make_file(path: Path) -> None:
    """Write a new key, whole or not at all; of several processes at once, the first one's stays."""
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=".master-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(written, path)
    except FileExistsError:
        return  # another process was first
    finally:
        Path(written).unlink()


def _decode(encoded: str) -> bytes | None:
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None
