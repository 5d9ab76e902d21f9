"""Measures ingestion, from files to searchable, here and against LlamaIndex with the same chunks and model."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from core.errors import Invalid
from core.settings import Settings, get_settings
from core.storage import open_store
from db.locate import owner_url
from db.session import Principal, tenant_session
from evaluation.peers import LlamaIndexMissing
from evaluation.retrieval import throw_away_tenant
from pipelines.ingest import ingest_source, load_embedder
from pipelines.sidecar import Sidecar
from rag.embedding import Embedder, Matrix

WRITTEN: Final = (
    "ingestion.ingested_objects", "ingestion.ingestion_attempts", "rag.transcripts", "rag.transcript_segments",
    "rag.documents", "rag.document_chunks", "rag.search_metadata", "rag.term_frequencies", "rag.chunk_embeddings",
)  # fmt: skip
PEER_BATCH: Final = 10  # what LlamaIndex's embeddings take at once unless told otherwise


@dataclass(frozen=True, slots=True)
class IngestBench:
    """Medians over the rounds; `peer_seconds` and `ratio` are None where LlamaIndex was not asked for.

    `embedder_share` is the part of the first run during which the embedder was at work. The peer gets the chunks ready
    made, so its seconds hold neither reading nor parsing nor chunking.
    """

    objects: int
    failed: int
    segments: int
    chunks: int
    first_seconds: float
    chunks_per_second: float
    embedder_share: float
    again_seconds: float
    again_share: float
    again_rows_changed: int
    peer_seconds: float | None
    ratio: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


class NothingToMeasure(Invalid):
    """Nothing in this folder could be ingested; choose one with transcripts."""


class _Watched:
    """The embedder, with how long at least one call of it was under way."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self.busy_seconds = 0.0
        self._calls, self._since = 0, 0.0

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed, watched."""
        if self._calls == 0:
            self._since = perf_counter()
        self._calls += 1
        try:
            return await self._embedder.embed(texts)
        finally:
            self._calls -= 1
            if self._calls == 0:
                self.busy_seconds += perf_counter() - self._since


async def bench_ingest(folder: Path, *, rounds: int = 1, peer: bool = True) -> IngestBench:
    """Ingest the folder into a tenant of its own, again without a change, then by LlamaIndex, and remove all of it.

    With several rounds both sides take turns. Raises `NothingToMeasure`, `LlamaIndexMissing`.
    """
    settings = get_settings()
    embedder = await load_embedder(settings)
    await embedder.embed(["Load everything before the first round."])
    results = [await _run_round(folder, settings, embedder, peer) for _ in range(rounds)]
    middle = {
        name: median(values)
        for name in ("first_seconds", "chunks_per_second", "embedder_share", "again_seconds", "again_share")
        if (values := [getattr(one, name) for one in results])
    }
    others = [one for one in results if one.peer_seconds is not None and one.ratio is not None]
    for name in ("peer_seconds", "ratio") if others else ():
        middle[name] = median(getattr(one, name) for one in others)
    return replace(results[-1], **middle)


async def _run_round(folder: Path, settings: Settings, embedder: Embedder, peer: bool) -> IngestBench:
    watched = _Watched(embedder)
    # Searchable by no person: it is gone in a moment, and nobody said whose it is.
    said = Sidecar(visibility="system_internal")
    async with throw_away_tenant() as system, throw_away_originals(system, settings):
        began = perf_counter()
        first = await ingest_source(system.tenant_id, str(folder), said=said, embedder=watched)
        first_seconds = perf_counter() - began
        if first.pieces == 0:
            raise NothingToMeasure(f"Nothing in {folder} could be ingested; choose a folder with transcripts.")
        before, segments, texts = await _read(system)
        began = perf_counter()
        await ingest_source(system.tenant_id, str(folder), said=said, embedder=watched)
        again_seconds = perf_counter() - began
        after, _, _ = await _read(system)
        peer_seconds = await _run_llamaindex(texts, embedder) if peer else None
    return IngestBench(
        objects=first.count("indexed"), failed=first.count("failed"), segments=segments, chunks=first.pieces,
        first_seconds=first_seconds, chunks_per_second=first.pieces / first_seconds,
        embedder_share=watched.busy_seconds / first_seconds, again_seconds=again_seconds,
        again_share=again_seconds / first_seconds, again_rows_changed=len(after ^ before),
        peer_seconds=peer_seconds, ratio=peer_seconds / first_seconds if peer_seconds else None,
    )  # fmt: skip


@asynccontextmanager
async def throw_away_originals(system: Principal, settings: Settings) -> AsyncIterator[None]:
    """Delete the tenant's originals at the end, after an error too."""
    originals = open_store(settings.storage_url, settings.storage)
    try:
        yield
    finally:
        for key in [stored.key async for stored in originals.list(f"tenants/{system.tenant_id}/originals/")]:
            await originals.delete(key)


async def _read(system: Principal) -> tuple[set[tuple[Any, ...]], int, list[tuple[str, str]]]:
    """Return every row's version, how many segments there are, and each chunk's words as stored and as embedded."""
    versions: set[tuple[Any, ...]] = set()
    async with tenant_session(system) as session:
        for table in WRITTEN:
            rows = await session.execute(sa.text(f"SELECT '{table}', xmin::text, ctid::text FROM {table}"))
            versions.update(tuple(row) for row in rows)
        segments = await session.scalar(sa.text("SELECT count(*) FROM rag.transcript_segments"))
        words = await session.execute(
            sa.text("SELECT text, coalesce(metadata->>'embedded_text', text) FROM rag.document_chunks")
        )
        return versions, int(segments or 0), [(row[0], row[1]) for row in words]


async def _run_llamaindex(texts: Sequence[tuple[str, str]], embedder: Embedder) -> float:
    """Return how long its ingestion pipeline takes to embed and store the chunks, for hybrid search as ours."""
    try:
        from llama_index.core.ingestion import IngestionPipeline
        from llama_index.core.schema import TextNode
        from llama_index.vector_stores.postgres import PGVectorStore
    except ImportError as error:
        raise LlamaIndexMissing from error
    schema = f"evaluation_{uuid4().hex}"
    url = owner_url(get_settings())
    engine, async_engine = sa.create_engine(url), create_async_engine(url)
    try:
        store = PGVectorStore(
            schema_name=schema, table_name="chunks", embed_dim=embedder.dimensions, hybrid_search=True,
            use_jsonb=True, use_halfvec=True, engine=engine, async_engine=async_engine,
            initialization_fail_on_error=True,
        )  # fmt: skip
        nodes = [TextNode(text=embedded, metadata={"text": stored}, excluded_embed_metadata_keys=["text"])
                 for stored, embedded in texts]  # fmt: skip
        pipeline = IngestionPipeline(
            transformations=[_wrap(embedder)], vector_store=store, disable_cache=True
        )  # fmt: skip
        began = perf_counter()
        await pipeline.arun(nodes=nodes)
        return perf_counter() - began
    finally:
        async with async_engine.begin() as connection:
            await connection.execute(sa.text(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))
        await async_engine.dispose()
        engine.dispose()


def _wrap(embedder: Embedder) -> Any:  # noqa: ANN401  # LlamaIndex is untyped here
    from llama_index.core.embeddings import BaseEmbedding

    class Wrapped(BaseEmbedding):
        """The product's embedder as LlamaIndex's pipeline calls one: by batches, in its own loop."""

        async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = (await embedder.embed(texts)).tolist()
            return vectors

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return (await self._aget_text_embeddings([query]))[0]

        def _get_query_embedding(self, query: str) -> list[float]:
            raise NotImplementedError("measured through the asynchronous interface only")

        def _get_text_embedding(self, text: str) -> list[float]:
            raise NotImplementedError("measured through the asynchronous interface only")

    return Wrapped(model_name=embedder.name, embed_batch_size=PEER_BATCH)
