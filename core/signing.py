"""Signatures of receipts: Ed25519, with a key of its own beside the master key.

A receipt must be checkable by whoever holds it, so the public key travels in it; that the key is ours, and not just
any, is what its id is compared for.
"""

import hashlib
import json
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.key_files import load_key_file, read_key
from core.settings import Settings, ensure_home

SIGNING_KEY_FILE: Final = "signing.key"
_SETTING: Final = "REGENESIS_CRYPTO__SIGNING_KEY"


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

    Raises `UnusableSetting`, `KeyFileExposed`, `KeyFileUnusable`.
    """
    given = settings.crypto.signing_key
    if given is not None:
        return SigningKey(read_key(given, _SETTING))
    return SigningKey(load_key_file(ensure_home(settings) / SIGNING_KEY_FILE, _SETTING))
