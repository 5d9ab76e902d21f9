"""What people have agreed to, in which version, from when until when."""

from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Uuid, cast, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.models import Consent

Source = Literal["web", "api", "import", "admin"]

_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)


class ConsentNotFound(NotFound):
    """No consent of yours to this runs; list yours to see which do."""


async def record_consent(
    session: AsyncSession, *, user_id: UUID, purpose: str, version: str, source: Source = "api"
) -> Consent:
    """Return the person's running consent to this version, given now unless it ran already."""
    consent = await session.scalar(
        insert(Consent)
        .values(tenant_id=_TENANT, user_id=user_id, purpose=purpose, version=version, source=source)
        .on_conflict_do_update(
            index_elements=(Consent.tenant_id, Consent.user_id, Consent.purpose, Consent.version),
            index_where=Consent.withdrawn_at.is_(None),
            set_={"withdrawn_at": None},  # changes nothing and returns the row
        )
        .returning(Consent)
    )
    assert consent is not None  # noqa: S101  # an upsert always returns its row
    return consent


async def withdraw_consent(session: AsyncSession, *, user_id: UUID, purpose: str) -> int:
    """Withdraw every version of the consent now and return how many ran; raises `ConsentNotFound`."""
    withdrawn = await session.scalars(
        update(Consent)
        .where(Consent.user_id == user_id, Consent.purpose == purpose, Consent.withdrawn_at.is_(None))
        .values(withdrawn_at=func.clock_timestamp())
        .returning(Consent.id)
    )
    count = len(withdrawn.all())
    if count == 0:
        raise ConsentNotFound
    return count
