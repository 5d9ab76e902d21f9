"""The pages of evaluations as evaluators use them: runs, one run with its worst answers, two compared, one started."""

import asyncio
import re
from typing import Any
from uuid import UUID

from playwright.async_api import Page, expect

from api.web.evaluations.words import name_group, say_chance, say_cost, say_figure
from db.session import Principal, tenant_session
from domain.consents import record_consent
from domain.roles import grant_role, revoke_role
from evaluation.records import Response
from evaluation.run import RunReport, Verdict
from evaluation.suites import Case
from rag.answer import Assistant
from tests.api.conftest import FlowServer
from tests.evaluation.test_run import (
    CASES,
    TALKS,
    UNANSWERABLE,
    DearJudge,
    _refuse_neighbours,
    make_suite,
    people,
    run,
)
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id
from tests.web.browser import Eyes, find_barriers

__all__ = ["people"]
WORDS = [word for talk in TALKS for word in talk[1:]]
POOR = Assistant(EMBEDDER, top_k=1, retriever=_refuse_neighbours)


class FallibleJudge(DearJudge):
    """Judges all alike but the first answer it sees."""

    failed = ""

    async def score(self, case: Case, response: Response) -> Verdict:
        """Return its scores."""
        if not self.failed:
            self.failed = case.id
            errors = {"faithfulness": "The judge sent no JSON.", "hallucination": "The judge sent no JSON."}
            return Verdict(scores=dict.fromkeys(errors), errors=errors)
        return await super().score(case, response)


async def evaluate(people: Organisation, **more: Any) -> RunReport:
    """Run the suite `small` as coach_a, without a flow; fails where a rule of it is broken."""
    suite = make_suite(tenant=people.slug, user=f"coach_a@{people.slug}.example", fail_on=("citation_recall < 0.999",))
    return await run(people, suite, **more)


async def make_evaluator_of(people: Organisation) -> Principal:
    """Let coach_a, as whom cases are asked, evaluate too, and return them in that role."""
    async with tenant_session(people.system) as session:
        await grant_role(session, user_id=require_id(people.coach_a), role="evaluator", granted_by=None)
    return Principal(people.tenant_id, "evaluator", people.coach_a.user_id)


async def settle(page: Page) -> None:
    """Wait until nothing is being worked out any more."""
    await expect(page.locator(".waiting")).to_have_count(0)


async def test_whoever_asked_finds_the_worst_answer_with_its_evidence(eyes: Eyes, people: Organisation) -> None:
    judge = FallibleJudge()
    report = await evaluate(people, judge=judge)
    page = await eyes.open("/evaluations", await make_evaluator_of(people))
    row = page.get_by_role("row").filter(has_text="small, version 1")
    await expect(row).to_contain_text("Completed")
    await expect(row).to_contain_text("13 answers")
    await expect(row).to_contain_text(re.compile(r"0\.\d\d to 0\.\d\d"))
    await expect(page.get_by_role("columnheader", name="Faithfulness")).to_be_visible()
    assert await find_barriers(page) == []
    await row.get_by_role("link").click()
    await expect(page).to_have_url(re.compile(f"/evaluations/{report.experiment_id}$"))
    await settle(page)
    await expect(page.get_by_role("region", name="Verdict")).to_contain_text("citation_recall < 0.999")
    await expect(page.get_by_role("row").filter(has_text="share of the wanted words that are cited")).to_be_visible()
    lost = page.get_by_role("row").filter(has_text=judge.failed).filter(has_text="the judgement of faithfulness")
    await expect(lost).to_contain_text("The judge sent no JSON.")
    await page.get_by_label("Worst by").select_option("citation_recall")
    worst = page.get_by_role("article").first
    lowest = min(value for one in report.results if (value := one.scores["citation_recall"]) is not None)
    await expect(worst).to_contain_text(re.compile(rf"Citation recall {lowest:.2f}"))
    asked = {one.user_input: one for one in report.results}
    shown = asked[await worst.get_by_role("heading", level=3).inner_text()]
    assert shown.response is not None
    await expect(worst).to_contain_text(shown.response.text)
    for passage in shown.response.contexts:
        await expect(worst).to_contain_text(passage.splitlines()[-1])
    before = await page.get_by_role("article").count()
    await page.get_by_role("button", name="Show more").click()
    await expect(page.get_by_role("article")).not_to_have_count(before)
    await expect(
        page.get_by_role("img", name=re.compile("answers, the mean of their quality against milliseconds"))
    ).to_be_visible()
    await page.get_by_text("The lowest in quality as a table").click()
    lowest_case = page.get_by_role("table", name="Lowest quality").get_by_role("button").first
    named = await lowest_case.inner_text()
    await lowest_case.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading", level=2)).to_have_text(named)
    await expect(dialog).to_contain_text(next(one.user_input for one in report.results if one.case_id == named))
    assert await find_barriers(page) == []
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)
    await page.get_by_label("Metric").select_option("context_recall")
    await expect(page.get_by_text("Context recall: 12 answers").first).to_be_visible()
    await expect(page.get_by_role("row", name=re.compile("promise 6"))).to_be_visible()
    assert await find_barriers(page) == []
    async with tenant_session(people.system) as session:
        await revoke_role(session, user_id=require_id(people.coach_a), role="evaluator")
    for metric in ("support", "claim_coverage") * 6:  # a process takes an ended sign-in for some seconds more
        await page.get_by_label("Worst by").select_option(metric)
        await asyncio.sleep(1)
        if "/sign-in" in page.url:
            break
    await expect(page).to_have_url(re.compile("/sign-in"))


async def test_an_evaluator_reads_answers_as_whoever_asked_where_clients_agree(
    eyes: Eyes, people: Organisation
) -> None:
    report = await evaluate(people)
    page = await eyes.open(f"/evaluations/{report.experiment_id}", people.evaluator)
    await settle(page)
    await expect(page.get_by_role("article").first).to_contain_text("Hidden question")
    async with tenant_session(people.system) as session:
        await record_consent(session, user_id=require_id(people.client_a), purpose="evaluation", version="1")
    await page.reload()
    await settle(page)
    worst = page.get_by_role("article").first
    asked = {one.user_input: one for one in report.results}
    shown = asked[await worst.get_by_role("heading", level=3).inner_text()]
    assert shown.response is not None
    await expect(worst).to_contain_text(shown.response.text)
    await expect(worst).to_contain_text(shown.response.contexts[0].splitlines()[-1])
    await expect(page.get_by_text("Hidden question")).to_have_count(0)


async def test_evaluators_see_scores_without_words(eyes: Eyes, people: Organisation) -> None:
    good, poor = await evaluate(people), await evaluate(people, assistant=POOR)
    for path in (
        f"/evaluations/{poor.experiment_id}",
        f"/evaluations/compare?a={good.experiment_id}&b={poor.experiment_id}",
    ):
        page = await eyes.open(path, people.evaluator, width=380, dark=True)
        await settle(page)
        await expect(page.get_by_text(re.compile("only the scores are shown")).first).to_be_visible()
        said = await page.locator("#content").inner_text()
        assert [word for word in WORDS if word in said] == []
        assert "promise-" in said
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await find_barriers(page) == []


async def test_two_runs_are_compared_and_the_worse_is_called_worse(eyes: Eyes, people: Organisation) -> None:
    good, poor = await evaluate(people), await evaluate(people, assistant=POOR)
    page = await eyes.open("/evaluations", await make_evaluator_of(people))
    boxes = page.get_by_role("checkbox")
    await boxes.nth(0).check()
    await expect(page.get_by_text("choose another of that suite")).to_be_visible()
    await boxes.nth(1).check()
    await page.get_by_role("link", name="Compare the two runs").click()
    await expect(page).to_have_url(re.compile(f"a={good.experiment_id}&b={poor.experiment_id}"))
    await settle(page)
    verdict = page.get_by_role("region", name="Verdict")
    await expect(verdict).to_contain_text("The later run is worse.")
    await expect(verdict).to_contain_text(re.compile(r"Citation recall fell from .* 95 % interval .* p [<=]"))
    await expect(page.get_by_role("row", name="Top k 8 1")).to_be_visible()
    assert await page.get_by_text("▼ worse").count() >= 2
    fallen = page.locator("section").filter(has=page.get_by_role("heading", name=re.compile("Cases that got worse")))
    change = fallen.get_by_role("listitem").first
    await expect(change).to_contain_text(re.compile(r"▼ .* 1\.00 → 0\.00"))
    answers = {one.user_input: one.response.text for one in good.results if one.response}
    question = await change.get_by_role("heading", level=3).inner_text()
    await expect(change).to_contain_text(answers[question])
    assert await find_barriers(page) == []
    await page.get_by_role("link", name="The other way round").click()
    await settle(page)
    await expect(page.get_by_role("region", name="Verdict")).to_contain_text(
        "The later run is better, but a rule is broken."
    )
    other = await run(people, make_suite(CASES[0], name="other"))
    for query, said in (
        ("", "There is no such run"), (f"?a={good.experiment_id}&b={UUID(int=7)}", "There is no such run"),
        (f"?a={good.experiment_id}&b={other.experiment_id}", "a run of small; choose an earlier run of other"),
    ):  # fmt: skip
        await page.goto(f"/evaluations/compare{query}")
        await expect(page.get_by_text(said)).to_be_visible()


async def test_a_run_is_started_after_its_forecast_is_shown(
    eyes: Eyes, flows: FlowServer, people: Organisation
) -> None:
    good = await evaluate(people)
    page = await eyes.open("/evaluations", people.evaluator)
    await page.get_by_role("button", name="Start a run").click()
    form = page.get_by_role("region", name="Start a run")
    start = form.get_by_role("button", name="Start the run")
    await expect(form).to_contain_text("It asks 13 questions and costs nothing.")
    await expect(start).to_be_enabled()
    assert await find_barriers(page) == []
    await form.get_by_label("Questions").fill("5")
    await expect(start).to_be_disabled()
    await expect(form).to_contain_text("It asks 5 questions and costs nothing.")
    await form.get_by_label("Repeats").fill("500")
    await expect(form).to_contain_text("Repeats: input should be less than or equal to 100.")
    await expect(start).to_be_disabled()
    await form.get_by_label("Repeats").fill("")
    await form.get_by_label("Judged by").select_option("ragas")
    await expect(form).to_contain_text("No model is set to judge with")
    await form.get_by_label("Judged by").select_option("none")
    await form.get_by_label("Hold it against").select_option(str(good.experiment_id))
    await expect(start).to_be_enabled()
    await start.click()
    await expect(page.get_by_text("Waiting for the flow server to begin it")).to_be_visible()
    (begun,) = flows.started
    assert begun["parameters"] == {
        "tenant_id": str(people.tenant_id), "suite": "small", "repeats": None, "limit": 5, "budget_usd": None,
        "judge": "none", "baseline": str(good.experiment_id), "fail_on": None,
    }  # fmt: skip
    (flow_run,) = flows.by_key.values()
    await evaluate(people, anew=True, limit=5, flow_run_id=UUID(flow_run["id"]))
    await expect(page.get_by_text("small: 5 of 5 answered")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="5 answers")).to_be_visible()
    flows.deployed = False
    await page.get_by_role("button", name="Start a run").click()
    await start.click()
    await expect(form).to_contain_text("has no deployment 'run-evaluation'")
    assert len(flows.started) == 1


async def test_others_are_told_whose_page_it_is(eyes: Eyes, people: Organisation) -> None:
    report = await run(people, make_suite(CASES[0], UNANSWERABLE))
    for person in (people.coach_a, people.client_a, people.executive, people.compliance):
        page = await eyes.open(f"/evaluations/{report.experiment_id}", person)
        await expect(page.get_by_text("It is for admins and evaluators")).to_be_visible()
        await expect(page.get_by_text("small")).to_have_count(0)
    page = await eyes.open("/evaluations/not-a-run", people.evaluator, width=380)
    await expect(page.get_by_text("There is no such run")).to_be_visible()
    await page.goto("/evaluations")
    await settle(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await find_barriers(page) == []


def test_figures_are_said_as_people_read_them() -> None:
    assert [say_cost(amount) for amount in (None, 0, 0.0123, 1234.5)] == [
        "not known",
        "nothing",
        "$0.0123",
        "$1,234.50",
    ]
    assert [say_chance(chance) for chance in (0.0002, 0.0251)] == ["p < 0.001", "p = 0.025"]
    assert say_figure("support", -0.123, sign=True) == "\N{MINUS SIGN}0.12"
    assert say_figure("cost_usd", 0.00123) == "0.0012"
    assert (name_group("question_type=leak_probe"), name_group("answerable")) == (
        "Question type: leak probe",
        "Answerable",
    )
