"""A suite from end to end on a small organisation: what is stored, resumed, stopped, and caught as a regression."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Unavailable
from core.settings import ModelSettings
from db.models import DatasetCase, Experiment, RagEvaluation, RagMetric
from db.session import Principal, tenant_session
from evaluation.baseline import UnusableBaseline, read_baseline, write_baseline
from evaluation.compare import WHOLE, compare, parse_rule, summarize
from evaluation.records import CaseResult, Response
from evaluation.run import PriceUnknown, RunReport, Verdict, run_suite
from evaluation.store import ExperimentNotFound, load_results
from evaluation.suites import Case, Suite, hash_cases
from rag import retrieve as retrieving
from rag.answer import Assistant
from rag.embedding.protocol import Embedder
from rag.passages import Retrieval, Scope
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session

TALKS = [
    ("the greenhouse", "I'll mend the greenhouse roof before the first frost.", "The roof leaks over the tomato beds."),
    ("the choir", "I promised the choir a new hymn by Candlemas.", "The altos find the second verse too high."),
    ("the ferry", "I will book the ferry to Stornoway on Monday.", "The crossing takes nearly three hours in winter."),
    ("the bakery", "I'll ask the bakery for a Saturday shift.", "The ovens are lit at four in the morning."),
    ("the archive", "I'm going to scan the parish archive this summer.", "The oldest register is from 1741."),
    ("the orchard", "I'll prune the orchard with Magnus in February.", "The old pear tree has canker again."),
]
CASES = tuple(
    Case(
        id=f"{kind}-{number}", user_input=question.format(topic), reference=reference, reference_contexts=(reference,),
        slices={"question_type": kind},
    )
    for number, (topic, promise, fact) in enumerate(TALKS)
    for kind, question, reference in (
        ("promise", "What did she say she will do about {}?", promise),
        ("fact", "What is known about {}?", fact),
    )
)  # fmt: skip
UNANSWERABLE = Case(id="submarine", user_input="Which submarine was sold to the Vatican?", answerable=False)
ASSISTANT = Assistant(EMBEDDER)


def make_suite(*cases: Case, **more: Any) -> Suite:
    chosen = cases or (*CASES, UNANSWERABLE)
    said = {"name": "small", "tenant": "t", "user": "coach", "cases": "c", "asked_at": datetime(2026, 6, 1, tzinfo=UTC)}
    return Suite(**(said | more), loaded=chosen, content_hash=hash_cases(chosen))


@pytest.fixture
async def people(organisation: Organisation) -> Organisation:
    await name_people(organisation)
    for day, (topic, promise, fact) in enumerate(TALKS, 1):
        turns = [("coach", f"Tell me about {topic}."), ("client", fact), ("coach", "And then?"), ("client", promise)]
        await store_session(organisation, turns, held_at=datetime(2026, 3, day, 9, tzinfo=UTC))
    return organisation


async def run(people: Organisation, suite: Suite, assistant: Assistant = ASSISTANT, **more: Any) -> RunReport:
    async def find(_tenant: str, _email: str) -> Principal:
        return people.coach_a

    return await run_suite(assistant, suite, find_reader=find, **more)


def mean(results: Sequence[CaseResult], metric: str) -> float:
    values = [value for one in results if (value := one.scores.get(metric)) is not None]
    return sum(values) / len(values)


async def test_a_run_is_scored_and_kept_whole(people: Organisation) -> None:
    heard: list[tuple[int, int]] = []
    report = await run(people, make_suite(), told=lambda done, whole: heard.append((done, whole)))
    assert (report.status, len(report.results), report.failed) == ("completed", 13, [])
    assert heard[0] == (0, 13)
    assert heard[-1] == (13, 13)
    assert mean(report.results, "citation_recall") >= 0.5
    assert [one.flags for one in report.results if one.flags] == []
    assert mean(report.results, "total_ms") > 0
    async with tenant_session(people.system) as session:
        kept = await load_results(session, report.experiment_id)
        experiment = await session.get_one(Experiment, (people.tenant_id, report.experiment_id))
        assert (experiment.status, experiment.cost_usd) == ("completed", Decimal(0))
        assert experiment.completed_at is not None
    assert sorted(kept, key=lambda one: one.case_id) == sorted(report.results, key=lambda one: one.case_id)


async def test_an_unchanged_rerun_is_never_flagged(people: Organisation, tmp_path: Path) -> None:
    suite = make_suite()
    first = await run(people, suite)
    write_baseline(tmp_path / "base.json", first)
    kept = read_baseline(tmp_path / "base.json")
    for _ in range(3):
        again = await run(people, suite, anew=True)
        found = compare(kept.results, again.results)
        assert (found.broken, found.regressions, found.missing) == ([], [], [])
    assert again.experiment_id != first.experiment_id
    assert again.dataset_version == first.dataset_version == 1


async def _refuse_neighbours(
    session: AsyncSession, embedder: Embedder | None, question: str, *, top_k: int, scope: Scope
) -> Retrieval:
    """Find the worst of what there is: what a broken ranking would."""
    found = await retrieving.retrieve(session, embedder, question, top_k=50, scope=scope)
    return replace(found, passages=found.passages[::-1][:top_k])


async def test_planted_regressions_are_caught(people: Organisation) -> None:
    suite = make_suite()
    good = await run(people, suite)
    broken = await run(people, suite, Assistant(EMBEDDER, top_k=1, retriever=_refuse_neighbours))
    found = compare(good.results, broken.results)
    assert any(said.startswith(("citation_recall got worse", "context_recall got worse")) for said in found.broken)
    assert found.regressions
    uncited = [
        replace(
            one, scores={**one.scores, "citation_recall": 0.0 if one.scores["citation_recall"] is not None else None}
        )
        for one in good.results
    ]
    rule = parse_rule("citation_recall < baseline - 0.05")
    assert compare(good.results, uncited, [rule]).broken


async def test_a_run_that_broke_off_goes_on(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = make_suite()

    def stop(done: int, _whole: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run(people, suite, told=stop)
    async with tenant_session(people.system) as session:
        begun = (await session.scalars(select(Experiment))).one()
        assert begun.status == "interrupted"
        assert await session.scalar(select(func.count()).select_from(RagEvaluation)) == 5
    report = await run(people, suite)
    assert (report.experiment_id, report.resumed, report.status) == (begun.id, 5, "completed")
    assert sorted(one.case_id for one in report.results) == sorted(case.id for case in suite.loaded)
    other = await run(people, suite, Assistant(EMBEDDER, top_k=3))
    assert other.resumed == 0


async def test_a_run_under_way_elsewhere_is_left_alone(people: Organisation) -> None:
    suite = make_suite()
    others: list[asyncio.Task[RunReport]] = []

    def begin_another(_done: int, _whole: int) -> None:
        if not others:
            others.append(asyncio.create_task(run(people, suite)))

    first = await run(people, suite, told=begin_another)
    second = await others[0]
    assert first.experiment_id != second.experiment_id
    assert (first.resumed, second.resumed) == (0, 0)
    assert (first.status, second.status) == ("completed", "completed")
    assert len(first.results) == len(second.results) == len(suite.loaded)


async def test_a_case_that_fails_is_counted_as_worst_and_the_rest_go_on(people: Organisation) -> None:
    async def find_none(
        session: AsyncSession, embedder: Embedder | None, question: str, *, top_k: int, scope: Scope
    ) -> Retrieval:
        if "choir" in question:
            raise Unavailable("The search did not answer; try again shortly.")
        return await retrieving.retrieve(session, embedder, question, top_k=top_k, scope=scope)

    report = await run(people, make_suite(), Assistant(EMBEDDER, retriever=find_none))
    assert report.status == "completed"
    assert [(one.case_id, one.error) for one in report.failed] == [
        (f"{kind}-1", "The search did not answer; try again shortly.") for kind in ("promise", "fact")
    ]
    assert all(one.scores["citation_recall"] == 0.0 for one in report.failed)
    async with tenant_session(people.system) as session:
        failed = select(func.count()).select_from(RagEvaluation).where(RagEvaluation.status == "failed")
        assert await session.scalar(failed) == 2


class DearJudge:
    """Judges everything alike, for a dollar each."""

    name = "dear"

    async def score(self, case: Case, response: Response) -> Verdict:  # noqa: ARG002  # judges all alike
        if case.id == "promise-2":
            scores = dict.fromkeys(("faithfulness", "hallucination"))
            return Verdict(scores=scores, errors=dict.fromkeys(scores, "The judge sent no JSON."), cost_usd=Decimal(1))
        return Verdict(scores={"faithfulness": 0.75, "hallucination": 0.25}, cost_usd=Decimal(1))

    def forecast_usd(self) -> Decimal | None:
        return Decimal(1)


class UnpricedJudge(DearJudge):
    """Judges as the other does, for nobody knows what."""

    async def score(self, case: Case, response: Response) -> Verdict:
        return replace(await super().score(case, response), cost_usd=None)

    def forecast_usd(self) -> Decimal | None:
        return None


async def test_the_budget_stops_a_run_and_a_larger_one_ends_it(people: Organisation) -> None:
    suite = make_suite()
    short = await run(people, suite, judge=DearJudge(), budget_usd=Decimal(6))
    assert short.status == "over_budget"
    assert short.cost_usd is not None
    assert Decimal(5) <= short.cost_usd <= Decimal(9)  # what was under way when the first prices came in is paid too
    whole = await run(people, suite, judge=DearJudge(), budget_usd=Decimal(100))
    assert (whole.experiment_id, whole.status, len(whole.results)) == (short.experiment_id, "completed", 13)
    assert whole.cost_usd is not None
    assert whole.cost_usd > short.cost_usd


async def test_a_judge_s_failure_is_an_error_not_a_score(people: Organisation) -> None:
    report = await run(people, make_suite(), judge=DearJudge())
    by_case = {one.case_id: one for one in report.results}
    assert by_case["promise-2"].scores["faithfulness"] is None
    assert by_case["promise-2"].judge_errors == dict.fromkeys(
        ("faithfulness", "hallucination"), "The judge sent no JSON."
    )
    asked = len([one for one in report.results if "faithfulness" in one.scores])
    assert summarize(report.results)[WHOLE]["faithfulness"].mean == pytest.approx(0.75 * (asked - 1) / asked)
    assert report.forecast.cost_usd == Decimal(13)
    async with tenant_session(people.system) as session:
        judged = (await session.scalars(select(RagMetric).where(RagMetric.scorer == "judge"))).all()
        assert {(one.faithfulness_score, one.hallucination_score) for one in judged} == {(0.75, 0.25), (None, None)}
        words = (await session.scalars(select(RagMetric).where(RagMetric.scorer == "words"))).all()
        # words alone never say that something is true or invented
        assert {(one.faithfulness_score, one.hallucination_score) for one in words} == {(None, None)}
        kept = await load_results(session, report.experiment_id)
    assert sorted(kept, key=lambda one: one.case_id) == sorted(report.results, key=lambda one: one.case_id)


async def test_a_baseline_keeps_what_was_not_judged(people: Organisation, tmp_path: Path) -> None:
    report = await run(people, make_suite(), judge=DearJudge())
    write_baseline(tmp_path / "base.json", report)
    kept = read_baseline(tmp_path / "base.json")
    assert [one.judge_errors for one in kept.results] == [one.judge_errors for one in report.results]
    assert (tmp_path / "base.json").read_text().count("judge_errors") == 1  # only where there is something to say
    assert compare(kept.results, report.results).broken == []


async def test_an_unpriced_judge_leaves_the_cost_unknown(people: Organisation) -> None:
    report = await run(people, make_suite(), judge=UnpricedJudge())
    assert (report.cost_usd, report.forecast.cost_usd) == (None, None)
    with pytest.raises(PriceUnknown):
        await run(people, make_suite(), judge=UnpricedJudge(), budget_usd=Decimal(1), anew=True)


async def test_evaluators_read_scores_and_nobody_s_words(people: Organisation) -> None:
    report = await run(people, make_suite())
    async with tenant_session(people.evaluator) as session:
        metrics = (await session.scalars(select(RagMetric))).all()
        assert len(metrics) == 13
        told = " ".join(str(metric.scores) for metric in metrics)
        assert not any(word in told for _, promise, fact in TALKS for word in (promise, fact))
        assert (await session.scalars(select(RagEvaluation))).all() == []
        assert [case.case_key for case in await session.scalars(select(DatasetCase))] == ["submarine"]
        assert await load_results(session, report.experiment_id) == []
    async with tenant_session(people.coach_a) as session:
        assert len((await session.scalars(select(RagEvaluation))).all()) == 13


async def test_no_budget_is_promised_for_a_model_without_a_price(people: Organisation) -> None:
    house = Assistant(EMBEDDER, ModelSettings(model="house-model-7", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(PriceUnknown):
        await run(people, make_suite(), house, budget_usd=Decimal(1))


async def test_changed_cases_are_a_new_version(people: Organisation) -> None:
    first = await run(people, make_suite(CASES[0]))
    second = await run(people, make_suite(CASES[0], CASES[1]))
    again = await run(people, make_suite(CASES[0]), anew=True)
    assert [one.dataset_version for one in (first, second, again)] == [1, 2, 1]


async def test_limits_of_the_suite_are_held(people: Organisation) -> None:
    report = await run(people, make_suite(fail_on=("support > 0.01", "support < baseline - 0.1")))
    assert len(report.broken) == 1
    assert report.broken[0].startswith("`support > 0.01` is broken")


async def test_another_organisation_has_no_such_run(people: Organisation) -> None:
    report = await run(people, make_suite(CASES[0]))
    from tests.factories.people import found_organisation

    other = await found_organisation()
    async with tenant_session(other.system) as session:
        with pytest.raises(ExperimentNotFound):
            await load_results(session, report.experiment_id)


def test_other_files_are_no_baselines(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"format": 1}')
    for name in ("x.json", "none.json"):
        with pytest.raises(UnusableBaseline, match="is no baseline"):
            read_baseline(tmp_path / name)
