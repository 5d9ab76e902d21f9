"""Forms of compliance's pages: plain fields that are sent together, what is wrong told beside them, and the subject."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.schemas.privacy import Reason
from api.schemas.text import clean_text
from api.web.parts import element
from api.web.privacy.parts import NoId, get_person, officer_session, search_people
from api.web.viewer import Viewer
from core.errors import AppError, Invalid
from db.session import Principal
from domain.identity import Unauthenticated
from domain.privacy import SubjectKind

KINDS: Final[Mapping[str, str]] = {
    "person": "A person", "session": "A coaching session", "document": "A document or transcript",
    "tenant": "The whole organisation",
}  # fmt: skip
MOST: Final = 2000
Values = Mapping[str, str]

_ID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_REASON: Final[TypeAdapter[str]] = TypeAdapter(Reason)
_SEND: Final = "(event) => { event.preventDefault(); emit(Object.fromEntries(new FormData(event.target))); }"
_VALUE: Final = "(event) => emit(event.target.value)"


class ReasonMissing(Invalid):
    """Give a reason in words, at most 2,000 characters."""


class NameMistyped(Invalid):
    """That is not your organisation's name; nothing was done."""


@contextmanager
def form(label: str, send: str, on_send: Callable[[Values], Awaitable[None]], classes: str = "main") -> Iterator[None]:
    """Add a form to fill with fields; `on_send` gets their words by name, and what it raises is told in the form."""
    with ui.element("form").classes("form stack tight") as made:
        made.props["aria-label"] = label
        yield
        said = element("p", "", "note bad").props('role="alert"')
        said.set_visibility(False)
        with ui.element("div"), ui.element("button").classes(f"button {classes}").props('type="submit"') as sender:
            element("span", send)

    async def receive(event: GenericEventArguments) -> None:
        said.set_visibility(False)
        sender.props('disabled aria-busy="true"')
        try:
            await on_send({str(name): str(clean_text(str(words))).strip() for name, words in dict(event.args).items()})
        except Unauthenticated:
            raise
        except AppError as error:
            if made.is_deleted:
                raise
            said.set_text(error.message)
            said.set_visibility(True)
        finally:
            if not made.is_deleted:
                sender.props(remove="disabled aria-busy")

    made.on("submit", receive, js_handler=_SEND)


@contextmanager
def _field(label: str, hint: str = "") -> Iterator[ui.element]:
    with ui.element("div").classes("field") as made:
        named = element("label", label)
        yield made
        control = next(child for child in made.default_slot.children if child is not named)
        named.props["for"] = control.html_id
        if hint:
            told = element("p", hint, "soft small")
            control.props["aria-describedby"] = told.html_id


def text_field(
    label: str, name: str, *, kind: str = "text", value: str = "", hint: str = "", required: bool = False
) -> ui.element:
    """Add a line to write in; `kind` is the type of the input."""
    with _field(label, hint):
        made = ui.element("input").props(f'type="{kind}" name="{name}" maxlength="200" autocomplete="off"')
        if kind == "number":
            made.props('min="1" max="36500" inputmode="numeric"')
        if value:
            made.props["value"] = value
        if required:
            made.props("required")
    return made


def area(label: str, name: str, *, hint: str = "", required: bool = False) -> None:
    """Add room for some sentences."""
    with _field(label, hint):
        made = ui.element("textarea").props(f'name="{name}" rows="3" maxlength="{MOST}"')
        if required:
            made.props("required")


def choice(
    label: str,
    name: str,
    options: Mapping[str, str],
    *,
    value: str = "",
    on_change: Callable[[str], None] | None = None,
) -> None:
    """Add a list to choose from, by value and words."""
    with _field(label), ui.element("select").props(f'name="{name}"') as made:
        for one, words in options.items():
            option = element("option", words)
            option.props["value"] = one
            if one == value:
                option.props("selected")
    if on_change is not None:
        made.on("change", lambda event: on_change(str(event.args)), js_handler=_VALUE)


def tick(words: str, name: str) -> None:
    """Add a box that has to be ticked before the form can be sent."""
    with ui.element("label").classes("tick"):
        ui.element("input").props(f'type="checkbox" name="{name}" required')
        element("span", words)


def person_field(
    viewer: Viewer, label: str, name: str, *, value: str = "", hint: str = "", required: bool = False
) -> None:  # fmt: skip
    """Add a line for a person's address, with suggestions by name while somebody types."""
    made = text_field(label, name, value=value, required=required, hint=hint)
    found = ui.element("datalist")
    made.props["list"] = found.html_id

    async def suggest(event: GenericEventArguments) -> None:
        words = str(event.args).strip()
        async with officer_session(viewer) as (_, session):
            people = await search_people(session, words) if words else []
        found.clear()
        with found:
            for address, told in people:
                element("option", told).props["value"] = address

    made.on("input", suggest, throttle=0.4, leading_events=False, js_handler=_VALUE)


def subject_fields(viewer: Viewer, *, confirm: bool) -> None:
    """Add the choice of what it is about, and the field that names it; `confirm` asks for the organisation's name."""

    def draw(kind: str) -> None:
        named.clear()
        with named:
            if kind == "person":
                person_field(
                    viewer, "Person", "subject", required=True, hint="Begin to type a name, or give the e-mail address."
                )
            elif kind != "tenant":
                noun = "session" if kind == "session" else "document or transcript"
                text_field(
                    f"Id of the {noun}", "subject", required=True,
                    hint="The id, or the address of the page that shows it; whoever asks can copy it there.",
                )  # fmt: skip
            elif confirm:
                text_field(
                    "Name of the organisation", "subject", required=True,
                    hint=f"This is about everything there is. Type {viewer.organisation} to go on.",
                )  # fmt: skip

    choice("What it is about", "kind", KINDS, value="person", on_change=draw)
    named = ui.element("div")
    draw("person")


async def read_subject(
    viewer: Viewer, principal: Principal, session: AsyncSession, values: Values, *, confirm: bool
) -> tuple[SubjectKind, UUID]:
    """Return what the fields of `subject_fields` name; raises `AddressUnknown`, `NoId`, `NameMistyped`."""
    kind = values.get("kind", "")
    if kind not in KINDS:
        raise Invalid
    words = values.get("subject", "")
    if kind == "person":
        return "person", (await get_person(session, words)).id
    if kind == "tenant":
        if confirm and words != viewer.organisation:
            raise NameMistyped
        return "tenant", principal.tenant_id
    return cast(SubjectKind, kind), read_id(words)


def read_id(words: str) -> UUID:
    """Return the last id in the words, such as an address; raises `NoId`."""
    found = _ID.findall(words)
    if not found:
        raise NoId
    return UUID(found[-1])


def read_reason(values: Values) -> str:
    """Return the reason that was written; raises `ReasonMissing`."""
    try:
        return _REASON.validate_python(values.get("reason", ""))
    except ValidationError as error:
        raise ReasonMissing from error
