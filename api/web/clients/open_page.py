"""An open page of evidence: its parts, the source beside them, what is read when it is unfolded, and its end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.frame import RECHECK_S
from api.web.parts import element
from api.web.source_panel import SourcePanel
from api.web.viewer import Viewer
from core.errors import NotFound
from domain.citations import SourceKind

Read = TypeVar("Read")


class Words(Protocol):
    """Exact words of a source, such as a quote or a passage."""

    @property
    def source_kind(self) -> SourceKind:
        """Of what kind their source is."""

    @property
    def source_id(self) -> UUID:
        """Which source they stand in."""

    @property
    def char_start(self) -> int:
        """Where in its text they begin."""

    @property
    def char_end(self) -> int:
        """Where they end."""

    @property
    def segment_first(self) -> int | None:
        """The first turn of it that they are in."""


class OpenPage:
    """One open page with the source beside it; `session` asks at every step whether it may still be read."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.is_own = viewer.role == "client"
        """Whether its reader reads about themself."""
        self._root = ui.element("div").classes("client-page")
        with self._root:
            self.head = ui.element("div").classes("client-top stack tight")
            self.main = ui.element("div").classes("client-main stack")
            with ui.element("div").classes("client-beside"):
                self.glance = ui.element("div").classes("client-glance")
                self.past = ui.element("div").classes("client-past")
                self._panel = SourcePanel(viewer, on_close=self._unmark)
        self._opened: ui.element | None = None
        self._timer = ui.timer(RECHECK_S, self._recheck, immediate=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Yield a transaction of the viewer; where the page is not theirs to read any more, put it away and raise."""
        async with self.viewer.session() as session:
            yield session

    async def open_quote(self, words: Words, pressed: ui.element) -> None:
        """Open the words beside the page, and mark what was pressed."""
        async with self.session():
            pass
        if self._opened is not None:
            self._opened.props(remove="aria-current")
        self._opened = pressed.props('aria-current="true"')
        await self._panel.open(
            words.source_kind, words.source_id, char_start=words.char_start, char_end=words.char_end,
            segment=words.segment_first,
        )  # fmt: skip
        # On a narrow window the panel covers the lower part, where the quote may be.
        ui.run_javascript(
            f"if (matchMedia('(max-width: 1099px)').matches) getHtmlElement({pressed.id})?.scrollIntoView();"
        )

    def fold(self, words: str, read: Callable[[AsyncSession], Awaitable[Read]], draw: Callable[[Read], None]) -> None:
        """Add something folded; it is read each time it is unfolded, so that it is what may be read by then."""
        fold = ui.element("details").classes("fold")
        with fold:
            element("summary", words)
            under = ui.element("div").props('aria-live="polite"')
            with under:
                ui.element("div").classes("waiting")

        async def load(event: GenericEventArguments) -> None:
            if event.args is not True:
                return
            async with self.session() as session:
                found = await read(session)
            under.clear()
            with under:
                draw(found)

        fold.on("toggle", load, js_handler="(event) => emit(event.target.open)")

    def put_away(self, words: str, way_out: str, path: str) -> None:
        """Show nothing of it any more, say why, and where to go on."""
        self._timer.deactivate()
        self._root.clear()
        with self._root, ui.element("section").classes("empty").props('role="status"'):
            element("h1", "No longer available")
            element("p", words)
            element("a", way_out).props["href"] = path

    def _unmark(self) -> None:
        """Mark no quote any more, and go on from the one that was open."""
        if self._opened is not None:
            self._opened.props(remove="aria-current")
            with self._root:
                ui.run_javascript(f"getHtmlElement({self._opened.id})?.focus()")
        self._opened = None

    async def _recheck(self) -> None:
        try:
            async with self.session():
                pass
        except NotFound:
            pass  # the page says so itself
