"""The plugin fails a test that regressed, passes one that did not, and writes baselines when told to."""

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# what the inner runs use is imported here, once: they run in this process, and forget what they imported first
from evaluation import baseline as _baseline  # noqa: F401
from evaluation import compare as _compare  # noqa: F401
from evaluation import pytest_plugin as plugin
from evaluation import run as _run  # noqa: F401

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


class Project:
    """Somebody's own tests, run by pytest inside this process with the plugin alone."""

    def __init__(self, pytester: pytest.Pytester, baseline: Path) -> None:
        self.pytester = pytester
        self.baseline = baseline

    def run(
        self, score: float, *options: str, rules: Sequence[str] = (), status: str = "completed"
    ) -> pytest.RunResult:
        """Run their one test on a report whose every score is `score`."""
        written = TEST.format(score=score, status=status, baseline=str(self.baseline), rules=tuple(rules))
        self.pytester.makepyfile(written)
        return self.pytester.runpytest_inprocess("-p", "evaluation.pytest_plugin", *options)


@pytest.fixture
def project(pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose baseline holds twelve cases of 0.9."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading all others each time takes longer than the rest
    project = Project(pytester, tmp_path / "base.json")
    project.run(0.9, "--write-baselines").assert_outcomes(passed=1)
    return project


def test_every_pytest_beside_the_product_finds_the_plugin() -> None:
    assert [one.value for one in entry_points(group="pytest11", name="regenesis")] == [plugin.__name__]


def test_the_baseline_is_written_where_pytest_is_told_to(project: Project) -> None:
    before = project.baseline.read_text()
    project.run(0.5).assert_outcomes(failed=1)
    assert project.baseline.read_text() == before
    project.run(0.5, "--write-baselines").assert_outcomes(passed=1)
    assert project.baseline.read_text() == before.replace("0.9", "0.5")
    project.run(0.5).assert_outcomes(passed=1)


def test_a_regression_fails_the_test_and_is_named(project: Project) -> None:
    fallen = project.run(0.5)
    fallen.assert_outcomes(failed=1)
    fallen.stdout.fnmatch_lines(
        ["*small regressed.*", "*support got worse: 0.900 to 0.500.*", "*case-0: support 0.90 -> 0.50*"]
    )


def test_an_unchanged_run_passes(project: Project) -> None:
    project.run(0.9).assert_outcomes(passed=1)


def test_rules_decide_where_there_are_any(project: Project) -> None:
    project.run(0.5, rules=["support < baseline - 0.6"]).assert_outcomes(passed=1)
    broken = project.run(0.5, rules=["support < baseline - 0.6", "support < baseline - 0.3"])
    broken.assert_outcomes(failed=1)
    broken.stdout.fnmatch_lines(["*`support < baseline - 0.3` is broken: support is 0.5, the limit 0.6.*"])


def test_a_run_that_is_not_whole_fails(project: Project) -> None:
    broken_off = project.run(0.9, status="over_budget")
    broken_off.assert_outcomes(failed=1)
    broken_off.stdout.fnmatch_lines(["*The run is not whole: over budget.*"])
