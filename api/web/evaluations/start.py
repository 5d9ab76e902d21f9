"""Starting a run: what it would take is told before its button can be pressed, and how far it is while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from nicegui import ui
from pydantic import ValidationError

from api.routes.evaluations import forecast_evaluation, list_evaluations, list_suites, start_evaluation
from api.schemas.evaluations import EvaluationIn, EvaluationOut, ForecastOut, SuiteOut
from api.web.evaluations.words import (
    check_measuring,
    choose,
    fill_choices,
    say_cost,
    say_count,
    show_state,
)
from api.web.parts import button, element
from api.web.viewer import Viewer
from core.errors import AppError
from db.session import tenant_session

SETTLE_S: Final = 0.35
"""How long a value rests before what it would cost is asked for."""
POLL_S: Final = 2.0
BEGUN_WITHIN_S: Final = 60.0
"""After which a run that did not begin is called late."""
GIVE_UP_S: Final = 1_800.0
"""After which nobody looks any more whether it began."""
MOST_SUITES: Final = 200
MOST_BASELINES: Final = 20
NUMBERS: Final = (
    ("repeats", "Repeats", "how often each question is asked; empty: as the suite says", "min=1 max=100 step=1"),
    ("limit", "Questions", "only the first so many; empty: all", "min=1 max=20000 step=1"),
    ("budget_usd", "Budget, USD", "where the run stops; empty: as the suite says", "min=0 max=1000000 step=any"),
)
JUDGES: Final = {"": "As the suite says", "none": "Words alone", "ragas": "A model judges too"}


class StartForm:
    """The form that starts a run; nothing can be started before its forecast is shown."""

    def __init__(self, viewer: Viewer, on_end: Callable[[], Awaitable[None]]) -> None:
        self._viewer, self._on_end = viewer, on_end
        self._suites: dict[str, SuiteOut] = {}
        self._given: dict[str, str] = {}
        self._turn = 0
        self._key = uuid4().hex
        self._frame = ui.element("section").classes("card stack ev-start").props('aria-label="Start a run"')
        self._frame.set_visibility(False)
        self.progress = ui.element("div").props('role="status"')

    async def load(self) -> list[str]:
        """Read the stored suites, build the form, and return their names."""
        async with tenant_session(await check_measuring(self._viewer)) as session:
            found = await list_suites(session, name=None, limit=MOST_SUITES, cursor=None)
        for suite in found.items:  # the newest version comes first
            self._suites.setdefault(suite.name, suite)
        with self._frame:
            self._build()
        return list(self._suites)

    async def toggle(self, opener: ui.element) -> None:
        """Show or hide the form, which the button opens."""
        self._frame.set_visibility(not self._frame.visible)
        opener.props["aria-expanded"] = str(self._frame.visible).lower()
        if self._frame.visible:
            ui.run_javascript(f"getHtmlElement({self._suite.id})?.focus()")
            await self._change_suite(self._given["suite"])

    def _build(self) -> None:
        element("h2", "Start a run")
        if not self._suites:
            return
        self._given["suite"] = next(iter(self._suites))
        with ui.element("div").classes("ev-fields"):
            named = {name: f"{name} ({say_count(one.cases, 'case', 'cases')})" for name, one in self._suites.items()}
            self._suite = choose("Suite", named, self._given["suite"], self._change_suite)
            self._baseline = choose("Hold it against", {"": "Nothing"}, "", self._setter("baseline_id"))
            choose("Judged by", JUDGES, "", self._setter("judge"))
            for name, label, hint, limits in NUMBERS:
                self._add_number(name, label, hint, limits)
        self._said = element("p", "", "soft small")
        with ui.element("div").classes("note ev-forecast").props('aria-live="polite" aria-atomic="true"') as forecast:
            element("p", "Working out what it would take …")
        self._forecast = forecast
        with ui.element("div").classes("line"):
            self._start = button("Start the run", self._begin, "main")
            self._start.props["disabled"] = True

    def _add_number(self, name: str, label: str, hint: str, limits: str) -> None:
        with ui.element("div").classes("field"):
            said = element("label", label)
            box = ui.element("input").props(f'type="number" inputmode="decimal" {limits}')
            said.props(f'for="c{box.id}"')
            noted = element("span", hint, "soft small")
            box.props(f'aria-describedby="c{noted.id}"')
        setter = self._setter(name)

        async def change(event: Any) -> None:  # noqa: ANN401  # NiceGUI's event
            await setter(str(event.args))

        box.on("input", change, js_handler="(e) => emit(e.target.validity.badInput ? 'x' : e.target.value)")

    def _setter(self, name: str) -> Callable[[str], Awaitable[None]]:
        async def change(value: str) -> None:
            self._given[name] = value
            await self._foretell()

        return change

    async def _change_suite(self, name: str) -> None:
        self._given["suite"], self._given["baseline_id"] = name, ""
        self._said.set_text(self._suites[name].description or "")
        async with tenant_session(await check_measuring(self._viewer)) as session:
            earlier = await list_evaluations(
                session=session, suite=name, run_status="completed", flow_run_id=None, limit=MOST_BASELINES, cursor=None
            )
        zone = self._viewer.zone
        runs = {str(one.id): f"The run of {one.started_at.astimezone(zone):%d %B %Y, %H:%M}" for one in earlier.items}
        fill_choices(self._baseline, {"": "Nothing"} | runs)
        await self._foretell()

    def _read(self) -> EvaluationIn:
        """Return what the form says; raises `ValidationError`."""
        return EvaluationIn.model_validate({name: value for name, value in self._given.items() if value})

    async def _foretell(self) -> None:
        """Tell what the run would take, once its values rest; until then it can't be started."""
        self._turn += 1
        turn, self._key = self._turn, uuid4().hex
        self._start.props["disabled"] = True
        await asyncio.sleep(SETTLE_S)
        if turn != self._turn:
            return
        try:
            asked = self._read()
            principal = await check_measuring(self._viewer)
            expected = await forecast_evaluation(
                principal=principal, assistant=self._viewer.assistant, settings=self._viewer.settings,
                suite=asked.suite, repeats=asked.repeats, limit=asked.limit, budget_usd=asked.budget_usd,
                judge=asked.judge,
            )  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            name = next((label for name, label, *_ in NUMBERS if name in first["loc"]), "A value")
            self._say_forecast([f"{name}: {first['msg'].lower()}."], bad=True)
            return
        except AppError as error:
            if turn == self._turn:
                self._say_forecast([error.message], bad=True)
            return
        if turn == self._turn:
            self._say_forecast(describe(expected))
            self._start.props["disabled"] = False

    def _say_forecast(self, sentences: list[str], *, bad: bool = False) -> None:
        self._forecast.clear()
        self._forecast.classes(add="bad" if bad else "", remove="" if bad else "bad")
        with self._forecast:
            for place, sentence in enumerate(sentences):
                element("p", sentence, "small" if place else "ev-strong")

    async def _begin(self) -> None:
        self._start.props["disabled"] = True
        try:
            started = await start_evaluation(
                self._read(), await check_measuring(self._viewer), self._viewer.settings, self._viewer.assistant,
                key=self._key,
            )  # fmt: skip
        except AppError as error:
            self._say_forecast([error.message], bad=True)
            self._start.props["disabled"] = False
            return
        self._frame.set_visibility(False)
        self._key = uuid4().hex
        with self.progress:
            Progress(self._viewer, started.flow_run_id, started.forecast, self._on_end)


class Progress:
    """How far a run is that was started here."""

    def __init__(
        self, viewer: Viewer, flow_run_id: UUID, expected: ForecastOut, on_end: Callable[[], Awaitable[None]]
    ) -> None:
        self._viewer, self._flow_run_id, self._expected, self._on_end = viewer, flow_run_id, expected, on_end
        self._since = datetime.now(UTC)
        self._began = False
        with ui.element("div").classes("card ev-progress"):
            self._body = ui.element("div").classes("stack tight")
        self._timer = ui.timer(POLL_S, self._look)

    async def _look(self) -> None:
        async with tenant_session(await check_measuring(self._viewer)) as session:
            found = await list_evaluations(
                session=session, suite=None, run_status=None, flow_run_id=self._flow_run_id, limit=1, cursor=None
            )
        run = found.items[0] if found.items else None
        waits = run is None and (datetime.now(UTC) - self._since).total_seconds() < GIVE_UP_S
        if not waits and (run is None or run.status != "running"):
            self._timer.deactivate()
        self._show(run)
        if run is not None and (not self._began or run.status != "running"):
            self._began = True
            await self._on_end()

    def _show(self, run: EvaluationOut | None) -> None:
        self._body.clear()
        with self._body:
            if run is None:
                late = (datetime.now(UTC) - self._since).total_seconds() > BEGUN_WITHIN_S
                element("b", f"A run of {self._expected.suite} is started")
                element(
                    "p",
                    "It has not begun after a minute; the flow server shows why, ask your administrator."
                    if late
                    else "Waiting for the flow server to begin it …",
                    "small " + ("ev-bad" if late else "soft"),
                )
                return
            show_progress(run, self._expected.questions)
            with ui.element("a").props(f'href="/evaluations/{run.id}"'):
                element("span", "Open the run")


def show_progress(run: EvaluationOut, questions: int) -> None:
    """Add how many of a run's questions are answered, and how it ended."""
    with ui.element("div").classes("line"):
        element("b", f"{run.suite}: {run.answers:,} of {questions:,} answered")
        show_state(run.status)
    bar = ui.element("progress").props(f'max="{max(questions, 1)}" value="{run.answers}"')
    bar.props["aria-label"] = f"Answers of {run.suite}"


def describe(expected: ForecastOut) -> list[str]:
    """Return what a run takes, in sentences, the most important first."""
    asks = f"It asks {say_count(expected.questions, 'question', 'questions')}"
    if expected.repeats > 1:
        asks += f" ({say_count(expected.cases, 'case', 'cases')}, {expected.repeats} times each)"
    costs = "at a cost that is not known" if expected.cost_usd is None else f"and costs {say_cost(expected.cost_usd)}"
    said = [f"{asks} {costs}.", f"Counted as: {expected.basis}."]
    if expected.budget_usd is not None:
        said.append(f"It stops before it costs more than ${expected.budget_usd:,.2f}.")
    if expected.month_left_usd is not None:
        said.append(f"Models may still cost ${expected.month_left_usd:,.2f} this month.")
    return said
