"""The evidence packs of a client on their coach's page: those there are, and gathering a new one."""

from typing import Final

from nicegui import ui
from nicegui.events import GenericEventArguments
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.pagination import Page
from api.routes.evidence import list_packs, post_pack
from api.schemas.evidence import PackIn, PackOut, PackSummaryOut
from api.web.clients.pack import say_searched
from api.web.clients.shown import FORM, Listing, Shown, heading
from api.web.parts import button, element, say_time
from core.errors import AppError
from domain.identity import Unauthenticated
from domain.packs import MOST_QUESTION, PackUnusable

FIRST: Final = 5
"""Packs shown before more are asked for."""


async def draw_packs(shown: Shown, session: AsyncSession) -> None:
    """Add the coach's packs of this client, the newest first, and a way to gather another."""

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[PackSummaryOut]:
        return await list_packs(session, shown.client_id, limit, cursor)

    with ui.element("section").classes("card").props("aria-labelledby=packs"):
        with ui.element("div").classes("section-head"):
            heading("Evidence packs", "packs")
            opener = button("Gather evidence", icon="add")
        Gathering(shown, opener)
        listing = Listing(
            shown, fetch, lambda one: _draw_pack(shown, one), classes="plain", first=FIRST,
            empty="None yet. A pack keeps what you could see at one moment, to come back to and to share.",
        )  # fmt: skip
        await listing.fill(session)


def _draw_pack(shown: Shown, pack: PackSummaryOut) -> None:
    with ui.element("li").classes("claim"):
        with ui.element("p"):
            words = pack.question or f"All evidence of {shown.first_name}"
            element("a", words, "clamped").props["href"] = f"/packs/{pack.id}"
        with ui.element("p").classes("small soft"):
            say_time(shown.viewer, pack.created_at)
            searched = say_searched(pack.sessions_in_scope, pack.sessions_examined, pack.sessions_supporting)
            element("span", f" · {searched}")


class Gathering:
    """A form that `opener` shows: what to gather for, everything where nothing is asked."""

    def __init__(self, shown: Shown, opener: ui.element) -> None:
        self._shown, self._opener = shown, opener
        self._form = ui.element("form").classes("stack tight gathering").props("novalidate")
        self._form.set_visibility(False)
        self._form.on("submit.prevent", self._submit, js_handler=FORM)
        opener.props["aria-controls"] = self._form.html_id
        opener.on("click", self._turn)
        self._tell_state()
        with self._form:
            with ui.element("div").classes("field"):
                label = element("label", "For which question? (if any)")
                self._field = ui.element("textarea")
                self._field.props(f"name=question rows=2 maxlength={MOST_QUESTION} aria-describedby=gathering-help")
                label.props["for"] = self._field.html_id
            element(
                "p", f"Without one, the pack holds all evidence of {shown.first_name} that you may see. The same "
                "evidence again is the same pack.", "soft small",
            ).props["id"] = "gathering-help"  # fmt: skip
            self._wrong = element("p", "", "note bad small").props('role="alert"')
            self._wrong.set_visibility(False)
            with ui.element("div").classes("line"):
                self._send = ui.element("button").classes("button main").props('type="submit"')
                with self._send:
                    element("span", "Gather it")
                button("Cancel", self._turn)

    def _turn(self) -> None:
        self._form.set_visibility(not self._form.visible)
        self._tell_state()
        target = self._field if self._form.visible else self._opener
        ui.run_javascript(f"getHtmlElement({target.id})?.focus()")

    def _tell_state(self) -> None:
        self._opener.props["aria-expanded"] = "true" if self._form.visible else "false"

    async def _submit(self, event: GenericEventArguments) -> None:
        given = event.args if isinstance(event.args, dict) else {}
        self._wrong.set_visibility(False)
        self._send.props('disabled aria-busy="true"')
        try:
            made = await self._gather(str(given.get("question") or "").strip())
        except Unauthenticated:
            raise
        except AppError as error:
            self._wrong.set_text(error.message)
            self._wrong.set_visibility(True)
            return
        finally:
            self._send.props(remove="disabled aria-busy")
        ui.navigate.to(f"/packs/{made.id}")

    async def _gather(self, question: str) -> PackOut:
        try:
            body = PackIn(client_id=self._shown.client_id, question=question or None)
        except ValidationError as error:
            raise PackUnusable from error
        principal = await self._shown.viewer.check()
        async with self._shown.session() as session:
            return await post_pack(body, principal, session, self._shown.viewer.assistant)
