"""A tenant's models stop at its limit, whatever runs side by side and whoever dies on the way."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import QuotaExceeded
from core.settings import get_settings
from db.locate import owner_url
from db.models import AgentRun, QuotaReservation, TenantQuota
from db.provision import to_libpq_url
from db.session import Principal, tenant_session
from domain import chat, usage
from domain.budget import Budget, BudgetExhausted, ModelPriceUnknown, get_budget, reserve, settle
from domain.usage import Feature, Used
from tests.factories.people import Organisation

D = Decimal


async def limit(organisation: Organisation, usd: str | None) -> None:
    async with tenant_session(organisation.system) as session:
        values = {"tenant_id": organisation.tenant_id, "max_model_usd_month": D(usd) if usd else None}
        await session.execute(
            insert(TenantQuota).values(values).on_conflict_do_update(index_elements=["tenant_id"], set_=values)
        )


async def run(organisation: Organisation, *, user_id: UUID | None = None, **values: Any) -> UUID:
    run_id = uuid4()
    async with tenant_session(organisation.system) as session:
        await chat.start_run(session, run_id=run_id, user_id=user_id, session_id=None, agent_type="test")
        if values:
            await session.execute(update(AgentRun).where(AgentRun.id == run_id).values(**values))
    return run_id


async def spend(organisation: Organisation, usd: str | None, *, feature: Feature = "evidence") -> None:
    async with tenant_session(organisation.system) as session:
        cost = D(usd) if usd else None
        await usage.settle(session, [Used(feature=feature, cost_usd=cost, unpriced=int(cost is None))])


async def budget(organisation: Organisation) -> Budget:
    async with tenant_session(organisation.system) as session:
        return await get_budget(session)


async def ask(organisation: Organisation, run_id: UUID, usd: str | None) -> None:
    async with tenant_session(organisation.system) as session:
        await reserve(session, run_id, D(usd) if usd else None, model="gpt-x")


async def test_without_a_limit_anything_goes_and_is_counted(organisation: Organisation) -> None:
    run_id = await run(organisation)
    await ask(organisation, run_id, None)
    await ask(organisation, run_id, "1000")
    assert await budget(organisation) == Budget(None, D(0), D(1000))
    assert (await budget(organisation)).left_usd is None


async def test_what_models_cost_this_month_counts_whatever_for(organisation: Organisation) -> None:
    await limit(organisation, "10")
    await spend(organisation, "5")
    age_counters(organisation)
    await spend(organisation, "1.25")
    await spend(organisation, "0.5", feature="evaluation")
    await spend(organisation, "0.000001", feature="chat")
    await spend(organisation, None)
    assert await budget(organisation) == Budget(D(10), D("1.750001"))
    assert (await budget(organisation)).left_usd == D("8.249999")


def age_counters(organisation: Organisation) -> None:
    """Let what was counted so far be last month's, as only a superuser can."""
    with psycopg.connect(to_libpq_url(owner_url(get_settings())), autocommit=True) as connection:
        connection.execute(
            "UPDATE platform.quota_counters SET period = period - 40 WHERE tenant_id = %s AND kind <> 'storage'",
            [organisation.tenant_id],
        )


async def test_another_tenants_runs_do_not_count(organisation: Organisation) -> None:
    from tests.factories.people import found_organisation

    other = await found_organisation()
    await spend(other, "7")
    await limit(other, "1")
    assert await budget(organisation) == Budget(None, D(0))


async def test_a_request_that_does_not_fit_is_refused(organisation: Organisation) -> None:
    await limit(organisation, "1")
    run_id = await run(organisation)
    await ask(organisation, run_id, "0.6")
    with pytest.raises(BudgetExhausted, match=r"\$0.4100 more does not fit .* \$0.4000 of \$1.00 is left"):
        await ask(organisation, run_id, "0.41")
    await ask(organisation, run_id, "0.4")
    assert (await budget(organisation)).left_usd == 0


async def test_an_unknown_price_is_refused_where_there_is_a_limit(organisation: Organisation) -> None:
    await limit(organisation, "1")
    with pytest.raises(ModelPriceUnknown, match="The price of gpt-x is not known, so the budget") as refused:
        await ask(organisation, await run(organisation), None)
    assert isinstance(refused.value, BudgetExhausted)
    assert isinstance(refused.value, QuotaExceeded)


async def test_the_real_cost_takes_the_place_of_the_reserved(organisation: Organisation) -> None:
    await limit(organisation, "1")
    run_id = await run(organisation)
    for _ in range(2):
        await ask(organisation, run_id, "0.3")
    async with tenant_session(organisation.system) as session:
        await settle(session, run_id, reserved_usd=D("0.3"), cost_usd=D("0.01"))
    assert await budget(organisation) == Budget(D(1), D("0.01"), D("0.3"))
    async with tenant_session(organisation.system) as session:
        await settle(session, run_id, reserved_usd=D("0.3"), cost_usd=None)  # it failed before it cost anything
    assert await budget(organisation) == Budget(D(1), D("0.01"))


async def test_a_finished_run_holds_nothing(organisation: Organisation) -> None:
    run_id = await run(organisation)
    await ask(organisation, run_id, "0.3")
    async with tenant_session(organisation.system) as session:
        await settle(session, run_id, reserved_usd=None, cost_usd=D("0.2"))
    assert (await budget(organisation)).reserved_usd == D("0.3")
    async with tenant_session(organisation.system) as session:
        await chat.finish_run(session, run_id, "succeeded", metadata={"cost_usd": "0.2"})
    assert await budget(organisation) == Budget(None, D("0.2"))


async def test_what_a_dead_process_reserved_lapses(organisation: Organisation) -> None:
    await limit(organisation, "1")
    run_id = await run(organisation)
    await ask(organisation, run_id, "0.9")
    with pytest.raises(BudgetExhausted):
        await ask(organisation, await run(organisation), "0.5")
    async with tenant_session(organisation.system) as session:
        until = (await session.scalars(select(QuotaReservation.lapses_at))).one()
        assert timedelta(minutes=10) < until - datetime.now(UTC) < timedelta(minutes=20)
    with psycopg.connect(to_libpq_url(owner_url(get_settings())), autocommit=True) as connection:
        connection.execute(
            "UPDATE platform.quota_reservations SET lapses_at = now() - interval '1 second' WHERE tenant_id = %s",
            [organisation.tenant_id],
        )
    await ask(organisation, await run(organisation), "0.5")


async def test_side_by_side_not_one_request_too_many(organisation: Organisation) -> None:
    await limit(organisation, "1")
    runs = [await run(organisation) for _ in range(20)]

    async def try_one(run_id: UUID) -> bool:
        try:
            await ask(organisation, run_id, "0.15")
        except BudgetExhausted:
            return False
        return True

    allowed = await asyncio.gather(*(try_one(run_id) for run_id in runs))
    assert sum(allowed) == 6
    assert (await budget(organisation)).reserved_usd == D("0.90")


async def test_everyone_of_the_tenant_sees_what_is_left(organisation: Organisation) -> None:
    await spend(organisation, "3")
    for person in (organisation.coach_a, organisation.coach_a.as_system(), organisation.client_a):
        async with tenant_session(person) as session:
            assert (await get_budget(session)).spent_usd == 3


def test_what_is_left_is_never_less_than_nothing() -> None:
    assert Budget(D(1), D(2)).left_usd == 0
    Budget(None, D(2)).check(None)
    with pytest.raises(BudgetExhausted):
        Budget(D(0), D(0)).check(D("0.0001"))


def test_the_pipelines_principal_is_the_same_tenants() -> None:
    principal = Principal(uuid4(), "coach", uuid4())
    assert principal.as_system().tenant_id == principal.tenant_id
