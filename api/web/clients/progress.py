"""The client's own page, and the same page as a coach looks ahead at it: both built by one function."""

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.clients.insights import draw_shared
from api.web.clients.sections import draw_commitments, draw_goals, draw_sessions
from api.web.clients.shown import ClientGone, Shown, read_id
from api.web.frame import page
from api.web.parts import element
from api.web.viewer import Viewer
from domain.evidence import ClientEvidenceNotFound
from domain.evidence_counts import get_client_name


@page("/me", title="My progress", roles=frozenset({"client"}))
async def show_own(viewer: Viewer) -> None:
    """Show a client their own sessions, commitments, goals and the insights shared with them."""
    ui.add_head_html('<link rel="stylesheet" href="/web/clients.css">')
    key = viewer.principal.user_id
    if key is None:
        raise ClientGone
    async with viewer.session() as session:
        shown = Shown(viewer, key, await get_client_name(session, key))
        with shown.head, ui.element("div").classes("client-head"):
            element("h1", "My progress")
        await _draw(shown, session)


@page("/clients/{client_id}/preview", title="What the client sees", roles=frozenset({"coach"}))
async def show_preview(viewer: Viewer, client_id: str) -> None:
    """Show a coach what the client's own page holds.

    The coach reads it as themself, which the audit log says: whoever bound a session to the client would be noted as
    them. What is about a client is read by its visibility alone, by them and their coaches alike, so narrowing to
    `client_visible` and to accepted insights leaves what the client's own session would.
    """
    ui.add_head_html('<link rel="stylesheet" href="/web/clients.css">')
    key = read_id(client_id)
    try:
        async with viewer.session() as session:
            shown = Shown(viewer, key, await get_client_name(session, key), ahead=True)
            with shown.head:
                with ui.element("div").classes("note preview").props('role="note"'):
                    element("b", f"A preview: what {shown.first_name} sees on “My progress”.")
                    element("span", "You read it as yourself, narrowed to what may be shown to them and to the "
                                    "insights you shared; nothing is noted as read by them.")  # fmt: skip
                    element("a", f"Back to {shown.name}").props["href"] = f"/clients/{key}"
                with ui.element("div").classes("client-head"):
                    element("h1", f"What {shown.name} sees")
            await _draw(shown, session)
    except ClientEvidenceNotFound as error:
        raise ClientGone from error


async def _draw(shown: Shown, session: AsyncSession) -> None:
    with shown.main:
        await draw_shared(shown, session)
        await draw_commitments(shown, session)
        await draw_goals(shown, session)
    with shown.past:
        await draw_sessions(shown, session)
