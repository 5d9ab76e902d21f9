"""An erasure that is killed within a chosen step, run as a process of its own by test_killed_erasure.py."""

import asyncio
import os
import signal
from collections import Counter
from typing import Any
from uuid import UUID

from pipelines.privacy import erase
from tests.factories.sessions import EMBEDDER
from tests.faults.killed_ingest import die_after


def die_within(step: str) -> None:
    """Die when the step's work is done and nothing says so yet: what it did in its transaction is lost with it."""
    asked, tell = Counter[str](), erase._is_step

    def count(run: Any, named: str) -> Any:
        asked[named] += 1
        if named == step and asked[named] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return tell(run, named)

    erase._is_step = count  # type: ignore[assignment]  # its counting twin


def main(tenant: str, request: str, point: str) -> None:
    """Carry the request out."""
    if point == "collect":
        die_after(erase, "_freeze", 1)
    else:
        die_within(point)
    asyncio.run(erase.erase_subject(UUID(tenant), UUID(request), embedder=EMBEDDER))
