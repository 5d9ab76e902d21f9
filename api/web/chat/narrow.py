"""What a search is narrowed to: a client, one of their sessions, and days."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlalchemy import select

from api.web.parts import element
from api.web.viewer import Viewer
from db.models import Transcript, User
from rag.passages import EVERYWHERE, Scope

MOST: Final = 500
"""Clients and sessions offered to choose from."""


@dataclass(slots=True)
class Narrowing:
    """What the viewer chose; `client_id` of a stored conversation stays as it is."""

    viewer: Viewer
    client_id: UUID | None = None
    session_id: UUID | None = None
    since: date | None = None
    until: date | None = None
    _sessions: ui.element | None = field(default=None, repr=False)

    @property
    def scope(self) -> Scope:
        """Where is searched; days are the viewer's, the last one inclusive."""
        if not (self.client_id or self.session_id or self.since or self.until):
            return EVERYWHERE
        return Scope(
            client_ids=(self.client_id,) if self.client_id else (),
            source_ids=(self.session_id,) if self.session_id else (),
            held_from=self._begin(self.since) if self.since else None,
            held_until=self._begin(self.until + timedelta(days=1)) if self.until else None,
        )

    def _begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.viewer.zone).astimezone(UTC)

    async def draw(self, *, fixed_client: bool, on_client: Callable[[], Any]) -> None:
        """Draw the filters, closed until they are wanted."""
        with ui.element("details").classes("narrow"):
            element("summary", "Narrow the search")
            with ui.element("div").classes("filters"):
                if self.viewer.role != "client":
                    await self._draw_clients(fixed=fixed_client, on_client=on_client)
                with ui.element("div").classes("field"):
                    element("label", "Session").props["for"] = "narrow-session"
                    self._sessions = ui.element("select")
                    self._sessions.props["id"] = "narrow-session"
                    self._sessions.on("change", self._choose_session, js_handler="(e) => emit(e.target.value)")
                await self._list_sessions()
                self._draw_day("From", "since")
                self._draw_day("Until", "until")

    async def _draw_clients(self, *, fixed: bool, on_client: Callable[[], Any]) -> None:
        async with self.viewer.session() as session:
            query = select(User.id, User.full_name).where(User.role == "client", User.status == "active")
            rows = (await session.execute(query.order_by(User.full_name).limit(MOST))).all()
        with ui.element("div").classes("field"):
            element("label", "Client").props["for"] = "narrow-client"
            chosen = ui.element("select")
            chosen.props["id"] = "narrow-client"
            if fixed:
                chosen.props["disabled"] = True
            with chosen:
                _add_options([("", "All of them"), *((str(row.id), row.full_name) for row in rows)], self.client_id)

        async def choose(event: GenericEventArguments) -> None:
            self.client_id = UUID(event.args) if event.args else None
            self.session_id = None
            await self._list_sessions()
            await on_client()

        chosen.on("change", choose, js_handler="(e) => emit(e.target.value)")

    async def _list_sessions(self) -> None:
        if self._sessions is None:
            return
        query = select(Transcript.id, Transcript.title, Transcript.held_at).order_by(Transcript.held_at.desc())
        if self.client_id is not None:
            query = query.where(Transcript.client_id == self.client_id)
        async with self.viewer.session() as session:
            rows = (await session.execute(query.limit(MOST))).all()
        options = [("", "All of them")]
        for row in rows:
            day = f"{row.held_at.astimezone(self.viewer.zone):%Y-%m-%d} " if row.held_at else ""
            options.append((str(row.id), f"{day}{row.title}"))
        self._sessions.clear()
        with self._sessions:
            _add_options(options, self.session_id)

    def _choose_session(self, event: GenericEventArguments) -> None:
        self.session_id = UUID(event.args) if event.args else None

    def _draw_day(self, label: str, name: str) -> None:
        with ui.element("div").classes("field"):
            element("label", label).props["for"] = f"narrow-{name}"
            box = ui.element("input")
            box.props["id"], box.props["type"] = f"narrow-{name}", "date"

            def choose(event: GenericEventArguments) -> None:
                setattr(self, name, date.fromisoformat(event.args) if event.args else None)

            box.on("change", choose, js_handler="(e) => emit(e.target.value)")


def _add_options(options: Sequence[tuple[str, str]], chosen: UUID | None) -> None:
    for value, words in options:
        option = element("option", words)
        option.props["value"] = value
        if value and value == str(chosen):
            option.props["selected"] = True
