"""Stacked bars of what happened over time: parts differ by pattern too, so that nobody needs to tell their colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

_OVER: Final = {"color": "rgba(255, 255, 255, 0.4)"}
_LINES: Final = {**_OVER, "symbol": "rect", "dashArrayX": [1, 0], "dashArrayY": [2, 5]}
PLAIN: Final[Mapping[str, Any]] = {}
RISING: Final = {"decal": {**_LINES, "rotation": -0.8}}
FALLING: Final = {"decal": {**_LINES, "rotation": 0.8}}
DOTS: Final = {
    "decal": {
        **_OVER, "symbol": "circle", "dashArrayX": [[8, 8], [0, 8, 8, 0]], "dashArrayY": [6, 0], "symbolSize": 0.8,
    },
}  # fmt: skip

MOST_PARTED: Final = 31
"""Bars whose parts are set apart by a line."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of every bar: its amount at each place, its colour, and the pattern drawn over it."""

    name: str
    amounts: Sequence[float]
    colour: str
    pattern: Mapping[str, Any]


def draw_bars(said: str, places: Sequence[str], parts: Sequence[Part], *, whole: bool = True) -> None:
    """Add the bars as one picture that says `said` to a screen reader; a table beside it has the figures."""
    with ui.element("div").classes("plot").props('role="img"') as frame:
        frame.props["aria-label"] = said
        chart = ui.echart(stack_bars(places, parts, whole=whole), renderer="svg").classes("bars")
        chart.props('aria-hidden="true"')


def stack_bars(places: Sequence[str], parts: Sequence[Part], *, whole: bool = True) -> dict[str, Any]:
    """Return what ECharts draws: a stacked bar at each place; `whole` amounts are marked at whole numbers only."""
    ink = {"color": "var(--soft)", "fontSize": 13}
    gap = 1 if len(places) <= MOST_PARTED else 0  # of many bars it would leave nothing on a phone
    return {
        "animation": False,
        "grid": {"left": 8, "right": 20, "top": 8, "bottom": 60 if len(parts) > 1 else 4, "containLabel": True},
        "legend": {"show": len(parts) > 1, "bottom": 0, "textStyle": ink, "selectedMode": False, "itemGap": 14},
        "tooltip": {
            "trigger": "axis", "axisPointer": {"type": "none"}, "confine": True, "backgroundColor": "var(--card)",
            "borderColor": "var(--line)", "textStyle": {"color": "var(--ink)", "fontSize": 13},
        },
        "xAxis": {
            "type": "category", "data": list(places),
            "axisLabel": {**ink, "hideOverlap": True}, "axisLine": {"lineStyle": {"color": "var(--line)"}},
            "axisTick": {"show": False},
        },
        "yAxis": {
            "type": "value", "minInterval": 1 if whole else 0, "axisLabel": ink,
            "splitLine": {"lineStyle": {"color": "var(--line)"}},
        },
        "series": [
            {
                "name": part.name, "type": "bar", "stack": "all", "barMaxWidth": 56,
                "data": [amount or None for amount in part.amounts], "emphasis": {"disabled": True},
                "itemStyle": {"color": part.colour, "borderColor": "var(--card)", "borderWidth": gap, **part.pattern},
            }
            for part in parts
        ],
    }  # fmt: skip
