"""Times are told by their median and their slow end, with how sure they are, and compared answer by answer."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from evaluation import latency as subject
from evaluation.compare import compare
from evaluation.latency import compare_latencies, measure_latencies
from evaluation.records import EFFORT, LATENCIES, LOWER_IS_BETTER, CaseResult
from rag.stages import STAGES


def make_result(number: int, scores: Mapping[str, float | None], repeat: int = 1) -> CaseResult:
    return CaseResult(case_id=f"case-{number}", repeat=repeat, status="scored", scores=scores)


def test_every_stage_of_an_answer_is_an_effort() -> None:
    assert {f"{stage}_ms" for stage in STAGES} < set(LATENCIES) < set(EFFORT) < LOWER_IS_BETTER


def test_the_slow_end_is_told_beside_the_median() -> None:
    results = [make_result(n, {"search_ms": float(n), "support": 1.0, "write_ms": None}) for n in range(101)]
    (search,) = measure_latencies(results)
    assert (search.metric, search.answers, search.p50.mean, search.p95.mean) == ("search_ms", 101, 50.0, 95.0)
    assert 35 < search.p50.low < 50 < search.p50.high < 65
    assert 85 < search.p95.low < 95 < search.p95.high <= 100


def test_each_repeat_counts_so_that_averages_hide_no_slow_answer() -> None:
    results = [
        make_result(n, {"total_ms": 1_000.0 if repeat == 3 else 10.0}, repeat)
        for n in range(20)
        for repeat in (1, 2, 3)
    ]
    (total,) = measure_latencies(results)
    assert (total.answers, total.p50.mean, total.p95.mean) == (60, 10.0, 1_000.0)


def test_intervals_are_those_of_resampled_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    values = [chance.lognormvariate(3, 1) for _ in range(60)]
    results = [make_result(n, {"write_ms": value}) for n, value in enumerate(values)]
    (whole,) = measure_latencies(results)
    drawn = np.random.default_rng(1).choice(values, (20_000, 60))
    low, high = np.quantile(np.quantile(drawn, 0.5, axis=1), (0.025, 0.975))
    assert (whole.p50.low, whole.p50.high) == pytest.approx((low, high), rel=0.15)
    monkeypatch.setattr(subject, "_BLOCK", 60 * 7)  # in many parts, as for runs of many answers
    assert measure_latencies(results) == [whole]


def test_changes_are_of_the_same_answers() -> None:
    chance = random.Random(3)
    spent = [chance.uniform(5, 500) for _ in range(80)]
    before = [make_result(n, {"write_ms": value, "total_ms": value + 5}) for n, value in enumerate(spent)]
    after = [make_result(n, {"write_ms": value + 20, "total_ms": value + 25}) for n, value in enumerate(spent)]
    write, total = compare_latencies(before, [*after, make_result(99, {"write_ms": 9e9})])
    assert [one.metric for one in (write, total)] == ["write_ms", "total_ms"]
    assert write.answers == 80
    # questions differ by much more than the step, yet it is seen, as each is held against itself
    for step in (write.p50_difference, write.p95_difference):
        assert (step.mean, step.low, step.high) == pytest.approx((20, 20, 20))
    assert write.p95_after - write.p95_before == pytest.approx(20)


def test_a_run_from_before_the_stages_is_compared_by_what_it_has() -> None:
    old = [make_result(n, {"total_ms": 40.0, "first_event_ms": 20.0}) for n in range(6)]
    new = [make_result(n, {"total_ms": 30.0, "search_ms": 10.0, "store_ms": None}) for n in range(6)]
    assert [one.metric for one in compare_latencies(old, new)] == ["total_ms"]
    assert [one.metric for one in compare(old, new).latencies] == ["total_ms"]
    assert measure_latencies([make_result(1, {"support": 0.5})]) == []
    assert compare_latencies(old, []) == []
