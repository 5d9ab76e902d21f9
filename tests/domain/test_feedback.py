"""Feedback: on what a person may see, one opinion a thing, nobody else's business."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from db.models import ChatMessage, Feedback, Quote
from db.session import tenant_session
from domain import chat, feedback
from domain.feedback import give_feedback, select_feedback, take_back_feedback
from tests.factories.evidence import store_claim, store_insight, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import store_session

MARCH, APRIL = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4))


async def store_targets(organisation: Organisation) -> dict[feedback.Target, UUID]:
    """Store one thing of every kind that coach_a may see."""
    march = await store_session(organisation, [("client", "I'll call Bea.")], held_at=MARCH)
    april = await store_session(organisation, [("client", "I called Bea.")], held_at=APRIL, visibility="coach_only")
    claims = [await store_claim(organisation, march, "I'll call Bea."), await store_claim(organisation, april, "Bea")]
    pattern = await store_pattern(organisation, claims)
    async with tenant_session(organisation.coach_a) as session:
        made = await chat.create_session(session, user_id=organisation.coach_a.user_id)
        await chat.append_question(session, made, run_id=uuid4(), text="Who is Bea?")
        message = await session.scalar(select(ChatMessage.id).where(ChatMessage.session_id == made.id))
        quote = await session.scalar(select(Quote.id).where(Quote.exact == "Bea"))
    assert message is not None
    assert quote is not None
    return {
        "claim": claims[1], "pattern": pattern, "quote": quote, "message": message,
        "insight": await store_insight(organisation, patterns=[pattern]),
    }  # fmt: skip


async def test_everything_a_person_sees_takes_one_opinion(organisation: Organisation) -> None:
    for target, key in (await store_targets(organisation)).items():
        async with tenant_session(organisation.coach_a) as session:
            first = await give_feedback(session, target_type=target, target_id=key, rating=-1, reason="wrong")
            assert (first.rating, first.reason, first.comment, first.may_be_studied) == (-1, "wrong", None, False)
            second = await give_feedback(
                session, target_type=target, target_id=key, rating=1, comment="On second thought.", may_be_studied=True
            )
            assert (second.id, second.rating, second.reason, second.comment, second.may_be_studied) == (
                first.id, 1, None, "On second thought.", True,
            )  # fmt: skip
            assert list(await session.scalars(select_feedback(target))) == [second]
        for stranger in (organisation.coach_b, organisation.client_a, organisation.admin, organisation.compliance):
            async with tenant_session(stranger) as session:
                with pytest.raises(feedback.FeedbackTargetNotFound):
                    await give_feedback(session, target_type=target, target_id=key, rating=1)
                assert list(await session.scalars(select_feedback())) == []
                with pytest.raises(feedback.OpinionNotFound):
                    await take_back_feedback(session, first.id)


async def test_opinion_can_be_taken_back(organisation: Organisation) -> None:
    targets = await store_targets(organisation)
    async with tenant_session(organisation.coach_a) as session:
        given = await give_feedback(session, target_type="claim", target_id=targets["claim"], rating=0)
        await take_back_feedback(session, given.id)
        assert list(await session.scalars(select(Feedback))) == []
        with pytest.raises(feedback.OpinionNotFound):
            await take_back_feedback(session, given.id)


async def test_kind_and_thing_belong_together(organisation: Organisation) -> None:
    targets = await store_targets(organisation)
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(feedback.FeedbackTargetNotFound):
            await give_feedback(session, target_type="pattern", target_id=targets["claim"], rating=1)
    async with tenant_session(organisation.system) as session:
        with pytest.raises(feedback.FeedbackNeedsPerson):
            await give_feedback(session, target_type="claim", target_id=targets["claim"], rating=1)
