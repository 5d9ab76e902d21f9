"""Proof by canaries: words that occur nowhere else are looked for in every table and every object.

The look is the owner's, past every policy, and knows nothing of what an erasure knows: it reads all columns of all
tables of the database as text, bytes as hexadecimal digits too, and all objects, decrypted, Parquet and zip unpacked.
"""

import asyncio
import io
import re
import secrets
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg
import pyarrow.parquet as pq
from psycopg import sql

from core.errors import AppError
from core.settings import Settings
from core.storage import ObjectStore, StoreMissing, open_store
from db.locate import owner_url
from db.provision import to_libpq_url
from domain.objects import tenant_store

MARK: Final = "kanari"
"""What every canary begins with; no word of any language does."""
_DIGITS: Final = 10
_WORD: Final = re.compile(rf"{MARK}[0-9a-f]{{{_DIGITS}}}", re.IGNORECASE)
_HEX: Final = MARK.encode().hex()
_OF_TENANT: Final = re.compile(r"^(?:tenants|media)/([0-9a-f-]{36})/")
_NUMBERS: Final = ("halfvec", "sparsevec", "vector", "bool", "int2", "int4", "int8", "float4", "float8", "numeric")
"""Types of columns that hold no words; reading a million vectors as text would take longer than all the rest."""
MOST_BYTES: Final = 2_000_000_000

_COLUMNS: Final = """
SELECT n.nspname, c.relname, array_agg(a.attname ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND t.typname <> ALL (%s)
GROUP BY n.nspname, c.relname ORDER BY 1, 2
"""
_LOOK: Final = """
SELECT word, count(*) FROM (
    SELECT (regexp_matches(lower(words), {pattern}, 'g'))[1] AS word
    FROM (SELECT ROW({columns})::text AS words FROM {table}) AS every
    WHERE strpos(lower(words), {mark}) > 0 OR strpos(words, {hex}) > 0
) AS found GROUP BY word
"""


@dataclass(frozen=True, slots=True)
class Sightings:
    """Where canaries were seen: how many different ones in each table and each folder of the object store."""

    stores: dict[str, int]
    words: frozenset[str]

    @property
    def total(self) -> int:
        """How many different ones were seen anywhere."""
        return len(self.words)


def breed(count: int) -> Iterator[str]:
    """Yield so many canaries."""
    for _ in range(count):
        yield MARK + secrets.token_hex(_DIGITS // 2)


async def look_everywhere(settings: Settings, words: Sequence[str] | None = None) -> Sightings:
    """Look for the canaries, or for any, in all tables and all objects. Needs the owner's sign-in of the settings."""
    wanted = None if words is None else frozenset(words)
    stores, seen = Counter[str](), set[str]()
    for store, found in await asyncio.to_thread(lambda: list(_look_in_tables(settings))):
        hits = found if wanted is None else found & wanted
        stores[store] += len(hits)
        seen |= hits
    async for store, found in _look_in_objects(settings):
        hits = found if wanted is None else found & wanted
        stores[store] += len(hits)
        seen |= hits
    return Sightings({name: count for name, count in sorted(stores.items()) if count}, frozenset(seen))


def _look_in_tables(settings: Settings) -> Iterator[tuple[str, set[str]]]:
    pattern = rf"({MARK}[0-9a-f]{{{_DIGITS}}}|{_HEX}(?:3[0-9]|6[1-6]){{{_DIGITS}}})"
    with psycopg.connect(to_libpq_url(owner_url(settings))) as connection:
        connection.execute("SET statement_timeout = 0")
        for schema, table, columns in connection.execute(_COLUMNS, [list(_NUMBERS)]).fetchall():
            query = sql.SQL(_LOOK).format(
                pattern=sql.Literal(pattern), mark=sql.Literal(MARK), hex=sql.Literal(_HEX),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)), table=sql.Identifier(schema, table),
            )  # fmt: skip
            found = {_read(word) for word, _ in connection.execute(query).fetchall()}
            if found:
                yield f"{schema}.{re.sub(r'_p(?:[0-9]{4}_[0-9]{2}|art_.*|_?[0-9a-f]{8,})$', '', table)}", found


def _read(word: str) -> str:
    return bytes.fromhex(word).decode() if word.startswith(_HEX) else word


async def _look_in_objects(settings: Settings) -> AsyncIterator[tuple[str, set[str]]]:
    plain = open_store(settings.storage_url, settings.storage)
    try:
        keys = [stored.key async for stored in plain.list()]
    except StoreMissing:
        return
    for key in keys:
        owner = _OF_TENANT.match(key)
        store = await tenant_store(UUID(owner.group(1)), settings) if owner else plain
        found = {word.lower() for word in _WORD.findall(key)}
        for content in (await _read_object(store, key), await _read_object(plain, key)):
            found |= await asyncio.to_thread(_find_in_bytes, content)
        if found:
            parts = key.split("/")
            yield f"object store: {parts[2] if owner and parts[0] == 'tenants' else parts[0]}", found


async def _read_object(store: ObjectStore, key: str) -> bytes:
    try:
        return await store.read(key, max_bytes=MOST_BYTES)
    except AppError:  # gone since it was listed, or nobody holds its key any more
        return b""


def _find_in_bytes(content: bytes) -> set[str]:
    """Return the canaries in the bytes, in Parquet's columns, and in a zip's members."""
    found = {word.lower() for word in _WORD.findall(content.decode("utf-8", "replace"))}
    if content[:4] == b"PAR1":
        for batch in pq.ParquetFile(io.BytesIO(content)).iter_batches():
            for column in batch.columns:
                for value in column.to_pylist():
                    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                    found |= {word.lower() for word in _WORD.findall(text)}
    elif content[:2] == b"PK" and zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                found |= _find_in_bytes(archive.read(member))
    return found
