"""Blanking a person's traces in the audit log while they are erased."""

from uuid import UUID

from sqlalchemy import func, select

from db.session import Principal, tenant_session
from domain.reading import link_tenant

AT_ONCE = 5_000
"""Entries blanked in one transaction: under a second, and the tenant's commits wait for its end alone."""


async def redact_entries(principal: Principal, *, subject: UUID | None, request_id: UUID) -> int:
    """Blank address, user agent, description and telling metadata of what the person did; return how many entries.

    The principal is the pipelines', the request is of this person and verified or running, or the database refuses.
    Without a person everyone's entries are blanked, under a request of the whole organisation. What remains stays
    provable: the log tells which entries and the hash of what is left of each. Safe to repeat.
    """
    redacted = 0
    await link_tenant(principal.tenant_id)
    while True:
        async with tenant_session(principal) as session:
            done = await session.scalar(select(func.governance.redact_entries(subject, request_id, AT_ONCE)))
        if not done:
            return redacted
        redacted += done
