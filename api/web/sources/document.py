"""A document on a page of its own: its text a part at a time, words found in it, a place marked."""

from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy import select

from api.routes.sources import get_document
from api.schemas.sources import DocumentOut
from api.web.frame import page
from api.web.parts import button, element
from api.web.source_panel import mark_words
from api.web.sources.finding import Finding
from api.web.sources.reading import LOOK_S, focus_on, list_names, read_span, reading_page, scroll_to
from api.web.sources.words import count
from api.web.viewer import Viewer
from db.models import Document
from domain.sources import MOST_FOUND, Found, find_words

PART: Final = 20_000
"""Characters loaded at once, and on to the end of the line."""


@page("/documents/{document_id}", title="Document")
async def show_document(viewer: Viewer, document_id: UUID, char: str = "") -> None:
    """Show a document from its beginning, or around the characters that the address names."""
    await DocumentPage(viewer, document_id).draw(read_span(char))


class DocumentPage:
    """The parts that are loaded are one run of characters, `first` to before `last`; it grows at both ends."""

    def __init__(self, viewer: Viewer, document_id: UUID) -> None:
        self._viewer = viewer
        self._id = document_id
        self._span: tuple[int, int] | None = None
        self._first = self._last = 0

    async def draw(self, span: tuple[int, int] | None) -> None:
        """Draw it; raises `DocumentNotFound`."""
        self._span = span
        async with self._viewer.session() as session:
            shown = await get_document(self._id, session)
            names = await list_names(session, {shown.client_id, shown.coach_id})
        facts = [names[one] for one in (shown.client_id, shown.coach_id) if one in names]
        facts += [count(shown.page_count, "page")] if shown.page_count else []
        facts += [count(len(shown.text.split()), "word")]
        with reading_page(self._viewer, shown, facts):
            Finding(self._find, self._show_found).draw()
            self._before = ui.element("div").classes("rest")
            self._parts = ui.element("div").classes("parts")
            self._after = ui.element("div").classes("rest")
        self._begin(shown)
        if span is not None:
            scroll_to("mark")
        ui.timer(0, self._follow_anchor, once=True)
        ui.timer(LOOK_S, self._look_again, immediate=False)

    async def _follow_anchor(self) -> None:
        """Go to `#char=START,END`, as links of the API have it; only the browser knows it."""
        anchor = str(await ui.run_javascript("location.hash", timeout=5) or "")
        if anchor.startswith("#char=") and (span := read_span(anchor.removeprefix("#char="))) is not None:
            await self._show_found(Found(*span))

    def _begin(self, shown: DocumentOut) -> None:
        """Show the part with the marked characters, or the first one, alone."""
        start = max(self._span[0] - PART // 4, 0) if self._span and self._span[0] > PART // 2 else 0
        self._first = self._last = _find_line(shown.text, start)
        self._parts.clear()
        self._add_later(shown)

    def _add_later(self, shown: DocumentOut) -> None:
        first, self._last = (
            self._last,
            _find_line(shown.text, max(self._last + PART, self._span[1] if self._span else 0)),
        )
        self._add(shown, first, self._last)

    def _add(self, shown: DocumentOut, first: int, last: int, *, on_top: bool = False) -> None:
        with self._parts:
            part = ui.element("div").classes("document-text").props(f'id="from-{first}" tabindex="-1"')
            if on_top:
                part.move(target_index=0)
        with part:
            start, end = self._span or (0, 0)
            mark_words(shown.text[first:last], start - first, end - first)
        for place, more, words, load in (
            (self._before, self._first > 0, "Show what is before", self._show_earlier),
            (self._after, self._last < len(shown.text), "Show more", self._show_later),
        ):
            place.clear()
            if more:
                with place:
                    button(words, load)

    async def _load(self) -> DocumentOut:
        async with self._viewer.session() as session:
            return await get_document(self._id, session)

    async def _show_earlier(self) -> None:
        shown = await self._load()
        stays, self._first = (
            self._first,
            _find_line(shown.text, max(self._first - PART, 0)) if self._first > PART else 0,
        )
        self._add(shown, self._first, stays, on_top=True)
        with self._parts:  # the button that was clicked is gone
            scroll_to(f"#from-{stays}")

    async def _show_later(self) -> None:
        first = self._last
        self._add_later(await self._load())
        with self._parts:
            focus_on(f"from-{first}")

    async def _find(self, words: str) -> list[Found]:
        shown = await self._load()
        found = (Found(start, end) for start, end in find_words(shown.text, words))
        return [one for one, _ in zip(found, range(MOST_FOUND), strict=False)]

    async def _show_found(self, found: Found | None) -> None:
        self._span = (found.char_start, found.char_end) if found else None
        self._begin(await self._load())
        if found is not None:
            scroll_to("mark")

    async def _look_again(self) -> None:
        """Take the words away where their reader may not read them any more."""
        async with self._viewer.session() as session:
            is_there = await session.scalar(select(Document.id).where(Document.id == self._id)) is not None
        if not is_there and self._last:
            self._last = 0
            for place in (self._parts, self._before, self._after):
                place.clear()
            with self._parts:
                element("p", "This document is no longer available to you.", "note")


def _find_line(text: str, place: int) -> int:
    """Return where the next line begins at or after this place, the text's end where there is none near."""
    if place <= 0:
        return 0
    end = text.find("\n", place - 1, place + 2_000)
    return min(end + 1 if end >= 0 else place, len(text))
