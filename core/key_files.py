"""Files and settings that hold one key: 32 random bytes in base64, for their owner alone."""

import base64
import binascii
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from core.errors import Unavailable
from core.settings import UnusableSetting

KEY_BYTES: Final = 32


class KeyFileExposed(Unavailable):
    """The file of a key can be read by other users of this machine; run `chmod 600` on it."""


class KeyFileUnusable(Unavailable):
    """The file of a key can't be read; restore it from a backup."""


def read_key(given: SecretStr, setting: str) -> bytes:
    """Return the key that a setting holds; raises `UnusableSetting`."""
    key = _decode(given.get_secret_value())
    if key is None:
        raise UnusableSetting(f"The setting {setting} can't be used; give 32 bytes as base64.")
    return key


def load_key_file(path: Path, setting: str) -> bytes:
    """Return the key of this file, which is made on first use; `setting` is what else could hold it.

    Raises `KeyFileExposed`, `KeyFileUnusable`.
    """
    if not path.exists():
        _make(path)
    try:
        is_exposed = os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        key = _decode(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise KeyFileUnusable(f"The key in {path} can't be read; restore it, or set {setting}.") from error
    if is_exposed:
        raise KeyFileExposed(f"The key in {path} can be read by other users of this machine; run `chmod 600 {path}`.")
    if key is None:
        raise KeyFileUnusable(f"The key in {path} is damaged; restore the file from a backup, or set {setting}.")
    return key


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; of several processes at once, the first one's stays."""
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")  # mode 0600
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
    """Return the key, None where this is none."""
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None
