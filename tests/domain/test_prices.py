"""A tenant's own prices win over list prices, the most exact first, from their day on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from core.settings import ModelSettings
from db.session import tenant_session
from domain import prices
from domain.prices import NO_PRICES, PriceNotFound, load_prices, set_price
from rag.answer_models import list_models
from rag.costs import price
from rag.providers.protocol import Usage
from tests.factories.people import Organisation, found_organisation

D = Decimal
MILLION = 1_000_000


async def say(organisation: Organisation, model: str, given: str, written: str, **more: object) -> None:
    async with tenant_session(organisation.admin) as session:
        await set_price(session, model=model, input_usd=D(given), output_usd=D(written), **more)  # type: ignore[arg-type]  # by name


async def test_a_model_that_nobody_sells_has_the_price_that_is_set(organisation: Organisation) -> None:
    used = Usage("house-model", MILLION, MILLION, service="http://models.internal/v1")
    assert price(used) is None
    await say(organisation, "house-*", "0.5", "2")
    async with tenant_session(organisation.coach_a) as session:
        table = await load_prices(session)
    assert price(used, prices=table) == D("2.5")
    assert price(Usage("other", 1, 1), prices=table) is None


async def test_it_wins_over_the_list_price(organisation: Organisation) -> None:
    await say(organisation, "gpt-4o-mini", "0", "0")
    async with tenant_session(organisation.system) as session:
        table = await load_prices(session)
    assert price(Usage("gpt-4o-mini", MILLION, MILLION), prices=table) == 0
    assert price(Usage("gpt-4o", MILLION, 0), prices=table) == price(Usage("gpt-4o", MILLION, 0))


async def test_the_most_exact_price_of_the_day_holds(organisation: Organisation) -> None:
    now = datetime.now(UTC)
    await say(organisation, "*", "9", "9", valid_from=now - timedelta(days=9))
    await say(organisation, "m", "1", "1", valid_from=now - timedelta(days=3))
    await say(organisation, "m", "2", "2", valid_from=now - timedelta(days=1))
    await say(organisation, "m", "3", "3", service="https://a.example/*", valid_from=now - timedelta(days=5))
    await say(organisation, "m", "4", "4", valid_from=now + timedelta(days=1))
    async with tenant_session(organisation.system) as session:
        table = await load_prices(session)
    one = Usage("M", MILLION, 0)
    assert price(one, prices=table) == 2
    assert price(one, prices=table, at=now - timedelta(days=2)) == 1
    assert price(one, prices=table, at=now - timedelta(days=4)) == 9
    assert price(one, prices=table, at=now + timedelta(days=2)) == 4
    assert price(Usage("m", MILLION, 0, service="https://a.example/v1"), prices=table) == 3  # of that address
    assert price(one, prices=table, at=now - timedelta(days=20)) is None


async def test_cached_tokens_have_a_price_of_their_own(organisation: Organisation) -> None:
    await say(organisation, "m", "1", "0", cached_usd=D("0.1"))
    async with tenant_session(organisation.system) as session:
        table = await load_prices(session)
    assert price(Usage("m", MILLION, 0, cached_tokens=MILLION // 2), prices=table) == D("0.55")
    list_price, cached = (
        price(Usage("gpt-4o-mini", MILLION, 0)),
        price(Usage("gpt-4o-mini", MILLION, 0, cached_tokens=MILLION)),
    )
    assert list_price is not None
    assert cached is not None
    assert cached < list_price


async def test_models_come_with_their_tenants_prices(organisation: Organisation) -> None:
    await say(organisation, "house", "1", "2", cached_usd=D("0.5"))
    async with tenant_session(organisation.coach_a) as session:
        (choice,) = await list_models(session, ModelSettings(model="house", base_url="http://127.0.0.1:9/v1"))
        assert choice.prices == await load_prices(session)
        assert await list_models(session, ModelSettings()) == []
    other = await found_organisation()
    async with tenant_session(other.coach_a) as session:
        (choice,) = await list_models(session, ModelSettings(model="house", base_url="http://127.0.0.1:9/v1"))
    assert choice.prices == NO_PRICES


async def test_said_again_for_the_same_moment_it_replaces(organisation: Organisation) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    for given in ("1", "2"):
        await say(organisation, "m", given, "0", valid_from=since)
    async with tenant_session(organisation.admin) as session:
        (row,) = await prices.list_prices(session)
        assert row.input_usd == 2
        await prices.delete_price(session, row.id)
        with pytest.raises(PriceNotFound):
            await prices.delete_price(session, row.id)
