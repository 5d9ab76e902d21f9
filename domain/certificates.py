"""Certificates: issued once for a completed program, verified by whoever holds the code."""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, NotFound
from db.models import Certificate, Enrollment, Program
from db.session import Principal, unbound_session
from domain.comms import notify, publish
from domain.governance import name_action
from domain.identity import bound_tenant
from domain.learning import EnrollmentNotFound
from domain.programs import require_teacher

CODE_BYTES: Final = 20
"""160 random bits, 32 letters in eight groups of four."""


class CertificateNotFound(NotFound):
    """There is no such certificate that you may see; check its id or its code, letter by letter."""


class ProgramNotCompleted(Conflict):
    """A certificate is issued for a completed program; finish every lesson first."""


class CertificateRevoked(Conflict):
    """This certificate has been revoked; ask the program's instructor."""


@dataclass(frozen=True)
class Verification:
    """What anybody learns who holds a certificate's code."""

    holder: str
    title: str
    organisation: str
    certificate_number: str
    issued_at: datetime
    completion_date: datetime
    is_revoked: bool


def make_code() -> str:
    """Return a code nobody guesses, in letters and figures that are not mistaken for each other (RFC 4648 base32)."""
    letters = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))


def normalise_code(written: str) -> str:
    """Return the code as stored for one typed with other spaces, dashes or case."""
    letters = "".join(letter for letter in written.upper() if letter.isascii() and letter.isalnum())
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))


# The mean of the best scores, over the program's assessments that were passed; null where nothing is tested.
_SCORE = text("""
SELECT round(avg(best), 2) FROM (
    SELECT max(s.score) AS best FROM learning.assessment_submissions s
    WHERE s.enrollment_id = :enrollment_id AND s.passed GROUP BY s.assessment_id) b
""")


async def issue_certificate(session: AsyncSession, *, enrollment_id: UUID, issued_by: UUID | None) -> Certificate:
    """Return the enrolment's certificate, made where there is none yet (seed 001 §8.2 T3).

    Needs a system session. Locks the enrolment, so that fifty requests make one certificate, one notification and one
    outbox message. `issued_by` is the teacher, or None where the learner claims it.
    Raises `EnrollmentNotFound`, `ProgramNotCompleted`, `CertificateRevoked`.
    """
    enrollment = await session.scalar(
        select(Enrollment)
        .where(Enrollment.id == enrollment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if enrollment is None:
        raise EnrollmentNotFound
    there = await session.scalar(select(Certificate).where(Certificate.enrollment_id == enrollment_id))
    if there is not None:
        if there.is_revoked:
            raise CertificateRevoked
        return there
    if enrollment.status != "completed" or enrollment.progress_percent < 100 or enrollment.completion_date is None:
        raise ProgramNotCompleted
    await name_action(session, "certificate_issued")
    return await _issue(session, enrollment, issued_by)


async def _issue(session: AsyncSession, enrollment: Enrollment, issued_by: UUID | None) -> Certificate:
    program = (await session.scalars(select(Program).where(Program.id == enrollment.program_id))).one()
    number = secrets.token_hex(5).upper()
    made = insert(Certificate).values(
        tenant_id=await bound_tenant(session), enrollment_id=enrollment.id, user_id=enrollment.user_id,
        program_id=enrollment.program_id, issued_by=issued_by, title=program.title, description=program.description,
        certificate_number=f"{enrollment.completion_date:%Y}-{number[:5]}-{number[5:]}", verification_code=make_code(),
        completion_date=enrollment.completion_date,
        completion_score=await session.scalar(_SCORE, {"enrollment_id": enrollment.id}),
    )  # fmt: skip
    certificate = (await session.scalars(made.returning(Certificate))).one()
    await session.execute(
        update(Enrollment)
        .where(Enrollment.id == enrollment.id)
        .values(certificate_issued=True, certificate_issued_at=certificate.issued_at)
    )
    await notify(
        session, user_id=enrollment.user_id, kind="certificate", title="Your certificate is ready",
        message=f"You completed {program.title}.", reference=("certificate", certificate.id), actor_id=issued_by,
        deduplication_key=f"certificate {certificate.id}",
    )  # fmt: skip
    ids = {"certificate_id": certificate.id, "enrollment_id": enrollment.id, "program_id": program.id}
    await publish(session, "certificate_issued", ids, key=f"certificate {certificate.id}")
    return certificate


async def get_certificate(session: AsyncSession, certificate_id: UUID) -> Certificate:
    """Return the certificate; raises `CertificateNotFound`."""
    row = await session.scalar(
        select(Certificate).where(Certificate.id == certificate_id).execution_options(populate_existing=True)
    )
    if row is None:
        raise CertificateNotFound
    return row


async def revoke_certificate(
    session: AsyncSession, *, certificate_id: UUID, principal: Principal, reason: str
) -> Certificate:
    """Revoke it for good, with a reason; once revoked, nothing changes any more. Runs in the teacher's own session.

    Raises `CertificateNotFound`, `NotTeaching`.
    """
    row = await get_certificate(session, certificate_id)
    await require_teacher(session, program_id=row.program_id, principal=principal)
    await name_action(session, "certificate_revoked")
    done = await session.scalar(
        update(Certificate)
        .where(Certificate.id == certificate_id, Certificate.is_revoked.is_(False))
        .values(is_revoked=True, revoked_at=func.now(), revocation_reason=reason)
        .returning(Certificate.id)
    )
    if done is not None:
        await publish(session, "certificate_revoked", {"certificate_id": certificate_id}, key=f"certificate {row.id}")
        await notify(
            session, user_id=row.user_id, kind="certificate", title="A certificate was revoked",
            message=f"Your certificate for {row.title} was revoked; ask the instructor why.",
            reference=("certificate", certificate_id),
        )  # fmt: skip
    return await get_certificate(session, certificate_id)


async def verify_certificate(code: str) -> Verification:
    """Return what anybody with the code may know, of any tenant; raises `CertificateNotFound`.

    The code is found by an index and is 160 random bits, so neither time nor trying tells anything of other codes.
    """
    async with unbound_session() as session:
        found = await session.execute(
            text("SELECT * FROM learning.find_certificate(:code)"), {"code": normalise_code(code)}
        )
        row = found.mappings().one_or_none()
    if row is None:
        raise CertificateNotFound
    return Verification(**row)
