"""Whether the audit log still is what was noted: its chain recomputed, and where it breaks."""

from typing import Final

from nicegui import ui

from api.routes import governance as routes
from api.schemas.governance import ChainOut
from api.web.parts import button, element
from api.web.privacy.parts import ask_in, officer_session, say_code, section
from api.web.viewer import Viewer

WRONG: Final = {
    "altered": "An entry says something else than when it was written.", "removed": "Entries are missing.",
    "inserted": "An entry was slipped in.", "reordered": "Entries were moved.",
    "unlinked": "Entries were written and never took their place in the chain.",
}  # fmt: skip


def draw_chain(viewer: Viewer) -> None:
    """Check the chain once the page is shown, and whenever somebody asks again."""
    with section("The chain"):
        place = ui.element("div").classes("stack tight").props('aria-live="polite"')
        with place:
            element("p", "Recomputing the newest entries …", "soft")
            ui.element("div").classes("waiting")
        with ui.element("div"):
            again = button("Check again")

    async def read() -> ChainOut:
        async with officer_session(viewer) as (_, session):
            return await routes.check_audit_chain(session)

    async def check() -> None:
        if (state := await ask_in(place, again, read)) is not None:
            with place:
                _tell(state)

    again.on("click", check)
    ui.timer(0, check, once=True)


def _tell(state: ChainOut) -> None:
    if state.fault is None:
        element("p", f"The chain holds: {state.checked:,} of {state.length:,} entries were recomputed.", "note")
    else:
        with ui.element("div").classes("note bad").props('role="alert"'):
            element("b", f"The chain is broken at entry {state.fault.sequence:,}.")
            element("p", WRONG.get(state.fault.wrong, ""))
            element("p", f"What was found: {state.fault.detail}. Tell whoever runs the service, and keep this page.")
    if state.dropped_until:
        element("p", f"Entries up to {state.dropped_until:,} were archived after their time.", "soft small")
    with ui.element("p").classes("soft small"):
        element("span", "Its end, to keep elsewhere as proof: ")
        say_code(state.hash)
