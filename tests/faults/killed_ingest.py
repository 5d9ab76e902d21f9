"""An ingest that is killed at a chosen point, run as a process of its own by test_killed_ingest.py."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any
from uuid import UUID

from core.storage_folder import FolderStore
from domain import ingestion
from pipelines import index, ingest, ingest_batch
from rag.fakes import HashEmbedder

POINTS: dict[str, tuple[Any, str, int]] = {
    "read": (FolderStore, "read", 6),
    "parse": (ingest_batch, "read_source", 6),
    "chunk": (ingest_batch, "chunk_document", 3),
    "embed": (HashEmbedder, "embed", 2),
    "original kept": (FolderStore, "write", 3),
    "half of the rows": (index, "_insert", 13),
    "rows written": (ingest_batch, "_write", 3),
    "vanished": (ingestion, "vanish_objects", 1),
}
"""Where to die: right after the n-th call of this function, when some objects are further than others."""


def die_after(owner: Any, name: str, calls: int) -> None:
    """Make the function's n-th call its process's last act."""
    real: Callable[..., Any] = getattr(owner, name)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done >= calls:
            os.kill(os.getpid(), signal.SIGKILL)

    def call(*args: Any, **options: Any) -> Any:
        result = real(*args, **options)
        if not asyncio.iscoroutine(result):
            count()
            return result

        async def wait() -> Any:
            awaited = await result
            count()
            return awaited

        return wait()

    setattr(owner, name, call)


def main(tenant: str, folder: str, point: str) -> None:
    """Ingest the folder."""
    die_after(*POINTS[point])
    asyncio.run(ingest.ingest_source(UUID(tenant), folder, embedder=HashEmbedder(16)))
