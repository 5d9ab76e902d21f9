"""Delivers the outbox beside the requests, for as long as the service runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.settings import Settings
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.handlers import build_registry
from rag.embedding import Embedder


@asynccontextmanager
async def deliver_outbox(settings: Settings, embedder: Embedder | None) -> AsyncIterator[None]:
    """Deliver while the block runs, unless the settings leave it to others.

    What is under way at the end is broken off; its claim runs out and it is delivered by the next that looks.
    """
    if not settings.outbox.dispatch:
        yield
        return
    delivering = asyncio.create_task(Dispatcher(build_registry(settings, embedder)).run(settings))
    try:
        yield
    finally:
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
