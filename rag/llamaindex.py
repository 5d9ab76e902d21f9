"""The product's search as a LlamaIndex retriever, for pipelines that are built with LlamaIndex.

A separate module because importing LlamaIndex takes most of a second.
"""

import asyncio
from contextlib import suppress

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from core.errors import Invalid
from db.session import Principal, close_store, tenant_session
from domain.reading import list_passages_read, record_reading
from rag.embedding import Embedder
from rag.passages import Passage, Scope
from rag.retrieve import retrieve


class RetrievesAsynchronously(Invalid):
    """`retrieve` can't run inside an event loop; await `aretrieve` instead."""


class ReGenesisRetriever(BaseRetriever):
    """Retrieves what one reader may see, as nodes whose metadata is all that a citation needs.

    Every call opens a transaction of its own, so a right that has ended since the last one no longer counts.
    `retrieve` runs an event loop of its own; inside one it raises `RetrievesAsynchronously`.
    """

    def __init__(
        self, principal: Principal, embedder: Embedder | None, *, top_k: int = 10, scope: Scope | None = None
    ) -> None:
        self._principal = principal
        self._embedder = embedder
        self._top_k = top_k
        self._scope = scope
        super().__init__()

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        async with tenant_session(self._principal) as session:
            found = await retrieve(
                session, self._embedder, query_bundle.query_str, top_k=self._top_k, scope=self._scope
            )
            await record_reading(session, "passages_retrieved", list_passages_read(found.passages))
        return [NodeWithScore(node=_write_node(passage), score=passage.score) for passage in found.passages]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise RetrievesAsynchronously
        return asyncio.run(self._retrieve_and_close(query_bundle))

    async def _retrieve_and_close(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            return await self._aretrieve(query_bundle)
        finally:
            await close_store()  # connections belong to the loop that ends here


def _write_node(passage: Passage) -> TextNode:
    """Return the passage as a node; ids as strings and times in ISO 8601, so that the metadata is plain JSON."""
    metadata = {
        "chunk_ids": [str(chunk_id) for chunk_id in passage.chunk_ids],
        "source_id": str(passage.source_id),
        "source_kind": passage.source_kind,
        "title": passage.title,
        "content_hash": passage.content_hash,
        "held_at": passage.held_at.isoformat() if passage.held_at else None,
        "char_start": passage.char_start,
        "char_end": passage.char_end,
        "segment_first": passage.segment_first,
        "segment_last": passage.segment_last,
        "speakers": list(passage.speakers),
        "started_s": passage.started_s,
        "ended_s": passage.ended_s,
        "page_first": passage.page_first,
        "page_last": passage.page_last,
        "heading": passage.heading,
    }
    shown = {"title", "held_at", "speakers", "heading"}
    return TextNode(
        id_=str(passage.chunk_ids[0]),
        text=passage.text,
        metadata=metadata,
        excluded_embed_metadata_keys=list(metadata),
        excluded_llm_metadata_keys=[key for key in metadata if key not in shown],
    )
