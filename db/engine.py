"""One async engine per database role; reached only through `db.session` and migrations."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from core.settings import DatabaseSettings
from db.closing import EVEN_CLOSED, READ, StoreClosed
from db.provision import to_driver_url


def build_engine(url: str, settings: DatabaseSettings, *, even_closed: bool = False) -> AsyncEngine:
    """Return an engine whose connections recover from a restarted server and cancel runaway statements.

    Connecting to a database that is closed raises `StoreClosed`. `even_closed` is for the restore itself: it signs in
    as whoever owns the server and acts as the app's role, so that policies bind it.
    """
    engine = create_async_engine(
        to_driver_url(url),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_pre_ping=True,
        pool_timeout=30,
        hide_parameters=True,  # an error must not carry people's words into the logs
        connect_args={
            "application_name": "regenesis",
            "connect_timeout": 10,
            "options": f"-c statement_timeout={int(settings.statement_timeout_s * 1000)}"
            + (f" {EVEN_CLOSED}" if even_closed else ""),
        },
    )
    event.listen(engine.sync_engine, "connect", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _record: object) -> None:  # noqa: ANN401  # SQLAlchemy's adapter of a connection
    cursor = connection.cursor()
    cursor.execute(READ)
    (closed,) = cursor.fetchone()
    cursor.close()
    connection.rollback()
    if closed:
        raise StoreClosed
