"""The practice's guards hold against the app's own role, whatever the domain would ask first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from db.models import (
    AuditLog,
    CoachAvailability,
    CoachBlockedTime,
    CoachingSession,
    Engagement,
    QaReview,
    Rubric,
    SessionAttendance,
    SessionFeedback,
    SessionNote,
    UserProfile,
)
from db.session import Principal, tenant_session
from domain.availability import block_time
from domain.coaching import EngagementOverlaps, end_engagement, end_engagement_by_id, start_engagement
from domain.practice import record_attendance
from domain.reviews import add_review, add_rubric, give_feedback
from tests.factories.people import Organisation, found_organisation
from tests.factories.practice import at, book, give_hours, hold, next_day
from tests.factories.sessions import require_id

TABLES = (
    CoachAvailability, CoachBlockedTime, CoachingSession, Engagement, QaReview, Rubric, SessionAttendance,
    SessionFeedback, SessionNote,
)  # fmt: skip


async def fill(organisation: Organisation) -> UUID:
    """Store one row of everything, about coach_a and client_a; return the session."""
    session_id = await hold(organisation)
    await give_hours(organisation, organisation.coach_a)
    async with tenant_session(organisation.coach_a) as session:
        now = datetime.now(UTC)
        coach_id = require_id(organisation.coach_a)
        await block_time(session, coach_id=coach_id, start=now, until=now + timedelta(days=1), reason="Surgery")
        session.add(
            SessionNote(tenant_id=organisation.tenant_id, session_id=session_id, author_id=coach_id, kind="coach_notes",
                        content="Tired today.", client_id=coach_id)
        )  # fmt: skip
    async with tenant_session(organisation.client_a) as session:
        await give_feedback(session, session_id, by=organisation.client_a, rating=5, is_public=True)
    async with tenant_session(organisation.system) as session:
        rubric = await add_rubric(
            session, by=organisation.admin, name="Basics", criteria=[{"key": "a", "max_score": 5, "weight": 1}]
        )
        await add_review(
            session, by=organisation.admin, session_id=session_id, rubric_id=rubric.id, scores={"a": 5}  # type: ignore[dict-item]  # a number
        )  # fmt: skip
        await record_attendance(
            session, session_id, by=organisation.coach_a, user_id=require_id(organisation.client_a),
            joined_at=datetime.now(UTC),
        )  # fmt: skip
    return session_id


async def test_everyone_reads_exactly_what_is_theirs(organisation: Organisation) -> None:
    await fill(organisation)
    other = await found_organisation()
    await fill(other)
    seen: dict[str, dict[str, int]] = {}
    for name, reader in organisation.people.items():
        async with tenant_session(reader) as session:
            seen[name] = {
                table.__tablename__: count
                for table in TABLES
                if table is not Engagement and (count := await session.scalar(select(func.count()).select_from(table)))
            }
    about = {"coaching_sessions": 1, "session_attendance": 1, "session_feedback": 1}
    assert seen == {
        "client_a": about | {"coach_availability": 1},
        "client_b": {"coach_availability": 1},
        "client_c": {"coach_availability": 1},
        "coach_a": about
        | {"coach_availability": 1, "coach_blocked_times": 1, "session_notes": 1, "rubrics": 1, "qa_reviews": 1},
        "coach_b": {"coach_availability": 1, "rubrics": 1},
        "admin": {"coach_availability": 1, "coach_blocked_times": 1, "rubrics": 1, "qa_reviews": 1},
        "executive": {"coach_availability": 1},
        "compliance": {"coach_availability": 1},
        "evaluator": {"coach_availability": 1},
    }


async def test_the_audience_is_the_session_s_whatever_is_written(organisation: Organisation) -> None:
    session_id = await fill(organisation)
    async with tenant_session(organisation.system) as session:
        note = (await session.scalars(select(SessionNote))).one()
        assert (note.client_id, note.coach_id) == (organisation.client_a.user_id, organisation.coach_a.user_id)
        await session.execute(
            update(CoachingSession)
            .where(CoachingSession.id == session_id)
            .values(coach_id=organisation.coach_b.user_id)
        )
    async with tenant_session(organisation.system) as session:
        for table in (SessionNote, SessionAttendance, SessionFeedback, QaReview):
            assert (await session.scalars(select(table.coach_id))).all() == [organisation.coach_b.user_id]
        counts = dict((await session.execute(
            select(UserProfile.user_id, UserProfile.rating_count).where(UserProfile.is_coach)
        )).tuples().all())  # fmt: skip
    assert counts == {organisation.coach_a.user_id: 0, organisation.coach_b.user_id: 1}


async def attempt(reader: Principal, statement: Any) -> int:
    async with tenant_session(reader) as session:
        result = await session.execute(statement)
        return result.rowcount  # type: ignore[attr-defined, no-any-return]  # a cursor result


async def test_people_write_only_their_own(organisation: Organisation) -> None:
    session_id = await fill(organisation)
    coach_id, client_id = require_id(organisation.coach_a), require_id(organisation.client_a)
    tenant = {"tenant_id": organisation.tenant_id}
    window = {"blocked_from": at(next_day(1), 9), "blocked_until": at(next_day(1), 10)}
    booking = tenant | {"coach_id": coach_id, "client_id": client_id, "scheduled_at": at(next_day(2), 9)}
    forged: list[tuple[Principal, Any]] = [
        (organisation.client_a, insert(CoachingSession).values(booking)),
        (organisation.coach_a, insert(CoachingSession).values(booking)),
        (organisation.admin, insert(CoachingSession).values(booking)),
        (organisation.coach_b, insert(CoachBlockedTime).values(tenant | window | {"coach_id": coach_id})),
        (organisation.client_a, insert(CoachBlockedTime).values(tenant | window | {"coach_id": client_id})),
        (organisation.coach_a, insert(Engagement).values(
            tenant | {"coach_id": coach_id, "client_id": require_id(organisation.client_c)})),
        (organisation.coach_b, insert(SessionNote).values(tenant | {
            "session_id": session_id, "author_id": require_id(organisation.coach_b), "kind": "coach_notes",
            "content": "x", "client_id": require_id(organisation.client_b)})),
        (organisation.client_a, insert(SessionNote).values(tenant | {
            "session_id": session_id, "author_id": client_id, "kind": "pre_session", "content": "x",
            "client_id": client_id, "visibility": "coach_only"})),
        (organisation.coach_a, insert(Rubric).values(tenant | {"name": "Mine", "criteria": [1]})),
        (organisation.coach_a, insert(SessionAttendance).values(tenant | {
            "session_id": session_id, "user_id": coach_id, "role": "coach", "joined_at": datetime.now(UTC)})),
    ]  # fmt: skip
    for reader, statement in forged:
        with pytest.raises(DBAPIError, match=r"row-level security|null value"):
            await attempt(reader, statement)
    for table, values in (
        (CoachingSession, {"status": "cancelled"}), (CoachBlockedTime, {"reason": "x"}),
        (Engagement, {"ended_at": None}),
        (QaReview, {"notes": "x"}), (CoachAvailability, {"is_active": False}), (SessionNote, {"content": "x"}),
    ):  # fmt: skip
        for reader in (organisation.client_a, organisation.coach_b, organisation.executive):
            assert await attempt(reader, update(table).values(values)) == 0, table
            assert await attempt(reader, delete(table)) == 0, table
    for reader, change in (
        (organisation.client_a, update(SessionFeedback).values(rating=1)),
        (organisation.system, update(SessionFeedback).values(feedback_text="x")),
        (organisation.coach_a, update(UserProfile).values(session_count=99)),
        (organisation.coach_a, update(UserProfile).values(average_rating=5)),
        (organisation.system, update(UserProfile).values(completed_session_count=99)),
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            await attempt(reader, change)


async def test_illegal_steps_are_refused_by_the_store(organisation: Organisation) -> None:
    session_id = await hold(organisation)
    for status in ("scheduled", "confirmed", "in_progress", "cancelled", "no_show"):
        with pytest.raises(DBAPIError, match="can not become"):
            await attempt(
                organisation.system,
                update(CoachingSession).where(CoachingSession.id == session_id).values(status=status),
            )
    standing = await book(organisation, at(next_day(0), 9), by=organisation.coach_a)
    with pytest.raises(DBAPIError, match="only a completed session"):
        await attempt(
            organisation.client_a,
            insert(SessionFeedback).values(
                tenant_id=organisation.tenant_id, session_id=standing.id, rating=5,
                submitted_by=organisation.client_a.user_id, client_id=organisation.client_a.user_id,
                coach_id=organisation.coach_a.user_id,
            ),
        )  # fmt: skip


async def test_engagements_of_a_pair_never_overlap(organisation: Organisation) -> None:
    coach_id, client_id = require_id(organisation.coach_b), require_id(organisation.client_a)
    base = datetime(2030, 1, 1, tzinfo=UTC)

    async def start(first: int, last: int | None) -> Engagement:
        async with tenant_session(organisation.system) as session:
            return await start_engagement(
                session, coach_id=coach_id, client_id=client_id, started_at=base + timedelta(days=first),
                ended_at=None if last is None else base + timedelta(days=last),
            )  # fmt: skip

    await start(0, 10)
    await start(10, 20)  # one ends as the next begins
    for first, last in ((5, 6), (-5, 1), (-5, 30), (19, None), (0, 10)):
        with pytest.raises(EngagementOverlaps):
            await start(first, last)
    results = await asyncio.gather(*(start(100 + n, 200) for n in range(12)), return_exceptions=True)
    assert sum(isinstance(result, Engagement) for result in results) == 1
    assert sum(isinstance(result, EngagementOverlaps) for result in results) == 11
    async with tenant_session(organisation.system) as session:
        await start_engagement(
            session, coach_id=require_id(organisation.coach_a), client_id=require_id(organisation.client_c),
            started_at=base,
        )  # fmt: skip


async def test_an_engagement_to_come_gives_nothing_and_ends_unseen(organisation: Organisation) -> None:
    await hold(organisation)
    coach_b, client_a = require_id(organisation.coach_b), require_id(organisation.client_a)
    now = datetime.now(UTC)
    async with tenant_session(organisation.system) as session:
        later = await start_engagement(
            session, coach_id=coach_b, client_id=client_a, started_at=now + timedelta(days=1)
        )
    async with tenant_session(organisation.coach_b) as session:
        assert await session.scalar(select(func.count()).select_from(CoachingSession)) == 0
    async with tenant_session(organisation.system) as session:
        await end_engagement_by_id(session, later.id, by=organisation.admin)
        await start_engagement(
            session, coach_id=coach_b, client_id=client_a, started_at=now - timedelta(days=1),
            ended_at=now + timedelta(days=9),
        )  # fmt: skip
    async with tenant_session(organisation.coach_b) as session:
        assert await session.scalar(select(func.count()).select_from(CoachingSession)) == 1
    async with tenant_session(organisation.system) as session:
        await end_engagement(session, coach_id=coach_b, client_id=client_a)  # though it had an end already
    async with tenant_session(organisation.coach_b) as session:
        assert await session.scalar(select(func.count()).select_from(CoachingSession)) == 0


async def test_the_log_keeps_steps_and_no_words(organisation: Organisation) -> None:
    await fill(organisation)
    await book(organisation, at(next_day(0), 9), by=organisation.coach_a, topic="My divorce", notes="My divorce")
    async with tenant_session(organisation.compliance) as session:
        actions = set(await session.scalars(select(AuditLog.action).where(AuditLog.entity_schema == "coaching")))
        everything = str((await session.execute(text("SELECT changes, metadata FROM governance.audit_logs"))).all())
    assert {"session_booked", "session_rated", "session_reviewed", "coach_blocked_time_created"} <= actions
    for word in ("divorce", "Surgery", "Tired"):
        assert word not in everything
