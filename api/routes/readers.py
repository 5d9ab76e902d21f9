"""Who may read an ingested source: shown with what stands on it, and changed by who may decide it."""

from uuid import UUID

from fastapi import APIRouter

from api.deps import PrincipalDep, SessionDep, SettingsDep, needs, needs_role
from api.errors import list_problem_responses
from api.flow_server import derive_soon
from api.schemas.readers import ReadersIn, ReadersOut
from db.session import tenant_session
from domain import readers

router = APIRouter(
    prefix="/v1/ingestions", tags=["ingestion"], dependencies=[needs("ingest"), needs_role("coach", "admin")]
)


@router.get("/{object_id}/readers", operation_id="getReaders", responses=list_problem_responses(404))
async def get_readers(object_id: UUID, session: SessionDep) -> ReadersOut:
    """Read who may read a source, and how much would become stale if that changed."""
    return ReadersOut.model_validate(await readers.get_readers(session, object_id))


@router.put("/{object_id}/readers", operation_id="changeReaders", responses=list_problem_responses(404, 409))
async def put_readers(object_id: UUID, body: ReadersIn, principal: PrincipalDep, settings: SettingsDep) -> ReadersOut:
    """Change who may read a source, at once and for every later ingestion; what stood on it is derived anew."""
    async with tenant_session(principal) as session:
        changed = await readers.change_readers(
            session, object_id, visibility=body.visibility, client=body.client, coach=body.coach
        )
    await derive_soon(settings, principal.tenant_id)
    return ReadersOut.model_validate(changed)
