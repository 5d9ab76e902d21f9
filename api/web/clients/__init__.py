"""A coach's clients: who they are, when they last met, what is open and what waits for a verdict."""

from typing import Final
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlalchemy.ext.asyncio import AsyncSession

from api.routes.coaching import list_clients
from api.schemas.search import ClientOut, ClientPage
from api.web.clients import client, pack, progress  # noqa: F401  # importing serves them
from api.web.clients.shown import count
from api.web.frame import page
from api.web.parts import button, element, say_time
from api.web.viewer import Viewer
from domain.evidence_counts import Waiting, count_waiting

PAGE: Final = 50
MANY: Final = 8
"""From so many clients on there is a search by name."""
LONGEST_NAME: Final = 200


@page("/clients", title="Clients", roles=frozenset({"coach"}))
async def show_clients(viewer: Viewer) -> None:
    """Show a coach whom they work with."""
    ui.add_head_html('<link rel="stylesheet" href="/web/clients.css">')
    with ui.element("div").classes("heading"):
        element("h1", "Clients")
    listing = ClientList(viewer)
    async with viewer.session() as session:
        await listing.begin(session)


class ClientList:
    """The clients by name, narrowed by what is searched for."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._name: str | None = None
        self._cursor: str | None = None
        self._search = ui.element("div").classes("field search")
        self._said = element("p", "", "soft small").props('role="status"')
        self._list = ui.element("ul").classes("plain people")
        self._more = button("Show more", self._add, "more")

    async def begin(self, session: AsyncSession) -> None:
        """Show the first of them, and the search where there are many."""
        found = await self._read(session, None)
        is_many = len(found[0].items) >= MANY
        self._search.set_visibility(is_many)
        if is_many:
            with self._search:
                label = element("label", "Find by name")
                field = ui.element("input").props(f'type="search" autocomplete="off" maxlength={LONGEST_NAME}')
                label.props["for"] = field.html_id
            field.on(
                "input",
                self._find,
                js_handler="(event) => emit(event.target.value)",
                throttle=0.3,
                leading_events=False,
            )
        self._show(*found)
        if not found[0].items:
            self._said.set_text("You have no clients yet. They appear here once an engagement with you begins.")

    async def _find(self, event: GenericEventArguments) -> None:
        self._name = str(event.args)[:LONGEST_NAME] or None
        asked = self._name
        async with self._viewer.session() as session:
            found = await self._read(session, None)
        if asked != self._name:
            return  # typed on meanwhile; the answer to that follows
        self._list.clear()
        self._show(*found)
        shown = len(found[0].items)
        more = " or more" if found[0].next_cursor else ""
        self._said.set_text(f"{count(shown, 'client')}{more}" if shown else f"No client's name contains “{asked}”.")

    async def _add(self) -> None:
        async with self._viewer.session() as session:
            found = await self._read(session, self._cursor)
        self._show(*found)

    async def _read(self, session: AsyncSession, cursor: str | None) -> tuple[ClientPage, dict[UUID, Waiting]]:
        found = await list_clients(session, name=self._name, limit=PAGE, cursor=cursor)
        return found, await count_waiting(session, [one.id for one in found.items])

    def _show(self, found: ClientPage, waiting: dict[UUID, Waiting]) -> None:
        self._cursor = found.next_cursor
        self._more.set_visibility(found.next_cursor is not None)
        with self._list:
            for one in found.items:
                self._draw(one, waiting[one.id])

    def _draw(self, one: ClientOut, waiting: Waiting) -> None:
        with ui.element("li").classes("card person"):
            with ui.element("div").classes("whom"):
                with ui.element("h2"):
                    element("a", one.full_name or one.email).props["href"] = f"/clients/{one.id}"
                element("p", one.email, "soft small")
            with ui.element("dl"):
                _figure("Sessions", f"{one.sessions:,}")
                with ui.element("div").classes("wide"):
                    element("dt", "Last session")
                    with ui.element("dd"):
                        say_time(self._viewer, one.last_session_at, day_only=True)
                late = f" ({waiting.overdue:,} overdue)" if waiting.overdue else ""
                _figure("Open commitments", f"{waiting.unsettled:,}{late}", "warn" if waiting.overdue else "")
                _figure("Insights waiting", f"{waiting.drafts:,}", "strong" if waiting.drafts else "")


def _figure(name: str, number: str, look: str = "") -> None:
    with ui.element("div"):
        element("dt", name)
        element("dd", number, look)
