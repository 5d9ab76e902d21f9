"""`regenesis eval online`: what it prints and what it tells programs."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

import pipelines.ingest
from cli.main import app
from core.settings import Settings
from db.session import close_store
from evaluation.drift import LOOKS
from rag.fakes import HashEmbedder
from tests.evaluation.test_drift import plant
from tests.factories.answers import agree, store_answer
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import EMBEDDER, store_session

PROMISE = "I'll mend the greenhouse roof before the first frost."


async def _answer_some() -> Organisation:
    people = await found_organisation()
    await agree(people.client_a)
    await agree(people.coach_a)
    stored = await store_session(people, [("client", PROMISE)])
    await store_answer(people.coach_a, (stored, PROMISE))
    await close_store()
    return people


async def _drift(people: Organisation) -> None:
    await plant(people, now=datetime.now(UTC), shift={"support": 0.4})
    await close_store()


@pytest.fixture
def people(store: Settings, monkeypatch: pytest.MonkeyPatch) -> Organisation:
    """An organisation with one answer that may be studied."""

    async def load(_: object) -> HashEmbedder:
        return EMBEDDER

    monkeypatch.setattr(pipelines.ingest, "load_embedder", load)
    return asyncio.run(_answer_some())


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["eval", "online", *arguments])


def test_scores_are_shown_and_told_to_programs(people: Organisation) -> None:
    shown = call("--tenant", people.slug)
    assert shown.exit_code == 0, shown.stderr
    assert "1 answer scored, 0 of them refusals." in shown.stdout
    assert "No judge: no budget is set" in shown.stdout
    lines = [line.split() for line in shown.stdout.splitlines() if line.startswith("cited_sentences")]
    assert lines == [["cited_sentences", str(look), "–", "1", "1", "after", "0", "too", "few"] for look in LOOKS]
    assert "greenhouse" not in shown.stdout
    told = json.loads(call("--tenant", people.slug, "--json", "--count", "5").stdout)
    assert (told["sampled"], told["scored"], told["told"]) == (0, 0, [])
    assert {one["metric"] for one in told["trends"]} >= {"support", "refused", "total_ms", "cost_usd"}


def test_drift_is_shown(people: Organisation) -> None:
    asyncio.run(_drift(people))
    shown = call("--tenant", people.slug).stdout
    assert "Told evaluators, administrators and webhooks: support." in shown
    assert "drifted" in shown


def test_what_can_not_be_is_one_sentence(people: Organisation) -> None:
    result = call("--tenant", "nobody")
    assert result.exit_code == 1
    assert "There is no active organisation 'nobody'" in result.stderr
    late = call("--tenant", people.slug, "--since", "2999-01-01")
    assert late.exit_code == 1
    assert "The window begins in the future" in late.stderr
