"""Making a backup: the rows of one moment, copied by several connections, sealed and streamed into a store."""

import asyncio
import secrets
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL

from core.crypto import load_master_key
from core.errors import AppError, Conflict
from core.settings import Settings
from core.storage import ObjectStore, open_store
from db.base import SCHEMAS
from db.closing import StoreClosed, find_closed
from db.locate import owner_url
from pipelines.backup import history
from pipelines.backup.manifest import Manifest, Parts, TableRecord, name_backup, write_manifest
from pipelines.backup.objects import copy_objects
from pipelines.backup.prune import prune
from pipelines.backup.seal import Sealer, make_key
from pipelines.backup.snapshot import (
    Slice,
    Sum,
    Table,
    add_up,
    connect,
    copy_statement,
    cut,
    hold_snapshot,
    join_snapshot,
    list_on_views,
    read_sequences,
)
from pipelines.backup.tools import find_tool, read_major, run_tool
from pipelines.backup.workers import PartWriter, Told, tell_nobody, translating, work_through

_BATCH_BYTES, _BATCH_ROWS = 1 << 20, 2_000


class SameStore(Conflict):
    """Backups must not lie among the objects they are of; give another folder or prefix in REGENESIS_BACKUP__URL."""


@dataclass(frozen=True, slots=True)
class _Copied:
    part: Slice
    parts: Parts
    sum: Sum


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the snapshot is of; `on_views` as in the manifest."""

    wal_position: str
    at: datetime
    server_version: int
    revision: str
    sequences: dict[str, tuple[int, bool]]
    on_views: list[int]


@dataclass(frozen=True, slots=True)
class _Writing:
    """A backup that is being written."""

    settings: Settings
    url: URL
    store: ObjectStore
    id: str
    sealer: Sealer
    told: Told
    loop: asyncio.AbstractEventLoop

    def write_to(self, name: str) -> PartWriter:
        """Return what writes the parts of this name."""
        return PartWriter(self.store, self.sealer, self.id, name, self.loop)


async def back_up(
    settings: Settings, *, to: str | None = None, with_objects: bool | None = None, told: Told = tell_nobody
) -> Manifest:
    """Back up the whole store and return the manifest; older backups are pruned as the settings say.

    One snapshot of the database, without a pause for anybody; the objects are listed after it, so all it refers to are
    among them. Success and failure are remembered in `platform.backups`. Raises `StoreClosed`, `SameStore`,
    `BoundByPolicies`, `ToolMissing`, `StoreChanging`, and whatever the stores raise.
    """
    url = await asyncio.to_thread(owner_url, settings)
    if await asyncio.to_thread(find_closed, url) is not None:
        raise StoreClosed
    store = open_store(to or settings.backup_url, settings.storage)
    if f"{store.url}/".startswith(f"{open_store(settings.storage_url, settings.storage).url}/"):
        raise SameStore
    started = datetime.now(UTC)
    backup_id = name_backup(started, secrets.token_hex(3))
    copies = settings.backup.with_objects if with_objects is None else with_objects
    master_key = load_master_key(settings)
    sealer, wrapped = await make_key(master_key, backup_id)
    writing = _Writing(settings, url, store, backup_id, sealer, told, asyncio.get_running_loop())
    try:
        manifest = await _write(writing, started, copies=copies)
        await write_manifest(store, manifest, sealer, master_key.id, wrapped)
    except AppError as error:
        await history.note_failed_backup(url, backup_id, started, store.url, error.message)
        raise
    await history.note_backup(url, manifest, store.url)
    await history.note_pruned(url, await prune(store, settings.backup, master_key))
    return manifest


async def _write(writing: _Writing, started: datetime, *, copies: bool) -> Manifest:
    with translating(), hold_snapshot(writing.url) as (holder, snapshot, tables):
        moment = _describe(holder)
        dump = find_tool("pg_dump", moment.server_version // 10_000)
        dumping = asyncio.create_task(asyncio.to_thread(_dump_schema, writing, dump, snapshot))
        try:
            copied = await _copy_rows(writing, snapshot, tables)
        finally:
            (schema,) = await asyncio.gather(dumping, return_exceptions=True)
        if isinstance(schema, BaseException):
            raise schema
    objects = await copy_objects(
        writing.settings, writing.write_to, copies=copies, told=writing.told
    )  # fmt: skip
    return Manifest(
        id=writing.id, product_version=version("regenesis"), revision=moment.revision,
        server_version=moment.server_version, dump_version=read_major(dump) or 0, started_at=started,
        snapshot_at=moment.at, finished_at=datetime.now(UTC),
        newest_row_at=max((one.sum.newest for one in copied if one.sum.newest is not None), default=None),
        wal_position=moment.wal_position, tables=_sum_up(copied), sequences=moment.sequences, schema=schema,
        on_views=moment.on_views, storage_url=writing.settings.storage_url, objects=objects.count,
        object_bytes=objects.size, object_list=objects.listed, copies=copies, copied=objects.copies,
    )  # fmt: skip


def _describe(holder: psycopg.Connection) -> _Moment:
    row = holder.execute(
        "SELECT pg_current_wal_lsn()::text, now(), current_setting('server_version_num')::int, version_num "
        "FROM public.alembic_version"
    ).fetchone()
    assert row is not None  # noqa: S101  # a migrated store has one row there
    return _Moment(row[0], row[1], row[2], row[3], read_sequences(holder), list_on_views(holder))


def _dump_schema(writing: _Writing, tool: Path, snapshot: str) -> Parts:
    """Write pg_dump's archive of everything but rows: tables, guards, functions, partitions as they are now."""
    writer = writing.write_to("schema")
    with tempfile.TemporaryDirectory(prefix="regenesis-backup-") as folder:
        path = Path(folder) / "schema.dump"
        with connect(writing.url, autocommit=True) as connection:
            others = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname <> ALL (%s) AND nspname !~ '^pg_'",
                [[*SCHEMAS, "public", "information_schema"]],
            ).fetchall()
        left_out = [f'--exclude-schema="{name}"' for (name,) in others]
        run_tool(
            tool,
            ["--schema-only", "--format=custom", "--no-publications", "--no-subscriptions", "--no-tablespaces",
             f"--snapshot={snapshot}", f"--file={path}", *left_out],
            writing.url,
        )  # fmt: skip
        with path.open("rb") as file:
            while content := file.read(_BATCH_BYTES):
                writer.write(content)
    return writer.close()


async def _copy_rows(writing: _Writing, snapshot: str, tables: list[Table]) -> list[_Copied]:
    numbers = {table: number for number, table in enumerate(tables)}
    # The longest come first, so that all connections end at about the same time.
    slices = sorted((part for table in tables for part in cut(table)), key=lambda part: -part.size)
    total, finished = sum(part.size for part in slices), 0

    def join() -> psycopg.Connection:
        connection = connect(writing.url, autocommit=True)
        join_snapshot(connection, snapshot)
        return connection

    def copy(connection: psycopg.Connection, part: Slice) -> _Copied:
        writer = writing.write_to(f"rows/{numbers[part.table]:04d}-{part.first:08d}")
        with connection.cursor() as cursor, cursor.copy(copy_statement(part)) as rows:
            while batch := b"".join(islice(rows, _BATCH_ROWS)):
                writer.write(batch)
        return _Copied(part, writer.close(), add_up(connection, part))

    def count(part: Slice) -> None:
        nonlocal finished
        finished += part.size
        writing.told("rows", finished, total)

    return await work_through(slices, join, copy, connections=writing.settings.backup.connections, done=count)


def _sum_up(copied: list[_Copied]) -> list[TableRecord]:
    by_table: dict[Table, list[_Copied]] = {}
    for one in sorted(copied, key=lambda one: (one.part.table.full_name, one.part.first)):
        by_table.setdefault(one.part.table, []).append(one)
    return [
        TableRecord(
            table.full_name, list(table.columns), table.fingerprint, sum(one.sum.rows for one in slices),
            sum(one.sum.checksum for one in slices), [one.parts for one in slices],
        )
        for table, slices in by_table.items()
    ]  # fmt: skip
