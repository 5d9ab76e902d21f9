"""For tests of those who build on this: `assert_no_regression` holds a run to a committed baseline.

    async def test_our_prompts(assert_no_regression):
        report = await run_suite(assistant, load_suite(Path("suite.yaml")))
        assert_no_regression(report, Path("baseline.json"), "citation_recall < baseline - 0.02")

`pytest --write-baselines` writes the baselines anew instead.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from evaluation.run import RunReport

MOST_SHOWN = 5


class AssertNoRegression(Protocol):
    """Fails the test where a rule is broken against the baseline; without rules, where a score fell beyond chance."""

    def __call__(self, report: "RunReport", baseline: Path, *rules: str) -> None:
        """Compare, or write the baseline where pytest was told to."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes baselines."""
    group = parser.getgroup("regenesis")
    group.addoption("--write-baselines", action="store_true", help="write the baselines of evaluated suites anew")


@pytest.fixture
def assert_no_regression(request: pytest.FixtureRequest) -> AssertNoRegression:
    """Return the assertion."""
    writing = bool(request.config.getoption("--write-baselines"))

    def check(report: "RunReport", baseline: Path, *rules: str) -> None:
        from evaluation.baseline import read_baseline, write_baseline
        from evaluation.compare import compare, parse_rule

        if writing:
            write_baseline(baseline, report)
            return
        found = compare(read_baseline(baseline).results, report.results, [parse_rule(rule) for rule in rules])
        said = list(found.broken)
        if report.status != "completed":
            said.append(f"The run is not whole: {report.status.replace('_', ' ')}.")
        if said:
            worse = found.regressions[:MOST_SHOWN]
            said += [f"  {one.case_id}: {one.metric} {one.before:.2f} -> {one.after:.2f}" for one in worse]
            pytest.fail("\n".join([f"{report.suite} regressed.", *said]), pytrace=False)

    return check
