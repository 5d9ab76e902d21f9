"""One moment of the whole database, held open while several connections read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from core.errors import Forbidden, Unavailable
from db.base import SCHEMAS
from db.provision import to_libpq_url

SLICE_BYTES: Final = 64 << 20
"""Bytes of a table that one connection copies at a time; larger tables are shared among connections."""
SESSION: Final = (
    "-c statement_timeout=0 -c lock_timeout=60s -c idle_in_transaction_session_timeout=0 -c row_security=off"
    # the text of a row must be the same on every server
    " -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
    " -c lc_monetary=C -c app.closed="
)
"""How backups and restores read and write: without row-level security, or not at all."""

_TABLES: Final = """
    SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int AS blocks,
           pg_table_size(c.oid) AS bytes,
           array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '') AS columns,
           'hashint8extended(hash_record_extended(ROW(' || string_agg(
               CASE WHEN t.typname IN ('vector', 'halfvec', 'sparsevec')
                    THEN format('sha256(%%I.%%I(t.%%I))', f.pronamespace::regnamespace::text, f.proname, a.attname)
                    WHEN t.typname = ANY (%(exact)s) THEN format('t.%%I', a.attname)
                    ELSE format('t.%%I::text', a.attname) END, ', ' ORDER BY a.attnum) || '), 0), 0)',
           (array_agg(a.attname::text ORDER BY a.attname = 'created_at', a.attname)
               FILTER (WHERE a.attname IN ('created_at', 'occurred_at') AND t.typname = 'timestamptz'))[1]
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_proc f ON f.oid = t.typsend
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND (n.nspname = ANY (%(schemas)s) OR (n.nspname, c.relname) = ('public', 'alembic_version'))
    GROUP BY c.oid, n.nspname, c.relname ORDER BY 1, 2
"""
"""Tables with the hash of a row: PostgreSQL's hash of a record, hashed once more. The first is linear in its columns,
so a sum of it over rows would not see two rows exchange their values."""
_EXACT: Final = ("uuid", "int2", "int4", "int8", "bool", "text", "varchar", "timestamptz", "timestamp", "date", "bytea")
"""Types of which equal hashes mean equal bytes; others (1.0 and 1.00 are equal) are hashed as they are written."""
_SEQUENCES: Final = """
    SELECT schemaname, sequencename FROM pg_sequences WHERE schemaname = ANY (%(schemas)s) ORDER BY 1, 2
"""

_ON_VIEWS: Final = """
    SELECT DISTINCT d.objid::bigint FROM pg_depend d JOIN pg_type t ON t.oid = d.refobjid
    JOIN pg_class c ON c.oid = t.typrelid AND c.relkind IN ('m', 'v')
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_type'::regclass ORDER BY 1
"""


class BoundByPolicies(Forbidden):
    """Backups need a role that row-level security does not bind; name one in REGENESIS_DB__OWNER_URL."""


class StoreChanging(Unavailable):
    """The database's tables are being changed; try again when the migration is done."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds rows itself; `moment` is the column that says when a row was made."""

    schema: str
    name: str
    blocks: int
    size: int
    columns: tuple[str, ...]
    fingerprint: str
    moment: str | None

    @property
    def full_name(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of a table in its blocks from `first` up to before `end`; None: to its end."""

    table: Table
    first: int
    end: int | None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the table."""
        return self.first == 0 and self.end is None

    @property
    def size(self) -> int:
        """About how many bytes it has."""
        end = self.table.blocks if self.end is None else self.end
        return self.table.size * max(end - self.first, 1) // max(self.table.blocks, 1)


@dataclass(frozen=True, slots=True)
class Sum:
    """How many rows there are, the sum of their fingerprints, and when the last of them was made."""

    rows: int
    checksum: int
    newest: datetime | None


def connect(url: URL, *, autocommit: bool = False) -> psycopg.Connection:
    """Return a connection that sees all rows or fails; its work takes as long as it takes."""
    return psycopg.connect(
        to_libpq_url(url), options=SESSION, autocommit=autocommit, application_name="regenesis-backup"
    )


@contextmanager
def hold_snapshot(url: URL) -> Iterator[tuple[psycopg.Connection, str, list[Table]]]:
    """Hold a snapshot and yield its connection, its id for others, and the tables it has.

    No table can be altered or dropped meanwhile. Raises `BoundByPolicies`, `StoreChanging`.
    """
    with connect(url) as connection:
        connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        _refuse_bound(connection)
        before = [table.full_name for table in list_tables(connection)]
        connection.rollback()
        # The locks come first: a snapshot taken before them could miss what a migration does in between.
        locked = sql.SQL(", ").join(sql.Identifier(*name.split(".")) for name in before)
        try:
            connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(locked))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable) as error:
            raise StoreChanging from error
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        tables = list_tables(connection)
        if row is None or [table.full_name for table in tables] != before:
            raise StoreChanging
        yield connection, row[0], tables


def join_snapshot(connection: psycopg.Connection, snapshot: str) -> None:
    """Let this connection's transaction read the snapshot."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))


def list_tables(connection: psycopg.Connection) -> list[Table]:
    """Return every table of the product that holds rows itself, partitions one by one."""
    return [
        Table(schema, name, blocks, size, tuple(columns), fingerprint, moment)
        for schema, name, blocks, size, columns, fingerprint, moment in connection.execute(
            _TABLES, {"schemas": list(SCHEMAS), "exact": list(_EXACT)}
        )
    ]


def read_sequences(connection: psycopg.Connection) -> dict[str, tuple[int, bool]]:
    """Return the last value of every sequence, and whether it was given out."""
    found = connection.execute(_SEQUENCES, {"schemas": list(SCHEMAS)}).fetchall()
    values: dict[str, tuple[int, bool]] = {}
    for schema, name in found:
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
        row = connection.execute(query).fetchone()
        if row is not None:
            values[f"{schema}.{name}"] = (row[0], row[1])
    return values


def list_on_views(connection: psycopg.Connection) -> list[int]:
    """Return the ids of the functions that take or return rows of a view."""
    return [oid for (oid,) in connection.execute(_ON_VIEWS)]


def cut(table: Table) -> list[Slice]:
    """Return the table in slices of about `SLICE_BYTES`; an empty one is one slice."""
    wanted = min(-(-table.size // SLICE_BYTES), max(table.blocks, 1))
    step = -(-table.blocks // max(wanted, 1)) or 1
    firsts = list(range(0, max(table.blocks, 1), step))
    return [Slice(table, first, None if first == firsts[-1] else first + step) for first in firsts]


def copy_statement(part: Slice) -> sql.Composed:
    """Return the statement that sends the slice's rows in PostgreSQL's binary format."""
    table = sql.Identifier(part.table.schema, part.table.name)
    columns = sql.SQL(", ").join(map(sql.Identifier, part.table.columns))
    if part.is_whole:
        return sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(table, columns)
    return sql.SQL("COPY (SELECT {} FROM ONLY {} t WHERE {}) TO STDOUT (FORMAT binary)").format(
        columns, table, _narrow(part)
    )


def add_up(connection: psycopg.Connection, part: Slice) -> Sum:
    """Return the sums of the slice's rows."""
    newest = sql.SQL("max(t.{moment}) FILTER (WHERE t.{moment} <= now())").format(
        moment=sql.Identifier(part.table.moment)
    ) if part.table.moment else sql.SQL("NULL::timestamptz")  # fmt: skip
    row = connection.execute(
        sql.SQL("SELECT count(*), coalesce(sum({}), 0)::numeric, {} FROM ONLY {} t WHERE {}").format(
            sql.SQL(part.table.fingerprint),  # made of the catalogue's names by _TABLES
            newest, sql.Identifier(part.table.schema, part.table.name), _narrow(part),
        )
    ).fetchone()  # fmt: skip
    assert row is not None  # noqa: S101  # aggregates return one row
    return Sum(row[0], int(row[1]), row[2])


def _narrow(part: Slice) -> sql.Composable:
    if part.is_whole:
        return sql.SQL("true")
    lower = sql.SQL("t.ctid >= {}::tid").format(sql.Literal(f"({part.first},0)"))
    if part.end is None:
        return lower
    return sql.SQL("{} AND t.ctid < {}::tid").format(lower, sql.Literal(f"({part.end},0)"))


def _refuse_bound(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if row is None or not row[1]:
        raise BoundByPolicies(
            f"The role {row[0] if row else '?'} is bound by row-level security and would back up only what it sees; "
            "name a superuser, or a role with BYPASSRLS, in REGENESIS_DB__OWNER_URL."
        )
