"""Verdicts on insights: who may give them, that one counts, and that a client sees no more than the words behind."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from core.errors import AppError
from db.models import AuditLog, Insight, InsightReview
from db.session import tenant_session
from domain import insights
from domain.coaching import end_engagement
from domain.insights import accept_insight, edit_insight, get_insight, reject_insight
from tests.factories.evidence import store_claim, store_insight, store_pattern
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, name_people, require_id, store_session
from tests.factories.waiting import until_blocked

MARCH, APRIL = (datetime(2026, month, 12, 9, tzinfo=UTC) for month in (3, 4))
PROMISE, KEPT, SECRET = "I'll raise the rota with Helen.", "I talked to Helen about the rota.", "I have not slept."


@dataclass(frozen=True)
class Drafted:
    """A draft over words that the client may read, and one that stands on a session for coaches alone."""

    march: Stored
    open: UUID
    private: UUID
    pattern: UUID
    promise: UUID


@pytest.fixture
async def drafted(organisation: Organisation) -> Drafted:
    await name_people(organisation)
    march = await store_session(organisation, [("coach", "And?"), ("client", PROMISE)], held_at=MARCH)
    april = await store_session(organisation, [("client", KEPT)], held_at=APRIL)
    coachs = await store_session(organisation, [("client", SECRET)], held_at=APRIL, visibility="coach_only")
    promise = await store_claim(organisation, march, PROMISE)
    kept = await store_claim(organisation, april, KEPT, claim_type="progress", settles=promise)
    secret = await store_claim(organisation, coachs, SECRET, claim_type="emotion")
    pattern = await store_pattern(organisation, [promise, kept])
    hidden = await store_pattern(organisation, [promise, secret], kind="trend")
    return Drafted(
        march, await store_insight(organisation, patterns=[pattern]),
        await store_insight(organisation, patterns=[hidden], claims=[promise], title="Sleep"), pattern, promise,
    )  # fmt: skip


async def load(organisation: Organisation, insight_id: UUID) -> Insight:
    async with tenant_session(organisation.system) as session:
        return (await session.scalars(select(Insight).where(Insight.id == insight_id))).one()


async def list_verdicts(organisation: Organisation, insight_id: UUID) -> list[InsightReview]:
    async with tenant_session(organisation.coach_a) as session:
        return list(await session.scalars(insights.select_reviews(insight_id).order_by(InsightReview.created_at)))


async def test_accepted_reaches_the_client(organisation: Organisation, drafted: Drafted) -> None:
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(insights.InsightNotFound):
            await get_insight(session, drafted.open)
    async with tenant_session(organisation.coach_a) as session:
        done = await accept_insight(session, drafted.open, reason="Yes.")
    assert (done.status, done.visibility, done.decided_by) == (
        "accepted", "client_visible", organisation.coach_a.user_id,
    )  # fmt: skip
    async with tenant_session(organisation.client_a) as session:
        seen = await get_insight(session, drafted.open)
        assert [one.id for one in seen.patterns] == [drafted.pattern]
        assert {quote.exact for claim in seen.claims for quote in claim.quotes} == {PROMISE, KEPT}
        assert list(await session.scalars(insights.select_insights())) == [seen.insight]
        assert list(await session.scalars(insights.select_reviews(drafted.open))) == []
    reviews = await list_verdicts(organisation, drafted.open)
    assert [(one.verdict, one.reason, one.reviewer_id) for one in reviews] == [
        ("accepted", "Yes.", organisation.coach_a.user_id)
    ]


async def test_private_words_stay_with_coaches(organisation: Organisation, drafted: Drafted) -> None:
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(insights.InsightNotShareable, match="Session of 2026-04-12"):
            await accept_insight(session, drafted.private, share=True)
    assert (await load(organisation, drafted.private)).status == "draft"
    async with tenant_session(organisation.coach_a) as session:
        done = await accept_insight(session, drafted.private)
    assert (done.status, done.visibility) == ("accepted", "coach_only")
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(insights.InsightNotFound):
            await get_insight(session, drafted.private)


async def test_coach_may_keep_it_to_coaches(organisation: Organisation, drafted: Drafted) -> None:
    async with tenant_session(organisation.coach_a) as session:
        assert (await accept_insight(session, drafted.open, share=False)).visibility == "coach_only"


async def test_source_made_private_takes_the_insight_from_the_client(
    organisation: Organisation, drafted: Drafted
) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await accept_insight(session, drafted.open, share=True)
    async with tenant_session(organisation.system) as session:
        for table, key, value in (
            ("ingestion.ingested_objects", "id", drafted.march.object_id),
            ("rag.transcripts", "id", drafted.march.source_id),
        ):
            await session.execute(
                text(f"UPDATE {table} SET visibility = 'coach_only' WHERE {key} = :id"), {"id": value}
            )
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(insights.InsightNotFound):
            await get_insight(session, drafted.open)


async def test_rejection_has_a_reason_and_stays(organisation: Organisation, drafted: Drafted) -> None:
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(insights.InsightUnusable):
            await reject_insight(session, drafted.open, reason=" ")
        assert (await reject_insight(session, drafted.open, reason="A coincidence.")).reason == "A coincidence."
    for judge in (accept_insight, edit_insight):
        async with tenant_session(organisation.coach_a) as session:
            given: dict[str, Any] = {"title": "Again"} if judge is edit_insight else {}
            with pytest.raises(insights.InsightDecided, match="rejected"):
                await judge(session, drafted.open, **given)
    async with tenant_session(organisation.client_a) as session:
        assert list(await session.scalars(insights.select_insights())) == []


async def test_edits_are_kept(organisation: Organisation, drafted: Drafted) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await edit_insight(session, drafted.open, title="Helen and the rota")
        await edit_insight(session, drafted.open, title="Helen and the rota")  # says nothing new
        done = await edit_insight(session, drafted.open, body="You kept this one.")
        assert (done.title, done.body, done.status) == ("Helen and the rota", "You kept this one.", "draft")
        await accept_insight(session, drafted.open)
        await edit_insight(session, drafted.open, body="You kept this.")
    told = [
        (one.verdict, one.title_before, one.title_after, one.body_before, one.body_after)
        for one in await list_verdicts(organisation, drafted.open)
    ]
    old, new = "It comes back. Ask why.", "You kept this one."
    assert told == [
        ("edited", "The rota", "Helen and the rota", old, old),
        ("edited", "Helen and the rota", "Helen and the rota", old, new),
        ("accepted", None, None, None, None),
        ("edited", "Helen and the rota", "Helen and the rota", new, "You kept this."),
    ]
    async with tenant_session(organisation.client_a) as session:
        assert (await get_insight(session, drafted.open)).insight.body == "You kept this."


@pytest.mark.parametrize("given", [{"title": " "}, {"body": ""}, {"title": "x" * 201}, {"body": "x" * 4_001}])
async def test_unusable_words_are_refused(organisation: Organisation, drafted: Drafted, given: dict[str, str]) -> None:
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(insights.InsightUnusable):
            await edit_insight(session, drafted.open, **given)


async def test_only_coaches_of_the_client_judge(organisation: Organisation, drafted: Drafted) -> None:
    for name in organisation.people.keys() - {"coach_a"}:
        async with tenant_session(organisation.people[name]) as session:
            with pytest.raises(insights.InsightNotFound):
                await accept_insight(session, drafted.open)
    async with tenant_session(organisation.coach_a) as session:
        await accept_insight(session, drafted.open, share=True)
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(insights.VerdictRefused):
            await edit_insight(session, drafted.open, title="Mine")
    coach, client = require_id(organisation.coach_a), require_id(organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=coach, client_id=client)
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(insights.InsightNotFound):
            await reject_insight(session, drafted.private, reason="No longer mine.")
    assert (await load(organisation, drafted.private)).status == "draft"


async def test_one_of_many_verdicts_counts(organisation: Organisation, drafted: Drafted) -> None:
    everyone = asyncio.Barrier(4)

    async def judge(number: int) -> str:
        try:
            async with tenant_session(organisation.coach_a) as session:
                assert await insights.find_insight(session, drafted.open)
                await everyone.wait()
                if number % 2:
                    return (await accept_insight(session, drafted.open)).status
                return (await reject_insight(session, drafted.open, reason=f"Number {number}.")).status
        except insights.InsightDecided:
            return "too late"

    outcomes = await asyncio.gather(*(judge(number) for number in range(4)))
    assert outcomes.count("too late") == 3
    assert len(await list_verdicts(organisation, drafted.open)) == 1
    assert (await load(organisation, drafted.open)).status in outcomes


async def test_what_went_stale_is_not_accepted(organisation: Organisation, drafted: Drafted) -> None:
    """Even by a coach who read it a moment before: the verdict waits for the change and finds it stale."""
    errors: list[AppError] = []

    async def judge() -> None:
        try:
            async with tenant_session(organisation.coach_a) as session:
                await accept_insight(session, drafted.open)
        except AppError as error:
            errors.append(error)

    async with tenant_session(organisation.system) as session:
        await session.execute(text("DELETE FROM rag.transcripts WHERE id = :id"), {"id": drafted.march.source_id})
        waiting = asyncio.create_task(judge())
        await until_blocked(session, waiting)
    await waiting
    assert [type(error) for error in errors] == [insights.InsightStale]
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(insights.InsightNotFound):
            await accept_insight(session, drafted.open)
    found = await load(organisation, drafted.open)
    assert (found.status, found.stale_at is None) == ("draft", False)


async def test_log_tells_who_judged(organisation: Organisation, drafted: Drafted) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await accept_insight(session, drafted.open)
    async with tenant_session(organisation.compliance) as session:
        entries = list(
            await session.scalars(
                select(AuditLog).where(AuditLog.action == "insight_accepted").order_by(AuditLog.sequence)
            )
        )
    assert {entry.entity_type for entry in entries} == {"insight", "insight_review"}
    assert {entry.actor_id for entry in entries} == {organisation.coach_a.user_id}
    changed = next(entry.changes for entry in entries if entry.entity_type == "insight")
    assert changed is not None
    assert (changed["status"], changed["visibility"]) == (["draft", "accepted"], ["coach_only", "client_visible"])


async def test_unknown_insight_is_not_found(organisation: Organisation) -> None:
    for judge in (accept_insight, get_insight, edit_insight):
        async with tenant_session(organisation.coach_a) as session:
            with pytest.raises(insights.InsightNotFound):
                await judge(session, uuid4())
