"""One source in the list: what it is, who reads it, how far it has come; opened: its stages, its cure, its readers."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from nicegui import ui

from api.routes.ingestion import retry_ingestion
from api.web.parts import button, element, notify, say_time
from api.web.sources.readers import ReadersForm
from api.web.sources.reading import focus_on
from api.web.sources.speakers import SpeakersForm
from api.web.sources.words import KINDS, STAGES, STATES, count, say_readers, say_size
from api.web.viewer import Viewer
from db.models import IngestionAttempt
from domain.sources import SourceView

WATCHED: Final = timedelta(minutes=3)
"""How long what was started again is looked at although nothing seems to happen."""
LATE: Final = timedelta(minutes=5)
"""After so long without a first stage something may be wrong with the flow server."""


class SourceRow:
    """One entry of the list, kept as it is while nothing about it changes."""

    def __init__(
        self,
        viewer: Viewer,
        source: SourceView,
        stages: list[IngestionAttempt],
        on_changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._viewer = viewer
        self._on_changed = on_changed
        self.source = source
        self._stages = stages
        self._started_again: datetime | None = None
        self._is_open = False
        with ui.element("li").classes("source") as self.frame:
            self._head = ui.element("div").classes("source-summary")
            self._trouble = ui.element("div").classes("source-trouble")
            self._more = ui.element("div").classes("source-more")
            self._more.props["id"] = f"more-{source.object_id}"
            with self._more:
                self._work = ui.element("div").classes("stack tight")
                self._speakers = ui.element("div")
                self._readers = ui.element("div")
        self._more.set_visibility(False)
        self._draw_head()
        self._draw_trouble()

    @property
    def is_moving(self) -> bool:
        """Whether what it says may change by itself soon."""
        again = self._started_again is not None and datetime.now(UTC) - self._started_again < WATCHED
        return again or self.source.status == "received" or any(one.outcome == "running" for one in self._stages)

    def update(self, source: SourceView, stages: list[IngestionAttempt]) -> None:
        """Say what is known now."""
        if (source, _sum_up(stages)) == (self.source, _sum_up(self._stages)):
            return
        self.source, self._stages = source, stages
        self._draw_head()
        self._draw_trouble()
        if self._is_open:
            self._draw_work()

    def _draw_head(self) -> None:
        one = self.source
        self._head.clear()
        with self._head:
            with ui.element("div").classes("source-name"):
                with ui.element("h2"):
                    if one.path is not None:
                        element("a", one.title).props["href"] = one.path
                    else:
                        element("span", one.title)
                with ui.element("p").classes("soft small facts"):
                    element("span", KINDS.get(one.kind or "", "Kind not known yet"))
                    if one.client:
                        element("span", one.client)
                    if one.held_at is not None:
                        say_time(self._viewer, one.held_at, day_only=True)
            with ui.element("p").classes("source-readers small"):
                element("span", "Read by ", "unseen")
                element("span", self._say_readers())
            with ui.element("p").classes("source-state small"):
                element("span", "State: ", "unseen")
                words, colour = STATES[one.status]
                if (stage := self._find_current()) is not None:
                    words, colour = f"{STAGES[stage.stage]}…", ""
                element("span", words, f"tag {colour}")
                if one.status == "indexed":
                    element("span", count(one.pieces, "passage"), "soft")
            made = button("Details", self._toggle, "small")
            with made:
                ui.icon("expand_more").props('aria-hidden="true"')
            made.props["aria-expanded"] = "true" if self._is_open else "false"
            made.props["aria-controls"] = f"more-{one.object_id}"
            made.props["aria-label"] = f"Details of {one.title}"
            made.props["id"] = f"toggle-{one.object_id}"
            self._button = made

    def _draw_trouble(self) -> None:
        """Say why it is not searchable and what to do, with the button that does it."""
        one = self.source
        self._trouble.clear()
        if one.asks_for_speakers and not self._is_open:
            with self._trouble, ui.element("div").classes("note"):
                element("p", f"Who speaks is not known, so nothing counts as {one.client or 'the client'}'s own words.")
                made = button("Say who speaks", self._ask_who_speaks, "small")
                made.props["aria-label"] = f"Say who speaks in {one.title}"
        is_late = one.status == "received" and not self._stages and datetime.now(UTC) - one.created_at > LATE
        if one.is_content or not (one.error or is_late):
            return
        late = "No work on it has begun for a while: the flow server may be down. Try again, or tell your operators."
        with self._trouble, ui.element("div").classes(f"note {'bad' if one.status == 'failed' else 'warn'}"):
            element("p", one.error or late)
            button("Try again", self._try_again, "small", icon="refresh").props["aria-label"] = f"Try {one.title} again"

    def _say_readers(self) -> str:
        one = self.source
        return say_readers(
            one.visibility, one.client, one.coach, is_about=one.client_id is not None,
            is_own=one.coach_id == self._viewer.principal.user_id, has_coach=one.coach_id is not None,
        )  # fmt: skip

    def _find_current(self) -> IngestionAttempt | None:
        return next((one for one in reversed(self._stages) if one.outcome == "running"), None)

    async def _toggle(self) -> None:
        self._is_open = not self._is_open
        self._button.props["aria-expanded"] = "true" if self._is_open else "false"
        self._more.set_visibility(self._is_open)
        self._draw_trouble()
        if self._is_open:
            self._draw_work()
            await self._draw_speakers()
            await self._draw_readers()

    async def _ask_who_speaks(self) -> None:
        await self._toggle()
        with self.frame:  # what was clicked is gone
            focus_on(f"speaker-0-{self.source.object_id}")

    def _draw_work(self) -> None:
        one = self.source
        self._work.clear()
        with self._work:
            if not one.is_content:
                self._draw_stages()
            with ui.element("p").classes("soft small facts"):
                if one.is_content:
                    element("span", "Written in the product, and indexed whenever it changes there")
                else:
                    element("span", one.key.rpartition("/")[2])
                    element("span", say_size(one.size_bytes))
                with ui.element("span"):
                    element("span", "added ")
                    say_time(self._viewer, one.created_at)
                if one.indexed_at is not None:
                    with ui.element("span"):
                        element("span", "searchable since ")
                        say_time(self._viewer, one.indexed_at)

    def _draw_stages(self) -> None:
        by_stage = {one.stage: one for one in self._stages}
        with ui.element("ol").classes("stages plain").props('aria-label="Stages"'):
            for stage, name in STAGES.items():
                tried = by_stage.get(stage)
                outcome = tried.outcome if tried else ("succeeded" if self.source.status == "indexed" else "waiting")
                icon, said = _OUTCOMES[outcome]
                with ui.element("li").classes(f"stage is-{outcome}"):
                    ui.icon(icon).props('aria-hidden="true"')
                    with ui.element("span"):
                        element("span", name)
                        element("span", f", {said}", "soft")
                        if tried is not None and tried.attempt > 1:
                            element("span", f" at try {tried.attempt}", "soft")

    async def _draw_speakers(self) -> None:
        self._speakers.clear()
        if self.source.transcript_id is not None:
            with self._speakers:
                await SpeakersForm(self._viewer, self.source.object_id, self._on_changed).draw()

    async def _draw_readers(self) -> None:
        self._readers.clear()
        with self._readers:
            await ReadersForm(self._viewer, self.source, self._on_changed).draw()

    async def _try_again(self) -> None:
        principal = await self._viewer.check()
        await retry_ingestion(self.source.object_id, principal, self._viewer.settings)
        self._started_again = datetime.now(UTC)
        with self.frame:  # what was clicked may have been drawn anew meanwhile
            notify(f"{self.source.title} is being worked on again.")


_OUTCOMES: Final = {
    "succeeded": ("check_circle", "done"), "running": ("hourglass_top", "under way"), "failed": ("error", "failed"),
    "interrupted": ("pause_circle", "broken off"), "waiting": ("radio_button_unchecked", "not yet"),
}  # fmt: skip


def _sum_up(stages: list[IngestionAttempt]) -> list[tuple[str, str, int]]:
    return [(one.stage, one.outcome, one.attempt) for one in stages]
