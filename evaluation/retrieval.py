"""Scores retrieval on a suite: indexed for real into a tenant of its own, searched for real, and removed again."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import select, text

from core.errors import Invalid
from db.models import IngestedObject
from db.session import Principal, tenant_session
from domain.ingestion import ensure_source, list_known, receive_objects
from domain.platform import found_tenant
from evaluation.retrieval_metrics import Found, Interval, bootstrap, measure_ranking
from evaluation.retrieval_suite import Suite, SuiteQuery, SuiteSource, load_suite
from pipelines.chunk import DocumentText, TranscriptText, chunk_document, chunk_transcript
from pipelines.index import About, ensure_registry, index_document, index_transcript, lock_index, withdraw_objects
from pipelines.parsed import Block, ParsedDocument
from rag.embedding import Embedder, Matrix
from rag.passages import Passage, Scope
from rag.retrieve import MOST_PASSAGES, retrieve

SYSTEMS: Final = ("bm25", "llamaindex")
_EMBED_AT_ONCE: Final = 64  # sources; bounds the memory for their vectors

ScopeName = Literal["group", "pooled"]
Search = Callable[[str, str | None], Awaitable[list[Found]]]
"""Takes the question and the group to search (None: all), and returns the ranked passages."""


class UnknownPeer(Invalid):
    """This system can't be compared with; choose from bm25 and llamaindex."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """One source as it was stored: its id there, its text with chunks, and their vectors."""

    source: SuiteSource
    id: UUID
    text: TranscriptText | DocumentText
    vectors: Matrix


@dataclass(frozen=True, slots=True)
class SystemScore:
    """One system's figures by measure; latencies in milliseconds, the embedding of the question included."""

    name: str
    measures: dict[str, Interval]
    p50_ms: Interval
    p95_ms: Interval


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What a run found out; the product comes first among the systems."""

    suite: str
    scope: ScopeName
    embedder: str
    chunks: int
    queries: int
    left_out: dict[str, int]
    systems: tuple[SystemScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return asdict(self)


async def evaluate_retrieval(
    folder: Path, embedder: Embedder, *, scope: ScopeName = "group", against: Sequence[str] = (),
    run_file: Path | None = None, every_kind: bool = False,
) -> RetrievalReport:  # fmt: skip
    """Index the suite into a new tenant, ask all its questions of each system, and remove the tenant.

    The run file gets a JSON line a question with the product's own ranking. Raises `UnusableSuite`, `UnknownPeer`.
    """
    if unknown := sorted(set(against) - set(SYSTEMS)):
        raise UnknownPeer(f"{unknown[0]!r} can't be compared with; choose from {' and '.join(SYSTEMS)}.")
    suite = load_suite(folder, every_kind=every_kind)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(throw_away_tenant())
        indexed = await index_suite(reader, embedder, suite)
        searches: dict[str, Search] = {"regenesis": _search_product(reader, embedder, indexed)}
        if "bm25" in against:
            searches["bm25"] = _search_product(reader, None, indexed)
        if "llamaindex" in against:
            from evaluation.peers import llamaindex_search  # an extra

            searches["llamaindex"] = await stack.enter_async_context(llamaindex_search(embedder, indexed))
        systems: list[SystemScore] = []
        for name, search in searches.items():
            systems.append(await _score(name, search, suite, scope=scope, run_file=None if systems else run_file))
    chunks = sum(len(one.text.chunks) for one in indexed)
    return RetrievalReport(suite.name, scope, embedder.name, chunks, len(suite.queries), suite.left_out, tuple(systems))


@asynccontextmanager
async def throw_away_tenant() -> AsyncIterator[Principal]:
    """Found a tenant, give its pipelines' principal, and remove it with all it holds, after an error too."""
    tenant_id = uuid4()
    system = Principal(tenant_id, "system")
    await found_tenant(f"evaluation-{tenant_id.hex}", "A suite under evaluation", tenant_id=tenant_id)
    try:
        yield system
    finally:
        async with tenant_session(system) as session:
            await withdraw_objects(session, list(await session.scalars(select(IngestedObject.id))))
            await session.execute(text("DELETE FROM platform.tenants WHERE id = :id"), {"id": tenant_id})


async def index_suite(system: Principal, embedder: Embedder, suite: Suite) -> list[Indexed]:
    """Chunk, embed and index every source of the suite, each as an object of its own."""
    async with tenant_session(system) as session:
        registry_id = await ensure_registry(session, embedder)
        data_source = await ensure_source(session, f"suite:{suite.name}")
        await receive_objects(session, data_source, {source.key: 1 for source in suite.sources})
        known = await list_known(session, data_source)
    indexed = []
    for first in range(0, len(suite.sources), _EMBED_AT_ONCE):
        some = [(source, _chunk(source)) for source in suite.sources[first : first + _EMBED_AT_ONCE]]
        vectors = await embedder.embed([chunk.embedded_text for _, parted in some for chunk in parted.chunks])
        edges = np.cumsum([len(parted.chunks) for _, parted in some])[:-1]
        async with tenant_session(system) as session:
            await lock_index(session, registry_id)
            for (source, parted), own in zip(some, np.split(vectors, edges), strict=True):
                about = About(
                    object_id=known[source.key].id, title=source.title or source.key, visibility="system_internal",
                    held_at=source.held_at,
                )  # fmt: skip
                if isinstance(parted, TranscriptText):
                    id_ = await index_transcript(session, registry_id, about, parted, own, format="suite")
                else:
                    id_ = await index_document(
                        session, registry_id, about, parted, own, format="suite", page_count=None
                    )
                indexed.append(Indexed(source, id_, parted, own))
    return indexed


def _chunk(source: SuiteSource) -> TranscriptText | DocumentText:
    if source.kind == "transcript":
        return chunk_transcript(source.turns, title=source.title, held_at=source.held_at)
    blocks = tuple(Block(turn.text) for turn in source.turns)
    return chunk_document(ParsedDocument("suite", blocks, title=source.title))


def list_turns(source: SuiteSource, first: int | None, last: int | None) -> tuple[str, ...]:
    """Return the ids of the suite's turns from the first to the last segment; a document is one turn."""
    return source.ids if first is None or last is None else source.ids[first : last + 1]


def _search_product(reader: Principal, embedder: Embedder | None, indexed: Sequence[Indexed]) -> Search:
    sources = {one.id: one.source for one in indexed}
    groups: dict[str, list[UUID]] = {}
    for one in indexed:
        groups.setdefault(one.source.group, []).append(one.id)

    def describe(passage: Passage) -> Found:
        turns = list_turns(sources[passage.source_id], passage.segment_first, passage.segment_last)
        return Found(turns, len(passage.text.split()), passage.score)

    async def search(question: str, group: str | None) -> list[Found]:
        scope = Scope() if group is None else Scope(source_ids=tuple(groups[group]))
        async with tenant_session(reader) as session:
            found = await retrieve(session, embedder, question, top_k=MOST_PASSAGES, scope=scope)
        return [describe(passage) for passage in found.passages]

    return search


async def _score(
    name: str,
    search: Search,
    suite: Suite,
    *,
    scope: ScopeName,
    run_file: Path | None,
) -> SystemScore:
    measured: list[Mapping[str, float]] = []
    elapsed, lines = [], []
    for query in (suite.queries[0], *suite.queries):  # the first one warms connections and plans up
        started = time.perf_counter()
        passages = await search(query.text, query.group if scope == "group" else None)
        elapsed.append(1_000 * (time.perf_counter() - started))
        measured.append(measure_ranking(passages, query.relevant, suite.words))
        lines.append(_write_line(query, passages))
    if run_file is not None:
        await asyncio.to_thread(run_file.write_text, "\n".join(lines[1:]) + "\n", encoding="utf-8")
    return SystemScore(
        name, {measure: bootstrap([values[measure] for values in measured[1:]]) for measure in measured[0]},
        bootstrap(elapsed[1:], np.median), bootstrap(elapsed[1:], _percentile_95),
    )  # fmt: skip


def _percentile_95(values: Any, axis: int | None = None) -> Any:  # noqa: ANN401  # numpy's own statistics are typed so
    return np.quantile(values, 0.95, axis=axis)


def _write_line(query: SuiteQuery, passages: Sequence[Found]) -> str:
    ranked = [
        {"rank": rank, "score": passage.score, "segments": list(passage.segments), "words": passage.words}
        for rank, passage in enumerate(passages, 1)
    ]
    return json.dumps({"query_id": query.id, "passages": ranked}, ensure_ascii=False)
