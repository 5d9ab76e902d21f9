"""How the assistant is used, day by day: questions by how they ended, what answers cost, and every day as a table."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from nicegui import ui

from api.web.bars import DOTS, FALLING, PLAIN, RISING, Part, draw_bars
from api.web.operations.section import say_count, say_usd
from api.web.overview.days import Days
from api.web.overview.words import say_people, unfold
from api.web.parts import button, cell, element, table
from domain.analytics import DayOfAnswers

MOST_BARS: Final = 92
"""Days drawn as days, a quarter of a year; of more, a bar is a week."""
FEWEST_BARS: Final = 14
"""Days drawn at least, where they were asked for, also before the first question."""
PAGE: Final = 31
ENDS: Final = (
    ("Answered", "answered", "var(--plot-1)", PLAIN),
    ("Refused: nothing to cite", "refused", "var(--plot-3)", FALLING),
    ("Failed", "failed", "var(--plot-4)", RISING),
)


def draw_answers(answers: Sequence[DayOfAnswers], costs: Mapping[date, Decimal], days: Days) -> None:
    """Add the days on which somebody asked, the newest first; `costs` in USD, where a model's price is known."""
    with ui.element("section").classes("card stack tight").props('aria-labelledby="assistant"'):
        element("h2", "The assistant, day by day").props('id="assistant"')
        if not answers:
            element("p", f"Nobody asked the assistant anything {days}.", "soft")
            return
        said = _summarize(answers)
        paid = sum(costs.values(), Decimal(0))
        cost = f"Answers cost {say_usd(paid)}." if paid else "No model that has a price was asked."
        element("p", f"{said}. {cost} Days are those of UTC.", "soft")
        _draw_plots(said, answers, costs if paid else {}, days)
        with unfold("Every day as a table"):
            _draw_table(answers, costs if paid else {})


def _summarize(answers: Sequence[DayOfAnswers]) -> str:
    ends = ", ".join(f"{sum(getattr(day, end) for day in answers):,} {end}" for _, end, *_ in ENDS)
    return f"{say_count(sum(day.runs for day in answers), 'question')}: {ends}"


def _draw_plots(said: str, answers: Sequence[DayOfAnswers], costs: Mapping[date, Decimal], days: Days) -> None:
    last = max(days.end, answers[0].day)
    first = max(days.first, min(answers[-1].day, last - timedelta(days=FEWEST_BARS - 1)))
    step = 1 if (last - first).days < MOST_BARS else 7
    if step == 7:
        first -= timedelta(days=first.weekday())
        element("p", "A bar is a week, from Monday.", "soft small")
    starts = [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step)]

    def sum_up(amounts: Mapping[date, float]) -> list[float]:
        found = [0.0] * len(starts)
        for day, amount in amounts.items():
            if day >= first:
                found[(day - first).days // step] += amount
        return found

    named = "%b %Y" if (last - first).days > 366 else "%b"  # within a year a month is named once
    places = [f"{start.day} {start:{named}}" for start in starts]
    parts = [
        Part(name, sum_up({day.day: getattr(day, end) for day in answers}), colour, pattern)
        for name, end, colour, pattern in ENDS
    ]
    draw_bars(f"{said}; the table has every day", places, parts)
    if costs:
        paid = sum_up({day: float(amount) for day, amount in costs.items()})
        part = Part("USD for answers", [round(amount, 4) for amount in paid], "var(--plot-2)", DOTS)
        element("p", "What answers cost, in USD:", "soft small")
        draw_bars("What answers cost; the table has every day", places, [part], whole=False)


def _draw_table(answers: Sequence[DayOfAnswers], costs: Mapping[date, Decimal]) -> None:
    headings = ["Day", "People", "Questions", "Answered", "Refused", "Failed", *(["USD"] if costs else [])]
    body = table(headings, numbers=frozenset(range(1, len(headings))), caption="The assistant by day")
    shown = 0

    def show_more() -> None:
        nonlocal shown
        with body:
            for day in answers[shown : shown + PAGE]:
                with ui.element("tr"):
                    cell(f"{day.day.day} {day.day:%b %Y}", "ov-when")
                    cell(say_people(day.users), "number")
                    for figure in (day.runs, day.answered, day.refused, day.failed):
                        cell(f"{figure:,}", "number")
                    if costs:
                        cell(say_usd(costs.get(day.day, Decimal(0))), "number")
        shown += PAGE
        more.set_visibility(shown < len(answers))

    more = button("Show more", show_more, "more")
    show_more()
