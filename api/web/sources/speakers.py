"""Who speaks in a transcript: its labels with how each begins, and beside each the choice of who that is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from pydantic import ValidationError
from sqlalchemy import select

from api.routes.speakers import get_speakers, patch_speakers
from api.schemas.speakers import SpeakerOut, SpeakersIn, SpeakersOut
from api.web.parts import button, element, notify
from api.web.sources.reading import focus_on
from api.web.sources.words import add_choice, count
from api.web.viewer import Viewer
from core.errors import AppError
from db.models import User

NOBODY: Final = "nobody"
ADDRESS: Final = "address"
KEPT: Final = "kept"
"""What is chosen beside `client`, `coach` and addresses: nobody known here, an address to be typed, who it is now."""


@dataclass(slots=True)
class _Choice:
    """What is chosen for one label; `known` is what is stored."""

    label: str
    known: str
    chosen: str
    address: str = ""

    @property
    def person(self) -> str | None:
        """Whom it names, as the API takes it."""
        return None if self.chosen == NOBODY else self.address.strip() if self.chosen == ADDRESS else self.chosen

    @property
    def is_new(self) -> bool:
        """Whether it says something that is not stored."""
        return self.chosen not in ("", KEPT, self.known)


class SpeakersForm:
    """The labels of one transcript, each with a choice; `on_said` is told when something was stored."""

    def __init__(self, viewer: Viewer, object_id: UUID, on_said: Callable[[], Awaitable[None]]) -> None:
        self._viewer = viewer
        self._object_id = object_id
        self._on_said = on_said
        self._people: dict[UUID, tuple[str, str]] = {}
        self._choices: list[_Choice] = []
        self._is_asked = False
        self._frame = ui.element("div").classes("speakers")

    async def draw(self, *, only_asked: bool = False) -> None:
        """Draw it for what is stored now; nothing for who may not say it, or `only_asked` where nobody needs to."""
        async with self._viewer.session() as session:
            known = await get_speakers(self._object_id, session)
            people = {known.client_id, known.coach_id, self._viewer.principal.user_id}
            wanted = {one for one in people | {each.user_id for each in known.speakers} if one is not None}
            rows = await session.execute(select(User.id, User.email, User.full_name).where(User.id.in_(wanted)))
            self._people = {row.id: (row.email, row.full_name or row.email) for row in rows}
        self._frame.clear()
        if not known.may_say or (only_asked and not known.is_asked):
            return
        self._choices, self._is_asked = [], known.is_asked
        with self._frame:
            self._draw_heading(known, "h2" if only_asked else "h3")
            if known.speakers:
                with ui.element("ul").classes("plain speakers-list"):
                    for number, one in enumerate(known.speakers):
                        self._draw_speaker(known, one, f"speaker-{number}-{self._object_id}")
                self._place = ui.element("div").classes("stack tight").props('aria-live="polite"')
                with ui.element("div").classes("line"):
                    made = button("Save who speaks", self._save, "main" if known.is_asked else "")
                    made.props["id"] = f"save-speakers-{self._object_id}"

    def _draw_heading(self, known: SpeakersOut, tag: str) -> None:
        element(tag, "Who speaks?" if known.is_asked else "Who speaks")
        if not known.speakers:
            words = "The file names no speakers, so nobody can say who they are."
        elif known.is_asked:
            client = self._people.get(known.client_id or UUID(int=0), ("", "the client"))[1]
            words = f"Until this is said, nothing counts as {client}'s own words."
        else:
            words = "What was derived from turns whose speaker changes becomes stale, and is derived anew."
        element("p", words, "soft small")

    def _draw_speaker(self, known: SpeakersOut, one: SpeakerOut, name: str) -> None:
        options = self._list_options(known, one)
        stored = self._find_stored(known, one)
        choice = _Choice(one.label, stored, stored or one.suggested or "")
        self._choices.append(choice)
        with ui.element("li").classes("speaker"):
            with ui.element("div"):
                with ui.element("p").classes("turn-head"):
                    element("b", one.label)
                    element("span", count(one.turns, "turn"), "soft small")
                element("p", f"“{_shorten(one.first_words)}”", "soft small")
            with ui.element("div").classes("stack tight"):
                made = add_choice(f"Who is {one.label}?", name, options, choice.chosen)
                with ui.element("div").classes("field") as field:
                    element("label", f"E-mail address of {one.label}").props["for"] = f"{name}-address"
                    box = ui.element("input")
                    box.props["id"], box.props["type"], box.props["maxlength"] = f"{name}-address", "email", 254
                field.set_visibility(False)

        def choose(event: GenericEventArguments) -> None:
            choice.chosen = str(event.args or "")
            field.set_visibility(choice.chosen == ADDRESS)

        def write(event: GenericEventArguments) -> None:
            choice.address = str(event.args or "")[:254]

        made.on("change", choose, js_handler="(e) => emit(e.target.value)")
        box.on("change", write, js_handler="(e) => emit(e.target.value)")

    def _list_options(self, known: SpeakersOut, one: SpeakerOut) -> list[tuple[str, str]]:
        """Return whom a label may be: those of the session first, somebody else last."""
        own = self._viewer.principal.user_id
        options = [] if self._find_stored(known, one) else [("", "Choose…")]
        if known.client_id is not None:
            options.append(("client", f"{self._say_name(known.client_id, 'The client')} (client)"))
        if known.coach_id is not None:
            name = "Me" if known.coach_id == own else self._say_name(known.coach_id, "Their coach")
            options.append(("coach", f"{name} (coach)"))
        if own is not None and own != known.coach_id and self._viewer.role == "coach":
            options.append((self._people[own][0], "Me"))
        if one.user_id is not None and one.user_id not in (known.client_id, known.coach_id, own):
            email, name = self._people.get(one.user_id, (KEPT, "Another user"))
            options.append((email, name))
        return [*options, (NOBODY, "Somebody else"), (ADDRESS, "Another user, by e-mail address")]

    def _find_stored(self, known: SpeakersOut, one: SpeakerOut) -> str:
        if one.user_id is None:
            return NOBODY if one.is_said else ""
        if one.user_id in (known.client_id, known.coach_id):
            return "client" if one.user_id == known.client_id else "coach"
        return self._people.get(one.user_id, (KEPT, ""))[0]

    def _say_name(self, user_id: UUID, otherwise: str) -> str:
        return self._people.get(user_id, ("", otherwise))[1]

    def _say_missing(self, said: dict[str, str | None]) -> str | None:
        """Return what is still to be chosen: once something is said, nobody is asked for the rest."""
        if not said:
            return "Nothing is changed; choose who somebody is."
        waiting = next((one.label for one in self._choices if not one.chosen), None)
        if self._is_asked and waiting is not None and "client" not in {one.chosen for one in self._choices}:
            return f"Choose who {waiting} is too, or who of them the client is."
        return None

    async def _save(self) -> None:
        said = {one.label: one.person for one in self._choices if one.is_new}
        self._place.clear()
        if (missing := self._say_missing(said)) is not None:
            with self._place:
                element("p", missing, "note").props["role"] = "status"
            return
        try:
            principal = await self._viewer.check()
            await patch_speakers(self._object_id, SpeakersIn(speakers=said), principal, self._viewer.settings)
        except (AppError, ValidationError) as error:
            words = error.message if isinstance(error, AppError) else "This can't be used; check the e-mail addresses."
            with self._place:
                element("p", words, "note bad").props["role"] = "alert"
            return
        await self._on_said()
        with self._frame:
            notify("Who speaks is saved. Claims of this session are derived anew in about a minute.")
        await self.draw()
        with self._frame:
            focus_on(f"save-speakers-{self._object_id}")


def _shorten(words: str, most: int = 90) -> str:
    """Return the first words of a turn, cut where a word ends."""
    flat = " ".join(words.split())
    if len(flat) <= most:
        return flat
    return f"{flat[:most].rsplit(' ', 1)[0]}…"
