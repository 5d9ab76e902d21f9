"""What the pages of a transcript and of a document share: the place an address names, the heading, scrolling."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.schemas.sources import DocumentOut, TranscriptOut
from api.web.parts import element, say_time
from api.web.viewer import Viewer
from db.models import User

BEYOND: Final = 2_000_000_000
"""No text is as long: a place beyond is not asked for."""
LOOK_S: Final = 20.0
"""How often an open text is looked at again, whether its reader still may read it."""


def read_span(char: str) -> tuple[int, int] | None:
    """Return the characters of `START,END` in an address, None for anything else."""
    first, _, last = char.partition(",")
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and len(char) < 24):
        return None
    span = int(first), int(last)
    return span if span[0] < span[1] < BEYOND else None


async def list_names(session: AsyncSession, ids: set[UUID | None]) -> dict[UUID, str]:
    """Return the names of these people, of those the reader may see."""
    rows = await session.execute(select(User.id, User.full_name).where(User.id.in_({one for one in ids if one})))
    return {row.id: row.full_name for row in rows if row.full_name}


@contextmanager
def reading_page(viewer: Viewer, shown: TranscriptOut | DocumentOut, facts: list[str]) -> Iterator[None]:
    """Add the title and what is known of the whole; what is added inside stands below it."""
    ui.add_head_html('<link rel="stylesheet" href="/web/sources.css">')
    ui.page_title(f"{shown.title} · ReGenesis")
    with ui.element("div").classes("reading-page"):
        if viewer.role in ("coach", "admin"):
            with ui.element("nav").props('aria-label="Back"').classes("small back"):
                element("a", "All sources").props["href"] = "/sources"
        with ui.element("div").classes("heading"):
            element("h1", shown.title)
            with ui.element("p").classes("facts"):
                if shown.held_at is not None:
                    say_time(viewer, shown.held_at, day_only=True)
                for fact in facts:
                    element("span", fact)
        with ui.element("div").classes("reading"):
            yield


def scroll_to(selector: str) -> None:
    """Bring the first element of this selector into view, once it is there."""
    ui.run_javascript(
        f"setTimeout(() => document.querySelector('{selector}')?.scrollIntoView({{block: 'center'}}), 60)"
    )


def focus_on(name: str) -> None:
    """Let the keyboard go on at the element of this id, without scrolling."""
    ui.run_javascript(f"setTimeout(() => document.getElementById('{name}')?.focus({{preventScroll: true}}), 60)")
