"""Copies of a person's data: who may ask for one, who may fetch it, and for how long."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, Uuid, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import DataKeyDestroyed, FieldUnreadable
from core.errors import Conflict, Forbidden, NotFound
from db.models import DataExport, DeletionRequest, Tenant, User
from db.session import Principal, ReaderUnknown, tenant_session
from domain.governance import name_action, record_event
from domain.keys import field_cipher
from domain.privacy import OwnDataOnly, SubjectNotFound
from domain.reading import Read, record_reading

KEPT: Final = timedelta(days=7)
"""How long a finished copy lies in the object store."""
LINK_LASTS: Final = timedelta(hours=1)
_LONGEST_TOKEN: Final = 1_000
_PLACE: Final = {"table": "governance.data_exports", "column": "link"}
_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)


class ExportNotFound(NotFound):
    """There is no such copy of data that you may see; list the copies to find their ids."""


class ExportNotReady(Conflict):
    """This copy of data is not there to be fetched; wait until it is ready, or ask for a new one."""


class PersonErased(Conflict):
    """This person is being erased or was, so there is no copy of their data; read the request to see when."""


class LinkRefused(Forbidden):
    """This link is not genuine or has expired; sign in and ask for a new one."""


@dataclass(frozen=True, slots=True)
class ExportLink:
    """A token that fetches one copy, and until when."""

    token: str
    expires_at: datetime


async def request_export(session: AsyncSession, principal: Principal, *, user_id: UUID) -> DataExport:
    """Return the copy of the person's data that is being made, begun now unless there is one.

    Anybody asks for their own, compliance for anyone's. Raises `OwnDataOnly`, `SubjectNotFound`, `PersonErased`.
    """
    if principal.role not in ("compliance", "system") and user_id != principal.user_id:
        raise OwnDataOnly
    if await session.scalar(select(User.id).where(User.id == user_id)) is None:
        raise SubjectNotFound
    await require_not_erased(session, user_id)
    await name_action(session, "data_export_requested")
    made = await session.scalar(
        insert(DataExport)
        .values(tenant_id=_TENANT, user_id=user_id, requested_by=principal.user_id)
        .on_conflict_do_nothing()
        .returning(DataExport)
    )
    await name_action(session, "")
    there: DataExport | None = made or await session.scalar(
        select(DataExport).where(DataExport.user_id == user_id, DataExport.status.in_(("requested", "running")))
    )
    if there is None:  # it was finished between the two statements
        raise ExportNotReady
    return there


async def get_export(session: AsyncSession, export_id: UUID) -> DataExport:
    """Return the copy's row as it is now; raises `ExportNotFound`."""
    found: DataExport | None = await session.scalar(
        select(DataExport).where(DataExport.id == export_id), execution_options={"populate_existing": True}
    )
    if found is None:
        raise ExportNotFound
    return found


def select_exports(*, status: str | None = None, user_id: UUID | None = None) -> Select[Any]:
    """Return copies; order it by `(requested_at, id)`."""
    query = select(DataExport)
    if status is not None:
        query = query.where(DataExport.status == status)
    if user_id is not None:
        query = query.where(DataExport.user_id == user_id)
    return query


async def require_not_erased(session: AsyncSession, user_id: UUID) -> None:
    """Raise `PersonErased` where the person's erasure runs or is done."""
    erased = await session.scalar(
        select(DeletionRequest.id)
        .where(
            DeletionRequest.subject_kind == "person",
            DeletionRequest.subject_id == user_id,
            DeletionRequest.status.in_(("running", "completed")),
        )
        .limit(1)
    )
    if erased is not None:
        raise PersonErased


async def make_link(session: AsyncSession, principal: Principal, export_id: UUID) -> ExportLink:
    """Return a token that fetches the copy for an hour, for as long as this reader may; it is noted in the log.

    Raises `ExportNotFound`, `ExportNotReady`.
    """
    row = await get_export(session, export_id)
    expires_at = min(datetime.now(UTC) + LINK_LASTS, _require_ready(row))
    said = json.dumps([str(principal.user_id), principal.role, expires_at.timestamp()])
    sealed = (await field_cipher(session)).encrypt(said, row_id=export_id, **_PLACE)
    await record_event(
        session, action="data_export_link_made", entity_type="data_export", entity_id=export_id,
        metadata={"user_id": row.user_id, "expires_at": expires_at},
    )  # fmt: skip
    token = base64.urlsafe_b64encode(principal.tenant_id.bytes + sealed).decode().rstrip("=")
    return ExportLink(token, expires_at)


async def open_link(export_id: UUID, token: str) -> DataExport:
    """Return the copy that the token fetches, checked anew: the row, its person, and who was given the link.

    The one answer to whatever is wrong is `LinkRefused`.
    """
    tenant_id, sealed = _read_token(token)
    try:
        reader = await _unseal(tenant_id, export_id, sealed)
        async with tenant_session(reader) as session:  # they still are what they were
            row = await get_export(session, export_id)
            _require_ready(row)
            await require_not_erased(session, row.user_id)
            read: Read = {"data_export": [export_id], "client": [row.user_id]}
            await record_reading(session, "export_read", read, entity=("data_export", export_id))
            return row
    except (ExportNotFound, ExportNotReady, PersonErased, ReaderUnknown) as error:
        raise LinkRefused from error


async def _unseal(tenant_id: UUID, export_id: UUID, sealed: bytes) -> Principal:
    """Return whom the link was made for."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        await get_export(session, export_id)  # nothing is unsealed, and no key is made, for what is not there
        if await session.scalar(select(Tenant.status)) != "active":
            raise LinkRefused
        try:
            said = (await field_cipher(session)).decrypt(sealed, row_id=export_id, **_PLACE)
        except (FieldUnreadable, DataKeyDestroyed) as error:
            raise LinkRefused from error
    user_id, role, until = json.loads(said)
    if datetime.now(UTC).timestamp() >= until:
        raise LinkRefused
    return Principal(tenant_id, role, UUID(user_id))


def _read_token(token: str) -> tuple[UUID, bytes]:
    try:
        if len(token) > _LONGEST_TOKEN:
            raise LinkRefused
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        return UUID(bytes=content[:16]), content[16:]
    except (ValueError, binascii.Error) as error:
        raise LinkRefused from error


def _require_ready(row: DataExport) -> datetime:
    """Return when the copy goes; raises `ExportNotReady`."""
    if row.status != "ready" or row.expires_at is None or row.expires_at <= datetime.now(UTC):
        raise ExportNotReady(
            f"This copy of data is {'expired' if row.status == 'ready' else row.status}; "
            "wait until it is ready, or ask for a new one."
        )
    return row.expires_at
