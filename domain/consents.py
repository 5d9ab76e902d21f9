"""What people have agreed to, in which version, from when until when; and what may not be done because they don't."""

from typing import Any, Final, Literal, get_args
from uuid import UUID

from sqlalchemy import Select, Uuid, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from db.models import Consent, ConsentText, WithheldPurpose

Source = Literal["web", "api", "import", "admin"]
Processing = Literal["assistant", "evidence", "analytics", "external_model"]
"""What is done unless a person withdraws, or before they agree where the organisation's text requires that:
`assistant`: sources about the person are searched and answered from; `evidence`: quotes, claims, patterns and insights
are derived from these; `analytics`: what the person does is counted; `external_model`: words of theirs or about them go
to a model outside this installation. (`evaluation`, answers are studied, only ever by consent: migration 0025.)"""

PROCESSING: Final = frozenset(get_args(Processing))
OBJECTION: Final = "objection"
"""The version under which it is noted that somebody withdrew what the contract, and no consent, had allowed."""

_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)


class ConsentNotFound(NotFound):
    """No consent of yours to this runs; list yours to see which do."""


class ConsentVersionUnknown(Invalid):
    """Your organisation has published no such version of this; agree to one that it has."""


def say_allowed(column: str, purpose: Processing) -> str:
    """Return the SQL condition that whoever the column names does not withhold this purpose; null withholds nothing.

    It asks the database once a statement.
    """
    return f"({column} = ANY ((SELECT identity.list_withheld('{purpose}'))::uuid[])) IS NOT TRUE"


async def list_withheld(session: AsyncSession, purpose: Processing) -> frozenset[UUID]:
    """Return who withholds this purpose now: of the reader and their clients, for the pipelines of everyone."""
    found = await session.scalar(text("SELECT identity.list_withheld(:purpose)"), {"purpose": purpose})
    return frozenset(found or ())


async def record_consent(
    session: AsyncSession, *, user_id: UUID, purpose: str, version: str, source: Source = "api"
) -> Consent:
    """Return the person's running consent to this version, given now unless it ran already.

    Where versions of the purpose were published it must be one of these; raises `ConsentVersionUnknown`.
    """
    versions = await session.scalars(select(ConsentText.version).where(ConsentText.purpose == purpose))
    if (published := versions.all()) and version not in published:
        raise ConsentVersionUnknown
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
    """Withdraw every version of the consent now and return how many ran.

    What is done without a consent ends as well: then an objection is noted. Raises `ConsentNotFound` where there is
    nothing to end.
    """
    withdrawn = await session.scalars(
        update(Consent)
        .where(Consent.user_id == user_id, Consent.purpose == purpose, Consent.withdrawn_at.is_(None))
        .values(withdrawn_at=func.clock_timestamp())
        .returning(Consent.id)
    )
    count = len(withdrawn.all())
    if count == 0 and (purpose not in PROCESSING or await _is_withheld(session, user_id, purpose)):
        raise ConsentNotFound
    if count == 0:
        now = func.clock_timestamp()
        session.add(
            Consent(
                tenant_id=_TENANT, user_id=user_id, purpose=purpose, version=OBJECTION, granted_at=func.now(),
                withdrawn_at=now,
            )
        )  # fmt: skip
        await session.flush()
    return count


async def _is_withheld(session: AsyncSession, user_id: UUID, purpose: str) -> bool:
    query = select(WithheldPurpose.since).where(
        WithheldPurpose.user_id == user_id, WithheldPurpose.purpose == purpose
    )  # fmt: skip
    return await session.scalar(query) is not None


async def publish_text(
    session: AsyncSession, *, purpose: str, version: str, text_hash: str, is_required: bool
) -> ConsentText:
    """Publish a version of what people agree to, by the SHA-256 of its words.

    From now on clients must have agreed to some version before this is done to them, or (not `is_required`) it is done
    until they withdraw. Raises `AlreadyStored` where the version is there.
    """
    row = ConsentText(
        tenant_id=_TENANT, purpose=purpose, version=version, text_hash=text_hash, is_required=is_required
    )  # fmt: skip
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


def select_states(purpose: str | None = None) -> Select[Any]:
    """Return every consent of the tenant that the reader may see, withdrawn ones too; order by `(granted_at, id)`."""
    query = select(Consent)
    return query if purpose is None else query.where(Consent.purpose == purpose)
