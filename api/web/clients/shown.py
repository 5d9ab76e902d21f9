"""What the pages of one client share: their transaction, lists that grow, choices."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.clients.open_page import OpenPage
from api.web.parts import button, element
from api.web.viewer import Viewer
from core.errors import NotFound
from domain.evidence import ClientEvidenceNotFound
from domain.evidence_counts import get_client_name

MORE: Final = 10
"""Items of a list that come at a time when more are asked for."""
FORM: Final = "(event) => emit(Object.fromEntries(new FormData(event.target)))"
"""Hands over what was filled in of a form that is submitted."""

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class ClientGone(NotFound):
    """This client is not, or no longer, one of yours to read; the list of clients shows who is."""


class SomeOf(Protocol[Item_co]):
    """Some of a list, as routes return it."""

    @property
    def items(self) -> Sequence[Item_co]:
        """In their order."""

    @property
    def next_cursor(self) -> str | None:
        """Where the rest begins."""


def read_id(given: str, missing: type[NotFound] = ClientGone) -> UUID:
    """Return the id in a page's address; raises `missing` for anything else."""
    try:
        return UUID(given)
    except ValueError as error:
        raise missing from error


class Shown(OpenPage):
    """One client on one open page: asks at every step whether the viewer may still read them, else puts the page away.

    `ahead` narrows what is listed to what may be shown to the client, for a coach who looks ahead.
    """

    def __init__(self, viewer: Viewer, client_id: UUID, name: str, *, ahead: bool = False) -> None:
        super().__init__(viewer)
        self.client_id = client_id
        self.name = name
        self.first_name = name.partition(" ")[0]
        self.ahead = ahead

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Yield a transaction of the viewer in which the client may be read; raises `ClientGone` where not."""
        try:
            async with self.viewer.session() as session:
                await get_client_name(session, self.client_id)
                yield session
        except ClientEvidenceNotFound as error:
            words = f"You may no longer read what is about {self.name}, so nothing of it is shown here."
            self.put_away(words, "To your clients", "/clients")
            raise ClientGone from error


class Listing(Generic[Item]):
    """A list of the `first` few that grows by a button, and says so where there is nothing."""

    def __init__(
        self, page: OpenPage, fetch: Callable[[AsyncSession, int, str | None], Awaitable[SomeOf[Item]]],
        draw: Callable[[Item], object], *, first: int, empty: str, classes: str = "plain stack tight", tag: str = "ul",
    ) -> None:  # fmt: skip
        self._page, self._fetch, self._draw = page, fetch, draw
        self._first = first
        self._list = ui.element(tag).classes(classes)
        self._none = element("p", empty, "soft")
        self._said = element("p", "", "unseen").props('role="status"')
        self._more = button("Show more", self._add, "more")
        self._cursor: str | None = None

    async def fill(self, session: AsyncSession) -> None:
        """Show the first of it, in place of what is shown."""
        self.show(await self._fetch(session, self._first, None))

    def show(self, found: SomeOf[Item]) -> None:
        """Show these, in place of what is shown."""
        self._list.clear()
        self._append(found)

    async def start_over(self) -> None:
        """Show the first of it in a transaction of its own, such as after another choice."""
        async with self._page.session() as session:
            await self.fill(session)
        self._say()

    async def _add(self) -> None:
        async with self._page.session() as session:
            found = await self._fetch(session, MORE, self._cursor)
        self._append(found)
        self._say()

    def _append(self, found: SomeOf[Item]) -> None:
        with self._list:
            for one in found.items:
                self._draw(one)
        count = len(self._list.default_slot.children)
        self._list.set_visibility(count > 0)
        self._none.set_visibility(count == 0)
        self._cursor = found.next_cursor
        self._more.set_visibility(found.next_cursor is not None)

    def _say(self) -> None:
        count = len(self._list.default_slot.children)
        self._said.set_text(f"{count} shown{', there are more' if self._cursor else ''}" if count else "Nothing")


def choice(label: str, options: Mapping[str, str], on_choose: Callable[[str], Awaitable[None]]) -> None:
    """Add a labelled choice of values by their words, the first one chosen; what is none of them is not passed on."""
    with ui.element("div").classes("choice line"):
        name = element("label", label, "small")
        select = ui.element("select")
        name.props["for"] = select.html_id
        with select:
            for value, words in options.items():
                element("option", words).props["value"] = value

    async def choose(event: GenericEventArguments) -> None:
        if event.args in options:
            await on_choose(event.args)

    select.on("change", choose, js_handler="(event) => emit(event.target.value)")


def heading(words: str, anchor: str) -> None:
    """Add a section's heading that links of the page lead to."""
    element("h2", words).props(f"id={anchor} tabindex=-1")


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as 1 session or 4 sessions."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
