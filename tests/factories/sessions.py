"""Sessions and documents, chunked and indexed as the product does it, with the embedder of stems."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import IngestedObject, User
from db.session import Principal, tenant_session
from domain import coaching
from domain.ingestion import ensure_source
from pipelines.chunk import chunk_document, chunk_transcript
from pipelines.index import About, ensure_registry, index_document, index_transcript, lock_index
from pipelines.parsed import Block, ParsedDocument, Turn
from rag.fakes import HashEmbedder
from tests.factories.people import Organisation

EMBEDDER = HashEmbedder()


@dataclass(frozen=True)
class Stored:
    """One indexed source: its object and its transcript or document."""

    object_id: UUID
    source_id: UUID


def require_id(principal: Principal) -> UUID:
    """Return the id of a principal who is a person."""
    assert principal.user_id is not None
    return principal.user_id


NAMES = {"client_a": "Amina Diallo", "client_b": "Daniel Okafor", "client_c": "Amina Rahman", "coach_a": "Ruth Ellery"}


async def name_people(organisation: Organisation) -> None:
    """Give people names as people have them; two clients share one."""
    async with tenant_session(organisation.system) as session:
        for person, name in NAMES.items():
            user_id = require_id(organisation.people[person])
            await session.execute(update(User).where(User.id == user_id).values(full_name=name))


async def store_session(
    organisation: Organisation,
    turns: Sequence[tuple[str, str]],
    *,
    held_at: datetime = datetime(2026, 3, 12, 9, tzinfo=UTC),
    client: Principal | None = None,
    coach: Principal | None = None,
    visibility: str = "client_visible",
    external_id: str | None = None,
    again: Stored | None = None,
) -> Stored:
    """Index a session of (speaker, words); "coach" and "client" are the two people, ten seconds a turn.

    `again` indexes the object of an earlier one anew.
    """
    client, coach = client or organisation.client_a, coach or organisation.coach_a
    client_id, coach_id = require_id(client), require_id(coach)
    spoken = [Turn(speaker, words, 10.0 * n, 10.0 * n + 9) for n, (speaker, words) in enumerate(turns)]
    title = f"Session of {held_at:%Y-%m-%d}"
    chunked = chunk_transcript(spoken, title=title, held_at=held_at)
    vectors = await EMBEDDER.embed([chunk.embedded_text for chunk in chunked.chunks])
    async with tenant_session(organisation.system) as session:
        meeting = await coaching.record_session(
            session, external_id=external_id or uuid4().hex, coach_id=coach_id, client_id=client_id, held_at=held_at,
            topic=None,
        )  # fmt: skip
        about = About(
            object_id=again.object_id
            if again
            else await _add_object(session, organisation, visibility, client_id, coach_id), title=title,
            visibility=visibility, client_id=client_id, coach_id=coach_id, held_at=held_at,
            coaching_session_id=meeting, speaker_ids={"coach": coach_id, "client": client_id},
        )  # fmt: skip
        registry = await ensure_registry(session, EMBEDDER)
        await lock_index(session, registry)
        source = await index_transcript(session, registry, about, chunked, vectors, format="test")
    return Stored(about.object_id, source)


async def store_document(
    organisation: Organisation,
    paragraphs: Sequence[str],
    *,
    title: str = "Programme guide",
    client: Principal | None = None,
    coach: Principal | None = None,
    visibility: str = "client_visible",
) -> Stored:
    """Index a document; without client and coach it is the whole tenant's."""
    client_id = require_id(client) if client else None
    coach_id = require_id(coach) if coach else None
    blocks = tuple(Block(text, page=n) for n, text in enumerate(paragraphs, 1))
    chunked = chunk_document(ParsedDocument("test", blocks, title))
    vectors = await EMBEDDER.embed([chunk.embedded_text for chunk in chunked.chunks])
    async with tenant_session(organisation.system) as session:
        about = About(
            object_id=await _add_object(session, organisation, visibility, client_id, coach_id), title=title,
            visibility=visibility, client_id=client_id, coach_id=coach_id,
        )  # fmt: skip
        registry = await ensure_registry(session, EMBEDDER)
        await lock_index(session, registry)
        source = await index_document(session, registry, about, chunked, vectors, format="test", page_count=len(blocks))
    return Stored(about.object_id, source)


async def _add_object(
    session: AsyncSession, organisation: Organisation, visibility: str, client_id: UUID | None, coach_id: UUID | None
) -> UUID:
    object_id = uuid4()
    await session.execute(
        insert(IngestedObject).values(
            tenant_id=organisation.tenant_id, id=object_id,
            data_source_id=await ensure_source(session, "file:///test"), key=object_id.hex, size_bytes=1,
            visibility=visibility, client_id=client_id, coach_id=coach_id, ingestion_status="indexed",
        )
    )  # fmt: skip
    return object_id
