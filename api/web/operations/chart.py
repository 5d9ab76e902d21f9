"""What was used day by day, as a plot of one measure and the same figures as a table."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from api.schemas.usage import UsageOut, UsageRowOut
from api.web.operations.section import say_bytes, say_usd
from api.web.parts import cell, element, table

MEASURES: Final = {
    "tokens": "Tokens", "usd": "USD for models", "ingestions": "Files taken in", "storage": "Bytes taken in",
}  # fmt: skip
_DAILY: Final = ("tokens", "ingestions")
"""Measures whose limit is a day's, so that it can stand in the plot."""


def measure(row: UsageRowOut, name: str) -> float:
    """Return one measure of a day."""
    match name:
        case "tokens":
            return row.input_tokens + row.output_tokens
        case "usd":
            return float(row.cost_usd or 0)
        case "ingestions":
            return row.ingestions
    return row.stored_bytes


def draw_days(used: UsageOut, limits: Mapping[str, Decimal | None]) -> None:
    """Add the plot with a choice of its measure, and the table of all measures behind a fold."""
    with ui.element("div").classes("ops-plot-head"):
        element("h3", "Day by day (UTC)")
        with ui.element("div").classes("field ops-inline"):
            element("label", "Measure").props('for="ops-measure"')
            choice = ui.element("select").props('id="ops-measure"')
            with choice:
                for name, words in MEASURES.items():
                    element("option", words).props(f'value="{name}"')
    first = next((name for name in MEASURES if any(measure(row, name) for row in used.items)), "tokens")
    choice.props["value"] = first
    figure = ui.element("div").props('role="img"').classes("ops-figure-box")
    with figure:
        chart = (
            ui.echart(make_options(used, first, limits), renderer="svg").classes("ops-plot").props('aria-hidden="true"')
        )

    def label(name: str) -> None:
        total = sum(measure(row, name) for row in used.items)
        peak = max(used.items, key=lambda row: measure(row, name))
        figure.props["aria-label"] = (
            f"{MEASURES[name]} of each day from {used.since} to {used.until}: {_say(name, total)} in all, most on "
            f"{peak.date} with {_say(name, measure(peak, name))}. The table below has every day."
        )
        figure.update()

    def change(event: GenericEventArguments) -> None:
        name = event.args if event.args in MEASURES else "tokens"
        chart.options.clear()
        chart.options.update(make_options(used, name, limits))
        chart.update()
        label(name)

    choice.on("change", change, js_handler="(event) => emit(event.target.value)")
    label(first)
    with ui.element("details").classes("ops-fold"):
        element("summary", "Every day as a table")
        headings = ("Day", "Tokens in", "Tokens out", "USD", "Files", "Bytes")
        with table(headings, numbers=frozenset(range(1, 6)), caption="Usage by day, the newest first"):
            for row in used.items:
                with ui.element("tr"):
                    cell(str(row.date))
                    cell(f"{row.input_tokens:,}", "number")
                    cell(f"{row.output_tokens:,}", "number")
                    cell(say_usd(row.cost_usd), "number")
                    cell(f"{row.ingestions:,}", "number")
                    cell(say_bytes(row.stored_bytes), "number")


def make_options(used: UsageOut, name: str, limits: Mapping[str, Decimal | None]) -> dict[str, Any]:
    """Return the plot of one measure: a bar each day, also where nothing was used, and the day's limit as a line."""
    by_day = {row.date: measure(row, name) for row in used.items}
    days = [used.since + timedelta(days=n) for n in range((used.until - used.since).days + 1)]
    soft, line = {"color": "var(--soft)"}, {"lineStyle": {"color": "var(--line)"}}
    series: dict[str, Any] = {
        "type": "bar", "data": [by_day.get(day, 0) for day in days], "itemStyle": {"color": "var(--accent)"},
        "barMaxWidth": 24, "emphasis": {"disabled": True},
    }  # fmt: skip
    limit = limits.get(name) if name in _DAILY else None
    if limit is not None:
        series["markLine"] = {
            "symbol": "none", "silent": True, "data": [{"yAxis": float(limit)}],
            "lineStyle": {"color": "var(--bad)", "type": "dashed", "width": 2},
            "label": {"formatter": f"limit {limit:,.0f}", "position": "insideEndTop", "color": "var(--bad)"},
        }  # fmt: skip
    most = max(float(limit or 0), *series["data"])
    return {
        "animation": False, "grid": {"left": 8, "right": 12, "top": 24, "bottom": 4, "containLabel": True},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {
            "type": "category", "data": [f"{day.day} {day:%b}" for day in days], "axisLabel": soft,
            "axisLine": line, "axisTick": {"show": False},
        },
        "yAxis": {
            "type": "value", "min": 0, "max": most * 1.1 if limit is not None else None,
            "minInterval": 0 if name == "usd" else 1,
            "axisLabel": {**soft, ":formatter": "(value) => value.toLocaleString('en', {notation: 'compact'})"},
            "splitLine": line,
        },
        "series": [series],
    }  # fmt: skip


def _say(name: str, amount: float) -> str:
    if name == "usd":
        return say_usd(Decimal(str(amount)))
    return say_bytes(int(amount)) if name == "storage" else f"{amount:,.0f}"
