"""Run a function on foreign input in a child process that can be killed, so that no file harms the service.

Children stay warm and are used again, as importing a parser costs more than most files take. A child gets no
environment beyond what Python needs, so no passwords either. It is spoken to in pickle over two pipes.
"""

import asyncio
import atexit
import os
import pickle
import signal
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, TypeVarTuple

import psutil

from core.errors import AppError
from pipelines.parsed import UnreadableSource

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

WORKERS = min(4, os.cpu_count() or 1)
# Parsers leak and fragment: a child ends after this many calls, or once it holds this much memory after one.
CALLS_PER_CHILD = 500
RETIRE_ABOVE_BYTES = 1 << 30
# A child whose parent is gone is ended by the kernel this long after its time limit.
ORPHAN_SECONDS = 5.0
MAX_TRACEBACK_CHARACTERS = 4_000

KEPT_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TMPDIR")
CHILD_ENVIRONMENT = {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CHILD_PROGRAM = "from pipelines.isolation import serve; serve()"


class TookTooLong(UnreadableSource):
    """This file took too long to read; split it into smaller files and upload them."""


class TookTooMuchMemory(UnreadableSource):
    """This file needs too much memory to read; split it into smaller files and upload them."""


class ReaderCrashed(UnreadableSource):
    """This file made its reader crash; open it in its own program, save it anew and upload it again."""


class _Reply(NamedTuple):
    """What a child sends back; after `keep` is false it ends."""

    outcome: Literal["returned", "refused", "out of memory", "failed"]
    value: Any
    keep: bool


async def run_isolated(
    function: Callable[[*Arguments], Result], *args: *Arguments, seconds: float, memory_bytes: int
) -> Result:
    """Call a module-level function in a child process and return its result; all must be picklable.

    At most `WORKERS` calls of an event loop run at once; waiting for a turn does not count into `seconds`.
    When the time is up, or the caller is cancelled, the child is killed. The memory limit is on what the child
    allocates (RLIMIT_DATA), which only Linux enforces.

    Raises TookTooLong, TookTooMuchMemory, ReaderCrashed, or the AppError that the function raised.
    """
    loop = asyncio.get_running_loop()
    async with _turns.setdefault(loop, asyncio.Semaphore(WORKERS)):
        child = _take_child()
        reply: _Reply | None = None
        try:
            async with asyncio.timeout(seconds):
                reply = await loop.run_in_executor(_threads, child.call, function, args, seconds, memory_bytes)
        except TimeoutError as error:
            raise TookTooLong from error
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ReaderCrashed from error
        finally:
            if reply is not None and reply.keep:
                _idle.append(child)
            else:
                child.end()
    result: Result = _unwrap(reply)
    return result


def end_idle_children() -> None:
    """End every child that has nothing to do, for a clean exit."""
    while _idle:
        _idle.pop().end()


def serve() -> None:
    """Answer calls until the parent goes away: the whole life of a child."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # a chatty library must not write into the replies
        os.dup2(silence, stream)
    for number in range(1, CALLS_PER_CHILD + 1):
        try:
            packed, seconds, memory_bytes = pickle.load(requests)  # noqa: S301  # written by our own parent
        except EOFError:
            return
        reply = _attempt(packed, seconds, memory_bytes)
        if number == CALLS_PER_CHILD or psutil.Process().memory_info().rss > RETIRE_ABOVE_BYTES:
            reply = reply._replace(keep=False)
        replies.write(_pack(reply))
        replies.flush()
        if not reply.keep:
            return


class _Child:
    """One child process; used by one call at a time."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[1])
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment |= CHILD_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), root])}
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and a constant program
            [sys.executable, "-P", "-c", CHILD_PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def call(self, function: Callable[..., object], args: tuple[object, ...], *limits: float) -> _Reply:
        """Send the call and wait for the reply, in a thread; ends with EOFError or OSError when the child dies."""
        assert self._process.stdin is not None  # noqa: S101  # both are pipes
        assert self._process.stdout is not None  # noqa: S101
        pickle.dump((pickle.dumps((function, args)), *limits), self._process.stdin)
        self._process.stdin.flush()
        reply: _Reply = pickle.load(self._process.stdout)  # noqa: S301  # written by our own child
        return reply

    def end(self) -> None:
        """Kill the process and let go of its pipes; a thread that waits for it wakes up."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent can't be sent any more
                    pipe.close()


def _take_child() -> _Child:
    while _idle:
        child = _idle.pop()
        if child.is_alive:
            return child
        child.end()
    return _Child()


def _unwrap(reply: _Reply) -> Any:  # noqa: ANN401  # whatever the function returned
    if reply.outcome == "returned":
        return reply.value
    if reply.outcome == "refused":
        raise reply.value
    if reply.outcome == "out of memory":
        raise TookTooMuchMemory
    raise ReaderCrashed(trace=reply.value)


def _attempt(packed: bytes, seconds: float, memory_bytes: int) -> _Reply:
    _set_limits(seconds + ORPHAN_SECONDS, memory_bytes)
    try:
        function, args = pickle.loads(packed)  # noqa: S301  # written by our own parent
        return _Reply("returned", function(*args), keep=True)
    except AppError as error:
        return _Reply("refused", error, keep=True)
    except MemoryError:
        return _Reply("out of memory", None, keep=False)
    except BaseException:  # noqa: BLE001  # whatever a parser raises, the parent must hear of it
        return _Reply("failed", traceback.format_exc()[-MAX_TRACEBACK_CHARACTERS:], keep=False)
    finally:
        _set_limits(0, None)


def _pack(reply: _Reply) -> bytes:
    try:
        return pickle.dumps(reply)
    except Exception:  # noqa: BLE001  # a result that can't travel is a failure of the function
        return pickle.dumps(_Reply("failed", traceback.format_exc()[-MAX_TRACEBACK_CHARACTERS:], keep=False))


def _set_limits(seconds: float, memory_bytes: int | None) -> None:
    """Limit this process; zero seconds and no bytes mean no limit."""
    if sys.platform == "win32":
        return  # has neither; the parent's clock still holds
    import resource  # not on Windows

    signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends a process that does not handle it
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if memory_bytes is None else memory_bytes, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the file's words


_idle: list[_Child] = []
_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()
# More threads than turns: a killed call's thread may need a moment to notice.
_threads = ThreadPoolExecutor(max_workers=2 * WORKERS, thread_name_prefix="isolation")
atexit.register(end_idle_children)
