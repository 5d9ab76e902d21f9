"""Measures the embedded model on this machine, and against the same model on torch where that is installed."""

import asyncio
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

from core.errors import Invalid
from rag.embedding.minilm import MiniLMEmbedder, Precision, get_weights_dir

CHUNK_TOKENS: Final = 128  # the two special ones included
QUERY: Final = "What did we agree on in the last session?"
QUERIES: Final = 100
# each is one word piece, so that a chunk has exactly the tokens it is said to have
_WORDS: Final = tuple(
    """
    we talked about the plan for this week and what she wants from her team before the next meeting . he said that his
    goal is to listen more , ask one question first and write down every answer
    """.split()  # noqa: SIM905 - a list would take 40 lines
)


@dataclass(frozen=True, slots=True)
class EmbedSpeed:
    """How fast one embedder is: the median of the rounds, and their extremes."""

    name: str
    chunks_per_second: float
    slowest_round: float
    fastest_round: float
    query_p50_ms: float


@dataclass(frozen=True, slots=True)
class EmbedBench:
    """The embedded model's figures; `torch` and `ratio` are None where sentence-transformers is not installed."""

    speed: EmbedSpeed
    threads: int
    chunk_tokens: int
    chunks: int
    start_seconds: float
    wrote_graph: bool
    """The start included writing the model's graph, as only the first one does."""
    peak_memory_mb: float
    """Of the whole process up to the end of the embedded model's own rounds, before torch is imported."""
    torch: EmbedSpeed | None
    ratio: float | None
    """Median over the rounds of chunks per second here over those of torch, both taken in turns."""


async def bench_embed(
    cache_dir: Path,
    *,
    precision: Precision = "int8",
    threads: int | None = None,
    chunks: int = 400,
    rounds: int = 5,
    against_torch: bool = True,
) -> EmbedBench:
    """Embed so many chunks in each round, and a hundred single questions; raises `Invalid` for none of either."""
    if not 1 <= chunks <= 100_000 or not 1 <= rounds <= 100:
        raise Invalid("A benchmark takes 1 to 100,000 chunks and 1 to 100 rounds; choose figures within.")
    texts = make_chunks(chunks)
    files = _count_graphs(cache_dir)
    started = time.perf_counter()
    embedder = await asyncio.to_thread(MiniLMEmbedder, cache_dir, precision=precision, threads=threads)
    start_seconds = time.perf_counter() - started
    wrote_graph = _count_graphs(cache_dir) > files
    try:
        await embedder.embed(texts[:32])
        own = [await _time_round(embedder.embed, texts) for _ in range(rounds)]
        query_ms = await _time_query(embedder.embed)
        peak = get_peak_memory_mb()
        torch, ratio = None, None
        if against_torch and find_spec("sentence_transformers") is not None:
            # both once more, in turns, so that a busy neighbour slows both
            encode = await asyncio.to_thread(_load_torch)
            await encode(texts[:32])
            pairs = [
                (await _time_round(embedder.embed, texts), await _time_round(encode, texts)) for _ in range(rounds)
            ]
            name = f"sentence-transformers {import_module('sentence_transformers').__version__}"
            torch = _summarize(name, [theirs for _, theirs in pairs], await _time_query(encode))
            ratio = median(ours / theirs for ours, theirs in pairs)
    finally:
        embedder.close()
    return EmbedBench(
        speed=_summarize(embedder.name, own, query_ms),
        threads=embedder.threads,
        chunk_tokens=CHUNK_TOKENS,
        chunks=chunks,
        start_seconds=start_seconds,
        wrote_graph=wrote_graph,
        peak_memory_mb=peak,
        torch=torch,
        ratio=ratio,
    )


def make_chunks(count: int) -> list[str]:
    """Return so many different texts of 126 word pieces each, the same on every machine."""
    chooser = random.Random(7)  # noqa: S311 - nothing secret, only the same for everyone
    return [" ".join(chooser.choices(_WORDS, k=CHUNK_TOKENS - 2)) for _ in range(count)]


def get_peak_memory_mb() -> float:
    """Return the most memory this process has held so far, in MB of 10**6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


async def _time_round(embed: Callable[[Sequence[str]], Awaitable[Any]], texts: Sequence[str]) -> float:
    """Return chunks per second."""
    started = time.perf_counter()
    await embed(texts)
    return len(texts) / (time.perf_counter() - started)


async def _time_query(embed: Callable[[Sequence[str]], Awaitable[Any]]) -> float:
    """Return the median milliseconds of one question, from the event loop and back to it."""
    took = []
    for _ in range(QUERIES):
        started = time.perf_counter()
        await embed([QUERY])
        took.append(time.perf_counter() - started)
    return median(took) * 1000


def _load_torch() -> Callable[[Sequence[str]], Awaitable[Any]]:
    model = import_module("sentence_transformers").SentenceTransformer(str(get_weights_dir()), device="cpu")
    model.max_seq_length = 256

    async def encode(texts: Sequence[str]) -> object:
        return await asyncio.to_thread(
            model.encode, list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False
        )

    return encode


def _summarize(name: str, rounds: Sequence[float], query_ms: float) -> EmbedSpeed:
    return EmbedSpeed(name, median(rounds), min(rounds), max(rounds), query_ms)


def _count_graphs(cache_dir: Path) -> int:
    return len(list(cache_dir.glob("*.onnx"))) if cache_dir.is_dir() else 0
