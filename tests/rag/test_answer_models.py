"""Which model a tenant's question goes to, and that the operator's key goes nowhere else; over real HTTP."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from core.settings import ModelSettings, Settings
from db.locate import owner_url
from db.models import TenantLlmConfig
from db.session import tenant_session
from rag.answer import Assistant, Done, answer
from rag.answer_models import list_models
from rag.providers.protocol import Message
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session
from tests.rag.openai_server import ModelServer, error_reply, serve_model, stream_reply

SAID = "Amina Diallo will hand the pager to Tobias by Friday. [1]"
OPERATOR = ModelSettings(base_url="http://operator.invalid/v1", api_key=SecretStr("operators-key"), model="big")


def say(words: str) -> list[object]:
    return [
        {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "big", "choices": [
            {"index": 0, "delta": {"content": words}, "finish_reason": "stop"}]},
        {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "big", "choices": [],
         "usage": {"prompt_tokens": 70, "completion_tokens": 12, "total_tokens": 82}},
    ]  # fmt: skip


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    os.environ["NO_PROXY"] = "127.0.0.1"
    async with serve_model() as server:
        yield server


@pytest.fixture
async def organisation(organisation: Organisation) -> Organisation:
    await name_people(organisation)
    await store_session(organisation, [("client", "I'll hand the pager to Tobias by Friday.")])
    return organisation


async def ask(organisation: Organisation, settings: ModelSettings) -> Done:
    question = "What did Amina promise about the pager for Tobias?"
    now = datetime(2026, 6, 1, tzinfo=UTC)
    *_, done = [e async for e in answer(Assistant(EMBEDDER, settings), organisation.coach_a, question, now=now)]
    assert isinstance(done, Done)
    return done


async def add_provider(settings: Settings, name: str, base_url: str | None, kind: str = "openai_compatible") -> UUID:
    """Make a provider as the operator does, who owns the tables."""
    engine = create_engine(owner_url(settings))
    provider_id = uuid4()
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO platform.llm_providers (id, name, type, base_url) VALUES (:id, :name, :kind, :url)"),
            {"id": provider_id, "name": f"{name}-{provider_id.hex[:6]}", "kind": kind, "url": base_url},
        )
    engine.dispose()
    return provider_id


async def configure(organisation: Organisation, *providers: UUID) -> None:
    async with tenant_session(organisation.admin) as session:
        session.add_all(
            TenantLlmConfig(tenant_id=organisation.tenant_id, provider_id=provider_id, model_name=f"m{n}", priority=n)
            for n, provider_id in enumerate(providers)
        )


async def test_operators_model_answers_with_its_usage(organisation: Organisation, model: ModelServer) -> None:
    model.replies.append(stream_reply(say(SAID)))
    done = await ask(organisation, OPERATOR.model_copy(update={"base_url": model.url}))
    assert done.provider == "default/big"
    assert done.text == SAID
    assert (done.input_tokens, done.output_tokens) == (70, 12)
    (request,) = model.requests
    assert request.headers["authorization"] == "Bearer operators-key"
    assert request.body["model"] == "big"


async def test_provider_that_is_down_leaves_the_answer_to_quotes(
    organisation: Organisation, model: ModelServer
) -> None:
    model.replies.append(error_reply(401, code="invalid_api_key"))
    done = await ask(organisation, OPERATOR.model_copy(update={"base_url": model.url}))
    assert done.provider == "extractive"
    assert "Tobias by Friday" in done.text
    assert [failure.error for failure in done.failures] == ["KeyRefused"]


async def test_tenants_order_decides_and_the_operators_key_stays_home(
    store: Settings, organisation: Organisation, model: ModelServer
) -> None:
    await configure(
        organisation,
        await add_provider(store, "foreign", model.url),
        await add_provider(store, "ours", None),
        await add_provider(store, "quotes", None, "extractive"),
        await add_provider(store, "never", None),
    )
    async with tenant_session(organisation.coach_a) as session:
        choices = await list_models(session, OPERATOR)
    assert [choice.provider.name.split("-")[0] for choice in choices] == ["foreign", "ours"]
    model.replies.append(stream_reply(say(SAID)))
    async for _ in choices[0].provider.stream([Message("user", "Hello")], max_tokens=16, temperature=None):
        pass
    assert "operators-key" not in str(model.requests)


async def test_tenant_may_want_quotes_only(store: Settings, organisation: Organisation) -> None:
    await configure(organisation, await add_provider(store, "quotes", None, "extractive"))
    async with tenant_session(organisation.coach_a) as session:
        assert await list_models(session, OPERATOR) == []
