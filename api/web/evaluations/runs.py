"""The list of runs: what each measured, how it ended, what it cost; two of a suite can be put side by side."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from nicegui import ui

from api.routes.evaluations import list_evaluations
from api.schemas.evaluations import EvaluationOut
from api.web.evaluations.words import (
    check_measuring,
    draw_interval,
    name_metric,
    say_cost,
    say_count,
    say_duration,
    say_figure,
    say_interval,
    show_state,
    show_waiting,
)
from api.web.parts import button, element, say_time, table
from api.web.viewer import Viewer
from core.errors import AppError
from db.session import tenant_session
from evaluation.headlines import measure_headlines
from evaluation.retrieval_metrics import Interval
from evaluation.runs import get_run

PAGE: Final = 15
POLL_S: Final = 3.0
ALWAYS: Final = ("support", "citation_recall", "refusal_correct")
"""Figures of every run."""
JUDGED: Final = "faithfulness"
"""Stands before them where a model judged one of the runs."""


class RunList:
    """A table of runs, the newest first, whose figures come after its rows."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._suite: str | None = None
        self._cursor: str | None = None
        self._figures: tuple[str, ...] = ALWAYS
        self._chosen: dict[UUID, EvaluationOut] = {}
        self._rows: dict[UUID, tuple[ui.element, EvaluationOut]] = {}
        with ui.element("div").classes("ev-choice").props('role="status"') as self._choice:
            pass
        self.frame = ui.element("div").classes("ev-runs")
        with self.frame:
            show_waiting("The runs are being read …")
        self._more = button("Show more", self._show_more)
        self._more.set_visibility(False)
        ui.timer(POLL_S, self._follow, immediate=False)

    async def show(self, suite: str | None = None) -> None:
        """Show the newest runs, of one suite where it is named."""
        self._suite, self._cursor = suite, None
        self._chosen.clear()
        self._rows.clear()
        self._show_choice()
        found = await self._fetch()
        self.frame.clear()
        with self.frame:
            if not found:
                with ui.element("section").classes("empty"):
                    element("h2", "No run yet")
                    with ui.element("p"):
                        element("span", "Start one above. A suite that is not there yet is stored by ")
                        element("code", "regenesis eval run FOLDER")
                        element("span", ", which runs it too, or built from answers that people rated.")
                return
            self._figures = (JUDGED, *ALWAYS) if any(one.judge for one in found) else ALWAYS
            headings = ("Compare", "Run", "State", *map(name_metric, self._figures), "Cost", "Took")
            numbers = frozenset(range(3, len(headings)))
            self._body = table(headings, numbers=numbers, caption="Runs of suites, the newest first")
        await self._add(found)

    async def _fetch(self) -> list[EvaluationOut]:
        async with tenant_session(await check_measuring(self._viewer)) as session:
            found = await list_evaluations(
                session=session, suite=self._suite, run_status=None, flow_run_id=None, limit=PAGE, cursor=self._cursor
            )
        self._cursor = found.next_cursor
        self._more.set_visibility(found.next_cursor is not None)
        return found.items

    async def _show_more(self) -> None:
        await self._add(await self._fetch())

    async def _add(self, runs: list[EvaluationOut]) -> None:
        for run in runs:
            with self._body:
                row = ui.element("tr")
            self._rows[run.id] = row, run
            self._draw(row, run, None)
        self._show_choice()

        async def fill() -> None:
            for run in runs:
                await self._fill(run)

        with self.frame:
            ui.timer(0, fill, once=True)

    async def _fill(self, run: EvaluationOut) -> None:
        """Show the figures of one run in its row."""
        if run.id not in self._rows:
            return
        row, _ = self._rows[run.id]
        figures: Mapping[str, Interval] = {}
        if run.answers:
            try:
                async with tenant_session(await check_measuring(self._viewer)) as session:
                    figures = await measure_headlines(session, await get_run(session, run.id))
            except AppError as error:
                if error.code != "RunTooLarge":
                    raise
        self._rows[run.id] = row, run
        self._draw(row, run, figures)

    def _draw(self, row: ui.element, run: EvaluationOut, figures: Mapping[str, Interval] | None) -> None:
        for cell in list(row)[1:]:  # the box stays: a tick in it must not be lost while figures come
            cell.delete()
        with row:
            if not list(row):
                self._draw_box(run)
            with ui.element("td").classes("ev-name"):
                with ui.element("a").props(f'href="/evaluations/{run.id}"'):
                    say_time(self._viewer, run.started_at)
                element("div", f"{run.suite}, version {run.version}", "soft small")
            with ui.element("td").props('data-label="State"'):
                show_state(run.status)
                answers = say_count(run.answers, "answer", "answers")
                failed = f", {run.failed:,} failed" if run.failed else ""
                element("div", answers + failed, "small " + ("ev-bad" if run.failed else "soft"))
            for metric in self._figures:
                self._draw_figure(run, metric, figures)
            cost = "–" if run.status == "running" else say_cost(run.cost_usd)
            for label, words in (("Cost", cost), ("Took", say_duration(run))):
                element("td", words, "number").props(f'data-label="{label}"')

    def _draw_box(self, run: EvaluationOut) -> None:
        with ui.element("td").classes("ev-pick"):
            box = ui.element("input").props('type="checkbox"')
            box.props["aria-label"] = f"Choose the run of {run.suite}, {run.started_at:%d %B %H:%M}, to compare"
            box.on(
                "change", lambda event: self._choose(run, bool(event.args)), js_handler="(e) => emit(e.target.checked)"
            )

    def _draw_figure(self, run: EvaluationOut, metric: str, figures: Mapping[str, Interval] | None) -> None:
        with ui.element("td").classes("number ev-figure").props(f'data-label="{name_metric(metric)}"'):
            if figures is None and run.answers and (metric != JUDGED or run.judge):
                with ui.element("div").classes("waiting"):
                    element("span", "being worked out", "unseen")
                element("span", " ", "ev-blank small")
            elif figures and metric in figures:
                found = figures[metric]
                element("b", say_figure(metric, found.mean))
                element("span", say_interval(metric, found), "soft small")
                draw_interval(found.low, found.mean, found.high)
            else:
                element("span", "not judged" if metric == JUDGED and run.answers else "–", "soft small")

    def _choose(self, run: EvaluationOut, chosen: bool) -> None:  # what the box says
        if chosen:
            self._chosen[run.id] = run
        else:
            self._chosen.pop(run.id, None)
        self._show_choice()

    def _show_choice(self) -> None:
        self._choice.clear()
        runs = sorted(self._chosen.values(), key=lambda one: one.started_at)
        with self._choice:
            if not runs:
                if len(self._rows) > 1:
                    element("p", "Choose two runs of one suite to compare them.", "soft small")
            elif len(runs) == 1:
                element("p", f"One run of {runs[0].suite} is chosen; choose another of that suite.", "soft small")
            elif len(runs) > 2:
                element("p", "More than two runs are chosen; leave two.", "ev-bad small")
            elif runs[0].suite != runs[1].suite:
                element("p", "These are runs of different suites; choose two of the same.", "ev-bad small")
            else:
                link = ui.element("a").classes("button main")
                link.props["href"] = f"/evaluations/compare?a={runs[0].id}&b={runs[1].id}"
                with link:
                    element("span", "Compare the two runs")

    async def _follow(self) -> None:
        """Look again at runs that are under way."""
        for row, run in list(self._rows.values()):
            if run.status != "running":
                continue
            async with tenant_session(await check_measuring(self._viewer)) as session:
                now = EvaluationOut.model_validate(await get_run(session, run.id))
            if now.status != "running":
                await self._fill(now)
            elif now.answers != run.answers:
                self._rows[run.id] = row, now
                self._draw(row, now, {})
