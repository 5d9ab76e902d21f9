"""Ragas end to end, by the real openai client over HTTP, against a service that judges by rule and breaks at will."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import ModelSettings
from evaluation.judge import NoJudge, RagasJudge
from evaluation.records import Response
from evaluation.suites import Case
from rag.fakes import HashEmbedder
from tests.evaluation.judge_server import JudgeServer, say
from tests.rag.openai_server import Reply, error_reply, serve_model

SOURCE = "Solveig sold the mill in March. The buyer was her cousin."
CASE = Case(id="mill", user_input="What happened to the mill?", reference="Solveig sold the mill in March.")
FAITHFUL = Response(
    text="Solveig sold the mill in March.", refused=False, provider="x", contexts=(SOURCE, "Rain fell.")
)
HALF = Response(
    text="Solveig sold the mill in March. The buyer was a bank.", refused=False, provider="x", contexts=(SOURCE,)
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ragas and instructor, at import


@pytest.fixture
async def server() -> AsyncIterator[JudgeServer]:
    model = JudgeServer()
    async with serve_model(model):
        yield model


def make_judge(server: JudgeServer, cache: Path | None = None, model: str = "gpt-4o-mini") -> RagasJudge:
    settings = ModelSettings(model=model, base_url=server.url, api_key=SecretStr("k"), timeout_s=5)
    return RagasJudge(settings, HashEmbedder(), cache=cache)


async def test_a_faithful_and_a_half_faithful_answer(server: JudgeServer) -> None:
    async with aclosing(make_judge(server)) as judge:
        good, half = await judge.score(CASE, FAITHFUL), await judge.score(CASE, HALF)
    assert good.errors == half.errors == ()
    assert (good.scores["faithfulness"], good.scores["hallucination"]) == (1.0, 0.0)
    assert (half.scores["faithfulness"], half.scores["hallucination"]) == (0.5, 0.5)
    assert good.scores["judged_context_precision"] == pytest.approx(1.0)
    assert good.scores["judged_context_recall"] == 1.0
    assert good.scores["response_relevancy"] is not None
    assert 0 < good.scores["response_relevancy"] <= 1
    # two statements and verdicts, three questions, two passages, one recall: eight calls of 1,000 and 100 tokens
    assert good.cost_usd == Decimal(8) * (Decimal("0.15") * 1_000 + Decimal("0.60") * 100) / 1_000_000
    assert all("max_tokens" in request.body or "max_completion_tokens" in request.body for request in server.requests)
    assert all(request.headers["authorization"] == "Bearer k" for request in server.requests)


async def test_what_a_metric_needs_decides_whether_it_is_asked(server: JudgeServer) -> None:
    bare = Case(id="mill", user_input="What happened to the mill?")
    async with aclosing(make_judge(server)) as judge:
        verdict = await judge.score(bare, FAITHFUL)
    assert set(verdict.scores) == {"faithfulness", "response_relevancy", "hallucination"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (error_reply(401, code="invalid_api_key"), "key"),
        (error_reply(400, message="bad request"), "bad request"),
        (say("not json at all"), "can't be used"),
        (say('{"statements": ["cut', reason="length"), "can't be used"),
        (say("{}"), "can't be used"),
        (Reply((b'{"choices": []}',)), "can't be used"),
        (Reply((b"<html>",)), "can't be used"),
    ],
)
async def test_a_fault_loses_its_metric_and_no_other(server: JudgeServer, fault: Reply, said: str) -> None:
    bare = Case(id="mill", user_input="What happened to the mill?")
    async with aclosing(make_judge(server)) as judge:
        whole = await judge.score(bare, FAITHFUL)
        server.faults = [fault] * 40
        broken = await judge.score(bare, HALF)
        server.faults = []
        again = await judge.score(bare, HALF)
    assert whole.errors == again.errors == ()
    assert broken.scores == {"faithfulness": None, "response_relevancy": None, "hallucination": None}
    assert len(broken.errors) == 2
    assert all(said in error for error in broken.errors), broken.errors
    assert all(error.split(": ")[0] in broken.scores for error in broken.errors)


async def test_a_busy_service_is_asked_again(server: JudgeServer) -> None:
    bare = Case(id="mill", user_input="What happened to the mill?")
    server.faults = [error_reply(429, code="rate_limit_exceeded"), error_reply(503)]
    async with aclosing(make_judge(server)) as judge:
        verdict = await judge.score(bare, FAITHFUL)
    assert verdict.errors == ()
    assert verdict.scores["faithfulness"] == 1.0


async def test_no_statement_is_an_error_not_a_nan(server: JudgeServer) -> None:
    bare = Case(id="mill", user_input="What happened to the mill?")
    server.faults = [say(json.dumps({"statements": []}))] * 2
    async with aclosing(make_judge(server)) as judge:
        verdict = await judge.score(bare, FAITHFUL)
    assert verdict.scores["faithfulness"] is None
    assert verdict.scores["hallucination"] is None
    assert any("no statement" in error or "can't be used" in error for error in verdict.errors)


async def test_the_cache_belongs_to_its_judge(server: JudgeServer, tmp_path: Path) -> None:
    async with aclosing(make_judge(server, tmp_path)) as judge:
        first = await judge.score(CASE, FAITHFUL)
        calls = len(server.requests)
        second = await judge.score(CASE, FAITHFUL)
        assert len(server.requests) == calls
        assert (second.scores, second.cost_usd) == (first.scores, Decimal(0))
        changed = await judge.score(CASE, HALF)
        assert changed.scores["faithfulness"] == 0.5
    async with aclosing(make_judge(server, tmp_path, model="gpt-4o")) as other:
        calls = len(server.requests)
        await other.score(CASE, FAITHFUL)
        assert len(server.requests) == calls + 8


async def test_an_unpriced_judge_costs_nobody_knows_what(server: JudgeServer) -> None:
    async with aclosing(make_judge(server, model="house-judge-7")) as judge:
        assert (await judge.score(CASE, FAITHFUL)).cost_usd is None


def test_without_a_model_there_is_no_judge() -> None:
    with pytest.raises(NoJudge):
        RagasJudge(ModelSettings(), HashEmbedder())
