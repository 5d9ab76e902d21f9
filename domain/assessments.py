"""Assessments: attempts within their number and time, graded at once or by a person."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import Assessment, AssessmentKey, AssessmentSubmission, Lesson
from db.session import Principal
from domain.comms import notify, publish
from domain.curriculum import LessonNotFound
from domain.identity import bound_tenant
from domain.programs import name_id, require_teacher
from domain.questions import (
    Given,
    Question,
    join_questions,
    needs_person,
    require_known,
    score_answers,
    split_questions,
)

GRACE: Final = timedelta(seconds=30)
"""What an answer may be late for the way it travels."""


_NO_POINTS: Final[Mapping[str, Any]] = {
    "status": "graded",
    "score": Decimal(0),
    "passed": False,
    "graded_at": func.now(),
}


class AssessmentNotFound(NotFound):
    """There is no such assessment that you may take; enrol in its program first, or check the id."""


class SubmissionNotFound(NotFound):
    """There is no such submission that you may see; list the submissions to find its id."""


class AttemptsUsedUp(Conflict):
    """You have no attempt left at this assessment; ask the instructor."""


class AssessmentPassed(Conflict):
    """You have passed this assessment already; go on with the next lesson."""


class AssessmentLocked(Invalid):
    """This assessment's module is not open to you yet; finish the module before it or wait for its date."""


class AttemptClosed(Conflict):
    """This attempt is handed in already; start another one if there is one left."""


class NotGradable(Conflict):
    """This attempt is not handed in yet; wait for its author."""


class OwnWork(Forbidden):
    """Nobody grades their own work; ask another teacher of the program."""


async def create_assessment(
    session: AsyncSession,
    *,
    principal: Principal,
    program_id: UUID,
    lesson_id: UUID | None,
    questions: Sequence[Question],
    fields: Mapping[str, Any],
    key: str | None = None,
) -> Assessment:
    """Add an assessment to a lesson or to a whole program; the same idempotency key returns the one made first.

    Raises `NotTeaching`, `LessonNotFound`, `QuestionsUnusable`.
    """
    await require_teacher(session, program_id=program_id, principal=principal)
    belongs = select(Lesson.id).where(Lesson.id == lesson_id, Lesson.program_id == program_id)
    if lesson_id is not None and await session.scalar(belongs) is None:
        raise LessonNotFound
    shown, answers = split_questions(questions)
    tenant_id = await bound_tenant(session)
    place = {"tenant_id": tenant_id, "id": name_id(principal, "assessment", key), "program_id": program_id}
    once: Any = {"index_elements": ("tenant_id", "id")}
    values = {**fields, **place, "lesson_id": lesson_id, "questions": shown}
    await session.execute(insert(Assessment).values(values).on_conflict_do_nothing(**once))
    await session.execute(insert(AssessmentKey).values(answers=answers, **place).on_conflict_do_nothing(**once))
    return await get_assessment(session, place["id"])


async def update_assessment(
    session: AsyncSession,
    *,
    principal: Principal,
    assessment_id: UUID,
    questions: Sequence[Question] | None,
    fields: Mapping[str, Any],
) -> Assessment:
    """Change an assessment; attempts handed in before keep their score."""
    row = await get_assessment(session, assessment_id)
    await require_teacher(session, program_id=row.program_id, principal=principal)
    values = dict(fields)
    if questions is not None:
        values["questions"], answers = split_questions(questions)
        changed = insert(AssessmentKey).values(
            tenant_id=row.tenant_id, id=row.id, program_id=row.program_id, answers=answers
        )
        await session.execute(
            changed.on_conflict_do_update(
                index_elements=("tenant_id", "id"), set_={"answers": changed.excluded.answers}
            )
        )
    if values:
        await session.execute(
            update(Assessment).where(Assessment.id == assessment_id).values(**values, updated_at=func.now())
        )
    return await get_assessment(session, assessment_id)


async def get_assessment(session: AsyncSession, assessment_id: UUID) -> Assessment:
    """Return the assessment, without its answers; raises `AssessmentNotFound`."""
    row = await session.scalar(
        select(Assessment).where(Assessment.id == assessment_id).execution_options(populate_existing=True)
    )
    if row is None:
        raise AssessmentNotFound
    return row


async def get_questions(session: AsyncSession, assessment: Assessment) -> list[Question]:
    """Return the questions with their answers, for those who teach; others' sessions do not see the key."""
    answers = await session.scalar(select(AssessmentKey.answers).where(AssessmentKey.id == assessment.id))
    if answers is None:
        raise AssessmentNotFound
    return join_questions(assessment.questions or [], answers)


_TAKES = text("""
SELECT e.id AS enrollment_id, coalesce(learning.is_open(l.module_id, e.user_id), true) AS is_open
FROM learning.assessments a
JOIN learning.enrollments e ON e.tenant_id = a.tenant_id AND e.program_id = a.program_id AND e.user_id = :user_id
 AND e.status IN ('active', 'completed')
LEFT JOIN learning.lessons l ON l.tenant_id = a.tenant_id AND l.id = a.lesson_id
WHERE a.id = :assessment_id AND a.is_published AND (l.id IS NULL OR l.is_visible)
FOR NO KEY UPDATE OF e
""")


async def start_attempt(session: AsyncSession, *, assessment_id: UUID, user_id: UUID) -> AssessmentSubmission:
    """Return the person's running attempt, or begin the next one.

    Needs a system session. Locks the enrolment, so that no two requests can share the last attempt. An attempt whose
    time ran out is closed with no points first. Raises `AssessmentNotFound`, `AssessmentLocked`, `AttemptsUsedUp`,
    `AssessmentPassed`.
    """
    takes = (await session.execute(_TAKES, {"assessment_id": assessment_id, "user_id": user_id})).one_or_none()
    if takes is None:
        raise AssessmentNotFound
    if not takes.is_open:
        raise AssessmentLocked
    assessment = await get_assessment(session, assessment_id)
    attempts = list(
        await session.scalars(
            select(AssessmentSubmission)
            .where(AssessmentSubmission.assessment_id == assessment_id, AssessmentSubmission.user_id == user_id)
            .order_by(AssessmentSubmission.attempt_number)
            .execution_options(populate_existing=True)
        )
    )
    if attempts and attempts[-1].status == "in_progress":
        if not _is_late(assessment, attempts[-1]):
            return attempts[-1]
        await _close(session, assessment, attempts[-1], _NO_POINTS)
    if any(attempt.passed for attempt in attempts):
        raise AssessmentPassed
    if attempts and attempts[-1].status in ("submitted", "returned"):
        raise AttemptClosed("Your last attempt waits for its teacher or for you; read its feedback first.")
    if assessment.max_attempts is not None and len(attempts) >= assessment.max_attempts:
        raise AttemptsUsedUp
    made = insert(AssessmentSubmission).values(
        tenant_id=assessment.tenant_id, program_id=assessment.program_id, assessment_id=assessment_id, user_id=user_id,
        enrollment_id=takes.enrollment_id, attempt_number=len(attempts) + 1,
    )  # fmt: skip
    return (await session.scalars(made.returning(AssessmentSubmission))).one()


async def submit_attempt(
    session: AsyncSession,
    *,
    submission_id: UUID,
    user_id: UUID,
    answers: Mapping[str, Given],
    files: Sequence[Mapping[str, Any]] = (),
) -> AssessmentSubmission:
    """Hand an attempt in; what a machine can grade is graded at once, the rest waits for a teacher.

    Needs a system session. Answers that come after the time limit are not graded: the attempt gets no points. One that
    was returned may be handed in again. Raises `SubmissionNotFound`, `AttemptClosed`, `AnswerToNothing`.
    """
    attempt = await _lock_submission(session, submission_id)
    if attempt.user_id != user_id:
        raise SubmissionNotFound
    if attempt.status not in ("in_progress", "returned"):
        raise AttemptClosed
    assessment = await get_assessment(session, attempt.assessment_id)
    shown = assessment.questions or []
    require_known(shown, answers)
    if attempt.status == "in_progress" and _is_late(assessment, attempt):
        return await _close(session, assessment, attempt, _NO_POINTS)
    verdict: dict[str, Any] = {"status": "submitted"}
    if assessment.is_auto_graded and not needs_person(shown):
        verdict = _score(assessment, score_answers(await get_questions(session, assessment), answers))
    given = {"answers": dict(answers), "submission_files": list(files) or None}
    return await _close(session, assessment, attempt, given | verdict)


async def grade_submission(
    session: AsyncSession, *, submission_id: UUID, principal: Principal, score: Decimal, feedback: str | None
) -> AssessmentSubmission:
    """Grade work handed in, or grade it anew; `score` is in percent. Runs in the teacher's own session.

    Raises `SubmissionNotFound`, `NotGradable`, `OwnWork`.
    """
    attempt = await _lock_for_teacher(session, submission_id, principal)
    assessment = await get_assessment(session, attempt.assessment_id)
    graded = _score(assessment, score) | {"graded_by": principal.user_id, "feedback": feedback}
    return await _answer_author(session, attempt, graded, "assessment_graded", "Your work has been graded")


async def return_submission(
    session: AsyncSession, *, submission_id: UUID, principal: Principal, feedback: str
) -> AssessmentSubmission:
    """Give the work back to be done again as the same attempt. Raises as `grade_submission`."""
    attempt = await _lock_for_teacher(session, submission_id, principal)
    returned = {
        "status": "returned",
        "feedback": feedback,
        "graded_by": principal.user_id,
        "score": None,
        "passed": None,
    }
    return await _answer_author(session, attempt, returned, "assessment_returned", "Your work came back with comments")


async def _answer_author(
    session: AsyncSession, attempt: AssessmentSubmission, changes: dict[str, Any], topic: str, title: str
) -> AssessmentSubmission:
    await session.execute(
        update(AssessmentSubmission)
        .where(AssessmentSubmission.id == attempt.id)
        .values(changes | {"graded_at": func.now()})
    )
    await notify(
        session, user_id=attempt.user_id, kind=topic, title=title, message="Open it to read the feedback.",
        reference=("assessment_submission", attempt.id),
    )  # fmt: skip
    await publish(session, topic, {"submission_id": attempt.id, "assessment_id": attempt.assessment_id})
    return await get_submission(session, attempt.id)


async def get_submission(session: AsyncSession, submission_id: UUID) -> AssessmentSubmission:
    """Return the submission; raises `SubmissionNotFound`."""
    row = await session.scalar(
        select(AssessmentSubmission)
        .where(AssessmentSubmission.id == submission_id)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise SubmissionNotFound
    return row


async def _lock_submission(session: AsyncSession, submission_id: UUID) -> AssessmentSubmission:
    row = await session.scalar(
        select(AssessmentSubmission)
        .where(AssessmentSubmission.id == submission_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise SubmissionNotFound
    return row


async def _lock_for_teacher(session: AsyncSession, submission_id: UUID, principal: Principal) -> AssessmentSubmission:
    attempt = await get_submission(session, submission_id)
    await require_teacher(session, program_id=attempt.program_id, principal=principal)
    attempt = await _lock_submission(session, submission_id)
    if attempt.user_id == principal.user_id:
        raise OwnWork
    if attempt.status not in ("submitted", "graded"):
        raise NotGradable
    return attempt


def _is_late(assessment: Assessment, attempt: AssessmentSubmission) -> bool:
    if assessment.time_limit_minutes is None:
        return False
    return datetime.now(UTC) > attempt.started_at + timedelta(minutes=assessment.time_limit_minutes) + GRACE


def _score(assessment: Assessment, score: Decimal) -> dict[str, Any]:
    passed = score >= (assessment.passing_score or 0)
    return {"status": "graded", "score": score, "passed": passed, "graded_at": func.now()}


async def _close(
    session: AsyncSession, assessment: Assessment, attempt: AssessmentSubmission, changes: Mapping[str, Any]
) -> AssessmentSubmission:
    taken = func.least(func.extract("epoch", func.now() - AssessmentSubmission.started_at), 2_000_000_000)
    await session.execute(
        update(AssessmentSubmission)
        .where(AssessmentSubmission.id == attempt.id)
        .values(submitted_at=func.now(), time_taken_seconds=func.floor(taken), **changes)
    )
    await publish(session, "assessment_submitted", {"submission_id": attempt.id, "assessment_id": assessment.id})
    return await get_submission(session, attempt.id)
