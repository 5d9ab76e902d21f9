"""Who speaks in an ingested transcript: shown by its labels, and said by who may decide about it."""

from uuid import UUID

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import PrincipalDep, SessionDep, SettingsDep, needs, needs_role
from api.errors import list_problem_responses
from api.flow_server import derive_soon
from api.schemas.speakers import SpeakersIn, SpeakersOut
from db.session import tenant_session
from domain import speakers
from domain.reading import Read, record_reading

router = APIRouter(
    prefix="/v1/ingestions", tags=["ingestion"], dependencies=[needs("ingest"), needs_role("coach", "admin")]
)


@router.get("/{object_id}/speakers", operation_id="getSpeakers", responses=list_problem_responses(404))
async def get_speakers(object_id: UUID, session: SessionDep) -> SpeakersOut:
    """Read who speaks in a transcript: its labels, how each begins, and who that is."""
    return await _show(session, object_id)


@router.patch("/{object_id}/speakers", operation_id="saySpeakers", responses=list_problem_responses(404))
async def patch_speakers(
    object_id: UUID, body: SpeakersIn, principal: PrincipalDep, settings: SettingsDep
) -> SpeakersOut:
    """Say who speaks, at once and for every later ingestion; what was derived from these turns is derived anew.

    Labels left out stay as they are.
    """
    async with tenant_session(principal) as session:
        await speakers.say_speakers(session, object_id, body.speakers)
        shown = await _show(session, object_id)
    await derive_soon(settings, principal.tenant_id)
    return shown


async def _show(session: AsyncSession, object_id: UUID) -> SpeakersOut:
    found = await speakers.get_speakers(session, object_id)
    read: Read = {"transcript": [found.transcript_id], "client": [found.client_id]}
    await record_reading(session, "transcript_read", read, entity=("transcript", found.transcript_id))
    return SpeakersOut.model_validate(found)
