"""What people demand of their data, what must be kept, and the proof of what was erased."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import PrincipalDep, SessionDep, SettingsDep, needs, needs_role
from api.errors import list_problem_responses
from api.flow_server import start_flow
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.privacy import (
    CoveringHoldOut,
    ErasureIn,
    HoldIn,
    HoldOut,
    ReceiptOut,
    RefuseIn,
    RequestDetailOut,
    RequestOut,
    RequestPage,
    RequestStatus,
    StartedErasureOut,
    VerificationOut,
    VerifyIn,
)
from core.errors import Forbidden
from core.settings import Settings
from db.models import DeletionRecord, DeletionRequest, LegalHold
from db.session import Principal, tenant_session
from domain import privacy
from domain.governance import record_event
from domain.privacy import SubjectKind
from pipelines.privacy.receipts import ReceiptNotFound, find_receipt
from pipelines.privacy.verify import verify_receipt

router = APIRouter(prefix="/v1/privacy", tags=["privacy"])

READ, WRITE = [needs("read")], [needs("write")]
OFFICER_READ: Final = [needs("read"), needs_role("compliance")]
OFFICER: Final = [needs("write"), needs_role("compliance")]
ERASE: Final = "erase-subject"


class PersonOnly(Forbidden):
    """Only a person has data of their own here; call with a person's key or sign-in."""


@router.post(
    "/requests", operation_id="requestErasure", status_code=status.HTTP_201_CREATED, dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def request_erasure(body: ErasureIn, principal: PrincipalDep, session: SessionDep) -> RequestOut:
    """Ask for the erasure of yourself or, as compliance, of anyone, a session, a document or the organisation.

    Asking again returns the request that is open.
    """
    subject_id = body.subject_id
    if subject_id is None:
        subject_id = principal.tenant_id if body.subject_kind == "tenant" else _own_id(principal)
    request = await privacy.request_erasure(
        session, principal, kind=body.subject_kind, subject_id=subject_id, reason=body.reason
    )
    return show_request(request)


@router.get("/requests", operation_id="listErasureRequests", dependencies=READ, responses=list_problem_responses())
async def list_requests(
    *,
    session: SessionDep,
    request_status: Annotated[RequestStatus | None, Query(alias="status", description="only with this status")] = None,
    subject_kind: Annotated[SubjectKind | None, Query(description="only of this kind")] = None,
    overdue: Annotated[
        bool | None, Query(description="only those that should have been answered, or only others")
    ] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> RequestPage:
    """List requests to erase, the newest first: yours, or everyone's for compliance."""
    rows, more = await fetch_page(
        session, privacy.select_requests(status=request_status, kind=subject_kind, overdue=overdue),
        order=(DeletionRequest.requested_at, DeletionRequest.id), limit=limit, cursor=cursor,
    )  # fmt: skip
    return RequestPage(
        items=[show_request(row[0]) for row in rows], next_cursor=more, overdue=await privacy.count_overdue(session)
    )


@router.get(
    "/requests/{request_id}", operation_id="getErasureRequest", dependencies=READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_request(request_id: UUID, session: SessionDep) -> RequestDetailOut:
    """Read one request; compliance also sees the legal holds in its way."""
    request = await privacy.get_request(session, request_id)
    holds = []
    if request.status in privacy.OPEN:
        holds = list(await privacy.list_covering_holds(session, request.subject_kind, request.subject_id))
    return RequestDetailOut(
        **show_request(request).model_dump(), holds=[CoveringHoldOut.model_validate(one) for one in holds]
    )


@router.post(
    "/requests/{request_id}/verify", operation_id="verifyErasureRequest", status_code=status.HTTP_202_ACCEPTED,
    dependencies=OFFICER, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def verify_request(
    request_id: UUID, body: VerifyIn, principal: PrincipalDep, settings: SettingsDep
) -> StartedErasureOut:
    """Say how you made sure who asks, which starts the erasure; you can't verify what you asked for yourself.

    Where the flow server does not answer, the request is verified all the same: verify it again to start it.
    """
    async with tenant_session(principal) as session:
        request = await privacy.verify_request(session, principal, request_id, method=body.method)
    return await _start(settings, principal, request, key=f"erase-{request_id}")


@router.post(
    "/requests/{request_id}/start", operation_id="startErasure", status_code=status.HTTP_202_ACCEPTED,
    dependencies=OFFICER, responses=list_problem_responses(404, 409),
)  # fmt: skip
async def start_erasure(request_id: UUID, principal: PrincipalDep, settings: SettingsDep) -> StartedErasureOut:
    """Start the erasure of a verified request again, such as one that failed; it goes on where it stopped."""
    async with tenant_session(principal) as session:
        request = await privacy.get_request(session, request_id)
        if request.status not in ("verified", "running", "failed"):
            raise privacy.RequestStepRefused(f"This request is {request.status}; only a verified one can be started.")
        await privacy.require_unheld(session, request.subject_kind, request.subject_id)
    return await _start(settings, principal, request, key=None)


@router.post(
    "/requests/{request_id}/refuse", operation_id="refuseErasureRequest", dependencies=OFFICER,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def refuse_request(request_id: UUID, body: RefuseIn, principal: PrincipalDep, session: SessionDep) -> RequestOut:
    """Refuse a request, with a reason that the person may read."""
    return show_request(await privacy.refuse_request(session, principal, request_id, reason=body.reason))


@router.post(
    "/holds", operation_id="placeLegalHold", status_code=status.HTTP_201_CREATED, dependencies=OFFICER,
    responses=list_problem_responses(404),
)  # fmt: skip
async def place_hold(body: HoldIn, principal: PrincipalDep, session: SessionDep) -> HoldOut:
    """Keep what a person, session, document or the organisation has, whatever anyone asks, until you release it.

    A hold on a person covers their sessions and documents; an erasure that runs stops at its next step.
    """
    row = await privacy.place_hold(
        session, principal, kind=body.subject_kind, subject_id=body.subject_id, reason=body.reason
    )
    return HoldOut.model_validate(row)


@router.get("/holds", operation_id="listLegalHolds", dependencies=OFFICER_READ, responses=list_problem_responses())
async def list_holds(
    *,
    session: SessionDep,
    is_open: Annotated[
        bool | None, Query(alias="open", description="only those that hold, or only released ones")
    ] = None,
    subject_kind: Annotated[SubjectKind | None, Query(description="only on this kind")] = None,
    subject_id: Annotated[UUID | None, Query(description="only on this subject itself")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[HoldOut]:
    """List legal holds, the newest first."""
    rows, more = await fetch_page(
        session, privacy.select_holds(open_only=is_open, kind=subject_kind, subject_id=subject_id),
        order=(LegalHold.placed_at, LegalHold.id), limit=limit, cursor=cursor,
    )  # fmt: skip
    return Page(items=[HoldOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/holds/{hold_id}/release", operation_id="releaseLegalHold", dependencies=OFFICER,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def release_hold(hold_id: UUID, principal: PrincipalDep, session: SessionDep) -> HoldOut:
    """Let a hold end now; requests that it covered can then be verified."""
    return HoldOut.model_validate(await privacy.release_hold(session, principal, hold_id))


@router.get("/receipts", operation_id="listReceipts", dependencies=OFFICER_READ, responses=list_problem_responses())
async def list_receipts(
    *,
    session: SessionDep,
    subject_kind: Annotated[SubjectKind | None, Query(description="only of this kind")] = None,
    subject_id: Annotated[UUID | None, Query(description="only of this subject")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[ReceiptOut]:
    """List the receipts of what was erased, the newest first."""
    query = privacy.select_receipts(kind=subject_kind, subject_id=subject_id)
    order = (DeletionRecord.completed_at, DeletionRecord.id)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ReceiptOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get(
    "/receipts/{receipt_id}", operation_id="getReceipt", dependencies=OFFICER_READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def get_receipt(receipt_id: UUID, session: SessionDep) -> dict[str, Any]:
    """Read a receipt, by its id or its request's, as the signed document that `regenesis privacy verify` reads."""
    receipt = await find_receipt(session, receipt_id)
    if receipt is None:
        raise ReceiptNotFound
    return receipt.to_json()


@router.post(
    "/receipts/{receipt_id}/verify", operation_id="verifyReceipt", dependencies=OFFICER_READ,
    responses=list_problem_responses(404),
)  # fmt: skip
async def check_receipt(
    receipt_id: UUID, principal: PrincipalDep, session: SessionDep, settings: SettingsDep
) -> VerificationOut:
    """Check a receipt's signature, and count in all stores what is left today of what it says was erased."""
    found = await verify_receipt(receipt_id, tenant_id=principal.tenant_id, settings=settings)
    await record_event(
        session, action="receipt_verified", entity_type="deletion_record", entity_id=found.receipt.id,
        metadata={"holds": found.holds, "left": sum(found.left.values())},
        severity="info" if found.holds else "critical",
    )  # fmt: skip
    return VerificationOut.model_validate(found.to_json())


async def _start(
    settings: Settings, principal: Principal, request: DeletionRequest, *, key: str | None
) -> StartedErasureOut:
    parameters = {"tenant_id": str(principal.tenant_id), "request_id": str(request.id)}
    run_id = await start_flow(settings, ERASE, parameters, key=key)
    return StartedErasureOut(request=show_request(request), flow_run_id=run_id)


def _own_id(principal: Principal) -> UUID:
    if principal.user_id is None:
        raise PersonOnly
    return principal.user_id


def show_request(row: DeletionRequest) -> RequestOut:
    """Return the request as it goes over the wire."""
    overdue = row.status in privacy.OPEN and row.due_at < datetime.now(UTC)
    columns = {name: getattr(row, name) for name in RequestOut.model_fields if name != "overdue"}
    return RequestOut(**columns, overdue=overdue)
