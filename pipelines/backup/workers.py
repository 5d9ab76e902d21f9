"""Threads that each hold a connection and take one piece of work after the other; the event loop asks the store."""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from core.errors import AppError, Unavailable
from core.storage import ObjectStore
from pipelines.backup.manifest import Parts
from pipelines.backup.seal import MOST_PART_BYTES, PART_BYTES, Sealer

T = TypeVar("T")
Work = TypeVar("Work")

Told = Callable[[str, int, int], None]
"""Hears of a phase, how much of it is done, and of how much."""


def tell_nobody(_phase: str, _done: int, _all: int) -> None:
    """Hear of a phase's progress and forget it."""


class DatabaseFailed(Unavailable):
    """The database refused a step of this; look at its log, then run the command again."""


@contextmanager
def translating() -> Iterator[None]:
    """Turn the driver's errors into one sentence of ours."""
    try:
        yield
    except psycopg.Error as error:
        said = " ".join(str(error).split())[:300]
        raise DatabaseFailed(
            f"The database refused ({type(error).__name__}: {said}); mend that and run the command again."
        ) from error


async def work_through(
    pieces: Sequence[Work],
    connect: Callable[[], psycopg.Connection],
    do: Callable[[psycopg.Connection, Work], T],
    *,
    connections: int,
    done: Callable[[Work], None] = lambda _: None,
) -> list[T]:
    """Return what `do` returns for every piece, in their order; the first failure stops the others and is raised.

    `do` runs in a thread, on the connection that thread keeps; pieces are begun in the order given.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(pieces)):
        waiting.put(number)
    results: dict[int, T] = {}
    stop = threading.Event()

    def work() -> None:
        with translating():
            try:
                with connect() as connection:
                    while not stop.is_set():
                        try:
                            number = waiting.get_nowait()
                        except queue.Empty:
                            return
                        results[number] = do(connection, pieces[number])
                        done(pieces[number])
            except BaseException:
                stop.set()
                raise

    loop, count = asyncio.get_running_loop(), max(min(connections, len(pieces)), 1)
    # Threads of their own: they wait for the store, which does its work in the threads that are everybody's.
    with ThreadPoolExecutor(count, thread_name_prefix="backup") as pool:
        threads = [loop.run_in_executor(pool, work) for _ in range(count)]
        try:
            ended = await asyncio.gather(*threads, return_exceptions=True)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.gather(*threads, return_exceptions=True)
            raise
    failures = [one for one in ended if isinstance(one, BaseException)]
    if failures:
        raise next((one for one in failures if isinstance(one, AppError)), failures[0])
    return [results[number] for number in range(len(pieces))]


class PartWriter:
    """Cuts a stream into parts, seals them and writes them to the store; to be used from a thread.

    While one part is on its way to the store the next one is filled, so memory stays bounded.
    """

    def __init__(
        self, store: ObjectStore, sealer: Sealer, backup_id: str, name: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._store, self._sealer, self._loop = store, sealer, loop
        self._backup_id, self._name = backup_id, name
        self._filling = bytearray()
        self._count = self._size = 0
        self._underway: Any = None

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        self._filling += content
        while len(self._filling) >= PART_BYTES:
            self._send(bytes(memoryview(self._filling)[:PART_BYTES]))
            del self._filling[:PART_BYTES]

    def close(self) -> Parts:
        """Write what is left and return what was written; an empty stream is one empty part."""
        if self._filling or not self._count:
            self._send(bytes(self._filling))
            self._filling.clear()
        self._settle()
        return Parts(self._name, self._count, self._size)

    def _send(self, content: bytes) -> None:
        key = f"{self._name}.{self._count:06d}"
        sealed = self._sealer.seal(key, content)
        self._count, self._size = self._count + 1, self._size + len(sealed)
        self._settle()
        self._underway = on_loop(self._loop, self._store.write(f"{self._backup_id}/{key}", sealed))

    def _settle(self) -> None:
        if self._underway is not None:
            self._underway.result()
            self._underway = None


def read_parts(
    store: ObjectStore, sealer: Sealer, backup_id: str, parts: Parts, loop: asyncio.AbstractEventLoop
) -> Iterator[bytes]:
    """Yield the opened parts in order, from a thread; the next one is fetched meanwhile. Raises `BackupDamaged`."""
    keys = parts.keys()

    def fetch(number: int) -> Any:  # noqa: ANN401  # a future of bytes
        return on_loop(loop, store.read(f"{backup_id}/{keys[number]}", max_bytes=MOST_PART_BYTES))

    coming = fetch(0)
    for number, key in enumerate(keys):
        sealed = coming.result()
        if number + 1 < len(keys):
            coming = fetch(number + 1)
        yield sealer.open(key, sealed)


def on_loop(loop: asyncio.AbstractEventLoop, asked: Coroutine[Any, Any, T]) -> Any:  # noqa: ANN401  # a future of T
    """Let the event loop do this, and return what can be waited for in a thread."""
    return asyncio.run_coroutine_threadsafe(asked, loop)
