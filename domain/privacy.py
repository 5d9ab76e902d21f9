"""What people may demand of their data, and what must be kept: requests to erase, and legal holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, NotFound
from db.models import DeletionRecord, DeletionRequest, LegalHold
from db.session import Principal
from db.violations import find_violated
from domain.governance import name_action

SubjectKind = Literal["person", "session", "document", "tenant"]
Method = Literal["signed_in", "document", "in_person", "call_back", "court_order"]
"""How a compliance officer made sure who asks."""

OPEN: Final = ("requested", "verified", "running", "failed")
_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)
_HOLDS: Final = text("SELECT * FROM governance.find_holds(:kind, :subject)")
_EXISTS: Final = text("SELECT governance.subject_exists(:kind, :subject)")


class SubjectNotFound(NotFound):
    """There is no such person, session or document in your organisation; check the kind and the id."""


class RequestNotFound(NotFound):
    """There is no such request that you may see; list the requests to find their ids."""


class HoldNotFound(NotFound):
    """There is no such legal hold; list the holds to find their ids."""


class OwnDataOnly(Forbidden):
    """You may ask for your own data only; ask your organisation's compliance officer about anybody else's."""


class FourEyesNeeded(Forbidden):
    """Nobody verifies an erasure that they asked for or that is of themselves; let another compliance officer do it."""


class RequestStepRefused(Conflict):
    """This request is past that step; read it again to see what became of it."""


class SubjectHeld(Conflict):
    """A legal hold covers what is to be erased; refuse the request, or wait until the hold is released."""


class HoldReleased(Conflict):
    """This legal hold was released already; place a new one if it is needed again."""


@dataclass(frozen=True, slots=True)
class Hold:
    """An open hold that covers a subject."""

    id: UUID
    subject_kind: str
    subject_id: UUID
    reason: str
    placed_at: datetime


async def request_erasure(
    session: AsyncSession, principal: Principal, *, kind: SubjectKind, subject_id: UUID, reason: str | None = None
) -> DeletionRequest:
    """Return the open request to erase this subject, made now unless there is one.

    Anybody asks for themself, compliance for anyone. Raises `OwnDataOnly`, `SubjectNotFound`.
    """
    is_own = kind == "person" and subject_id == principal.user_id
    if principal.role not in ("compliance", "system") and not is_own:
        raise OwnDataOnly
    if not is_own:
        await require_subject(session, kind, subject_id)
    await name_action(session, "erasure_requested")
    made = await session.scalar(
        insert(DeletionRequest)
        .values(
            tenant_id=_TENANT, subject_kind=kind, subject_id=subject_id, requested_by=principal.user_id,
            user_id=subject_id if kind == "person" else None, reason=reason,
        )
        .on_conflict_do_nothing()
        .returning(DeletionRequest)
    )  # fmt: skip
    await name_action(session, "")
    if made is not None:
        return made
    there: DeletionRequest | None = await session.scalar(
        select(DeletionRequest).where(
            DeletionRequest.subject_kind == kind, DeletionRequest.subject_id == subject_id,
            DeletionRequest.scope == "all", is_open(),
        )
    )  # fmt: skip
    if there is None:  # it ended between the two statements
        raise RequestStepRefused
    return there


async def require_subject(session: AsyncSession, kind: SubjectKind, subject_id: UUID) -> None:
    """Raise `SubjectNotFound` where the tenant has no such subject; for compliance and the pipelines."""
    if not await session.scalar(_EXISTS, {"kind": kind, "subject": subject_id}):
        raise SubjectNotFound


async def get_request(session: AsyncSession, request_id: UUID, *, lock: bool = False) -> DeletionRequest:
    """Return the request, as it is now; raises `RequestNotFound`."""
    query = select(DeletionRequest).where(DeletionRequest.id == request_id)
    found: DeletionRequest | None = await session.scalar(
        query.with_for_update(key_share=True) if lock else query, execution_options={"populate_existing": True}
    )
    if found is None:
        raise RequestNotFound
    return found


def is_open() -> ColumnElement[bool]:
    """Return the condition that a request still asks for something."""
    return DeletionRequest.status.in_(OPEN)


def is_overdue() -> ColumnElement[bool]:
    """Return the condition that a request should have been answered by now."""
    return is_open() & (DeletionRequest.due_at < func.now())


def select_requests(*, status: str | None = None, kind: str | None = None, overdue: bool | None = None) -> Select[Any]:
    """Return requests; order it by `(requested_at, id)`."""
    query = select(DeletionRequest)
    if status is not None:
        query = query.where(DeletionRequest.status == status)
    if kind is not None:
        query = query.where(DeletionRequest.subject_kind == kind)
    if overdue is not None:
        query = query.where(is_overdue() if overdue else ~is_overdue())
    return query


async def count_overdue(session: AsyncSession) -> int:
    """Return how many of the requests that the reader may see are overdue."""
    return await session.scalar(select(func.count()).select_from(DeletionRequest).where(is_overdue())) or 0


async def verify_request(
    session: AsyncSession, officer: Principal, request_id: UUID, *, method: Method
) -> DeletionRequest:
    """Note that the officer made sure who asks, so that the erasure may run; again by the same one changes nothing.

    Raises `RequestNotFound`, `RequestStepRefused`, `FourEyesNeeded`, `SubjectHeld` with the hold's reason.
    """
    request = await get_request(session, request_id, lock=True)
    if request.status == "verified" and request.verified_by == officer.user_id:
        return request
    if request.status != "requested":
        raise RequestStepRefused(f"This request is {request.status}; only one that is requested can be verified.")
    kind, subject_id = request.subject_kind, request.subject_id
    if officer.user_id == request.requested_by or (kind == "person" and officer.user_id == subject_id):
        raise FourEyesNeeded
    await require_unheld(session, kind, subject_id)
    await name_action(session, "erasure_verified")
    try:
        # What the database says of a hold that came just now ends this step alone.
        async with session.begin_nested():
            await _change(
                session, request_id, status="verified", verified_by=officer.user_id, verification_method=method
            )
    except IntegrityError as error:
        if find_violated(error) != "deletion_requests_held":
            raise
        await require_unheld(session, kind, subject_id)
        raise SubjectHeld from error
    return await get_request(session, request_id)


async def refuse_request(
    session: AsyncSession, officer: Principal, request_id: UUID, *, reason: str
) -> DeletionRequest:
    """Refuse a request that does not run, with a reason that the person may read.

    Raises `RequestNotFound`, `RequestStepRefused`.
    """
    request = await get_request(session, request_id, lock=True)
    if request.status not in ("requested", "verified", "failed"):
        raise RequestStepRefused(f"This request is {request.status}, so it can't be refused any more.")
    await name_action(session, "erasure_refused")
    await _change(session, request_id, status="refused", refused_by=officer.user_id, refusal_reason=reason)
    return await get_request(session, request_id)


async def _change(session: AsyncSession, request_id: UUID, **values: Any) -> None:  # noqa: ANN401  # columns
    await session.execute(
        update(DeletionRequest)
        .where(DeletionRequest.id == request_id)
        .values(
            **values,
            **({"verified_at": func.now()} if values["status"] == "verified" else {"refused_at": func.now()}),
        )
        .execution_options(synchronize_session=False)
    )


async def list_covering_holds(session: AsyncSession, kind: str, subject_id: UUID) -> Sequence[Hold]:
    """Return the open holds that cover the subject or a part of it, the oldest first.

    Empty for whoever is neither compliance nor the pipelines.
    """
    rows = await session.execute(_HOLDS, {"kind": kind, "subject": subject_id})
    return [Hold(row.id, row.subject_kind, row.subject_id, row.reason, row.placed_at) for row in rows]


async def require_unheld(session: AsyncSession, kind: str, subject_id: UUID) -> None:
    """Raise `SubjectHeld`, with its reason, where an open hold covers the subject."""
    holds = await list_covering_holds(session, kind, subject_id)
    if holds:
        raise SubjectHeld(
            f"A legal hold on the {holds[0].subject_kind} {holds[0].subject_id} covers this ({holds[0].reason}); "
            "refuse the request, or wait until the hold is released.",
            hold_id=holds[0].id,
        )


async def place_hold(
    session: AsyncSession, officer: Principal, *, kind: SubjectKind, subject_id: UUID, reason: str
) -> LegalHold:
    """Keep everything the subject is made of until the hold is released; raises `SubjectNotFound`.

    Waits for an erasure that is being verified or begun at this moment; one that runs stops at its next step.
    """
    await require_subject(session, kind, subject_id)
    await name_action(session, "legal_hold_placed")
    row = LegalHold(
        tenant_id=officer.tenant_id, subject_kind=kind, subject_id=subject_id, reason=reason, placed_by=officer.user_id
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def release_hold(session: AsyncSession, officer: Principal, hold_id: UUID) -> LegalHold:
    """Let the hold end now; raises `HoldNotFound`, `HoldReleased`."""
    row: LegalHold | None = await session.scalar(
        select(LegalHold).where(LegalHold.id == hold_id).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    if row is None:
        raise HoldNotFound
    if row.released_at is not None:
        raise HoldReleased
    await name_action(session, "legal_hold_released")
    row.released_by, row.released_at = officer.user_id, await session.scalar(select(func.now()))
    await session.flush()
    return row


def select_holds(
    *, open_only: bool | None = None, kind: str | None = None, subject_id: UUID | None = None
) -> Select[Any]:
    """Return holds; order it by `(placed_at, id)`."""
    query = select(LegalHold)
    if open_only is not None:
        query = query.where(LegalHold.released_at.is_(None) if open_only else LegalHold.released_at.is_not(None))
    if kind is not None:
        query = query.where(LegalHold.subject_kind == kind)
    if subject_id is not None:
        query = query.where(LegalHold.subject_id == subject_id)
    return query


def select_receipts(*, kind: str | None = None, subject_id: UUID | None = None) -> Select[Any]:
    """Return receipts; order it by `(completed_at, id)`."""
    query = select(DeletionRecord)
    if kind is not None:
        query = query.where(DeletionRecord.subject_kind == kind)
    if subject_id is not None:
        query = query.where(DeletionRecord.subject_id == subject_id)
    return query


async def verify_as_operator(session: AsyncSession, request_id: UUID) -> DeletionRequest:
    """Verify a request in the name of whoever runs this machine, who owns the store; needs a system session.

    One that is verified already stays as it is. Raises `RequestNotFound`, `RequestStepRefused`, `SubjectHeld`.
    """
    request = await get_request(session, request_id, lock=True)
    if request.status in ("verified", "running", "failed"):
        return request
    if request.status != "requested":
        raise RequestStepRefused(f"This request is {request.status}; make a new one.")
    await require_unheld(session, request.subject_kind, request.subject_id)
    await name_action(session, "erasure_verified")
    await session.execute(
        update(DeletionRequest)
        .where(DeletionRequest.id == request_id)
        .values(status="verified", verified_at=func.now(), verification_method="operator")
        .execution_options(synchronize_session=False)
    )
    return await get_request(session, request_id)
