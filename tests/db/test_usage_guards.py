"""Attacks as the app's own role: usage is written by the functions alone, and no counter is ever lowered."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import Principal, tenant_session
from domain import quotas, usage
from domain.usage import Used
from tests.factories.people import Organisation, found_organisation
from tests.factories.usage import limit, read_quotas, read_usage

WRITES = [
    "INSERT INTO platform.usage_metrics (tenant_id, date, feature) VALUES (:tenant, current_date, 'chat')",
    "UPDATE platform.usage_metrics SET tokens_used = 0, cost_usd = 0",
    "INSERT INTO platform.quota_counters (tenant_id, kind, period) VALUES (:tenant, 'usd', '2000-01-01')",
    "UPDATE platform.quota_counters SET used = 0",
    "DELETE FROM platform.quota_counters",
    "INSERT INTO platform.quota_reservations (tenant_id, lapses_at) VALUES (:tenant, now())",
    "UPDATE platform.quota_reservations SET lapses_at = now()",
    "DELETE FROM platform.quota_reservations",
    "SELECT platform.add_used(:tenant, 'tokens', -5)",
    "SELECT platform.lock_quotas(:tenant)",
]
SETTLE = "SELECT platform.settle_usage('{}', CAST(:calls AS jsonb), NULL, :tokens, :usd)"
CALL = (
    '[{"feature": "chat", "flow_run_id": "00000000-0000-0000-0000-000000000000", "requests": 1, "input_tokens": %s, '
    '"output_tokens": 0, "ingestions": 0, "unpriced": 0, "stored_bytes": 0, "cost_usd": %s}]'
)


@pytest.fixture
async def used(organisation: Organisation) -> Organisation:
    await limit(organisation, tokens=100)
    async with tenant_session(organisation.system) as session:
        await quotas.reserve(session, uuid4(), tokens=20)
        await usage.settle(session, [Used(feature="chat", input_tokens=50)])
    return organisation


async def attack(principal: Principal, statement: str, **given: Any) -> None:
    with pytest.raises(DBAPIError):
        async with tenant_session(principal) as session:
            await session.execute(text(statement), given)


@pytest.mark.parametrize("statement", WRITES)
async def test_nobody_writes_what_is_counted(used: Organisation, statement: str) -> None:
    for person in (used.system, used.admin, used.coach_a, used.client_a):
        await attack(person, statement, **({"tenant": used.tenant_id} if ":tenant" in statement else {}))
    quota = (await read_quotas(used))["tokens"]
    assert (quota.used, quota.reserved) == (50, 20)


@pytest.mark.parametrize(
    ("calls", "tokens", "usd"),
    [(CALL % (-5, 0), 0, 0), (CALL % (5, -1), 0, 0), (CALL % (5, '"NaN"'), 0, 0), ("[]", -5, 0), ("[]", 0, -1)],
    ids=["tokens", "cost", "nan", "more reserved", "more usd reserved"],
)
async def test_settling_only_adds(used: Organisation, calls: str, tokens: int, usd: int) -> None:
    await attack(used.system, SETTLE, calls=calls, tokens=tokens, usd=usd)
    assert (await read_usage(used))["chat"].input_tokens == 50


async def test_only_the_pipelines_may_count(used: Organisation) -> None:
    reserve = "SELECT platform.reserve_usage(:id, 1, 0, 0, 0, interval '1 min', true)"
    for name, person in used.people.items():
        assert name
        await attack(person, SETTLE, calls="[]", tokens=0, usd=0)
        await attack(person, reserve, id=uuid4())
        await attack(person, "SELECT platform.reserve_objects('{}', '{}', interval '1 min')")
        await attack(person, "SELECT platform.hand_over_upload(:id)", id=uuid4())


async def test_amounts_below_nothing_and_for_ever_are_not_reserved(used: Organisation) -> None:
    for amounts, lapse in (("-1, 0, 0, 0", "1 min"), ("0, 0, 0, -1", "1 min"), ("1, 0, 0, 0", "2 days")):
        await attack(
            used.system, f"SELECT platform.reserve_usage(:id, {amounts}, interval '{lapse}', true)", id=uuid4()
        )
    await attack(used.system, "SELECT platform.reserve_objects(ARRAY[uuidv7()], ARRAY[-1]::bigint[], interval '1 min')")


async def test_what_another_tenant_used_is_nobodys_business(used: Organisation) -> None:
    stranger = await found_organisation()
    for table in ("usage_metrics", "quota_counters", "quota_reservations", "model_prices"):
        async with tenant_session(stranger.system) as session:
            assert (await session.scalar(text(f"SELECT count(*) FROM platform.{table}"))) == 0
    async with tenant_session(stranger.system) as session:  # what it gives back is its own at most
        reservations = text("SELECT id FROM platform.quota_reservations")
        async with tenant_session(used.system) as theirs:
            (reservation,) = await theirs.scalars(reservations)
        await usage.settle(session, finished=[reservation])
    assert (await read_quotas(used))["tokens"].reserved == 20


async def test_prices_and_limits_are_set_by_administrators(used: Organisation) -> None:
    price = "INSERT INTO platform.model_prices (tenant_id, model, input_usd, output_usd) VALUES (:tenant, 'm', 0, 0)"
    for name, person in used.people.items():
        if name != "admin":
            await attack(person, price, tenant=used.tenant_id)
            await attack(person, "INSERT INTO platform.tenant_quotas (tenant_id) VALUES (:t)", t=used.tenant_id)
            async with tenant_session(person) as session:
                await session.execute(text("UPDATE platform.tenant_quotas SET max_tokens_per_day = NULL"))
    assert (await read_quotas(used))["tokens"].limit == 100
