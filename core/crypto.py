"""Encryption of single fields: AES-256-GCM with a tenant's data key, which a master key wraps.

What is encrypted is bound to its place: the additional data names tenant, table, column and row, so ciphertext copied
to another row, column or tenant does not open. The master key never touches a field; it only wraps keys, so it may live
in a key service (`core.kms`), and nothing here would change.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Unavailable
from core.key_files import KEY_BYTES, load_key_file, read_key
from core.settings import Settings, ensure_home

MASTER_KEY_FILE: Final = "master.key"
_SETTING: Final = "REGENESIS_CRYPTO__MASTER_KEY"
_NONCE_BYTES: Final = 12
"""Random nonces of 96 bits are good for 2**32 encryptions a key (NIST SP 800-38D §8.3)."""
_FORMAT: Final = b"\x01"
_VERSION_BYTES: Final = 4


class FieldUnreadable(Unavailable):
    """This encrypted value does not open in its place; restore the row from a backup or store the value anew."""


class DataKeyDestroyed(Unavailable):
    """The key of this organisation's encrypted values was destroyed, and they can't be read again."""


class MasterKeyWrong(Unavailable):
    """This organisation's keys are wrapped by another master key; give it as REGENESIS_CRYPTO__PREVIOUS_MASTER_KEY."""


@dataclass(frozen=True, slots=True)
class KeyContext:
    """What a wrapped key is for; it unwraps for nothing else."""

    tenant_id: UUID
    purpose: str
    version: int

    def __str__(self) -> str:
        return f"regenesis data key|{self.tenant_id}|{self.purpose}|{self.version}"

    def as_pairs(self) -> dict[str, str]:
        """Return the context as key services take it, who log it in clear."""
        return {"tenant": str(self.tenant_id), "purpose": self.purpose, "version": str(self.version)}


class MasterKey(Protocol):
    """Wraps keys; a local key does it here, a key service does it there."""

    @property
    def id(self) -> str:
        """What tells this key from others, stored beside what it wrapped."""

    async def make(self, context: KeyContext | str) -> tuple[bytes, bytes]:
        """Return a new random key of 32 bytes, and the same wrapped."""

    async def wrap(self, key: bytes, context: KeyContext | str) -> bytes:
        """Return the key, encrypted and bound to the context."""

    async def unwrap(self, wrapped: bytes, context: KeyContext | str) -> bytes:
        """Return the key; raises `MasterKeyWrong` where this is not what wrapped it in this context."""


class LocalMasterKey:
    """A master key of 32 bytes that this process holds."""

    def __init__(self, key: bytes, *, kind: str = "local") -> None:
        self._cipher = AESGCM(key)
        self.id = f"{kind}:" + hashlib.sha256(b"regenesis master key " + key).hexdigest()[:16]

    async def make(self, context: KeyContext | str) -> tuple[bytes, bytes]:
        """Return a new key, and the same wrapped."""
        key = secrets.token_bytes(KEY_BYTES)
        return key, await self.wrap(key, context)

    async def wrap(self, key: bytes, context: KeyContext | str) -> bytes:
        """Return nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, str(context).encode())

    async def unwrap(self, wrapped: bytes, context: KeyContext | str) -> bytes:
        """Return the key; raises `MasterKeyWrong`."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], str(context).encode())
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

    @property
    def newest(self) -> int:
        """The version that values are encrypted with."""
        return self._newest

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
        try:
            return self._open(ciphertext, table, column, row_id).decode()
        except UnicodeDecodeError as error:
            raise FieldUnreadable from error

    def renew(self, ciphertext: bytes, *, table: str, column: str, row_id: UUID) -> bytes:
        """Return the same value, encrypted with the newest key; raises what `decrypt` raises."""
        opened = self._open(ciphertext, table, column, row_id)
        return self.encrypt(opened, table=table, column=column, row_id=row_id)

    def _open(self, ciphertext: bytes, table: str, column: str, row_id: UUID) -> bytes:
        start = len(_FORMAT) + _VERSION_BYTES
        prefix, nonce, rest = ciphertext[:start], ciphertext[start : start + _NONCE_BYTES], ciphertext[start:][12:]
        version = int.from_bytes(prefix[len(_FORMAT) :], "big")
        if ciphertext[:1] != _FORMAT or version not in self._ciphers:
            raise FieldUnreadable
        try:
            return self._find_cipher(version).decrypt(nonce, rest, self._place(prefix, table, column, row_id))
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
    """Return the master key: of the key service, of the settings, or of the file in the home, made on first use.

    Raises `UnusableSetting`, `KeyFileExposed`, `KeyFileUnusable`.
    """
    if settings.crypto.kms_key_id is not None:
        return _open_service(settings.crypto.kms_key_id, settings)
    if settings.crypto.master_key is not None:
        return LocalMasterKey(read_key(settings.crypto.master_key, _SETTING))
    return _load_from_file(ensure_home(settings) / MASTER_KEY_FILE)


def find_master_key(key_id: str, settings: Settings) -> MasterKey:
    """Return the master key of this id: today's, or one before it, for as long as it is at hand.

    Raises `MasterKeyWrong` where it is not, and what `load_master_key` raises.
    """
    today = load_master_key(settings)
    if today.id == key_id:
        return today
    kind, _, name = key_id.partition(":")
    if kind == "kms":
        return _open_service(name, settings)
    before: list[MasterKey] = []
    if settings.crypto.previous_master_key is not None:
        earlier = read_key(settings.crypto.previous_master_key, "REGENESIS_CRYPTO__PREVIOUS_MASTER_KEY")
        before.append(LocalMasterKey(earlier))
    if (path := settings.home / MASTER_KEY_FILE).exists():
        before.append(_load_from_file(path))
    for key in before:
        if key.id == key_id:
            return key
    raise MasterKeyWrong


def _open_service(key_id: str, settings: Settings) -> MasterKey:
    from core.kms import open_kms_key  # boto3 takes a third of a second to import

    return open_kms_key(key_id, settings.crypto)


@cache
def _load_from_file(path: Path) -> LocalMasterKey:
    return LocalMasterKey(load_key_file(path, _SETTING))
