"""Keeps one piece of work to one process at a time, across all machines; PostgreSQL frees it when the process dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict
from db.session import app_engine

POLL_S: Final = 1.0


@asynccontextmanager
async def hold(tenant_id: UUID, name: str, *, busy: Conflict, wait_s: float = 0) -> AsyncIterator[None]:
    """Keep every other holder of this name in this tenant off; raises `busy` after waiting so long.

    It is held by a connection of its own outside of any transaction, as the work may take hours.
    """
    key = {"key": _name_key(tenant_id, name)}
    async with app_engine().connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        deadline = asyncio.get_running_loop().time() + wait_s
        while not await connection.scalar(text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))"), key):
            if asyncio.get_running_loop().time() >= deadline:
                raise busy
            await asyncio.sleep(POLL_S)
        try:
            yield
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)


async def is_held(session: AsyncSession, tenant_id: UUID, name: str) -> bool:
    """Tell whether somebody holds this name; where nobody does, nobody begins to before this transaction ends."""
    key = {"key": _name_key(tenant_id, name)}
    return not await session.scalar(text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))"), key)


def _name_key(tenant_id: UUID, name: str) -> str:
    return f"regenesis/{tenant_id}/{name}"
