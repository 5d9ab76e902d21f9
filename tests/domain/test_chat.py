"""Conversations belong to one person, are never changed, and are read with today's rights."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from db.models import AgentFailure, AgentRun, ChatMessage, IngestedObject, MessageCitation
from db.session import Principal, tenant_session
from domain import chat, coaching
from domain.citations import CitedSpan, list_citation_views
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, require_id, store_document, store_session

TURNS = [("coach", "How was it?"), ("client", "Hard. I called Tobias twice."), ("coach", "And then?")]


async def find_hash(organisation: Organisation, stored: Stored) -> str:
    from db.models import Document, Transcript

    async with tenant_session(organisation.system) as session:
        for table in (Transcript, Document):
            found: str | None = await session.scalar(select(table.content_hash).where(table.id == stored.source_id))
            if found:
                return found
    raise AssertionError("not stored")


async def tell(organisation: Organisation, reader: Principal, *spans: CitedSpan) -> UUID:
    """Store a question and an answer of one sentence a span, and a last one without a source."""
    run_id = uuid4()
    async with tenant_session(reader) as session:
        conversation = await chat.create_session(session, user_id=reader.user_id)
        await chat.start_run(
            session, run_id=run_id, user_id=reader.user_id, session_id=conversation.id, agent_type="assistant"
        )
        await chat.append_question(session, conversation, run_id=run_id, text="What happened?")
    async with tenant_session(reader) as session:
        sentences = [chat.StoredSentence(f"Sentence {span.ordinal}.", (span.ordinal,)) for span in spans]
        await chat.append_answer(
            session,
            session_id=conversation.id,
            user_id=require_id(reader),
            run_id=run_id,
            answer=chat.StoredAnswer(
                sentences=(*sentences, chat.StoredSentence("That is all.", ())),
                citations=spans,
                facts={"refused": False},
            ),
        )
    return conversation.id


async def cite(
    organisation: Organisation, stored: Stored, ordinal: int, words: tuple[int, int], kind: str
) -> CitedSpan:
    return CitedSpan(
        ordinal=ordinal, source_id=stored.source_id, source_kind=kind,  # type: ignore[arg-type]  # one of the two
        chunk_id=None, content_hash=await find_hash(organisation, stored), char_start=words[0], char_end=words[1],
    )  # fmt: skip


async def test_citations_show_the_words_and_their_neighbours(organisation: Organisation) -> None:
    stored = await store_session(organisation, TURNS)
    guide = await store_document(organisation, ["Be kind.", "Call before noon.", "Close the door."])
    spans = [
        await cite(organisation, stored, 1, (18, 40), "transcript"),
        await cite(organisation, guide, 2, (10, 27), "document"),
    ]
    async with tenant_session(organisation.coach_a) as session:
        spoken, written = await list_citation_views(session, spans)
    assert spoken is not None
    assert spoken.quote == "I called Tobias twice."
    assert (spoken.speaker, spoken.started_s, spoken.segment_first, spoken.segment_last) == ("client_a", 10.0, 1, 1)
    assert spoken.before == "coach_a: How was it?\nHard."
    assert spoken.after == "coach_a: And then?"
    assert written is not None
    assert (written.quote, written.before, written.after) == (
        "Call before noon.",
        "Be kind.\n\n",
        "\n\nClose the door.",
    )


async def test_each_sentence_is_withheld_by_its_own_source(organisation: Organisation) -> None:
    mine = await store_session(organisation, TURNS)
    other = await store_session(organisation, TURNS, client=organisation.client_b)
    spans = [
        await cite(organisation, mine, 1, (12, 40), "transcript"),
        await cite(organisation, other, 2, (12, 40), "transcript"),
    ]
    conversation = await tell(organisation, organisation.coach_a, *spans)

    async def read() -> tuple[str, ...]:
        async with tenant_session(organisation.coach_a) as session:
            (_, answer) = await chat.list_messages(session, conversation, limit=5)
        assert {c.ordinal for c in answer.citations} == {n for s in answer.sentences for n in s.citations}
        return tuple(sentence.text for sentence in answer.sentences)

    assert await read() == ("Sentence 1.", "Sentence 2.", "That is all.")
    async with tenant_session(organisation.system) as session:
        await session.execute(
            update(IngestedObject).where(IngestedObject.id == mine.object_id).values(visibility="system_internal")
        )
    assert await read() == (chat.WITHHELD, "Sentence 2.", "That is all.")
    async with tenant_session(organisation.system) as session:
        await coaching.end_engagement(
            session, coach_id=require_id(organisation.coach_a), client_id=require_id(organisation.client_b)
        )
    assert await read() == (chat.WITHHELD, chat.WITHHELD, "That is all.")


async def test_erased_source_is_withheld(organisation: Organisation) -> None:
    stored = await store_session(organisation, TURNS)
    conversation = await tell(
        organisation, organisation.coach_a, await cite(organisation, stored, 1, (12, 40), "transcript")
    )
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(IngestedObject).where(IngestedObject.id == stored.object_id))
    async with tenant_session(organisation.coach_a) as session:
        (_, answer) = await chat.list_messages(session, conversation, limit=5)
        assert answer.text == f"{chat.WITHHELD} That is all."
        assert (await session.scalars(select(MessageCitation))).all() == []


async def test_same_words_indexed_anew_stay_readable_and_other_words_do_not(organisation: Organisation) -> None:
    stored = await store_session(organisation, TURNS)
    conversation = await tell(
        organisation, organisation.coach_a, await cite(organisation, stored, 1, (18, 40), "transcript")
    )

    async def read() -> tuple[str, list[str]]:
        async with tenant_session(organisation.coach_a) as session:
            (_, answer) = await chat.list_messages(session, conversation, limit=5)
        return answer.text, [citation.quote for citation in answer.citations]

    before = await read()
    assert before == ("Sentence 1. That is all.", ["I called Tobias twice."])
    await store_session(organisation, TURNS, again=stored)
    assert await read() == before
    await store_session(organisation, [*TURNS, ("client", "One more thing.")], again=stored)
    assert await read() == (f"{chat.WITHHELD} That is all.", [])


async def test_messages_are_never_changed(organisation: Organisation) -> None:
    await tell(organisation, organisation.coach_a)
    for reader in (organisation.coach_a, organisation.system):
        with pytest.raises(DBAPIError):
            async with tenant_session(reader) as session:
                await session.execute(update(ChatMessage).values(content="Something else"))


async def test_conversations_belong_to_one_person(organisation: Organisation) -> None:
    conversation = await tell(organisation, organisation.coach_a)
    for reader in (organisation.coach_b, organisation.client_a, organisation.admin):
        async with tenant_session(reader) as session:
            assert await chat.list_sessions(session, limit=10) == []
            assert await chat.list_messages(session, conversation, limit=10) == []
            with pytest.raises(chat.ChatSessionNotFound):
                await chat.get_session(session, conversation)
    async with tenant_session(organisation.coach_a) as session:
        (row,) = await chat.list_sessions(session, limit=10)
        assert row.title == "What happened?"


async def test_only_people_converse_and_only_about_clients_they_see(organisation: Organisation) -> None:
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(chat.ClientNotFound):
            await chat.create_session(
                session, user_id=organisation.coach_a.user_id, client_id=organisation.client_c.user_id
            )
        with pytest.raises(chat.NotAPerson):
            await chat.create_session(session, user_id=None)


async def test_pages_of_messages_neither_miss_nor_repeat(organisation: Organisation) -> None:
    reader = organisation.coach_a
    conversation = await tell(organisation, reader)
    async with tenant_session(reader) as session:
        row = await chat.get_session(session, conversation)
        for number in range(4):
            await chat.append_question(session, row, run_id=uuid4(), text=f"Question {number}")
    seen: list[str] = []
    after: tuple[datetime, UUID] | None = None
    async with tenant_session(reader) as session:
        while page := await chat.list_messages(session, conversation, limit=2, after=after):
            seen += [message.text for message in page]
            after = (page[-1].created_at, page[-1].id)
        assert await chat.list_questions(session, conversation, limit=2) == ["Question 2", "Question 3"]
    assert seen == ["What happened?", "That is all.", *(f"Question {number}" for number in range(4))]


async def test_runs_keep_their_failures(organisation: Organisation) -> None:
    reader, run_id = organisation.coach_a, uuid4()
    async with tenant_session(reader) as session:
        told = {"run_id": run_id, "user_id": reader.user_id, "session_id": None, "agent_type": "assistant"}
        assert await chat.start_run(session, **told)  # type: ignore[arg-type]  # by name
        assert not await chat.start_run(session, **told)  # type: ignore[arg-type]  # by name
        await chat.finish_run(
            session, run_id, "failed", metadata={"seconds": 1}, failures=[chat.Failure("Timeout", "Too slow.", True)]
        )
    async with tenant_session(reader) as session:
        run = await session.scalar(select(AgentRun).where(AgentRun.id == run_id))
        (failure,) = (await session.scalars(select(AgentFailure))).all()
    assert run is not None
    assert (run.status, run.metadata_) == ("failed", {"seconds": 1})
    assert run.completed_at is not None
    assert run.completed_at <= datetime.now(UTC)
    assert (failure.error_type, failure.error_message, failure.retryable) == ("Timeout", "Too slow.", True)
    async with tenant_session(organisation.coach_b) as session:
        assert (await session.scalars(select(AgentFailure))).all() == []
