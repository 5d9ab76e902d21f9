"""The drawings of a run: how a score is spread, and quality against what an answer took; each with its figures."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from nicegui import ui
from nicegui.events import EChartPointClickEventArguments

from api.schemas.evaluations import AnswerPointOut
from api.web.evaluations.words import name_metric
from api.web.parts import cell, element, table

INK, SOFT, LINE, ACCENT, CARD = (f"var(--{name})" for name in ("ink", "soft", "line", "accent", "card"))
TEXT: Final = {"color": SOFT, "fontSize": 12}
MOST_LISTED: Final = 12


def draw_histogram(metric: str, counts: Sequence[int]) -> None:
    """Add how many answers scored how much, as bars and as a table."""
    steps = len(counts)
    whole, perfect = sum(counts), counts[-1]
    name = name_metric(metric)
    said = (
        f"{name}: {whole:,} answers, {perfect:,} of them from {1 - 1 / steps:.2f} to 1, "
        f"{counts[0]:,} below {1 / steps:.2f}"
    )
    names = [f"{step / steps:.2f}" for step in range(steps)]
    options = {
        **_frame(said),
        "tooltip": {
            **_tooltip(), "trigger": "axis", "axisPointer": {"type": "shadow", "shadowStyle": {"opacity": 0.1}},
        },
        "xAxis": _axis(name, type="category", data=names, axisLabel={**TEXT, "interval": 3}, axisTick={"show": False}),
        "yAxis": _axis("answers", type="value", minInterval=1, splitLine={"lineStyle": {"color": LINE}}),
        "series": [
            {
                "type": "bar", "name": "answers", "data": list(counts), "barCategoryGap": "12%",
                "itemStyle": {"color": ACCENT, "borderRadius": [2, 2, 0, 0]}, "emphasis": {"disabled": True},
            }
        ],
    }  # fmt: skip
    with ui.element("figure").classes("ev-plot"):
        element("figcaption", f"{said}.", "small soft")
        ui.echart(options, renderer="svg").classes("ev-chart")
        with _as_table():
            body = table(("From", "To", "Answers"), numbers=frozenset({0, 1, 2}), caption=said)
            for place, count in enumerate(counts):
                if count:
                    with body, ui.element("tr"):
                        for words in (f"{place / steps:.2f}", f"{(place + 1) / steps:.2f}", f"{count:,}"):
                            cell(words, "number")


def draw_quality(points: Sequence[AnswerPointOut], on_case: Callable[[str], Awaitable[None]]) -> None:
    """Add each answer's quality against its cost, or where it cost nothing against its time; a dot opens its case."""
    by_cost = any(one.cost_usd for one in points)
    drawn = [
        (took, one.quality, one.case_id)
        for one in points if (took := one.cost_usd if by_cost else one.total_ms) is not None
    ]  # fmt: skip
    if not drawn:
        element("p", "No answer was timed.", "soft")
        return
    unit = "USD an answer" if by_cost else "milliseconds an answer"
    said = f"{len(drawn):,} answers, the mean of their quality against {unit}"
    options = {
        **_frame(said),
        "tooltip": {
            **_tooltip(), "trigger": "item",
            ":formatter": "p => [p.data[2].replace(/[<&]/g, ''), 'quality ' + p.data[1].toFixed(2), "
            f"p.data[0].toLocaleString() + ' {'USD' if by_cost else 'ms'}'].join('<br>')",
        },
        "xAxis": _axis(unit, type="value", scale=True, splitLine={"show": False}),
        "yAxis": _axis("mean quality", type="value", min=0, max=1, splitLine={"lineStyle": {"color": LINE}}),
        "series": [
            {
                "type": "scatter", "data": [list(one) for one in drawn], "symbolSize": 9,
                "itemStyle": {"color": ACCENT, "opacity": 0.65}, "emphasis": {"disabled": True},
            }
        ],
    }  # fmt: skip

    async def open_case(event: EChartPointClickEventArguments) -> None:
        point: Any = event.data  # as it was given: what was taken, the quality, the case
        await on_case(str(point[2]))

    with ui.element("figure").classes("ev-plot"):
        note = "" if by_cost else " No model was asked, so nothing was paid; time stands in for cost."
        element("figcaption", f"{said}.{note} A dot opens its case.", "small soft")
        ui.echart(options, on_point_click=open_case, renderer="svg").classes("ev-chart tall")
        with _as_table("The lowest in quality as a table"):
            _list_points(drawn, by_cost=by_cost, on_case=on_case)


def _list_points(
    drawn: Sequence[tuple[float, float, str]], *, by_cost: bool, on_case: Callable[[str], Awaitable[None]]
) -> None:
    body = table(("Case", "Quality", "USD" if by_cost else "ms"), numbers=frozenset({1, 2}), caption="Lowest quality")
    for took, quality, case in sorted(drawn, key=lambda one: one[1])[:MOST_LISTED]:
        with body, ui.element("tr"):
            with ui.element("td"):
                link = element("button", case, "ev-link").props('type="button"')
                link.on("click", lambda case=case: on_case(case))
            cell(f"{quality:.2f}", "number")
            cell(f"{took:,.4f}" if by_cost else f"{took:,.0f}", "number")


def _as_table(words: str = "As a table") -> ui.element:
    with ui.element("details").classes("small") as details:
        element("summary", words)
    return details


def _frame(said: str) -> dict[str, Any]:
    return {
        "animation": False, "aria": {"enabled": True, "label": {"description": said}},
        "textStyle": {"color": INK, "fontFamily": "inherit"},
        "grid": {"left": 8, "right": 16, "top": 28, "bottom": 26, "containLabel": True},
    }  # fmt: skip


def _tooltip() -> dict[str, Any]:
    return {
        "backgroundColor": CARD, "borderColor": LINE, "textStyle": {"color": INK, "fontSize": 13}, "confine": True,
    }  # fmt: skip


def _axis(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # the chart's own options
    is_across = more.get("type") == "category" or "scale" in more
    return {
        "name": name, "nameLocation": "middle" if is_across else "end", "nameGap": 28 if is_across else 12,
        "nameTextStyle": {**TEXT, "align": "center" if is_across else "left"}, "axisLabel": TEXT,
        "axisLine": {"lineStyle": {"color": LINE}}, **more,
    }  # fmt: skip
