"""Attempts: as many as allowed, in time, graded at once or by a teacher, never by their author."""

import asyncio
from collections import Counter as Tally
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from db.models import Assessment, AssessmentKey, AssessmentSubmission, Enrollment, Notification
from db.session import Principal, tenant_session
from domain import assessments, curriculum, learning
from domain.curriculum import LessonNotFound
from domain.programs import NotTeaching
from domain.progress import record_progress
from tests.domain.test_questions import QUIZ, READ, RIGHT
from tests.factories.courses import Course, enroll_free, say, write_course
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def add_quiz(
    organisation: Organisation, course: Course, *, lesson_id: UUID | None = None, questions: Any = QUIZ, **fields: Any
) -> UUID:
    values = {"title": "What stayed", "assessment_type": "quiz", "passing_score": 70, "max_attempts": 3} | fields
    async with tenant_session(organisation.coach_a) as session:
        row = await assessments.create_assessment(
            session, principal=organisation.coach_a, program_id=course.program_id, lesson_id=lesson_id,
            questions=READ.validate_python(questions), fields=values,
        )  # fmt: skip
        return row.id


async def start(organisation: Organisation, assessment_id: UUID, person: Principal) -> UUID:
    async with tenant_session(organisation.system) as session:
        row = await assessments.start_attempt(session, assessment_id=assessment_id, user_id=require_id(person))
        return row.id


async def hand_in(
    organisation: Organisation, submission: UUID, person: Principal, answers: Any
) -> AssessmentSubmission:
    async with tenant_session(organisation.system) as session:
        return await assessments.submit_attempt(
            session, submission_id=submission, user_id=require_id(person), answers=answers
        )


async def test_a_quiz_is_graded_at_once_and_completes_its_lesson(organisation: Organisation) -> None:
    course = await write_course(organisation, (2,))
    person, lesson = organisation.client_a, course.all_lessons[1]
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_lesson(
            session, lesson_id=lesson, principal=organisation.coach_a, fields={"content_type": "quiz"}
        )
    quiz = await add_quiz(organisation, course, lesson_id=lesson)
    enrollment = await enroll_free(organisation, course, person)
    async with tenant_session(person) as session:
        states, _ = await record_progress(session, user_id=require_id(person), messages=[say(lesson, 100)])
        assert (states[0].progress_percent, states[0].completed_at) == (99, None)

    failed = await hand_in(organisation, await start(organisation, quiz, person), person, RIGHT | {"many": ["a"]})
    assert (failed.score, failed.passed, failed.status) == (Decimal("66.67"), False, "graded")
    passed = await hand_in(organisation, await start(organisation, quiz, person), person, RIGHT)
    assert (passed.score, passed.passed, passed.attempt_number) == (Decimal("100.00"), True, 2)
    assert passed.time_taken_seconds is not None
    async with tenant_session(organisation.system) as session:
        assert (await learning.get_enrollment(session, enrollment)).progress_percent == 50
    with pytest.raises(assessments.AssessmentPassed):
        await start(organisation, quiz, person)
    with pytest.raises(assessments.AttemptClosed):
        await hand_in(organisation, passed.id, person, RIGHT)
    async with tenant_session(person) as session:
        states, _ = await record_progress(session, user_id=require_id(person), messages=[say(lesson, 100)])
        assert states[0].completed_at is not None


async def test_last_attempt_is_given_once(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    quiz = await add_quiz(organisation, course, max_attempts=2)
    await enroll_free(organisation, course, organisation.client_a)

    async def attempt() -> str:
        try:
            submission = await start(organisation, quiz, organisation.client_a)
            await hand_in(organisation, submission, organisation.client_a, {})
        except (assessments.AttemptsUsedUp, assessments.AttemptClosed) as refused:
            return refused.code
        return "graded"

    told = Tally(await asyncio.gather(*(attempt() for _ in range(50))))
    assert told["graded"] == 2
    assert sum(told.values()) == 50
    async with tenant_session(organisation.system) as session:
        numbers = await session.scalars(select(AssessmentSubmission.attempt_number))
        assert sorted(numbers) == [1, 2]
    with pytest.raises(assessments.AttemptsUsedUp):
        await start(organisation, quiz, organisation.client_a)


async def test_late_answers_get_no_points(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    quiz = await add_quiz(organisation, course, time_limit_minutes=10, passing_score=None)
    await enroll_free(organisation, course, organisation.client_a)

    async def run_late(submission: UUID) -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(
                text("UPDATE learning.assessment_submissions SET started_at = now() - interval '11 min' WHERE id = :i"),
                {"i": submission},
            )

    first = await start(organisation, quiz, organisation.client_a)
    assert await start(organisation, quiz, organisation.client_a) == first
    await run_late(first)
    late = await hand_in(organisation, first, organisation.client_a, RIGHT)
    assert (late.score, late.passed, late.answers) == (Decimal(0), False, None)
    second = await start(organisation, quiz, organisation.client_a)
    await run_late(second)
    third = await start(organisation, quiz, organisation.client_a)
    assert third not in (first, second)
    assert (await hand_in(organisation, third, organisation.client_a, RIGHT)).passed


async def test_a_teacher_returns_and_grades(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    task = await add_quiz(
        organisation, course, questions=[], assessment_type="assignment", is_auto_graded=False,
        lesson_id=course.all_lessons[0],
    )  # fmt: skip
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    submission = await start(organisation, task, organisation.client_a)
    teacher = organisation.coach_a
    async with tenant_session(teacher) as session:
        with pytest.raises(assessments.NotGradable):
            await assessments.grade_submission(
                session, submission_id=submission, principal=teacher, score=Decimal(90), feedback=None
            )
    handed = await hand_in(organisation, submission, organisation.client_a, {"text": "I asked and waited."})
    assert (handed.status, handed.score) == ("submitted", None)
    with pytest.raises(assessments.AttemptClosed):
        await start(organisation, task, organisation.client_a)

    for other in (organisation.coach_b, organisation.admin, organisation.client_b):
        async with tenant_session(other) as session:
            with pytest.raises(assessments.SubmissionNotFound):
                await assessments.grade_submission(
                    session, submission_id=submission, principal=other, score=Decimal(90), feedback=None
                )
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(NotTeaching):
            await assessments.grade_submission(
                session, submission_id=submission, principal=organisation.client_a, score=Decimal(100), feedback=None
            )
    async with tenant_session(teacher) as session:
        back = await assessments.return_submission(
            session, submission_id=submission, principal=teacher, feedback="Say what you heard."
        )
        assert back.status == "returned"
    await hand_in(organisation, submission, organisation.client_a, {"text": "I asked, waited and heard."})
    async with tenant_session(teacher) as session:
        graded = await assessments.grade_submission(
            session, submission_id=submission, principal=teacher, score=Decimal("92.5"), feedback="Well heard."
        )
        assert (graded.passed, graded.graded_by, graded.attempt_number) == (True, require_id(teacher), 1)
    async with tenant_session(organisation.system) as session:
        assert (await learning.get_enrollment(session, enrollment)).status == "completed"
    async with tenant_session(organisation.client_a) as session:
        kinds = await session.scalars(select(Notification.notification_type))
        assert {"assessment_graded", "assessment_returned"} <= set(kinds)


async def test_nobody_grades_their_own_work(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    task = await add_quiz(organisation, course, questions=[], assessment_type="project", is_auto_graded=False)
    await enroll_free(organisation, course, organisation.coach_a)
    submission = await start(organisation, task, organisation.coach_a)
    await hand_in(organisation, submission, organisation.coach_a, {"text": "Mine"})
    async with tenant_session(organisation.coach_a) as session:
        with pytest.raises(assessments.OwnWork):
            await assessments.grade_submission(
                session, submission_id=submission, principal=organisation.coach_a, score=Decimal(100), feedback=None
            )


async def test_answers_are_read_by_teachers_only(organisation: Organisation) -> None:
    course = await write_course(organisation, (1,))
    quiz = await add_quiz(organisation, course)
    await enroll_free(organisation, course, organisation.client_a)
    await enroll_free(organisation, course, organisation.coach_b)
    for name, reader in organisation.people.items():
        async with tenant_session(reader) as session:
            shown = await session.scalar(select(Assessment.questions))
            key = await session.scalar(select(AssessmentKey.answers))
            taker = name in ("client_a", "coach_b")
            teacher = name in ("coach_a", "admin")
            assert (shown is not None) == (taker or teacher), name
            assert (key is not None) == teacher, name
            if shown is not None:
                assert all("answer" not in question for question in shown)
    async with tenant_session(organisation.coach_a) as session:
        await assessments.update_assessment(
            session, principal=organisation.coach_a, assessment_id=quiz, questions=READ.validate_python(QUIZ[:1]),
            fields={"title": "Shorter"},
        )  # fmt: skip
        row = await assessments.get_assessment(session, quiz)
        assert [question.id for question in await assessments.get_questions(session, row)] == ["one"]
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(assessments.AssessmentNotFound):
            await assessments.get_questions(session, await assessments.get_assessment(session, quiz))


async def test_only_takers_start(organisation: Organisation) -> None:
    course = await write_course(organisation, (1, 1))
    quiz = await add_quiz(organisation, course, lesson_id=course.all_lessons[1])
    with pytest.raises(assessments.AssessmentNotFound):
        await start(organisation, quiz, organisation.client_a)
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.coach_a) as session:
        await curriculum.update_module(
            session, module_id=course.modules[1], principal=organisation.coach_a,
            fields={"unlock_after_module_id": course.modules[0]},
        )  # fmt: skip
    with pytest.raises(assessments.AssessmentLocked):
        await start(organisation, quiz, organisation.client_a)
    async with tenant_session(organisation.system) as session:
        await learning.suspend_enrollment(session, enrollment)
    with pytest.raises(assessments.AssessmentNotFound):
        await start(organisation, quiz, organisation.client_a)
    other = await write_course(organisation, (1,))
    with pytest.raises(LessonNotFound):
        await add_quiz(organisation, course, lesson_id=other.all_lessons[0])
    with pytest.raises(assessments.SubmissionNotFound):
        await hand_in(organisation, uuid4(), organisation.client_a, {})
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(Enrollment.id)) == enrollment
