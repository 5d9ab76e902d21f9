"""What runs in a child can hang, crash or hog memory without harm."""

import asyncio
import ctypes
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from pipelines import isolation
from pipelines.documents import parse_document
from pipelines.documents.errors import UnknownFormat
from pipelines.isolation import ReaderCrashed, TookTooLong, TookTooMuchMemory, end_idle_children, run_isolated

SECONDS = 60.0
MEMORY = 1 << 30


@pytest.fixture(autouse=True)
def no_idle_children() -> Iterator[None]:
    """Start and end without children, so that each test counts its own."""
    end_idle_children()
    yield
    end_idle_children()


def list_children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "pipelines.isolation" in " ".join(child.cmdline())}


async def test_results_come_back_from_another_process_that_stays() -> None:
    first = await run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY)
    second = await run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY)
    assert first == second != os.getpid()
    assert list_children() == {first}


async def test_a_hang_ends_with_its_process() -> None:
    with pytest.raises(TookTooLong):
        await run_isolated(time.sleep, 600, seconds=0.5, memory_bytes=MEMORY)
    assert list_children() == set()


async def test_a_crash_of_c_code_is_an_error() -> None:
    with pytest.raises(ReaderCrashed):
        await run_isolated(ctypes.string_at, 0, seconds=SECONDS, memory_bytes=MEMORY)
    assert await run_isolated(sorted, [2, 1], seconds=SECONDS, memory_bytes=MEMORY) == [1, 2]


async def test_too_much_memory_is_an_error() -> None:
    with pytest.raises(TookTooMuchMemory):
        await run_isolated(bytearray, 2 * MEMORY, seconds=SECONDS, memory_bytes=MEMORY)
    assert list_children() == set()


async def test_memory_limits_are_per_call() -> None:
    numbers = range(2_000_000)  # sorting them takes about 80 MB
    median: Callable[[range], float] = statistics.median
    with pytest.raises(TookTooMuchMemory):
        await run_isolated(median, numbers, seconds=SECONDS, memory_bytes=64 << 20)
    assert await run_isolated(median, numbers, seconds=SECONDS, memory_bytes=MEMORY) == 999_999.5


async def test_a_refusal_keeps_its_type_and_words() -> None:
    with pytest.raises(UnknownFormat, match=r"^a looks like a PNG image;"):
        await run_isolated(parse_document, "a", b"\x89PNG\r\n\x1a\n" + bytes(40), seconds=SECONDS, memory_bytes=MEMORY)
    assert len(list_children()) == 1


async def test_any_other_error_keeps_its_trace() -> None:
    with pytest.raises(ReaderCrashed) as raised:
        await run_isolated(int, "no number", seconds=SECONDS, memory_bytes=MEMORY)
    assert "invalid literal" in str(raised.value.context["trace"])


async def test_a_result_that_cannot_travel_is_an_error() -> None:
    with pytest.raises(ReaderCrashed) as raised:
        await run_isolated(threading.Lock, seconds=SECONDS, memory_bytes=MEMORY)
    assert "pickle" in str(raised.value.context["trace"])


async def test_cancelling_the_caller_ends_the_process() -> None:
    task = asyncio.create_task(run_isolated(time.sleep, 600, seconds=SECONDS, memory_bytes=MEMORY))
    await asyncio.sleep(0)  # the task starts its child
    assert len(list_children()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list_children() == set()


async def test_a_child_that_died_idle_is_replaced() -> None:
    first = await run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY)
    child = psutil.Process(first)
    child.kill()
    while child.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110  # the system has no event for it
        await asyncio.sleep(0.01)
    assert await run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY) != first


async def test_many_calls_share_a_bounded_number_of_children() -> None:
    calls = [run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY) for _ in range(50)]
    assert len(set(await asyncio.gather(*calls))) <= isolation.WORKERS


async def test_waiting_for_a_turn_does_not_count() -> None:
    calls = [run_isolated(time.sleep, 0.4, seconds=3.0, memory_bytes=MEMORY) for _ in range(isolation.WORKERS * 9)]
    assert await asyncio.gather(*calls) == [None] * len(calls)


async def test_children_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGENESIS_LLM__API_KEY", "secret")
    assert await run_isolated(os.getenv, "REGENESIS_LLM__API_KEY", seconds=SECONDS, memory_bytes=MEMORY) is None
    assert await run_isolated(os.getenv, "DO_NOT_TRACK", seconds=SECONDS, memory_bytes=MEMORY) == "1"


async def test_an_orphan_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        isolation, "CHILD_PROGRAM", "import pipelines.isolation as i; i.ORPHAN_SECONDS = -59.5; i.serve()"
    )
    with pytest.raises(ReaderCrashed):
        await run_isolated(time.sleep, 600, seconds=SECONDS, memory_bytes=MEMORY)


async def test_a_large_parent_does_not_make_its_children_retire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        isolation, "CHILD_PROGRAM", "import pipelines.isolation as i; i.RETIRE_ABOVE_BYTES = 256 << 20; i.serve()"
    )
    ballast = bytes(1) * (512 << 20)  # a child's peak, as the kernel counts it, starts from its parent's size
    calls = [await run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY) for _ in range(2)]
    assert calls[0] == calls[1]
    del ballast


async def test_a_child_that_holds_much_memory_retires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        isolation, "CHILD_PROGRAM", "import pipelines.isolation as i; i.RETIRE_ABOVE_BYTES = 1 << 20; i.serve()"
    )
    calls = [await run_isolated(os.getpid, seconds=SECONDS, memory_bytes=MEMORY) for _ in range(2)]
    assert calls[0] != calls[1]


async def test_chatter_does_not_reach_the_replies() -> None:
    assert await run_isolated(os.write, 1, b"chatter", seconds=SECONDS, memory_bytes=MEMORY) == 7
    assert await run_isolated(sorted, [2, 1], seconds=SECONDS, memory_bytes=MEMORY) == [1, 2]
