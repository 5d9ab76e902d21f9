"""A large tenant's own partition finds what an exact search finds, and shows nobody more."""

import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from db.models import ChunkEmbedding
from db.session import HAS_PARTITION, Principal, tenant_session
from domain.ingestion import ensure_source, list_known, receive_objects
from pipelines.chunk import chunk_transcript
from pipelines.index import About, ensure_registry, index_transcript, lock_index
from pipelines.parsed import Turn
from rag.fakes import HashEmbedder
from rag.lexical import document_vector, term_indices
from rag.retrieve import retrieve
from tests.factories.people import Organisation

TURNS = 2_400
EMBEDDER = HashEmbedder(64)


def speak(rng: random.Random, count: int) -> list[list[str]]:
    """Return sentences of words that are as unevenly common as words are."""
    words = [f"w{n}x" for n in range(900)]
    weights = [1 / (n + 3) for n in range(900)]
    return [rng.choices(words, weights, k=22) for _ in range(count)]


async def store(organisation: Organisation, visibility: str, client: object, sentences: list[list[str]]) -> None:
    async with tenant_session(organisation.system) as session:
        registry = await ensure_registry(session, EMBEDDER)
        source = await ensure_source(session, "test:")
        key = f"{visibility}-{uuid4()}"
        await receive_objects(session, source, {key: 1})
        known = await list_known(session, source)
        await session.execute(
            text("UPDATE ingestion.ingested_objects SET visibility = :v, client_id = :c WHERE id = :id"),
            {"v": visibility, "c": client, "id": known[key].id},
        )
        await lock_index(session, registry)
        parsed = chunk_transcript([Turn("Ana", " ".join(words) + ".") for words in sentences])
        about = About(object_id=known[key].id, title=key, visibility=visibility, client_id=client)  # type: ignore[arg-type]  # a client's id or None
        vectors = await EMBEDDER.embed([chunk.embedded_text for chunk in parsed.chunks])
        await index_transcript(session, registry, about, parsed, vectors, format="test")
        await session.execute(
            text("UPDATE ingestion.ingested_objects SET ingestion_status = 'indexed', pieces = :n WHERE id = :id"),
            {"n": len(parsed.chunks), "id": known[key].id},
        )


async def found(
    organisation: Organisation, reader: str, question: str, exact_up_to: int
) -> tuple[list[object], object]:
    async with tenant_session(getattr(organisation, reader)) as session:
        result = await retrieve(session, EMBEDDER, question, top_k=10, exact_up_to=exact_up_to)
    return [chunk for passage in result.passages for chunk in passage.chunk_ids], result


async def met_by_words(reader: Principal, questions: list[str]) -> set[tuple[UUID, int]]:
    """Return what the index of words brings the reader."""
    call = text(
        "SELECT source_id, chunk_index FROM rag.wordiest_chunks(CAST(:asked AS sparsevec), CAST(:terms AS int[]), 5000)"
    )
    met: set[tuple[UUID, int]] = set()
    async with tenant_session(reader) as session:
        for question in questions:
            asked = {"asked": document_vector(question).to_text(), "terms": term_indices(question)}
            met |= {(row.source_id, row.chunk_index) for row in await session.execute(call, asked)}
    return met


async def test_partition_finds_what_an_exact_search_finds(organisation: Organisation) -> None:
    rng = random.Random(11)
    for _ in range(12):
        await store(organisation, "client_visible", None, speak(rng, TURNS // 12))
    await store(organisation, "coach_only", organisation.client_c.user_id, speak(rng, 60))
    questions = [" ".join(words[:5]) for words in speak(rng, 20)]
    before = [await found(organisation, "coach_a", question, 10**9) for question in questions]

    async with tenant_session(organisation.system) as session:
        assert session.info[HAS_PARTITION] is False
        rows = await session.scalar(select(func.count()).select_from(ChunkEmbedding))
        assert await session.scalar(text("SELECT rag.give_partition(:t)"), {"t": organisation.tenant_id}) is True
    async with tenant_session(organisation.system) as session:
        assert session.info[HAS_PARTITION] is True
        assert await session.scalar(text("SELECT rag.give_partition(:t)"), {"t": organisation.tenant_id}) is False
        assert await session.scalar(select(func.count()).select_from(ChunkEmbedding)) == rows

    hits = wanted = 0
    for question, (exact, whole) in zip(questions, before, strict=True):
        assert (await found(organisation, "coach_a", question, 10**9))[0] == exact
        quick, counted = await found(organisation, "coach_a", question, 0)
        hits += len(set(quick) & set(exact))
        wanted += len(exact)
        assert (counted.chunks_in_scope, counted.sources_in_scope) == (whole.chunks_in_scope, whole.sources_in_scope)  # type: ignore[attr-defined]  # both are Retrievals
    assert hits / wanted >= 0.99

    # What only coach_b may see is found by coach_b alone, though the indexes hold it.
    hidden = {chunk for question in questions for chunk in (await found(organisation, "coach_b", question, 0))[0]}
    seen = {chunk for question in questions for chunk in (await found(organisation, "coach_a", question, 0))[0]}
    async with tenant_session(organisation.coach_b) as session:
        secret = set(
            await session.scalars(select(ChunkEmbedding.chunk_id).where(ChunkEmbedding.visibility == "coach_only"))
        )
    assert secret & hidden
    assert not secret & seen

    # The functions behind the search, asked directly, tell a reader of nothing they may not see either.
    for reader, sees_secret in (("coach_a", False), ("coach_b", True)):
        met = await met_by_words(getattr(organisation, reader), questions)
        async with tenant_session(organisation.system) as session:
            places = select(ChunkEmbedding.source_id, ChunkEmbedding.chunk_index)
            secret_places = set(
                (await session.execute(places.where(ChunkEmbedding.visibility == "coach_only"))).tuples()
            )
        assert bool(met & secret_places) is sees_secret, reader

    # New material goes into the partition and is found there.
    await store(organisation, "client_visible", None, [["zebra", "crossing", "lantern"] * 7])
    new, _ = await found(organisation, "coach_a", "zebra lantern", 0)
    assert new


async def test_only_the_tenant_s_pipelines_give_it_a_partition(organisation: Organisation) -> None:
    for reader, tenant in ((organisation.admin, organisation.tenant_id), (organisation.system, uuid4())):
        with pytest.raises(DBAPIError, match="only the pipelines"):
            async with tenant_session(reader) as session:
                await session.execute(text("SELECT rag.give_partition(:t)"), {"t": tenant})
