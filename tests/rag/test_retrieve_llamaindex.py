"""LlamaIndex gets the same passages as the product's own search, and nothing the reader may not see."""

import asyncio
import json
from uuid import uuid4

import pytest
from llama_index.core.schema import MetadataMode

from db.session import tenant_session
from rag.llamaindex import ReGenesisRetriever, RetrievesAsynchronously
from rag.retrieve import retrieve
from tests.factories.material import Material, store_material
from tests.factories.people import Organisation


async def store_two(organisation: Organisation) -> tuple[Material, Material]:
    """Store one document for coach_a's client and one for coach_b alone."""
    clients, coaches = organisation.client_a, (organisation.coach_a, organisation.coach_b)
    seen = Material(uuid4(), "transcript", "client_visible", clients.user_id, coaches[0].user_id)
    hidden = Material(uuid4(), "document", "coach_only", None, coaches[1].user_id)
    async with tenant_session(organisation.system) as session:
        await store_material(session, organisation.tenant_id, [seen, hidden])
    return seen, hidden


async def test_nodes_are_the_readers_passages(organisation: Organisation) -> None:
    seen, _ = await store_two(organisation)
    nodes = await ReGenesisRetriever(organisation.coach_a, None).aretrieve("word")
    async with tenant_session(organisation.coach_a) as session:
        (passage,) = (await retrieve(session, None, "word")).passages
    (node,) = nodes
    assert (node.text, node.score) == (passage.text, passage.score)
    assert node.node.metadata["source_id"] == str(seen.id) == str(passage.source_id)
    assert node.node.metadata["chunk_ids"] == [str(chunk_id) for chunk_id in passage.chunk_ids]
    json.dumps(node.node.metadata)
    assert "chunk_ids" not in node.node.get_content(MetadataMode.LLM)
    (same,) = await asyncio.to_thread(ReGenesisRetriever(organisation.coach_a, None).retrieve, "word")
    assert same == node


async def test_calling_it_inside_an_event_loop_is_refused(organisation: Organisation) -> None:
    with pytest.raises(RetrievesAsynchronously):
        ReGenesisRetriever(organisation.coach_a, None).retrieve("word")
