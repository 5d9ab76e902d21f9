"""The plugin fails a test that regressed, passes one that did not, and writes baselines when told to."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TEST = """
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from evaluation.records import CaseResult, Response
from evaluation.run import Forecast, RunReport

def make_report(score, status="completed"):
    results = [
        CaseResult(case_id=f"case-{{n}}", repeat=1, status="scored", scores={{"support": score}},
                   response=Response(text="x", refused=False, provider="y"))
        for n in range(12)
    ]
    forecast = Forecast(cost_usd=Decimal(0), questions=12, basis="none")
    return RunReport(suite="small", dataset_version=1, experiment_id=uuid4(), status=status, results=results,
                     resumed=0, forecast=forecast, cost_usd=Decimal(0), config={{}})

def test_it(assert_no_regression):
    assert_no_regression(make_report({score}, {status!r}), Path({baseline!r}), *{rules!r})
"""


def run(pytester: pytest.Pytester, baseline: Path, score: float, *args: str, **more: object) -> pytest.RunResult:
    values = {"score": score, "baseline": str(baseline), "rules": (), "status": "completed"} | more
    pytester.makepyfile(TEST.format(**values))
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", *args)


def test_a_regression_fails_the_test(pytester: pytest.Pytester, tmp_path: Path) -> None:
    baseline = tmp_path / "base.json"
    run(pytester, baseline, 0.9, "--write-baselines").assert_outcomes(passed=1)
    assert baseline.exists()
    fallen = run(pytester, baseline, 0.5)
    fallen.assert_outcomes(failed=1)
    fallen.stdout.fnmatch_lines(
        ["*small regressed.*", "*support got worse: 0.900 to 0.500.*", "*case-0: support 0.90 -> 0.50*"]
    )
    run(pytester, baseline, 0.5, rules=("support < baseline - 0.6",)).assert_outcomes(passed=1)
    run(pytester, baseline, 0.9, status="over_budget").assert_outcomes(failed=1)
