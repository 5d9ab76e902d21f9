"""The page of sources: what the organisation's answers stand on, how far each has come, and adding more."""

import json
from typing import Any, Final, get_args
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments

import api.web.sources.document
import api.web.sources.transcript  # noqa: F401  # importing serves the sources' own pages
from api.pagination import fetch_page
from api.web.frame import page
from api.web.parts import button, element
from api.web.sources.row import SourceRow
from api.web.sources.upload import draw_upload
from api.web.sources.words import KINDS, add_choice, count
from api.web.viewer import Viewer
from db.models import IngestedObject
from domain.sources import SourceState, list_clients, list_stages, read_source, select_sources

PAGE: Final = 25
LOOK_S: Final = 2.0
"""How often what is being worked on is looked at again."""
CHECK_S: Final = 20.0
"""How often all that is shown is: what its viewer may not see any more goes."""
_STATES: Final = (
    ("", "All of them"), ("ready", "Ready"), ("working", "On its way"), ("failed", "Failed"),
    ("gone", "No longer there"),
)  # fmt: skip


@page("/sources", title="Sources", roles=frozenset({"coach", "admin"}))
async def show_sources(viewer: Viewer, q: str = "", kind: str = "", about: str = "", state: str = "") -> None:
    """Show the list, narrowed by what the address says."""
    ui.add_head_html('<link rel="stylesheet" href="/web/sources.css"><script src="/web/sources.js" defer></script>')
    async with viewer.session() as session:
        clients = await list_clients(session)
    sources = Sources(viewer, [(str(user_id), name) for user_id, _, name in clients])
    sources.narrow(words=q, kind=kind, client=about, state=state)
    with ui.element("div").classes("heading"):
        element("h1", "Sources")
        element("p", "What answers stand on: every sentence leads back to one of these.")
        opener = button("Add files", classes="main", icon="add")
        opener.props["aria-expanded"], opener.props["aria-controls"] = "false", "upload"
    upload = draw_upload(viewer, [(email, name) for _, email, name in clients])
    upload.set_visibility(False)

    def turn() -> None:
        upload.set_visibility(not upload.visible)
        opener.props["aria-expanded"] = "true" if upload.visible else "false"

    opener.on("click", turn)
    upload.on("uploaded", sources.take_in, args=[])
    sources.draw()
    await sources.reload()
    ui.timer(LOOK_S, sources.look_again, immediate=False)
    ui.timer(CHECK_S, sources.look_at_all, immediate=False)


class Sources:
    """The list as it is narrowed, a page at a time, the newest first."""

    def __init__(self, viewer: Viewer, clients: list[tuple[str, str]]) -> None:
        self._viewer = viewer
        self._clients = clients
        self._chosen: dict[str, str] = {}
        self._rows: dict[UUID, SourceRow] = {}
        self._cursor: str | None = None
        self._asked = 0

    def narrow(self, *, words: str, kind: str, client: str, state: str) -> None:
        """Choose from the start; what there is not is left out."""
        known = {user_id for user_id, _ in self._clients}
        self._chosen = {
            "words": words[:200], "kind": kind if kind in KINDS else "", "client": client if client in known else "",
            "state": state if state in get_args(SourceState) else "",
        }  # fmt: skip

    def draw(self) -> None:
        """Draw the filters and the places of what is found."""
        with ui.element("search").classes("filters"):
            with ui.element("div").classes("field"):
                element("label", "Title, file or client").props["for"] = "find"
                box = ui.element("input")
                box.props["id"], box.props["type"], box.props["maxlength"] = "find", "search", 200
                if self._chosen["words"]:  # no property: every drawing would write it over what is typed since
                    ui.run_javascript(f"document.getElementById('find').value = {json.dumps(self._chosen['words'])}")
                self._follow(box, "words", "input")
            self._follow(add_choice("Kind", "kind", [("", "All kinds"), *KINDS.items()], self._chosen["kind"]), "kind")
            if self._clients:
                options = [("", "All clients"), *self._clients]
                self._follow(add_choice("Client", "client", options, self._chosen["client"]), "client")
            self._follow(add_choice("State", "state", _STATES, self._chosen["state"]), "state")
        self._said = element("p", "", "soft small found").props('role="status"')
        self._list = ui.element("ul").classes("plain sources").props('aria-label="Sources"')
        self._rest = ui.element("div").classes("rest")

    def _follow(self, box: ui.element, name: str, event: str = "change") -> None:
        async def choose(given: GenericEventArguments) -> None:
            self._chosen[name] = str(given.args or "")[:200]
            await self.reload()

        box.on(event, choose, throttle=0.3, leading_events=event == "change", js_handler="(e) => emit(e.target.value)")

    def _select(self) -> Any:  # noqa: ANN401  # a Select
        return select_sources(
            words=self._chosen["words"], kind=self._chosen["kind"] or None,
            client_id=UUID(self._chosen["client"]) if self._chosen["client"] else None,
            state=self._chosen["state"] or None,  # type: ignore[arg-type]  # one of those offered
        )  # fmt: skip

    async def reload(self) -> None:
        """List from the beginning; of two questions asked in a row only the last one's answer is shown."""
        self._asked += 1
        await self._fetch(self._asked, None)

    async def _show_more(self) -> None:
        await self._fetch(self._asked, self._cursor)

    async def _fetch(self, asked: int, cursor: str | None) -> None:
        order = (IngestedObject.created_at, IngestedObject.id)
        async with self._viewer.session() as session:
            rows, more = await fetch_page(session, self._select(), order=order, limit=PAGE, cursor=cursor)
            views = [read_source(row) for row in rows]
            stages = await list_stages(session, [one.object_id for one in views])
        if asked != self._asked:
            return
        if cursor is None:
            self._rows = {}
            self._list.clear()
        with self._list:
            for one in views:
                self._rows[one.object_id] = SourceRow(
                    self._viewer, one, stages.get(one.object_id, []), self.look_at_all
                )
        self._cursor = more
        self._say()

    def _say(self) -> None:
        shown = len(self._rows)
        words = "Nothing found; change what you look for, or add files." if any(self._chosen.values()) else (
            "There is nothing here yet. Add the first transcript or document."
        )  # fmt: skip
        self._said.set_text(f"{count(shown, 'source')}{' so far' if self._cursor else ''}" if shown else words)
        self._rest.clear()
        if self._cursor:
            with self._rest:
                button("Show more", self._show_more)

    async def take_in(self) -> None:
        """Put what came since on top; what is opened below stays as it is."""
        order = (IngestedObject.created_at, IngestedObject.id)
        async with self._viewer.session() as session:
            rows, _ = await fetch_page(session, self._select(), order=order, limit=PAGE, cursor=None)
        with self._list:
            for view in reversed([read_source(row) for row in rows]):
                if view.object_id not in self._rows:
                    row = SourceRow(self._viewer, view, [], self.look_at_all)
                    row.frame.move(target_index=0)
                    self._rows = {view.object_id: row, **self._rows}
        self._say()

    async def look_again(self) -> None:
        """Look at what is being worked on."""
        await self._look([object_id for object_id, row in self._rows.items() if row.is_moving])

    async def look_at_all(self) -> None:
        """Look at everything shown; what the viewer may not see any more goes."""
        await self._look(list(self._rows))

    async def _look(self, object_ids: list[UUID]) -> None:
        if not object_ids:
            return
        async with self._viewer.session() as session:
            rows = (await session.execute(select_sources(object_ids=object_ids))).all()
            views = {view.object_id: view for view in map(read_source, rows)}
            stages = await list_stages(session, object_ids)
        for object_id in object_ids:
            row = self._rows.get(object_id)
            if row is None:
                continue
            if object_id in views:
                row.update(views[object_id], stages.get(object_id, []))
            else:
                row.frame.delete()
                del self._rows[object_id]
                self._say()
