"""Certificates: one for a completed program, verified by code from outside, revoked with a reason."""

import asyncio
import re
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from db.models import AuditLog, Certificate, Notification
from db.session import tenant_session, unbound_session
from domain import certificates, learning
from domain.learning import EnrollmentNotFound
from domain.programs import NotTeaching
from domain.progress import record_progress
from tests.factories.courses import enroll_free, say, write_course
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import name_people, require_id


async def complete(organisation: Organisation) -> UUID:
    course = await write_course(organisation, (2,))
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    async with tenant_session(organisation.client_a) as session:
        await record_progress(
            session, user_id=require_id(organisation.client_a), messages=[say(i, 100) for i in course.all_lessons]
        )
    return enrollment


async def issue(organisation: Organisation, enrollment: UUID) -> Certificate:
    async with tenant_session(organisation.system) as session:
        return await certificates.issue_certificate(session, enrollment_id=enrollment, issued_by=None)


async def test_fifty_requests_make_one_certificate(organisation: Organisation) -> None:
    enrollment = await complete(organisation)
    made = await asyncio.gather(*(issue(organisation, enrollment) for _ in range(50)))
    assert len({(row.id, row.verification_code) for row in made}) == 1
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(Certificate)) == 1
        row = await learning.get_enrollment(session, enrollment)
        assert (row.certificate_issued, row.certificate_issued_at) == (True, made[0].issued_at)
        sent = await session.scalar(
            text("SELECT count(*) FROM comms.outbox WHERE topic = 'certificate_issued'"),
        )
        assert sent == 1
    async with tenant_session(organisation.client_a) as session:
        told = select(func.count()).where(Notification.notification_type == "certificate")
        assert await session.scalar(told) == 1
    async with tenant_session(organisation.compliance) as session:
        named = select(func.count()).where(
            AuditLog.action == "certificate_issued", AuditLog.entity_type == "certificate"
        )
        assert await session.scalar(named) == 1


async def test_only_the_completed_get_one(organisation: Organisation) -> None:
    course = await write_course(organisation, (2,))
    enrollment = await enroll_free(organisation, course, organisation.client_a)
    with pytest.raises(certificates.ProgramNotCompleted):
        await issue(organisation, enrollment)
    with pytest.raises(EnrollmentNotFound):
        await issue(organisation, uuid4())
    async with tenant_session(organisation.system) as session:
        await learning.complete_enrollment(session, enrollment)
    certificate = await issue(organisation, enrollment)
    assert certificate.completion_score is None
    assert re.fullmatch(r"20\d\d-[0-9A-F]{5}-[0-9A-F]{5}", certificate.certificate_number)


async def test_codes_are_random_and_typed_freely() -> None:
    codes = {certificates.make_code() for _ in range(500)}
    assert len(codes) == 500
    for code in codes:
        assert re.fullmatch(r"([A-Z2-7]{4}-){7}[A-Z2-7]{4}", code)
        assert certificates.normalise_code(code.lower().replace("-", " ")) == code


async def test_anybody_verifies_by_code_and_learns_nothing_else(organisation: Organisation) -> None:
    await name_people(organisation)
    certificate = await issue(organisation, await complete(organisation))
    shown = await certificates.verify_certificate(certificate.verification_code.replace("-", "").lower())
    assert (shown.holder, shown.title, shown.is_revoked) == ("Amina Diallo", "Speaking with ease", False)
    assert shown.organisation == f"Organisation {organisation.slug}"
    for code in (certificates.make_code(), certificate.certificate_number, "", "%", str(certificate.id), "x" * 5000):
        with pytest.raises(certificates.CertificateNotFound):
            await certificates.verify_certificate(code)
    for statement in ("SELECT * FROM learning.certificates", "SELECT * FROM learning.outline(uuidv7())"):
        with pytest.raises(Exception, match=r"app\.|type uuid"):
            async with unbound_session() as session:
                await session.execute(text(statement))


async def test_revoking_has_a_reason_and_is_seen_outside(organisation: Organisation) -> None:
    enrollment = await complete(organisation)
    certificate = await issue(organisation, enrollment)
    for other in (organisation.coach_b, organisation.client_b):
        async with tenant_session(other) as session:
            with pytest.raises(certificates.CertificateNotFound):
                await certificates.revoke_certificate(
                    session, certificate_id=certificate.id, principal=other, reason="Mistake"
                )
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(NotTeaching):
            await certificates.revoke_certificate(
                session, certificate_id=certificate.id, principal=organisation.client_a, reason="Mistake"
            )
    for reason in ("Issued by mistake", "Another reason"):
        async with tenant_session(organisation.coach_a) as session:
            revoked = await certificates.revoke_certificate(
                session, certificate_id=certificate.id, principal=organisation.coach_a, reason=reason
            )
            assert (revoked.is_revoked, revoked.revocation_reason) == (True, "Issued by mistake")
    assert (await certificates.verify_certificate(certificate.verification_code)).is_revoked
    with pytest.raises(certificates.CertificateRevoked):
        await issue(organisation, enrollment)


async def test_certificates_stay_in_their_tenant(organisation: Organisation) -> None:
    certificate = await issue(organisation, await complete(organisation))
    stranger = await found_organisation()
    for reader in (*stranger.people.values(), stranger.system):
        async with tenant_session(reader) as session:
            assert await session.scalar(select(func.count()).select_from(Certificate)) == 0
    seen = set()
    for name, reader in organisation.people.items():
        async with tenant_session(reader) as session:
            if await session.scalar(select(Certificate.id)) == certificate.id:
                seen.add(name)
    assert seen == {"client_a", "coach_a", "admin"}
