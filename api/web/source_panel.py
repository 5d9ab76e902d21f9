"""The source beside the page: opened at the cited words, highlighted, with who said them when, and what was around."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.routes.sources import get_document, get_transcript
from api.schemas.sources import DocumentOut, SegmentOut, TranscriptOut
from api.web.parts import element, icon_button, say_time
from api.web.viewer import Viewer
from core.errors import AppError
from db.models import User
from domain.citations import CitationView, SourceKind

TURNS: Final = 24
"""Turns of a transcript shown at once, a quarter of them before the cited one."""
AROUND: Final = 2_000
"""Characters of a document shown before and after the cited ones."""


class SourcePanel:
    """An aside that is empty until a citation is opened in it; on narrow windows it covers the page's lower part.

    `on_close` is told when its reader puts it away, to take the focus back to where it was opened.
    """

    def __init__(self, viewer: Viewer, on_close: Callable[[], None] | None = None) -> None:
        self._viewer = viewer
        self._on_close = on_close
        self._frame = ui.element("aside").classes("source-panel").props('aria-label="Source" tabindex="-1"')
        self._frame.set_visibility(False)

    async def show(self, citation: CitationView) -> None:
        """Open the source of a citation at its words."""
        await self.open(
            citation.source_kind, citation.source_id, char_start=citation.char_start, char_end=citation.char_end,
            segment=citation.segment_first,
        )  # fmt: skip

    async def open(
        self, kind: SourceKind, source_id: UUID, *, char_start: int, char_end: int, segment: int | None = None
    ) -> None:
        """Open a transcript or document at these characters of its text; what may not be read any more is said so."""
        self._frame.clear()
        self._frame.set_visibility(True)
        span = (char_start, char_end)
        with self._frame:
            try:
                async with self._viewer.session() as session:
                    if kind == "transcript":
                        shown = await get_transcript(source_id, session, limit=TURNS, cursor=None, around=segment)
                        names = await _list_names(session, shown.segments)
                    else:
                        document = await get_document(source_id, session)
            except AppError as error:
                self._head("No longer available")
                element("p", error.message, "note")
                return
            if kind == "transcript":
                self._show_transcript(shown, names, span)
            else:
                self._show_document(document, span)
        ui.run_javascript(
            f"const p = getHtmlElement({self._frame.id}); p.querySelector('mark')?.scrollIntoView({{block: 'center'}});"
            "p.focus({preventScroll: true});"
        )

    def close(self) -> None:
        """Put it away."""
        self._frame.clear()
        self._frame.set_visibility(False)
        if self._on_close is not None:
            self._on_close()

    def _head(self, title: str) -> None:
        with ui.element("div").classes("source-head"):
            element("h2", title)
            icon_button("close", "Close the source").on("click", self.close)

    def _show_transcript(self, shown: TranscriptOut, names: dict[UUID, str], span: tuple[int, int]) -> None:
        self._head(shown.title)
        with ui.element("p").classes("soft small"):
            say_time(self._viewer, shown.held_at, day_only=True)
        with ui.element("ol").classes("turns plain"):
            for said in shown.segments:
                self._show_turn(said, names, span)
        with ui.element("p"):
            turn = next((one.segment_index for one in shown.segments if one.char_end > span[0]), 0)
            link = f"/transcripts/{shown.id}?char={span[0]},{span[1]}#turn-{turn}"
            element("a", "Open the whole transcript").props["href"] = link

    def _show_turn(self, turn: SegmentOut, names: dict[UUID, str], span: tuple[int, int]) -> None:
        with ui.element("li").classes("turn"):
            with ui.element("div").classes("turn-head"):
                speaker = names.get(turn.speaker_id) if turn.speaker_id else None
                element("b", speaker or turn.speaker or "Unknown speaker")
                if turn.started_s is not None:
                    element("span", say_clock(turn.started_s), "soft small")
            with ui.element("p"):
                mark_words(turn.text, span[0] - turn.char_start, span[1] - turn.char_start)

    def _show_document(self, shown: DocumentOut, span: tuple[int, int]) -> None:
        self._head(shown.title)
        first, last = max(span[0] - AROUND, 0), span[1] + AROUND
        with ui.element("div").classes("document-text"):
            mark_words(shown.text[first:last], span[0] - first, span[1] - first)
        with ui.element("p"):
            link = f"/documents/{shown.id}?char={span[0]},{span[1]}"
            element("a", "Open the whole document").props["href"] = link


def mark_words(words: str, start: int, end: int) -> None:
    """Add the words with those from `start` to `end` marked, as far as they lie inside."""
    start, end = max(start, 0), min(end, len(words))
    if start >= end:
        element("span", words)
        return
    element("span", words[:start])
    element("mark", words[start:end])
    element("span", words[end:])


def say_clock(seconds: float) -> str:
    """Return a place in a recording, such as 1:02:05 or 7:18."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say_where(viewer: Viewer, citation: CitationView) -> str:
    """Return where a citation's words stand: the day and moment of a session, the page of a document."""
    parts = [citation.title] if citation.speaker else []
    if citation.held_at is not None:
        held = citation.held_at.astimezone(viewer.zone)
        parts.append(f"{held.day} {held:%B %Y}")
    if citation.started_s is not None:
        parts.append(f"at {say_clock(citation.started_s)}")
    if citation.page is not None:
        parts.append(f"page {citation.page}")
    return ", ".join(parts) or "document"


async def _list_names(session: AsyncSession, turns: list[SegmentOut]) -> dict[UUID, str]:
    wanted = {turn.speaker_id for turn in turns if turn.speaker_id is not None}
    rows = await session.execute(select(User.id, User.full_name).where(User.id.in_(wanted)))
    return {row.id: row.full_name for row in rows}
