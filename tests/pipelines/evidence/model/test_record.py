"""What a session's claims cost and why some did not come stands in the store, and nobody's budget is overrun."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from core.errors import Unavailable
from db.models import AgentFailure, AgentRun
from db.session import Principal, StoreUnavailable, tenant_session
from domain import chat, quotas
from domain.budget import BudgetExhausted, ModelPriceUnknown, get_budget
from pipelines.evidence.model import ask, forecast, propose_by_model
from pipelines.evidence.model.record import AGENT_TYPE
from rag.answer_models import ModelChoice
from rag.fakes import ScriptedChat
from rag.providers.errors import KeyRefused, ProviderUnavailable
from tests.domain.test_budget import limit
from tests.factories.people import Organisation
from tests.pipelines.evidence.model.session import TALK, claim, make_session, write

LONG = [(label, f"{words} And so on, as we said in week {n}." * 3) for n in range(30) for label, words in TALK]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "BACKOFF_S", 0.0)


def scripted(*answers: Sequence[str | float | Exception], model: str = "gpt-4o-mini") -> ModelChoice:
    return ModelChoice(ScriptedChat(answers, "scripted", model=model), 1024, None)


async def list_runs(organisation: Organisation) -> list[AgentRun]:
    async with tenant_session(organisation.system) as session:
        query = select(AgentRun).where(AgentRun.agent_type == AGENT_TYPE).order_by(AgentRun.started_at)
        return list(await session.scalars(query))


async def list_failures(organisation: Organisation, run_id: UUID) -> list[AgentFailure]:
    async with tenant_session(organisation.system) as session:
        query = select(AgentFailure).where(AgentFailure.agent_run_id == run_id).order_by(AgentFailure.error_type)
        return list(await session.scalars(query))


async def get_spent(organisation: Organisation) -> tuple[Decimal, Decimal]:
    async with tenant_session(organisation.system) as session:
        budget = await get_budget(session)
    return budget.spent_usd, budget.reserved_usd


async def test_a_run_is_kept_with_what_it_took(organisation: Organisation) -> None:
    session = make_session()
    proposal = await propose_by_model(
        session, [scripted([write(claim(), {"type": "goal"})])], record=organisation.system
    )
    (run,) = await list_runs(organisation)
    assert run.id == proposal.run_id == proposal.claims[0].method.run_id
    assert (run.status, run.user_id, run.session_id) == ("succeeded", None, None)
    assert run.completed_at is not None
    assert proposal.cost_usd is not None
    assert proposal.cost_usd > 0
    facts = run.metadata_
    assert Decimal(facts["cost_usd"]) == proposal.cost_usd
    assert facts["transcript_id"] == str(session.transcript_id)
    assert facts["models"] == ["scripted"]
    assert facts["input_tokens"] == proposal.usage[0].input_tokens
    assert facts["dropped"] == {"invalid": 1}
    assert (facts["requests"], facts["windows"], facts["answered"], facts["claims"]) == (1, 1, 1, 1)
    assert await get_spent(organisation) == (proposal.cost_usd, Decimal(0))
    assert await list_failures(organisation, run.id) == []


async def test_what_was_not_counted_is_marked_as_estimated(organisation: Organisation) -> None:
    breaks_off = scripted(['{"claims": [', ProviderUnavailable()], [write(claim())])
    await propose_by_model(make_session(), [breaks_off], record=organisation.system)
    (run,) = await list_runs(organisation)
    assert (run.metadata_["requests"], run.metadata_["estimated"], run.metadata_["answered"]) == (2, 1, 1)


async def test_failures_are_kept_under_their_run(organisation: Organisation) -> None:
    down = scripted([ProviderUnavailable("The service is down. " + "x" * 2_000)])
    refused = scripted([KeyRefused("The key is wrong.")])
    proposal = await propose_by_model(make_session(), [down, refused], record=organisation.system)
    assert proposal.claims == []
    (run,) = await list_runs(organisation)
    assert run.status == "failed"
    failures = await list_failures(organisation, run.id)
    assert [(one.error_type, one.retryable) for one in failures] == [
        ("KeyRefused", False), ("ProviderUnavailable", True), ("ProviderUnavailable", True),
    ]  # fmt: skip
    assert failures[0].error_message == "scripted: The key is wrong."
    assert len(failures[1].error_message) == 500
    assert run.metadata_["cost_usd"] == "0"


async def test_without_a_principal_nothing_is_kept(organisation: Organisation) -> None:
    await limit(organisation, "0")
    proposal = await propose_by_model(make_session(), [scripted([write(claim())])])
    assert proposal.run_id is None
    assert len(proposal.claims) == 1
    assert await list_runs(organisation) == []


async def test_nothing_is_sent_beyond_the_budget(organisation: Organisation) -> None:
    await limit(organisation, "0.0001")
    model = scripted([write(claim())])
    with pytest.raises(BudgetExhausted, match="does not fit into this month's budget"):
        await propose_by_model(make_session(), [model], record=organisation.system)
    assert isinstance(model.provider, ScriptedChat)
    assert model.provider.calls == []
    (run,) = await list_runs(organisation)
    assert run.status == "failed"
    assert [one.error_type for one in await list_failures(organisation, run.id)] == ["BudgetExhausted"]
    assert await get_spent(organisation) == (Decimal(0), Decimal(0))


async def test_a_model_without_a_price_is_not_asked_where_there_is_a_limit(organisation: Organisation) -> None:
    await limit(organisation, "100")
    unpriced = scripted([write(claim())], model="house-model")
    with pytest.raises(ModelPriceUnknown, match="house-model"):
        await propose_by_model(make_session(), [unpriced], record=organisation.system)
    await limit(organisation, None)
    proposal = await propose_by_model(make_session(), [unpriced], record=organisation.system)
    assert len(proposal.claims) == 1
    assert proposal.cost_usd is None
    runs = await list_runs(organisation)
    assert runs[-1].metadata_["cost_usd"] is None
    assert runs[-1].metadata_["cost_known"] is False


async def test_the_budget_ends_a_session_early(organisation: Organisation) -> None:
    session = make_session(LONG)
    model = scripted([write(claim())])
    expected = forecast([session], [model])
    assert expected.most_usd is not None
    most_of_one = expected.most_usd / expected.requests
    await limit(organisation, str((most_of_one * Decimal("1.5")).quantize(Decimal("0.0001"))))
    proposal = await propose_by_model(session, [model], record=organisation.system)
    assert isinstance(model.provider, ScriptedChat)
    assert 1 <= len(model.provider.calls) < proposal.windows
    assert not proposal.whole
    assert proposal.stopped
    assert "budget" in proposal.stopped
    assert len(proposal.claims) == 1
    (run,) = await list_runs(organisation)
    assert run.status == "succeeded"
    assert [one.error_type for one in await list_failures(organisation, run.id)] == ["BudgetExhausted"]
    spent, reserved = await get_spent(organisation)
    assert spent == proposal.cost_usd
    assert reserved == 0


async def test_what_was_set_aside_and_not_spent_is_there_for_the_next(organisation: Organisation) -> None:
    session = make_session(LONG)
    model = scripted([write(claim())])
    expected = forecast([session], [model])
    assert expected.most_usd is not None
    trial = await propose_by_model(session, [model])
    assert trial.cost_usd is not None
    enough = trial.cost_usd + expected.most_usd * 4 / expected.requests  # three requests are under way at once
    assert enough < expected.most_usd
    await limit(organisation, str(enough))
    proposal = await propose_by_model(session, [model], record=organisation.system)
    assert proposal.whole
    assert await get_spent(organisation) == (trial.cost_usd, Decimal(0))


async def test_sessions_side_by_side_do_not_pass_the_limit(organisation: Organisation) -> None:
    sessions = [make_session(LONG) for _ in range(4)]
    slow = scripted([0.02, write(claim())])
    expected = forecast(sessions[:1], [slow])
    assert expected.most_usd is not None
    await limit(organisation, "0.02")
    assert expected.most_usd * 4 > Decimal("0.02")
    over: list[Decimal] = []

    async def watch() -> None:
        while True:
            spent, reserved = await get_spent(organisation)
            over.append(spent + reserved)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    results = await asyncio.gather(
        *(propose_by_model(one, [slow], record=organisation.system) for one in sessions), return_exceptions=True
    )
    watching.cancel()
    assert max(over) <= Decimal("0.02")
    assert all(isinstance(one, BudgetExhausted) or not isinstance(one, BaseException) for one in results)
    spent, reserved = await get_spent(organisation)
    assert 0 < spent <= Decimal("0.02")
    assert reserved == 0


async def test_a_task_that_is_stopped_pays_for_what_it_sent(organisation: Organisation) -> None:
    slow = scripted(["half an ans", 60.0, "wer"])
    task = asyncio.create_task(propose_by_model(make_session(), [slow], record=organisation.system))
    assert isinstance(slow.provider, ScriptedChat)
    while not slow.provider.calls:  # noqa: ASYNC110 - a script has no event to wait for
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # the half that comes before its pause
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (run,) = await list_runs(organisation)
    assert run.status == "cancelled"
    spent, reserved = await get_spent(organisation)
    assert spent > 0
    assert reserved == 0


async def test_a_run_that_died_ends_at_the_next(organisation: Organisation) -> None:
    session = make_session()
    dead, recent, other = uuid4(), uuid4(), uuid4()
    long_ago = datetime.now(UTC) - timedelta(minutes=20)
    about: dict[UUID, dict[str, Any]] = {
        dead: {"transcript_id": str(session.transcript_id), "cost_usd": "0.5"},
        recent: {"transcript_id": str(session.transcript_id)},
        other: {"transcript_id": str(uuid4())},
    }  # fmt: skip
    async with tenant_session(organisation.system) as opened:
        for run_id, metadata in about.items():
            await chat.start_run(opened, run_id=run_id, user_id=None, session_id=None, agent_type=AGENT_TYPE)
            await opened.execute(
                update(AgentRun).where(AgentRun.id == run_id).values(metadata_=metadata, started_at=long_ago)
            )
        await quotas.reserve(opened, recent, usd=Decimal(1), always=True)  # it asks at this moment
    await propose_by_model(session, [scripted([write()])], record=organisation.system)
    runs = {run.id: run for run in await list_runs(organisation)}
    assert [runs[run_id].status for run_id in (dead, recent, other)] == ["failed", "running", "running"]
    assert runs[dead].metadata_["cost_usd"] == "0.5"


async def test_a_store_that_is_gone_is_told(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(ask, "reserve", fail)
    with pytest.raises(Unavailable):
        await propose_by_model(make_session(LONG), [scripted([write()])], record=organisation.system)
    (run,) = await list_runs(organisation)
    assert run.status == "failed"


async def test_another_tenant_sees_nothing_of_it(organisation: Organisation) -> None:
    await propose_by_model(make_session(), [scripted([write(claim())])], record=organisation.system)
    for reader in (organisation.coach_a, organisation.admin, Principal(organisation.tenant_id, "system")):
        async with tenant_session(reader) as session:
            seen = list(await session.scalars(select(AgentRun).where(AgentRun.agent_type == AGENT_TYPE)))
        assert len(seen) == (1 if reader.role == "system" else 0)
