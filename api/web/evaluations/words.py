"""How figures of evaluations are said and drawn: metrics by their names, means with intervals, money, durations."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from nicegui import ui

from api.deps import RoleMissing
from api.schemas.evaluations import EvaluationOut, IntervalOut, RunStatus
from api.web.parts import element
from api.web.viewer import Viewer
from core.errors import AppError
from db.session import Principal, Role
from domain.identity import Unauthenticated
from evaluation.records import EFFORT, LATENCIES, LOWER_IS_BETTER
from evaluation.retrieval_metrics import Interval
from evaluation.store import ExperimentNotFound

MEASURING: Final[frozenset[Role]] = frozenset({"evaluator", "admin"})
"""Who the API lets read scores."""

NAMES: Final[Mapping[str, str]] = {
    "refusal_correct": "Refused rightly", "response_relevancy": "Response relevancy", "cost_usd": "Cost, USD",
    "scope_coverage": "Sessions searched", "judged_context_precision": "Context precision, judged",
    "judged_context_recall": "Context recall, judged",
}  # fmt: skip
STATES: Final[Mapping[RunStatus, tuple[str, str]]] = {
    "running": ("Running", "warn"), "completed": ("Completed", "good"), "interrupted": ("Interrupted", "bad"),
    "over_budget": ("Over budget", "bad"), "failed": ("Failed", "bad"),
}  # fmt: skip
HIDDEN: Final = (
    "Of some cases only the scores are shown: their words are for evaluators, where every client they are about agrees "
    "to it and whoever asked may still read them."
)
MINUS: Final = "\N{MINUS SIGN}"


async def check_measuring(viewer: Viewer) -> Principal:
    """Return who looks, asked for anew; raises `RoleMissing` for any role that measures nothing."""
    principal = await viewer.check()
    if principal.role not in MEASURING:
        raise RoleMissing("Only evaluators and administrators may do this; ask your organisation's administrator.")
    return principal


def read_id(said: str) -> UUID:
    """Return the id of a run that an address names; raises `ExperimentNotFound`."""
    try:
        return UUID(said)
    except ValueError as error:
        raise ExperimentNotFound("There is no such run; choose one from the list of evaluations.") from error


def name_metric(metric: str) -> str:
    """Return a metric's name as people read it."""
    plain = metric.removesuffix("_ms") if metric in LATENCIES else metric
    return NAMES.get(metric) or plain.replace("_", " ").capitalize()


def name_group(group: str) -> str:
    """Return a slice as people read it, such as `Question type: commitment`."""
    name, _, value = group.partition("=")
    kind = name.replace("_", " ").capitalize()
    return f"{kind}: {value.replace('_', ' ')}" if value else kind


def say_figure(metric: str, value: float, *, sign: bool = False) -> str:
    """Return a score or an effort with the digits that fit it."""
    digits = 4 if metric == "cost_usd" else 0 if metric in EFFORT else 2
    said = f"{value:{'+z' if sign else ''},.{digits}f}"
    return said.replace("-", MINUS)


def say_interval(metric: str, interval: IntervalOut | Interval, *, sign: bool = False) -> str:
    """Return the 95 % interval of a mean."""
    low, high = (say_figure(metric, value, sign=sign) for value in (interval.low, interval.high))
    return f"{low} to {high}"


def show_mean(metric: str, interval: IntervalOut | Interval) -> None:
    """Add a cell with a mean over its interval."""
    with ui.element("td").classes("number"):
        element("b", say_figure(metric, interval.mean))
        element("div", say_interval(metric, interval), "soft small")


def say_chance(chance: float) -> str:
    """Return a p value."""
    return "p < 0.001" if chance < 0.001 else f"p = {chance:.3f}"


def say_cost(amount: Decimal | float | None) -> str:
    """Return an amount in USD."""
    if amount is None:
        return "not known"
    return "nothing" if not amount else f"${amount:,.2f}" if amount >= 1 else f"${amount:,.4f}"


def say_duration(run: EvaluationOut) -> str:
    """Return how long a run took."""
    if run.completed_at is None:
        return "–"
    seconds = round((run.completed_at - run.started_at).total_seconds())
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def say_count(number: int, one: str, more: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else more}"


def is_low(metric: str, value: float) -> bool:
    """Tell whether a score is one to look at first."""
    return value > 0.5 if metric in LOWER_IS_BETTER else value < 0.5


def show_state(status: RunStatus) -> None:
    """Add how a run ended."""
    words, look = STATES[status]
    element("span", words, f"tag {look}")


def draw_interval(low: float, mean: float, high: float, *, begin: float = 0.0, end: float = 1.0) -> None:
    """Add a mean with its interval on a line from `begin` to `end`, a drawing of figures that stand beside it."""
    low, mean, high = (min(max((value - begin) / (end - begin), 0.0), 1.0) * 100 for value in (low, mean, high))
    drawn = ui.element("div").classes("ev-range" + (" both-ways" if begin < 0 else "")).props('aria-hidden="true"')
    drawn.style(f"--low: {low:.1f}%; --mean: {mean:.1f}%; --high: {100 - high:.1f}%")


def choose(
    label: str, options: Mapping[str, str], chosen: str, on_change: Callable[[str], Awaitable[None]]
) -> ui.element:
    """Add a list to choose from, by value and words, with its label."""
    with ui.element("div").classes("field"):
        said = element("label", label)
        box = ui.element("select")
        said.props(f'for="c{box.id}"')
        fill_choices(box, options, chosen)

    async def change(event: Any) -> None:  # noqa: ANN401  # NiceGUI's event
        await on_change(str(event.args))

    box.on("change", change, js_handler="(e) => emit(e.target.value)")
    return box


def fill_choices(box: ui.element, options: Mapping[str, str], chosen: str = "") -> None:
    """Put these options in place of a list's own."""
    box.clear()
    with box:
        for value, words in options.items():
            option = element("option", words)
            option.props["value"] = value
            if value == chosen:
                option.props["selected"] = True


def show_rule(sentence: str) -> None:
    """Add how a rule is broken to a list; the rule stands between backticks."""
    with ui.element("li"):
        for place, part in enumerate(sentence.split("`")):
            if part:
                element("code" if place % 2 else "span", part if place % 2 else part.replace("_", " "))


def show_waiting(words: str) -> None:
    """Say that figures are being worked out, in the place they will take."""
    with ui.element("div").classes("card stack ev-waiting").props('role="status"'):
        element("p", words, "soft")
        for width in (60, 90, 75, 85):
            ui.element("div").classes("waiting").style(f"width: {width}%").props('aria-hidden="true"')


async def fill_in(place: ui.element, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work in a place whose waiting words it removes; what can't be shown is said there in a sentence."""
    try:
        with place:
            await work()
    except Unauthenticated:
        raise
    except AppError as error:
        place.clear()
        with place:
            element("p", error.message, "note warn")
