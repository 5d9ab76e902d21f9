"""Requests to erase, for compliance: what is due when, what waits for whom, and making one."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from nicegui import ui

from api.routes import privacy as routes
from api.schemas.privacy import ErasureIn, RequestOut
from api.web.frame import page
from api.web.parts import element, say_time
from api.web.privacy import audit, exports, holds, receipts, request, retention  # noqa: F401  # importing serves them
from api.web.privacy.forecast import show_forecast
from api.web.privacy.forms import Values, area, form, read_reason, read_subject, subject_fields
from api.web.privacy.parts import (
    OFFICERS,
    PAGE,
    Grid,
    draw_head,
    name_people,
    officer_session,
    page_through,
    say_count,
    say_person,
    section,
)
from api.web.privacy.words import say_due, say_state, say_subject
from api.web.viewer import Viewer

SHOWN: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "": ("All", {}), "overdue": ("Overdue", {"overdue": True}),
    "requested": ("To approve", {"request_status": "requested"}),
    "verified": ("Approved", {"request_status": "verified"}), "running": ("Running", {"request_status": "running"}),
    "failed": ("Stopped", {"request_status": "failed"}), "completed": ("Done", {"request_status": "completed"}),
    "refused": ("Refused", {"request_status": "refused"}),
}  # fmt: skip
"""What the list may be narrowed to: words, and what the route is asked."""
NONE: Final = (
    "Nobody has asked for an erasure yet. What people ask for themselves, and what you ask for them, is listed here.",
    "There is no such request.",
)


@page("/privacy", title="Privacy requests", roles=OFFICERS)
async def show_requests(viewer: Viewer, show: str = "") -> None:
    """List the requests, those that are overdue told first."""
    chosen = show if show in SHOWN else ""
    draw_head("/privacy", "Requests to erase", "Each is answered within 30 days, and nothing goes without two people.")
    with ui.element("div").classes("stack"):
        told = element("p", "", "note bad")
        told.set_visibility(False)
        with ui.element("div").classes("line"):
            element("a", "Make a request", "button main").props('href="/privacy/new"')
        with ui.element("nav").classes("chips").props('aria-label="Which requests"'):
            for name, (words, _) in SHOWN.items():
                link = element("a", words).props(f'href="/privacy{"?show=" + name if name else ""}"')
                if name == chosen:
                    link.props('aria-current="true"')
        with ui.element("section").classes("card"):
            grid = Grid(("About", "Asked", "Due", "State"), caption="Requests to erase")
            nothing = element("p", NONE[bool(chosen)], "soft")

        async def load(cursor: str | None) -> str | None:
            async with officer_session(viewer) as (_, session):
                narrowed = {"request_status": None, "subject_kind": None, "overdue": None, **SHOWN[chosen][1]}
                found = await routes.list_requests(session=session, limit=PAGE, cursor=cursor, **narrowed)  # type: ignore[arg-type]  # the parameters of the list
                names = await name_people(session, _list_people(found.items))
            told.set_text(f"{say_count(found.overdue, 'request')} should have been answered by now.")
            told.set_visibility(bool(found.overdue))
            grid.frame.set_visibility(bool(found.items) or cursor is not None)
            nothing.set_visibility(not found.items and cursor is None)
            for one in found.items:
                _draw_row(viewer, grid, one, names)
            return found.next_cursor

        await page_through(load)


def _list_people(requests: Sequence[RequestOut]) -> list[UUID | None]:
    return [one.subject_id for one in requests] + [one.requested_by for one in requests]


def _draw_row(viewer: Viewer, grid: Grid, one: RequestOut, names: Mapping[UUID, str]) -> None:
    with grid.row():
        with grid.cell():
            words = say_subject(viewer, names, one.subject_kind, one.subject_id)
            element("a", words).props(f'href="/privacy/requests/{one.id}"')
        with grid.cell():
            say_time(viewer, one.requested_at, day_only=True)
            element("span", f" by {say_person(names, one.requested_by)}", "soft")
        with grid.cell():
            say_due(viewer, one)
        with grid.cell():
            say_state(one.status)


@page("/privacy/new", title="New request", roles=OFFICERS)
async def make_request(viewer: Viewer) -> None:
    """Choose what is to be erased, see what would go, and ask for it."""
    draw_head("/privacy", "New request", "See what would go first; another compliance officer approves it.")

    async def look(values: Values) -> None:
        async with officer_session(viewer) as (principal, session):
            kind, subject_id = await read_subject(viewer, principal, session, values, confirm=True)
            names = await name_people(session, [subject_id])
        body = ErasureIn(
            subject_kind=kind, subject_id=subject_id, reason=read_reason(values) if values.get("reason") else None
        )
        outcome.clear()
        with outcome:
            waiting = element("p", "Counting, store by store …", "soft").props('role="status"')
            heading = f"What would go: {say_subject(viewer, names, kind, subject_id)}"
            with section(heading) as made:
                made.set_visibility(False)
                try:
                    await show_forecast(viewer, kind, subject_id)
                finally:
                    waiting.delete()
                made.set_visibility(True)
                draw_asking(body)
        ui.run_javascript(f"document.getElementById('{outcome.html_id}').focus()")

    def draw_asking(body: ErasureIn) -> None:
        with form("Ask for this erasure", "Ask for this erasure", lambda _: ask(body)):
            element("p", "Nothing goes until another compliance officer approves it.", "soft small")

    async def ask(body: ErasureIn) -> None:
        async with officer_session(viewer) as (principal, session):
            made = await routes.request_erasure(body, principal, session)
        ui.navigate.to(f"/privacy/requests/{made.id}")

    with ui.element("div").classes("halves turned"):
        with ui.element("section").classes("card"), form("What is to be erased", "Show what would go", look):
            subject_fields(viewer, confirm=True)
            area("Why (not needed)", "reason", hint="The person may read it. Write nothing that was said in a session.")
        outcome = ui.element("div").classes("outcome").props('tabindex="-1"')
        with outcome:
            element("p", "What would go is counted here, store by store, before anything is asked for.", "soft waits")
