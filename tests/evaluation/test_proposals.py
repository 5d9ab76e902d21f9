"""Answers are proposed by consent, and decided by whoever asked, in words they may read."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from db.models import CaseProposal, ChatMessage, IngestedObject
from db.session import Principal, tenant_session
from domain.feedback import give_feedback
from evaluation.proposals import (
    NothingToCompare,
    ProposalNotFound,
    ProposalView,
    UnusableCase,
    confirm_proposal,
    count_waiting,
    get_proposal,
    propose_from_feedback,
    propose_from_production,
    reject_proposal,
    select_proposals,
)
from tests.factories.answers import Answered, agree, store_answer
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, store_session

PROMISE = "I'll mend the greenhouse roof before the first frost."
FACT = "The roof leaks over the tomato beds."
TURNS = [("coach", "Tell me about the greenhouse."), ("client", FACT), ("coach", "And then?"), ("client", PROMISE)]


@pytest.fixture
async def stored(organisation: Organisation) -> Stored:
    await agree(organisation.client_a)
    return await store_session(organisation, TURNS)


async def rate(answer: Answered, rating: int, *, may_be_studied: bool = True, comment: str | None = None) -> None:
    async with tenant_session(answer.asker) as session:
        await give_feedback(
            session, target_type="message", target_id=answer.message_id, rating=rating,  # type: ignore[arg-type]  # -1…1
            may_be_studied=may_be_studied, comment=comment,
        )  # fmt: skip


async def propose(organisation: Organisation, limit: int = 100) -> int:
    async with tenant_session(organisation.system) as session:
        return await propose_from_feedback(session, limit)


async def list_proposed(reader: Principal) -> list[tuple[UUID, str, int | None]]:
    """Return (answer, question, rating) of the reader's proposals, as they were made."""
    async with tenant_session(reader) as session:
        rows = await session.execute(select_proposals("proposed").order_by(CaseProposal.created_at, CaseProposal.id))
        return [(proposal.message_id, question, rating) for proposal, question, rating in rows.tuples()]


async def find_proposal(answer: Answered) -> UUID:
    async with tenant_session(answer.asker) as session:
        found = await session.scalar(select(CaseProposal.id).where(CaseProposal.message_id == answer.message_id))
    assert found is not None
    return found


async def see(answer: Answered) -> ProposalView:
    async with tenant_session(answer.asker) as session:
        return await get_proposal(session, await find_proposal(answer))


async def test_rated_answers_are_proposed_once_the_newest_opinions_first(
    organisation: Organisation, stored: Stored
) -> None:
    coach = organisation.coach_a
    up, down, unsaid, unrated, silent = [
        await store_answer(coach, (stored, PROMISE), question=f"Question {n}?") for n in range(5)
    ]
    await rate(up, 1)
    await rate(down, -1)
    await rate(unsaid, 1, may_be_studied=False)
    await rate(unrated, 0)
    assert await propose(organisation, limit=1) == 1
    assert await list_proposed(coach) == [(down.message_id, "Question 1?", -1)]
    assert await propose(organisation) == 1
    assert await propose(organisation) == 0
    assert await list_proposed(coach) == [(down.message_id, "Question 1?", -1), (up.message_id, "Question 0?", 1)]
    assert {silent.message_id, unsaid.message_id}.isdisjoint(one for one, _, _ in await list_proposed(coach))


async def test_no_opinion_stands_in_for_a_cited_client_s_consent(organisation: Organisation, stored: Stored) -> None:
    other = await store_session(organisation, TURNS, client=organisation.client_b)
    answer = await store_answer(organisation.coach_a, (stored, PROMISE), (other, FACT))
    await rate(answer, 1)
    assert await propose(organisation) == 0
    await agree(organisation.client_b)
    assert await propose(organisation) == 1


async def test_a_sample_is_drawn_of_answers_with_consent(organisation: Organisation, stored: Stored) -> None:
    coach, other = organisation.coach_a, organisation.coach_b
    answers = {(await store_answer(coach, (stored, PROMISE))).message_id for _ in range(12)}
    await store_answer(other)
    async with tenant_session(organisation.system) as session:
        assert await propose_from_production(session) == 0
    await agree(coach)

    async def draw(reader: Principal = organisation.system, **how: float | datetime) -> set[UUID]:
        async with tenant_session(reader) as session:
            await propose_from_production(session, **how)  # type: ignore[arg-type]  # one of its options each
            return set(await session.scalars(select(CaseProposal.message_id)))

    async with tenant_session(organisation.system) as session:
        later = datetime.now(UTC) + timedelta(hours=1)
        assert await propose_from_production(session, since=later) == 0
        assert await propose_from_production(session, share=0) == 0
        drawn = await propose_from_production(session, share=0.5, seed=7)
        assert 0 < drawn < 12
        assert await propose_from_production(session, share=0.5, seed=7) == 0
        half = set(await session.scalars(select(CaseProposal.message_id)))
    few = await draw(count=1)
    assert len(few - half) == 1
    assert await draw() == answers
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(CaseProposal)) == 12
        assert await count_waiting(session) == {f"coach_a@{organisation.slug}.example": 12}


async def test_the_asker_sees_what_an_answer_leans_on(organisation: Organisation, stored: Stored) -> None:
    first = await store_answer(organisation.coach_a, (stored, FACT), question="What is wrong with the roof?")
    answer = await store_answer(
        organisation.coach_a, (stored, PROMISE), question="And what about it?", session_id=first.session_id
    )
    await store_answer(organisation.coach_a, question="Thanks!", session_id=first.session_id)
    await rate(answer, -1, comment="Too late in the year.")
    await propose(organisation)
    seen = await see(answer)
    assert (seen.question, seen.earlier) == ("And what about it?", ("What is wrong with the roof?",))
    assert (seen.rating, seen.comment, seen.status) == (-1, "Too late in the year.", "proposed")
    assert [citation.quote for citation in seen.answer.citations] == [PROMISE]
    async with tenant_session(organisation.system) as session:
        asked = await session.scalar(select(ChatMessage.created_at).where(ChatMessage.content == "And what about it?"))
    assert seen.asked_at == asked


async def test_confirming_writes_the_words_of_the_case(organisation: Organisation, stored: Stored) -> None:
    answer = await store_answer(organisation.coach_a, (stored, FACT), (stored, PROMISE))
    await rate(answer, 1)
    await propose(organisation)
    proposal_id = await find_proposal(answer)
    async with tenant_session(organisation.coach_a) as session:
        seen = await confirm_proposal(
            session, proposal_id, user_input=" What will she mend? ", reference="The roof.", quotes=[2, 2]
        )
    assert (seen.status, seen.user_input, seen.reference) == ("confirmed", "What will she mend?", "The roof.")
    assert (seen.reference_contexts, seen.answerable) == ((PROMISE,), True)
    async with tenant_session(organisation.system) as session:
        row = (await session.scalars(select(CaseProposal))).one()
        assert (row.decided_by, row.decided_at is None) == (organisation.coach_a.user_id, False)
    async with tenant_session(organisation.coach_a) as session:
        again = await confirm_proposal(session, proposal_id, answerable=False)
        assert (again.user_input, again.reference_contexts, again.answerable) == ("What did she promise?", (), False)
        gone = await reject_proposal(session, proposal_id, reason="Too vague.")
    assert (gone.status, gone.reason, gone.user_input, gone.reference) == ("rejected", "Too vague.", None, None)
    assert await propose(organisation) == 0


async def test_a_case_that_says_nothing_or_something_wrong_is_refused(
    organisation: Organisation, stored: Stored
) -> None:
    answer = await store_answer(organisation.coach_a, (stored, PROMISE))
    await rate(answer, 1)
    await propose(organisation)
    proposal_id = await find_proposal(answer)
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(NothingToCompare):
            await confirm_proposal(session, proposal_id, reference="  ")
        with pytest.raises(UnusableCase, match="no citation 2"):
            await confirm_proposal(session, proposal_id, quotes=[1, 2])
        with pytest.raises(UnusableCase, match="user_input"):
            await confirm_proposal(session, proposal_id, user_input="  ", quotes=[1])
        with pytest.raises(UnusableCase, match="unanswerable"):
            await confirm_proposal(session, proposal_id, quotes=[1], answerable=False)
    assert (await see(answer)).status == "proposed"


async def test_a_proposal_is_nobody_else_s(organisation: Organisation, stored: Stored) -> None:
    answer = await store_answer(organisation.coach_a, (stored, PROMISE))
    await rate(answer, 1)
    await propose(organisation)
    proposal_id = await find_proposal(answer)
    for name, person in organisation.people.items():
        if name == "coach_a":
            continue
        async with tenant_session(person) as session:
            assert (await session.execute(select_proposals())).all() == [], name
            with pytest.raises(ProposalNotFound):
                await get_proposal(session, proposal_id)
            with pytest.raises(ProposalNotFound):
                await confirm_proposal(session, proposal_id, quotes=[1])
            with pytest.raises(ProposalNotFound):
                await reject_proposal(session, proposal_id, reason="Mine.")
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(ProposalNotFound):
            await get_proposal(session, uuid4())


async def test_words_that_are_no_longer_the_asker_s_are_not_shown(organisation: Organisation, stored: Stored) -> None:
    answer = await store_answer(organisation.coach_a, (stored, PROMISE))
    await rate(answer, 1)
    await propose(organisation)
    proposal_id = await find_proposal(answer)
    async with tenant_session(organisation.coach_a) as session:
        await confirm_proposal(session, proposal_id, quotes=[1])

    async def show(visibility: str) -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(
                update(IngestedObject).where(IngestedObject.id == stored.object_id).values(visibility=visibility)
            )

    await show("system_internal")
    async with tenant_session(organisation.coach_a) as session:
        assert (await session.scalars(select(CaseProposal))).all() == []
        with pytest.raises(ProposalNotFound):
            await get_proposal(session, proposal_id)
        with pytest.raises(ProposalNotFound):
            await reject_proposal(session, proposal_id, reason="Gone.")
    await show("coach_only")
    assert (await see(answer)).reference_contexts == (PROMISE,)
