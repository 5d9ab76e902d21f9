"""Reports are kept beside the organisation's other objects, once a format and without anybody's words."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import select

from core.settings import Settings
from core.storage import open_store
from db.models import RagReport
from db.session import tenant_session
from evaluation.publish import (
    ReportPagesMissing,
    list_runs,
    load_report,
    make_report,
    publish_report,
    render,
    without_words,
)
from evaluation.runs import RunTooLarge, get_run, load_visible_results
from evaluation.store import ExperimentNotFound, load_results
from tests.evaluation.test_run import CASES, TALKS, UNANSWERABLE, DearJudge, make_suite, people, run
from tests.factories.people import Organisation

__all__ = ["people"]


async def test_a_report_is_written_in_every_format_once(
    people: Organisation, settings: Settings, tmp_path: Path
) -> None:
    first = await run(people, make_suite())
    other = await run(people, make_suite(CASES[0]))
    store = open_store(tmp_path.as_uri(), settings.storage)
    async with tenant_session(people.system) as session:
        found = await load_report(session, first.experiment_id, baseline=first.results)
        for _ in range(2):
            addresses = await publish_report(session, store, found)
        kept = (await session.scalars(select(RagReport))).all()
        rows = await list_runs(session)
        assert [row.id for row in await list_runs(session, limit=1)] == [other.experiment_id]
    assert {(row.format, row.report_url) for row in kept} == set(addresses.items())
    assert len(kept) == 3
    assert [(row.id, row.answers, row.failed) for row in rows] == [
        (other.experiment_id, 1, 0), (first.experiment_id, 13, 0),
    ]  # fmt: skip
    files = {kind: Path(unquote(urlsplit(address).path)) for kind, address in addresses.items()}
    assert str(people.tenant_id) in str(files["html"])
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["markdown"].read_text().startswith("# small")
    assert len(orjson.loads(files["json"].read_bytes())["results"]) == 13
    assert "promise-3" in files["html"].read_text()
    words = [*(word for talk in TALKS for word in talk), UNANSWERABLE.user_input]
    assert any(word in render(found, "json").decode() for word in words)
    for file in files.values():
        assert [word for word in words if word in file.read_text()] == []


async def test_a_regression_is_published_by_its_case_alone(people: Organisation, settings: Settings) -> None:
    good = await run(people, make_suite())
    bad = await run(people, make_suite(*CASES[:3], UNANSWERABLE), judge=DearJudge())
    async with tenant_session(people.system) as session:
        judged = await load_report(session, bad.experiment_id, baseline=good.results, rules=["support < 1.1"])
        async with tenant_session(people.system) as other:
            store = open_store((settings.home / "published").as_uri(), settings.storage)
            (settings.home / "published").mkdir(exist_ok=True)
            addresses = await publish_report(other, store, judged)
    assert judged.comparison is not None
    assert judged.comparison.regressions
    assert any("cases have no result" in said for said in judged.broken)
    assert any(said.startswith("`support < 1.1` is broken") for said in judged.broken)
    kept = orjson.loads(await store.read(addresses["json"].removeprefix(f"{store.url}/"), max_bytes=1 << 20))
    worse = kept["comparison"]["regressions"][0]
    assert (worse["user_input"], worse["answer_before"], worse["answer_after"]) == ("", "", "")
    assert worse["case_id"]
    risen = replace(judged, comparison=replace(judged.comparison, improvements=judged.comparison.regressions))
    hidden = without_words(risen).comparison
    assert hidden is not None
    assert {one.user_input + one.answer_before + one.answer_after for one in hidden.improvements} == {""}


async def test_rules_hold_without_a_baseline_and_a_part_is_no_whole(people: Organisation) -> None:
    short = await run(people, make_suite(), judge=DearJudge(), budget_usd=Decimal(6))
    async with tenant_session(people.system) as session:
        row, results = await get_run(session, short.experiment_id), await load_results(session, short.experiment_id)
    report = make_report(row, results, rules=["support < 1.1", "support < baseline - 0.1"])
    assert report.broken[0].startswith("The run is not whole: over budget after")
    assert [said.partition(" is")[0] for said in report.broken[1:]] == ["`support < 1.1`"]
    assert make_report(row, results).broken == report.broken[:1]


async def test_of_a_limited_run_the_same_cases_are_compared(people: Organisation) -> None:
    whole = await run(people, make_suite())
    part = await run(people, make_suite(), limit=4)
    async with tenant_session(people.system) as session:
        report = await load_report(session, part.experiment_id, baseline=whole.results)
    assert report.comparison is not None
    assert (report.comparison.missing, report.broken) == ([], [])


async def test_scores_are_for_whoever_measures_and_words_for_whoever_asked(people: Organisation) -> None:
    report = await run(people, make_suite(), judge=DearJudge())
    async with tenant_session(people.evaluator) as session:
        row = await get_run(session, report.experiment_id)
        seen = await load_visible_results(session, row)
    assert (row.answers, row.failed, row.version, row.status) == (13, 0, 1, "completed")
    assert {one.case_id: one.scores for one in seen} == {one.case_id: one.scores for one in report.results}
    assert [one.case_id for one in seen if one.response or one.error or one.flags] == []
    assert [one.user_input for one in seen if one.user_input] == [UNANSWERABLE.user_input]
    assert {one.case_id: one.count("faithfulness") for one in seen}["promise-2"] == 0.0
    assert {tuple(one.groups) for one in seen} == {("answerable", "question_type"), ("answerable",)}
    page = render(make_report(row, seen), "html").decode()
    assert [word for talk in TALKS for word in talk if word in page] == []
    async with tenant_session(people.system) as session:
        whole = await load_visible_results(session, row)
    assert whole == sorted(report.results, key=lambda one: one.case_id)
    for nobody in (people.coach_a, people.client_a):
        async with tenant_session(nobody) as session:
            with pytest.raises(ExperimentNotFound):
                await get_run(session, report.experiment_id)
            assert await load_visible_results(session, row) == []


async def test_a_run_that_is_too_large_is_not_worked_out(people: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await run(people, make_suite(CASES[0], CASES[1]))
    async with tenant_session(people.evaluator) as session:
        row = await get_run(session, report.experiment_id)
        monkeypatch.setattr("evaluation.runs.MOST_CASES", 1)
        with pytest.raises(RunTooLarge):
            await load_visible_results(session, row)


async def test_pages_without_their_libraries_are_one_sentence(
    people: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await run(people, make_suite(CASES[0]))
    async with tenant_session(people.system) as session:
        found = await load_report(session, report.experiment_id)

    def fail(_: object) -> str:
        raise ModuleNotFoundError("matplotlib")

    monkeypatch.setattr("evaluation.publish.render_html", fail)
    with pytest.raises(ReportPagesMissing):
        render(found, "html")
    assert render(found, "markdown").startswith(b"# small")


async def test_a_run_that_is_not_there_is_said_to_be(people: Organisation) -> None:
    async with tenant_session(people.system) as session:
        with pytest.raises(ExperimentNotFound):
            await load_report(session, uuid4())
