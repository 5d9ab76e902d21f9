"""What a run brings is stored together and soon, and nothing of it is lost however the run ends."""

import asyncio
from collections.abc import Sequence

import pytest

from core.errors import Unavailable
from evaluation import keeping as subject
from evaluation.keeping import keeping
from evaluation.records import CaseResult


def make_result(number: int) -> CaseResult:
    return CaseResult(case_id=f"case-{number}", repeat=1, status="scored", scores={})


class Store:
    """Notes what is stored together; `fails` is raised instead."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.fails: Exception | None = None
        self.called = asyncio.Event()

    async def __call__(self, results: Sequence[CaseResult]) -> None:
        self.called.set()
        if self.fails:
            raise self.fails
        self.batches.append([one.case_id for one in results])


async def test_what_comes_at_once_is_stored_at_once_in_its_order() -> None:
    store = Store()
    async with keeping(store) as keeper:
        for number in range(3):
            keeper.keep(make_result(number))
    assert store.batches == [["case-0", "case-1", "case-2"]]


async def test_results_are_stored_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HOLD_SECONDS", 0.01)
    store = Store()
    async with keeping(store) as keeper:
        for number in range(2):
            store.called.clear()
            keeper.keep(make_result(number))
            await store.called.wait()
    assert store.batches == [["case-0"], ["case-1"]]


async def test_a_run_that_breaks_off_keeps_what_it_has() -> None:
    store = Store()

    async def run() -> None:
        async with keeping(store) as keeper:
            keeper.keep(make_result(0))
            raise KeyError

    with pytest.raises(KeyError):
        await run()
    assert store.batches == [["case-0"]]


async def test_a_cancelled_run_keeps_what_it_has() -> None:
    store, kept = Store(), asyncio.Event()

    async def run() -> None:
        async with keeping(store) as keeper:
            keeper.keep(make_result(0))
            kept.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await kept.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.batches == [["case-0"]]


async def test_a_store_that_fails_stops_the_run_at_the_next_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HOLD_SECONDS", 0.01)
    store = Store()
    store.fails = Unavailable("The store is away; try again.")
    taken = []

    async def run() -> None:
        async with keeping(store) as keeper:
            for number in range(1_000):
                keeper.keep(make_result(number))
                taken.append(number)
                await store.called.wait()
                await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="is away"):
        await run()
    assert len(taken) < 1_000


async def test_a_store_that_fails_at_the_end_is_told() -> None:
    store = Store()
    store.fails = Unavailable("The store is away; try again.")
    with pytest.raises(Unavailable, match="is away"):
        async with keeping(store) as keeper:
            keeper.keep(make_result(0))


async def test_a_run_that_brings_nothing_stores_nothing() -> None:
    store = Store()
    async with keeping(store):
        pass
    assert store.batches == []
