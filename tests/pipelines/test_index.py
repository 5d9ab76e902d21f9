"""Writing and taking out what is searched: same words, same ids; counts of terms that always hold."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from db.models import DataSource, IngestedObject
from db.session import tenant_session
from pipelines.chunk import chunk_document, chunk_transcript
from pipelines.index import (
    About,
    OtherModelActive,
    ensure_registry,
    index_document,
    index_transcript,
    lock_index,
    withdraw_objects,
)
from pipelines.parsed import Block, ParsedDocument, Turn
from rag.fakes import HashEmbedder
from rag.lexical import document_vector, term_indices
from tests.factories.people import Organisation

EMBEDDER = HashEmbedder(16)


async def _about(organisation: Organisation, **known: object) -> About:
    """Return what is known of a new object, whose row is stored."""
    object_id = uuid4()
    async with tenant_session(organisation.system) as session:
        source = uuid4()
        tenant = {"tenant_id": organisation.tenant_id}
        await session.execute(insert(DataSource).values(**tenant, id=source, name="s", uri=f"test:{source}"))
        await session.execute(
            insert(IngestedObject).values(
                **tenant, id=object_id, data_source_id=source, key="k", size_bytes=1, visibility="client_visible"
            )
        )
    return About(object_id=object_id, title="Talk", visibility="client_visible", **known)  # type: ignore[arg-type]  # fields of About


async def _index(organisation: Organisation, about: About, turns: Sequence[Turn]) -> UUID:
    source = chunk_transcript(turns)
    vectors = await EMBEDDER.embed([chunk.embedded_text for chunk in source.chunks])
    async with tenant_session(organisation.system) as session:
        registry = await ensure_registry(session, EMBEDDER)
        await lock_index(session, registry)
        return await index_transcript(session, registry, about, source, vectors, format="vtt")


async def _ids(organisation: Organisation, table: str) -> list[UUID]:
    async with tenant_session(organisation.system) as session:
        return list(await session.scalars(text(f"SELECT id FROM {table} ORDER BY id")))


TURNS = (Turn("Ruth", "What will you try?", 0.5, 2.0), Turn("AMINA ", "I will ask Joel.", 2.5), Turn(None, "Hm.", 4.0))


async def test_the_same_words_give_the_same_ids_and_other_words_others(organisation: Organisation) -> None:
    about = await _about(organisation, speaker_ids={"amina": organisation.client_a.user_id})
    first = await _index(organisation, about, TURNS)
    tables = ("rag.transcript_segments", "rag.document_chunks")
    before = {table: await _ids(organisation, table) for table in tables}
    assert await _index(organisation, about, TURNS) == first
    assert {table: await _ids(organisation, table) for table in tables} == before
    await _index(organisation, about, [*TURNS[:2], Turn(None, "Ha.", 4.0)])
    for table in tables:
        assert not set(await _ids(organisation, table)) & set(before[table])


async def test_every_column_is_what_was_said(organisation: Organisation) -> None:
    about = await _about(organisation, speaker_ids={" Amina": organisation.client_a.user_id})
    transcript_id = await _index(organisation, about, TURNS)
    async with tenant_session(organisation.system) as session:
        segments = (await session.execute(text("SELECT * FROM rag.transcript_segments ORDER BY segment_index"))).all()
        chunk = (await session.execute(text("SELECT * FROM rag.document_chunks"))).one()
        vectors = text("SELECT *, embedding::text e, lexical::text l FROM rag.chunk_embeddings")
        vector = (await session.execute(vectors)).one()
        terms = await session.scalar(text("SELECT terms FROM rag.search_metadata"))
        duration = await session.scalar(text("SELECT duration_s FROM rag.transcripts"))
    source = chunk_transcript(TURNS)
    assert [(s.speaker, s.started_s, s.ended_s, s.text) for s in segments] == [
        (t.speaker, t.start, t.end, t.text) for t in TURNS
    ]
    assert [s.speaker_id for s in segments] == [None, organisation.client_a.user_id, None]
    assert duration == 4.0
    assert chunk.text == source.text[chunk.char_start : chunk.char_end] == source.chunks[0].text
    assert (chunk.transcript_id, chunk.document_id, vector.source_id) == (transcript_id, None, transcript_id)
    assert vector.speaker_ids == [organisation.client_a.user_id]
    assert terms == term_indices(source.chunks[0].lexical_text)
    stored = np.array([float(x) for x in vector.e.strip("[]").split(",")])
    (expected,) = await EMBEDDER.embed([source.chunks[0].embedded_text])
    np.testing.assert_allclose(stored, expected, atol=1e-3)
    weights = dict(pair.split(":") for pair in vector.l.partition("/")[0].strip("{}").split(","))
    assert {int(k): float(v) for k, v in weights.items()} == pytest.approx(
        dict(document_vector(source.chunks[0].lexical_text).weights), rel=1e-5
    )


async def test_a_document_keeps_text_pages_and_headings(organisation: Organisation) -> None:
    about = await _about(organisation)
    blocks = (Block("Rules", "heading", 1, 1), Block("Be kind.", page=1), Block("Be on time.", page=2))
    parsed = ParsedDocument("pdf", blocks)
    source = chunk_document(parsed)
    vectors = await EMBEDDER.embed([chunk.embedded_text for chunk in source.chunks])
    async with tenant_session(organisation.system) as session:
        registry = await ensure_registry(session, EMBEDDER)
        await lock_index(session, registry)
        await index_document(session, registry, about, source, vectors, format="pdf", page_count=2)
        document = (await session.execute(text("SELECT * FROM rag.documents"))).one()
        chunk = (await session.execute(text("SELECT * FROM rag.document_chunks"))).one()
    assert (document.text, document.page_count) == (source.text, 2)
    assert (chunk.page_first, chunk.page_last, chunk.heading, chunk.document_id) == (1, 2, "Rules", document.id)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(["goal", "plan", "fear", "sleep", "team"]), min_size=1), max_size=4))
async def test_term_counts_hold_after_any_indexing_and_withdrawing(
    organisation: Organisation, spoken: list[list[str]]
) -> None:
    about, other = await _about(organisation), await _about(organisation)
    await _index(organisation, other, [Turn("A", "A plan for the team.")])
    for words in spoken:
        await _index(organisation, about, [Turn("A", " ".join(words))])
    counted = text("SELECT term, chunks FROM rag.term_frequencies ORDER BY term")
    recounted = text(
        "SELECT term, count(*) FROM (SELECT unnest(terms) AS term FROM rag.search_metadata "
        "UNION ALL SELECT 0 FROM rag.search_metadata) t GROUP BY term ORDER BY term"
    )
    async with tenant_session(organisation.system) as session:
        assert (await session.execute(counted)).all() == (await session.execute(recounted)).all()
        await withdraw_objects(session, [about.object_id, other.object_id])
        assert (await session.execute(recounted)).all() == []
        assert (await session.execute(counted)).all() == []


async def test_a_model_that_was_replaced_takes_no_more_vectors(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        registry = await ensure_registry(session, EMBEDDER)
        assert await ensure_registry(session, EMBEDDER) == registry
        await session.execute(text("UPDATE rag.embeddings_registry SET status = 'retired'"))
        with pytest.raises(OtherModelActive):
            await lock_index(session, registry)
