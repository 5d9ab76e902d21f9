"""Delivers the outbox and links noted readings beside the requests, for as long as the service runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.errors import AppError
from core.logging import get_logger
from core.settings import Settings
from domain.reading import link_all
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.handlers import build_registry
from rag.embedding import Embedder

log = get_logger("api.dispatch")


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


@asynccontextmanager
async def link_readings(settings: Settings) -> AsyncIterator[None]:
    """Give noted readings their places in the audit log while the block runs, unless the settings leave it to others.

    Readings of the last moment stay noted, and whoever links next links them.
    """
    if not settings.audit.link:
        yield
        return
    linking = asyncio.create_task(_keep_linking(settings.audit.link_s))
    try:
        yield
    finally:
        linking.cancel()
        await asyncio.gather(linking, return_exceptions=True)


async def _keep_linking(pause_s: float) -> None:
    while True:
        try:
            await link_all()
        except AppError as error:  # the store is away; what waits stays there
            log.warning("readings wait", error=error.message)
        except Exception as defect:  # linking must not end before the service does
            log.exception("linking failed", exc_info=defect)
        await asyncio.sleep(pause_s)
