"""Finding words in the text of a page: how often they are there, and from one place to the next."""

from collections.abc import Awaitable, Callable

from nicegui import ui
from nicegui.events import GenericEventArguments

from api.web.parts import element, icon_button
from domain.sources import MOST_FOUND, Found


class Finding:
    """A field for words and the way through the places they stand at."""

    def __init__(
        self, find: Callable[[str], Awaitable[list[Found]]], show: Callable[[Found | None], Awaitable[None]]
    ) -> None:
        self._find = find
        self._show = show
        self._words = ""
        self._found: list[Found] = []
        self._place = 0

    def draw(self) -> None:
        """Draw the field; Enter looks, and goes on to the next place."""
        with ui.element("search").classes("finding"):
            with ui.element("div").classes("field"):
                element("label", "Find in this text").props["for"] = "find-words"
                box = ui.element("input").props('id="find-words" type="search" maxlength="200"')
                box.on("change", self._look, js_handler="(e) => emit(e.target.value)")
                box.on(
                    "keydown", self._enter,
                    js_handler="(e) => e.key === 'Enter' && emit(e.target.value, e.shiftKey)",
                )  # fmt: skip
            icon_button("keyboard_arrow_up", "To the place before").on("click", lambda: self._go(-1))
            icon_button("keyboard_arrow_down", "To the next place").on("click", lambda: self._go(1))
            self._said = element("p", "", "soft small").props('role="status"')

    async def _enter(self, event: GenericEventArguments) -> None:
        words, is_back = event.args
        if str(words).strip() == self._words:
            await self._go(-1 if is_back else 1)
        else:
            await self._look_for(str(words))

    async def _look(self, event: GenericEventArguments) -> None:
        if str(event.args or "").strip() != self._words:
            await self._look_for(str(event.args or ""))

    async def _look_for(self, words: str) -> None:
        self._words, self._place = words.strip()[:200], 0
        self._found = await self._find(self._words) if self._words else []
        await self._show(self._found[0] if self._found else None)
        self._say()

    async def _go(self, step: int) -> None:
        if self._found:
            self._place = (self._place + step) % len(self._found)
            await self._show(self._found[self._place])
            self._say()

    def _say(self) -> None:
        most = " or more" if len(self._found) >= MOST_FOUND else ""
        if self._found:
            self._said.set_text(f"{self._place + 1} of {len(self._found)}{most}")
        else:
            self._said.set_text("Not in this text." if self._words else "")
