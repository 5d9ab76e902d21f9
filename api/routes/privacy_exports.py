"""Copies of a person's data: asking for one, a link to it that expires, and the zip file behind the link."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from fastapi.responses import StreamingResponse

from api.deps import PrincipalDep, SessionDep, SettingsDep, needs
from api.errors import list_problem_responses
from api.flow_server import start_flow
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.routes.privacy import PersonOnly
from api.schemas.privacy import ExportIn, ExportLinkOut, ExportOut, ExportStatus
from core.storage import ObjectMissing
from db.models import DataExport
from db.session import tenant_session
from domain import exports
from pipelines.privacy.export import open_export

router = APIRouter(prefix="/v1/privacy/exports", tags=["privacy"])

READ, WRITE = [needs("read")], [needs("write")]
EXPORT: Final = "export-subject"


@router.post(
    "", operation_id="requestDataExport", status_code=status.HTTP_202_ACCEPTED, dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def request_export(body: ExportIn, principal: PrincipalDep, settings: SettingsDep) -> ExportOut:
    """Have a copy made of everything that is stored about you or, as compliance, about anyone.

    Asking again while it is made returns the same copy.
    """
    user_id = body.user_id or principal.user_id
    if user_id is None:
        raise PersonOnly
    async with tenant_session(principal) as session:
        row = await exports.request_export(session, principal, user_id=user_id)
    parameters = {"tenant_id": str(row.tenant_id), "export_id": str(row.id)}
    await start_flow(settings, EXPORT, parameters, key=f"export-{row.id}")
    return ExportOut.model_validate(row)


@router.get("", operation_id="listDataExports", dependencies=READ, responses=list_problem_responses())
async def list_exports(
    *,
    session: SessionDep,
    export_status: Annotated[ExportStatus | None, Query(alias="status", description="only with this status")] = None,
    user_id: Annotated[UUID | None, Query(description="only of this person")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[ExportOut]:
    """List copies of data, the newest first: yours, or everyone's for compliance."""
    query = exports.select_exports(status=export_status, user_id=user_id)
    order = (DataExport.requested_at, DataExport.id)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ExportOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/{export_id}", operation_id="getDataExport", dependencies=READ, responses=list_problem_responses(404))
async def get_export(export_id: UUID, session: SessionDep) -> ExportOut:
    """Read how far a copy is."""
    return ExportOut.model_validate(await exports.get_export(session, export_id))


@router.post(
    "/{export_id}/link", operation_id="linkDataExport", dependencies=READ, responses=list_problem_responses(404, 409)
)
async def make_link(
    export_id: UUID, principal: PrincipalDep, session: SessionDep, request: Request
) -> ExportLinkOut:  # fmt: skip
    """Make a link that fetches the copy for an hour, without signing in; it is noted who had it made."""
    link = await exports.make_link(session, principal, export_id)
    url = request.url_for("download_export", export_id=str(export_id)).include_query_params(token=link.token)
    return ExportLinkOut(url=str(url), expires_at=link.expires_at)


@router.get(
    "/{export_id}/download", operation_id="downloadDataExport", response_class=StreamingResponse,
    responses=list_problem_responses(404) | {200: {"content": {"application/zip": {}}}},
)  # fmt: skip
async def download_export(
    export_id: UUID, settings: SettingsDep, token: Annotated[str, Query(max_length=1000, description="of the link")]
) -> StreamingResponse:
    """Fetch the zip file of a copy, by a link of yours; whether you still may is asked again."""
    row = await exports.open_link(export_id, token)
    try:
        content = await open_export(row, settings=settings)
    except ObjectMissing as error:
        raise exports.LinkRefused from error
    headers = {
        "Content-Disposition": f'attachment; filename="your-data-{row.requested_at:%Y-%m-%d}.zip"',
        "Content-Length": str(row.size_bytes), "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }  # fmt: skip
    return StreamingResponse(content, media_type="application/zip", headers=headers)
