"""Models beside the rules: forecast first, never beyond the budget, and what they sent is not paid for twice."""

from decimal import Decimal
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from core.errors import Unavailable
from core.settings import get_settings
from db.session import tenant_session
from pipelines.evidence import build_plan
from pipelines.evidence.build import build_client
from pipelines.evidence.build_plan import BUILD_VERSION, plan_clients
from pipelines.evidence.rederive import rederive_stale
from rag.answer_models import ModelChoice
from rag.fakes import ScriptedChat
from tests.factories.people import Organisation
from tests.pipelines.evidence.test_build import check, client_of, read_content, read_versions, store_sessions

PRICED = "gpt-4o-mini"
SAID = "The evening rota keeps me up at night."
REPLY = orjson.dumps(
    {
        "claims": [
            {
                "type": "obstacle", "statement": "The evening rota keeps Amina Diallo up at night.",
                "holder": "Amina Diallo", "subject": "evening rota", "polarity": "negative", "modality": "stated",
                "valid_from": None, "valid_to": None,
                "quotes": [{"turn": 3, "speaker": "client", "words": SAID, "role": "supporting"}],
            },
            {
                "type": "goal", "statement": "Amina Diallo wants a castle in Spain.", "holder": "Amina Diallo",
                "subject": "castle", "polarity": "positive", "modality": "stated", "valid_from": None,
                "valid_to": None, "quotes": [{"turn": 3, "speaker": "client", "words": "I want a castle in Spain."}],
            },
        ]
    }
).decode()  # fmt: skip


def choose(*answers: str | Exception, model: str = PRICED) -> ModelChoice:
    return ModelChoice(ScriptedChat([[answer] for answer in answers], model=model), 1_000, None)


def calls(choice: ModelChoice) -> int:
    assert isinstance(choice.provider, ScriptedChat)
    return len(choice.provider.calls)


async def limit(organisation: Organisation, usd: str) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO platform.tenant_quotas (tenant_id, max_model_usd_month) "
                "VALUES (current_setting('app.tenant_id')::uuid, :usd) "
                "ON CONFLICT (tenant_id) DO UPDATE SET max_model_usd_month = excluded.max_model_usd_month"
            ),
            {"usd": Decimal(usd)},
        )


async def read_modelled(organisation: Organisation) -> list[str]:
    async with tenant_session(organisation.system) as session:
        query = "SELECT statement FROM evidence.claims WHERE model_name IS NOT NULL AND stale_at IS NULL"
        return list(await session.scalars(text(query)))


async def read_version(organisation: Organisation) -> str:
    async with tenant_session(organisation.system) as session:
        return str(await session.scalar(text("SELECT version FROM evidence.extractions")))


async def test_what_a_model_invents_is_not_stored_and_what_it_sent_is_paid_once(organisation: Organisation) -> None:
    await store_sessions(organisation, 1)
    who, model = (organisation.tenant_id, client_of(organisation)), choose(REPLY)
    report = await build_client(*who, models=[model])
    assert await read_modelled(organisation) == ["The evening rota keeps Amina Diallo up at night."]
    assert (report.sessions[0].cost_usd or 0) > 0
    assert sum(report.sessions[0].rejections.values()) == 1, report.sessions[0]
    assert calls(model) == 1
    assert (await build_client(*who, models=[model])).count("unchanged") == 1
    assert (await build_client(*who)).count("unchanged") == 1, "rules alone take nothing away"
    assert calls(model) == 1
    before = await read_versions(organisation)
    forced = await build_client(*who, force=True)
    assert await read_modelled(organisation) == ["The evening rota keeps Amina Diallo up at night."]
    assert forced.changed == 0
    assert len(before ^ await read_versions(organisation)) == 2, "what it was built by, before and after"
    await check(organisation)


async def test_a_narrowed_session_keeps_what_a_model_said_of_it(organisation: Organisation) -> None:
    stored = (await store_sessions(organisation, 1))[0]
    await build_client(organisation.tenant_id, client_of(organisation), models=[choose(REPLY)])
    before = await read_content(organisation)
    async with tenant_session(organisation.system) as session:
        narrowed = "UPDATE ingestion.ingested_objects SET visibility = 'coach_only' WHERE id = :id"
        await session.execute(text(narrowed), {"id": stored.object_id})
    assert await read_modelled(organisation) == []
    report = await rederive_stale(organisation.tenant_id)
    assert await read_content(organisation) == before
    assert report.deleted.get("claims", 0) == 0
    await check(organisation)


async def test_an_outage_of_the_model_leaves_the_rules_and_is_tried_again(organisation: Organisation) -> None:
    await store_sessions(organisation, 1)
    who = organisation.tenant_id, client_of(organisation)
    report = await build_client(*who, models=[choose(Unavailable("no answer"))])
    assert (report.failed, await read_modelled(organisation)) == ((), [])
    assert report.claims > 0
    assert await read_version(organisation) == BUILD_VERSION
    again = await build_client(*who, models=[choose(REPLY)])
    assert (again.count("built"), len(await read_modelled(organisation))) == (1, 1)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[ModelChoice]:
    """The models of the tenant."""
    models: list[ModelChoice] = []

    async def find(*_: Any) -> list[ModelChoice]:
        return models

    monkeypatch.setattr(build_plan, "list_models", find)
    return models


async def test_the_cost_is_told_before_a_model_is_asked(
    organisation: Organisation, configured: list[ModelChoice]
) -> None:
    await store_sessions(organisation)
    configured.append(choose(REPLY))
    plan = await plan_clients(organisation.tenant_id, [client_of(organisation)], get_settings())
    assert plan.forecast is not None
    assert (plan.sessions, plan.forecast.sessions, plan.stopped) == (3, 3, None)
    assert plan.forecast.cost_usd is not None
    assert plan.forecast.cost_usd > 0
    assert calls(configured[0]) == 0
    none = await plan_clients(organisation.tenant_id, [client_of(organisation)], get_settings(), ask_models=False)
    assert (none.sessions, list(none.models), none.forecast) == (3, [], None)


async def test_a_forecast_beyond_the_budget_stops_before_the_first_request(
    organisation: Organisation, configured: list[ModelChoice]
) -> None:
    await store_sessions(organisation)
    configured.append(choose(REPLY))
    await limit(organisation, "0.000001")
    plan = await plan_clients(organisation.tenant_id, [client_of(organisation)], get_settings())
    assert not plan.models
    assert plan.stopped is not None
    assert "does not fit into this month's budget" in plan.stopped


async def test_an_unknown_price_cannot_promise_a_limit(
    organisation: Organisation, configured: list[ModelChoice]
) -> None:
    await store_sessions(organisation, 1)
    configured.append(choose(REPLY, model="house-made-7b"))
    await limit(organisation, "5")
    plan = await plan_clients(organisation.tenant_id, [client_of(organisation)], get_settings())
    assert not plan.models
    assert "price of house-made-7b is not known" in str(plan.stopped)


async def test_a_budget_used_up_on_the_way_leaves_the_rest_to_the_rules(organisation: Organisation) -> None:
    await store_sessions(organisation)
    await limit(organisation, "0.0000001")
    model = choose(REPLY)
    report = await build_client(organisation.tenant_id, client_of(organisation), models=[model])
    assert (report.count("built"), calls(model)) == (3, 0)
    assert "budget" in str(report.stopped)
    assert report.claims > 0
