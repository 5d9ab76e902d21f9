"""What a cohort shares is found from five clients on, and goes when it becomes too small."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from db.session import Principal, tenant_session
from pipelines.evidence.build import build_client
from pipelines.evidence.cohorts import build_cohorts
from tests.domain.test_partners import add, add_people, change, start_cohort
from tests.factories.people import Organisation
from tests.factories.sessions import store_session
from tests.pipelines.evidence.test_build import FIRST, check

HARD = "The hard part is the performance review."


async def tell(organisation: Organisation, people: list[UUID]) -> None:
    """Have each of them say what is hard in two sessions, and build that."""
    for n, user_id in enumerate(people):
        client = Principal(organisation.tenant_id, "client", user_id)
        for week, wish in enumerate((f"learn {n} songs", "sleep more")):
            turns = [("coach", "What is hard?"), ("client", f"{HARD} I want to {wish}.")]
            await store_session(organisation, turns, client=client, held_at=FIRST + timedelta(weeks=week))
        await build_client(organisation.tenant_id, user_id)


async def list_shared(organisation: Organisation) -> list[tuple[str, str]]:
    async with tenant_session(organisation.system) as session:
        found = await session.execute(
            text("SELECT statement, visibility FROM evidence.patterns WHERE cohort_id IS NOT NULL")
        )
        return list(found.tuples())


async def test_a_cohort_of_five_shares_a_theme_and_one_of_four_nothing(organisation: Organisation) -> None:
    people = await add_people(organisation, 5)
    await tell(organisation, people)
    cohort = await start_cohort(organisation)
    await add(organisation, cohort, *people[:4])
    await build_cohorts(organisation.tenant_id)
    assert await list_shared(organisation) == []
    await add(organisation, cohort, people[4])
    (report,) = await build_cohorts(organisation.tenant_id)
    shared = await list_shared(organisation)
    assert report.patterns == len(shared) >= 1
    assert {visibility for _, visibility in shared} == {"admin_aggregate"}
    assert not any("P 0" in statement for statement, _ in shared)
    assert (
        sum(
            one.changed + one.added + one.removed
            for one in (await build_cohorts(organisation.tenant_id))[0].rows.values()
        )
        == 0
    )
    async with tenant_session(organisation.admin) as session:
        assert await session.scalar(text("SELECT count(*) FROM evidence.patterns")) == len(shared)
        assert await session.scalar(text("SELECT count(*) FROM evidence.claims")) == 0
    await check(organisation)
    await change(organisation, cohort, people[0], status="dropped")
    await build_cohorts(organisation.tenant_id)
    assert await list_shared(organisation) == []
