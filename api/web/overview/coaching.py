"""What was coached, month by month: held, cancelled and missed sessions as bars, and every figure as a table."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from nicegui import ui

from api.web.bars import FALLING, PLAIN, RISING, Part, draw_bars
from api.web.operations.section import say_count
from api.web.overview.days import Days
from api.web.overview.words import average_cell, explain_averages, say_people, unfold
from api.web.parts import cell, element, table
from domain.analytics import MonthOfCoaching

HEADINGS: Final = ("Month", "Held", "Cancelled", "Missed", "Clients", "Coaches", "Minutes", "Rating")


def draw_coaching(months: Sequence[MonthOfCoaching], days: Days) -> None:
    """Add the months, the newest first, as a plot that begins with the first of them, and as a table."""
    with ui.element("section").classes("card stack tight").props('aria-labelledby="coaching"'):
        element("h2", "Coaching, month by month").props('id="coaching"')
        if not months:
            element("p", f"No session was planned or held {days}.", "soft")
            return
        held, cancelled, missed = (
            sum(getattr(month, name) for month in months)
            for name in ("sessions_completed", "sessions_cancelled", "sessions_missed")
        )
        said = f"{say_count(held, 'session')} held, {cancelled:,} cancelled, {missed:,} missed"
        element("p", f"{said}. Months count whole, in UTC.", "soft")
        _draw_plot(said, months, days)
        with unfold("Every month as a table"):
            with table(HEADINGS, numbers=frozenset(range(1, len(HEADINGS))), caption="Coaching by month"):
                for month in months:
                    _draw_row(month)
            explain_averages("Minutes and rating (1 to 5)")


def _draw_plot(said: str, months: Sequence[MonthOfCoaching], days: Days) -> None:
    known = {month.month: month for month in months}
    shown = list(_list_months(months[-1].month, max(days.end, months[0].month)))
    parts = [
        Part(name, [getattr(known[one], column) if one in known else 0 for one in shown], colour, pattern)
        for name, column, colour, pattern in (
            ("Held", "sessions_completed", "var(--plot-2)", PLAIN),
            ("Cancelled", "sessions_cancelled", "var(--plot-3)", FALLING),
            ("Missed", "sessions_missed", "var(--plot-4)", RISING),
        )
    ]
    draw_bars(f"{said}; the table has every month", [f"{one:%b %Y}" for one in shown], parts)


def _list_months(first: date, last: date) -> Iterator[date]:
    """Yield the first day of each month from the first's to the last's."""
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield date(number // 12, number % 12 + 1, 1)


def _draw_row(month: MonthOfCoaching) -> None:
    with ui.element("tr"):
        cell(f"{month.month:%b %Y}", "ov-when")
        for figure in (month.sessions_completed, month.sessions_cancelled, month.sessions_missed):
            cell(f"{figure:,}", "number")
        for people in (month.clients, month.coaches):
            cell(say_people(people), "number")
        average_cell(month.average_minutes, 0)
        average_cell(month.avg_rating, 1)
