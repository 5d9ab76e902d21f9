"""What a client spoke of, month by month: bars in four groups that a coach can tell apart, and the figures."""

from collections.abc import Mapping
from typing import Any, Final

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.bars import DOTS, FALLING, PLAIN, RISING, Part, draw_bars
from api.web.clients.shown import Shown, heading
from api.web.parts import cell, element, table
from domain.evidence_counts import Month, count_months

MOST_MONTHS: Final = 24
GROUPS: Final[tuple[tuple[str, tuple[str, ...], str, Mapping[str, Any]], ...]] = (
    ("Wants and plans", ("goal", "commitment", "decision"), "var(--plot-1)", PLAIN),
    ("What happened", ("progress",), "var(--plot-2)", RISING),
    ("In the way", ("obstacle",), "var(--plot-3)", FALLING),
    ("Feelings and beliefs", ("emotion", "belief"), "var(--plot-4)", DOTS),
)
"""Name, types of claims, colour and pattern."""


async def draw_months(shown: Shown, session: AsyncSession) -> None:
    """Add the plot and its table."""
    months = await count_months(session, shown.client_id, zone=shown.viewer.zone, most=MOST_MONTHS)
    with ui.element("section").classes("card").props("aria-labelledby=change"):
        with ui.element("div").classes("section-head"):
            heading("Change over time", "change")
        if not any(month.claims for month in months):
            element("p", "Nothing to draw yet: claims are found in sessions once these are examined.", "soft")
            return
        element("p", "How much was said of what, month by month, in claims found in the sessions.", "soft small")
        draw_bars(
            "Claims by month; the table has the figures", [f"{month.first_day:%b %Y}" for month in months],
            [
                Part(name, [_count(month, types) for month in months], colour, pattern)
                for name, types, colour, pattern in GROUPS
            ],
        )  # fmt: skip
        _draw_table(months)


def _count(month: Month, types: tuple[str, ...]) -> int:
    return sum(month.claims.get(one, 0) for one in types)


def _draw_table(months: list[Month]) -> None:
    headings = ["Month", "Sessions", *(name for name, *_ in GROUPS)]
    with table(headings, numbers=frozenset(range(1, len(headings))), caption="Claims by month"):
        for month in reversed(months):
            with ui.element("tr"):
                cell(f"{month.first_day:%b %Y}", "month")
                cell(f"{month.sessions:,}", "number")
                for _, types, *_rest in GROUPS:
                    cell(f"{_count(month, types):,}", "number")
