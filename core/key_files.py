"""Files that hold one key: 32 random bytes in base64, for their owner alone."""

import base64
import binascii
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32


def make_key_file(path: Path) -> None:
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


def decode_key(encoded: str) -> bytes | None:
    """Return the key, None where this is none."""
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None
