"""A part of the operations page that loads, fails and is refreshed on its own, and how its figures are written."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Final, Generic, Literal, Protocol, TypeVar

from nicegui import ui

from api.web.parts import button, element, icon_button
from api.web.viewer import Viewer
from core.errors import AppError
from domain.identity import Unauthenticated

Loaded = TypeVar("Loaded")

_DIED: Final = "The process that worked on this ended in the middle of it; run it again."
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that asks for the administrator, and the part of the page that tells more of it."""

    level: Literal["bad", "warn"]
    words: str


class Section(Generic[Loaded]):
    """A heading and what is loaded under it; `fetch` reads, and `draw` shows what was read."""

    def __init__(
        self, viewer: Viewer, name: str, title: str, fetch: Callable[[], Awaitable[Loaded]],
        draw: Callable[[Loaded], None], *, find_concerns: Callable[[Loaded], list[Concern]] = lambda _: [],
    ) -> None:  # fmt: skip
        self.name, self.title = name, title
        self.concerns: list[Concern] = []
        self.loaded: Loaded | None = None
        self._viewer, self._fetch, self._draw, self._find_concerns = viewer, fetch, draw, find_concerns
        self._on_load: list[Callable[[], None]] = []
        with ui.element("section").classes("card ops-section").props(f'id="{name}" aria-labelledby="{name}-title"'):
            with ui.element("div").classes("ops-head"):
                element("h2", title).props(f'id="{name}-title" tabindex="-1"')
                self._asked_at = element("span", "", "soft small")
                icon_button("refresh", f"Refresh: {title}").on("click", self.load)
            self._body = ui.element("div").classes(f"stack ops-body ops-{name}").props('aria-busy="true"')
            with self._body:
                for _ in range(4):
                    ui.element("div").classes("waiting").props('aria-hidden="true"')

    @property
    def is_settled(self) -> bool:
        """Whether it was read, or failed to be, at least once."""
        return self.loaded is not None or bool(self.concerns)

    def on_load(self, tell: Callable[[], None]) -> None:
        """Call this each time there is something new to see."""
        self._on_load.append(tell)

    async def load(self) -> None:
        """Read anew; what can't be read says why in its own place, and leaves the rest of the page alone."""
        loaded, said = None, ""
        try:
            loaded = await self._fetch()
        except Unauthenticated:
            raise
        except AppError as error:
            said = error.message
        if self._body.is_deleted:
            return  # whoever asked has left
        if loaded is not None:
            self.show(loaded)
        else:
            self._show_failure(said)
        self._body.props('aria-busy="false"')
        self.tell()

    def _show_failure(self, said: str) -> None:
        self.loaded, self.concerns = None, [Concern("bad", f"{self.title} can't be shown")]
        self._body.clear()
        with self._body, ui.element("div").classes("note bad line").props('role="alert"'):
            element("p", said)
            button("Try again", self.load)

    def tell(self) -> None:
        """Tell whoever asked for it that there is something new to see."""
        for tell in self._on_load:
            tell()

    def show(self, loaded: Loaded) -> None:
        """Show this in place of what is shown."""
        self.loaded, self.concerns = loaded, self._find_concerns(loaded)
        now = datetime.now(UTC).astimezone(self._viewer.zone)
        self._asked_at.set_text(f"as of {now:%H:%M}")
        self._body.clear()
        with self._body:
            self._draw(loaded)


class Loading(Protocol):
    """What is read after the page stands."""

    async def load(self) -> None:
        """Read, and show what was read."""


async def load_all(parts: Iterable[Loading]) -> None:
    """Load parts side by side; raises what one of them could not tell itself, once all are done."""
    done = await asyncio.gather(*(part.load() for part in parts), return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one


def draw_facts(facts: Iterable[tuple[str, str, str]]) -> None:
    """Add figures side by side, each as (what it counts, the figure, the class of its colour)."""
    with ui.element("dl").classes("ops-facts"):
        for name, figure, classes in facts:
            with ui.element("div").classes("ops-fact"):
                element("dt", name)
                element("dd", figure, classes)


def draw_link(words: str, address: str | None) -> None:
    """Add a link that opens beside this page; nothing without an address."""
    if address:
        link = element("a", words).props('target="_blank" rel="noopener"')
        link.props["href"] = address
        with link:
            element("span", " (opens a new tab)", "unseen")


def draw_sentence(words: str, classes: str = "") -> None:
    """Add a paragraph in which what stands between backticks is something to type."""
    with ui.element("p").classes(classes):
        for place, piece in enumerate(words.split("`")):
            element("code" if place % 2 else "span", piece)


def say_bytes(size: Decimal | int) -> str:
    """Return a number of bytes, such as 1.5 MB."""
    amount, unit = float(size), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:,.0f} {_UNITS[unit]}" if unit == 0 or amount >= 100 else f"{amount:,.1f} {_UNITS[unit]}"


def say_usd(amount: Decimal | None) -> str:
    """Return an amount, with the digits that a small one needs."""
    if amount is None:
        return "not known"
    return f"${amount:,.2f}" if amount == 0 or amount >= Decimal("0.1") else f"${amount:,.4f}"


def say_count(number: int, noun: str) -> str:
    """Return so many of something: 1 file, 3,000 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def say_span(seconds: float) -> str:
    """Return a span of time, such as 80 ms, 12 s, 4 min or 3 days."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    if seconds < 1:
        return f"{max(seconds * 1000, 1):.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def explain(cause: str | None) -> str:
    """Return what an error of this name says of itself and its cure, without a word of what it was about."""
    if cause is None:
        return "Nothing was noted of why; open the run to read its log."
    if cause == "RunDied":
        return _DIED
    return _list_sentences().get(cause) or f"It is noted as {cause}; open the run to read its log."


@cache
def _list_sentences() -> dict[str, str]:
    """Return the sentence of every error that is imported by now, which all are that the pipelines raise."""
    from pipelines import ingest  # noqa: F401  # for what it raises

    found: dict[str, str] = {}
    waiting = [AppError]
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        found[error.__name__] = " ".join((inspect.getdoc(error) or "").split())
    return found
