"""What people agree to: the texts of the organisation, and the states for those who answer for them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.consents import ConsentTextIn, ConsentTextOut, PersonConsentOut, ProcessingOut, WithheldOut
from api.schemas.users import Purpose
from db.models import Consent, ConsentText, WithheldPurpose
from domain import consents

router = APIRouter(prefix="/v1", tags=["consents"])

READ = [needs("read")]
STATES = [needs("read"), needs_role("compliance")]
PUBLISH = [needs("write"), needs_role("admin", "compliance")]
PurposeQuery = Annotated[Purpose | None, Query(description="only of this purpose")]


@router.get("/me/processing", operation_id="getMyProcessing", dependencies=READ, responses=list_problem_responses())
async def read_processing(principal: PrincipalDep, session: SessionDep) -> ProcessingOut:
    """Read what may be done with your material now, by purpose."""
    rows = await session.scalars(select(WithheldPurpose.purpose).where(WithheldPurpose.user_id == principal.user_id))
    withheld = set(rows)
    return ProcessingOut(**{purpose: purpose not in withheld for purpose in consents.PROCESSING})


@router.get("/consents", operation_id="listConsents", dependencies=STATES, responses=list_problem_responses())
async def list_consents(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    purpose: PurposeQuery = None,
    user_id: UUID | None = None,
    running: Annotated[bool | None, Query(description="only those that run, or only withdrawn ones")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[PersonConsentOut]:
    """List the organisation's consents, the newest first, withdrawn ones and objections too."""
    query = consents.select_states(purpose)
    if user_id is not None:
        query = query.where(Consent.user_id == user_id)
    if running is not None:
        query = query.where(Consent.withdrawn_at.is_(None) if running else Consent.withdrawn_at.is_not(None))
    rows, more = await fetch_page(session, query, order=(Consent.granted_at, Consent.id), limit=limit, cursor=cursor)
    return Page(items=[PersonConsentOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/consents/withheld", operation_id="listWithheld", dependencies=STATES, responses=list_problem_responses())
async def list_withheld(
    session: SessionDep, purpose: PurposeQuery = None, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[WithheldOut]:
    """List whose material may not be processed for what, the latest first."""
    w = WithheldPurpose
    query = select(w) if purpose is None else select(w).where(w.purpose == purpose)
    order = (w.since, w.user_id, w.purpose)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[WithheldOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.get("/consent-texts", operation_id="listConsentTexts", dependencies=READ, responses=list_problem_responses())
async def list_texts(
    session: SessionDep, purpose: PurposeQuery = None, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[ConsentTextOut]:
    """List the versions that your organisation published, the newest first."""
    query = select(ConsentText) if purpose is None else select(ConsentText).where(ConsentText.purpose == purpose)
    order = (ConsentText.published_at, ConsentText.id)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ConsentTextOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/consent-texts", operation_id="publishConsentText", status_code=201, dependencies=PUBLISH,
    responses=list_problem_responses(409),
)  # fmt: skip
async def post_text(body: ConsentTextIn, session: SessionDep) -> ConsentTextOut:
    """Publish a version; from this moment the newest says whether clients must agree first."""
    return ConsentTextOut.model_validate(await consents.publish_text(session, **body.model_dump()))
