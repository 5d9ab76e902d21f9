"""Payments of one organisation take turns, so that they do not meet in the database and try again for nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Principal, run_serializable

T = TypeVar("T")

_turns: WeakValueDictionary[tuple[int, UUID], asyncio.Lock] = WeakValueDictionary()


async def run_in_turn(principal: Principal, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Return what `work` returns, run as `run_serializable` does, one of the tenant's at a time in this process.

    Whoever waits holds no connection. This only saves attempts: other processes' payments are kept apart by the
    database, as are these without it.
    """
    key = id(asyncio.get_running_loop()), principal.tenant_id
    turn = _turns.get(key)
    if turn is None:
        turn = _turns[key] = asyncio.Lock()
    async with turn:
        return await run_serializable(principal, work)
