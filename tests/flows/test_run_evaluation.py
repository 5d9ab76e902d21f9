"""Evaluations as a flow, through a real Prefect server: how they end, what is kept, and that pages hold no words."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from sqlalchemy import func, select

from api.flow_server import start_flow
from core.errors import Unavailable
from core.settings import Settings, get_settings
from db.models import Experiment, RagEvaluation, RagReport
from db.session import tenant_session
from domain.chat import KeyReused
from domain.objects import tenant_store
from evaluation.compare import UnusableRule
from evaluation.datasets import DatasetNotFound, store_suite
from evaluation.run import run_suite
from evaluation.suites import Case, Suite
from flows.run_evaluation import ask_suite, run_evaluation
from flows.serving import list_deployments
from rag.answer import Assistant
from tests.evaluation.test_run import CASES, TALKS, UNANSWERABLE, DearJudge, _refuse_neighbours, make_suite, people
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER

__all__ = ["people"]
pytestmark = pytest.mark.usefixtures("prefect_server", "embedder")

WORDS = [*(word for talk in TALKS for word in talk), UNANSWERABLE.user_input]


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedder that the flow finds in the settings."""

    async def load(_: object) -> Any:
        return EMBEDDER

    monkeypatch.setattr("flows.run_evaluation.load_embedder", load)


async def store(people: Organisation, *cases: Case, **more: Any) -> Suite:
    """Keep a suite that coach_a asks."""
    asker = f"coach_a@{people.slug}.example"
    suite = make_suite(*cases, tenant=people.slug, user=asker, **more)
    async with tenant_session(people.system) as session:
        await store_suite(session, suite, {asker: people.coach_a})
    return suite


async def evaluate(people: Organisation, suite: str = "small", **options: Any) -> tuple[Any, dict[str, Any]]:
    """Run the flow; return its last state, and what its pages show."""
    state = await run_evaluation(people.tenant_id, suite, return_state=True, **options)
    run_id = state.state_details.flow_run_id
    async with get_client() as client:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        found = await client.read_artifacts(artifact_filter=wanted)
    shown = {str(one.key): str(one.data) for one in found} | {"message": str(state.message), "run": str(run_id)}
    pages = " ".join(shown.values())
    assert [word for word in WORDS if word in pages] == []
    return state, shown


async def get_experiment(people: Organisation) -> Experiment:
    async with tenant_session(people.system) as session:
        return (await session.scalars(select(Experiment).order_by(Experiment.started_at.desc()).limit(1))).one()


async def test_a_stored_suite_is_run_published_and_shown(people: Organisation, settings: Settings) -> None:
    await store(people)
    state, shown = await evaluate(people, repeats=2)
    outcome = await state.result()
    assert (state.name, outcome.answers, outcome.failed) == ("Completed", 26, 0)
    assert state.message == "26 answers; no rule broken; cost $0.0000"
    assert "| questions | 26 |" in shown["evaluation-forecast"]
    assert float(shown["evaluation-progress"]) == 100
    assert "| citation_recall | " in shown["evaluation-scores"]
    assert shown["evaluation-cases"] == "No case got worse, and every one was answered."
    assert f"/v1/evaluations/{outcome.run_id}/report?format=html" in shown["evaluation-report"]
    run = await get_experiment(people)
    assert (run.id, run.status, str(run.flow_run_id)) == (outcome.run_id, "completed", shown["run"])
    kept = await tenant_store(people.tenant_id, settings)
    written = await kept.read(f"tenants/{people.tenant_id}/reports/{run.id}.html", max_bytes=10_000_000)
    assert [word for word in WORDS if word in written.decode()] == []
    async with tenant_session(people.evaluator) as session:
        assert len((await session.scalars(select(RagReport))).all()) == 3


async def test_a_broken_rule_fails_the_run_and_its_report_is_there(people: Organisation) -> None:
    await store(people, *CASES[:4], fail_on=("support > 0.01", "citation_recall < 0.0001"))
    state, shown = await evaluate(people)
    assert (state.name, state.message.partition(":")[0]) == ("Failed", "`support > 0.01` is broken")
    assert "- ✗ `support > 0.01` is broken" in shown["evaluation-scores"]
    run = await get_experiment(people)
    assert run.status == "completed"
    async with tenant_session(people.system) as session:
        assert await session.scalar(select(func.count()).select_from(RagReport)) == 3
    state, _ = await evaluate(people, fail_on=[])
    assert state.name == "Completed"


async def test_getting_worse_than_the_baseline_fails_the_run(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = await store(people)
    good = await run_suite(Assistant(EMBEDDER), suite)
    state, shown = await evaluate(people, baseline=good.experiment_id)
    assert (state.name, "not worse than the baseline" in state.message) == ("Completed", True)

    def break_search(embedder: Any, model: Any) -> Assistant:
        return Assistant(embedder, model, top_k=1, retriever=_refuse_neighbours)

    monkeypatch.setattr("flows.run_evaluation.Assistant", break_search)
    state, shown = await evaluate(people, "small@1", baseline=good.experiment_id)
    assert state.name == "Failed"
    assert " got worse: " in state.message
    assert "## Got worse" in shown["evaluation-cases"]
    assert "| `promise-" in shown["evaluation-cases"]
    assert (await get_experiment(people)).baseline_id == good.experiment_id


async def test_a_run_that_broke_off_goes_on(people: Organisation) -> None:
    suite = await store(people)

    def stop(done: int, _whole: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run_suite(Assistant(EMBEDDER, get_settings().llm), suite, told=stop)
    begun = await get_experiment(people)
    state, shown = await evaluate(people)
    outcome = await state.result()
    run = await get_experiment(people)
    assert (outcome.run_id, outcome.answers, run.status) == (begun.id, 13, "completed")
    assert str(run.flow_run_id) == shown["run"]


async def test_a_spent_budget_is_said_and_a_larger_one_ends_the_run(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Judge(DearJudge):
        def __init__(self, *_: Any, **__: Any) -> None: ...

        async def aclose(self) -> None: ...

    monkeypatch.setattr("flows.run_evaluation.RagasJudge", Judge)
    await store(people)
    state, shown = await evaluate(people, judge="ragas", budget_usd=6.0)
    assert state.name == "Failed"
    assert state.message.startswith("The run is not whole: over budget after ")
    assert "| stops at, USD | 6.0000 |" in shown["evaluation-forecast"]
    begun = await get_experiment(people)
    state, shown = await evaluate(people, judge="ragas", budget_usd=100.0)
    outcome = await state.result()
    assert (state.name, outcome.run_id, outcome.answers) == ("Completed", begun.id, 13)
    assert "- `promise-2`: faithfulness" in shown["evaluation-cases"]


async def test_an_outage_is_waited_out(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(people, CASES[0])
    monkeypatch.setattr(ask_suite, "retry_delay_seconds", 0)
    outages = [Unavailable(), Unavailable()]

    async def flaky(*given: Any, **options: Any) -> Any:
        if outages:
            raise outages.pop()
        return await run_suite(*given, **options)

    monkeypatch.setattr("flows.run_evaluation.run_suite", flaky)
    state, _ = await evaluate(people)
    assert (state.name, outages) == ("Completed", [])
    async with tenant_session(people.system) as session:
        assert await session.scalar(select(func.count()).select_from(RagEvaluation)) == 1


async def test_what_can_not_be_run_is_said_before_anything_is_asked(people: Organisation) -> None:
    await store(people, CASES[0])
    for given, error in (
        ({"suite": "large"}, DatasetNotFound), ({"suite": "small@2"}, DatasetNotFound),
        ({"suite": "Small!"}, DatasetNotFound), ({"suite": "small", "fail_on": ["support is bad"]}, UnusableRule),
    ):  # fmt: skip
        with pytest.raises(error):
            await run_evaluation(people.tenant_id, **given)
    async with tenant_session(people.system) as session:
        assert await session.scalar(select(func.count()).select_from(Experiment)) == 0


async def test_the_api_starts_it_by_its_deployment(people: Organisation, prefect_server: str) -> None:
    (deployment,) = [one for one in await list_deployments() if one.name == "run-evaluation"]
    await deployment.aapply()
    settings = get_settings().model_copy(update={"prefect_api_url": prefect_server})
    given: dict[str, Any] = {
        "tenant_id": str(people.tenant_id), "suite": "small", "repeats": None, "limit": 3, "budget_usd": 0.5,
        "judge": None, "baseline": None, "fail_on": ["support < 0.5"],
    }  # fmt: skip
    first = await start_flow(settings, "run-evaluation", given, key=f"once-{people.slug}")
    assert await start_flow(settings, "run-evaluation", given, key=f"once-{people.slug}") == first
    with pytest.raises(KeyReused):
        await start_flow(settings, "run-evaluation", given | {"limit": 4}, key=f"once-{people.slug}")
    async with get_client() as client:
        kept = await client.read_flow_run(first)
        found = await client.read_deployment(UUID(str(kept.deployment_id)))
    assert kept.parameters == given
    assert found.global_concurrency_limit is not None
    assert found.global_concurrency_limit.limit == 1
    later = datetime.now(UTC) + timedelta(hours=1)
    second = await start_flow(settings, "run-evaluation", given, at=later)
    async with get_client() as client:
        waiting = await client.read_flow_run(second)
    assert waiting.state is not None
    assert (waiting.state.type, waiting.next_scheduled_start_time) == ("SCHEDULED", later)
