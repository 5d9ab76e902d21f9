"""Stores a run's results beside the questions under way, those of half a second together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from evaluation.records import CaseResult

HOLD_SECONDS: Final = 0.5
"""How long a result waits for others: what a run that is killed may lose."""

Store = Callable[[Sequence[CaseResult]], Awaitable[None]]


class Keeper:
    """Takes results and stores them soon, in their order."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store
        self._waiting: list[CaseResult] = []
        self._closing: Final = asyncio.Event()
        self._storing: asyncio.Task[None] | None = None

    def keep(self, result: CaseResult) -> None:
        """Take a result; raises what storing earlier ones did."""
        if self._storing is not None and self._storing.done():
            self._storing.result()
            self._storing = None
        self._waiting.append(result)
        if self._storing is None:
            self._storing = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Store what still waits; raises what storing did."""
        self._closing.set()
        if self._storing is not None:
            await self._storing

    async def _drain(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), HOLD_SECONDS)
            together, self._waiting = self._waiting, []
            await self._store(together)


@asynccontextmanager
async def keeping(store: Store) -> AsyncIterator[Keeper]:
    """Yield a keeper; whatever ends the block, all that it took is stored after it."""
    keeper = Keeper(store)
    try:
        yield keeper
    finally:
        await keeper.close()
