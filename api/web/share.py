"""Makes a link to an answer or a pack for colleagues, who open it under their own rights, each time anew."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from nicegui import ui

from api.web.parts import button, element, notify
from api.web.viewer import Viewer
from domain import shared_links

DAYS: Final = 7


async def offer_link(viewer: Viewer, *, message_id: UUID | None = None, pack_id: UUID | None = None) -> None:
    """Make a link to one of the viewer's answers or packs and show it once, to be copied."""
    async with viewer.session() as session:
        _, token = await shared_links.share(
            session, message_id=message_id, pack_id=pack_id, lasts=timedelta(days=DAYS)
        )  # fmt: skip
    address = f"/shared/{token}"
    title = f"A link to this {'answer' if message_id else 'evidence pack'}"
    with ui.dialog() as dialog, ui.element("div").classes("card stack dialog"):
        dialog.props["aria-label"] = title
        element("h2", title)
        element(
            "p",
            f"Anyone of your organisation who signs in can open it for {DAYS} days; each sees only what they "
            "may see themself, at that moment.",
            "soft",
        )
        with ui.element("div").classes("field"):
            element("label", "Address").props["for"] = "share-address"
            box = ui.element("input")
            box.props["id"], box.props["readonly"] = "share-address", True

        async def copy() -> None:
            await ui.run_javascript(
                "const box = document.getElementById('share-address'); box.select();"
                "navigator.clipboard?.writeText(box.value); return true;"
            )
            notify("The address is copied.")

        with ui.element("div").classes("line"):
            button("Copy", copy, "main")
            button("Close", dialog.close)
    dialog.on("hide", dialog.delete)
    dialog.open()
    ui.run_javascript(
        f"setTimeout(() => {{ document.getElementById('share-address').value = location.origin + '{address}'; }}, 50)"
    )
