"""Stored answers are scored only while everyone allows it, once each, without anybody's words, and within budgets."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from core.errors import Unavailable
from core.settings import EvaluationSettings, ModelSettings, Settings
from db.models import AgentRun, IngestedObject, RagEvaluation, RagMetric, TenantQuota
from db.session import Principal, tenant_session
from domain import chat
from domain.budget import get_budget
from domain.consents import withdraw_consent
from evaluation import online_answers
from evaluation.judge import MAX_TOKENS
from evaluation.online import ScoringReport, score_answers
from evaluation.online_judge import AGENT_TYPE, CALLS, BudgetedJudge, open_judge
from evaluation.records import Response
from evaluation.run import Verdict
from evaluation.suites import Case
from rag.answer import Assistant, Done, answer
from rag.embedding import Matrix
from rag.fakes import HashEmbedder
from tests.factories.answers import Answered, agree, store_answer
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, Stored, require_id, store_session
from tests.factories.waiting import until_blocked

TURNS = [
    ("coach", "What will you do about the pager?"),
    ("client", "I will hand the pager to Tobias by Friday. I mean it this time."),
]
PROMISE = "I will hand the pager to Tobias by Friday."
PRICED = ModelSettings(model="gpt-4o-mini", api_key=SecretStr("k"))


@pytest.fixture
async def session_a(organisation: Organisation) -> Stored:
    return await store_session(organisation, TURNS)


async def score(organisation: Organisation, **options: Any) -> ScoringReport:
    now = datetime.now(UTC)
    window: dict[str, Any] = {"since": now - timedelta(days=1), "until": now + timedelta(minutes=1), "count": 50}
    return await score_answers(organisation.tenant_id, options.pop("embedder", EMBEDDER), **(window | options))


async def read(organisation: Organisation, reader: Principal | None = None) -> list[RagEvaluation]:
    async with tenant_session(reader or organisation.system) as session:
        return list(await session.scalars(select(RagEvaluation).order_by(RagEvaluation.created_at)))


async def read_scores(organisation: Organisation, scorer: str = "words") -> list[dict[str, Any]]:
    async with tenant_session(organisation.evaluator) as session:
        return [row.scores for row in await session.scalars(select(RagMetric).where(RagMetric.scorer == scorer))]


async def agree_both(organisation: Organisation) -> None:
    await agree(organisation.coach_a)
    await agree(organisation.client_a)


async def test_nothing_is_scored_without_consent(organisation: Organisation, session_a: Stored) -> None:
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    assert await score(organisation) == ScoringReport()
    await agree(organisation.coach_a)  # the client whose words are cited has not agreed
    assert (await score(organisation)).sampled == 0
    await agree(organisation.client_a)
    assert (await score(organisation)).scored == 1


async def test_what_words_tell_of_an_answer_is_kept_without_words(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    asked = "What will the client do about the pager?"
    async with tenant_session(organisation.coach_a) as session:
        conversation = (await chat.create_session(session, user_id=organisation.coach_a.user_id)).id
    *_, done = [e async for e in answer(Assistant(EMBEDDER), organisation.coach_a, asked, session_id=conversation)]
    assert isinstance(done, Done)
    assert not done.refused
    assert (await score(organisation)).scored == 1
    (row,) = await read(organisation, organisation.coach_a)
    assert (row.message_id, row.session_id, row.status, row.experiment_id) == (
        done.message_id, conversation, "scored", None,
    )  # fmt: skip
    assert (row.query, row.answer, row.retrieved_contexts) == (asked, None, [])
    assert row.details == {"embedder": EMBEDDER.name, "judge": None, "judge_errors": {}}
    (scores,) = await read_scores(organisation)
    assert scores["support"] > 0.7
    assert scores["answer_relevance"] > 0.3
    assert (scores["cited_sentences"], scores["refused"], scores["scope_coverage"]) == (1.0, 0.0, 1.0)
    assert scores["citations_per_sentence"] >= 1
    assert scores["total_ms"] > 0
    assert scores["search_ms"] > 0
    assert (scores["tokens"], scores["cost_usd"]) == (0.0, 0.0)
    assert all(value is None or isinstance(value, float) for value in scores.values())


async def test_only_whoever_asked_reads_the_row_and_evaluators_read_its_numbers(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    await score(organisation)
    for name, person in organisation.people.items():
        assert len(await read(organisation, person)) == (name == "coach_a"), name
    assert len(await read_scores(organisation)) == 1


async def test_words_that_are_not_cited_cost_support_and_a_refusal_has_none(
    organisation: Organisation, session_a: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    monkeypatch.setattr(
        "tests.factories.answers.chat.StoredSentence",
        lambda _text, cited, told=(): chat_sentence("The kitchen burnt down in Lisbon.", cited, told),
    )
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    monkeypatch.undo()
    await store_answer(organisation.coach_a)
    report = await score(organisation)
    assert (report.scored, report.refused) == (2, 1)
    assert report.summarize() == "3 answers scored, 1 of them refusals."
    supports = sorted(one["support"] for one in await read_scores(organisation) if one["support"] is not None)
    assert supports[0] < 0.2
    assert supports[1] > 0.6
    (refusal,) = [one for one in await read_scores(organisation) if one["refused"]]
    assert (refusal["support"], refusal["cited_sentences"], refusal["answer_relevance"]) == (None, None, None)
    assert [row.status for row in await read(organisation)].count("refused") == 1


chat_sentence = chat.StoredSentence


async def test_a_second_run_scores_nothing_again_and_the_count_is_for_the_window(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    for _ in range(4):
        await store_answer(organisation.coach_a, (session_a, PROMISE))
    heard: list[tuple[int, int]] = []
    first = await score(organisation, count=3, told=lambda done, whole: heard.append((done, whole)))
    assert (first.sampled, first.scored, heard) == (3, 3, [(1, 3), (2, 3), (3, 3)])
    assert (await score(organisation, count=3)).sampled == 0
    assert (await score(organisation)).scored == 1
    assert (await score(organisation)).sampled == 0
    assert len({row.message_id for row in await read(organisation)}) == 4


async def test_a_share_draws_some_and_always_the_same(organisation: Organisation, session_a: Stored) -> None:
    await agree_both(organisation)
    for _ in range(12):
        await store_answer(organisation.coach_a, (session_a, PROMISE))
    drawn = (await score(organisation, share=0.5)).sampled
    assert 0 < drawn < 12
    assert (await score(organisation, share=0.5)).sampled == 0
    assert (await score(organisation)).sampled == 12 - drawn


async def test_older_answers_and_other_organisations_are_left_alone(
    organisation: Organisation, session_a: Stored
) -> None:
    from tests.factories.people import found_organisation

    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    now = datetime.now(UTC)
    assert (await score(organisation, since=now - timedelta(days=2), until=now - timedelta(days=1))).sampled == 0
    assert (await score(await found_organisation())).sampled == 0


@pytest.mark.parametrize("who", ["coach_a", "client_a"])
async def test_withdrawing_a_consent_removes_scores_at_once(
    organisation: Organisation, session_a: Stored, who: str
) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    await store_session(organisation, TURNS, again=session_a)  # which takes the rows of message_citations away
    await score(organisation)
    assert len(await read(organisation)) == len(await read_scores(organisation)) == 1
    person = organisation.people[who]
    async with tenant_session(person) as session:
        await withdraw_consent(session, user_id=require_id(person), purpose="evaluation")
    assert await read(organisation) == []
    assert await read_scores(organisation) == []


class PausingEmbedder(HashEmbedder):
    """Does something of a test's before it embeds."""

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Do it, then embed."""
        await self.pause()
        return await super().embed(texts)

    async def pause(self) -> None:
        """Do nothing yet."""


async def test_a_consent_withdrawn_while_scoring_costs_its_answers_and_no_other(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    await agree(organisation.client_b)
    other = await store_session(organisation, TURNS, client=organisation.client_b)
    mine = await store_answer(organisation.coach_a, (session_a, PROMISE))
    kept = await store_answer(organisation.coach_a, (other, PROMISE))
    withdrawn = False

    class Withdrawing(PausingEmbedder):
        async def pause(self) -> None:
            nonlocal withdrawn
            if not withdrawn:
                withdrawn = True
                async with tenant_session(organisation.client_a) as session:
                    await withdraw_consent(session, user_id=require_id(organisation.client_a), purpose="evaluation")

    report = await score(organisation, embedder=Withdrawing())
    assert [row.message_id for row in await read(organisation)] == [kept.message_id] != [mine.message_id]
    assert (report.withdrawn, report.scored) == (1, 1)


async def test_a_withdrawal_waits_for_a_score_that_is_being_stored_and_removes_it(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    stored = await store_answer(organisation.coach_a, (session_a, PROMISE))
    insert = text(
        "INSERT INTO evaluation.rag_evaluations (tenant_id, session_id, user_id, query, status, message_id,"
        " message_created_at) SELECT tenant_id, session_id, user_id, '', 'scored', id, created_at"
        " FROM chat.chat_messages WHERE id = :id"
    )

    async def withdraw() -> None:
        async with tenant_session(organisation.client_a) as session:
            await withdraw_consent(session, user_id=require_id(organisation.client_a), purpose="evaluation")

    async with tenant_session(organisation.system) as session:
        await session.execute(insert, {"id": stored.message_id})
        waiting = asyncio.create_task(withdraw())
        await until_blocked(session, waiting)
    await waiting
    assert await read(organisation) == []


async def test_what_whoever_asked_may_no_longer_see_is_not_scored(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    async with tenant_session(organisation.system) as session:
        await session.execute(update(IngestedObject).values(visibility="system_internal"))
    report = await score(organisation)
    assert (report.withheld, report.scored) == (1, 0)
    assert await read(organisation) == []


async def test_a_failure_is_recorded_with_its_sentence_and_the_rest_go_on(
    organisation: Organisation, session_a: Stored
) -> None:
    await agree_both(organisation)
    for _ in range(3):
        await store_answer(organisation.coach_a, (session_a, PROMISE))
    outages: list[Exception] = [Unavailable("The embedding service does not answer."), ValueError("a defect")]

    class Failing(PausingEmbedder):
        async def pause(self) -> None:
            if outages:
                raise outages.pop(0)

    report = await score(organisation, embedder=Failing())
    assert (report.failed, report.scored) == (2, 1)
    errors = sorted(row.error or "" for row in await read(organisation))
    assert errors == [
        "", "The embedding service does not answer.", "This answer broke the scorer; the log says where.",
    ]  # fmt: skip
    assert len(await read_scores(organisation)) == 1
    assert (await score(organisation)).sampled == 0


async def test_what_an_answer_took_is_read_from_its_run(organisation: Organisation, session_a: Stored) -> None:
    await agree_both(organisation)
    stored = await store_answer(organisation.coach_a, (session_a, PROMISE))
    run_id = uuid4()
    async with tenant_session(organisation.system) as session:
        await chat.start_run(
            session, run_id=run_id, user_id=stored.asker.user_id, session_id=stored.session_id, agent_type="assistant"
        )
        facts = {"seconds": 1.5, "timings_ms": {"search": 12.5}, "input_tokens": 900, "output_tokens": 60}
        await chat.finish_run(session, run_id, "succeeded", metadata=facts | {"cost_usd": "0.0123"})
        efforts = await online_answers.list_efforts(session, [await as_stored(organisation, stored)])
    assert efforts == {}  # the run is another answer's
    effort = online_answers._read_effort(facts | {"cost_usd": "0.0123"})
    assert effort == online_answers.Effort({"search_ms": 12.5, "total_ms": 1500.0}, 900, 60, Decimal("0.0123"))
    assert online_answers._read_effort({"cost_usd": None}).cost_usd is None


async def as_stored(organisation: Organisation, one: Answered) -> online_answers.Stored:
    return online_answers.Stored(
        one.message_id, datetime.now(UTC), one.session_id, require_id(one.asker), one.asker.role
    )  # fmt: skip


@dataclass
class CountingJudge:
    """Finds everything faithful, for a price."""

    cost: Decimal | None = Decimal("0.01")
    asked: int = 0
    closed: bool = False
    seen: Response | None = None
    name: str = "counting"

    async def score(self, case: Case, response: Response) -> Verdict:  # noqa: ARG002  # as judges are asked
        """Return full marks."""
        self.asked += 1
        self.seen = response
        scores = {"faithfulness": 1.0, "hallucination": 0.0, "response_relevancy": None}
        return Verdict(scores=scores, errors={"response_relevancy": "It broke."}, cost_usd=self.cost)

    def forecast_usd(self) -> Decimal | None:
        """Return the price."""
        return self.cost

    async def aclose(self) -> None:
        """Note it."""
        self.closed = True


async def judge_window(
    organisation: Organisation, judge: CountingJudge, *, usd: str | None, model: ModelSettings = PRICED
) -> ScoringReport:
    now = datetime.now(UTC)
    settings = Settings(
        llm=model, evaluation=EvaluationSettings(judge_budget_usd=None if usd is None else Decimal(usd))
    )
    async with AsyncExitStack() as exits:
        opened, why = await exits.enter_async_context(
            open_judge(
                organisation.tenant_id, settings, EMBEDDER, since=now - timedelta(days=1), build=lambda *_: judge
            )
        )
        report = await score(organisation, judge=opened)
    report.judge_note = report.judge_note or why
    return report


async def spend(organisation: Organisation) -> list[tuple[str, str | None]]:
    async with tenant_session(organisation.system) as session:
        runs = await session.scalars(select(AgentRun).where(AgentRun.agent_type == AGENT_TYPE))
        return [(run.status, run.metadata_.get("cost_usd")) for run in runs]


async def test_a_judge_stops_where_the_next_answer_may_not_fit(organisation: Organisation, session_a: Stored) -> None:
    await agree_both(organisation)
    for _ in range(4):
        await store_answer(organisation.coach_a, (session_a, PROMISE))
    await store_answer(organisation.coach_a)  # a refusal is nothing to judge
    judge = CountingJudge()
    # five replies of the longest kind cost about 2.5 cents: three times a cent and that fit into 5 cents
    assert Decimal("0.024") < Decimal(CALLS * MAX_TOKENS) * Decimal("0.6") / 1_000_000 < Decimal("0.025")
    report = await judge_window(organisation, judge, usd="0.05")
    assert (report.scored, report.judged, judge.asked, report.cost_usd) == (4, 3, 3, Decimal("0.03"))
    assert report.judge_note.startswith("The judge stopped after 3 answers: the next may cost up to $0.02")
    assert await spend(organisation) == [("succeeded", "0.03")]
    assert judge.closed
    judged = await read_scores(organisation, "judge")
    assert judged == [{"faithfulness": 1.0, "hallucination": 0.0, "response_relevancy": None}] * 3
    assert judge.seen is not None
    assert PROMISE in judge.seen.contexts[0]
    assert "What will you do about the pager?" in judge.seen.contexts[0]  # what was said around it
    rows = [row for row in await read(organisation, organisation.coach_a) if row.details["judge"]]
    assert [row.details["judge_errors"] for row in rows] == [{"response_relevancy": "It broke."}] * 3
    # a second run of the window goes on with what is left of its budget
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    again = await judge_window(organisation, judge, usd="0.05")
    assert (again.scored, again.judged, judge.asked) == (1, 0, 3)


async def test_the_months_budget_stops_the_judge_too(organisation: Organisation, session_a: Stored) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    async with tenant_session(organisation.system) as session:
        session.add(TenantQuota(tenant_id=organisation.tenant_id, max_model_usd_month=Decimal("0.02")))
    judge = CountingJudge()
    report = await judge_window(organisation, judge, usd="5")
    assert (report.scored, judge.asked) == (1, 0)
    assert "does not fit into this month's budget" in report.judge_note


@pytest.mark.parametrize(
    ("usd", "model", "said"),
    [
        ("0", PRICED, "no budget is set"),
        ("1", ModelSettings(), "no model is set"),
        ("1", ModelSettings(model="house-model"), "the price of house-model is not known"),
    ],
)
async def test_without_budget_model_or_price_no_judge_is_asked_and_it_is_said(
    organisation: Organisation, session_a: Stored, usd: str, model: ModelSettings, said: str
) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    judge = CountingJudge()
    report = await judge_window(organisation, judge, usd=usd, model=model)
    assert (report.scored, judge.asked, await spend(organisation)) == (1, 0, [])
    assert said in report.judge_note


async def test_without_a_limit_a_model_without_a_price_may_judge(organisation: Organisation, session_a: Stored) -> None:
    await agree_both(organisation)
    await store_answer(organisation.coach_a, (session_a, PROMISE))
    judge = CountingJudge(cost=None)
    report = await judge_window(organisation, judge, usd=None, model=ModelSettings(model="house-model"))
    assert (report.judged, report.cost_usd, await spend(organisation)) == (1, None, [("succeeded", None)])


async def test_a_broken_judge_costs_what_was_set_aside(organisation: Organisation) -> None:
    class Broken(CountingJudge):
        async def score(self, case: Case, response: Response) -> Verdict:  # noqa: ARG002  # as judges are asked
            raise ValueError("a defect")

    run_id = uuid4()
    async with tenant_session(organisation.system) as session:
        await chat.start_run(session, run_id=run_id, user_id=None, session_id=None, agent_type=AGENT_TYPE)
    judge = BudgetedJudge(Broken(), PRICED, organisation.system, run_id, Decimal(1))
    with pytest.raises(ValueError, match="a defect"):
        await judge.score(Case(id="x", user_input="q"), Response(text="a", refused=False, provider="x"))
    async with tenant_session(organisation.system) as session:
        kept = (await session.get_one(AgentRun, (organisation.tenant_id, run_id))).metadata_
        total = await session.scalar(select(func.count()).select_from(RagEvaluation))
        month = await get_budget(session)
    assert (month.reserved_usd, total) == (Decimal(0), 0)
    assert month.spent_usd == judge.cost_usd
    assert judge.cost_usd == Decimal(str(kept["cost_usd"]))
    assert Decimal("0.02") < Decimal(str(kept["cost_usd"])) < Decimal("0.03")


async def test_the_operators_key_goes_to_the_operators_endpoint_only(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation import online_judge
    from rag.answer_models import ModelChoice
    from rag.fakes import ScriptedChat

    chosen = ScriptedChat([["x"]], model="gpt-4o-mini")

    async def find(*_: object) -> list[ModelChoice]:
        return [ModelChoice(chosen, 100, None)]

    monkeypatch.setattr(online_judge, "list_models", find)
    keys = {}
    for service in ("https://api.openai.com/v1", "https://models.example"):
        chosen.service = service
        model = await online_judge._find_model(organisation.system, Settings(llm=PRICED))
        assert model is not None
        assert model.base_url == service
        keys[service] = model.api_key
    assert keys == {"https://api.openai.com/v1": PRICED.api_key, "https://models.example": None}
