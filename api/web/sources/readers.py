"""Who may read a source: chosen by who may decide it, told beforehand what becomes stale."""

from collections.abc import Awaitable, Callable, Sequence

from nicegui import ui
from nicegui.events import GenericEventArguments

from api.routes.readers import get_readers, put_readers
from api.schemas.readers import ReadersIn, StandingOut
from api.web.parts import button, element, notify
from api.web.sources.words import VISIBILITIES, add_choice, count
from api.web.viewer import Viewer
from core.errors import AppError
from domain.sources import SourceView, list_clients


class ReadersForm:
    """The choice of visibility and client of one source, and what changing it takes along."""

    def __init__(self, viewer: Viewer, source: SourceView, on_changed: Callable[[], Awaitable[None]]) -> None:
        self._viewer = viewer
        self._source = source
        self._on_changed = on_changed
        self._visibility, self._client = source.visibility, ""
        self._was = (source.visibility, "")
        self._standing = StandingOut(claims=0, patterns=0, insights=0, packs=0)

    async def draw(self) -> None:
        """Draw it for what is stored now; who may not decide is told who does."""
        async with self._viewer.session() as session:
            known = await get_readers(self._source.object_id, session)
            clients = await list_clients(session)
        self._standing = known.standing
        self._client = next((email for user_id, email, _ in clients if user_id == known.client_id), "")
        self._visibility = known.visibility
        self._was = (self._visibility, self._client)
        if not known.may_change:
            words = (
                "Who reads it is decided where it was written."
                if self._source.is_content
                else "This is for the whole organisation; an administrator decides who reads it."
            )
            element("p", words, "soft small")
            return
        own = str(self._source.object_id)
        self._frame = ui.element("div").classes("readers").props('role="group" aria-label="Readers"')
        with self._frame:
            with ui.element("div").classes("readers-choices"):
                self._draw_visibility(f"visibility-{own}")
                self._draw_client(
                    f"client-{own}", clients, is_fixed=self._source.kind == "transcript" and bool(self._client)
                )
            self._place = ui.element("div").classes("stack tight").props('aria-live="polite"')

    def _draw_visibility(self, name: str) -> None:
        offered = [one for one in VISIBILITIES if one != "system_internal"]
        if self._viewer.role == "coach":
            offered.remove("admin_aggregate")
        if self._visibility not in offered:
            offered.insert(0, self._visibility)
        made = add_choice("Who may read it", name, [(one, VISIBILITIES[one]) for one in offered], self._visibility)

        def choose(event: GenericEventArguments) -> None:
            self._visibility = str(event.args)
            self._say_what_follows()

        made.on("change", choose, js_handler="(e) => emit(e.target.value)")

    def _draw_client(self, name: str, clients: Sequence[tuple[object, str, str]], *, is_fixed: bool) -> None:
        nobody = "Nobody: for me alone" if self._viewer.role == "coach" else "The whole organisation"
        options = [("", nobody), *((email, full_name) for _, email, full_name in clients)]
        made = add_choice("About", name, options, self._client)
        if is_fixed:
            made.props["disabled"] = True
            made.props["aria-describedby"] = f"fixed-{name}"
            element("p", "A session stays its client's.", "soft small fixed-client").props["id"] = f"fixed-{name}"

        def choose(event: GenericEventArguments) -> None:
            self._client = str(event.args or "")
            self._say_what_follows()

        made.on("change", choose, js_handler="(e) => emit(e.target.value)")

    def _say_what_follows(self) -> None:
        self._place.clear()
        if (self._visibility, self._client) == self._was:
            return
        with self._place:
            follows = "From the next read on it is there only for who may read it, in old answers and shared links too."
            hides = self._viewer.role == "admin" and (self._visibility == "coach_only" or self._client)
            yours = " You will not see it in your own list any more." if hides else ""
            element("p", f"{_say_standing(self._standing)} {follows}{yours}", "note warn")
            with ui.element("div").classes("line"):
                button("Change who may read it", self._save, "main")

    async def _save(self) -> None:
        try:
            wanted = ReadersIn.model_validate({"visibility": self._visibility, "client": self._client or None})
            principal = await self._viewer.check()
            changed = await put_readers(self._source.object_id, wanted, principal, self._viewer.settings)
        except AppError as error:
            with self._place:
                element("p", error.message, "note bad").props["role"] = "alert"
            return
        self._place.clear()
        became = sum((changed.standing.claims, changed.standing.patterns, changed.standing.insights))
        with self._frame:  # what was clicked is gone
            anew = "; what still stands is derived anew in about a minute."
            said = f" {count(became, 'row')} of evidence became stale{anew}" if became else ""
            notify(f"Who may read it is changed.{said}")
        self._was = self._visibility, self._client
        self._standing = StandingOut(claims=0, patterns=0, insights=0, packs=0)
        await self._on_changed()


def _say_standing(standing: StandingOut) -> str:
    """Say what stands on a source and what becomes of it."""
    parts = [
        count(number, noun)
        for number, noun in (
            (standing.claims, "claim"), (standing.patterns, "pattern"), (standing.insights, "insight"),
            (standing.packs, "prepared answer"),
        ) if number
    ]  # fmt: skip
    if not parts:
        return "Nothing was derived from it yet, so nothing becomes stale."
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return (
        f"On this stand {listed}: all of it becomes stale at once, and is derived anew where its readers may read it."
    )
