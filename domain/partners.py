"""Partner organisations, the cohorts they send through programs, and who is in them."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Uuid, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import CohortMember, Partner, PartnerCohort
from db.violations import refusing
from domain.events import DatesReversed, SlugTaken
from domain.governance import name_action
from domain.keys import field_cipher
from domain.learning import ProgramNotFound, enroll
from domain.roles import PersonNotFound

GRACE: Final = timedelta(days=30)
"""How long a deleted partner can be restored."""
MOST_AT_ONCE: Final = 1_000
"""How many members are added by one call at most."""

_PHONE: Final = {"table": "partners.partners", "column": "contact_phone"}
_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)

_ADD_MEMBERS: Final = text(
    """
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:members AS jsonb))
            AS g(user_id uuid, email text, employee_id text, department text, role text)
    ), known AS (
        SELECT DISTINCT ON (u.id) u.id, g.employee_id, g.department, g.role
        FROM given g JOIN identity.users u
          ON u.tenant_id = (SELECT current_setting('app.tenant_id')::uuid) AND u.status = 'active'
         AND u.id = coalesce(g.user_id, (SELECT o.id FROM identity.users o WHERE o.tenant_id = u.tenant_id
                                         AND o.email = lower(g.email)))
    ), added AS (
        INSERT INTO partners.cohort_members AS m
            (tenant_id, cohort_id, partner_id, user_id, employee_id, department, role)
        SELECT (SELECT current_setting('app.tenant_id')::uuid), :cohort_id, :partner_id, k.id, k.employee_id,
               k.department, k.role
        FROM known k ORDER BY k.id
        ON CONFLICT (tenant_id, cohort_id, user_id) DO UPDATE
        SET status = 'active', completed_at = NULL, employee_id = excluded.employee_id,
            department = excluded.department, role = excluded.role
        WHERE m.status = 'dropped'
        RETURNING m.user_id
    )
    SELECT (SELECT count(*) FROM known) AS known, ARRAY(SELECT user_id FROM added) AS added
    """
)


class PartnerNotFound(NotFound):
    """There is no such partner that you may see; list the partners to find their ids."""


class CohortNotFound(NotFound):
    """There is no such cohort that you may see; list the partner's cohorts to find their ids."""


class MemberNotFound(NotFound):
    """This person is not in this cohort; list its members to see who is."""


class PartnerGone(Conflict):
    """This partner is deleted or not active; restore or reactivate it first."""


class PartnerNotDeleted(Conflict):
    """This partner is not deleted, so there is nothing to restore."""


class PartnerGraceOver(Conflict):
    """This partner was deleted more than 30 days ago and can't be restored; add it anew."""


class CohortClosed(Conflict):
    """This cohort is completed or cancelled; choose one that runs, or start another."""


class CohortFull(Conflict):
    """This cohort has fewer places left than that; raise its size, or add fewer people."""


class MembersUnknown(Invalid):
    """Some of these are no active people of your organisation, or are named twice; correct the list."""


class TooManyMembers(Invalid):
    """Up to 1,000 people can be added at once; send the rest in another call."""


async def create_partner(session: AsyncSession, *, values: Mapping[str, Any]) -> Partner:
    """Add a partner; needs a session of the pipelines. Raises `SlugTaken`, `PersonNotFound` for its contact."""
    made = dict(values)
    phone = made.pop("contact_phone", None)
    with refusing(_PARTNER_RULES):
        partner: Partner | None = await session.scalar(
            insert(Partner).values(tenant_id=_TENANT, **made).returning(Partner)
        )
    assert partner is not None  # noqa: S101  # an insert returns its row or raises
    if phone is not None:
        return await update_partner(session, partner_id=partner.id, changes={"contact_phone": phone})
    return partner


async def update_partner(session: AsyncSession, *, partner_id: UUID, changes: Mapping[str, Any]) -> Partner:
    """Change the partner; needs a session of the pipelines. Raises `PartnerNotFound`, `PartnerGone`, `SlugTaken`."""
    partner = await _lock_partner(session, partner_id)
    if partner.deleted_at is not None:
        raise PartnerGone
    new = dict(changes)
    if new.get("contact_phone") is not None:
        cipher = await field_cipher(session)
        new["contact_phone"] = cipher.encrypt(new["contact_phone"], row_id=partner_id, **_PHONE)
    if new:
        with refusing(_PARTNER_RULES):
            await session.execute(update(Partner).where(Partner.id == partner_id).values(**new))
        await session.refresh(partner)
    return partner


async def find_phone(session: AsyncSession, partner: Partner) -> str | None:
    """Return the number of the partner's contact, if there is one."""
    if partner.contact_phone is None:
        return None
    cipher = await field_cipher(session)
    return cipher.decrypt(partner.contact_phone, row_id=partner.id, **_PHONE)


async def delete_partner(session: AsyncSession, *, partner_id: UUID) -> None:
    """Hide the partner and keep it for 30 days; deleting twice changes nothing. Raises `PartnerNotFound`.

    Needs a session of the pipelines.
    """
    partner = await _lock_partner(session, partner_id)
    if partner.deleted_at is None:
        await name_action(session, "partner_deleted")
        await session.execute(update(Partner).where(Partner.id == partner_id).values(deleted_at=func.now()))


async def restore_partner(session: AsyncSession, *, partner_id: UUID) -> Partner:
    """Take the deletion back; needs a session of the pipelines.

    Raises `PartnerNotFound`, `PartnerNotDeleted`, `PartnerGraceOver`.
    """
    partner = await _lock_partner(session, partner_id)
    if partner.deleted_at is None:
        raise PartnerNotDeleted
    if await session.scalar(select(func.now() - GRACE > partner.deleted_at)):
        raise PartnerGraceOver
    await name_action(session, "partner_restored")
    await session.execute(update(Partner).where(Partner.id == partner_id).values(deleted_at=None))
    await session.refresh(partner)
    return partner


async def create_cohort(session: AsyncSession, *, partner_id: UUID, values: Mapping[str, Any]) -> PartnerCohort:
    """Start a cohort of the partner in a program; needs a session of the pipelines.

    Raises `PartnerNotFound`, `PartnerGone`, `ProgramNotFound`.
    """
    partner = await _lock_partner(session, partner_id)
    if partner.deleted_at is not None or partner.status != "active":
        raise PartnerGone
    with refusing(_COHORT_RULES):
        cohort: PartnerCohort | None = await session.scalar(
            insert(PartnerCohort).values(tenant_id=_TENANT, partner_id=partner_id, **values).returning(PartnerCohort)
        )
    assert cohort is not None  # noqa: S101  # an insert returns its row or raises
    return cohort


async def update_cohort(session: AsyncSession, *, cohort_id: UUID, changes: Mapping[str, Any]) -> PartnerCohort:
    """Change the cohort; needs a session of the pipelines. Raises `CohortNotFound`, `CohortFull`, `ProgramNotFound`."""
    cohort = await _lock_cohort(session, cohort_id)
    if changes:
        with refusing(_COHORT_RULES):
            await session.execute(update(PartnerCohort).where(PartnerCohort.id == cohort_id).values(**changes))
        await session.refresh(cohort)
    return cohort


async def add_members(session: AsyncSession, *, cohort_id: UUID, members: Sequence[Mapping[str, Any]]) -> list[UUID]:
    """Put these people into the cohort, all or none, and return whom it did not have yet.

    Each is named by `user_id` or `email`, with `employee_id`, `department` and `role` as the partner calls them. One
    statement, under the cohort's lock, so that its size holds. Needs a session of the pipelines. Raises
    `CohortNotFound`, `CohortClosed`, `CohortFull`, `MembersUnknown`, `TooManyMembers`.
    """
    if len(members) > MOST_AT_ONCE:
        raise TooManyMembers
    cohort = await _lock_cohort(session, cohort_id)
    if cohort.status != "active":
        raise CohortClosed
    await name_action(session, "cohort_member_added")
    with refusing(_COHORT_RULES):
        row = (
            await session.execute(
                _ADD_MEMBERS,
                {
                    "members": json.dumps([dict(member) for member in members], default=str),
                    "cohort_id": cohort_id, "partner_id": cohort.partner_id,
                },
            )
        ).one()  # fmt: skip
    if row.known != len(members):
        raise MembersUnknown
    return list(row.added)


async def update_member(
    session: AsyncSession, *, cohort_id: UUID, user_id: UUID, changes: Mapping[str, Any]
) -> CohortMember:
    """Change what the partner says of a member, or let them complete or drop out.

    Needs a session of the pipelines. Raises `CohortNotFound`, `MemberNotFound`, `CohortFull`.
    """
    await _lock_cohort(session, cohort_id)
    values = dict(changes)
    if "status" in values:
        values["completed_at"] = func.now() if values["status"] == "completed" else None
    member: CohortMember | None
    own = select(CohortMember).where(CohortMember.cohort_id == cohort_id, CohortMember.user_id == user_id)
    if values:
        with refusing(_COHORT_RULES):
            await session.execute(
                update(CohortMember)
                .where(CohortMember.cohort_id == cohort_id, CohortMember.user_id == user_id)
                .values(**values)
                .execution_options(synchronize_session=False)
            )
    member = await session.scalar(own, execution_options={"populate_existing": True})
    if member is None:
        raise MemberNotFound
    return member


async def enroll_members(session: AsyncSession, *, cohort_id: UUID) -> int:
    """Give every active member without one a seat in the cohort's program, all or none, and return how many.

    The partner pays by its own agreement, so the seats are scholarships. Needs a session of the pipelines. Raises
    `CohortNotFound`, `CohortClosed`, `TooManyMembers` above 1,000 members, and what `learning.enroll` raises.
    """
    cohort = await _lock_cohort(session, cohort_id)
    if cohort.status != "active":
        raise CohortClosed
    waiting = (
        await session.scalars(
            select(CohortMember)
            .where(
                CohortMember.cohort_id == cohort_id,
                CohortMember.status == "active",
                CohortMember.enrollment_id.is_(None),
            )
            .order_by(CohortMember.user_id)
            .limit(MOST_AT_ONCE + 1)
        )
    ).all()
    if len(waiting) > MOST_AT_ONCE:
        raise TooManyMembers
    for member in waiting:
        seat = await enroll(session, program_id=cohort.program_id, user_id=member.user_id, payment_type="scholarship")
        member.enrollment_id = seat.id
    await session.flush()
    return len(waiting)


async def _lock_partner(session: AsyncSession, partner_id: UUID) -> Partner:
    partner: Partner | None = await session.scalar(
        select(Partner).where(Partner.id == partner_id).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    if partner is None:
        raise PartnerNotFound
    return partner


async def _lock_cohort(session: AsyncSession, cohort_id: UUID) -> PartnerCohort:
    cohort: PartnerCohort | None = await session.scalar(
        select(PartnerCohort).where(PartnerCohort.id == cohort_id).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    if cohort is None:
        raise CohortNotFound
    return cohort


_PARTNER_RULES: Final = {
    "ck_partners_partnership_dates": DatesReversed,
    "uq_partners_tenant_id_slug": SlugTaken,
    "fk_partners_tenant_id_primary_contact_user_id": PersonNotFound,
}
_COHORT_RULES: Final = {
    "ck_partner_cohorts_dates": DatesReversed,
    "fk_partner_cohorts_tenant_id_program_id": ProgramNotFound,
    "ck_partner_cohorts_max_participants": CohortFull,
}
