"""Legal holds: what must be kept, whatever anybody asks, and why."""

from collections.abc import Mapping
from uuid import UUID

from nicegui import ui

from api.routes import privacy as routes
from api.schemas.privacy import HoldIn, HoldOut
from api.web.frame import page
from api.web.parts import element, say_time
from api.web.privacy.forms import Values, area, form, read_reason, read_subject, subject_fields, tick
from api.web.privacy.parts import (
    OFFICERS,
    PAGE,
    draw_head,
    name_people,
    officer_session,
    page_through,
    say_person,
    section,
)
from api.web.privacy.words import say_subject
from api.web.viewer import Viewer


@page("/privacy/holds", title="Legal holds", roles=OFFICERS)
async def show_holds(viewer: Viewer) -> None:
    """List the holds that are open and those that were released; place and release."""
    draw_head("/privacy/holds", "Legal holds", "While one is open, nothing it covers is erased, whoever asks.")
    with ui.element("div").classes("halves"):
        with ui.element("div").classes("stack"):
            with section("Open"):
                await _list_some(viewer, is_open=True)
            with section("Released"):
                await _list_some(viewer, is_open=False)
        with section("Place a hold", "A hold on a person covers their sessions and documents too."):
            _draw_placing(viewer)


def _draw_placing(viewer: Viewer) -> None:
    async def place(values: Values) -> None:
        reason = read_reason(values)
        async with officer_session(viewer) as (principal, session):
            kind, subject_id = await read_subject(viewer, principal, session, values, confirm=False)
            body = HoldIn(subject_kind=kind, subject_id=subject_id, reason=reason)
            await routes.place_hold(body, principal, session)
        ui.navigate.reload()

    with form("Place a legal hold", "Place this hold", place):
        subject_fields(viewer, confirm=False)
        hint = "Only compliance reads it; yet a request that it stops while it runs tells it."
        area("Reason", "reason", required=True, hint=hint)


async def _list_some(viewer: Viewer, *, is_open: bool) -> None:
    rows = ui.element("ul").classes("plain rows")
    nothing = element("p", "Nothing is held." if is_open else "None was released yet.", "soft")

    async def load(cursor: str | None) -> str | None:
        async with officer_session(viewer) as (_, session):
            found = await routes.list_holds(
                session=session, is_open=is_open, subject_kind=None, subject_id=None, limit=PAGE, cursor=cursor
            )
            people = [who for one in found.items for who in (one.subject_id, one.placed_by, one.released_by)]
            names = await name_people(session, people)
        rows.set_visibility(bool(found.items) or cursor is not None)
        nothing.set_visibility(not found.items and cursor is None)
        with rows:
            for one in found.items:
                _draw(viewer, one, names)
        return found.next_cursor

    await page_through(load)


def _draw(viewer: Viewer, one: HoldOut, names: Mapping[UUID, str]) -> None:
    async def release(_: Values) -> None:
        async with officer_session(viewer) as (principal, session):
            await routes.release_hold(one.id, principal, session)
        ui.navigate.reload()

    subject = say_subject(viewer, names, one.subject_kind, one.subject_id)
    with ui.element("li").classes("stack tight"):
        with ui.element("div").classes("line"):
            element("h3", subject)
            element("span", "Released" if one.released_at else "Holds", f"tag {'' if one.released_at else 'warn'}")
        element("p", one.reason, "written")
        with ui.element("p").classes("soft small"):
            element("span", f"Placed by {say_person(names, one.placed_by)}, ")
            say_time(viewer, one.placed_at)
            if one.released_at:
                element("span", f"; released by {say_person(names, one.released_by)}, ")
                say_time(viewer, one.released_at)
        if not one.released_at:
            with ui.element("details"):
                element("summary", "Release").props["aria-label"] = f"Release the hold on {subject}"
                with form(f"Release the hold on {subject}", "Release this hold", release, "bad"):
                    tick("Requests that it covered can be approved then. A hold can't be taken up again.", "sure")
