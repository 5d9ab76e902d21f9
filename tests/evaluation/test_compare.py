"""A comparison sees what changed, is not frightened by chance, and holds its rules."""

import random
from collections.abc import Sequence

import pytest

from evaluation.compare import (
    FEWEST_IN_SLICE,
    WHOLE,
    UnusableRule,
    check_limits,
    compare,
    find_flaky,
    parse_rule,
    summarize,
)
from evaluation.records import CaseResult, Response


def make_result(number: int, score: float, *, repeat: int = 1, metric: str = "support", **more: object) -> CaseResult:
    values: dict[str, object] = {
        "case_id": f"case-{number}", "repeat": repeat, "status": "scored", "scores": {metric: score, "total_ms": 40.0},
        "response": Response(text=f"answer {number}", refused=False, provider="extractive"),
        "groups": {"question_type": "what" if number % 2 else "when"}, "user_input": f"question {number}",
    }  # fmt: skip
    return CaseResult(**(values | more))  # type: ignore[arg-type]  # as above


def make_run(scores: Sequence[float], **more: object) -> list[CaseResult]:
    return [make_result(number, score, **more) for number, score in enumerate(scores)]  # type: ignore[arg-type]


def test_the_same_run_again_is_no_regression() -> None:
    chance = random.Random(3)
    run = make_run([chance.random() for _ in range(60)])
    found = compare(run, run)
    assert (found.broken, found.regressions, found.missing, found.flaky) == ([], [], [], [])
    assert all(change.difference.mean == 0 and not change.worse for change in found.changes)


def test_chance_alone_is_rarely_called_a_regression() -> None:
    chance = random.Random(5)
    alarms = 0
    for _ in range(100):
        before = [chance.random() for _ in range(80)]
        after = [score + chance.gauss(0, 0.1) for score in before]
        alarms += bool(compare(make_run(before), make_run(after)).broken)
    assert alarms <= 8  # one side of a 95 % interval: 2.5 expected


def test_a_fall_is_named_with_its_interval() -> None:
    before = make_run([0.8] * 30)
    found = compare(before, make_run([0.8] * 15 + [0.5] * 15))
    assert len(found.broken) == 1
    assert found.broken[0].startswith("support got worse: 0.800 to 0.650. (-0.150, 95 % interval -")
    assert [one.case_id for one in found.regressions] == [f"case-{n}" for n in range(15, 30)]
    assert (found.regressions[0].answer_before, found.regressions[0].metric) == ("answer 15", "support")


def test_a_rise_is_no_regression_and_higher_cost_is_no_quality() -> None:
    slower = [make_result(n, 0.9, scores={"support": 0.9, "total_ms": 4000.0}) for n in range(20)]
    found = compare(make_run([0.5] * 20), slower)
    assert found.broken == []
    whole = {change.metric: change for change in found.changes if change.group == WHOLE}
    assert whole["support"].better
    assert whole["total_ms"].worse


def test_less_hallucination_is_better() -> None:
    found = compare(make_run([0.5] * 20, metric="hallucination"), make_run([0.1] * 20, metric="hallucination"))
    assert (found.broken, found.regressions) == ([], [])
    worse = compare(make_run([0.1] * 20, metric="hallucination"), make_run([0.5] * 20, metric="hallucination"))
    assert worse.broken


def test_a_missing_case_fails_and_counts_as_worst() -> None:
    before = make_run([0.9] * 20)
    found = compare(before, before[:-1])
    assert found.missing == ["case-19"]
    assert found.broken[-1] == "1 of the baseline's 20 cases have no result; the first is case-19."
    assert [(one.case_id, one.after, one.answer_after) for one in found.regressions] == [("case-19", 0.0, "No result.")]


def test_slices_are_compared_and_small_ones_are_never_certain() -> None:
    before = make_run([0.9] * 8)
    after = make_run([0.9 if number % 2 else 0.2 for number in range(8)])
    changes = {change.group: change for change in compare(before, after).changes if change.metric == "support"}
    assert changes["question_type=what"].difference.mean == 0
    assert changes["question_type=when"].difference.mean == pytest.approx(-0.7)
    assert changes["question_type=when"].cases < FEWEST_IN_SLICE
    assert not changes["question_type=when"].worse


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("support < 0.7", True),
        ("support < 0.6", False),
        ("support < baseline", True),
        ("support < baseline - 0.1", True),
        ("support < baseline - 0.2", False),
        ("support < baseline * 0.9", True),
        ("total_ms > 30", True),
        ("total_ms > baseline * 1.5", False),
        ("total_ms > baseline + 1", False),
        ("context_recall < 0.5", True),  # nothing was scored: a rule that can't be held is broken
    ],
)
def test_rules(rule: str, *, broken: bool) -> None:
    before, after = make_run([0.8] * 30), make_run([0.65] * 30)
    assert bool(compare(before, after, [parse_rule(rule)]).broken) is broken


def test_a_relative_rule_is_not_broken_by_chance() -> None:
    before = make_run([0.5, 0.9] * 20)
    after = make_run([0.9, 0.49] * 20)  # the mean fell a little, the cases changed both ways
    assert compare(before, after, [parse_rule("support < baseline")]).broken == []


@pytest.mark.parametrize(
    "text", ["", "support", "support <", "support = 0.5", "support < base", "nonsense < 0.5", "support < baseline 0.2"]
)
def test_unusable_rules_teach(text: str) -> None:
    with pytest.raises(UnusableRule, match=r"write it like|There is no metric nonsense; choose one of support"):
        parse_rule(text)


def test_limits_of_one_run() -> None:
    rules = [parse_rule("support < 0.7"), parse_rule("support < baseline - 0.1")]
    assert check_limits(make_run([0.6] * 10), rules) == ["`support < 0.7` is broken: support is 0.6, the limit 0.7."]
    assert check_limits(make_run([0.8] * 10), rules) == []


def test_repeats_are_averaged_and_flaky_ones_named() -> None:
    steady = [make_result(0, 0.8, repeat=r) for r in (1, 2, 3)]
    wild = [make_result(1, score, repeat=r) for r, score in enumerate((0.9, 0.3, 0.6), 1)]
    refused = [make_result(2, 0.8, repeat=r, response=Response(text="", refused=r == 1, provider="x")) for r in (1, 2)]
    failed = [make_result(3, 0.8), make_result(3, 0.0, repeat=2, status="failed", response=None, error="It broke.")]
    runs = [*steady, *wild, *refused, *failed]
    assert find_flaky(runs) == ["case-1", "case-2", "case-3"]
    assert summarize(runs)[WHOLE]["support"].mean == pytest.approx((0.8 + 0.6 + 0.8 + 0.4) / 4)
