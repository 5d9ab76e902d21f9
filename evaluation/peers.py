"""Other retrievers, run on the same chunks, vectors and database, so that a comparison compares retrieval alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from core.errors import Invalid
from core.settings import get_settings
from db.locate import owner_url
from evaluation.retrieval_metrics import Found
from pipelines.chunk import Chunk
from rag.embedding import Embedder
from rag.retrieve import MOST_PASSAGES

if TYPE_CHECKING:
    from evaluation.retrieval import Indexed, Search


class LlamaIndexMissing(Invalid):
    """LlamaIndex's PostgreSQL store is not installed; install regenesis with the extra "eval"."""


@asynccontextmanager
async def llamaindex_search(
    embedder: Embedder, indexed: "Sequence[Indexed]", *, top_k: int = MOST_PASSAGES
) -> "AsyncIterator[Search]":
    """Store the chunks by LlamaIndex's PGVectorStore and search them as its guide for hybrid search does.

    Its vector query and its full-text query are joined by its own reciprocal rank fusion: what its store's hybrid mode
    returns, dense hits before all others, is weaker. The table stands in a schema of its own, dropped at the end.
    """
    schema = f"evaluation_{uuid4().hex}"
    url = owner_url(get_settings())
    engine, async_engine = sa.create_engine(url), create_async_engine(url)
    try:
        store = _open_store(schema, embedder.dimensions, engine, async_engine)
        await store.async_add([_write_node(one, chunk, row) for one in indexed for chunk, row in _pair(one)])
        yield _make_search(store, embedder, top_k)
    finally:
        async with async_engine.begin() as connection:
            await connection.execute(sa.text(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))
        await async_engine.dispose()
        engine.dispose()


def _open_store(schema: str, dimensions: int, engine: Any, async_engine: Any) -> Any:  # noqa: ANN401  # LlamaIndex is untyped here
    try:
        from llama_index.vector_stores.postgres import PGVectorStore
    except ImportError as error:
        raise LlamaIndexMissing from error
    return PGVectorStore(
        schema_name=schema, table_name="chunks", embed_dim=dimensions, hybrid_search=True, use_jsonb=True,
        use_halfvec=True, engine=engine, async_engine=async_engine, indexed_metadata_keys={("group", "text")},
        initialization_fail_on_error=True,
    )  # fmt: skip


def _pair(one: "Indexed") -> list[tuple[Chunk, list[float]]]:
    return list(zip(one.text.chunks, one.vectors.tolist(), strict=True))


def _write_node(one: "Indexed", chunk: Chunk, vector: list[float]) -> Any:  # noqa: ANN401  # LlamaIndex is untyped here
    from llama_index.core.schema import TextNode

    from evaluation.retrieval import list_turns

    turns = list_turns(one.source, chunk.segment_first, chunk.segment_last)
    metadata = {"group": one.source.group, "turns": list(turns), "words": chunk.word_count}
    return TextNode(text=chunk.lexical_text, embedding=vector, metadata=metadata)


def _make_search(store: Any, embedder: Embedder, top_k: int) -> "Search":  # noqa: ANN401  # LlamaIndex is untyped here
    from llama_index.core import VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
    from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

    index = VectorStoreIndex.from_vector_store(store, embed_model=_wrap(embedder))

    async def search(question: str, group: str | None) -> list[Found]:
        within = MetadataFilters(filters=[MetadataFilter(key="group", value=group)])
        options: dict[str, Any] = {} if group is None else {"filters": within}
        options |= {"similarity_top_k": top_k, "sparse_top_k": top_k}
        retrievers = [index.as_retriever(vector_store_query_mode=mode, **options) for mode in ("default", "sparse")]
        fusion = QueryFusionRetriever(
            retrievers, llm=MockLLM(), mode=FUSION_MODES.RECIPROCAL_RANK, num_queries=1, similarity_top_k=top_k
        )
        nodes = await fusion.aretrieve(question)
        return [
            Found(tuple(node.metadata["turns"]), int(node.metadata["words"]), float(node.score or 0)) for node in nodes
        ]

    return search


def _wrap(embedder: Embedder) -> Any:  # noqa: ANN401  # LlamaIndex is untyped here
    from llama_index.core.embeddings import BaseEmbedding

    class Wrapped(BaseEmbedding):
        """The product's embedder as LlamaIndex calls one."""

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return [float(number) for number in (await embedder.embed([query]))[0]]

        def _get_query_embedding(self, query: str) -> list[float]:
            return asyncio.run(self._aget_query_embedding(query))

        def _get_text_embedding(self, text: str) -> list[float]:
            return asyncio.run(self._aget_query_embedding(text))

    return Wrapped(model_name=embedder.name)
