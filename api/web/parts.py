"""The small parts pages are made of: words, buttons, times, tables, the empty state."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from api.web.viewer import Viewer
from core.errors import Invalid


class DayUnknown(Invalid):
    """There is no such day; give it as year, month and day, such as 2026-03-12."""


def notify(words: str, *, bad: bool = False) -> None:
    """Show a short message that screen readers say."""
    ui.notify(words, type="negative" if bad else "positive", position="bottom", timeout=8000 if bad else 4000)


def element(tag: str, words: str = "", classes: str = "") -> TextElement:
    """Add an HTML element with plain text; the text is never read as HTML."""
    return TextElement(tag=tag, text=words).classes(classes)


def icon_button(icon: str, label: str) -> ui.element:
    """Add a button that shows only an icon and is called by its label."""
    made = ui.element("button").classes("icon-button quiet")
    made.props["type"], made.props["aria-label"], made.props["title"] = "button", label, label
    with made:
        ui.icon(icon).props('aria-hidden="true"')
    return made


def button(words: str, on_click: Callable[..., Any] | None = None, classes: str = "", icon: str = "") -> ui.element:
    """Add a button with words."""
    made = ui.element("button").classes(f"button {classes}").props('type="button"')
    with made:
        if icon:
            ui.icon(icon).props('aria-hidden="true"')
        element("span", words)
    if on_click is not None:
        made.on("click", on_click)
    return made


def say_empty(heading: str, words: str) -> None:
    """Say that there is nothing, and what would change that."""
    with ui.element("section").classes("empty"):
        element("h1", heading)
        element("p", words)


def say_time(viewer: Viewer, moment: datetime | None, *, day_only: bool = False, classes: str = "") -> TextElement:
    """Add a moment in the viewer's zone, such as 7 July 2026, 14:05; a dash where there is none."""
    if moment is None:
        return element("span", "–", classes)
    local = moment.astimezone(viewer.zone)
    words = f"{local.day} {local:%B %Y}" + ("" if day_only else f", {local:%H:%M}")
    return element("time", words, classes).props(f'datetime="{moment.isoformat()}" title="{local.tzname()}"')


def read_day(words: str) -> date | None:
    """Return the day that a date field sent, None where it was left empty; raises `DayUnknown`."""
    if not words:
        return None
    try:
        return date.fromisoformat(words)
    except ValueError as error:
        raise DayUnknown from error


def table(headings: Sequence[str], *, numbers: frozenset[int] = frozenset(), caption: str = "") -> ui.element:
    """Add a table with these headings and return its body, to fill with `row`; `numbers` are columns of figures."""
    with ui.element("div").classes("scroll").props('tabindex="0" role="group"'), ui.element("table").classes("grid"):
        if caption:
            element("caption", caption, "unseen")
        with ui.element("thead"), ui.element("tr"):
            for place, heading in enumerate(headings):
                element("th", heading, "number" if place in numbers else "").props('scope="col"')
        return ui.element("tbody")


def cell(words: str = "", classes: str = "") -> TextElement:
    """Add a cell to a table's row, which is a `tr` in its body."""
    return element("td", words, classes)
