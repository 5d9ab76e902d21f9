"""Two runs of a suite held against each other: what got worse or better beyond chance, where, and in which cases."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from nicegui import ui

from api.routes.evaluations import compare_evaluation
from api.schemas.evaluations import CaseChangeOut, ChangeOut, ComparisonOut, IntervalOut, LatencyChangeOut
from api.web.evaluations.run import say_setting
from api.web.evaluations.words import (
    HIDDEN,
    MINUS,
    check_measuring,
    choose,
    draw_interval,
    fill_in,
    name_group,
    name_metric,
    say_chance,
    say_count,
    say_figure,
    say_interval,
    show_rule,
    show_waiting,
)
from api.web.parts import button, cell, element, say_time, table
from api.web.viewer import Viewer
from db.session import tenant_session
from evaluation.compare import WHOLE
from evaluation.records import EFFORT, LATENCIES, LOWER_IS_BETTER, QUALITY
from evaluation.runs import RunRow, get_run

PAGE: Final = 10
MOST_NAMED: Final = 20


async def show_comparison(viewer: Viewer, before_id: UUID, after_id: UUID) -> None:
    """Show what changed from one run to another; raises `ExperimentNotFound`."""
    async with tenant_session(await check_measuring(viewer)) as session:
        before, after = await get_run(session, before_id), await get_run(session, after_id)
    with ui.element("div").classes("stack ev-run"):
        with ui.element("div").classes("heading"):
            element("h1", f"{after.suite}: two runs compared")
        _show_runs(viewer, before, after)
        place = ui.element("div").classes("stack")
        with place:
            show_waiting("The two runs are being compared …")

        async def compare() -> None:
            found = await compare_evaluation(after_id, await check_measuring(viewer), baseline=before_id, rules=None)
            place.clear()
            _show_found(found, before, after)

        ui.timer(0, lambda: fill_in(place, compare), once=True)


def _show_found(found: ComparisonOut, before: RunRow, after: RunRow) -> None:
    whole = [one for one in found.changes if one.group == WHOLE]
    _show_verdict(found, whole)
    _show_differences(before, after)
    with ui.element("section").classes("card"):
        _show_changes(whole)
    with ui.element("section").classes("card stack tight"):
        _show_slices(found.changes)
    _show_cases("Cases that got worse", found.regressions)
    _show_cases("Cases that got better", found.improvements)
    with ui.element("section").classes("card stack tight"):
        _show_times(found.latencies)


def _show_runs(viewer: Viewer, before: RunRow, after: RunRow) -> None:
    with ui.element("div").classes("ev-pair"):
        for words, run in (("Before", before), ("After", after)):
            with ui.element("section").classes("card").props(f'aria-label="{words}"'):
                element("span", words, "soft small")
                with ui.element("div"), ui.element("a").props(f'href="/evaluations/{run.id}"'):
                    say_time(viewer, run.started_at)
                element("div", f"{say_count(run.answers, 'answer', 'answers')}, version {run.version}", "soft small")
    with ui.element("div").classes("line"):
        for href, words in (
            (f"/evaluations/compare?a={after.id}&b={before.id}", "The other way round"), ("/evaluations", "All runs"),
        ):  # fmt: skip
            link = ui.element("a")
            link.props["href"] = href
            with link:
                element("span", words)


def _show_verdict(found: ComparisonOut, whole: Sequence[ChangeOut]) -> None:
    quality = [one for one in whole if one.metric in QUALITY]
    worse, better = [one for one in quality if one.worse], [one for one in quality if one.better]
    # what fell is said by its own sentence; what remains are rules and cases that are missing
    rules = [said for said in found.broken if " got worse: " not in said]
    if worse and better:
        said, look = "Worse in some, better in other metrics.", "bad"
    elif worse:
        said, look = "The later run is worse.", "bad"
    elif better:
        said, look = "The later run is better.", "ev-good"
    else:
        said, look = "Nothing changed beyond chance.", "ev-plain"
    if rules and look != "bad":
        said, look = f"{said.rstrip('.')}, but a rule is broken.", "bad"
    with ui.element("section").classes(f"note {look}").props('aria-label="Verdict"'):
        element("b", said)
        if worse or better or rules:
            with ui.element("ul"):
                for one in (*worse, *better):
                    element("li", say_change(one))
                for sentence in rules:
                    show_rule(sentence)
        for cases, words in ((found.missing, "missing from the later run"), (found.added, "only in the later run")):
            if cases:
                named = ", ".join(cases[:MOST_NAMED])
                element("p", f"{say_count(len(cases), 'case is', 'cases are')} {words}: {named}.", "small")
        if found.flaky:
            element("p", f"Repeats disagree on {say_count(len(found.flaky), 'case', 'cases')}.", "small")


def say_change(one: ChangeOut) -> str:
    """Return what happened to a metric, in a sentence."""
    moved = "rose" if one.difference.mean > 0 else "fell"
    name, metric = name_metric(one.metric), one.metric
    return (
        f"{name} {moved} from {say_figure(metric, one.before)} to {say_figure(metric, one.after)} "
        f"({say_figure(metric, one.difference.mean, sign=True)}, 95 % interval "
        f"{say_interval(metric, one.difference, sign=True)}, {say_chance(one.chance)}, "
        f"{say_count(one.cases, 'case', 'cases')})."
    )


def _show_differences(before: RunRow, after: RunRow) -> None:
    names = [name for name in after.config if before.config.get(name) != after.config[name]]
    with ui.element("section").classes("card stack tight"):
        element("h2", "What was changed")
        if not names:
            element("p", "Both were asked under the same settings; the code or the material may differ.", "soft")
            return
        body = table(("Setting", "Before", "After"), caption="Settings that differ")
        for name in names:
            with body, ui.element("tr"):
                cell(name.replace("_", " ").capitalize())
                cell(say_setting(before.config.get(name)), "ev-setting")
                cell(say_setting(after.config[name]), "ev-setting")


def _show_changes(whole: Sequence[ChangeOut]) -> None:
    element("h2", "All cases")
    shown = [one for one in whole if one.metric not in LATENCIES and (one.metric in QUALITY or one.before or one.after)]
    body = _open_changes("Metric", "Changes over all cases")
    for one in shown:
        _show_change(body, one, name_metric(one.metric), _find_reach(shown))
    element(
        "p", "An interval that leaves out zero is not enough to call a change: p is how often chance alone moves any "
        "of these metrics as clearly, all of them together.", "soft small ev-foot",
    )  # fmt: skip


def _show_slices(changes: Sequence[ChangeOut]) -> None:
    slices = [one for one in changes if one.group != WHOLE and one.metric in QUALITY]
    if not slices:
        return
    metrics = list(dict.fromkeys(one.metric for one in slices))
    clear = [one for one in slices if one.worse or one.better]
    first = max(metrics, key=lambda name: _measure_movement(slices, name))

    async def show(metric: str) -> None:
        drawing.clear()
        fill(metric)

    def fill(metric: str) -> None:
        shown = sorted((one for one in slices if one.metric == metric), key=lambda one: one.group)
        with drawing:
            body = _open_changes("Slice", f"{name_metric(metric)} by slice")
            former = ""
            for one in shown:
                kind, _, value = one.group.partition("=")
                if kind != former:
                    former = kind
                    with body, ui.element("tr"):
                        element("th", name_group(kind), "ev-kind").props('colspan="4" scope="rowgroup"')
                _show_change(body, one, value.replace("_", " "), _find_reach(shown))

    with ui.element("div").classes("ev-section-head"):
        element("h2", "By slice")
        choose("Metric", {name: name_metric(name) for name in metrics}, first, show)
    worse, better = sum(one.worse for one in clear), sum(one.better for one in clear)
    element("p", f"Beyond chance, over all metrics: {worse:,} worse, {better:,} better.", "soft small")
    drawing = ui.element("div")
    fill(first)


def _measure_movement(changes: Sequence[ChangeOut], metric: str) -> tuple[int, float]:
    """Return in how many slices the metric changed beyond chance, and by how much at most."""
    own = [one for one in changes if one.metric == metric]
    return sum(one.worse or one.better for one in own), max(abs(one.difference.mean) for one in own)


def _open_changes(first: str, caption: str) -> ui.element:
    headings = (first, "Before", "After", "Difference")
    return table(headings, numbers=frozenset({1, 2, 3}), caption=caption)


def _find_reach(changes: Sequence[ChangeOut]) -> float:
    """Return how far the drawings reach to both sides of zero."""
    scored = [one.difference for one in changes if one.metric not in EFFORT]
    return max((max(abs(one.low), abs(one.high)) for one in scored), default=0.0) or 1.0


def _show_change(body: ui.element, one: ChangeOut, name: str, reach: float) -> None:
    with body, ui.element("tr"):
        with ui.element("td"):
            with ui.element("div").classes("line ev-tight"):
                element("span", name)
                if one.worse or one.better:
                    element("span", "▼ worse" if one.worse else "▲ better", f"tag {'bad' if one.worse else 'good'}")
            notes = [say_count(one.cases, "case", "cases"), "less is better" if one.metric in LOWER_IS_BETTER else ""]
            element("div", ", ".join(filter(None, notes)), "soft small")
            if one.metric not in EFFORT:
                gap: IntervalOut = one.difference
                draw_interval(gap.low, gap.mean, gap.high, begin=-reach, end=reach)
        for words in (say_figure(one.metric, one.before), say_figure(one.metric, one.after)):
            cell(words, "number")
        with ui.element("td").classes("number"):
            element("b", say_figure(one.metric, one.difference.mean, sign=True))
            element("div", say_interval(one.metric, one.difference, sign=True), "soft small")
            element("div", say_chance(one.chance), "soft small")


def _show_cases(heading: str, cases: Sequence[CaseChangeOut]) -> None:
    if not cases:
        return
    with ui.element("section").classes("stack tight"):
        element("h2", f"{heading} ({len(cases):,})")
        if not all(one.answer_before or one.answer_after for one in cases):
            element("p", HIDDEN, "note small")
        rows = ui.element("ul").classes("plain stack tight")
        shown = [0]

        def show_more() -> None:
            with rows:
                for one in cases[shown[0] : shown[0] + PAGE]:
                    _show_case(one)
            shown[0] += PAGE
            more.set_visibility(shown[0] < len(cases))

        more = button("Show more", show_more)
        show_more()


def _show_case(one: CaseChangeOut) -> None:
    is_worse = (one.after < one.before) != (one.metric in LOWER_IS_BETTER)
    with ui.element("li").classes("card ev-case"):
        with ui.element("div").classes("line"):
            element("h3", one.user_input or one.case_id)
            words = f"{'▼' if is_worse else '▲'} {name_metric(one.metric)} {one.before:.2f} → {one.after:.2f}"
            element("span", words, f"tag {'bad' if is_worse else 'good'}")
        if one.user_input:
            element("p", one.case_id, "soft small")
        if one.answer_before or one.answer_after:
            with ui.element("div").classes("ev-sides"):
                for words, answer in (("Before", one.answer_before), ("After", one.answer_after)):
                    with ui.element("div"):
                        element("h4", words)
                        element("p", answer or "–", "ev-words")
        if one.judge_error:
            element("p", f"Not judged now: {one.judge_error}", "note bad small")


def _show_times(latencies: Sequence[LatencyChangeOut]) -> None:
    element("h2", "Time by stage")
    if not latencies:
        element("p", "No stage was timed in both runs.", "soft")
        return
    element("p", "Milliseconds over the answers of both runs; another machine is a change too.", "soft small")
    headings = ("Stage", "Half (p50)", "All but a twentieth (p95)")
    body = table(headings, numbers=frozenset({1, 2}), caption="Times by stage, milliseconds")
    for one in latencies:
        with body, ui.element("tr"):
            cell(name_metric(one.metric))
            for before, after, step in (
                (one.p50_before, one.p50_after, one.p50_difference),
                (one.p95_before, one.p95_after, one.p95_difference),
            ):
                with ui.element("td").classes("number"):
                    element("span", f"{before:,.1f} → {after:,.1f}")
                    said = f"{step.mean:+z,.1f} ({step.low:+z,.1f} to {step.high:+z,.1f})"
                    element("div", said.replace("-", MINUS), "soft small")
