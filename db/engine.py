"""One async engine per database role; reached only through `db.session` and migrations."""

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from core.settings import DatabaseSettings
from db.provision import to_driver_url


def build_engine(url: str, settings: DatabaseSettings) -> AsyncEngine:
    """Return an engine whose connections recover from a restarted server and cancel runaway statements."""
    return create_async_engine(
        to_driver_url(url),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_pre_ping=True,
        pool_timeout=30,
        hide_parameters=True,  # an error must not carry people's words into the logs
        connect_args={
            "application_name": "regenesis",
            "connect_timeout": 10,
            "options": f"-c statement_timeout={int(settings.statement_timeout_s * 1000)}",
        },
    )
