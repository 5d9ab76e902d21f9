"""What a tenant may use is set aside before, counted after, and not passed by those who work side by side."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from core.errors import QuotaExceeded
from db.models import IngestedObject, QuotaReservation
from db.session import tenant_session
from domain import quotas, usage
from domain.ingestion import ensure_source
from domain.media import FileFacts, register_asset
from domain.quotas import IngestionsUsedUp, StorageFull, TokensUsedUp
from domain.usage import Used, current_flow_run
from tests.factories.people import Organisation, found_organisation
from tests.factories.usage import change_as_superuser, limit, read_quotas, read_usage

D = Decimal


async def reserve(organisation: Organisation, **amounts: object) -> UUID:
    work = uuid4()
    async with tenant_session(organisation.system) as session:
        assert await quotas.reserve(session, work, **amounts)  # type: ignore[arg-type]  # amounts by name
    return work


async def settle(organisation: Organisation, *used: Used, finished: tuple[UUID, ...] = ()) -> None:
    async with tenant_session(organisation.system) as session:
        await usage.settle(session, used, finished=finished)


async def test_without_a_limit_nothing_is_set_aside(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        assert not await quotas.reserve(session, uuid4(), tokens=10**9, ingestions=10**6, stored_bytes=10**12)
        assert await quotas.reserve_objects(session, {uuid4(): 10**12}) == {}
        assert await session.scalar(select(func.count()).select_from(QuotaReservation)) == 0


async def test_the_last_request_may_begin_while_any_token_is_left(organisation: Organisation) -> None:
    await limit(organisation, tokens=100)
    first = await reserve(organisation, tokens=70)
    second = await reserve(organisation, tokens=70)
    with pytest.raises(TokensUsedUp, match="100 tokens") as refused:
        await reserve(organisation, tokens=1)
    told = refused.value.context
    assert (told["quota"], told["limit"], told["used"], told["left"]) == ("tokens", 100, 0, 0)
    assert told["retry_after"] == quotas.WAIT_S  # it is only reserved
    await settle(organisation, Used(feature="chat", input_tokens=20, output_tokens=5), finished=(first,))
    quota = (await read_quotas(organisation))["tokens"]
    assert (quota.used, quota.reserved, quota.left) == (25, 70, 5)
    await settle(organisation, Used(feature="chat", input_tokens=70, output_tokens=10), finished=(second,))
    with pytest.raises(TokensUsedUp) as refused:
        await reserve(organisation, tokens=1)
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert refused.value.context["resets_at"] == tomorrow
    assert abs(refused.value.context["retry_after"] - (tomorrow - datetime.now(UTC)).total_seconds()) < 60  # type: ignore[operator]  # seconds


async def test_what_is_exact_must_fit(organisation: Organisation) -> None:
    await limit(organisation, ingestions=3, storage=1_000)
    await reserve(organisation, ingestions=2, stored_bytes=999)
    with pytest.raises(StorageFull, match="1 are left") as full:
        await reserve(organisation, stored_bytes=2)
    assert full.value.context["resets_at"] is None
    await reserve(organisation, stored_bytes=1)
    await reserve(organisation, ingestions=1)
    with pytest.raises(IngestionsUsedUp):
        await reserve(organisation, ingestions=1)


async def test_a_refusal_sets_nothing_aside(organisation: Organisation) -> None:
    await limit(organisation, ingestions=1, storage=10)
    with pytest.raises(StorageFull):
        await reserve(organisation, ingestions=1, stored_bytes=11)
    quota = await read_quotas(organisation)
    assert (quota["ingestions"].reserved, quota["storage"].reserved) == (0, 0)


async def test_objects_are_granted_in_order_and_an_upload_keeps_its_turn(organisation: Organisation) -> None:
    await limit(organisation, ingestions=3, storage=100)
    uploaded, small, large, late, later = (uuid4() for _ in range(5))
    async with tenant_session(organisation.system) as session:
        assert await quotas.reserve_objects(session, {uploaded: 10}) == {}
    async with tenant_session(organisation.system) as session:
        refused = await quotas.reserve_objects(session, {small: 50, large: 41, uploaded: 0, late: 40, later: 0})
    assert {one: type(why) for one, why in refused.items()} == {large: StorageFull, later: IngestionsUsedUp}
    quota = await read_quotas(organisation)
    assert (quota["ingestions"].left, quota["storage"].left) == (0, 0)
    async with tenant_session(organisation.system) as session:  # asked again, nothing is taken twice
        assert list(await quotas.reserve_objects(session, {small: 50, late: 40})) == []
    assert (await read_quotas(organisation))["storage"].reserved == 100


async def test_what_a_dead_process_set_aside_lapses(organisation: Organisation) -> None:
    await limit(organisation, ingestions=1)
    await reserve(organisation, ingestions=1)
    with pytest.raises(IngestionsUsedUp):
        await reserve(organisation, ingestions=1)
    change_as_superuser(
        "UPDATE platform.quota_reservations SET lapses_at = now() - interval '1 s' WHERE tenant_id = %s",
        organisation.tenant_id,
    )
    assert (await read_quotas(organisation))["ingestions"].left == 1
    await reserve(organisation, ingestions=1)
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(select(func.count()).select_from(QuotaReservation)) == 1


async def test_a_new_day_begins_anew_and_keeps_one_counter(organisation: Organisation) -> None:
    await limit(organisation, tokens=10, usd=D(1))
    await settle(organisation, Used(feature="chat", input_tokens=50, cost_usd=D(2)))
    change_as_superuser(
        "UPDATE platform.quota_counters SET period = period - 40 WHERE tenant_id = %s", organisation.tenant_id
    )
    quota = await read_quotas(organisation)
    assert (quota["tokens"].used, quota["usd"].used) == (0, 0)
    await settle(organisation, Used(feature="chat", input_tokens=1, cost_usd=D("0.5")))
    async with tenant_session(organisation.system) as session:
        rows = (await session.execute(text("SELECT kind, used FROM platform.quota_counters ORDER BY kind"))).all()
    assert [tuple(row) for row in rows] == [("tokens", 1), ("usd", D("0.5"))]


async def test_another_tenants_work_counts_for_them_alone(organisation: Organisation) -> None:
    other = await found_organisation()
    for one in (organisation, other):
        await limit(one, tokens=10)
    await reserve(other, tokens=50)
    await settle(other, Used(feature="chat", input_tokens=10))
    quota = (await read_quotas(organisation))["tokens"]
    assert (quota.used, quota.reserved) == (0, 0)


async def test_a_person_counts_as_the_pipelines_for_one_statement(organisation: Organisation) -> None:
    await limit(organisation, tokens=100)
    async with tenant_session(organisation.coach_a) as session:
        work = uuid4()
        assert await quotas.reserve(session, work, tokens=10)
        bound = text("SELECT current_setting('app.role'), current_setting('app.user_id')")
        assert tuple((await session.execute(bound)).one()) == ("coach", str(organisation.coach_a.user_id))
        await usage.settle(session, [Used(feature="chat", input_tokens=3)], finished=[work])
        assert tuple((await session.execute(bound)).one()) == ("coach", str(organisation.coach_a.user_id))
    assert (await read_quotas(organisation))["tokens"].left == 97


async def test_usage_adds_up_by_day_feature_and_flow_run(organisation: Organisation) -> None:
    flow = uuid4()
    await settle(organisation, Used(feature="chat", input_tokens=5, output_tokens=2, cost_usd=D("0.1")))
    current_flow_run.set(flow)
    try:
        await settle(
            organisation, Used(feature="evidence", input_tokens=7, cost_usd=None, unpriced=1),
            Used(feature="evidence", input_tokens=1, cost_usd=D("0.2")), Used(feature="ingestion", ingestions=2),
        )  # fmt: skip
    finally:
        current_flow_run.set(None)
    await settle(organisation, Used(feature="chat", cost_usd=None, unpriced=2))
    found = await read_usage(organisation)
    assert (found["chat"].requests, found["chat"].input_tokens, found["chat"].cost_usd) == (2, 5, D("0.1"))
    assert (found["chat"].unpriced, found["evidence"].unpriced) == (2, 1)
    assert (found["evidence"].input_tokens, found["evidence"].cost_usd) == (8, D("0.2"))
    async with tenant_session(organisation.admin) as session:
        rows = await usage.get_flow_usage(session, flow)
        today = datetime.now(UTC).date()
        span: dict[str, Any] = {"since": today - timedelta(days=1), "until": today + timedelta(days=1)}
        by_flow = await usage.list_usage(session, **span, by="flow")
        (total,) = await usage.list_usage(session, **span, by=None)
    assert [(row.feature, row.ingestions) for row in rows] == [("evidence", 0), ("ingestion", 2)]
    assert {row.flow_run_id: row.input_tokens for row in by_flow} == {flow: 8, None: 5}
    assert (total.input_tokens, total.output_tokens, total.unpriced, total.cost_usd) == (13, 2, 3, D("0.3"))
    async with tenant_session(organisation.coach_a) as session:
        (nothing,) = await usage.list_usage(session, **span, by=None)
    assert nothing.requests == 0


async def test_stored_bytes_are_those_that_are_kept(organisation: Organisation) -> None:
    async with tenant_session(organisation.system) as session:
        source = await ensure_source(session, "file:///somewhere")
        seen = IngestedObject(
            tenant_id=organisation.tenant_id, data_source_id=source, key="a", size_bytes=100,
            visibility="coach_only",
        )  # fmt: skip
        session.add(seen)
        await session.flush()
        stored = text("SELECT used FROM platform.quota_counters WHERE kind = 'storage'")
        assert await session.scalar(stored) is None  # only seen, not kept
        seen.storage_key, seen.ingestion_status = "tenants/x", "indexed"
        await session.flush()
        assert await session.scalar(stored) == 100
        seen.size_bytes = 40
    facts = FileFacts(filename="f", file_type="image/png", file_size_bytes=7)
    async with tenant_session(organisation.coach_a) as session:
        await register_asset(session, uploader=organisation.coach_a, facts=facts, provider="local")
    async with tenant_session(organisation.system) as session:
        assert await session.scalar(stored) == 47
        await session.delete(await session.get_one(IngestedObject, (organisation.tenant_id, seen.id)))
        await session.flush()
        assert await session.scalar(stored) == 7


async def test_counters_equal_what_they_count(organisation: Organisation) -> None:
    from db.counters import COUNTERS

    await test_stored_bytes_are_those_that_are_kept(organisation)
    await settle(organisation, Used(feature="chat", input_tokens=5, cost_usd=D("0.1"), ingestions=1))
    (counter,) = [one for one in COUNTERS if one.column == "platform.quota_counters.used"]
    async with tenant_session(organisation.system) as session:
        rows = await session.execute(
            text(f"SELECT t.kind, t.used, ({counter.truth}) AS truth FROM platform.quota_counters t ORDER BY 1")
        )
        found = {row.kind: (row.used, row.truth) for row in rows}
    assert found == {"ingestions": (1, 1), "storage": (7, 7), "tokens": (5, 5), "usd": (D("0.1"), D("0.1"))}


@pytest.mark.parametrize(("kind", "limits"), [("ingestions", {"ingestions": 37}), ("storage", {"storage": 37 * 64})])
async def test_two_hundred_files_side_by_side_do_not_pass_a_limit(
    organisation: Organisation, kind: str, limits: dict[str, int]
) -> None:
    await limit(organisation, **limits)
    over: list[Decimal] = []

    async def take(number: int) -> bool:
        work = uuid4()
        async with tenant_session(organisation.system) as session:
            refused = await quotas.reserve_objects(session, {work: 64})
        if refused:
            assert isinstance(refused[work], QuotaExceeded)
            return False
        async with tenant_session(organisation.system) as session:
            source = await ensure_source(session, "file:///somewhere")
            session.add(
                IngestedObject(
                    tenant_id=organisation.tenant_id, id=work, data_source_id=source, key=str(number), size_bytes=64,
                    visibility="coach_only", storage_key=f"k{number}",
                )
            )  # fmt: skip
            await session.flush()
            await usage.settle(session, [Used(feature="ingestion", ingestions=1)], finished=[work])
        quota = (await read_quotas(organisation))[kind]
        over.append(quota.used + quota.reserved)
        return True

    taken = await asyncio.gather(*map(take, range(200)))
    quota = (await read_quotas(organisation))[kind]
    assert sum(taken) == 37
    assert quota.limit is not None
    assert (quota.used, quota.reserved, quota.left) == (quota.limit, D(0), D(0))
    assert max(over) <= quota.limit
