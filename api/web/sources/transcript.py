"""A transcript on a page of its own: its turns a part at a time, words found in it, a turn or its words marked."""

from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.routes.sources import get_transcript
from api.schemas.sources import SegmentOut, TranscriptOut
from api.web.frame import page
from api.web.parts import button, element
from api.web.source_panel import mark_words, say_clock
from api.web.sources.finding import Finding
from api.web.sources.reading import LOOK_S, focus_on, list_names, read_span, reading_page, scroll_to
from api.web.sources.speakers import SpeakersForm
from api.web.sources.words import count
from api.web.viewer import Viewer
from db.models import Transcript
from domain.sources import Found, find_in_transcript, find_turn

TURNS: Final = 80
"""Turns loaded at once, a quarter of them before the wanted one."""


@page("/transcripts/{transcript_id}", title="Transcript")
async def show_transcript(viewer: Viewer, transcript_id: UUID, char: str = "", around: str = "") -> None:
    """Show a transcript from its beginning, or around the characters or the turn that the address names."""
    turn = int(around) if around.isascii() and around.isdigit() and len(around) < 9 else None
    await TranscriptPage(viewer, transcript_id).draw(read_span(char), turn)


class TranscriptPage:
    """The turns that are loaded are one run, `first` to before `last`; it grows at both ends."""

    def __init__(self, viewer: Viewer, transcript_id: UUID) -> None:
        self._viewer = viewer
        self._id = transcript_id
        self._span: tuple[int, int] | None = None
        self._first = self._last = 0
        self._turns: dict[int, tuple[ui.element, SegmentOut]] = {}
        self._names: dict[UUID, str] = {}

    async def draw(self, span: tuple[int, int] | None, around: int | None) -> None:
        """Draw it; raises `TranscriptNotFound`."""
        self._span = span
        turn = around
        async with self._viewer.session() as session:
            if span is not None:
                turn = await find_turn(session, self._id, span[0])
            shown = await self._load(session, max((turn or 0) - TURNS // 4, 0))
            names = await list_names(session, {shown.client_id, shown.coach_id})
            object_id = await session.scalar(select(Transcript.object_id).where(Transcript.id == self._id))
        facts = [names[one] for one in (shown.client_id, shown.coach_id) if one in names]
        facts += [count(shown.segment_count, "turn")]
        facts += [say_clock(shown.duration_s)] if shown.duration_s else []
        with reading_page(self._viewer, shown, facts):
            if self._viewer.role in ("coach", "admin") and object_id is not None:
                await SpeakersForm(self._viewer, object_id, self._draw_again).draw(only_asked=True)
            Finding(self._find, self._show_found).draw()
            self._before = ui.element("div").classes("rest")
            self._list = ui.element("ol").classes("turns plain").props('aria-label="Turns"')
            self._after = ui.element("div").classes("rest")
        self._total = shown.segment_count
        self._put(shown.segments)
        if turn is not None:
            scroll_to("mark" if span else f"#turn-{turn}")
        ui.timer(0, self._follow_anchor, once=True)
        ui.timer(LOOK_S, self._look_again, immediate=False)

    async def _load(self, session: AsyncSession, first: int, limit: int = TURNS) -> TranscriptOut:
        shown = await get_transcript(self._id, session, limit=limit, cursor=str(first), around=None)
        self._names |= await list_names(session, {turn.speaker_id for turn in shown.segments})
        return shown

    async def _follow_anchor(self) -> None:
        """Go where the part after # leads, which only the browser knows: `turn-N`, or `char=START,END` as in links."""
        anchor = str(await ui.run_javascript("location.hash", timeout=5) or "").removeprefix("#")
        if (span := read_span(anchor.removeprefix("char="))) is not None and anchor.startswith("char="):
            self._span = span
            async with self._viewer.session() as session:
                await self._go_to(await find_turn(session, self._id, span[0]))
            scroll_to("mark")
        elif self._span is None and (number := anchor.removeprefix("turn-")).isdecimal() and len(number) < 9:
            turn = min(int(number), max(self._total - 1, 0))
            await self._go_to(turn)
            scroll_to(f"#turn-{turn}")

    def _put(self, turns: list[SegmentOut], *, on_top: bool = False) -> None:
        """Add turns that follow or precede those there are."""
        if turns:
            self._first = min(self._first, turns[0].segment_index) if self._turns else turns[0].segment_index
            self._last = max(self._last, turns[-1].segment_index + 1)
        with self._list:
            for place, turn in enumerate(turns):
                frame = ui.element("li").classes("turn").props(f'id="turn-{turn.segment_index}" tabindex="-1"')
                if on_top:
                    frame.move(target_index=place)
                self._turns[turn.segment_index] = frame, turn
                self._draw_turn(turn.segment_index)
        for beside, more, words, load in (
            (self._before, self._first > 0, "Show earlier turns", self._show_earlier),
            (self._after, self._last < self._total, "Show more", self._show_later),
        ):
            beside.clear()
            if more:
                with beside:
                    button(words, load)

    async def _draw_again(self) -> None:
        """Draw the turns anew from the first that is loaded, by whoever speaks them now."""
        async with self._viewer.session() as session:
            shown = await self._load(session, self._first)
        self._begin(shown)

    def _begin(self, shown: TranscriptOut) -> None:
        self._list.clear()
        self._turns = {}
        self._last = 0
        self._put(shown.segments)

    def _draw_turn(self, index: int) -> None:
        frame, turn = self._turns[index]
        frame.clear()
        with frame:
            with ui.element("div").classes("turn-head"):
                speaker = self._names.get(turn.speaker_id) if turn.speaker_id else None
                element("b", speaker or turn.speaker or "Unknown speaker")
                if turn.started_s is not None:
                    link = element("a", say_clock(turn.started_s), "soft small")
                    link.props["href"], link.props["aria-label"] = (
                        f"#turn-{index}",
                        f"Turn {index + 1}, at {say_clock(turn.started_s)}",
                    )
            with ui.element("p"):
                first, last = self._span or (0, 0)
                mark_words(turn.text, first - turn.char_start, last - turn.char_start)

    async def _show_earlier(self) -> None:
        first = max(self._first - TURNS, 0)
        async with self._viewer.session() as session:
            shown = await self._load(session, first, self._first - first)
        stays = self._first
        self._put(shown.segments, on_top=True)
        with self._list:  # the button that was clicked is gone
            scroll_to(f"#turn-{stays}")

    async def _show_later(self) -> None:
        async with self._viewer.session() as session:
            shown = await self._load(session, self._last)
        first = self._last
        self._put(shown.segments)
        with self._list:
            focus_on(f"turn-{first}")

    async def _go_to(self, turn: int) -> None:
        """Have this turn loaded; where it is far from those that are, begin anew around it."""
        if turn in self._turns:
            if self._span is not None:
                self._draw_turn(turn)
            return
        async with self._viewer.session() as session:
            shown = await self._load(session, max(turn - TURNS // 4, 0))
        self._begin(shown)

    async def _find(self, words: str) -> list[Found]:
        async with self._viewer.session() as session:
            return await find_in_transcript(session, self._id, words)

    async def _show_found(self, found: Found | None) -> None:
        before, self._span = self._span, (found.char_start, found.char_end) if found else None
        for index, (_, turn) in self._turns.items():
            if before is not None and turn.char_start < before[1] and turn.char_end > before[0]:
                self._draw_turn(index)
        if found is not None:
            await self._go_to(found.turn or 0)
            scroll_to("mark")

    async def _look_again(self) -> None:
        """Take the words away where their reader may not read them any more."""
        async with self._viewer.session() as session:
            is_there = await session.scalar(select(Transcript.id).where(Transcript.id == self._id)) is not None
        if not is_there and self._turns:
            self._turns = {}
            for place in (self._list, self._before, self._after):
                place.clear()
            with self._list:
                element("li", "This transcript is no longer available to you.", "note")
