"""Operations: how the organisation's service does, what needs somebody, and what to do about it."""

import asyncio
from typing import Any, Final

from nicegui import ui

from api.web.frame import page
from api.web.operations.answers import AnswersSection
from api.web.operations.flows import FlowsSection
from api.web.operations.section import Section, load_all
from api.web.operations.services import ServicesSection
from api.web.operations.trace import WhySection
from api.web.operations.usage import UsageSection
from api.web.parts import element
from api.web.viewer import Viewer

FIRST_S: Final = 0.6
"""How long the page waits for its parts, so that what is there in time needs no second look."""


@page("/operations", title="Operations", roles=frozenset({"admin"}))
async def show_operations(viewer: Viewer) -> None:
    """Show what needs somebody first, then each part; a part that takes long follows once the page stands."""
    ui.add_head_html('<link rel="stylesheet" href="/web/operations.css">')
    with ui.element("div").classes("heading"):
        element("h1", "Operations")
        element("p", f"How {viewer.organisation} is served")
    attention = ui.element("ul").classes("plain ops-tiles")
    with ui.element("div").classes("ops-sections"):
        flows, usage = FlowsSection(viewer), UsageSection(viewer)
        services, answers = ServicesSection(viewer), AnswersSection(viewer)
        why = WhySection(viewer)
    sections: list[Section[Any]] = [flows, usage, services, answers]
    with attention:
        tiles = [draw_tile(section.name, section.title) for section in sections]
        with draw_tile(why.name, why.title):
            element("span", "Trace a question as the person who asked it.", "soft small")

    told: list[object] = [None] * len(sections)

    def tell() -> None:
        for place, (section, tile) in enumerate(zip(sections, tiles, strict=True)):
            found = (section.is_settled, section.concerns)
            if told[place] != found:  # said again only where it changed, as screen readers say it aloud
                told[place] = found
                tile.clear()
                with tile:
                    say_concerns(section)

    tell()
    for section in sections:
        section.on_load(tell)
    loading = asyncio.ensure_future(load_all([*sections, why]))
    await asyncio.wait({loading}, timeout=FIRST_S)
    if loading.done():
        await loading  # which raises what went wrong
    else:

        async def follow() -> None:
            await loading

        ui.timer(0, follow, once=True)


def draw_tile(name: str, title: str) -> ui.element:
    """Add a way to one part of the page and return the place of what it says of itself."""
    with ui.element("li").classes("card ops-tile"):
        element("a", title).props(f'href="#{name}"')
        return ui.element("div").classes("ops-said").props('role="status"').props(f'aria-label="{title}"')


def say_concerns(section: Section[Any]) -> None:
    """Add how a part stands: the worst of what needs somebody, and how much more there is."""
    if not section.is_settled:
        ui.element("div").classes("waiting").props('aria-hidden="true"')
        return
    if not section.concerns:
        element("span", "all well", "tag good")
        return
    worst, *others = sorted(section.concerns, key=lambda concern: concern.level != "bad")
    with ui.element("div").classes("line"):
        element("span", "problem" if worst.level == "bad" else "warning", f"tag {worst.level}")
        if others:
            element("span", f"and {len(others)} more", "soft small")
    element("p", worst.words, "small")
