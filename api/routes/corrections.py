"""Corrections of data about people: asked for by whoever sees it, decided by the client's coach or by compliance."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.deps import AssistantDep, PrincipalDep, SessionDep, SettingsDep, needs, needs_role
from api.errors import list_problem_responses
from api.flow_server import derive_soon
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.corrections import CorrectionIn, CorrectionOut, CorrectionStatus, DecisionIn
from core.errors import Unavailable
from db.models import Correction
from db.session import tenant_session
from domain import corrections
from domain.objects import tenant_store
from domain.reading import Read, record_reading
from pipelines.corrections import apply_correction

router = APIRouter(prefix="/v1/privacy/corrections", tags=["privacy"])

READ, WRITE = [needs("read")], [needs("write")]
DECIDE = [needs("write"), needs_role("coach", "compliance")]


class NoEmbedder(Unavailable):
    """This service has no embedder, so nothing can be indexed anew; configure one under REGENESIS_EMBEDDING__*."""


@router.post(
    "", operation_id="requestCorrection", status_code=status.HTTP_201_CREATED, dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_correction(body: CorrectionIn, session: SessionDep) -> CorrectionOut:
    """Ask that a turn you may see be corrected, or take back a claim that says what you hold."""
    if body.claim_id is not None:
        row = await corrections.dispute_claim(session, claim_id=body.claim_id, reason=body.reason or "")
    else:
        assert body.transcript_id is not None and body.segment_index is not None  # noqa: S101, PT018  # checked there
        row = await corrections.request_turn(
            session, transcript_id=body.transcript_id, segment_index=body.segment_index,
            proposed_text=body.proposed_text, speaker_id=body.speaker_id, reason=body.reason,
        )  # fmt: skip
    return CorrectionOut.model_validate(row)


@router.get("", operation_id="listCorrections", dependencies=READ, responses=list_problem_responses())
async def list_corrections(
    session: SessionDep,
    state: Annotated[CorrectionStatus | None, Query(alias="status", description="only in this state")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[CorrectionOut]:
    """List the requests that you made or may decide, the newest first."""
    order = (Correction.requested_at, Correction.id)
    query = corrections.select_corrections(state)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    read: Read = {"correction": [row[0].id for row in rows], "client": [row[0].client_id for row in rows]}
    await record_reading(session, "correction_read", read)
    return Page(items=[CorrectionOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/{correction_id}", operation_id="getCorrection", dependencies=READ, responses=list_problem_responses(404))
async def read_correction(correction_id: UUID, session: SessionDep) -> CorrectionOut:
    """Read one request."""
    found = await corrections.get_correction(session, correction_id)
    read: Read = {"correction": [found.id], "client": [found.client_id], "claim": [found.claim_id]}
    await record_reading(session, "correction_read", read, entity=("correction", found.id))
    return CorrectionOut.model_validate(found)


@router.post(
    "/{correction_id}/apply", operation_id="applyCorrection", dependencies=DECIDE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def post_application(
    correction_id: UUID, principal: PrincipalDep, assistant: AssistantDep, settings: SettingsDep
) -> CorrectionOut:
    """Apply a request: the transcript gets a new version, what was derived from the old is derived again."""
    if assistant.embedder is None:
        raise NoEmbedder
    async with tenant_session(principal) as session:
        await corrections.get_correction(session, correction_id)
    await apply_correction(
        principal, correction_id, embedder=assistant.embedder,
        originals=await tenant_store(principal.tenant_id, settings),
    )  # fmt: skip
    await derive_soon(settings, principal.tenant_id)
    async with tenant_session(principal) as session:
        return CorrectionOut.model_validate(await corrections.get_correction(session, correction_id))


@router.post(
    "/{correction_id}/refuse", operation_id="refuseCorrection", dependencies=DECIDE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def post_refusal(correction_id: UUID, body: DecisionIn, session: SessionDep) -> CorrectionOut:
    """Refuse a request, saying why; what it proposed is forgotten."""
    row = await corrections.refuse_correction(session, correction_id, decision=body.decision)
    return CorrectionOut.model_validate(row)


@router.delete(
    "/{correction_id}", operation_id="withdrawCorrection", status_code=204, dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_correction(correction_id: UUID, session: SessionDep) -> None:
    """Take your request back."""
    await corrections.withdraw_correction(session, correction_id)
