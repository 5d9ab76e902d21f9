"""Ragas end to end, by the real openai client over HTTP, against a service that judges by rule and breaks at will."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import ModelSettings
from evaluation.judge import AT_ONCE, NoJudge, RagasJudge
from evaluation.records import Response
from evaluation.suites import Case
from rag.embedding.protocol import Embedder
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


def make_judge(
    server: JudgeServer, cache: Path | None = None, model: str = "gpt-4o-mini", embedder: Embedder | None = None
) -> RagasJudge:
    settings = ModelSettings(model=model, base_url=server.url, api_key=SecretStr("k"))
    return RagasJudge(settings, embedder or HashEmbedder(), cache=cache)


async def test_a_faithful_and_a_half_faithful_answer(server: JudgeServer) -> None:
    async with aclosing(make_judge(server)) as judge:
        good = await judge.score(CASE, FAITHFUL)
        calls, charged = len(server.requests), server.add_up("0.15", "0.60")
        half = await judge.score(CASE, HALF)
    assert good.errors == half.errors == {}
    assert (good.scores["faithfulness"], good.scores["hallucination"]) == (1.0, 0.0)
    assert (half.scores["faithfulness"], half.scores["hallucination"]) == (0.5, 0.5)
    assert good.scores["judged_context_precision"] == pytest.approx(1.0)
    assert good.scores["judged_context_recall"] == 1.0
    assert good.scores["response_relevancy"] is not None
    assert 0 < good.scores["response_relevancy"] <= 1
    assert (calls, good.cost_usd) == (8, charged)  # statements and verdicts, three questions, two passages, one recall
    assert all("max_tokens" in request.body or "max_completion_tokens" in request.body for request in server.requests)
    assert all(request.headers["authorization"] == "Bearer k" for request in server.requests)


async def test_marks_of_citations_are_not_judged(server: JudgeServer) -> None:
    marked = replace(FAITHFUL, text="Solveig sold the mill in March. [1]")
    async with aclosing(make_judge(server)) as judge:
        plain, same = await judge.score(CASE, FAITHFUL), await judge.score(CASE, marked)
    assert (same.scores, same.errors) == (plain.scores, {})


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
    assert whole.errors == again.errors == {}
    assert broken.scores == {"faithfulness": None, "response_relevancy": None, "hallucination": None}
    assert set(broken.errors) == set(broken.scores)
    assert all(said in error for error in broken.errors.values()), broken.errors


async def test_a_busy_service_is_asked_again(server: JudgeServer) -> None:
    bare = Case(id="mill", user_input="What happened to the mill?")
    server.faults = [error_reply(429, code="rate_limit_exceeded"), error_reply(503)]
    async with aclosing(make_judge(server)) as judge:
        verdict = await judge.score(bare, FAITHFUL)
    assert verdict.errors == {}
    assert verdict.scores["faithfulness"] == 1.0


async def test_no_statement_is_an_error_not_a_nan(server: JudgeServer) -> None:
    server.faults = [say(json.dumps({"statements": []}))]
    async with aclosing(make_judge(server)) as judge:
        judged = await judge.judge_faithfulness(CASE.user_input, FAITHFUL.text, FAITHFUL.contexts)
    assert judged.score is None
    assert "found nothing to judge" in (judged.error or "")
    assert judged.cost_usd


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


async def test_all_that_a_judgement_depends_on_is_in_its_key(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is changed, the judge is asked again; and not where nothing is."""
    bare = Case(id="mill", user_input="What happened to the mill?")

    async def ask(judge: RagasJudge, case: Case = CASE, response: Response = FAITHFUL) -> int:
        before = len(server.requests)
        async with aclosing(judge):
            assert (await judge.score(case, response)).errors == {}
        return len(server.requests) - before

    assert await ask(make_judge(server, tmp_path)) == 8
    assert await ask(make_judge(server, tmp_path)) == 0
    assert await ask(make_judge(server, tmp_path), bare) == 0  # what needs no reference is the same without
    assert await ask(make_judge(server, tmp_path, embedder=HashEmbedder(64))) == 8
    other_reference = CASE.model_copy(update={"reference": "Rain fell."})
    assert await ask(make_judge(server, tmp_path), other_reference) == 3  # two passages and one recall
    other_question = CASE.model_copy(update={"user_input": "Who has the mill?"})
    assert await ask(make_judge(server, tmp_path), other_question) == 8
    swapped = replace(FAITHFUL, contexts=FAITHFUL.contexts[::-1])
    assert await ask(make_judge(server, tmp_path), CASE, swapped) == 5  # relevance does not read the passages
    for name, value in (("MAX_TOKENS", 4_096), ("TEMPERATURE", 0.5)):
        with monkeypatch.context() as changed:
            changed.setattr(f"evaluation.judge.{name}", value)
            assert await ask(make_judge(server, tmp_path)) == 8
    async with serve_model(JudgeServer()) as elsewhere:
        assert isinstance(elsewhere, JudgeServer)
        async with aclosing(make_judge(elsewhere, tmp_path)) as judge:
            await judge.score(CASE, FAITHFUL)
        assert len(elsewhere.requests) == 8
    assert await ask(make_judge(server, tmp_path)) == 0


async def test_a_cached_judgement_that_broke_is_judged_anew(server: JudgeServer, tmp_path: Path) -> None:
    async with aclosing(make_judge(server, tmp_path)) as judge:
        first = await judge.score(CASE, FAITHFUL)
        for kept in list(tmp_path.glob("*.json")):  # noqa: ASYNC240  # a few small files of its own
            kept.write_bytes(b'{"half')
        second = await judge.score(CASE, FAITHFUL)
    assert second.scores == first.scores
    assert len(server.requests) == 16


async def test_no_more_than_four_requests_are_under_way(server: JudgeServer) -> None:
    server.faults = [say("{}", silence=0.05)] * 40
    async with aclosing(make_judge(server)) as judge:
        await asyncio.gather(*(judge.score(CASE, HALF) for _ in range(5)))
    assert server.most_under_way == AT_ONCE == 4


async def test_nothing_is_told_to_the_library_s_makers(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from ragas import _analytics

    told: list[object] = []
    monkeypatch.setattr("requests.post", lambda *given, **more: told.append((given, more)))
    _analytics.do_not_track.cache_clear()
    async with aclosing(make_judge(server)) as judge:
        await judge.score(CASE, FAITHFUL)
    assert told == []
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "1")  # so that the line above would have seen it
    _analytics.do_not_track.cache_clear()
    async with aclosing(make_judge(server)) as judge:
        await judge.score(CASE, FAITHFUL)
    _analytics.do_not_track.cache_clear()
    assert told


async def test_a_busy_service_is_asked_again_when_it_says(server: JudgeServer) -> None:
    server.shaken = 1.0
    bare = Case(id="mill", user_input="What happened to the mill?")
    async with aclosing(make_judge(server)) as judge:
        verdict = await judge.score(bare, FAITHFUL)
    assert verdict.errors == {}
    assert server.fates["busy"] > 0
    asked = Counter(str(request.body["messages"][1]["content"]) for request in server.requests)
    busy = [times for prompt, times in asked.items() if server.find_fate(prompt) == "busy"]
    assert set(busy) <= {2, 4}  # once too early, once in time; relevance asks the same three times


async def test_a_silent_service_is_an_error(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.judge.SECONDS", 0.5)
    bare = Case(id="mill", user_input="What happened to the mill?")
    server.faults = [say("{}", silence=3_600)] * 9
    async with aclosing(make_judge(server)) as judge:
        verdict = await judge.score(bare, FAITHFUL)
    assert set(verdict.errors) == {"faithfulness", "response_relevancy", "hallucination"}
    assert all("took too long" in error for error in verdict.errors.values())


async def test_the_forecast_is_near_what_is_asked(server: JudgeServer) -> None:
    context = "The mill by the river was sold in March to a cousin of hers. " * 20
    asked = "What happened to the mill by the river this year, and who has it now?"
    case = Case(id="mill", user_input=asked, reference="It was sold in March to her cousin.")
    response = Response(text=context[:500], refused=False, provider="x", contexts=(context[:1_200],) * 8)
    async with aclosing(make_judge(server)) as judge:
        foretold = judge.forecast_usd()
        await judge.score(case, response)
    letters = sum(len(one["content"]) for request in server.requests for one in request.body["messages"])
    read = Decimal(letters) / 4 * Decimal("0.15") / 1_000_000
    assert foretold is not None
    assert read < foretold < Decimal("1.4") * read  # and what the judge writes


async def test_an_unpriced_judge_costs_nobody_knows_what(server: JudgeServer) -> None:
    async with aclosing(make_judge(server, model="house-judge-7")) as judge:
        assert (await judge.score(CASE, FAITHFUL)).cost_usd is None


def test_without_a_model_there_is_no_judge() -> None:
    with pytest.raises(NoJudge):
        RagasJudge(ModelSettings(), HashEmbedder())
