"""What a declared cohort's clients have in common, once there are enough of them that nobody can be told apart."""

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import CohortMember, PartnerCohort, Pattern, User
from db.session import Principal, tenant_session
from domain.ingestion import hold_source
from pipelines.evidence.build_report import BuildReport
from pipelines.evidence.patterns import SMALLEST_COHORT, find_cohort_patterns
from pipelines.evidence.records import SessionClaim
from pipelines.evidence.store import list_client_claims, list_sessions, write_patterns


async def build_cohorts(tenant_id: UUID) -> list[BuildReport]:
    """Find what each cohort shares, from claims that are stored already; write differences only.

    A cohort that has become too small loses its patterns. Run it once its clients are built.
    """
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        cohorts = await _list_cohorts(session)
    return [await build_cohort(tenant_id, cohort_id, clients) for cohort_id, clients in cohorts.items()]


async def build_cohort(tenant_id: UUID, cohort_id: UUID, clients: Sequence[UUID]) -> BuildReport:
    """Find what these clients of the cohort share."""
    began = perf_counter()
    async with (
        hold_source(tenant_id, f"evidence:{cohort_id}"),
        tenant_session(Principal(tenant_id, "system")) as session,
    ):
        claims: dict[UUID, list[SessionClaim]] = {}
        in_scope = examined = 0
        for client_id in clients if len(clients) >= SMALLEST_COHORT else ():
            known = await list_sessions(session, client_id)
            in_scope += len(known)
            examined += sum(one.built_hash == one.content_hash for one in known)
            claims[client_id] = await list_client_claims(session, client_id)
        found = await asyncio.to_thread(
            find_cohort_patterns, claims, sessions_in_scope=in_scope, sessions_examined=examined
        )
        rows = await write_patterns(session, found, cohort_id=cohort_id)
    return BuildReport(
        cohort_id=cohort_id, patterns=len(found), rows={"patterns": rows}, seconds=round(perf_counter() - began, 3)
    )


async def _list_cohorts(session: AsyncSession) -> Mapping[UUID, Sequence[UUID]]:
    """Return the clients of every cohort that is large enough, and of those that have patterns from before."""
    before = await session.scalars(select(Pattern.cohort_id).where(Pattern.cohort_id.is_not(None)).distinct())
    kept = {found for found in before if found is not None}
    cohorts: dict[UUID, list[UUID]] = {cohort_id: [] for cohort_id in kept}
    members = (
        select(PartnerCohort.id, CohortMember.user_id)
        .join(CohortMember, CohortMember.cohort_id == PartnerCohort.id)
        .join(User, User.id == CohortMember.user_id)
        .where(PartnerCohort.status != "cancelled", CohortMember.status != "dropped", User.role == "client")
        .order_by(PartnerCohort.id, CohortMember.user_id)
    )
    for cohort_id, user_id in (await session.execute(members)).tuples():
        cohorts.setdefault(cohort_id, []).append(user_id)
    return {one: clients for one, clients in cohorts.items() if one in kept or len(clients) >= SMALLEST_COHORT}
