"""Filling a database from a backup: tables first, then rows, then everything that guards and finds them."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from core.storage import ObjectStore
from pipelines.backup.manifest import Manifest, Parts, TableRecord
from pipelines.backup.seal import Sealer
from pipelines.backup.snapshot import Slice, Sum, Table, add_up, connect, cut, list_tables
from pipelines.backup.target import analyze, empty, finish_rows, list_filled, reach
from pipelines.backup.tools import find_tool, run_tool, split_archive
from pipelines.backup.workers import Told, read_parts, tell_nobody, translating, work_through

ROWS, CHECKSUMS = "rows", "checksums"


@dataclass(slots=True)
class Phases:
    """Seconds by phase, in order."""

    seconds: dict[str, float] = field(default_factory=dict)
    told: Told = tell_nobody

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block, and tell that it has begun."""
        self.told(name, 0, 0)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.perf_counter() - started, 3)


@dataclass(frozen=True, slots=True)
class Source:
    """A backup that is whole, and what opens it."""

    store: ObjectStore
    manifest: Manifest
    sealer: Sealer


async def prove_parts(source: Source, told: Told) -> None:
    """Open every part without using it; raises `BackupDamaged`. Done before a store is replaced."""
    loop = asyncio.get_running_loop()
    listed = source.manifest.list_parts()
    done, total = 0, sum(parts.size for parts in listed)
    for parts in listed:
        await asyncio.to_thread(
            lambda p: [None for _ in read_parts(source.store, source.sealer, source.manifest.id, p, loop)], parts
        )
        done += parts.size
        told("backup", done, total)


async def load(source: Source, url: URL, phases: Phases, *, connections: int) -> None:
    """Fill the database; it is closed from before its first table until `target.open_to_all`.

    Row-level security, keys, indexes and triggers come after the rows, as pg_restore puts them: no trigger sees a row
    twice, and every key is checked once, over all rows.
    """
    manifest = source.manifest
    loop = asyncio.get_running_loop()
    tool = await asyncio.to_thread(
        find_tool, "pg_restore", max(manifest.dump_version, manifest.server_version // 10_000)
    )
    with tempfile.TemporaryDirectory(prefix="regenesis-restore-") as folder, translating():
        archive = Path(folder) / "schema.dump"

        def fetch() -> None:
            with archive.open("wb") as file:
                file.writelines(read_parts(source.store, source.sealer, manifest.id, manifest.schema, loop))

        with phases.phase("tables"):
            await asyncio.to_thread(fetch)
            await asyncio.to_thread(empty, url, manifest.id)
            before, after, rest = await asyncio.to_thread(split_archive, tool, archive, manifest.on_views)
            await asyncio.to_thread(run_tool, tool, [f"--use-list={before}", "--exit-on-error", str(archive)], url)
        with phases.phase(ROWS):
            await _copy_rows(source, url, phases.told, connections)
        with phases.phase("indexes, keys and guards"):
            arguments = [f"--use-list={after}", "--exit-on-error", f"--jobs={connections}", str(archive)]
            await asyncio.to_thread(run_tool, tool, arguments, url, settings="-c synchronous_commit=off")
            await asyncio.to_thread(run_tool, tool, [f"--use-list={rest}", "--exit-on-error", str(archive)], url)
        with phases.phase("statistics"):
            await _finish(url, manifest, connections)
        await asyncio.to_thread(reach, url, manifest.id, "loaded")


async def _copy_rows(source: Source, url: URL, told: Told, connections: int) -> None:
    manifest, loop = source.manifest, asyncio.get_running_loop()
    pieces = sorted(
        ((table, parts) for table in manifest.tables for parts in table.slices), key=lambda one: -one[1].size
    )
    done, total = 0, sum(parts.size for _, parts in pieces)

    def copy(connection: psycopg.Connection, piece: tuple[TableRecord, Parts]) -> None:
        table, parts = piece
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(*table.name.split(".", 1)), sql.SQL(", ").join(map(sql.Identifier, table.columns))
        )
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as rows:
            for content in read_parts(source.store, source.sealer, manifest.id, parts, loop):
                rows.write(content)

    def count(piece: tuple[TableRecord, Parts]) -> None:
        nonlocal done
        done += piece[1].size
        told(ROWS, done, total)

    await work_through(pieces, lambda: _connect_hasty(url), copy, connections=connections, done=count)


def _connect_hasty(url: URL) -> psycopg.Connection:
    """Return a connection whose commits wait for no disk: what opens the store at the end waits for all of them."""
    connection = connect(url, autocommit=True)
    connection.execute("SET synchronous_commit = off")
    return connection


async def _finish(url: URL, manifest: Manifest, connections: int) -> None:
    def finish() -> None:
        with connect(url, autocommit=True) as connection:
            finish_rows(connection, manifest)

    filled = await asyncio.to_thread(list_filled, url)
    await work_through(filled, lambda: connect(url, autocommit=True), analyze, connections=connections)
    await asyncio.to_thread(finish)


async def compare_rows(url: URL, manifest: Manifest, told: Told, *, connections: int) -> list[str]:
    """Return what differs from the backup, a sentence a table: counts and checksums, by the very same statement."""
    expected = {table.name: table for table in manifest.tables}
    with translating():
        tables = await asyncio.to_thread(_list_there, url)
        wrong = [f"{name} is not there." for name in sorted(set(expected) - {table.full_name for table in tables})]
        wrong += [f"{table.full_name} is not of the backup." for table in tables if table.full_name not in expected]
        asked = [
            Table(table.schema, table.name, table.blocks, table.size, table.columns, known.fingerprint, None)
            for table in tables
            if (known := expected.get(table.full_name)) is not None
        ]
        slices = sorted((part for table in asked for part in cut(table)), key=lambda part: -part.size)
        done, total = 0, sum(part.size for part in slices)

        def count(part: Slice) -> None:
            nonlocal done
            done += part.size
            told(CHECKSUMS, done, total)

        sums = await work_through(
            slices, lambda: connect(url, autocommit=True), add_up, connections=connections, done=count
        )  # fmt: skip
    found: dict[str, Sum] = {}
    for part, one in zip(slices, sums, strict=True):
        before = found.get(part.table.full_name, Sum(0, 0, None))
        found[part.table.full_name] = Sum(before.rows + one.rows, before.checksum + one.checksum, None)
    for name, one in sorted(found.items()):
        known = expected[name]
        if one.rows != known.rows:
            wrong.append(f"{name} has {one.rows:,} rows instead of {known.rows:,}.")
        elif one.checksum != known.checksum:
            wrong.append(f"{name} has the {one.rows:,} rows it should, but not with the same content.")
    return wrong


def _list_there(url: URL) -> list[Table]:
    with connect(url) as connection:
        return list_tables(connection)
