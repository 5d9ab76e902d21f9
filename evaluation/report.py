"""One run as a page to read: its scores, where it differs from a baseline, its worst answers with their words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from evaluation.compare import WHOLE, Change, Comparison, find_flaky, say_unjudged, summarize
from evaluation.latency import Latency
from evaluation.records import EFFORT, LATENCIES, LOWER_IS_BETTER, QUALITY, CaseResult
from evaluation.report_plots import plot_cost, plot_distribution, plot_slices, plot_times
from evaluation.retrieval_metrics import Interval

if TYPE_CHECKING:
    from jinja2 import Template

WORST: Final = 12
"""Answers shown whole; the page is for reading, the JSON for everything."""
MOST_SLICES: Final = 24
SCORED: Final = tuple(name for name in (*QUALITY, *EFFORT) if name not in LATENCIES)
"""What is told by its mean; times are told by percentiles."""
HEADLINES: Final = ("faithfulness", "support", "citation_recall", "context_recall", "claim_coverage", "refusal_correct")
"""What is plotted by slice, as far as it was scored, the judge's first."""

MEANINGS: Final[Mapping[str, str]] = {
    "support": "share of each sentence that stands in its sources, by words: sees what was added, not what is wrong",
    "unsupported": "share of answers whose words stand too little in their sources, by a calibrated threshold: "
    "what was added, not what is false",
    "answer_relevance": "how near the answer is to the question in meaning",
    "context_precision": "whether what was wanted came first among the passages",
    "context_recall": "share of the wanted words that were found",
    "citation_precision": "share of citations that are what was wanted",
    "citation_recall": "share of the wanted words that are cited",
    "scope_coverage": "share of the sessions in scope that were searched",
    "claim_coverage": "share of the reference answer's words that the answer says",
    "refusal_correct": "answered what can be answered, refused what can't",
    "faithfulness": "share of the answer's claims that the judge finds in its sources",
    "response_relevancy": "how well the answer answers, by the judge",
    "judged_context_precision": "whether useful passages came first, by the judge",
    "judged_context_recall": "share of the reference that the passages hold, by the judge",
    "hallucination": "share of the answer's claims that the judge does not find in its sources",
    "understand_ms": "milliseconds to rewrite and understand the question",
    "search_ms": "milliseconds to find passages",
    "read_ms": "milliseconds to read the passages' sentences and what was derived from them",
    "write_ms": "milliseconds to write the answer, a model's own time included",
    "store_ms": "milliseconds to store the answer and its evidence",
    "first_event_ms": "milliseconds until sources were found",
    "first_words_ms": "milliseconds until the first words",
    "total_ms": "milliseconds until the answer was whole",
    "tokens": "tokens read and written by models",
    "cost_usd": "USD for models",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """What a report is of; `baseline` and `comparison` come together or not at all."""

    suite: str
    run: str
    asked_at: datetime
    config: Mapping[str, Any]
    results: Sequence[CaseResult]
    broken: Sequence[str] = ()
    baseline: Sequence[CaseResult] = ()
    comparison: Comparison | None = None
    cost: str = "not known"
    latencies: Sequence[Latency] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One line of the table of scores."""

    name: str
    meaning: str
    shown: str
    interval: str
    change: Change | None
    change_shown: str
    share: float | None
    """Width of its bar, None for what has no upper end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """One line of the table of times: a stage's median and 95th percentile."""

    name: str
    meaning: str
    shown: tuple[str, str]
    intervals: tuple[str, str]
    changes: tuple[str, str]
    """Each change with its interval, empty where the baseline has no such stage."""
    shares: tuple[float, float]
    """Widths of its bars: shares of the longest 95th percentile."""


def render_html(report: ReportInput) -> str:
    """Return one self-contained page: no script, no other file, no other host."""
    summary, former = summarize(report.results), summarize(report.baseline) if report.baseline else {}
    return _template().render(
        report=report, rows=list_rows(summary[WHOLE], report.comparison), plots=_draw(report, summary, former),
        worst=list_worst(report.results), failed=[one for one in report.results if one.status == "failed"],
        flaky=find_flaky(report.results), unjudged=say_unjudged(report.results),
        cases=len({one.case_id for one in report.results}), latencies=list_latency_rows(report),
        asked_at=report.asked_at.astimezone(UTC).strftime("%d %B %Y, %H:%M UTC"), meanings=MEANINGS,
    )  # fmt: skip


def render_markdown(report: ReportInput) -> str:
    """Return the run's scores, changes and broken rules as Markdown, for a pull request or a flow's artifact."""
    lines = [f"# {report.suite}", "", f"{len(report.results):,} answers, cost {report.cost}, run `{report.run}`.", ""]
    lines += [f"- ✗ {sentence}" for sentence in report.broken] or ["No rule is broken."]
    lines += write_tables(report)
    failed = [one for one in report.results if one.status == "failed"]
    if failed:
        lines += [
            "",
            f"## {len(failed)} failed",
            *(f"- `{one.case_id}`{f': {one.error}' if one.error else ''}" for one in failed[:WORST]),
        ]
    if unjudged := say_unjudged(report.results):
        lines += ["", "## Not judged", *(f"- {sentence}" for sentence in unjudged)]
    if report.comparison and report.comparison.regressions:
        lines += ["", "## Got worse", "| case | metric | before | after |", "|---|---|---|---|"]
        for one in report.comparison.regressions[:WORST]:
            lines.append(f"| `{one.case_id}` | {one.metric} | {one.before:.2f} | {one.after:.2f} |")
    return "\n".join(lines) + "\n"


def write_tables(report: ReportInput) -> list[str]:
    """Return the lines of two Markdown tables: every metric over all cases, and the times by stage."""
    lines = ["", "| metric | mean | 95 % interval | change |", "|---|--:|---|--:|"]
    lines += [
        f"| {row.name} | {row.shown} | {row.interval} | {row.change_shown or '–'} |"
        for row in list_rows(summarize(report.results)[WHOLE], report.comparison)
    ]
    if times := list_latency_rows(report):
        lines += ["", "## Time by stage, ms", "| stage | p50 | change | p95 | change |", "|---|--:|--:|--:|--:|"]
        for time in times:
            cells = (cell or "–" for pair in zip(time.shown, time.changes, strict=True) for cell in pair)
            lines.append(f"| {time.name} | {' | '.join(cells)} |")
    return lines


def list_rows(means: Mapping[str, Interval], comparison: Comparison | None) -> list[MetricRow]:
    """Return the metrics that were scored but for times, quality first, each with its change against the baseline."""
    changes = {one.metric: one for one in comparison.changes if one.group == WHOLE} if comparison else {}
    return [_write_row(name, means[name], changes.get(name)) for name in SCORED if name in means]


def list_latency_rows(report: ReportInput) -> list[LatencyRow]:
    """Return the stages that were timed, each with its change against the baseline."""
    changes = {one.metric: one for one in report.comparison.latencies} if report.comparison else {}
    longest = max((one.p95.mean for one in report.latencies), default=0.0) or 1.0
    rows = []
    for one in report.latencies:
        change = changes.get(one.metric)
        row = LatencyRow(
            name=one.metric.removesuffix("_ms").replace("_", " "), meaning=MEANINGS[one.metric],
            shown=(f"{one.p50.mean:,.1f}", f"{one.p95.mean:,.1f}"), intervals=(_span(one.p50), _span(one.p95)),
            changes=(_step(change.p50_difference), _step(change.p95_difference)) if change else ("", ""),
            shares=(min(one.p50.mean / longest, 1.0), min(one.p95.mean / longest, 1.0)),
        )  # fmt: skip
        rows.append(row)
    return rows


def _span(interval: Interval, sign: str = "") -> str:
    return f"{interval.low:{sign},.1f} to {interval.high:{sign},.1f}"


def _step(interval: Interval) -> str:
    return f"{interval.mean:+z,.1f} ({_span(interval, '+')})"


def list_worst(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the answers to read first: lowest mean of their quality metrics."""
    answered = [one for one in results if one.status == "scored" and one.repeat == 1]
    return sorted(answered, key=lambda one: (measure_quality(one), one.case_id))[:WORST]


def measure_quality(one: CaseResult) -> float:
    """Return the mean of a result's quality metrics, higher is better; 1 where none was scored."""
    values = [1 - v if m in LOWER_IS_BETTER else v for m in QUALITY if (v := one.count(m)) is not None]
    return sum(values) / len(values) if values else 1.0


def _write_row(name: str, interval: Interval, change: Change | None) -> MetricRow:
    digits = 4 if name == "cost_usd" else 1 if name in EFFORT else 3
    return MetricRow(
        name=name, meaning=MEANINGS[name], shown=f"{interval.mean:,.{digits}f}",
        interval=f"{interval.low:,.{digits}f} to {interval.high:,.{digits}f}", change=change,
        change_shown=f"{change.difference.mean:+z.{digits}f}" if change else "",
        share=None if name in EFFORT else min(max(interval.mean, 0.0), 1.0),
    )  # fmt: skip


def _draw(
    report: ReportInput, summary: Mapping[str, Mapping[str, Interval]], former: Mapping[str, Mapping[str, Interval]]
) -> dict[str, Any]:
    headlines = [name for name in HEADLINES if name in summary[WHOLE]]
    groups = sorted(group for group in summary if group != WHOLE)[:MOST_SLICES]
    costs = [(one, value) for one in report.results if (value := one.scores.get("cost_usd"))]
    return {
        "distributions": {
            name: plot_distribution(_list(report.results, name), _list(report.baseline, name)) for name in headlines
        },
        "slices": {
            name: plot_slices(
                {group: summary[group][name] for group in groups if name in summary[group]},
                {group: found[name] for group, found in former.items() if name in found},
            )
            for name in headlines[:3]
        } if groups else {},
        "times": plot_times(_list(report.results, "total_ms"), _list(report.baseline, "total_ms")),
        "cost": plot_cost([v for _, v in costs], [measure_quality(one) for one, _ in costs], "mean quality")
        if costs else None,
    }  # fmt: skip


def _list(results: Sequence[CaseResult], metric: str) -> list[float]:
    return [value for one in results if (value := one.count(metric)) is not None]


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return pages.get_template("report.html.j2")
