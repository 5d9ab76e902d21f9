"""Measures what it costs a search that it is noted who read what, alone and among many others of one organisation."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import get_settings
from db.session import Principal, app_engine, close_store, tenant_session
from domain.governance import record_event
from domain.reading import link_all, list_passages_read, record_reading
from evaluation.bench_retrieval import make_suite
from evaluation.retrieval import index_suite, throw_away_tenant
from rag.fakes import HashEmbedder
from rag.passages import Passage
from rag.retrieve import retrieve

CHUNKS: Final = 5_000
READERS: Final = (1, 32)
ROUNDS: Final = 5
"""The ways take turns, so that a noisy machine is noisy for all."""
LINK_EVERY_S: Final = 1.0

Note = Callable[[AsyncSession, Sequence[Passage]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ReadingTimes:
    """Milliseconds of whole transactions of one way, of so many readers at once."""

    way: str
    readers: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_second: float


@dataclass(frozen=True, slots=True)
class ReadingBench:
    """One run: the ways are `none`, `waiting` (the product's) and `chained` (linked as each commits)."""

    chunks: int
    ids: float
    """Of one entry, on average."""
    times: tuple[ReadingTimes, ...]
    linked_per_second: float
    """Entries that one process links in a row."""
    bytes_per_entry: float
    """In the log and in the list of readings, with their indexes."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return asdict(self)


async def _note_nothing(_session: AsyncSession, _passages: Sequence[Passage]) -> None:
    return


async def _note_waiting(session: AsyncSession, passages: Sequence[Passage]) -> None:
    await record_reading(session, "passages_retrieved", list_passages_read(passages))


async def _note_chained(session: AsyncSession, passages: Sequence[Passage]) -> None:
    found = {kind: [str(one) for one in ids if one] for kind, ids in list_passages_read(passages).items()}
    await record_event(session, action="bench_read", metadata={"surface": "library", "found": found})


WAYS: Final[dict[str, Note]] = {"none": _note_nothing, "waiting": _note_waiting, "chained": _note_chained}


async def bench_reading(*, chunks: int = CHUNKS, searches: int = 200, top_k: int = 10) -> ReadingBench:
    """Search a throw-away organisation of so many chunks, `searches` times a round and way, by 1 and by 32 readers.

    While it measures, waiting entries are linked every second, as beside the HTTP service.
    """
    settings = get_settings()
    await close_store()
    app_engine(settings.model_copy(update={"db": settings.db.model_copy(update={"pool_size": max(READERS) + 4})}))
    embedder = HashEmbedder()
    async with throw_away_tenant() as tenant:
        indexed = await index_suite(tenant, embedder, make_suite(chunks, str(tenant.tenant_id)))
        asked = [" ".join(one.text.chunks[0].text.split()[:5]) for one in indexed]
        async with tenant_session(tenant) as session:
            passages = [(await retrieve(session, embedder, one, top_k=top_k)).passages for one in asked[:20]]
        ids = float(np.mean([sum(len(set(some)) for some in list_passages_read(one).values()) for one in passages]))

        async def search(number: int, note: Note) -> None:
            async with tenant_session(tenant) as session:
                found = await retrieve(session, embedder, asked[number % len(asked)], top_k=top_k)
                await note(session, found.passages)

        times = [one for readers in READERS for one in await _measure(search, readers, searches)]
        per_second, size = await _measure_linking(tenant, passages[0])
    return ReadingBench(chunks, ids, tuple(times), per_second, size)


async def _measure(search: Callable[[int, Note], Awaitable[None]], readers: int, searches: int) -> list[ReadingTimes]:
    linking = asyncio.create_task(_keep_linking())
    elapsed: dict[str, list[float]] = {way: [] for way in WAYS}
    whole = dict.fromkeys(WAYS, 0.0)
    try:
        for turn in range(ROUNDS + 1):
            for way, note in WAYS.items():
                waiting = iter(range(searches))

                async def read(note: Note = note, waiting: Any = waiting, into: list[float] = elapsed[way]) -> None:  # noqa: ANN401  # an iterator that all share
                    for number in waiting:
                        started = time.perf_counter()
                        await search(number, note)
                        into.append(1_000 * (time.perf_counter() - started))

                started = time.perf_counter()
                await asyncio.gather(*(read() for _ in range(readers)))
                whole[way] += time.perf_counter() - started
                if turn == 0:  # it warms caches and prepares statements
                    elapsed[way].clear()
                    whole[way] = 0.0
    finally:
        linking.cancel()
        await asyncio.gather(linking, return_exceptions=True)
    found = []
    for way, took in elapsed.items():
        p50, p95, p99 = (float(one) for one in np.quantile(took, (0.5, 0.95, 0.99)))
        found.append(ReadingTimes(way, readers, p50, p95, p99, len(took) / whole[way]))
    return found


async def _keep_linking() -> None:
    while True:
        await asyncio.sleep(LINK_EVERY_S)
        await link_all()


async def _measure_linking(tenant: Principal, passages: Sequence[Passage], entries: int = 5_000) -> tuple[float, float]:
    """Return how many entries a second are linked, and how many bytes each takes in the end."""
    await link_all()
    before = await _measure_log(tenant)
    for _ in range(entries // 100):
        async with tenant_session(tenant) as session:
            for _ in range(100):
                await _note_waiting(session, passages)
    started = time.perf_counter()
    linked = await link_all()
    seconds = time.perf_counter() - started
    return linked / seconds, (await _measure_log(tenant) - before) / max(linked, 1)


async def _measure_log(tenant: Principal) -> int:
    async with tenant_session(tenant) as session:
        size = text(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent IN "
            "('governance.audit_logs'::regclass, 'governance.audit_readings'::regclass)"
        )
        return int(await session.scalar(size) or 0)
