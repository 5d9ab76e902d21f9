"""The days an overview is of: as they stand in its address, and the form that asks for others."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import urlencode

from nicegui import ui

from api.routes.analytics import read_range
from api.web.parts import element, read_day


@dataclass(frozen=True, slots=True)
class Days:
    """The first and the last day (UTC)."""

    first: date
    last: date

    @property
    def most(self) -> int:
        """How many there are."""
        return (self.last - self.first).days + 1

    @property
    def end(self) -> date:
        """The last of them that has begun."""
        return min(self.last, datetime.now(UTC).date())

    def __str__(self) -> str:
        return f"from {say_day(self.first)} to {say_day(self.last)}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page's address asks for, in its own words."""

    since: str
    until: str
    category: str

    def read_days(self) -> Days:
        """Return the days, the year until today where none are given; raises `DayUnknown`, `UnusableRange`."""
        return Days(*read_range(read_day(self.since), read_day(self.until)))

    def path(self, category: str) -> str:
        """Return the address that shows the same days, and programs of this category."""
        given = {"from": self.since, "until": self.until, "category": category}
        words = urlencode({name: value for name, value in given.items() if value})
        return f"/overview{'?' if words else ''}{words}"


def say_day(day: date) -> str:
    """Return a day such as 7 July 2026."""
    return f"{day.day} {day:%B %Y}"


def draw_days(asked: Asked, days: Days | None, wrong: str) -> None:
    """Add the form, which keeps what was asked; `wrong` tells why that can't be shown. It needs no script."""
    with ui.element("form").classes("line ov-days").props('id="ov-days" action="/overview" aria-label="Days to show"'):
        for name, label, words in (
            ("from", "From", asked.since or (str(days.first) if days else "")),
            ("until", "Until and including", asked.until or (str(days.last) if days else "")),
        ):
            with ui.element("div").classes("field"):
                element("label", label).props(f'for="ov-{name}"')
                field = ui.element("input").props(f'type="date" id="ov-{name}" name="{name}"')
                field.props["value"] = words
                if wrong:
                    field.props('aria-invalid="true" aria-describedby="ov-wrong"')
        with ui.element("button").classes("button main").props('type="submit"'):
            element("span", "Show")
        if asked.since or asked.until:
            element("a", "The last year").props["href"] = Asked("", "", "").path(asked.category)
    if wrong:
        element("p", wrong, "note bad").props('role="alert" id="ov-wrong"')
