"""The organisation at a glance: people, enrolments, sessions and revenue of these days, whatever days are chosen."""

from collections.abc import Iterable

from nicegui import ui

from api.web.overview.words import say_people
from api.web.parts import element
from domain.analytics import Dashboard


def draw_glance(figures: Dashboard) -> None:
    """Add the figures side by side."""
    revenue = [f"{currency} {amount:,.2f}" for currency, amount in sorted(figures.revenue_monthly.items())]
    with ui.element("section").props('aria-label="At a glance"'), ui.element("dl").classes("ov-glance"):
        _draw(
            "People", [say_people(figures.users)],
            [f"{say_people(figures.new_users_30d)} new in 30 days",
             f"{say_people(figures.active_users_7d)} signed in within 7 days"],
        )  # fmt: skip
        _draw("Active enrolments", [f"{figures.active_enrollments:,}"], ["in all programs"])
        _draw("Sessions held", [f"{figures.sessions_30d:,}"], ["in the last 30 days"])
        _draw("Revenue", revenue or ["none"], ["payments less refunds, in the last month"])


def _draw(name: str, figures: Iterable[str], words: Iterable[str]) -> None:
    with ui.element("div").classes("card"):
        element("dt", name)
        for figure in figures:
            element("dd", figure, "ov-figure")
        for told in words:
            element("dd", told, "soft small")
