"""Waking up when the database says so: LISTEN on a connection of its own."""

from collections.abc import AsyncIterator

import psycopg
from psycopg import sql

from core.settings import Settings
from db.locate import app_url
from db.provision import to_libpq_url


async def listen(channel: str, settings: Settings) -> AsyncIterator[str]:
    """Yield what is sent to the channel as it comes, at first an empty text once it is heard.

    A lost connection raises psycopg's `OperationalError`; what was sent meanwhile is not heard.
    """
    connection = await psycopg.AsyncConnection.connect(
        to_libpq_url(app_url(settings)), autocommit=True, application_name="regenesis-listen", connect_timeout=10
    )
    async with connection:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield ""
        async for heard in connection.notifies():
            yield heard.payload
