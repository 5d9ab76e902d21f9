"""The viewer's conversations, the last used first."""

from uuid import UUID

from nicegui import ui

from api.web.parts import element, say_time
from api.web.viewer import Viewer
from domain import chat

MOST = 50
"""Conversations listed; the API pages through all of them."""


class ConversationList:
    """The list beside the conversation; `draw` again once one was begun or used."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        with ui.element("nav").classes("conversations").props('aria-label="Conversations"'):
            link = ui.element("a").classes("button")
            link.props["href"] = "/chat"
            with link:
                ui.icon("add").props('aria-hidden="true"')
                element("span", "New conversation")
            with ui.element("details").classes("earlier"):
                element("summary", "Conversations")
                self._items = ui.element("ul").classes("plain")

    async def draw(self, current: UUID | None) -> None:
        """List them, with the current one marked."""
        async with self._viewer.session() as session:
            rows = await chat.list_sessions(session, limit=MOST)
        self._items.clear()
        with self._items:
            if not rows:
                element("li", "None yet.", "soft small")
            for one in rows:
                with ui.element("li"):
                    link = ui.element("a")
                    link.props["href"] = f"/chat/{one.id}"
                    if one.id == current:
                        link.props["aria-current"] = "page"
                    with link:
                        element("span", one.title or "Conversation")
                        say_time(self._viewer, one.updated_at, day_only=True, classes="soft small")
