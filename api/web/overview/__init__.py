"""Overview: the organisation in figures, for its executives and administrators; sums and averages, never a person."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Final

from fastapi import Query
from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.frame import page
from api.web.overview.answers import draw_answers
from api.web.overview.coaching import draw_coaching
from api.web.overview.days import Asked, Days, draw_days
from api.web.overview.glance import draw_glance
from api.web.overview.programs import Programs
from api.web.parts import element, say_empty, say_time
from api.web.viewer import Viewer
from core.errors import Invalid
from db.session import Role
from domain import analytics, usage
from domain.analytics import Dashboard, DayOfAnswers, FiguresNotReady, MonthOfCoaching
from domain.operations import FEWEST_PEOPLE

READERS: Final[frozenset[Role]] = frozenset({"executive", "admin"})


@dataclass(frozen=True, slots=True)
class Figures:
    """What the page shows, read in one transaction; `costs` are USD by day, where any model's price is known."""

    dashboard: Dashboard
    months: list[MonthOfCoaching]
    answers: list[DayOfAnswers]
    costs: dict[date, Decimal]


@page("/overview", title="Overview", roles=READERS)
async def show_overview(
    viewer: Viewer, since: Annotated[str, Query(alias="from")] = "", until: str = "", category: str = ""
) -> None:
    """Show the organisation at a glance, and of the days asked for how it coached and asked; then its programs."""
    ui.add_head_html('<link rel="stylesheet" href="/web/overview.css">')
    asked, days, wrong = Asked(since, until, category), None, ""
    try:
        days = asked.read_days()
    except Invalid as error:
        wrong = error.message
    programs = Programs(viewer, asked)
    try:
        async with viewer.session() as session:
            figures = await read_figures(session, days)
            await programs.read(session)
    except FiguresNotReady:
        say_empty(
            "No figures yet",
            f"The figures of {viewer.organisation} are not counted yet. The flow refresh-views counts them every "
            "hour for everybody; come back then.",
        )
        return
    with ui.element("div").classes("heading"):
        element("h1", "Overview")
        with ui.element("p"):
            element("span", "Figures of ")
            say_time(viewer, figures.dashboard.computed_at)
            element("span", ", counted anew every hour")
    with ui.element("div").classes("stack overview"):
        element(
            "p", "Sums and averages only, never a name, a session or anybody's words; of fewer than "
            f"{FEWEST_PEOPLE} people neither the number nor an average is shown.", "soft",
        )  # fmt: skip
        draw_glance(figures.dashboard)
        draw_days(asked, days, wrong)
        if days is not None:
            draw_coaching(figures.months, days)
            draw_answers(figures.answers, figures.costs, days)
        programs.draw()


async def read_figures(session: AsyncSession, days: Days | None) -> Figures:
    """Return the figures of these days, only those at a glance without; raises `FiguresNotReady`."""
    dashboard = await analytics.get_dashboard_figures(session)
    if days is None:
        return Figures(dashboard, [], [], {})
    costs = await usage.list_usage(
        session, since=days.first, until=days.end + timedelta(days=1), feature="chat", limit=days.most
    )
    return Figures(
        dashboard,
        await analytics.list_coaching_months(session, since=days.first.replace(day=1), until=days.last),
        await analytics.list_answer_days(session, since=days.first, until=days.last),
        {row.date: row.cost_usd for row in costs if row.date is not None and row.cost_usd is not None},
    )
