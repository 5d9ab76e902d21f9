"""What happens with a booked session, and what is kept of it."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import select

from db.models import CoachingSession, SessionNote, UserProfile
from db.session import Principal, tenant_session
from domain.booking import CoachingSessionNotFound, NotYourStep, StepRefused
from domain.practice import (
    NoteKindRefused,
    SessionNotBegun,
    TaskNotFound,
    TooManyTasks,
    add_tasks,
    complete_session,
    find_meeting_password,
    mark_task,
    record_attendance,
    set_meeting,
    take_step,
    write_note,
)
from domain.reviews import (
    FeedbackGiven,
    FeedbackNotFound,
    FeedbackRefused,
    ReviewGiven,
    ReviewRefused,
    RubricNotFound,
    ScoresUnusable,
    SessionNotCompleted,
    add_review,
    add_rubric,
    change_review,
    give_feedback,
    set_public,
    weigh_scores,
)
from tests.factories.community import list_wrong_counts
from tests.factories.people import Organisation
from tests.factories.practice import at, book, hold, make_past, next_day
from tests.factories.sessions import require_id

MONDAY = next_day(0)
CRITERIA = [
    {"key": "listening", "label": "Listening", "max_score": 5, "weight": 2.0},
    {"key": "goals", "label": "Goals", "max_score": 10, "weight": 1.0},
]


async def booked(organisation: Organisation) -> CoachingSession:
    return await book(organisation, at(MONDAY, 9), by=organisation.coach_a)


async def step(organisation: Organisation, session_id: object, by: Principal, to: str) -> CoachingSession:
    async with tenant_session(organisation.system) as session:
        return await take_step(session, session_id, by=by, to=to)  # type: ignore[arg-type]  # also wrong ones


async def test_a_session_goes_its_way_once(organisation: Organisation) -> None:
    made = await booked(organisation)
    coach = organisation.coach_a
    with pytest.raises(NotYourStep):
        await step(organisation, made.id, organisation.client_a, "confirmed")
    with pytest.raises(CoachingSessionNotFound):
        await step(organisation, made.id, organisation.coach_b, "confirmed")
    for _ in range(2):
        assert (await step(organisation, made.id, coach, "confirmed")).status == "confirmed"
    for early in ("in_progress", "completed", "no_show"):
        with pytest.raises(SessionNotBegun):
            await step(organisation, made.id, coach, early)
    await make_past(organisation, made.id)
    assert (await step(organisation, made.id, coach, "in_progress")).status == "in_progress"
    async with tenant_session(organisation.system) as session:
        done = await complete_session(
            session, made.id, by=coach, coach_notes="Ready for more.",
            tasks=[{"item": "Write the plan", "due_date": date(2030, 1, 2)}, {"item": "Call Ada"}],
        )  # fmt: skip
    assert done.completed_at is not None
    assert [(t["item"], t["due_date"], t["status"]) for t in done.action_items or ()] == [
        ("Write the plan", "2030-01-02", "open"), ("Call Ada", None, "open"),
    ]  # fmt: skip
    for after in ("confirmed", "in_progress", "no_show"):
        with pytest.raises(StepRefused):
            await step(organisation, made.id, coach, after)


async def test_coach_notes_never_reach_the_client(organisation: Organisation) -> None:
    session_id = await hold(organisation)
    async with tenant_session(organisation.coach_a) as session:
        await write_note(session, session_id, by=organisation.coach_a, kind="coach_notes", content="Hesitant.")
        again = await write_note(session, session_id, by=organisation.coach_a, kind="coach_notes", content="Firmer.")
        await write_note(
            session, session_id, by=organisation.coach_a, kind="pre_session", content="Bring the plan.",
            visibility="client_visible",
        )  # fmt: skip
    assert again.content == "Firmer."
    with pytest.raises(NoteKindRefused):
        async with tenant_session(organisation.client_a) as session:
            await write_note(session, session_id, by=organisation.client_a, kind="coach_notes", content="Mine")
    with pytest.raises(CoachingSessionNotFound):
        async with tenant_session(organisation.client_b) as session:
            await write_note(session, session_id, by=organisation.client_b, kind="pre_session", content="Mine")
    async with tenant_session(organisation.client_a) as session:
        await write_note(session, session_id, by=organisation.client_a, kind="pre_session", content="I am nervous.")
    seen = {}
    for name, reader in organisation.people.items():
        async with tenant_session(reader) as session:
            seen[name] = set(await session.scalars(select(SessionNote.content)))
    assert seen.pop("coach_a") == {"Firmer.", "Bring the plan.", "I am nervous."}
    assert seen.pop("client_a") == {"Bring the plan.", "I am nervous."}
    assert not any(seen.values())


async def test_tasks_are_marked_by_both_and_bounded(organisation: Organisation) -> None:
    session_id = await hold(organisation)
    async with tenant_session(organisation.system) as session:
        made = await add_tasks(session, session_id, by=organisation.coach_a, tasks=[{"item": "Walk"}])
        task_id = (made.action_items or [])[0]["id"]
    async with tenant_session(organisation.system) as session:
        marked = await mark_task(session, session_id, task_id, by=organisation.client_a, status="done")
    assert (marked.action_items or [])[0]["status"] == "done"
    with pytest.raises(TaskNotFound):
        async with tenant_session(organisation.system) as session:
            await mark_task(session, session_id, uuid4(), by=organisation.client_a, status="done")
    with pytest.raises(TooManyTasks):
        async with tenant_session(organisation.system) as session:
            await add_tasks(session, session_id, by=organisation.coach_a, tasks=[{"item": "x"}] * 50)
    with pytest.raises(NotYourStep):
        async with tenant_session(organisation.system) as session:
            await add_tasks(session, session_id, by=organisation.client_a, tasks=[{"item": "x"}])


async def test_twenty_marks_at_once_are_all_kept(organisation: Organisation) -> None:
    session_id = await hold(organisation)
    async with tenant_session(organisation.system) as session:
        made = await add_tasks(
            session, session_id, by=organisation.coach_a, tasks=[{"item": f"Task {n}"} for n in range(20)]
        )
    ids = [task["id"] for task in made.action_items or ()]

    async def mark(task_id: object) -> None:
        async with tenant_session(organisation.system) as session:
            await mark_task(session, session_id, task_id, by=organisation.client_a, status="done")  # type: ignore[arg-type]  # text compares alike

    await asyncio.gather(*map(mark, ids))
    async with tenant_session(organisation.client_a) as session:
        kept = await session.scalar(select(CoachingSession.action_items))
    assert {task["status"] for task in kept or ()} == {"done"}


async def test_the_meeting_s_password_is_ciphertext_for_others(organisation: Organisation) -> None:
    made = await booked(organisation)
    async with tenant_session(organisation.system) as session:
        await set_meeting(
            session, made.id, by=organisation.coach_a, platform="zoom", link="https://meet.example/1",
            meeting_id="1", password="open sesame",
        )  # fmt: skip
    for reader, expected in ((organisation.client_a, "open sesame"), (organisation.coach_a, "open sesame")):
        async with tenant_session(reader) as session:
            found = await session.scalar(select(CoachingSession))
            assert found is not None
            assert found.meeting_password is not None
            assert b"sesame" not in found.meeting_password
            assert await find_meeting_password(session, found, reader) == expected
            assert await find_meeting_password(session, found, organisation.coach_b) is None


async def test_attendance_is_noted_once_a_stay(organisation: Organisation) -> None:
    session_id = await hold(organisation)
    joined = datetime.now(UTC) - timedelta(days=1)
    for left in (joined + timedelta(minutes=20), joined + timedelta(minutes=44)):
        async with tenant_session(organisation.system) as session:
            noted = await record_attendance(
                session, session_id, by=organisation.coach_a, user_id=require_id(organisation.client_a),
                joined_at=joined, left_at=left,
            )  # fmt: skip
    assert (noted.minutes, noted.role, noted.coach_id) == (44, "client", organisation.coach_a.user_id)
    async with tenant_session(organisation.system) as session:
        observer = await record_attendance(
            session, session_id, by=organisation.admin, user_id=require_id(organisation.coach_b), joined_at=joined
        )
    assert (observer.role, observer.minutes) == ("observer", None)


async def test_a_completed_session_is_rated_once_by_its_client(organisation: Organisation) -> None:
    standing, held = (await booked(organisation)).id, await hold(organisation)

    async def rate(by: Principal, session_id: object, rating: int = 4) -> object:
        async with tenant_session(by) as session:
            return await give_feedback(session, session_id, by=by, rating=rating, highlights=["Clear"])  # type: ignore[arg-type]  # ids

    with pytest.raises(SessionNotCompleted):
        await rate(organisation.client_a, standing)
    with pytest.raises(CoachingSessionNotFound):
        await rate(organisation.client_b, held)
    with pytest.raises(FeedbackRefused):
        await rate(organisation.coach_a, held)
    results = await asyncio.gather(*(rate(organisation.client_a, held) for _ in range(10)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["FeedbackGiven"] * 9 + ["SessionFeedback"]
    assert issubclass(FeedbackGiven, Exception)
    async with tenant_session(organisation.client_a) as session:
        assert (await set_public(session, held, by=organisation.client_a, is_public=True)).is_public
    with pytest.raises(FeedbackNotFound):
        async with tenant_session(organisation.client_b) as session:
            await set_public(session, held, by=organisation.client_b, is_public=True)


async def test_ratings_at_once_give_the_exact_average(organisation: Organisation) -> None:
    ratings = [1 + n % 5 for n in range(40)] + [5, 5, 4]
    sessions = [await hold(organisation) for _ in ratings]

    async def rate(session_id: object, rating: int) -> None:
        async with tenant_session(organisation.client_a) as session:
            await give_feedback(session, session_id, by=organisation.client_a, rating=rating)  # type: ignore[arg-type]  # an id

    await asyncio.gather(*map(rate, sessions, ratings))
    async with tenant_session(organisation.system) as session:
        profile = await session.scalar(select(UserProfile).where(UserProfile.user_id == organisation.coach_a.user_id))
    assert profile is not None
    assert profile.rating_count == len(ratings)
    assert profile.average_rating == (Decimal(sum(ratings)) / len(ratings)).quantize(Decimal("0.01"))
    assert profile.completed_session_count == profile.session_count == len(ratings)
    assert await list_wrong_counts(organisation, "identity") == []


def test_scores_are_weighed() -> None:
    scores = {"listening": Decimal(4), "goals": Decimal("7.5")}
    assert weigh_scores(CRITERIA, scores) == Decimal("78.33")
    for wrong in ({"listening": Decimal(4)}, scores | {"goals": Decimal(11)}, scores | {"other": Decimal(1)}):
        with pytest.raises(ScoresUnusable):
            weigh_scores(CRITERIA, wrong)


async def test_reviews_are_a_third_s_and_never_the_client_s(organisation: Organisation) -> None:
    session_id = await hold(organisation, client=organisation.client_b)
    async with tenant_session(organisation.admin) as session:
        first = await add_rubric(session, by=organisation.admin, name="Basics", criteria=CRITERIA)
        second = await add_rubric(session, by=organisation.admin, name="Basics", criteria=CRITERIA[:1])
    assert (first.version, second.version) == (1, 2)

    async def review(by: Principal, rubric: object = second.id) -> object:
        async with tenant_session(organisation.system) as session:
            return await add_review(
                session, by=by, session_id=session_id, rubric_id=rubric, scores={"listening": Decimal(5)},  # type: ignore[arg-type]  # an id
                notes="Left room to think.",
            )  # fmt: skip

    made = await review(organisation.coach_b)
    with pytest.raises(ReviewGiven):
        await review(organisation.coach_b)
    with pytest.raises(ReviewRefused):
        await review(organisation.coach_a)
    with pytest.raises(RubricNotFound):
        await review(organisation.admin, first.id)
    async with tenant_session(organisation.system) as session:
        changed = await change_review(
            session, made.id, by=organisation.coach_b, scores={"listening": Decimal(3)}, notes=None  # type: ignore[attr-defined]  # a review
        )  # fmt: skip
    assert changed.total == Decimal("60.00")
