"""How programs do: a table, those with the most people first, narrowed by category, some at a time."""

import json
from typing import Final
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.overview.days import Asked
from api.web.overview.words import average_cell, explain_averages, say_people
from api.web.parts import button, cell, element, table
from api.web.viewer import Viewer
from domain.analytics import ProgramFigures, list_program_categories, list_program_figures

PAGE: Final = 20
HEADINGS: Final = ("Program", "People", "Completed", "Progress", "Rating")


class Programs:
    """The table of programs on one open page."""

    def __init__(self, viewer: Viewer, asked: Asked) -> None:
        self._viewer, self._asked, self._category = viewer, asked, asked.category
        self._categories: list[str] = []
        self._found: list[ProgramFigures] = []
        self._after: tuple[int, UUID] | None = None

    async def read(self, session: AsyncSession) -> None:
        """Read the first of them."""
        self._categories = await list_program_categories(session)
        if self._category not in self._categories:
            self._category = ""
        await self._read_on(session)

    async def _read_on(self, session: AsyncSession) -> None:
        category = self._category or None
        found = await list_program_figures(session, limit=PAGE + 1, category=category, after=self._after)
        self._found = found[:PAGE]
        last = self._found[-1] if len(found) > PAGE else None
        self._after = (last.enrollment_count, last.program_id) if last else None

    def draw(self) -> None:
        """Add what was read."""
        with ui.element("section").classes("card stack tight").props('aria-labelledby="programs"'):
            with ui.element("div").classes("ov-head"):
                element("h2", "Programs").props('id="programs"')
                if self._categories:
                    self._draw_choice()
            if not self._found:
                element("p", "There is no program yet. Each appears here within an hour of being made.", "soft")
                return
            element("p", "Since each began, whatever days are chosen above.", "soft small")
            numbers = frozenset(range(1, len(HEADINGS)))
            self._body = table(HEADINGS, numbers=numbers, caption="Programs, those with the most people first")
            self._said = element("p", "", "unseen").props('role="status"')
            self._more = button("Show more", self._show_more, "more")
            explain_averages("Progress and rating (1 to 5)")
        self._fill()

    def _draw_choice(self) -> None:
        with ui.element("div").classes("field ov-choice"):
            element("label", "Category").props('for="ov-category"')
            choice = ui.element("select").props('id="ov-category" name="category" form="ov-days"')
            with choice:
                for category in ("", *self._categories):
                    option = element("option", category or "All")
                    option.props["value"] = category
                    if category == self._category:
                        option.props("selected")
        choice.on("change", self._choose, js_handler="(event) => emit(event.target.value)")

    async def _choose(self, event: GenericEventArguments) -> None:
        """Narrow to a category, which stands in the address from now on."""
        self._category = event.args if event.args in self._categories else ""
        self._after = None
        async with self._viewer.session() as session:
            await self._read_on(session)
        self._body.clear()
        self._fill()
        self._said.set_text(f"{len(self._found)} shown{', there are more' if self._after else ''}")
        path = json.dumps(self._asked.path(self._category))
        ui.run_javascript(f"history.replaceState(history.state, '', {path})")

    async def _show_more(self) -> None:
        async with self._viewer.session() as session:
            await self._read_on(session)
        self._fill()
        self._said.set_text(f"{len(self._found)} more shown{', there are more' if self._after else ''}")

    def _fill(self) -> None:
        self._more.set_visibility(self._after is not None)
        with self._body:
            for one in self._found:
                with ui.element("tr"):
                    with ui.element("td").classes("ov-title"):
                        element("div", one.title)
                        if one.category:
                            element("div", one.category, "soft small")
                    cell(say_people(one.enrollment_count), "number")
                    average_cell(None if one.completion_rate is None else one.completion_rate * 100, 0, " %")
                    average_cell(one.average_progress, 0, " %")
                    average_cell(one.avg_rating, 1)
