"""Waiting for what another transaction does, by its locks and not by the clock."""

import asyncio
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_BLOCKED = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")


async def until_blocked(session: AsyncSession, task: "asyncio.Task[Any]") -> None:
    """Return as soon as a statement waits for what this session's transaction holds; the task must not end before."""
    while not await session.scalar(_BLOCKED):
        assert not task.done(), "it did not wait"
        await asyncio.sleep(0.01)
