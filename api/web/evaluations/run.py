"""One run: whether it is good enough, its scores, where they are good and where not, and its worst answers."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from nicegui import ui

from api.routes.evaluations import get_evaluation, list_evaluations, read_report, read_spread
from api.schemas.evaluations import EvaluationDetailOut, EvaluationOut, IntervalOut, LatencyOut, SpreadOut
from api.web.evaluations.cases import CaseDialog, WorstCases
from api.web.evaluations.plots import draw_histogram, draw_quality
from api.web.evaluations.start import show_progress
from api.web.evaluations.words import (
    check_measuring,
    choose,
    draw_interval,
    fill_in,
    name_group,
    name_metric,
    say_cost,
    say_count,
    say_duration,
    show_mean,
    show_rule,
    show_state,
    show_waiting,
)
from api.web.parts import button, cell, element, say_time, table
from api.web.viewer import Viewer
from db.session import tenant_session
from evaluation.compare import WHOLE
from evaluation.forecast import get_version
from evaluation.records import EFFORT, LATENCIES, QUALITY
from evaluation.report import HEADLINES, MEANINGS
from evaluation.runs import RunRow, get_run

MOST_NAMED: Final = 20
MOST_SLICES: Final = 60
MOST_OTHERS: Final = 30
POLL_S: Final = 3.0


class RunPage:
    """The page of one run."""

    def __init__(self, viewer: Viewer, run_id: UUID) -> None:
        self._viewer, self._run_id = viewer, run_id
        self._body = ui.element("div").classes("stack ev-run")

    async def show(self) -> None:
        """Show it; figures come once they are worked out, and a run under way is followed until it ends."""
        async with tenant_session(await check_measuring(self._viewer)) as session:
            run = await get_run(session, self._run_id)
        self._body.clear()
        with self._body:
            await self._show_head(EvaluationOut.model_validate(run), has_figures=bool(run.answers))
            if run.status == "running":
                await self._follow(run)
            if run.answers:
                place = ui.element("div").classes("stack")
                with place:
                    show_waiting("The run's figures are being worked out …")
                ui.timer(0, lambda: fill_in(place, lambda: self._fill(place)), once=True)
            elif run.status != "running":
                element("p", "No question of this run was answered.", "note warn")

    async def _fill(self, place: ui.element) -> None:
        run = await get_evaluation(self._run_id, await check_measuring(self._viewer))
        spread = await read_spread(self._run_id, await check_measuring(self._viewer))
        place.clear()
        metrics = [name for name in dict.fromkeys((*HEADLINES, *QUALITY)) if name in run.metrics[WHOLE]]
        self._dialog = CaseDialog(self._viewer, run.id)
        _show_verdict(run)
        with ui.element("div").classes("ev-columns"):
            with ui.element("div").classes("stack"):
                with ui.element("section").classes("card"):
                    _show_scores(run)
                self._show_effort(spread)
            with ui.element("section").classes("card stack tight"):
                _look_closer(run, spread, metrics)
        with ui.element("section"):
            cases = WorstCases(self._viewer, run.id, metrics)
        _show_failures(run)
        _show_config(run)
        await cases.show()

    async def _show_head(self, run: EvaluationOut, *, has_figures: bool) -> None:
        with ui.element("div").classes("heading"):
            element("h1", run.suite)
            show_state(run.status)
            with ui.element("p"):
                say_time(self._viewer, run.started_at)
        with ui.element("dl").classes("ev-facts"):
            failed = f", {run.failed:,} gave none" if run.failed else ""
            cost = "–" if run.status == "running" else say_cost(run.cost_usd)
            budget = "" if run.budget_usd is None else f", stops at {say_cost(run.budget_usd)}"
            for name, said in (
                ("Answers", f"{run.answers:,}{failed}"), ("Suite's version", f"{run.version}"),
                ("Took", say_duration(run)), ("Cost", cost + budget),
                ("Forecast", say_cost(run.forecast_usd)), ("Judged by", run.judge or "words alone"),
            ):  # fmt: skip
                with ui.element("div"):
                    element("dt", name)
                    element("dd", said)
        with ui.element("div").classes("line ev-actions"):
            await self._offer_comparison(run)
            if has_figures:
                button("Download the report", self._download, icon="download")
            with ui.element("a").props('href="/evaluations"'):
                element("span", "All runs")

    async def _offer_comparison(self, run: EvaluationOut) -> None:
        async with tenant_session(await check_measuring(self._viewer)) as session:
            found = await list_evaluations(
                session=session, suite=run.suite, run_status=None, flow_run_id=None, limit=MOST_OTHERS, cursor=None
            )
        others = [one for one in found.items if one.id != run.id and one.answers]
        if not others or not run.answers:
            return
        zone = self._viewer.zone
        named = {str(one.id): f"{one.started_at.astimezone(zone):%d %B %Y, %H:%M}" for one in others}
        earlier = next((str(one.id) for one in others if one.started_at < run.started_at), str(others[0].id))
        chosen = str(run.baseline_id) if str(run.baseline_id) in named else earlier

        async def change(value: str) -> None:
            link.props["href"] = _compare(value)

        def _compare(other: str) -> str:
            before = next(one for one in others if str(one.id) == other)
            pair = (other, run.id) if before.started_at <= run.started_at else (run.id, other)
            return f"/evaluations/compare?a={pair[0]}&b={pair[1]}"

        choose("Compare with the run of", named, chosen, change)
        link = ui.element("a").classes("button main")
        link.props["href"] = _compare(chosen)
        with link:
            element("span", "Compare")

    async def _follow(self, run: RunRow) -> None:
        limit = run.config.get("limit")
        async with tenant_session(await check_measuring(self._viewer)) as session:
            version = await get_version(session, f"{run.suite}@{run.version}")
        questions = (min(version.cases, limit) if limit else version.cases) * run.repeats
        with ui.element("section").classes("card stack tight").props('role="status"') as progress:
            show_progress(EvaluationOut.model_validate(run), questions)

        async def look() -> None:
            async with tenant_session(await check_measuring(self._viewer)) as session:
                now = EvaluationOut.model_validate(await get_run(session, self._run_id))
            if now.status != "running":
                timer.deactivate()
                await self.show()
                return
            progress.clear()
            with progress:
                show_progress(now, questions)

        timer = ui.timer(POLL_S, look, immediate=False)

    def _show_effort(self, spread: SpreadOut) -> None:
        with ui.element("section").classes("card stack tight"):
            by_cost = any(one.cost_usd for one in spread.points)
            element("h2", "Cost against quality" if by_cost else "Time against quality")
            draw_quality(spread.points, self._dialog.show)
        with ui.element("section").classes("card stack tight"):
            element("h2", "Where the time went")
            element(
                "p", "Milliseconds of half of the answers (p50) and of all but the slowest twentieth (p95).",
                "soft small",
            )  # fmt: skip
            _show_times(spread.latencies)

    async def _download(self) -> None:
        reply = await read_report(
            evaluation_id=self._run_id, principal=await check_measuring(self._viewer), kind="html", baseline=None,
            rules=None,
        )  # fmt: skip
        ui.download.content(bytes(reply.body), f"evaluation-{self._run_id}.html", "text/html")


def _show_verdict(run: EvaluationDetailOut) -> None:
    bad = bool(run.broken or run.failed)
    with ui.element("section").classes("note " + ("bad" if bad else "ev-good")).props('aria-label="Verdict"'):
        element("b", "A rule is broken." if run.broken else "No rule of the suite is broken.")
        if run.broken:
            with ui.element("ul"):
                for sentence in run.broken:
                    show_rule(sentence)
        if run.failed:
            element("p", f"{run.failed:,} of {run.answers:,} gave no answer, and count as worst.")
        if run.flaky:
            named = ", ".join(run.flaky[:MOST_NAMED])
            element("p", f"Repeats disagree on {say_count(len(run.flaky), 'case', 'cases')}: {named}.")


def _look_closer(run: EvaluationDetailOut, spread: SpreadOut, metrics: Sequence[str]) -> None:
    def fill(metric: str) -> None:
        with drawing:
            element("p", MEANINGS[metric].capitalize() + ".", "soft small")
            draw_histogram(metric, spread.distributions[metric])
            _show_slices(run, spread, metric)

    async def show(metric: str) -> None:
        drawing.clear()
        fill(metric)

    with ui.element("div").classes("ev-section-head"):
        element("h2", "Look closer")
        choose("Metric", {name: name_metric(name) for name in metrics}, metrics[0], show)
    drawing = ui.element("div").classes("stack tight")
    fill(metrics[0])


def _show_scores(run: EvaluationDetailOut) -> None:
    element("h2", "Scores")
    means = run.metrics[WHOLE]
    body = table(("Metric", "Mean, 95 % interval"), numbers=frozenset({1}), caption="Scores over all cases")
    for name in (*QUALITY, *(one for one in EFFORT if one not in LATENCIES and one in means and means[one].high)):
        if name not in means:
            continue
        with body, ui.element("tr"):
            with ui.element("td"):
                element("b", name_metric(name))
                element("div", MEANINGS[name], "soft small")
                if name not in EFFORT:
                    draw_interval(means[name].low, means[name].mean, means[name].high)
            show_mean(name, means[name])


def _show_slices(run: EvaluationDetailOut, spread: SpreadOut, metric: str) -> None:
    found: dict[str, IntervalOut] = {
        group: means[metric] for group, means in run.metrics.items() if group != WHOLE and metric in means
    }
    if not found:
        return
    element("h3", "By slice")
    headings = ("Slice", "Cases", "Mean, 95 % interval")
    body = table(headings, numbers=frozenset({1, 2}), caption=f"{name_metric(metric)} by slice")
    former = ""
    for group in sorted(found)[:MOST_SLICES]:
        kind, _, value = group.partition("=")
        if kind != former:
            former = kind
            with body, ui.element("tr"):
                element("th", name_group(kind), "ev-kind").props('colspan="3" scope="rowgroup"')
        mean = found[group]
        with body, ui.element("tr"):
            with ui.element("td"):
                element("span", value.replace("_", " "))
                draw_interval(mean.low, mean.mean, mean.high)
            cell(f"{spread.slices.get(group, 0):,}", "number")
            show_mean(metric, mean)


def _show_times(latencies: Sequence[LatencyOut]) -> None:
    longest = max((one.p95.mean for one in latencies), default=0.0) or 1.0
    body = table(("Stage", "p50", "p95"), numbers=frozenset({1, 2}), caption="Times by stage, milliseconds")
    for one in latencies:
        with body, ui.element("tr"):
            with ui.element("td"):
                element("b", name_metric(one.metric))
                element("div", MEANINGS[one.metric].removeprefix("milliseconds ").capitalize(), "soft small")
                bar = ui.element("div").classes("ev-bar").props('aria-hidden="true"')
                bar.style(f"--half: {one.p50.mean / longest:.1%}; --most: {one.p95.mean / longest:.1%}")
            for quantile in (one.p50, one.p95):
                with ui.element("td").classes("number"):
                    element("span", f"{quantile.mean:,.1f}")
                    element("div", f"{quantile.low:,.1f} to {quantile.high:,.1f}", "soft small")


def _show_failures(run: EvaluationDetailOut) -> None:
    if not run.failures:
        return
    with ui.element("section").classes("card stack tight"):
        element("h2", "What gave no answer, or no judgement")
        body = table(("Case", "What failed", "Why"), caption="Failed answers and judgements")
        for one in run.failures:
            with body, ui.element("tr"):
                cell(one.case_id if one.repeat == 1 else f"{one.case_id}, time {one.repeat}")
                cell("the answer" if one.metric is None else f"the judgement of {name_metric(one.metric).lower()}")
                cell(one.error or "Only whoever asked may read why.", "" if one.error else "soft")


def _show_config(run: EvaluationDetailOut) -> None:
    with ui.element("details").classes("card"):
        element("summary", "How it was asked")
        with ui.element("dl").classes("ev-config"):
            for name, value in run.config.items():
                element("dt", name.replace("_", " ").capitalize())
                element("dd", say_setting(value))


def say_setting(value: object) -> str:
    """Return one setting of a run as people read it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else str(value)
