"""Copies of people's data: asking for one, how far it is, and a link to it that expires."""

from collections.abc import Mapping
from uuid import UUID

from nicegui import ui

from api.routes import privacy_exports as routes
from api.schemas.privacy import ExportIn, ExportOut
from api.web.frame import page
from api.web.parts import button, element, say_time
from api.web.privacy.forms import Values, form, person_field
from api.web.privacy.parts import (
    OFFICERS,
    PAGE,
    draw_head,
    get_person,
    name_people,
    officer_session,
    page_through,
    require_officer,
    say_count,
    say_person,
    section,
)
from api.web.privacy.words import say_state
from api.web.viewer import Viewer
from domain import exports

EVERY_S = 4.0
"""How often copies that are being made are looked at again."""


@page("/privacy/exports", title="Copies of data", roles=OFFICERS)
async def show_exports(viewer: Viewer) -> None:
    """List the copies, the newest first, and ask for one."""
    draw_head("/privacy/exports", "Copies of data", "Everything that is stored about a person, for that person.")
    making: dict[UUID, ui.element] = {}

    async def ask(values: Values) -> None:
        async with officer_session(viewer) as (_, session):
            person = await get_person(session, values.get("person", ""))
        principal = await require_officer(viewer)
        await routes.request_export(ExportIn(user_id=person.id), principal, viewer.settings)
        ui.navigate.reload()

    async def follow() -> None:
        for export_id, place in list(making.items()):
            async with officer_session(viewer) as (_, session):
                one = await routes.get_export(export_id, session)
                names = await name_people(session, [one.user_id, one.requested_by])
            if one.status not in ("requested", "running"):
                del making[export_id]
                place.clear()
                with place:
                    _draw(viewer, one, names)

    with ui.element("div").classes("halves"):
        with section("Copies"):
            rows = ui.element("ul").classes("plain rows").props('aria-live="polite"')
            nothing = element("p", "No copy was asked for yet.", "soft")

            async def load(cursor: str | None) -> str | None:
                async with officer_session(viewer) as (_, session):
                    found = await routes.list_exports(
                        session=session, export_status=None, user_id=None, limit=PAGE, cursor=cursor
                    )
                    people = [who for one in found.items for who in (one.user_id, one.requested_by)]
                    names = await name_people(session, people)
                nothing.set_visibility(not found.items and cursor is None)
                for one in found.items:
                    with rows, ui.element("li").classes("stack tight") as place:
                        _draw(viewer, one, names)
                    if one.status in ("requested", "running"):
                        making[one.id] = place
                return found.next_cursor

            await page_through(load)
        with (
            section("Ask for a copy", "It is made in the background and deleted after seven days."),
            form("Ask for a copy of a person's data", "Make a copy", ask),
        ):
            hint = "Begin to type a name, or give the e-mail address."
            person_field(viewer, "Person", "person", required=True, hint=hint)
    ui.timer(EVERY_S, follow, immediate=False)


def _draw(viewer: Viewer, one: ExportOut, names: Mapping[UUID, str]) -> None:
    with ui.element("div").classes("line"):
        element("h3", say_person(names, one.user_id))
        say_state({"requested": "scheduled"}.get(one.status, one.status))
    with ui.element("p").classes("soft small"):
        element("span", f"Asked by {say_person(names, one.requested_by)}, ")
        say_time(viewer, one.requested_at)
        if one.status == "ready" and one.expires_at:
            element("span", "; deleted on ")
            say_time(viewer, one.expires_at, day_only=True)
    if one.error:
        element("p", one.error, "note bad")
    if one.status != "ready":
        return
    counted = [say_count(int(one.counts.get("rows") or 0), "row"), _say_size(one.size_bytes or 0)]
    element("p", ", ".join(counted), "small")
    place = ui.element("div").props('aria-live="polite"')

    async def link() -> None:
        async with officer_session(viewer) as (principal, session):
            made = await exports.make_link(session, principal, one.id)
        path = viewer.service.url_path_for("download_export", export_id=str(one.id))
        place.clear()
        with place, ui.element("p").classes("note"):
            # The token stays out of the page's own address, and goes with the window.
            element("a", "Fetch the zip file").props["href"] = f"{path}?token={made.token}"
            element("span", " until ")
            say_time(viewer, made.expires_at)
            element("span", ". Whoever has this link can read everything in it: hand it to the person alone.")

    button("Make a link for an hour", link)


def _say_size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{max(count, 1) / 1e3:,.1f} kB"
