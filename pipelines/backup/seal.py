"""How a backup's bytes are sealed: parts of bounded size, each compressed, then encrypted and bound to its place.

Every backup has a key of its own, which the master key wraps; a part is sealed in `core.crypto_frames`, bound to the
names of the backup and the part. So parts can't be altered, exchanged or taken from another backup; how many there are
stands in the manifest, which is sealed in the same way and written last.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

from core.crypto import MasterKey, MasterKeyWrong
from core.crypto_frames import SealedUnreadable, seal, unseal
from core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import pyarrow as pa

PART_BYTES: Final = 8 << 20
"""Bytes of a part before compression; a worker holds three of them at most."""
MOST_PART_BYTES: Final = PART_BYTES + (1 << 20)
"""What a sealed part may have at most: bytes that no longer compress get a little longer."""
_LENGTH_BYTES: Final = 4


class BackupDamaged(Invalid):
    """This backup was altered or damaged; restore another one, and find out what happened to it."""


class BackupKeyWrong(Unavailable):
    """This backup was sealed under another master key; give that one in REGENESIS_CRYPTO__MASTER_KEY."""


class Sealer:
    """Seals and opens the parts of one backup; safe to use from several threads."""

    def __init__(self, backup_id: str, key: bytes) -> None:
        self._backup_id = backup_id
        self._key = key

    def seal(self, name: str, content: bytes) -> bytes:
        """Return the content, compressed and sealed."""
        packed = len(content).to_bytes(_LENGTH_BYTES, "big") + bytes(_codec().compress(content, asbytes=True))
        return seal(packed, self._key, bound=self._place(name))

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return the content; raises `BackupDamaged` where it is not what was sealed under this name."""
        try:
            packed = unseal(sealed, self._key, bound=self._place(name))
        except SealedUnreadable as error:
            raise BackupDamaged(
                f"The part {name} of the backup {self._backup_id} was altered or damaged; restore another backup."
            ) from error
        length = int.from_bytes(packed[:_LENGTH_BYTES], "big")
        content: bytes = _codec().decompress(packed[_LENGTH_BYTES:], decompressed_size=length, asbytes=True)
        return content

    def _place(self, name: str) -> bytes:
        return f"regenesis backup|{self._backup_id}|{name}".encode()


async def make_key(master_key: MasterKey, backup_id: str) -> tuple[Sealer, bytes]:
    """Return the sealer of a new backup, and its key as the master key wraps it."""
    key, wrapped = await master_key.make(_context(backup_id))
    return Sealer(backup_id, key), wrapped


async def open_key(master_key: MasterKey, backup_id: str, wrapped: bytes, wrapped_by: str) -> Sealer:
    """Return the sealer of a backup that is there; raises `BackupKeyWrong`, `BackupDamaged`."""
    try:
        return Sealer(backup_id, await master_key.unwrap(wrapped, _context(backup_id)))
    except MasterKeyWrong as error:
        if wrapped_by == master_key.id:
            raise BackupDamaged(
                f"The key of the backup {backup_id} was altered or damaged; restore another backup."
            ) from error
        raise BackupKeyWrong(
            f"The backup {backup_id} was sealed under the master key {wrapped_by}, this one is {master_key.id}; "
            "give that one in REGENESIS_CRYPTO__MASTER_KEY."
        ) from error


def _context(backup_id: str) -> str:
    return f"regenesis backup key|{backup_id}"


@cache
def _codec() -> "pa.Codec":
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=1)
