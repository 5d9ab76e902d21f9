"""Signatures of receipts: Ed25519, with a key of its own beside the master key.

A receipt must be checkable by whoever holds it, so the public key travels in it; that the key is ours, and not just
any, is what its id is compared for.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.errors import Unavailable
from core.key_files import decode_key, make_key_file
from core.settings import Settings, UnusableSetting, ensure_home

SIGNING_KEY_FILE: Final = "signing.key"


class SigningKeyUnusable(Unavailable):
    """The signing key can't be read; restore its file, or set REGENESIS_CRYPTO__SIGNING_KEY."""


class SigningKeyExposed(Unavailable):
    """The signing key can be read by other users of this machine; run `chmod 600` on its file."""


class SigningKey:
    """What signs in this installation's name."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )  # fmt: skip
        self.id = name_key(self.public)

    def sign(self, document: dict[str, Any]) -> bytes:
        """Return the signature of the document as `canonical` writes it."""
        return self._key.sign(canonical(document))


def name_key(public: bytes) -> str:
    """Return what tells this public key from others."""
    return "ed25519:" + hashlib.sha256(b"regenesis signing key " + public).hexdigest()[:16]


def canonical(document: dict[str, Any]) -> bytes:
    """Return the document as JSON with sorted keys and no blanks, in UTF-8: the bytes that are signed."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def is_signed(document: dict[str, Any], signature: bytes, public: bytes) -> bool:
    """Tell whether the signature is of just this document, by this key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(document))
    except (InvalidSignature, ValueError):
        return False
    return True


def load_signing_key(settings: Settings) -> SigningKey:
    """Return the key of the settings, or of the file in the home, which is made on first use.

    Raises `UnusableSetting`, `SigningKeyExposed`, `SigningKeyUnusable`.
    """
    given = settings.crypto.signing_key
    if given is None:
        return SigningKey(_load_from_file(ensure_home(settings) / SIGNING_KEY_FILE))
    seed = decode_key(given.get_secret_value())
    if seed is None:
        raise UnusableSetting("The setting REGENESIS_CRYPTO__SIGNING_KEY can't be used; give 32 bytes as base64.")
    return SigningKey(seed)


def _load_from_file(path: Path) -> bytes:
    if not path.exists():
        make_key_file(path)
    try:
        is_exposed = os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        seed = decode_key(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise SigningKeyUnusable(
            f"The signing key in {path} can't be read; restore it, or set REGENESIS_CRYPTO__SIGNING_KEY."
        ) from error
    if is_exposed:
        raise SigningKeyExposed(f"The signing key can be read by other users of this machine; run `chmod 600 {path}`.")
    if seed is None:
        raise SigningKeyUnusable(f"The signing key in {path} is damaged; restore the file from a backup.")
    return seed
