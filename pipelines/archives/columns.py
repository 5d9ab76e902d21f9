"""How rows of PostgreSQL stand in Parquet: which type each column has there, and how it is read from the store."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

FINGERPRINT = "row_fingerprint"
"""The last column of every archive: the hash of the row's text as the database computed it."""

_BYTES = ("CASE WHEN {0} IS NULL THEN NULL ELSE uuid_send({0}) END", pa.binary(16))
_TYPES: dict[str, tuple[str, pa.DataType]] = {
    "uuid": _BYTES,
    "bytea": ("{0}", pa.binary()),
    "timestamp with time zone": ("{0}", pa.timestamp("us", tz="UTC")),
    "date": ("{0}", pa.date32()),
    "boolean": ("{0}", pa.bool_()),
    "smallint": ("{0}", pa.int64()),
    "integer": ("{0}", pa.int64()),
    "bigint": ("{0}", pa.int64()),
    "double precision": ("{0}", pa.float64()),
}
_TEXT: tuple[str, pa.DataType] = ("{0}::text", pa.string())
"""Whatever else there is (text, jsonb, inet, numeric, arrays) as the text PostgreSQL reads back without loss."""

_COLUMNS = text(
    "SELECT a.attname AS name, format_type(a.atttypid, null) AS type FROM pg_attribute a "
    "WHERE a.attrelid = CAST(:table AS regclass) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an archived table: its name and the type it has in PostgreSQL."""

    name: str
    type: str

    @property
    def sql(self) -> str:
        """The expression that reads it."""
        return _TYPES.get(self.type, _TEXT)[0].format(f't."{self.name}"')

    @property
    def field(self) -> pa.Field:
        """The column in Parquet, where it remembers what it was."""
        return pa.field(self.name, _TYPES.get(self.type, _TEXT)[1], metadata={"postgresql": self.type})


async def list_columns(session: AsyncSession, table: str) -> list[Column]:
    """Return the table's columns in their order."""
    return [Column(row.name, row.type) for row in await session.execute(_COLUMNS, {"table": table})]


def make_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of an archive of these columns."""
    return pa.schema([*(column.field for column in columns), pa.field(FINGERPRINT, pa.int64())])


def sum_fingerprints(batch: pa.RecordBatch) -> int:
    """Return the sum of the rows' hashes, as `governance.fingerprint_month` computes it."""
    return sum(batch.column(FINGERPRINT).drop_null().to_pylist())


def digest(batch: pa.RecordBatch) -> bytes:
    """Return the SHA-256 of the values of a batch, whatever its buffers look like; equal rows, equal digest."""
    found = hashlib.sha256()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        found.update(name.encode() + b"\0" + str(len(column)).encode() + b"\0")
        found.update(pc.is_valid(column).to_numpy(zero_copy_only=False).tobytes())
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
            values = [b"" if value is None else value for value in column.cast(pa.binary()).to_pylist()]
            found.update(b"".join(len(value).to_bytes(8, "big") for value in values))
            found.update(b"".join(values))
        else:
            whole = pa.float64() if pa.types.is_floating(kind) else pa.int64()
            plain = column.cast(pa.int32()).cast(whole) if pa.types.is_date(kind) else column.cast(whole)
            found.update(pc.fill_null(plain, 0).to_numpy(zero_copy_only=False).tobytes())
    return found.digest()


def to_batch(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows as read with `Column.sql` as one batch."""
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
