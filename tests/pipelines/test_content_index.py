"""What people write inside the product is found by those it is for, from seconds after they wrote it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update

from core.settings import Settings
from db.models import (
    BlogPost,
    ChunkEmbedding,
    CoachingSession,
    Document,
    Enrollment,
    IngestedObject,
    Lesson,
    Outbox,
    Post,
    SessionNote,
    TermFrequency,
)
from db.session import Principal, tenant_session
from domain import curriculum
from domain.faqs import create_faq
from pipelines.content_index import handle_content
from pipelines.content_sources import Place, publish_all
from pipelines.outbox.dispatcher import Dispatcher, Limits, Report
from pipelines.outbox.handlers import build_registry
from pipelines.outbox.messages import Registry
from rag.embedding import Matrix
from rag.fakes import HashEmbedder
from rag.retrieve import retrieve
from tests.factories.community import write_post
from tests.factories.courses import Course, enroll_free, write_course
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER


async def settle(organisation: Organisation, store: Settings) -> Report:
    """Deliver what waits, as the running service does."""
    return await Dispatcher(build_registry(store, EMBEDDER), only={organisation.tenant_id}).drain()


async def find(reader: Principal, words: str) -> list[str]:
    """Return the texts found for these words that hold one of them."""
    async with tenant_session(reader) as session:
        found = await retrieve(session, EMBEDDER, words, top_k=20)
    wanted = words.lower().split()
    return [passage.text for passage in found.passages if any(word in passage.text.lower() for word in wanted)]


async def write_lesson(organisation: Organisation, words: str, **fields: Any) -> Course:
    course = await write_course(organisation, (1,))
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=course.all_lessons[0], principal=organisation.coach_a,
            fields={"text_content": words} | fields,
        )  # fmt: skip
    return course


async def hold_session(organisation: Organisation, **values: Any) -> UUID:
    async with tenant_session(organisation.system) as session:
        row = await session.scalar(
            insert(CoachingSession)
            .values(
                tenant_id=organisation.tenant_id, coach_id=organisation.coach_a.user_id,
                client_id=organisation.client_a.user_id, scheduled_at=datetime(2026, 3, 2, 9, tzinfo=UTC),
                status="completed", completed_at=datetime(2026, 3, 2, 10, tzinfo=UTC), **values,
            )
            .returning(CoachingSession.id)
        )  # fmt: skip
        return UUID(str(row))


async def count_left(organisation: Organisation) -> list[int]:
    async with tenant_session(organisation.system) as session:
        return [
            int(await session.scalar(select(func.count()).select_from(table)) or 0)
            for table in (IngestedObject, Document, ChunkEmbedding, TermFrequency)
        ]


async def test_lesson_is_found_by_those_who_take_it(organisation: Organisation, store: Settings) -> None:
    course = await write_lesson(organisation, "# Lighthouses\n\nA lighthouse keeper answers slowly.")
    await enroll_free(organisation, course, organisation.client_a)
    await settle(organisation, store)
    question = "lighthouse keeper"
    assert any("answers slowly" in words for words in await find(organisation.client_a, question))
    for reader in (organisation.client_b, organisation.coach_b, organisation.executive, organisation.compliance):
        assert await find(reader, question) == [], reader.role
    for reader in (organisation.coach_a, organisation.admin):
        assert await find(reader, question), reader.role

    async with tenant_session(organisation.system) as session:
        await session.execute(update(Enrollment).values(status="suspended"))
    assert await find(organisation.client_a, question) == []


async def test_preview_is_for_everyone_and_stops_being_so_at_once(organisation: Organisation, store: Settings) -> None:
    course = await write_lesson(organisation, "The marmalade exercise takes a minute.", is_preview=True)
    await settle(organisation, store)
    assert await find(organisation.client_b, "marmalade exercise")
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=course.all_lessons[0], principal=organisation.coach_a, fields={"is_preview": False}
        )
    assert await find(organisation.client_b, "marmalade exercise") == []
    await settle(organisation, store)
    assert await find(organisation.client_b, "marmalade exercise") == []
    assert await find(organisation.coach_a, "marmalade exercise")


async def test_lesson_taken_back_is_gone_before_anything_is_delivered(
    organisation: Organisation, store: Settings
) -> None:
    course = await write_lesson(organisation, "The pelican rule has three parts.")
    await enroll_free(organisation, course, organisation.client_a)
    await settle(organisation, store)
    assert await find(organisation.client_a, "pelican rule")
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=course.all_lessons[0], principal=organisation.coach_a, fields={"is_published": False}
        )
    for reader in (organisation.client_a, organisation.admin, organisation.coach_a):
        assert await find(reader, "pelican rule") == []
    await settle(organisation, store)
    assert await count_left(organisation) == [0, 0, 0, 0]


async def test_edited_post_is_found_by_its_new_words_only(organisation: Organisation, store: Settings) -> None:
    post_id = await write_post(organisation.client_a, title="Walks", content="We met at the aquarium.")
    await settle(organisation, store)
    assert await find(organisation.client_b, "aquarium")
    async with tenant_session(organisation.client_a) as session:
        await session.execute(update(Post).where(Post.id == post_id).values(content="We met at the velodrome."))
    assert await find(organisation.client_b, "aquarium") == []
    await settle(organisation, store)
    assert await find(organisation.client_b, "velodrome")
    assert await find(organisation.client_b, "aquarium") == []


@pytest.mark.parametrize("change", [{"status": "removed"}, {"visibility": "coach_only"}, None])
async def test_what_is_taken_back_is_gone_in_the_same_transaction(
    organisation: Organisation, store: Settings, change: dict[str, str] | None
) -> None:
    post_id = await write_post(organisation.coach_a, content="The kumquat story.")
    await settle(organisation, store)
    assert await find(organisation.client_b, "kumquat")
    statement = update(Post).values(**change) if change else delete(Post)
    async with tenant_session(organisation.system) as session:
        await session.execute(statement.where(Post.id == post_id))
    assert await find(organisation.client_b, "kumquat") == []
    await settle(organisation, store)
    assert await find(organisation.client_b, "kumquat") == []
    if change and "visibility" in change:
        assert await find(organisation.coach_b, "kumquat")
    else:
        assert await count_left(organisation) == [0, 0, 0, 0]


async def test_what_was_taken_back_comes_again_without_new_vectors(organisation: Organisation, store: Settings) -> None:
    class Counting(HashEmbedder):
        texts = 0

        async def embed(self, texts: Sequence[str]) -> Matrix:
            self.texts += len(texts)
            return await super().embed(texts)

    embedder = Counting()
    dispatcher = Dispatcher(build_registry(store, embedder), only={organisation.tenant_id})
    post_id = await write_post(organisation.coach_a, content="The kumquat story.")
    await dispatcher.drain()
    once = embedder.texts
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Post).where(Post.id == post_id).values(visibility="coach_only"))
    await dispatcher.drain()
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Post).where(Post.id == post_id).values(visibility="client_visible"))
    assert await find(organisation.client_b, "kumquat") == []
    await dispatcher.drain()
    assert await find(organisation.client_b, "kumquat")
    assert embedder.texts == once > 0
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Post).where(Post.id == post_id).values(is_pinned=True))
        assert await session.scalar(select(func.count(Outbox.id)).where(Outbox.delivered_at.is_(None))) == 0


async def test_questions_and_articles(organisation: Organisation, store: Settings) -> None:
    async with tenant_session(organisation.system) as session:
        await create_faq(
            session, writer=organisation.admin, visibility="client_visible",
            fields={"category": "billing", "question": "May I pay by zeppelin?", "answer": "No."},
        )  # fmt: skip
        session.add(
            BlogPost(
                tenant_id=organisation.tenant_id,
                title="Autumn",
                slug="autumn",
                content="The gondola is late.",
                status="published",
                published_at=datetime(2026, 3, 1, tzinfo=UTC),
            )
        )
        session.add(
            BlogPost(tenant_id=organisation.tenant_id, title="Draft", slug="draft", content="The tugboat is late.")
        )
    await settle(organisation, store)
    assert await find(organisation.client_c, "zeppelin")
    assert await find(organisation.client_c, "gondola")
    assert await find(organisation.coach_a, "tugboat") == []


async def test_notes_of_a_session_reach_whom_they_are_for(organisation: Organisation, store: Settings) -> None:
    session_id = await hold_session(
        organisation, topic="Delegation", notes="I want to talk about the orchard.",
        action_items=[{"id": str(uuid4()), "item": "Call the beekeeper", "due_date": "2026-03-09", "status": "open"}],
    )  # fmt: skip
    async with tenant_session(organisation.coach_a) as session:
        await session.execute(
            text(
                "INSERT INTO coaching.session_notes (tenant_id, session_id, author_id, kind, content) "
                "VALUES (:tenant, :session, :author, 'coach_notes', 'Seems afraid of the tarantula.')"
            ),
            {"tenant": organisation.tenant_id, "session": session_id, "author": organisation.coach_a.user_id},
        )
    await settle(organisation, store)
    for words in ("orchard", "beekeeper"):
        assert await find(organisation.client_a, words)
        assert await find(organisation.coach_a, words)
        for reader in (organisation.client_b, organisation.coach_b, organisation.admin):
            assert await find(reader, words) == []
    assert await find(organisation.coach_a, "tarantula")
    for reader in (organisation.client_a, organisation.coach_b, organisation.admin, organisation.executive):
        assert await find(reader, "tarantula") == [], reader.role
    async with tenant_session(organisation.coach_a) as session:
        titles = set(await session.scalars(select(Document.title)))
    assert titles == {
        "Agreed in the session of 2 March 2026: Delegation", "Coach's notes on the session of 2 March 2026",
    }  # fmt: skip

    async with tenant_session(organisation.coach_a) as session:
        await session.execute(update(SessionNote).values(visibility="client_visible"))
    await settle(organisation, store)
    assert await find(organisation.client_a, "tarantula")
    async with tenant_session(organisation.coach_a) as session:
        await session.execute(update(SessionNote).values(visibility="coach_only"))
    assert await find(organisation.client_a, "tarantula") == []


async def test_no_other_tenant_finds_it(organisation: Organisation, store: Settings) -> None:
    await write_post(organisation.client_a, content="The harpsichord is tuned.")
    await settle(organisation, store)
    other = await found_organisation()
    assert await find(organisation.client_b, "harpsichord")
    for reader in (*other.people.values(), other.system):
        assert await find(reader, "harpsichord") == []


async def test_row_changed_while_it_is_indexed_is_not_shown_as_it_was(
    organisation: Organisation, store: Settings
) -> None:
    """The edit comes between the reading and the writing of the first message: old words must not be shown after it."""
    post_id = await write_post(organisation.client_a, content="The old accordion.")
    edited = False

    class Slow(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> Matrix:
            nonlocal edited
            if not edited:
                edited = True
                async with tenant_session(organisation.client_a) as session:
                    await session.execute(update(Post).where(Post.id == post_id).values(content="The new bassoon."))
            return await super().embed(texts)

    async def load() -> HashEmbedder:
        return Slow()

    async def handle(message: Any) -> Any:
        return await handle_content(load, message)

    once = Dispatcher(Registry(otherwise=handle), replace(Limits(), batch=1), only={organisation.tenant_id})
    await once._serve(organisation.tenant_id)
    assert edited
    assert await find(organisation.client_b, "accordion bassoon") == []
    await settle(organisation, store)
    assert await find(organisation.client_b, "bassoon")
    assert await find(organisation.client_b, "accordion") == []


async def test_many_edits_at_once_end_with_the_last_words(organisation: Organisation, store: Settings) -> None:
    post_id = await write_post(organisation.client_a, content="Version 0.")

    async def edit(number: int) -> None:
        async with tenant_session(organisation.client_a) as session:
            await session.execute(update(Post).where(Post.id == post_id).values(content=f"Harbour version {number}."))

    await asyncio.gather(
        *(edit(number) for number in range(1, 21)), settle(organisation, store), settle(organisation, store)
    )
    await settle(organisation, store)
    async with tenant_session(organisation.client_b) as session:
        last = await session.scalar(select(Post.content).where(Post.id == post_id))
        (indexed,) = await session.scalars(select(Document.text))
    assert indexed == last


async def test_everything_is_indexed_anew_and_what_is_gone_is_taken_out(
    organisation: Organisation, store: Settings
) -> None:
    """As for a tenant whose rows are older than the triggers."""
    await write_lesson(organisation, "The kettle lesson.", is_preview=True)
    post_id = await write_post(organisation.client_a, content="The teapot post.")
    gone = await write_post(organisation.client_a, content="The saucer post.")
    await settle(organisation, store)
    before = await count_left(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(
            delete(IngestedObject).where(IngestedObject.id == Place(kind="post", row_id=post_id).object_id)
        )
    assert await find(organisation.client_b, "teapot") == []
    async with tenant_session(organisation.system) as session:
        assert await publish_all(session) == 3
    await settle(organisation, store)
    assert await count_left(organisation) == before
    assert await find(organisation.client_b, "teapot")
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Post).where(Post.id == gone))
        await session.execute(delete(Outbox))
        assert await publish_all(session) == 3
    await settle(organisation, store)
    assert (await count_left(organisation))[0] == before[0] - 1


async def test_unknown_kind_is_given_up(organisation: Organisation, store: Settings) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text("""SELECT comms.publish('content_changed', jsonb_build_object('kind', 'poem', 'id', uuidv7()))""")
        )
    report = await settle(organisation, store)
    assert report.count("dead") == 1


async def test_lesson_without_words_is_no_source(organisation: Organisation, store: Settings) -> None:
    course = await write_lesson(organisation, "   ")
    await settle(organisation, store)
    async with tenant_session(organisation.system) as session:
        lesson = await session.scalar(select(Lesson.is_visible).where(Lesson.id == course.all_lessons[0]))
    assert lesson
    assert (await count_left(organisation))[0] == 0


async def test_tenant_goes_with_all_that_was_written(organisation: Organisation, store: Settings) -> None:
    """The triggers on what goes must not promise messages for a tenant that is no more."""
    await write_lesson(organisation, "The kettle lesson.")
    await write_post(organisation.client_a, content="The teapot post.")
    await hold_session(organisation, notes="The saucer.")
    await settle(organisation, store)
    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM platform.tenants"))
        assert await session.scalar(text("SELECT count(*) FROM platform.tenants")) == 0
        await session.rollback()
    assert (await count_left(organisation))[0] == 3
