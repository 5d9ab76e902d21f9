"""Requests to erase, as compliance would have verified them."""

from uuid import UUID

from sqlalchemy import text

from db.session import tenant_session
from tests.factories.people import Organisation


async def verify_request(organisation: Organisation, kind: str, subject: UUID) -> UUID:
    """Store a verified request and return its id."""
    async with tenant_session(organisation.system) as session:
        found = await session.scalar(
            text("""
            INSERT INTO governance.deletion_requests (tenant_id, subject_kind, subject_id, user_id, status, verified_at)
            VALUES (:tenant, :kind, :subject, CASE :kind WHEN 'person' THEN CAST(:subject AS uuid) END, 'verified',
                now())
            RETURNING id"""),
            {"tenant": organisation.tenant_id, "kind": kind, "subject": subject},
        )
    return UUID(str(found))
