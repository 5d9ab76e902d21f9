"""A stored answer is studied only while everyone whose words it holds allows it, whoever tries what."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.models import (
    CaseProposal,
    ChatMessage,
    ChatSession,
    Dataset,
    DatasetCase,
    IngestedObject,
    RagEvaluation,
    RagMetric,
    TranscriptSegment,
)
from db.session import Principal, tenant_session
from domain.consents import withdraw_consent
from domain.feedback import give_feedback, take_back_feedback
from pipelines.index import WITHDRAW
from tests.factories.answers import Answered, agree, store_answer
from tests.factories.evidence import store_claim
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import Stored, require_id, store_document, store_session
from tests.factories.waiting import until_blocked

PROMISE = "I'll call Tobias before the weekend."
TURNS = [("coach", "What will you do?"), ("client", PROMISE), ("coach", "Good.")]
PROPOSE = text(
    "INSERT INTO evaluation.case_proposals (tenant_id, user_id, message_id, message_created_at, origin) "
    "SELECT tenant_id, user_id, id, created_at, 'production' FROM chat.chat_messages WHERE id = :id"
)


@dataclass(frozen=True)
class World:
    """Two sessions of two clients with one coach, and an answer of the coach that cites both."""

    people: Organisation
    first: Stored
    second: Stored
    answer: Answered


@pytest.fixture
async def world(organisation: Organisation) -> World:
    first = await store_session(organisation, TURNS)
    second = await store_session(organisation, TURNS, client=organisation.client_b)
    answer = await store_answer(organisation.coach_a, (first, PROMISE), (second, PROMISE))
    return World(organisation, first, second, answer)


async def may_study(people: Organisation, answer: Answered) -> bool:
    async with tenant_session(people.system) as session:
        return bool(await session.scalar(select(func.evaluation.may_study(people.tenant_id, answer.message_id))))


async def study(people: Organisation, answer: Answered) -> UUID:
    """Propose, confirm and build a case of the answer, and score the answer itself."""
    user_id, proposal_id, dataset_id, evaluation_id = require_id(answer.asker), uuid4(), uuid4(), uuid4()
    async with tenant_session(people.system) as session:
        stored_at = await session.scalar(select(ChatMessage.created_at).where(ChatMessage.id == answer.message_id))
        common = {"tenant_id": people.tenant_id, "user_id": user_id}
        link = {"message_id": answer.message_id, "message_created_at": stored_at}
        await session.execute(
            insert(CaseProposal).values(
                **common, **link, id=proposal_id, origin="production", status="confirmed", decided_at=func.now(),
                user_input="What did she promise?", reference_contexts=[PROMISE],
            )
        )  # fmt: skip
        await session.execute(
            insert(Dataset).values(
                tenant_id=people.tenant_id, id=dataset_id, name=uuid4().hex, version=1, origin="production",
                content_hash=uuid4().hex,
            )
        )  # fmt: skip
        await session.execute(
            insert(DatasetCase).values(
                tenant_id=people.tenant_id, dataset_id=dataset_id, case_key="a", user_input="What?",
                reference_contexts=[PROMISE], visibility="system_internal", coach_id=user_id, proposal_id=proposal_id,
            )
        )  # fmt: skip
        await session.execute(
            insert(RagEvaluation).values(
                **common, **link, id=evaluation_id, query="What did she promise?", answer=PROMISE, status="scored"
            )
        )
        await session.execute(
            insert(RagMetric).values(tenant_id=people.tenant_id, evaluation_id=evaluation_id, scorer="words")
        )
    return proposal_id


async def count_kept(people: Organisation) -> tuple[int, int, int, int]:
    async with tenant_session(people.system) as session:
        counts = [
            await session.scalar(select(func.count()).select_from(table))
            for table in (CaseProposal, DatasetCase, RagEvaluation, RagMetric)
        ]
    return tuple(counts)  # type: ignore[return-value]  # four of them


async def agree_all(world: World, *others: Principal) -> None:
    people = world.people
    for person in (people.coach_a, people.client_a, people.client_b, *others):
        await agree(person)


async def test_everyone_who_is_cited_must_agree(world: World) -> None:
    people, allowed = world.people, []
    for person in (people.coach_a, people.client_a, people.client_b):
        allowed.append(await may_study(people, world.answer))
        await agree(person)
    assert allowed == [False, False, False]
    assert await may_study(people, world.answer)


async def test_the_store_refuses_an_answer_that_may_not_be_studied(world: World) -> None:
    await agree(world.people.coach_a)
    await agree(world.people.client_a)  # client_b, who is cited too, has not
    with pytest.raises(IntegrityError, match="may not be studied"):
        await study(world.people, world.answer)
    assert await count_kept(world.people) == (0, 0, 0, 0)


async def test_questions_and_answers_of_another_organisation_can_not_be_studied(world: World) -> None:
    other = await found_organisation()
    await agree_all(world)
    assert not await may_study(other, world.answer)
    async with tenant_session(world.people.system) as session:
        asked = (
            await session.scalars(
                select(ChatMessage.id)
                .where(ChatMessage.session_id == world.answer.session_id, ChatMessage.role == "user")
            )
        ).one()  # fmt: skip
    assert not await may_study(world.people, replace(world.answer, message_id=asked))


async def test_whom_the_conversation_is_about_must_agree(organisation: Organisation) -> None:
    guide = await store_document(organisation, ["Call before noon."])
    answer = await store_answer(organisation.coach_a, (guide, "Call before noon."), client=organisation.client_a)
    await agree(organisation.coach_a)
    assert not await may_study(organisation, answer)
    await agree(organisation.client_a)
    assert await may_study(organisation, answer)


async def test_clients_ask_about_themselves_alone(organisation: Organisation) -> None:
    stored = await store_session(organisation, TURNS)
    answer = await store_answer(organisation.client_a, (stored, PROMISE))
    assert not await may_study(organisation, answer)
    await agree(organisation.client_a)
    assert await may_study(organisation, answer)


async def test_a_client_who_speaks_in_somebody_else_s_session_must_agree(world: World) -> None:
    people = world.people
    answer = await store_answer(people.coach_a, (world.first, "What will you do?"))
    await agree(people.coach_a)
    await agree(people.client_a)
    assert await may_study(people, answer)
    async with tenant_session(people.system) as session:
        await session.execute(
            update(TranscriptSegment)
            .where(TranscriptSegment.transcript_id == world.first.source_id, TranscriptSegment.segment_index == 0)
            .values(speaker_id=people.client_c.user_id)
        )
    assert not await may_study(people, answer)
    await agree(people.client_c)
    assert await may_study(people, answer)


async def test_whoever_s_claim_an_answer_tells_must_agree(world: World) -> None:
    people = world.people
    claim = await store_claim(people, world.second, PROMISE)
    answer = await store_answer(people.coach_a, (world.first, PROMISE), evidence=(claim,))
    await agree(people.coach_a)
    await agree(people.client_a)
    assert not await may_study(people, answer)
    await agree(people.client_b)
    assert await may_study(people, answer)


async def test_what_an_answer_cites_counts_also_after_its_source_was_indexed_anew(world: World) -> None:
    people = world.people
    await agree(people.coach_a)
    await agree(people.client_a)
    async with tenant_session(people.system) as session:
        await session.execute(WITHDRAW, {"object_ids": [world.second.object_id]})
    await store_session(people, TURNS, client=people.client_b, again=world.second)
    async with tenant_session(people.system) as session:
        cited = await session.scalar(
            text("SELECT count(*) FROM chat.message_citations WHERE message_id = :id"), {"id": world.answer.message_id}
        )
    assert cited == 1  # the row of the second is gone; the answer still holds its words
    assert not await may_study(people, world.answer)
    await agree(people.client_b)
    assert await may_study(people, world.answer)


async def _withdraw(person: Principal) -> None:
    async with tenant_session(person) as session:
        await withdraw_consent(session, user_id=require_id(person), purpose="evaluation")


async def _erase_source(world: World) -> None:
    async with tenant_session(world.people.system) as session:
        await session.execute(WITHDRAW, {"object_ids": [world.second.object_id]})


async def _change_source(world: World) -> None:
    turns = [*TURNS[:2], ("coach", "Very good.")]
    await store_session(world.people, turns, client=world.people.client_b, again=world.second)


async def _give_source_to_another(world: World) -> None:
    async with tenant_session(world.people.system) as session:
        await session.execute(
            update(IngestedObject).where(IngestedObject.id == world.second.object_id)
            .values(client_id=world.people.client_c.user_id)
        )  # fmt: skip


async def _delete_conversation(world: World) -> None:
    async with tenant_session(world.people.coach_a) as session:
        await session.execute(delete(ChatSession).where(ChatSession.id == world.answer.session_id))


WITHDRAWALS: dict[str, Callable[[World], Awaitable[None]]] = {
    "the asker withdraws": lambda world: _withdraw(world.people.coach_a),
    "a cited client withdraws": lambda world: _withdraw(world.people.client_b),
    "the cited source is removed": _erase_source,
    "the cited source says something else": _change_source,
    "the cited source becomes another client's": _give_source_to_another,
    "the conversation is deleted": _delete_conversation,
}


@pytest.mark.parametrize("how", WITHDRAWALS)
async def test_a_withdrawal_removes_all_of_it_at_once_and_nothing_else(world: World, how: str) -> None:
    people = world.people
    await agree_all(world)
    await agree(people.client_a)
    other = await store_answer(people.client_a, (world.first, PROMISE))
    await study(people, world.answer)
    await study(people, other)
    assert await count_kept(people) == (2, 2, 2, 2)
    await WITHDRAWALS[how](world)
    assert await count_kept(people) == (1, 1, 1, 1)
    async with tenant_session(people.system) as session:
        assert await session.scalar(select(CaseProposal.message_id)) == other.message_id
        assert await session.scalar(select(RagEvaluation.message_id)) == other.message_id


async def test_indexing_the_same_words_anew_keeps_what_is_studied(world: World) -> None:
    await agree_all(world)
    await study(world.people, world.answer)
    await store_session(world.people, TURNS, client=world.people.client_b, again=world.second)
    async with tenant_session(world.people.system) as session:
        cited = await session.scalar(
            text("SELECT count(*) FROM chat.message_citations WHERE message_id = :id"), {"id": world.answer.message_id}
        )
    assert cited == 1  # it was removed and put back
    assert await count_kept(world.people) == (1, 1, 1, 1)


async def test_consent_to_something_else_changes_nothing(world: World) -> None:
    from domain.consents import record_consent

    people = world.people
    await agree_all(world)
    await study(people, world.answer)
    async with tenant_session(people.client_b) as session:
        user_id = require_id(people.client_b)
        await record_consent(session, user_id=user_id, purpose="research", version="1")
        await withdraw_consent(session, user_id=user_id, purpose="research")
    assert await count_kept(people) == (1, 1, 1, 1)


async def test_one_answer_is_studied_while_its_feedback_says_so(organisation: Organisation) -> None:
    stored = await store_session(organisation, TURNS)
    answer = await store_answer(organisation.coach_a, (stored, PROMISE))
    await agree(organisation.client_a)

    async def rate(allowed: bool) -> UUID:
        async with tenant_session(organisation.coach_a) as session:
            given = await give_feedback(
                session, target_type="message", target_id=answer.message_id, rating=1, may_be_studied=allowed
            )
            return given.id

    await rate(False)
    assert not await may_study(organisation, answer)
    await rate(True)
    await study(organisation, answer)
    await rate(True)
    assert await count_kept(organisation) == (1, 1, 1, 1)
    await rate(False)
    assert await count_kept(organisation) == (0, 0, 0, 0)
    feedback_id = await rate(True)
    await study(organisation, answer)
    async with tenant_session(organisation.coach_a) as session:
        await take_back_feedback(session, feedback_id)
    assert await count_kept(organisation) == (0, 0, 0, 0)


async def test_only_whoever_asked_reads_and_decides(world: World) -> None:
    people = world.people
    await agree_all(world)
    proposal_id = await study(people, world.answer)
    for name, person in people.people.items():
        async with tenant_session(person) as session:
            assert len((await session.scalars(select(CaseProposal.user_input))).all()) == (name == "coach_a"), name
            assert (await session.scalars(select(DatasetCase.user_input))).all() == [], name
            changed = await session.execute(
                update(CaseProposal).where(CaseProposal.id == proposal_id).values(reference=name)
            )
            assert changed.rowcount == (name == "coach_a"), name  # type: ignore[attr-defined]  # of a cursor's result
            removed = await session.execute(delete(CaseProposal).where(CaseProposal.id == proposal_id))
            assert removed.rowcount == 0, name  # type: ignore[attr-defined]  # of a cursor's result


@pytest.mark.parametrize("column", ["message_id", "message_created_at", "user_id", "origin", "created_at"])
async def test_what_a_proposal_is_about_can_not_be_changed(world: World, column: str) -> None:
    await agree_all(world)
    await study(world.people, world.answer)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with tenant_session(world.people.coach_a) as session:
            await session.execute(text(f"UPDATE evaluation.case_proposals SET {column} = {column}"))


async def test_nobody_proposes_in_another_s_name(world: World) -> None:
    await agree_all(world)
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_session(world.people.coach_a) as session:
            await session.execute(PROPOSE, {"id": world.answer.message_id})


async def test_the_owner_s_functions_are_not_for_the_app(world: World) -> None:
    people = world.people
    for call in (
        "evaluation.list_studied(:tenant)", "evaluation.list_clients(:tenant, ARRAY[CAST(:id AS uuid)])",
        "evaluation.forget_messages(:tenant, ARRAY[CAST(:id AS uuid)])",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="permission denied"):
            async with tenant_session(people.coach_a) as session:
                await session.execute(
                    text(f"SELECT {call}"), {"tenant": people.tenant_id, "id": world.answer.message_id}
                )


async def test_a_withdrawal_waits_for_a_study_under_way_and_then_removes_it(world: World) -> None:
    people = world.people
    await agree_all(world)
    async with tenant_session(people.system) as session:
        await session.execute(PROPOSE, {"id": world.answer.message_id})
        withdrawal = asyncio.create_task(_withdraw(people.client_b))
        await until_blocked(session, withdrawal)
    await withdrawal
    assert await count_kept(people) == (0, 0, 0, 0)
