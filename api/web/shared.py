"""What a link of a colleague leads to: an answer or a pack, opened under the reader's own rights, each time anew."""

from uuid import UUID

from nicegui import ui
from sqlalchemy import select

from api.web.chat.answer import AnswerView, show_stored
from api.web.clients.pack import PackPage, has_items
from api.web.frame import page
from api.web.parts import element, notify, say_time
from api.web.source_panel import SourcePanel
from api.web.viewer import Viewer
from core.errors import NotFound
from db.models import User
from domain import shared_links
from domain.chat import MessageView
from domain.packs import PackView
from domain.shared_links import SharedView


class NothingLeft(NotFound):
    """Nothing of this evidence pack is yours to read now; ask whoever gave you the link what it is about."""


@page("/shared/{token}", title="Shared with you")
async def show_shared(viewer: Viewer, token: str) -> None:
    """Show what a colleague shared, as the viewer may see it now."""
    async with viewer.session() as session:
        view = await shared_links.open_link(session, token)
        sharer = await session.scalar(select(User.full_name).where(User.id == view.shared_by))
    by = f"Shared by {sharer or 'a colleague'}, open until "
    if view.pack is not None:
        await _show_pack(viewer, view, view.pack, by, f"/shared/{token}")
    if view.message is not None:
        _show_answer(viewer, view, view.message, by)


async def _show_pack(viewer: Viewer, view: SharedView, pack: PackView, by: str, path: str) -> None:
    if pack.withheld and not has_items(pack):
        raise NothingLeft
    ui.add_head_html('<link rel="stylesheet" href="/web/clients.css">')
    shown = PackPage(viewer, pack, path, is_shared=True)
    async with viewer.session() as session:
        await shown.draw(session)
    with shown.head, ui.element("p").classes("soft small"):
        element("span", by)
        say_time(viewer, view.expires_at)


def _show_answer(viewer: Viewer, view: SharedView, message: MessageView, by: str) -> None:
    ui.add_head_html('<link rel="stylesheet" href="/web/chat.css">')
    with ui.element("div").classes("heading"):
        element("h1", view.question or "A shared answer")
        with ui.element("p"):
            element("span", by)
            say_time(viewer, view.expires_at)
    with ui.element("div").classes("chat shared"):
        with ui.element("ol").classes("messages plain"):
            slot = ui.element("div").props("hidden")
        panel = SourcePanel(viewer)

    async def not_yours(_: UUID) -> None:
        notify("Only whoever asked can share this answer.", bad=True)

    with slot.parent_slot.parent if slot.parent_slot else slot:
        AnswerView(viewer, panel.show, not_yours).complete(show_stored(message))
    slot.delete()
