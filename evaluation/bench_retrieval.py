"""Measures a search at growing tenant sizes: under the policies, without them, and by LlamaIndex's store."""

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from core.settings import get_settings
from db.locate import owner_url
from db.session import Principal, tenant_session
from evaluation.peers import llamaindex_search
from evaluation.retrieval import Search, index_suite, throw_away_tenant
from evaluation.retrieval_suite import Suite, SuiteSource
from pipelines.parsed import Turn
from rag.embedding import Embedder
from rag.fakes import HashEmbedder
from rag.passages import Retrieval
from rag.retrieve import retrieve

TURNS_A_SESSION: Final = 200
WORDS_A_TURN: Final = 60  # two turns would be too long for one chunk
_VOCABULARY: Final = 8_000
_SEED: Final = 11


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one search, the embedding of the question included."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class SizeBench:
    """The figures of one tenant; `same_results` is the share of questions for which policies change nothing."""

    chunks: int
    product: Latency
    without_policies: Latency
    same_results: float
    llamaindex: Latency | None


@dataclass(frozen=True, slots=True)
class RetrievalBench:
    """One run over all sizes; the tenants stand in the store together."""

    top_k: int
    questions: int
    sizes: tuple[SizeBench, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return asdict(self)


async def bench_retrieval(
    sizes: Sequence[int] = (500, 5_000, 50_000), *, questions: int = 50, top_k: int = 10, llamaindex: bool = True
) -> RetrievalBench:
    """Store a tenant of each size, ask each the same questions, and remove them all.

    The texts are random words of a natural distribution; a hashing embedder takes the model's time out of the figures.
    """
    embedder = HashEmbedder()
    asked = [" ".join(words[:5]) for words in _speak(_seed(), questions)]
    async with AsyncExitStack() as stack:
        tenants = []
        for size in sizes:
            tenant = await stack.enter_async_context(throw_away_tenant())
            tenants.append((tenant, await index_suite(tenant, embedder, make_suite(size, str(tenant.tenant_id)))))
        bare = create_async_engine(owner_url(get_settings()))
        stack.push_async_callback(bare.dispose)
        async with bare.begin() as connection:
            await connection.execute(text("ANALYZE rag.chunk_embeddings, rag.document_chunks, rag.term_frequencies"))
        peer = None
        if llamaindex:
            every = [one for _, indexed in tenants for one in indexed]
            peer = await stack.enter_async_context(llamaindex_search(embedder, every, top_k=top_k))
        measured = [
            await _measure(tenant, sum(len(one.text.chunks) for one in indexed), embedder, bare, peer, asked, top_k)
            for tenant, indexed in tenants
        ]
    return RetrievalBench(top_k, questions, tuple(measured))


def make_suite(chunks: int, group: str) -> Suite:
    """Return sessions of random talk that are parted into so many chunks."""
    rng = _seed()
    sources = []
    for first in range(0, chunks, TURNS_A_SESSION):
        spoken = [" ".join(words) for words in _speak(rng, min(TURNS_A_SESSION, chunks - first))]
        turns = tuple(Turn("Coach" if n % 2 else "Client", said) for n, said in enumerate(spoken))
        ids = tuple(f"{group}:{first + n}" for n in range(len(turns)))
        sources.append(SuiteSource(f"session-{first}", group, "transcript", None, None, turns, ids))
    return Suite("bench", tuple(sources), (), {}, {})


def _seed() -> random.Random:
    return random.Random(_SEED)  # noqa: S311  # the same words each time, no secrets


def _speak(rng: random.Random, times: int) -> Iterator[list[str]]:
    """Yield turns of words whose frequencies fall as in a language (Zipf), around topics that change slowly."""
    words = [f"w{number}x" for number in range(_VOCABULARY)]
    weights = [1 / (rank + 3) for rank in range(_VOCABULARY)]
    topic = rng.sample(words, 30)
    for turn in range(times):
        if turn % 20 == 0:
            topic = rng.sample(words, 30)
        yield [*rng.choices(topic, k=8), *rng.choices(words, weights, k=WORDS_A_TURN - 8)]


async def _measure(  # noqa: PLR0917  # called once
    tenant: Principal,
    chunks: int,
    embedder: Embedder,
    bare: AsyncEngine,
    peer: Search | None,
    asked: Sequence[str],
    top_k: int,
) -> SizeBench:
    async def with_policies(question: str) -> Retrieval:
        async with tenant_session(tenant) as session:
            return await retrieve(session, embedder, question, top_k=top_k)

    async def without(question: str) -> Retrieval:
        async with AsyncSession(bare) as session:
            await session.execute(text("SELECT set_config('app.tenant_id', :id, true)"), {"id": str(tenant.tenant_id)})
            return await retrieve(session, embedder, question, top_k=top_k)

    searches: dict[str, Callable[[str], Awaitable[Any]]] = {"product": with_policies, "bare": without}
    if peer is not None:
        searches["peer"] = lambda question: peer(question, str(tenant.tenant_id))
    latency, found = await _time_in_turns(asked, searches)
    pairs = zip(found["product"], found["bare"], strict=True)
    same = sum(_list_chunks(a) == _list_chunks(b) for a, b in pairs) / len(asked)
    return SizeBench(chunks, latency["product"], latency["bare"], same, latency.get("peer"))


def _list_chunks(found: Retrieval) -> list[tuple[UUID, ...]]:
    return [passage.chunk_ids for passage in found.passages]


async def _time_in_turns(
    asked: Sequence[str], searches: Mapping[str, Callable[[str], Awaitable[Any]]]
) -> tuple[dict[str, Latency], dict[str, list[Any]]]:
    """Ask every question of each in turn, so that a noisy machine is noisy for all, and time the second round."""
    elapsed: dict[str, list[float]] = {}
    for _ in range(2):  # the first one warms caches and prepares statements
        elapsed = {name: [] for name in searches}
        found: dict[str, list[Any]] = {name: [] for name in searches}
        for question in asked:
            for name, search in searches.items():
                started = time.perf_counter()
                found[name].append(await search(question))
                elapsed[name].append(1_000 * (time.perf_counter() - started))
    quantiles = {name: np.quantile(times, (0.5, 0.95)) for name, times in elapsed.items()}
    return {name: Latency(float(p50), float(p95)) for name, (p50, p95) in quantiles.items()}, found
