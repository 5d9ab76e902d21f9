"""What Prefect's pages show of an evaluation: means with their intervals, cases by id, cost, never anyone's words.

The flow server knows no reader and erases nothing; whoever may read the answers follows the link to the report.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice

from evaluation.compare import list_unjudged
from evaluation.forecast import SuiteForecast
from evaluation.records import CaseResult
from evaluation.report import ReportInput, write_tables

MOST_ROWS = 200  # Prefect's pages get slow beyond a thousand lines


def describe_forecast(expected: SuiteForecast) -> str:
    """Return the page of what the run was expected to cost, and where it stops."""
    lines = [
        f"# {expected.suite}@{expected.version}", "", "| | |", "|---|--:|", f"| cases | {expected.cases:,} |",
        f"| repeats | {expected.repeats} |", f"| questions | {expected.questions:,} |",
        f"| forecast, USD | {_money(expected.cost_usd)} |",
        f"| stops at, USD | {_money(expected.budget_usd, 'no limit')} |",
        f"| left of the month, USD | {_money(expected.month_left_usd, 'no limit')} |",
        "", f"Counted as {expected.basis}.",
    ]  # fmt: skip
    return "\n".join(lines)


def describe_scores(report: ReportInput) -> str:
    """Return the page of the verdict and of every metric over all cases, with its change against the baseline."""
    cases = len({one.case_id for one in report.results})
    said = f"{len(report.results):,} answers to {cases:,} questions, cost {report.cost}."
    lines = [f"# {report.suite}", "", said, ""]
    lines += [f"- ✗ {sentence}" for sentence in report.broken] or ["No rule is broken."]
    return "\n".join(lines + write_tables(report))


def describe_cases(report: ReportInput) -> str:
    """Return the page of the cases to look at: those that got worse, gave no answer or were not judged."""
    lines: list[str] = []
    if report.comparison and report.comparison.regressions:
        worse = [
            f"| `{one.case_id}` | {one.metric} | {one.before:.2f} | {one.after:.2f} |"
            for one in report.comparison.regressions
        ]
        lines += ["## Got worse", "", "| case | metric | before | after |", "|---|---|--:|--:|", *_cut(worse), ""]
    if failed := [f"- `{one.case_id}`, repeat {one.repeat}" for one in report.results if one.status == "failed"]:
        lines += ["## Gave no answer", "", *_cut(failed), ""]
    if unjudged := [f"- `{one.case_id}`: {one.metric}" for one in list_unjudged(report.results)]:
        lines += ["## Not judged, counted as worst", "", *_cut(unjudged), ""]
    return "\n".join(lines) or "No case got worse, and every one was answered."


def summarize_run(report: ReportInput, failed: Sequence[CaseResult]) -> str:
    """Return the sentence a run that broke no rule ends with."""
    missing = f", {len(failed):,} of them failed" if failed else ""
    held = "no rule broken" if report.comparison is None else "not worse than the baseline"
    return f"{len(report.results):,} answers{missing}; {held}; cost {report.cost}"


def _cut(lines: Sequence[str]) -> Iterator[str]:
    yield from islice(lines, MOST_ROWS)
    if len(lines) > MOST_ROWS:
        yield f"\nand {len(lines) - MOST_ROWS:,} more"


def _money(amount: Decimal | None, otherwise: str = "not known") -> str:
    return otherwise if amount is None else f"{amount:.4f}"
