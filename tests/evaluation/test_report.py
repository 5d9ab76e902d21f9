"""The report is one whole page that says what happened, and runs nothing."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

from evaluation.compare import compare
from evaluation.latency import measure_latencies
from evaluation.publish import render
from evaluation.records import CaseResult, Cited, Response
from evaluation.report import ReportInput, list_worst, measure_quality, render_html, render_markdown

ASKED = datetime(2026, 6, 1, 9, tzinfo=UTC)


def make_results(score: float, *, failing: bool = False, text: str = "It flooded. [1]") -> list[CaseResult]:
    response = Response(
        text=text, refused=False, provider="extractive", contexts=("The cellar flooded twice.",),
        citations=(Cited(quote="The cellar flooded twice.", speaker="Asta", title="Cellar"),),
    )  # fmt: skip
    results = [
        CaseResult(
            case_id=f"case-{n}", repeat=1, status="scored", response=response, groups={"kind": "a" if n % 2 else "b"},
            scores={"support": score, "refusal_correct": 1.0, "total_ms": 30.0 + n, "cost_usd": 0.002},
            user_input=f"What happened to cellar {n}?", flags=("No source holds the figure 9.",),
        )
        for n in range(12)
    ]  # fmt: skip
    if failing:
        results[0] = CaseResult(
            case_id="case-0", repeat=1, status="failed", scores={"support": 0.0, "refusal_correct": 0.0},
            error="The search did not answer.", user_input="What happened to cellar 0?", groups={"kind": "b"},
        )  # fmt: skip
    return results


def make_input(results: list[CaseResult], baseline: list[CaseResult] | None = None) -> ReportInput:
    comparison = compare(baseline, results) if baseline else None
    return ReportInput(
        suite="cellars", run="run-1", asked_at=ASKED, config={"top_k": 8, "judge": None}, results=results,
        baseline=baseline or [], comparison=comparison, broken=comparison.broken if comparison else (), cost="$0.0240",
        latencies=measure_latencies(results),
    )  # fmt: skip


class Whole(HTMLParser):
    """Counts elements that are opened and closed, and what leads elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "link", "img", "path", "use", "rect"}:
            self.open.append(tag)
        for name, value in attrs:
            if tag == "script" or (name in {"src", "href"} and not (value or "").startswith("#")):
                self.elsewhere.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"path", "use", "rect"}:
            return
        assert self.open.pop() == tag


def test_the_page_is_whole_and_leads_nowhere() -> None:
    page = render_html(make_input(make_results(0.4, failing=True), make_results(0.9)))
    reader = Whole()
    reader.feed(page)
    assert reader.open == []
    assert reader.elsewhere == []
    assert page.count("<svg") == 6  # two spreads, the times, the costs, two scores by slice
    assert "var(--accent)" in page
    assert "#010203" not in page


def test_the_page_says_what_happened() -> None:
    text = re.sub(r"<[^>]+>", " ", render_html(make_input(make_results(0.4, failing=True), make_results(0.9))))
    for said in (
        "Not good enough.", "support got worse: 0.900 to 0.367.", "1 of 12 gave no answer",
        "The search did not answer.",
        "The cellar flooded twice.", "No source holds the figure 9.", "What got worse", "Before",
    ):  # fmt: skip
        assert said in text, said


def test_a_run_alone_says_that_nothing_was_compared() -> None:
    page = render_html(make_input(make_results(0.9)))
    assert "There was no baseline to compare with." in page
    assert "What got worse" not in page


def test_words_of_sources_are_never_markup() -> None:
    page = render_html(make_input(make_results(0.9, text="<script>alert(1)</script> & “so”")))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; “so”" in page


def test_the_same_run_gives_the_same_page() -> None:
    assert render_html(make_input(make_results(0.7))) == render_html(make_input(make_results(0.7)))


def test_markdown_holds_the_same_verdict() -> None:
    text = render_markdown(make_input(make_results(0.4, failing=True), make_results(0.9)))
    assert "- ✗ support got worse" in text
    assert "| support | 0.367 |" in text
    assert "- `case-0`: The search did not answer." in text


def test_worst_answers_come_first() -> None:
    results = make_results(0.9)
    results[5] = CaseResult(
        **{name: getattr(results[5], name) for name in results[5].__slots__} | {"scores": {"support": 0.1}}
    )
    assert list_worst(results)[0].case_id == "case-5"
    assert measure_quality(results[5]) == 0.1


def add_stages(results: list[CaseResult], extra: float) -> list[CaseResult]:
    spent = (
        {"search_ms": 10.0 + 20 * n, "write_ms": 40.0 + 20 * n + extra, "total_ms": 60.0 + 40 * n + extra}
        for n in range(len(results))
    )
    return [replace(one, scores={**one.scores, **more}) for one, more in zip(results, spent, strict=True)]


def test_every_format_tells_the_median_and_the_slow_end_of_stages() -> None:
    report = make_input(add_stages(make_results(0.9), 5.0), add_stages(make_results(0.9), 0.0))
    rows = re.findall(
        r"^\| (\w[\w ]*) \| ([\d.]+) \| (.+?) \| ([\d.]+) \| (.+?) \|$", render_markdown(report), re.MULTILINE
    )
    assert rows == [
        ("search", "120.0", "+0.0 (+0.0 to +0.0)", "219.0", "+0.0 (+0.0 to +0.0)"),
        ("write", "155.0", "+5.0 (+5.0 to +5.0)", "254.0", "+5.0 (+5.0 to +5.0)"),
        ("total", "285.0", "+5.0 (+5.0 to +5.0)", "483.0", "+5.0 (+5.0 to +5.0)"),
    ]
    page = re.sub(r"<[^>]+>", " ", render_html(report))
    section = " ".join(page.split("Where the time went")[1].split("How the scores are spread")[0].split())
    assert "write milliseconds to write the answer" in section
    assert re.search(r"155\.0 [\d.]+ to [\d.]+ \+5\.0 \(\+5\.0 to \+5\.0\)", section)
    told = json.loads(render(report, "json"))
    assert [one["metric"] for one in told["latencies"]] == ["search_ms", "write_ms", "total_ms"]
    assert told["latencies"][1]["p95"]["mean"] == told["comparison"]["latencies"][1]["p95_after"]


def test_a_baseline_without_stages_leaves_their_changes_open() -> None:
    report = make_input(add_stages(make_results(0.9), 5.0), make_results(0.9))
    assert "| write | 155.0 | – | 254.0 | – |" in render_markdown(report)
    Whole().feed(render_html(report))
    untimed = [replace(one, scores={"support": 0.9}) for one in make_results(0.9)]
    assert "Where the time went" not in render_html(make_input(untimed))
