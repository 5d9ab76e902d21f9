"""A database that is closed: while it is restored, nobody but the restore may sign in.

Closed is a setting of the database itself, so it holds before there is a single table and after a restore was killed.
Every connection the product opens reads it once, as it is opened; there it costs no transaction anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from core.errors import Unavailable
from db.provision import APP, to_libpq_url

SETTING: Final = "app.closed"
"""Says what the database is closed for; empty or unknown: it is open."""
EVEN_CLOSED: Final = f"-c {SETTING}= -c role={APP}"
"""What a connection's options say where it belongs to the restore itself: an operator's, that acts as the app."""
RESTORING: Final = (0x5247, 1)
"""The two numbers of the advisory lock that whoever restores a database holds in it."""
READ: Final = f"SELECT coalesce(current_setting('{SETTING}', true), '')"


class StoreClosed(Unavailable):
    """The store is closed until its restore is finished; wait for it, or run `regenesis db restore --finish`."""


def find_closed(url: URL) -> str | None:
    """Return what the database is closed for, None where it is open."""
    with psycopg.connect(to_libpq_url(url)) as connection:
        row = connection.execute(READ).fetchone()
    return (row[0] or None) if row else None


def close_database(connection: psycopg.Connection, note: str) -> None:
    """Close the database this connection is in, to everyone who connects from now on."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} SET app.closed = {}").format(sql.Identifier(_name(connection)), sql.Literal(note))
    )


def open_database(connection: psycopg.Connection) -> None:
    """Open it again."""
    connection.execute(sql.SQL("ALTER DATABASE {} RESET app.closed").format(sql.Identifier(_name(connection))))


def shut_out(connection: psycopg.Connection) -> None:
    """Let nobody connect but superusers and whoever is named, and end the sessions there are.

    For the time when rows are there and their policies are not yet.
    """
    name = sql.Identifier(_name(connection))
    connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
    end_sessions(connection)


def let_in(connection: psycopg.Connection) -> None:
    """Let everybody connect again, as PostgreSQL does unless told otherwise."""
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(_name(connection))))


def end_sessions(connection: psycopg.Connection) -> None:
    """End every other session of this database, but the one that says a restore is on.

    Pools of living processes open new ones, which read the setting.
    """
    connection.execute(
        "SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a "
        "WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' "
        "AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted "
        "AND (l.classid, l.objid, l.objsubid) = (%s, %s, 2))",
        RESTORING,
    )


@contextmanager
def hold_alone(url: URL) -> Iterator[bool]:
    """Be the only restore of this database, whatever its process; yields whether this one is."""
    with psycopg.connect(to_libpq_url(url), autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", RESTORING).fetchone()
        yield row == (True,)


def _name(connection: psycopg.Connection) -> str:
    return connection.info.dbname
