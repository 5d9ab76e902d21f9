"""Evaluations over HTTP: scores for whoever measures, words for whoever asked, runs started at the flow server."""

from typing import Any
from uuid import uuid4

import pytest

from api.app import create_app
from core.settings import ModelSettings, Settings
from db.session import tenant_session
from evaluation.datasets import store_suite
from evaluation.run import RunReport, run_suite
from evaluation.runs import set_baseline
from evaluation.suites import Case
from rag.answer import Assistant
from tests.api.conftest import Connect, FlowServer, issue_keys
from tests.evaluation.test_run import (
    ASSISTANT,
    CASES,
    TALKS,
    UNANSWERABLE,
    DearJudge,
    _refuse_neighbours,
    make_suite,
    people,
    run,
)
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER
from tests.pipelines.evidence.test_build_models import limit

__all__ = ["people"]
WORDS = [word for talk in TALKS for word in talk]


@pytest.fixture
def app(api_settings: Settings, flow_server: FlowServer) -> Any:
    return create_app(api_settings.model_copy(update={"prefect_api_url": flow_server.url}), Assistant(EMBEDDER))


async def call(connect: Connect, person: str, method: str, path: str, expected: int = 200, /, **body: Any) -> Any:
    headers = body.pop("headers", {})
    reply = await connect(person).request(method, f"/v1/evaluations{path}", json=body or None, headers=headers)
    assert reply.status_code == expected, (person, method, path, reply.text)
    return reply.json()


async def read(connect: Connect, path: str, person: str = "evaluator", expected: int = 200) -> Any:
    return await call(connect, person, "GET", path, expected)


async def evaluate(people: Organisation, *cases: Case, **more: Any) -> RunReport:
    """Run a suite asked by coach_a, without a flow."""
    return await run(people, make_suite(*cases, tenant=people.slug, user=f"coach_a@{people.slug}.example"), **more)


async def test_runs_are_listed_and_summed_up_by_slice(people: Organisation, connect: Connect) -> None:
    first = await evaluate(people)
    flow_run_id = uuid4()
    second = await evaluate(people, *CASES[:2], judge=DearJudge(), flow_run_id=flow_run_id)
    page = await read(connect, "?limit=1")
    rest = await read(connect, f"?limit=1&cursor={page['next_cursor']}", "admin")
    listed = [*page["items"], *rest["items"]]
    assert [(one["id"], one["answers"], one["failed"], one["version"]) for one in listed] == [
        (str(second.experiment_id), 2, 0, 2), (str(first.experiment_id), 13, 0, 1),
    ]  # fmt: skip
    assert rest["next_cursor"] is None
    begun = (await read(connect, f"?flow_run={flow_run_id}"))["items"]
    assert [(one["id"], one["flow_run_id"]) for one in begun] == [(str(second.experiment_id), str(flow_run_id))]
    assert (await read(connect, "?suite=large"))["items"] == []
    assert (await read(connect, "?status=running"))["items"] == []
    assert len((await read(connect, "?suite=small&status=completed"))["items"]) == 2
    found = await read(connect, f"/{first.experiment_id}")
    assert (found["status"], found["cost_usd"], found["failures"], found["broken"]) == ("completed", "0", [], [])
    assert set(found["metrics"]) == {
        "all", "answerable=yes", "answerable=no", "question_type=promise", "question_type=fact",
    }  # fmt: skip
    recall = found["metrics"]["all"]["citation_recall"]
    assert recall["low"] <= recall["mean"] <= recall["high"]
    assert recall["mean"] == pytest.approx(
        sum(one.scores["citation_recall"] or 0 for one in first.results if one.case_id != "submarine") / 12
    )
    assert found["config"]["top_k"] == ASSISTANT.top_k
    assert [word for word in WORDS if word in str(found)] == []
    judged = await evaluate(people, CASES[4], judge=DearJudge())
    failures = (await read(connect, f"/{judged.experiment_id}"))["failures"]
    assert [(one["case_id"], one["metric"], one["error"]) for one in failures] == [
        ("promise-2", "faithfulness", None), ("promise-2", "hallucination", None),
    ]  # fmt: skip


async def test_evaluators_see_scores_without_words(people: Organisation, connect: Connect) -> None:
    report = await evaluate(people)
    path = f"/{report.experiment_id}/cases"
    page = await read(connect, f"{path}?limit=5")
    rest = await read(connect, f"{path}?cursor={page['next_cursor']}")
    cases = [*page["items"], *rest["items"]]
    assert {one["case_id"]: one["scores"] for one in cases} == {one.case_id: one.scores for one in report.results}
    assert [one["case_id"] for one in cases] == sorted(one.case_id for one in report.results)
    hidden = [one for one in cases if one["case_id"] != "submarine"]
    assert {(one["readable"], one["question"], one["answer"], *one["contexts"]) for one in hidden} == {
        (False, None, None)
    }
    (public,) = [one for one in cases if one["case_id"] == "submarine"]
    assert (public["question"], public["answer"]) == (UNANSWERABLE.user_input, None)
    for kind, media in (("html", "text/html"), ("json", "application/json"), ("markdown", "text/markdown")):
        reply = await connect("evaluator").get(f"/v1/evaluations/{report.experiment_id}/report?format={kind}")
        assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, media)
        assert "small" in reply.text
        assert [word for word in WORDS if word in reply.text] == []
    assert [word for word in WORDS if word in str(cases)] == []


async def test_whoever_asked_reads_the_words(people: Organisation, connect: Connect) -> None:
    suite = make_suite(*CASES[:2], user=f"admin@{people.slug}.example", tenant=people.slug)
    report = await run_suite(ASSISTANT, suite)
    path = f"/{report.experiment_id}"
    mine = (await read(connect, f"{path}/cases", "admin"))["items"]
    assert {(one["case_id"], one["readable"], one["question"], one["answer"]) for one in mine} == {
        (one.case_id, True, one.user_input, one.response.text) for one in report.results if one.response
    }  # fmt: skip
    page = await connect("admin").get(f"/v1/evaluations{path}/report")
    assert CASES[0].user_input in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    others = (await read(connect, f"{path}/cases"))["items"]
    # an evaluator reads a refusal as whoever asked: it was made from nobody's words
    assert [(one["readable"], one["contexts"]) for one in others] == [(True, []), (True, [])]


async def test_the_worst_come_first(people: Organisation, connect: Connect) -> None:
    report = await evaluate(people, judge=DearJudge())
    path = f"/{report.experiment_id}/cases"
    page = await read(connect, f"{path}?worst_by=citation_recall&limit=7")
    rest = await read(connect, f"{path}?worst_by=citation_recall&limit=7&cursor={page['next_cursor']}")
    values = [one["scores"]["citation_recall"] for one in (*page["items"], *rest["items"])]
    assert (values, len(values)) == (sorted(values), 12)  # it says nothing of what has no answer
    slowest = (await read(connect, f"{path}?worst_by=total_ms"))["items"]
    times = [one["scores"]["total_ms"] for one in slowest]
    assert (times, len(times)) == (sorted(times, reverse=True), 13)
    lost = (await read(connect, f"{path}?worst_by=faithfulness&limit=1"))["items"][0]
    assert (lost["case_id"], lost["scores"]["faithfulness"]) == ("promise-2", None)
    assert set(lost["not_judged"]) == {"faithfulness", "hallucination"}
    problem = await read(connect, f"{path}?worst_by=kindness", expected=422)
    assert problem["code"] == "MetricUnknown"
    assert (await read(connect, f"{path}?cursor=x", expected=422))["code"] == "BadCursor"


async def test_scores_are_spread_over_answers(people: Organisation, connect: Connect) -> None:
    report = await evaluate(people)
    found = await read(connect, f"/{report.experiment_id}/spread", "admin")
    spread = {name: sum(found["distributions"][name]) for name in ("support", "context_recall")}
    assert spread == {
        "context_recall": 12, "support": sum(one.scores.get("support") is not None for one in report.results),
    }  # fmt: skip
    assert {len(counts) for counts in found["distributions"].values()} == {20}
    assert sorted(one["case_id"] for one in found["points"]) == sorted(one.case_id for one in report.results)
    assert all(0 <= one["quality"] <= 1 and one["total_ms"] > 0 for one in found["points"])
    assert "total_ms" in {one["metric"] for one in found["latencies"]}
    assert found["slices"] == {
        "answerable=yes": 12, "answerable=no": 1, "question_type=promise": 6, "question_type=fact": 6,
    }  # fmt: skip
    assert [word for word in WORDS if word in str(found)] == []


async def test_a_run_is_compared_with_an_earlier_one(people: Organisation, connect: Connect) -> None:
    good = await evaluate(people)
    bad = await evaluate(people, assistant=Assistant(EMBEDDER, top_k=1, retriever=_refuse_neighbours))
    path = f"/{bad.experiment_id}/comparison"
    assert (await read(connect, path, expected=422))["code"] == "BaselineMissing"
    found = await read(connect, f"{path}?baseline={good.experiment_id}")
    assert any("got worse" in said for said in found["broken"])
    assert {one["user_input"] + one["answer_before"] + one["answer_after"] for one in found["regressions"]} == {""}
    assert found["regressions"][0]["before"] > found["regressions"][0]["after"]
    assert any(one["worse"] and one["group"] == "all" and one["chance"] <= 0.025 for one in found["changes"])
    assert {one["metric"] for one in found["latencies"]} >= {"search_ms", "total_ms"}
    turned = await read(connect, f"/{good.experiment_id}/comparison?baseline={bad.experiment_id}")
    fell, rose = found["regressions"], turned["improvements"]
    assert rose
    assert {one["case_id"] for one in rose} <= {one["case_id"] for one in fell}
    assert all(one["before"] < one["after"] and one["answer_after"] == "" for one in rose)
    async with tenant_session(people.system) as session:
        await set_baseline(session, bad.experiment_id, good.experiment_id)
    noted = await read(connect, f"{path}?fail_on=refusal_correct < 0.001&fail_on=refusal_correct > 0.01")
    assert noted["baseline_id"] == str(good.experiment_id)
    assert [said.partition(" is")[0] for said in noted["broken"]] == ["`refusal_correct > 0.01`"]
    assert (await read(connect, f"{path}?fail_on=bad", expected=422))["code"] == "UnusableRule"
    page = await connect("evaluator").get(f"/v1/evaluations/{bad.experiment_id}/report")
    assert "What got worse" in page.text
    other = await run(people, make_suite(CASES[0], name="other"))
    unfit = await read(connect, f"{path}?baseline={other.experiment_id}", expected=422)
    assert unfit["code"] == "BaselineUnfit"


async def test_suites_are_listed_and_forecast(people: Organisation, connect: Connect) -> None:
    await evaluate(people)
    await evaluate(people, *CASES[:2])
    suites = (await read(connect, "/suites?name=small"))["items"]
    assert [(one["version"], one["cases"], one["answerable"]) for one in suites] == [(2, 2, 2), (1, 13, 12)]
    assert suites[1]["slices"] == {
        "answerable": {"yes": 12, "no": 1}, "question_type": {"promise": 6, "fact": 6},
    }  # fmt: skip
    assert "coach_a@" not in str(suites)
    expected = await read(connect, "/forecast?suite=small@1&repeats=3&limit=5&budget_usd=2")
    assert expected == {
        "suite": "small", "version": 1, "cases": 5, "repeats": 3, "questions": 15, "cost_usd": "0",
        "basis": "no model answers", "budget_usd": "2.0", "month_left_usd": None,
    }  # fmt: skip
    assert (await read(connect, "/forecast?suite=small"))["cases"] == 2
    assert (await read(connect, "/forecast?suite=small@7", expected=404))["code"] == "DatasetNotFound"
    assert (await read(connect, "/forecast?suite=small&judge=ragas", expected=422))["code"] == "NoJudge"


async def test_a_run_is_started_once(people: Organisation, connect: Connect, flow_server: FlowServer) -> None:
    good = await evaluate(people)
    key = {"Idempotency-Key": "nightly-1"}
    body = {"suite": "small", "limit": 5, "baseline_id": str(good.experiment_id), "fail_on": ["support < 0.1"]}
    first, again = [await call(connect, "evaluator", "POST", "", 202, **body, headers=key) for _ in range(2)]
    assert first == again
    assert first["forecast"]["questions"] == 5
    assert flow_server.started[0]["parameters"] == {
        "tenant_id": str(people.tenant_id), "suite": "small", "repeats": None, "limit": 5, "budget_usd": None,
        "judge": None, "baseline": str(good.experiment_id), "fail_on": ["support < 0.1"],
    }  # fmt: skip
    other = body | {"limit": 6}
    assert (await call(connect, "evaluator", "POST", "", 409, **other, headers=key))["code"] == "KeyReused"
    mine = await call(connect, "admin", "POST", "", 202, **other, headers=key)
    assert mine["flow_run_id"] != first["flow_run_id"]


async def test_what_can_not_be_started_is_said(
    app: Any, people: Organisation, connect: Connect, flow_server: FlowServer
) -> None:
    await evaluate(people, *CASES[:2])
    other = await run(people, make_suite(CASES[0], name="other"))
    for body, expected, code in (
        ({"suite": "large"}, 404, "DatasetNotFound"), ({"suite": "Small!"}, 422, "UnusableRequest"),
        ({"suite": "small", "fail_on": ["bad"]}, 422, "UnusableRule"),
        ({"suite": "small", "baseline_id": str(uuid4())}, 404, "ExperimentNotFound"),
        ({"suite": "small", "baseline_id": str(other.experiment_id)}, 422, "BaselineUnfit"),
        ({"suite": "small", "repeats": 0}, 422, "UnusableRequest"),
        ({"suite": "small", "x": 1}, 422, "UnusableRequest"),
    ):  # fmt: skip
        assert (await call(connect, "evaluator", "POST", "", expected, **body))["code"] == code
    assert flow_server.started == []
    flow_server.deployed = False
    problem = await call(connect, "evaluator", "POST", "", 503, suite="small")
    assert (problem["code"], "run-evaluation" in problem["detail"]) == ("DeploymentMissing", True)
    app.state.settings = app.state.settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    problem = await call(connect, "evaluator", "POST", "", 503, suite="small")
    assert problem["code"] == "FlowServerUnavailable"
    assert "nothing was started" in problem["detail"]
    app.state.assistant = Assistant(EMBEDDER, ModelSettings(model="gpt-4o-mini"))
    priced = await read(connect, "/forecast?suite=small")
    assert float(priced["cost_usd"]) > 0
    await limit(people, "0.000001")
    assert (await call(connect, "evaluator", "POST", "", 429, suite="small"))["code"] == "BudgetExhausted"
    app.state.assistant = Assistant(EMBEDDER, ModelSettings(model="house-model-7"))
    unknown = await read(connect, "/forecast?suite=small&budget_usd=1", expected=422)
    assert unknown["code"] == "PriceUnknown"


async def test_a_rule_that_can_not_be_read_is_said_beside_the_scores(people: Organisation, connect: Connect) -> None:
    report = await evaluate(people, *CASES[:2])
    suite = make_suite(
        *CASES[:2], tenant=people.slug, user=f"coach_a@{people.slug}.example", fail_on=("support is low",)
    )
    async with tenant_session(people.system) as session:
        await store_suite(session, suite, {f"coach_a@{people.slug}.example": people.coach_a})
    found = await read(connect, f"/{report.experiment_id}")
    assert found["broken"][0].startswith("The rule 'support is low' can't be read")
    assert "support" in found["metrics"]["all"]


async def test_a_run_too_large_to_wait_for_is_said(
    people: Organisation, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await evaluate(people, *CASES[:2])
    monkeypatch.setattr("evaluation.runs.MOST_CASES", 1)
    assert (await read(connect, f"/{report.experiment_id}", expected=422))["code"] == "RunTooLarge"
    assert len((await read(connect, f"/{report.experiment_id}/cases"))["items"]) == 2


async def test_only_those_who_measure_see_runs_and_only_their_own_organisation_s(
    app: Any, people: Organisation, connect: Connect
) -> None:
    report = await evaluate(people, *CASES[:2])
    paths = ("", "/suites", "/forecast?suite=small", *(f"/{report.experiment_id}{end}" for end in ENDS))
    for person in people.people.keys() - {"admin", "evaluator"}:
        for path in paths:
            assert (await read(connect, path, person, 403))["code"] == "RoleMissing"
        await call(connect, person, "POST", "", 403, suite="small")
    other = await found_organisation()
    key = (await issue_keys(other))["evaluator"]
    for end in ENDS:
        problem = await read(connect, f"/{report.experiment_id}{end}", key, 404)
        assert problem["code"] == "ExperimentNotFound"
    assert (await read(connect, "", key))["items"] == (await read(connect, "/suites", key))["items"] == []
    assert (await call(connect, key, "POST", "", 404, suite="small"))["code"] == "DatasetNotFound"


ENDS = ("", "/cases", "/comparison", "/report")
