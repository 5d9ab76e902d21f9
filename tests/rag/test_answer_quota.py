"""Answers stay within their tenant's limits: refused before they begin, covered call by call, counted once."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import QuotaExceeded
from db.models import AgentRun, ChatMessage, QuotaReservation
from db.session import Principal, tenant_session
from domain import chat
from domain.prices import Price, PriceTable
from domain.quotas import BudgetExhausted, ModelPriceUnknown, TokensUsedUp
from rag import answer_models
from rag.answer import Assistant, Done, answer, settle
from rag.fakes import ScriptedChat
from rag.providers.errors import ProviderUnavailable
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session
from tests.factories.usage import PaidEmbedder, limit, read_quotas, read_usage

NOW = datetime(2026, 6, 1, tzinfo=UTC)
D = Decimal
TURNS = [
    ("coach", "What will you do about the pager?"),
    ("client", "I'll hand the pager to Tobias by Friday the thirteenth. I mean it this time."),
]
QUESTION = "What did Amina say about the pager?"
GOOD = "Amina said she will hand the pager to Tobias by Friday [1]."
PRICES = PriceTable((Price("*", "scripted", D(1), D(2), None, datetime(2020, 1, 1, tzinfo=UTC)),))


@pytest.fixture
async def people(organisation: Organisation) -> Organisation:
    await name_people(organisation)
    await store_session(organisation, TURNS, held_at=datetime(2026, 3, 12, 9, tzinfo=UTC))
    return organisation


def use_models(monkeypatch: pytest.MonkeyPatch, *models: ScriptedChat, prices: PriceTable = PRICES) -> None:
    async def chosen(*_: object) -> list[answer_models.ModelChoice]:
        return [answer_models.ModelChoice(model, 200, None, prices) for model in models]

    monkeypatch.setattr("rag.answer.list_models", chosen)


async def ask(reader: Principal, assistant: Assistant | None = None, **more: Any) -> Done:
    *_, done = [event async for event in answer(assistant or Assistant(EMBEDDER), reader, QUESTION, now=NOW, **more)]
    assert isinstance(done, Done)
    return done


async def count_runs(organisation: Organisation) -> tuple[int, int]:
    async with tenant_session(organisation.system) as session:
        runs = await session.scalar(select(func.count()).select_from(AgentRun))
        held = await session.scalar(select(func.count()).select_from(QuotaReservation))
    return runs or 0, held or 0


async def test_every_answer_is_counted(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(people.coach_a)
    found = (await read_usage(people))["chat"]
    assert (found.requests, found.input_tokens, found.cost_usd, found.unpriced) == (1, 0, D(0), 0)
    use_models(monkeypatch, ScriptedChat([[GOOD]]))
    done = await ask(people.coach_a)
    found = (await read_usage(people))["chat"]
    assert (found.requests, found.input_tokens, found.output_tokens) == (2, done.input_tokens, done.output_tokens)
    assert found.cost_usd == done.cost_usd == (D(done.input_tokens) + 2 * D(done.output_tokens)) / 1_000_000
    assert (await count_runs(people))[1] == 0


async def test_a_model_without_a_price_is_counted_as_unpriced(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_models(monkeypatch, ScriptedChat([[GOOD]]), prices=PriceTable())
    done = await ask(people.coach_a)
    found = (await read_usage(people))["chat"]
    assert done.cost_usd is None
    assert (found.cost_usd, found.unpriced, found.input_tokens) == (None, 1, done.input_tokens)


async def test_an_answer_beyond_the_limit_is_refused_before_it_begins(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedChat([[GOOD]])
    use_models(monkeypatch, model)
    await limit(people, tokens=1)
    async with tenant_session(people.coach_a) as session:
        conversation = (await chat.create_session(session, user_id=people.coach_a.user_id)).id
    await ask(people.coach_a, session_id=conversation)  # as long as any is left, one may begin
    asked: list[dict[str, Any]] = [{}, {"session_id": conversation, "key": "again"}]
    for more in asked:
        with pytest.raises(TokensUsedUp):
            await ask(people.coach_a, **more)
    assert len(model.calls) == 1
    assert await count_runs(people) == (1, 0)
    async with tenant_session(people.coach_a) as session:
        assert await session.scalar(select(func.count()).select_from(ChatMessage)) == 2


async def test_what_costs_nothing_is_never_refused(people: Organisation) -> None:
    await limit(people, tokens=0, usd=D(0))
    assert not (await ask(people.coach_a)).refused


async def test_a_budget_needs_a_price(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedChat([[GOOD]])
    use_models(monkeypatch, model, prices=PriceTable())
    await limit(people, usd=D(5))
    with pytest.raises(ModelPriceUnknown, match="scripted"):
        await ask(people.coach_a)
    use_models(monkeypatch, model)
    await ask(people.coach_a)
    await limit(people, usd=D("0.0001"))
    with pytest.raises(BudgetExhausted):
        await ask(people.coach_a)
    assert len(model.calls) == 1


async def test_where_passages_are_longer_than_foretold_quotes_answer(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.answer_quota.PASSAGE_TOKENS", 0)
    first, second = ScriptedChat([[GOOD]]), ScriptedChat([[GOOD]])
    use_models(monkeypatch, first, second)
    await limit(people, tokens=10)
    done = await ask(people.coach_a)
    assert (len(first.calls), len(second.calls), done.provider) == (0, 0, "extractive")
    assert {failure.error for failure in done.failures} == {"TokensUsedUp"}
    assert "Tobias" in done.text
    await limit(people, tokens=100_000)
    assert (await ask(people.coach_a)).provider == "scripted"


async def test_an_answer_that_breaks_off_is_paid_for(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    use_models(monkeypatch, ScriptedChat([["Amina said she will", ProviderUnavailable()]]))
    await limit(people, tokens=100_000)
    done = await ask(people.coach_a)
    assert (done.provider, done.input_tokens) == ("extractive", 0)  # the model told nothing
    found = (await read_usage(people))["chat"]
    assert found.input_tokens > 100
    assert 5 <= found.output_tokens <= 10
    assert (await read_quotas(people))["tokens"].reserved == 0


async def test_a_caller_who_leaves_gives_back_what_was_set_aside(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_models(monkeypatch, ScriptedChat([[GOOD, 5.0, GOOD]]))
    await limit(people, tokens=100_000)
    events = answer(Assistant(EMBEDDER), people.coach_a, QUESTION, now=NOW)
    async with aclosing(events):
        await anext(events)
        assert (await read_quotas(people))["tokens"].reserved > 1_000
    await settle()
    assert (await read_quotas(people))["tokens"].reserved == 0
    assert (await read_usage(people))["chat"].requests == 1


async def test_a_paid_embedder_counts(people: Organisation) -> None:
    embedder = PaidEmbedder(dimensions=EMBEDDER.dimensions)
    done = await ask(people.coach_a, Assistant(embedder))
    assert done.input_tokens == 0
    found = (await read_usage(people))["chat"]
    assert found.input_tokens == embedder.asked > 0
    assert found.cost_usd == D(embedder.asked) * D("0.02") / 1_000_000
    await limit(people, tokens=1)
    with pytest.raises(TokensUsedUp):
        await ask(people.coach_a, Assistant(embedder))


async def test_two_hundred_questions_side_by_side_overshoot_by_one_at_most(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_models(monkeypatch, ScriptedChat([[0.02, GOOD]]))
    trial = await ask(people.coach_a)
    each = trial.input_tokens + trial.output_tokens
    start = (await read_quotas(people))["tokens"].used
    most = int(start) + 20 * each + each // 2
    await limit(people, tokens=most)
    refused = answered = 0

    async def one() -> None:
        nonlocal refused, answered
        try:
            await ask(people.coach_a)
        except QuotaExceeded as error:
            refused += error.context["limit"] == most
        else:
            answered += 1

    await asyncio.gather(*(one() for _ in range(200)))
    quota = (await read_quotas(people))["tokens"]
    print(f"200 at once: {answered} answered, {refused} refused, used {quota.used} of {most}, one takes {each}")  # noqa: T201
    assert answered + refused == 200
    assert quota.used == start + answered * each
    assert quota.used <= most + each
    assert quota.reserved == 0
    while True:  # those who come back find what is left, to the last
        try:
            await ask(people.coach_a)
        except QuotaExceeded:
            break
    quota = (await read_quotas(people))["tokens"]
    print(f"after those who came back: used {quota.used} of {most}, {quota.used - most} over")  # noqa: T201
    assert most <= quota.used <= most + each


async def test_two_hundred_questions_stay_within_a_budget(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_models(monkeypatch, ScriptedChat([[0.02, GOOD]]))
    await limit(people, usd=D("0.05"))
    over: list[Decimal] = []

    async def one() -> bool:
        try:
            await ask(people.coach_a)
        except BudgetExhausted:
            return False
        quota = (await read_quotas(people))["usd"]
        over.append(quota.used + quota.reserved)
        return True

    answered = sum(await asyncio.gather(*(one() for _ in range(200))))
    quota = (await read_quotas(people))["usd"]
    assert 0 < answered < 200
    assert max(over) <= D("0.05")
    assert quota.used <= D("0.05")
    assert quota.reserved == 0
