"""A run and a comparison on a terminal tell the slow end of every stage, not means alone."""

import io
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from rich.console import Console

from cli.evaluate_show import show_comparison, show_run
from evaluation.compare import compare
from evaluation.records import CaseResult
from evaluation.run import Forecast, RunReport


def make_results(extra: float, metrics: Sequence[str] = ("search_ms", "total_ms")) -> list[CaseResult]:
    return [
        CaseResult(
            case_id=f"case-{n}", repeat=1, status="scored",
            scores={"support": 0.9} | dict.fromkeys(metrics, 1_000.0 + n + extra),
        )
        for n in range(101)
    ]  # fmt: skip


def read(console: Console) -> list[list[str]]:
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def open_console() -> Console:
    return Console(file=io.StringIO(), width=200, no_color=True)


def test_a_run_tells_the_median_and_the_slow_end() -> None:
    console = open_console()
    forecast = Forecast(cost_usd=Decimal(0), questions=101, basis="no model answers")
    report = RunReport(
        suite="cellars", dataset_version=1, experiment_id=UUID(int=1), status="completed", results=make_results(0.0),
        resumed=0, forecast=forecast, cost_usd=Decimal(0), config={},
    )  # fmt: skip
    show_run(console, report)
    lines = read(console)
    times = lines[lines.index(["time", "by", "stage", "answers", "p50", "ms", "p95", "ms"]) + 1 :]
    assert [(line[0], line[1], line[2], line[4]) for line in times[:2]] == [
        ("search_ms", "101", "1,050.0", "1,095.0"), ("total_ms", "101", "1,050.0", "1,095.0"),
    ]  # fmt: skip


def test_a_comparison_tells_how_both_changed() -> None:
    console = open_console()
    show_comparison(console, compare(make_results(0.0), make_results(8.0)))
    (search,) = [line for line in read(console) if line[:2] == ["search_ms", "101"]]
    assert search[2:5] == ["1,050.0", "1,058.0", "+8.0"]
    assert search[8:11] == ["1,095.0", "1,103.0", "+8.0"]


def test_a_run_that_was_not_timed_has_no_such_table() -> None:
    console = open_console()
    show_comparison(console, compare(make_results(0.0, ()), make_results(0.0)))
    assert "time by stage" not in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
