"""Partners, their cohorts and members: kept by administrators, read by the partner's own contact."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from api.deps import PrincipalDep, SessionDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.partners import (
    CohortIn,
    CohortOut,
    CohortPatch,
    CohortStatus,
    EnrolledOut,
    MemberOut,
    MemberPatch,
    MembersIn,
    MembersOut,
    MemberStatus,
    PartnerDetailOut,
    PartnerIn,
    PartnerOut,
    PartnerPatch,
    PartnerStatus,
    PartnerType,
)
from db.models import CohortMember, Partner, PartnerCohort
from domain import partners

router = APIRouter(prefix="/v1", tags=["partners"])

READ = [needs("read")]
ADMIN = [needs("admin"), needs_role("admin")]


@router.get("/partners", operation_id="listPartners", dependencies=READ, responses=list_problem_responses())
async def list_partners(
    *,
    session: SessionDep,
    partner_type: Annotated[PartnerType | None, Query()] = None,
    status: Annotated[PartnerStatus | None, Query()] = None,
    deleted: Annotated[bool, Query(description="those in their 30 days of grace, which administrators see")] = False,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[PartnerOut]:
    """List the partners, the newest first."""
    query = select(Partner).where(Partner.deleted_at.is_not(None) if deleted else Partner.deleted_at.is_(None))
    if partner_type is not None:
        query = query.where(Partner.partner_type == partner_type)
    if status is not None:
        query = query.where(Partner.status == status)
    rows, more = await fetch_page(session, query, order=(Partner.created_at, Partner.id), limit=limit, cursor=cursor)
    return Page(items=[PartnerOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/partners", operation_id="createPartner", status_code=201, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def create_partner(body: PartnerIn, session: SystemSessionDep) -> PartnerOut:
    """Add a partner."""
    return PartnerOut.model_validate(await partners.create_partner(session, values=body.list_changes()))


@router.get(
    "/partners/{partner_id}", operation_id="getPartner", dependencies=READ, responses=list_problem_responses(404)
)
async def get_partner(partner_id: UUID, principal: PrincipalDep, session: SessionDep) -> PartnerDetailOut:
    """Read a partner."""
    partner = await session.scalar(select(Partner).where(Partner.id == partner_id))
    if partner is None:
        raise partners.PartnerNotFound
    answer = PartnerDetailOut.model_validate(partner)
    if principal.role == "admin":
        answer.phone = await partners.find_phone(session, partner)
    return answer


@router.patch(
    "/partners/{partner_id}", operation_id="updatePartner", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def update_partner(partner_id: UUID, body: PartnerPatch, session: SystemSessionDep) -> PartnerOut:
    """Change a partner; what you leave out stays."""
    partner = await partners.update_partner(session, partner_id=partner_id, changes=body.list_changes())
    return PartnerOut.model_validate(partner)


@router.delete(
    "/partners/{partner_id}", operation_id="deletePartner", status_code=204, dependencies=ADMIN,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_partner(partner_id: UUID, session: SystemSessionDep) -> None:
    """Delete a partner, which can be restored for 30 days."""
    await partners.delete_partner(session, partner_id=partner_id)


@router.post(
    "/partners/{partner_id}/restore", operation_id="restorePartner", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def restore_partner(partner_id: UUID, session: SystemSessionDep) -> PartnerOut:
    """Take a deletion of the last 30 days back."""
    return PartnerOut.model_validate(await partners.restore_partner(session, partner_id=partner_id))


@router.get(
    "/partners/{partner_id}/cohorts",
    operation_id="listCohorts",
    dependencies=READ,
    responses=list_problem_responses(404),
)
async def list_cohorts(
    *,
    partner_id: UUID,
    session: SessionDep,
    status: Annotated[CohortStatus | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[CohortOut]:
    """List a partner's cohorts that you may see, the latest first."""
    if await session.scalar(select(Partner.id).where(Partner.id == partner_id)) is None:
        raise partners.PartnerNotFound
    query = select(PartnerCohort).where(PartnerCohort.partner_id == partner_id)
    if status is not None:
        query = query.where(PartnerCohort.status == status)
    rows, more = await fetch_page(
        session, query, order=(PartnerCohort.start_date, PartnerCohort.id), limit=limit, cursor=cursor
    )
    return Page(items=[CohortOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/partners/{partner_id}/cohorts", operation_id="createCohort", status_code=201, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def create_cohort(partner_id: UUID, body: CohortIn, session: SystemSessionDep) -> CohortOut:
    """Start a cohort of a partner in a program."""
    cohort = await partners.create_cohort(session, partner_id=partner_id, values=body.list_changes())
    return CohortOut.model_validate(cohort)


@router.patch(
    "/cohorts/{cohort_id}", operation_id="updateCohort", dependencies=ADMIN, responses=list_problem_responses(404, 409)
)
async def update_cohort(cohort_id: UUID, body: CohortPatch, session: SystemSessionDep) -> CohortOut:
    """Change a cohort; what you leave out stays."""
    cohort = await partners.update_cohort(session, cohort_id=cohort_id, changes=body.list_changes())
    return CohortOut.model_validate(cohort)


@router.get(
    "/cohorts/{cohort_id}/members", operation_id="listMembers", dependencies=READ, responses=list_problem_responses(404)
)
async def list_members(
    *,
    cohort_id: UUID,
    session: SessionDep,
    status: Annotated[MemberStatus | None, Query()] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[MemberOut]:
    """List the members of a cohort that you may see, the newest first."""
    if await session.scalar(select(PartnerCohort.id).where(PartnerCohort.id == cohort_id)) is None:
        raise partners.CohortNotFound
    query = select(CohortMember).where(CohortMember.cohort_id == cohort_id)
    if status is not None:
        query = query.where(CohortMember.status == status)
    rows, more = await fetch_page(
        session, query, order=(CohortMember.joined_at, CohortMember.id), limit=limit, cursor=cursor
    )
    return Page(items=[MemberOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/cohorts/{cohort_id}/members", operation_id="addMembers", status_code=201, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def add_members(cohort_id: UUID, body: MembersIn, session: SystemSessionDep) -> MembersOut:
    """Put up to 1,000 people into a cohort, all or none; who is in it already stays as they are."""
    members = [member.model_dump(mode="json") for member in body.members]
    return MembersOut(added=await partners.add_members(session, cohort_id=cohort_id, members=members))


@router.patch(
    "/cohorts/{cohort_id}/members/{user_id}", operation_id="updateMember", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def update_member(cohort_id: UUID, user_id: UUID, body: MemberPatch, session: SystemSessionDep) -> MemberOut:
    """Change what the partner says of a member, or let them complete or drop out."""
    member = await partners.update_member(
        session, cohort_id=cohort_id, user_id=user_id, changes=body.model_dump(exclude_unset=True)
    )
    return MemberOut.model_validate(member)


@router.post(
    "/cohorts/{cohort_id}/enrollments", operation_id="enrollCohort", status_code=201, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def enroll_cohort(cohort_id: UUID, session: SystemSessionDep) -> EnrolledOut:
    """Give every active member a seat in the cohort's program, all or none; again only those who have none."""
    return EnrolledOut(enrolled=await partners.enroll_members(session, cohort_id=cohort_id))
