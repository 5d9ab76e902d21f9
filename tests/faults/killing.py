"""Processes that die at a chosen point: forked from one that has imported everything, as importing takes seconds."""

import asyncio
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, Final

PATIENCE_S: Final = 120.0

_forking: Final = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(
    [f"tests.faults.killed_{name}" for name in ("build", "erasure", "ingest", "outbox", "restore")]
)


async def run_and_die(main: Callable[..., None], *given: str, environment: Mapping[str, str] | None = None) -> None:
    """Run `main` of a module `killed_…` in a process of its own; fails unless it was killed."""
    told, tell = _forking.Pipe(duplex=False)
    process = _forking.Process(target=_begin, args=(main, given, dict(os.environ) | dict(environment or {}), tell))
    process.start()
    tell.close()
    await asyncio.to_thread(process.join, PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{given[-1]} was not reached.")
    assert process.exitcode == -signal.SIGKILL, _read(told)


def _begin(main: Callable[..., None], given: tuple[str, ...], environment: dict[str, str], tell: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    try:
        main(*given)
    except BaseException:
        tell.send(traceback.format_exc())
        raise


def _read(told: Connection) -> Any:
    try:
        return told.recv()
    except EOFError:
        return "It ended, and nobody killed it."
