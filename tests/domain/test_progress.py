"""Progress: each message counts once, in any order; enrolments and counts follow, whoever writes meanwhile."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, text, update

from db.counters import COUNTERS
from db.models import AuditLog, Enrollment, Lesson, LessonProgress, Module
from db.session import Principal, WritesMet, tenant_session
from domain import curriculum, learning, programs
from domain.curriculum import LessonNotFound
from domain.progress import (
    BatchTooLarge,
    LessonLocked,
    LessonState,
    ProgressMessage,
    forget_progress_events,
    record_lesson,
    record_progress,
)
from tests.factories.courses import Course, enroll_free, say, write_course
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

NOW = datetime.now(UTC)


async def send(person: Principal, *messages: ProgressMessage) -> list[LessonState]:
    async with tenant_session(person) as session:
        states, _ = await record_progress(session, user_id=require_id(person), messages=messages)
        return states


async def read_enrollment(organisation: Organisation, enrollment_id: UUID) -> Enrollment:
    async with tenant_session(organisation.system) as session:
        return await learning.get_enrollment(session, enrollment_id)


async def find_wrong_counts(organisation: Organisation) -> list[str]:
    """Return the counters of learning that differ from the truth."""
    wrong = []
    async with tenant_session(organisation.system) as session:
        for counter in COUNTERS:
            if counter.column.startswith("learning."):
                table, _, column = counter.column.rpartition(".")
                counted = f"SELECT t.id, t.{column} AS kept, ({counter.truth}) AS truth FROM {table} t"
                rows = await session.execute(text(f"SELECT * FROM ({counted}) c WHERE kept <> truth"))
                wrong += [f"{counter.column} of {i} is {kept}, not {truth}" for i, kept, truth in rows]
    return wrong


async def test_percentage_never_falls_and_time_adds_up(organisation: Organisation) -> None:
    course = await write_course(organisation, (2,))
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    lesson = course.all_lessons[0]
    later = say(lesson, 80, 30, position_seconds=400, occurred_at=NOW - timedelta(minutes=1))
    earlier = say(lesson, 40, 20, position_seconds=100, occurred_at=NOW - timedelta(minutes=2))
    await send(organisation.client_a, later)
    (state,) = await send(organisation.client_a, earlier)
    assert (state.progress_percent, state.time_spent_seconds, state.last_position_seconds) == (80, 50, 400)
    assert state.completed_at is None
    (again,) = await send(organisation.client_a, earlier)
    assert replace(again, outcome="recorded") == state
    assert again.outcome == "repeated"
    row = await read_enrollment(organisation, enrollment)
    assert (row.progress_percent, row.current_lesson_id, row.current_module_id) == (0, lesson, course.modules[0])

    (done,) = await send(organisation.client_a, say(lesson, 100, 5))
    (later_still,) = await send(organisation.client_a, say(lesson, 10, 5))
    assert later_still.completed_at == done.completed_at is not None
    assert (later_still.progress_percent, later_still.time_spent_seconds) == (100, 60)
    assert (await read_enrollment(organisation, enrollment)).progress_percent == 50


async def test_a_queue_arrives_in_any_order_in_pieces_and_twice(organisation: Organisation) -> None:
    course = await write_course(organisation, (3, 2))
    rng = random.Random(4)
    sent = [
        say(
            rng.choice(course.all_lessons), rng.randrange(101), rng.randrange(60), position_seconds=n,
            occurred_at=NOW - timedelta(seconds=1000 - n),
        )
        for n in range(300)
    ]  # fmt: skip
    expected = {}
    for lesson in course.all_lessons:
        own = [m for m in sent if m.lesson_id == lesson]
        expected[lesson] = (max(m.percent for m in own), sum(m.seconds for m in own), own[-1].position_seconds)
    for person in (organisation.client_a, organisation.client_b):
        await enroll_free(organisation, course, person)
        pieces = []
        for _ in range(2):
            rng.shuffle(sent)
            pieces += [sent[start : start + 37] for start in range(0, len(sent), 37)]
        await asyncio.gather(*(send(person, *piece) for piece in pieces))
        async with tenant_session(person) as session:
            rows = await session.scalars(
                select(LessonProgress).where(LessonProgress.user_id == require_id(person))
            )  # fmt: skip
            assert {
                r.lesson_id: (r.progress_percent, r.time_spent_seconds, r.last_position_seconds) for r in rows
            } == expected
    assert await find_wrong_counts(organisation) == []


async def test_all_lessons_make_a_completion_that_stays(organisation: Organisation) -> None:
    course = await write_course(organisation, (2, 1))
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    percents = []
    for lesson in course.all_lessons:
        await send(organisation.client_a, say(lesson, 100))
        percents.append((await read_enrollment(organisation, enrollment)).progress_percent)
    assert percents == [33, 66, 100]
    row = await read_enrollment(organisation, enrollment)
    assert (row.status, row.completion_date is not None) == ("completed", True)

    other = await enroll_free(organisation, course, organisation.client_b)
    await send(organisation.client_b, say(course.all_lessons[0], 100))
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.add_lesson(
            session, module_id=course.modules[1], principal=organisation.coach_a,
            fields={"title": "An afterthought", "content_type": "text"},
        )  # fmt: skip
    after = await read_enrollment(organisation, enrollment)
    assert (after.status, after.progress_percent, after.lesson_total) == ("completed", 100, 4)
    assert (await read_enrollment(organisation, other)).progress_percent == 25
    async with tenant_session(organisation.system) as session:
        assert (await programs.get_program(session, course.program_id)).completion_count == 1
    async with tenant_session(organisation.compliance) as session:
        noted = await session.scalars(select(AuditLog.changes["status"]).where(AuditLog.entity_id == enrollment))
        assert ["active", "completed"] in list(noted)
    assert await find_wrong_counts(organisation) == []


async def test_withdrawing_what_is_left_completes_and_moving_does_not(organisation: Organisation) -> None:
    course = await write_course(organisation, (1, 1))
    first, second = course.all_lessons
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    await send(organisation.client_a, say(first, 100))
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=second, principal=organisation.coach_a,
            fields={"module_id": course.modules[0], "sequence_order": 2},
        )  # fmt: skip
    row = await read_enrollment(organisation, enrollment)
    assert (row.status, row.progress_percent) == ("active", 50)
    assert await find_wrong_counts(organisation) == []
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=first, principal=organisation.coach_a, fields={"is_published": False}
        )
    row = await read_enrollment(organisation, enrollment)
    assert (row.status, row.progress_percent, row.completed_lessons) == ("active", 0, 0)
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=first, principal=organisation.coach_a, fields={"is_published": True}
        )
        await curriculum.delete_lesson(session, lesson_id=second, principal=organisation.coach_a)
    assert (await read_enrollment(organisation, enrollment)).status == "completed"
    assert await find_wrong_counts(organisation) == []


async def test_what_is_not_taken_or_locked_is_told_apart(organisation: Organisation) -> None:
    course = await write_course(organisation, (1, 1))
    elsewhere = await write_course(organisation, (1,))
    await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_module(
            session, module_id=course.modules[1], principal=organisation.coach_a,
            fields={"unlock_after_module_id": course.modules[0]},
        )  # fmt: skip
    with pytest.raises(curriculum.ModuleElsewhere):
        async with tenant_session(organisation.coach_a) as session:
            await curriculum.update_module(
                session, module_id=course.modules[0], principal=organisation.coach_a,
                fields={"unlock_after_module_id": elsewhere.modules[0]},
            )  # fmt: skip
    open_lesson, locked_lesson = course.all_lessons
    states = await send(
        organisation.client_a, say(open_lesson, 10), say(locked_lesson, 10), say(elsewhere.all_lessons[0], 10),
        say(uuid4(), 10),
    )  # fmt: skip
    told = {state.lesson_id: state.outcome for state in states}
    assert told[open_lesson] == "recorded"
    assert told[locked_lesson] == "locked"
    assert told[elsewhere.all_lessons[0]] == "unknown"
    user_id = require_id(organisation.client_a)
    for lesson, refusal in ((locked_lesson, LessonLocked), (elsewhere.all_lessons[0], LessonNotFound)):
        with pytest.raises(refusal):
            async with tenant_session(organisation.client_a) as session:
                await record_lesson(session, user_id=user_id, message=say(lesson, 1))
    await send(organisation.client_a, say(open_lesson, 100))
    (state,) = await send(organisation.client_a, say(locked_lesson, 10))
    assert state.outcome == "recorded"
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(BatchTooLarge):
            await record_progress(session, user_id=user_id, messages=[say(open_lesson, 1)] * 501)


async def test_a_forgotten_message_counts_anew(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    await enroll_free(organisation, course, organisation.client_a)
    message = say(course.all_lessons[0], 10, 60)
    await send(organisation.client_a, message)
    async with tenant_session(organisation.system) as session:
        assert await forget_progress_events(session, before=NOW - timedelta(days=30)) == 0
        assert await forget_progress_events(session, before=datetime.now(UTC) + timedelta(days=1)) == 1
    (state,) = await send(organisation.client_a, message)
    assert state.time_spent_seconds == 120


async def learn(organisation: Organisation, course: Course, person: Principal, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        picked = rng.sample(course.all_lessons, 3)
        try:
            await send(person, *(say(lesson, rng.choice((50, 100)), 1) for lesson in picked))
        except WritesMet:
            continue


async def rewrite(organisation: Organisation, course: Course, seed: int) -> None:
    rng = random.Random(seed)
    author = organisation.coach_a
    for _ in range(10):
        lesson, module = rng.choice(course.all_lessons), rng.choice(course.modules)
        shown = rng.random() < 0.5
        try:
            async with tenant_session(author) as session:
                match rng.randrange(4):
                    case 0:
                        await curriculum.update_lesson(
                            session, lesson_id=lesson, principal=author, fields={"is_published": shown}
                        )
                    case 1:
                        await curriculum.update_module(
                            session, module_id=module, principal=author, fields={"is_published": shown}
                        )
                    case 2:
                        await curriculum.add_lesson(
                            session, module_id=module, principal=author, fields={"title": "New", "content_type": "text"}
                        )
                    case _:
                        there = list(await session.scalars(select(Lesson.id).where(Lesson.module_id == module)))
                        if len(there) > 5:
                            await curriculum.delete_lesson(session, lesson_id=there[-1], principal=author)
        except (WritesMet, LessonNotFound):  # another author deleted it first
            continue


async def test_counts_hold_while_authors_and_learners_write_at_once(organisation: Organisation) -> None:
    course = await write_course(organisation, (4, 4, 4))
    people = [organisation.client_a, organisation.client_b, organisation.client_c, organisation.coach_b]
    for person in people:
        await enroll_free(organisation, course, person)
    late = organisation.executive
    await asyncio.gather(
        *(learn(organisation, course, person, n) for n, person in enumerate(people)),
        *(learn(organisation, course, person, n + 10) for n, person in enumerate(people)),
        *(rewrite(organisation, course, n) for n in range(3)),
        enroll_free(organisation, course, late),
    )
    assert await find_wrong_counts(organisation) == []
    async with tenant_session(organisation.system) as session:
        for row in await session.scalars(select(Enrollment)):
            if row.status == "active":
                assert row.progress_percent == (
                    100 * row.completed_lessons // row.lesson_total if row.lesson_total else 0
                )
                assert row.completed_lessons < row.lesson_total or row.lesson_total == 0


async def test_counts_hold_through_deletes_and_cascades(organisation: Organisation) -> None:
    course = await write_course(organisation, (2, 3))
    ids = [await enroll_free(organisation, course, p) for p in (organisation.client_a, organisation.client_b)]
    for person in (organisation.client_a, organisation.client_b):
        await send(person, *(say(lesson, 100) for lesson in course.all_lessons[:4]))
    async with tenant_session(organisation.system) as session:
        await session.execute(
            delete(LessonProgress).where(
                LessonProgress.lesson_id == course.all_lessons[0], LessonProgress.enrollment_id == ids[0]
            )
        )
        await session.execute(delete(Lesson).where(Lesson.id == course.all_lessons[1]))
    assert await find_wrong_counts(organisation) == []
    async with tenant_session(organisation.system) as session:
        await session.execute(update(LessonProgress).values(completed_at=None, progress_percent=99))
    assert await find_wrong_counts(organisation) == []
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Module).where(Module.id == course.modules[1]))
        await session.execute(delete(Enrollment).where(Enrollment.id == ids[0]))
    assert await find_wrong_counts(organisation) == []
    row = await read_enrollment(organisation, ids[1])
    assert row.lesson_total == 1
    assert row.current_lesson_id in (None, course.all_lessons[0])
