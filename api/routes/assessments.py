"""Assessments, attempts at them, and their grades."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, status
from sqlalchemy import select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.assessments import (
    AssessmentIn,
    AssessmentOut,
    AssessmentPatch,
    GradeIn,
    HandInIn,
    QuestionsOut,
    ReturnIn,
    SubmissionOut,
    SubmissionStatus,
)
from db.models import Assessment, AssessmentSubmission
from db.session import Principal
from domain import assessments
from domain.learning import LearnerNotFound
from domain.reading import Read, record_reading

router = APIRouter(prefix="/v1", tags=["learning"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("client", "coach", "admin")]
TEACH: Final = [needs("write"), needs_role("coach", "admin")]


def _require_person(principal: Principal) -> UUID:
    if principal.user_id is None:
        raise LearnerNotFound
    return principal.user_id


@router.get(
    "/programs/{program_id}/assessments", operation_id="listAssessments", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_assessments(
    program_id: UUID,
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    lesson: Annotated[UUID | None, Query(description="only of this lesson")] = None,
) -> Page[AssessmentOut]:
    """List the assessments of a program you take or teach, in the order they were written."""
    query = select(Assessment).where(Assessment.program_id == program_id)
    if lesson is not None:
        query = query.where(Assessment.lesson_id == lesson)
    order = (Assessment.created_at, Assessment.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    return Page(items=[AssessmentOut.model_validate(row.Assessment) for row in rows], next_cursor=following)


@router.post(
    "/programs/{program_id}/assessments", operation_id="createAssessment", dependencies=TEACH,
    status_code=status.HTTP_201_CREATED, responses=list_problem_responses(404),
)  # fmt: skip
async def create_assessment(
    program_id: UUID, body: AssessmentIn, principal: PrincipalDep, session: SessionDep, key: IdempotencyKey = None
) -> AssessmentOut:
    """Add an assessment to a program you teach."""
    row = await assessments.create_assessment(
        session, principal=principal, program_id=program_id, lesson_id=body.lesson_id, questions=body.questions,
        fields=body.changes(), key=key,
    )  # fmt: skip
    return AssessmentOut.model_validate(row)


@router.get(
    "/assessments/{assessment_id}", operation_id="getAssessment", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_assessment(assessment_id: UUID, session: SessionDep) -> AssessmentOut:
    """Read one assessment, without its answers."""
    return AssessmentOut.model_validate(await assessments.get_assessment(session, assessment_id))


@router.patch(
    "/assessments/{assessment_id}", operation_id="updateAssessment", dependencies=TEACH,
    responses=list_problem_responses(404),
)  # fmt: skip
async def update_assessment(
    assessment_id: UUID, body: AssessmentPatch, principal: PrincipalDep, session: SessionDep
) -> AssessmentOut:
    """Change an assessment of a program you teach."""
    row = await assessments.update_assessment(
        session, principal=principal, assessment_id=assessment_id, fields=body.changes(),
        questions=body.questions if "questions" in body.model_fields_set else None,
    )  # fmt: skip
    return AssessmentOut.model_validate(row)


@router.get(
    "/assessments/{assessment_id}/questions", operation_id="getQuestions", dependencies=TEACH,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_questions(assessment_id: UUID, session: SessionDep) -> QuestionsOut:
    """Read the questions with their answers, where you teach."""
    row = await assessments.get_assessment(session, assessment_id)
    return QuestionsOut(questions=await assessments.get_questions(session, row))


@router.post(
    "/assessments/{assessment_id}/attempts", operation_id="startAttempt", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def start_attempt(assessment_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> SubmissionOut:
    """Begin an attempt, or come back to the one that is running."""
    row = await assessments.start_attempt(session, assessment_id=assessment_id, user_id=_require_person(principal))
    return SubmissionOut.model_validate(row)


@router.post(
    "/submissions/{submission_id}/hand-in", operation_id="handInAttempt", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def hand_in(
    submission_id: UUID, body: HandInIn, principal: PrincipalDep, session: SystemSessionDep
) -> SubmissionOut:
    """Hand an attempt in; a quiz comes back graded."""
    row = await assessments.submit_attempt(
        session, submission_id=submission_id, user_id=_require_person(principal), answers=body.answers,
        files=[file.model_dump(mode="json") for file in body.files],
    )  # fmt: skip
    return SubmissionOut.model_validate(row)


@router.get("/submissions", operation_id="listSubmissions", dependencies=READ, responses=list_problem_responses())
async def list_submissions(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    program: Annotated[UUID | None, Query(description="only of this program")] = None,
    assessment: Annotated[UUID | None, Query(description="only of this assessment")] = None,
    person: Annotated[UUID | None, Query(description="only of this person")] = None,
    state: Annotated[SubmissionStatus | None, Query(alias="status", description="`submitted`: to be graded")] = None,
) -> Page[SubmissionOut]:
    """List the attempts you may see, the longest waiting first: yours, your clients', and of programs you teach."""
    query = select(AssessmentSubmission)
    filters = (
        (AssessmentSubmission.program_id, program), (AssessmentSubmission.assessment_id, assessment),
        (AssessmentSubmission.user_id, person), (AssessmentSubmission.status, state),
    )  # fmt: skip
    query = query.where(*(column == value for column, value in filters if value is not None))
    order = (AssessmentSubmission.started_at, AssessmentSubmission.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    shown = [row.AssessmentSubmission for row in rows]
    read: Read = {"submission": [one.id for one in shown], "client": [one.user_id for one in shown]}
    await record_reading(session, "submission_read", read)
    return Page(items=[SubmissionOut.model_validate(one) for one in shown], next_cursor=following)


@router.get(
    "/submissions/{submission_id}", operation_id="getSubmission", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_submission(submission_id: UUID, session: SessionDep) -> SubmissionOut:
    """Read one attempt with its grade."""
    row = await assessments.get_submission(session, submission_id)
    read: Read = {"submission": [row.id], "client": [row.user_id]}
    await record_reading(session, "submission_read", read, entity=("submission", row.id))
    return SubmissionOut.model_validate(row)


@router.post(
    "/submissions/{submission_id}/grade", operation_id="gradeSubmission", dependencies=TEACH,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def grade_submission(
    submission_id: UUID, body: GradeIn, principal: PrincipalDep, session: SessionDep
) -> SubmissionOut:
    """Grade work of a program you teach, or grade it anew."""
    row = await assessments.grade_submission(
        session, submission_id=submission_id, principal=principal, score=body.score, feedback=body.feedback
    )
    return SubmissionOut.model_validate(row)


@router.post(
    "/submissions/{submission_id}/return", operation_id="returnSubmission", dependencies=TEACH,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def return_submission(
    submission_id: UUID, body: ReturnIn, principal: PrincipalDep, session: SessionDep
) -> SubmissionOut:
    """Give work back to its author to be done again as the same attempt."""
    row = await assessments.return_submission(
        session, submission_id=submission_id, principal=principal, feedback=body.feedback
    )
    return SubmissionOut.model_validate(row)
