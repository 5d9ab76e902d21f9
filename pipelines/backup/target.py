"""The database a backup goes into: whether it is empty, how it is emptied, and how far a restore came."""

from dataclasses import dataclass
from typing import Final, Literal

import psycopg
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy.engine import URL

from core.errors import Conflict, Invalid
from db.base import SCHEMAS
from db.closing import close_database, end_sessions, find_closed, let_in, open_database, shut_out
from db.migrate import MIGRATIONS
from pipelines.backup.manifest import BackupNewer, Manifest
from pipelines.backup.snapshot import connect

Stage = Literal["loading", "loaded", "proved"]
"""How far a restore came: rows are on their way · all is there, behind its guards · it is what the backup says."""
STAGES: Final[tuple[Stage, ...]] = ("loading", "loaded", "proved")


class DatabaseNotEmpty(Conflict):
    """This database holds a store already; give another one with --into, or replace it with --replace."""


class ServerTooOld(Invalid):
    """This PostgreSQL is older than the one the backup is of; restore into one that is as new."""


class NothingToFinish(Conflict):
    """No restore of this database is unfinished; start one with `regenesis db restore BACKUP`."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A restore that was begun and is not finished: its database is closed."""

    backup_id: str
    stage: Stage


def find_unfinished(url: URL) -> Unfinished | None:
    """Return the restore this database is closed for, None where it is open."""
    backup_id, _, stage = (find_closed(url) or "").partition(" ")
    return Unfinished(backup_id, next((one for one in STAGES if one == stage), "loading")) if backup_id else None


def is_empty(url: URL) -> bool:
    """Tell whether nothing would be lost: no tables of ours, or no organisation in them."""
    with connect(url) as connection:
        row = connection.execute("SELECT to_regclass('platform.tenants') IS NOT NULL").fetchone()
        if not row or not row[0]:
            return True
        held = connection.execute("SELECT EXISTS (SELECT FROM platform.tenants)").fetchone()
    return held == (False,)


def check_fits(url: URL, manifest: Manifest) -> int:
    """Return the server's major version; raises `ServerTooOld`, `BackupNewer` where this can't be restored here."""
    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if manifest.revision not in known:
        raise BackupNewer(
            f"The backup {manifest.id} is at revision {manifest.revision}, which this version does not know; "
            f"restore it with version {manifest.product_version} or newer."
        )
    with connect(url) as connection:
        major = connection.info.server_version // 10_000
    if major < manifest.server_version // 10_000:
        raise ServerTooOld(
            f"The backup {manifest.id} is of PostgreSQL {manifest.server_version // 10_000}, this is {major}; "
            "restore it into one that is as new."
        )
    return major


def empty(url: URL, backup_id: str) -> None:
    """Close the database and remove every table of ours."""
    with connect(url, autocommit=True) as connection:
        close_database(connection, f"{backup_id} loading")
        shut_out(connection)
        with connection.transaction():
            for schema in SCHEMAS:
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
            connection.execute("DROP TABLE IF EXISTS public.alembic_version")


def reach(url: URL, backup_id: str, stage: Stage) -> None:
    """Note how far the restore came; once the guards stand, everybody may connect and be told that it is closed."""
    with connect(url, autocommit=True) as connection:
        close_database(connection, f"{backup_id} {stage}")
        if stage == "loaded":
            let_in(connection)


def open_to_all(url: URL) -> None:
    """End the restore."""
    with connect(url, autocommit=True) as connection:
        open_database(connection)
        end_sessions(connection)


def finish_rows(connection: psycopg.Connection, manifest: Manifest) -> None:
    """Set the sequences and count the views anew."""
    for name, (last, called) in manifest.sequences.items():
        connection.execute("SELECT setval(%s::regclass, %s, %s)", [name, last, called])
    views = connection.execute(
        "SELECT schemaname, matviewname FROM pg_matviews WHERE schemaname = ANY (%s) ORDER BY 1, 2", [list(SCHEMAS)]
    ).fetchall()
    # A view is counted by its owner, who is bound, and whom policies let read what is counted.
    connection.execute("SET row_security = on")
    for schema, view in views:
        connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, view)))


def analyze(connection: psycopg.Connection, table: tuple[str, str]) -> None:
    """Let the planner know the table; an empty one is left alone, see `db.migrate.EXPECT_MANY_ROWS_A_TENANT`."""
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))


def list_filled(url: URL) -> list[tuple[str, str]]:
    """Return the tables that hold rows, and the partitioned ones over such, largest first."""
    with connect(url) as connection:
        return connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, "
            "LATERAL (SELECT coalesce(sum(pg_relation_size(relid)), 0) AS size FROM pg_partition_tree(c.oid)) parts, "
            "LATERAL (SELECT pg_relation_size(c.oid) AS size) own "
            "WHERE n.nspname = ANY (%s) AND NOT c.relispartition AND c.relkind IN ('r', 'p') "
            "AND greatest(own.size, parts.size) > 0 ORDER BY greatest(own.size, parts.size) DESC, 1, 2",
            [list(SCHEMAS)],
        ).fetchall()
