"""A comparison sees what changed, is not frightened by chance, and holds its rules."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from evaluation.compare import (
    FEWEST_IN_SLICE,
    WHOLE,
    UnusableRule,
    check_limits,
    compare,
    find_flaky,
    list_unjudged,
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
    assert found.improvements == []
    risen = compare(make_run([0.8] * 15 + [0.5] * 15), before).improvements
    assert [(one.case_id, one.before, one.after) for one in risen] == [(f"case-{n}", 0.5, 0.8) for n in range(15, 30)]


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


def lose(run: Sequence[CaseResult], *lost: int, metric: str = "faithfulness") -> list[CaseResult]:
    """Let the judge fail in these cases of the run."""
    return [
        replace(one, scores={**one.scores, metric: None}, judge_errors={metric: "The judge sent no JSON."})
        if number in lost else one
        for number, one in enumerate(run)
    ]  # fmt: skip


def test_a_judgement_that_failed_counts_as_worst_everywhere() -> None:
    run = lose(make_run([0.8] * 20, metric="faithfulness"), 0, 2, 4, 6)
    means = summarize(run)
    assert means[WHOLE]["faithfulness"].mean == pytest.approx(0.8 * 16 / 20)
    assert means["question_type=when"]["faithfulness"].mean == pytest.approx(0.8 * 6 / 10)
    assert means["question_type=what"]["faithfulness"].mean == pytest.approx(0.8)
    invented = lose(make_run([0.2] * 4, metric="hallucination"), 1, metric="hallucination")
    assert summarize(invented)[WHOLE]["hallucination"].mean == pytest.approx((0.2 * 3 + 1) / 4)
    assert check_limits(run, [parse_rule("faithfulness < 0.7")])
    assert [(one.case_id, one.metric, one.error) for one in list_unjudged(run)] == [
        (f"case-{n}", "faithfulness", "The judge sent no JSON.") for n in (0, 2, 4, 6)
    ]


def test_a_refusal_is_no_failure_of_the_judge() -> None:
    run = make_run([0.8] * 10, metric="faithfulness")
    refused = [*run[:-1], replace(run[-1], scores={"faithfulness": None})]
    assert summarize(refused)[WHOLE]["faithfulness"].mean == pytest.approx(0.8)
    found = compare(run, refused)
    assert (found.regressions, found.unjudged, found.broken) == ([], [], [])


def test_a_judgement_lost_is_a_regression() -> None:
    before = make_run([0.8] * 20, metric="faithfulness")
    found = compare(before, lose(before, 3, 5))
    assert [(one.case_id, one.metric, one.before, one.after, one.judge_error) for one in found.regressions] == [
        (f"case-{n}", "faithfulness", 0.8, 0.0, "The judge sent no JSON.") for n in (3, 5)
    ]
    whole = next(change for change in found.changes if (change.metric, change.group) == ("faithfulness", WHOLE))
    assert (whole.cases, whole.unjudged_before, whole.unjudged_after) == (20, 0, 2)
    assert whole.after == pytest.approx(0.72)
    assert len(found.unjudged) == 2
    many = compare(before, lose(before, *range(10)))
    assert many.broken[0].startswith("faithfulness got worse: 0.800 to 0.400.")
    assert many.broken[0].endswith("20 cases, 10 of them not judged)")


def test_a_judgement_lost_shows_where_the_score_was_worst_already() -> None:
    before = make_run([0.0] * 20, metric="faithfulness")
    found = compare(before, lose(before, 7))
    assert [(one.case_id, one.after, one.judge_error) for one in found.regressions] == [
        ("case-7", 0.0, "The judge sent no JSON.")
    ]
    # it failed before as well: nothing was lost
    assert compare(lose(before, 7), lose(before, 7)).regressions == []


def test_one_repeat_without_a_judgement_is_seen() -> None:
    twice = [make_result(0, 0.8, repeat=repeat, metric="faithfulness") for repeat in (1, 2)]
    found = compare(twice, lose(twice, 1))
    assert [(one.before, one.after) for one in found.regressions] == [(0.8, 0.4)]
    assert found.flaky == []  # the answers do not differ, the judge does


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
