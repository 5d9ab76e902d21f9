"""Enrolments, progress and certificates."""

from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from sqlalchemy import select

from api.client_address import group_address
from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.rate_limits import count_within
from api.schemas.enrollments import (
    CertificateOut,
    EnrollmentIn,
    EnrollmentOut,
    EnrollmentStatus,
    LessonProgressOut,
    LessonStateOut,
    ProgressBatchIn,
    ProgressIn,
    ProgressOut,
    RatingIn,
    RevocationIn,
    StepIn,
    VerificationOut,
)
from core.errors import Forbidden
from db.models import Certificate, Enrollment, LessonProgress
from db.session import Principal
from domain import certificates, learning, programs
from domain.progress import record_lesson, record_progress

router = APIRouter(prefix="/v1", tags=["learning"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("client", "coach", "admin")]


class NotYourEnrollment(Forbidden):
    """This enrolment is another person's; ask them, or the program's instructor."""


def _require_own(principal: Principal, enrollment: Enrollment) -> None:
    if enrollment.user_id != principal.user_id:
        raise NotYourEnrollment


@router.post(
    "/programs/{program_id}/enrollments", operation_id="enroll", dependencies=WRITE,
    status_code=status.HTTP_201_CREATED, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def enroll(
    program_id: UUID, body: EnrollmentIn, principal: PrincipalDep, session: SystemSessionDep
) -> EnrollmentOut:
    """Take a program that is free or part of your membership; enrolling again changes nothing."""
    row = await learning.join_program(session, program_id=program_id, principal=principal, user_id=body.user_id)
    return EnrollmentOut.model_validate(row)


@router.get("/enrollments", operation_id="listEnrollments", dependencies=READ, responses=list_problem_responses())
async def list_enrollments(  # noqa: PLR0917  # FastAPI passes them by name
    principal: PrincipalDep,
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    program: Annotated[UUID | None, Query(description="only of this program")] = None,
    person: Annotated[UUID | None, Query(description="only of this person, where you may see it")] = None,
    state: Annotated[EnrollmentStatus | None, Query(alias="status")] = None,
    scope: Annotated[Literal["mine", "visible"], Query(description="your own, or all you may see")] = "mine",
) -> Page[EnrollmentOut]:
    """List enrolments, the newest first."""
    query = select(Enrollment)
    if scope == "mine":
        query = query.where(Enrollment.user_id == principal.user_id)
    for column, value in ((Enrollment.program_id, program), (Enrollment.user_id, person), (Enrollment.status, state)):
        if value is not None:
            query = query.where(column == value)
    order = (Enrollment.created_at, Enrollment.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[EnrollmentOut.model_validate(row.Enrollment) for row in rows], next_cursor=following)


@router.get(
    "/enrollments/{enrollment_id}", operation_id="getEnrollment", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_enrollment(enrollment_id: UUID, session: SessionDep) -> EnrollmentOut:
    """Read one enrolment."""
    return EnrollmentOut.model_validate(await learning.get_enrollment(session, enrollment_id))


@router.post(
    "/enrollments/{enrollment_id}/steps", operation_id="moveEnrollment", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def move_enrollment(
    enrollment_id: UUID, body: StepIn, principal: PrincipalDep, session: SystemSessionDep
) -> EnrollmentOut:
    """Drop an enrolment of yours; suspend, resume or complete one in a program you teach."""
    row = await learning.get_enrollment(session, enrollment_id)
    if body.step != "drop" or row.user_id != principal.user_id:
        await programs.require_teacher(session, program_id=row.program_id, principal=principal)
    move = {
        "drop": learning.drop_enrollment, "suspend": learning.suspend_enrollment,
        "resume": learning.resume_enrollment, "complete": learning.complete_enrollment,
    }[body.step]  # fmt: skip
    return EnrollmentOut.model_validate(await move(session, enrollment_id))


@router.put(
    "/enrollments/{enrollment_id}/rating", operation_id="rateProgram", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def rate_program(
    enrollment_id: UUID, body: RatingIn, principal: PrincipalDep, session: SystemSessionDep
) -> EnrollmentOut:
    """Say what you think of a program you take, in place of what you said before."""
    _require_own(principal, await learning.get_enrollment(session, enrollment_id))
    row = await learning.rate_program(session, enrollment_id=enrollment_id, rating=body.rating, review=body.review)
    return EnrollmentOut.model_validate(row)


@router.get(
    "/enrollments/{enrollment_id}/progress", operation_id="listProgress", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def list_progress(
    enrollment_id: UUID, session: SessionDep, limit: LimitQuery = 100, cursor: CursorQuery = None
) -> Page[LessonProgressOut]:
    """Read how far a person is, lesson by lesson: yours, your client's, or of those you teach."""
    await learning.get_enrollment(session, enrollment_id)
    query = select(LessonProgress).where(LessonProgress.enrollment_id == enrollment_id)
    order = (LessonProgress.first_accessed_at, LessonProgress.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    return Page(items=[LessonProgressOut.model_validate(row.LessonProgress) for row in rows], next_cursor=following)


@router.post("/progress", operation_id="recordProgress", dependencies=WRITE, responses=list_problem_responses(404))
async def record_one(body: ProgressIn, principal: PrincipalDep, session: SessionDep) -> LessonStateOut:
    """Report progress in a lesson; a message sent again counts once."""
    if principal.user_id is None:
        raise learning.LearnerNotFound
    state = await record_lesson(session, user_id=principal.user_id, message=body.message())
    return LessonStateOut.model_validate(state)


@router.post(
    "/progress/batch", operation_id="recordProgressBatch", dependencies=WRITE, responses=list_problem_responses()
)
async def record_batch(body: ProgressBatchIn, principal: PrincipalDep, session: SessionDep) -> ProgressOut:
    """Report a queue of progress, in any order, also again; what can't be counted does not stop the rest."""
    if principal.user_id is None:
        raise learning.LearnerNotFound
    messages = [message.message() for message in body.messages]
    states, enrollments = await record_progress(session, user_id=principal.user_id, messages=messages)
    return ProgressOut(
        lessons=[LessonStateOut.model_validate(state) for state in states],
        enrollments=[EnrollmentOut.model_validate(row) for row in enrollments],
    )


@router.post(
    "/enrollments/{enrollment_id}/certificate", operation_id="issueCertificate", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def issue_certificate(enrollment_id: UUID, principal: PrincipalDep, session: SystemSessionDep) -> CertificateOut:
    """Claim the certificate of a program you completed, or issue one to whom you teach; there is one, however often."""
    row = await learning.get_enrollment(session, enrollment_id)
    is_own = row.user_id == principal.user_id
    if not is_own:
        await programs.require_teacher(session, program_id=row.program_id, principal=principal)
    certificate = await certificates.issue_certificate(
        session, enrollment_id=enrollment_id, issued_by=None if is_own else principal.user_id
    )
    return CertificateOut.model_validate(certificate)


@router.get("/certificates", operation_id="listCertificates", dependencies=READ, responses=list_problem_responses())
async def list_certificates(
    session: SessionDep,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
    program: Annotated[UUID | None, Query(description="only of this program")] = None,
    person: Annotated[UUID | None, Query(description="only of this person")] = None,
) -> Page[CertificateOut]:
    """List the certificates you may see: yours, your clients', and of programs you teach."""
    query = select(Certificate)
    for column, value in ((Certificate.program_id, program), (Certificate.user_id, person)):
        if value is not None:
            query = query.where(column == value)
    order = (Certificate.created_at, Certificate.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[CertificateOut.model_validate(row.Certificate) for row in rows], next_cursor=following)


@router.get(
    "/certificates/{certificate_id}", operation_id="getCertificate", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_certificate(certificate_id: UUID, session: SessionDep) -> CertificateOut:
    """Read one certificate."""
    return CertificateOut.model_validate(await certificates.get_certificate(session, certificate_id))


@router.post(
    "/certificates/{certificate_id}/revoke", operation_id="revokeCertificate", dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def revoke_certificate(
    certificate_id: UUID, body: RevocationIn, principal: PrincipalDep, session: SessionDep
) -> CertificateOut:
    """Revoke a certificate of a program you teach, for good."""
    row = await certificates.revoke_certificate(
        session, certificate_id=certificate_id, principal=principal, reason=body.reason
    )
    return CertificateOut.model_validate(row)


@router.get("/certificates/verify/{code}", operation_id="verifyCertificate", responses=list_problem_responses(404, 429))
async def verify_certificate(code: str, request: Request) -> VerificationOut:
    """Verify a certificate by its code, without signing in."""
    address = group_address(request.state.address)
    await count_within(request, request.app.state.rate_limits.count_sign_in(address, "certificates"))
    return VerificationOut.model_validate(await certificates.verify_certificate(code))
