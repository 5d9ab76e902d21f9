"""A suite judged by a service that breaks: what was scored, what was not, what it cost, and how the command ends."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.main import app
from core.settings import ModelSettings, get_settings
from evaluation.compare import WHOLE, list_unjudged, summarize
from evaluation.judge import RagasJudge
from evaluation.records import BY_JUDGE
from evaluation.run import run_suite
from evaluation.suites import load_suite
from rag.answer import Assistant
from tests.evaluation.judge_server import LASTING, JudgeServer, serve_in_thread
from tests.evaluation.test_run import CASES, TALKS, UNANSWERABLE
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, name_people, store_session
from tests.rag.openai_server import serve_model

PRICES = ("0.15", "0.60")  # USD for a million tokens of gpt-4o-mini, read and written


@pytest.fixture
async def suite(organisation: Organisation, tmp_path: Path) -> Path:
    """The suite's folder, and an organisation that has what it asks about."""
    await name_people(organisation)
    for day, (topic, promise, fact) in enumerate(TALKS, 1):
        turns = [("coach", f"Tell me about {topic}."), ("client", fact), ("coach", "And then?"), ("client", promise)]
        await store_session(organisation, turns, held_at=datetime(2026, 3, day, 9, tzinfo=UTC))
    cases = [case.model_dump(mode="json") for case in (*CASES, UNANSWERABLE)]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, cases)))
    said = {
        "name": "small", "tenant": organisation.slug, "user": f"coach_a@{organisation.slug}.example",
        "cases": "cases.jsonl", "asked_at": "2026-06-01T00:00:00Z",
    }  # fmt: skip
    (tmp_path / "suite.yaml").write_text(json.dumps(said))
    return tmp_path


@pytest.fixture
async def server() -> AsyncIterator[JudgeServer]:
    model = JudgeServer(broken=0.15, shaken=0.2)
    async with serve_model(model):
        yield model


async def test_every_judgement_is_scored_or_counted(
    server: JudgeServer, suite: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ModelSettings(model="gpt-4o-mini", base_url=server.url, api_key=SecretStr("k"))
    async with aclosing(RagasJudge(settings, EMBEDDER, cache=tmp_path / "kept")) as judge:
        report = await run_suite(Assistant(EMBEDDER), load_suite(suite), judge=judge)
        assert report.status == "completed"
        assert all(server.fates[fate] for fate in ("well", "garbage", "cut", "busy", "slow")), server.fates
        answers = [one for one in report.results if one.response and not one.response.refused]
        assert all({name for name, value in one.scores.items() if name in BY_JUDGE and value is None}
                   == set(one.judge_errors) for one in report.results)  # fmt: skip
        assert 0 < len(list_unjudged(report.results)) < len(answers) * len(BY_JUDGE)
        assert all("can't be used" in one.error for one in list_unjudged(report.results))  # no busy or slow one is lost
        faithful = [one.scores["faithfulness"] or 0.0 for one in answers]
        assert summarize(report.results)[WHOLE]["faithfulness"].mean == pytest.approx(sum(faithful) / len(faithful))
        assert report.cost_usd == server.add_up(*PRICES)  # what the service charged, failures too

        # the same again: what was judged is not asked once more, what failed is
        server.requests.clear()
        again = await run_suite(Assistant(EMBEDDER), load_suite(suite), judge=judge, anew=True)
    assert [record for record in caplog.records if record.name.startswith("instructor")] == []  # it logs people's words
    prompts = {str(request.body["messages"][1]["content"]) for request in server.requests}
    assert {one.case_id for one in list_unjudged(again.results)} == {
        one.case_id for one in list_unjudged(report.results)
    }
    assert any(server.find_fate(prompt) in LASTING for prompt in prompts)
    whole = {one.case_id for one in report.results} - {one.case_id for one in list_unjudged(report.results)}
    assert not any(case.user_input in prompt for case in CASES if case.id in whole for prompt in prompts)


@pytest.fixture
def command(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[JudgeServer, Path]]:
    """The suite, and settings that let one breaking service answer and judge."""
    with serve_in_thread(JudgeServer(broken=0.15, shaken=0.1)) as server:
        for name, value in (("MODEL", "gpt-4o-mini"), ("BASE_URL", server.url), ("API_KEY", "k")):
            monkeypatch.setenv(f"REGENESIS_LLM__{name}", value)
        get_settings.cache_clear()
        try:
            yield server, suite
        finally:
            get_settings.cache_clear()


def call(suite: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["eval", "run", str(suite), "--judge", "ragas", "--json", *options])
    assert result.stdout, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, report


def test_the_command_counts_what_failed_and_ends_by_rule(command: tuple[JudgeServer, Path]) -> None:
    server, suite = command
    baseline = suite / "base.json"
    code, report = call(suite, "--fail-on", "support < 0.01", "--write-baseline", str(baseline))
    assert (code, report["status"], report["answers"], report["broken"]) == (0, "completed", 13, [])
    assert Decimal(report["cost_usd"]) == server.add_up(*PRICES)  # answers and judgements
    assert report["not_judged"]
    assert set(report["not_judged"][0]) == {"case_id", "repeat", "metric", "error"}

    server.broken, server.shaken = 1.0, 0.0  # from here on nothing is judged
    for kept in (get_settings().home / "judgements").glob("*.json"):
        kept.unlink()
    options = ["--judge", "ragas", "--anew", "--baseline", str(baseline)]
    shown = CliRunner().invoke(app, ["eval", "run", str(suite), *options])
    assert shown.exit_code == 1
    judged = [one for one in json.loads(baseline.read_text())["cases"] if "faithfulness" in one["scores"]]
    said = " ".join(shown.stdout.split())
    lost = re.findall(r"not judged faithfulness: (\d+) of (\d+) judgements failed and count as worst\.", said)
    assert sum(int(count) for count, _ in lost) == len(judged)  # a line for each cause
    assert {int(whole) for _, whole in lost} == {len(judged)}
    assert f"{len(judged)} of them not judged)" in said
    assert "✗ response_relevancy got worse" in said
