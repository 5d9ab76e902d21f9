"""What the pages of compliance share: the way between them, the officer's rights asked anew, names, lists that grow."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import RoleMissing
from api.web.parts import button, element
from api.web.viewer import Viewer
from core.errors import AppError, Invalid, NotFound
from db.models import User
from db.session import Principal, Role, tenant_session
from domain.identity import Unauthenticated

Found = TypeVar("Found")

OFFICERS: Final[frozenset[Role]] = frozenset({"compliance"})
SECTIONS: Final = (
    ("/privacy", "Requests"), ("/privacy/holds", "Legal holds"), ("/privacy/receipts", "Receipts"),
    ("/privacy/exports", "Copies"), ("/privacy/audit", "Audit log"), ("/privacy/retention", "Retention"),
)  # fmt: skip
PAGE: Final = 25
"""Rows of a list shown at once."""
SUGGESTED: Final = 8
"""People suggested while somebody types."""

Load = Callable[[str | None], Awaitable[str | None]]
"""Shows the page that begins at the cursor, and returns the cursor of the next."""


class AddressUnknown(NotFound):
    """Nobody here has this e-mail address; choose somebody of those suggested, or give the whole address."""


class NoId(Invalid):
    """There is no id in this; paste the id, or the address of the page that shows it."""


async def require_officer(viewer: Viewer) -> Principal:
    """Return who looks, asked anew; raises `RoleMissing` unless they are compliance, and what `Viewer.check` does.

    Functions of the API that are called here expect this of whoever calls them.
    """
    principal = await viewer.check()
    if principal.role not in OFFICERS:
        raise RoleMissing("Only compliance may do this; ask your organisation's administrator.")
    return principal


@asynccontextmanager
async def officer_session(viewer: Viewer) -> AsyncIterator[tuple[Principal, AsyncSession]]:
    """Yield who looks and one transaction bound to them; raises what `require_officer` does."""
    principal = await require_officer(viewer)
    async with tenant_session(principal) as session:
        yield principal, session


def draw_head(section: str, heading: str, words: str = "") -> TextElement:
    """Begin a page of compliance: where it is among the others, and what it is; return its heading."""
    ui.add_head_html('<link rel="stylesheet" href="/web/privacy.css">')
    with ui.element("nav").classes("sections").props('aria-label="Privacy"'):
        for path, name in SECTIONS:
            link = element("a", name).props(f'href="{path}"')
            if path == section:
                link.props('aria-current="page"')
    with ui.element("div").classes("heading"):
        made = element("h1", heading)
        if words:
            element("p", words)
    return made


@contextmanager
def section(heading: str, words: str = "", classes: str = "") -> Iterator[ui.element]:
    """Add a card with a heading, and fill it."""
    with ui.element("section").classes(f"card stack tight {classes}") as made:
        element("h2", heading)
        if words:
            element("p", words, "soft small")
        yield made


class Grid:
    """A table whose rows become cards on narrow windows; `numbers` are columns of figures."""

    def __init__(self, headings: Sequence[str], *, caption: str, numbers: frozenset[int] = frozenset()) -> None:
        self._headings, self._numbers, self._column = headings, numbers, 0
        with ui.element("div").classes("scroll").props('tabindex="0" role="group"') as frame:
            frame.props["aria-label"] = caption
            with ui.element("table").classes("grid cards").props('role="table"'):
                element("caption", caption, "unseen")
                with ui.element("thead").props('role="rowgroup"'), ui.element("tr").props('role="row"'):
                    for place, heading in enumerate(headings):
                        head = element("th", heading, "number" if place in numbers else "")
                        head.props('scope="col" role="columnheader"')
                self.body = ui.element("tbody").props('role="rowgroup"')
        self.frame = frame

    @contextmanager
    def row(self) -> Iterator[ui.element]:
        """Add a row, and fill it with `cell`."""
        self._column = 0
        with self.body, ui.element("tr").props('role="row"') as made:
            yield made

    def cell(self, words: str = "", classes: str = "") -> TextElement:
        """Add the row's next cell."""
        place, self._column = self._column, self._column + 1
        made = element("td", words, f"{classes} number" if place in self._numbers else classes).props('role="cell"')
        made.props["data-label"] = self._headings[place]
        return made


async def page_through(load: Load) -> None:
    """Show the first page of a list, and the next ones whenever somebody asks for more."""
    following = await load(None)
    if following is None:
        return
    cursors: list[str | None] = [following]

    async def go_on() -> None:
        cursors[0] = await load(cursors[0])
        more.set_visibility(cursors[0] is not None)

    more = button("Show more", go_on, "more")


async def name_people(session: AsyncSession, ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """Return the names of those who are still here."""
    wanted = {one for one in ids if one is not None}
    if not wanted:
        return {}
    rows = await session.execute(select(User.id, User.full_name, User.email).where(User.id.in_(wanted)))
    return {row.id: row.full_name or row.email for row in rows if not row.email.startswith("erased-")}


async def list_addresses(session: AsyncSession, ids: Sequence[UUID | None]) -> list[str]:
    """Return how to name each of these in a field for people: by address, by id once they are gone, or not at all."""
    rows = await session.execute(select(User.id, User.email).where(User.id.in_([one for one in ids if one])))
    known = {row.id: row.email for row in rows}
    return [known.get(one, str(one)) if one else "" for one in ids]


def say_person(names: Mapping[UUID, str], user_id: UUID | None, *, nobody: str = "the service") -> str:
    """Return a person's name, or that they are gone."""
    if user_id is None:
        return nobody
    return names.get(user_id) or f"somebody who is gone ({str(user_id)[-6:]})"


async def search_people(session: AsyncSession, words: str) -> Sequence[tuple[str, str]]:
    """Return address and name with role of a few people whose name or address holds the words."""
    like = "%" + words.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    query = (
        select(User.email, User.full_name, User.role)
        .where(or_(User.full_name.ilike(like), User.email.ilike(like)), User.status != "deleted")
        .order_by(User.full_name, User.email)
        .limit(SUGGESTED)
    )
    return [(row.email, f"{row.full_name}, {row.role}") for row in await session.execute(query)]


async def get_person(session: AsyncSession, address: str) -> User:
    """Return the person with this e-mail address or id; raises `AddressUnknown`."""
    try:
        same = User.id == UUID(address)
    except ValueError:
        same = User.email == func.lower(address)
    found: User | None = await session.scalar(select(User).where(same))
    if found is None:
        raise AddressUnknown
    return found


def count_days(viewer: Viewer, moment: datetime) -> int:
    """Return how many days of the viewer's calendar there are until the moment's, negative once it is over."""
    return (moment.astimezone(viewer.zone).date() - datetime.now(viewer.zone).date()).days


def say_count(count: int, one: str, many: str = "") -> str:
    """Return the count with its noun, such as 1 row or 2,000 rows."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def say_code(words: str, classes: str = "") -> TextElement:
    """Add an id or a hash, which may be broken anywhere."""
    return element("code", words, f"code {classes}")


async def ask_in(place: ui.element, pressed: ui.element, ask: Callable[[], Awaitable[Found]]) -> Found | None:
    """Return what is asked for, with the place cleared for it; None where it says why there is nothing.

    The button that asks is off meanwhile.
    """
    pressed.props('disabled aria-busy="true"')
    try:
        found = await ask()
    except Unauthenticated:
        raise
    except AppError as error:
        place.clear()
        with place:
            element("p", error.message, "note bad")
        return None
    finally:
        pressed.props(remove="disabled aria-busy")
    place.clear()
    return found
