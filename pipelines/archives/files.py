"""Parquet on its way to the object store and back: by nameless files, so that memory is bounded and nothing stays."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import IO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import Conflict
from core.storage import ObjectStore

ROWS_AT_ONCE: Final = 20_000
"""Rows of one row group: what is in memory of a month at a time."""


BYTES_AT_ONCE: Final = 1 << 20


class ArchiveDamaged(Conflict):
    """This archive is not what was written; restore the object from a backup of the object store."""


@contextmanager
def nameless_file() -> Iterator[IO[bytes]]:
    """Open a file that no name leads to; it is gone with the process, however that ends."""
    with tempfile.TemporaryFile(prefix="regenesis-") as file:
        yield file


@contextmanager
def open_writer(file: IO[bytes], schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a writer of compressed Parquet with checksums on its pages."""
    writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True, use_dictionary=True)
    try:
        yield writer
    finally:
        writer.close()


def hash_file(file: IO[bytes]) -> tuple[int, bytes]:
    """Return the file's size and SHA-256."""
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # any readable file will do
    return file.tell(), found


async def store_file(store: ObjectStore, key: str, file: IO[bytes]) -> None:
    """Store the file's bytes under the key, whole or not at all."""
    file.seek(0)

    async def read() -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(file.read, BYTES_AT_ONCE):
            yield chunk

    await store.write_stream(key, read())


async def fetch_file(store: ObjectStore, key: str, file: IO[bytes]) -> tuple[int, bytes]:
    """Copy the object into the file and return its size and SHA-256; raises `ObjectMissing`."""
    async with aclosing(store.read_stream(key)) as chunks:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)
    return await asyncio.to_thread(hash_file, file)


def read_groups(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Iterate over the row groups as they were written; raises `ArchiveDamaged`."""
    file.seek(0)
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            for number in range(parquet.num_row_groups):
                table = parquet.read_row_group(number).combine_chunks()
                yield from table.to_batches() if table.num_rows else ()
    except (pa.ArrowException, OSError) as error:
        raise ArchiveDamaged(
            f"This archive can't be read ({' '.join(str(error).split())[:120]}); "
            "restore the object from a backup of the object store."
        ) from error
