"""A coach's page of one client: what waits for a verdict, commitments, goals, patterns, change, sessions."""

from typing import Final

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.pagination import Page
from api.routes.evidence import get_client_evidence, list_patterns
from api.schemas.evidence import EvidenceSummaryOut, PatternOut
from api.web.clients.evidence import STATES, draw_pattern, say_span
from api.web.clients.insights import draw_insights
from api.web.clients.months import draw_months
from api.web.clients.packs import draw_packs
from api.web.clients.sections import ORDER, draw_commitments, draw_goals, draw_sessions
from api.web.clients.shown import ClientGone, Listing, Shown, count, heading, read_id
from api.web.frame import page
from api.web.parts import element
from api.web.viewer import Viewer
from domain.evidence import ClientEvidenceNotFound
from domain.evidence_counts import get_client_name

PARTS: Final = {
    "insights": "Insights", "commitments": "Commitments", "goals": "Goals", "patterns": "Patterns",
    "change": "Change over time", "packs": "Evidence packs", "sessions": "Sessions",
}  # fmt: skip


@page("/clients/{client_id}", title="Client", roles=frozenset({"coach"}))
async def show_client(viewer: Viewer, client_id: str) -> None:
    """Show one client to their coach."""
    ui.add_head_html('<link rel="stylesheet" href="/web/clients.css">')
    key = read_id(client_id)
    try:
        async with viewer.session() as session:
            name = await get_client_name(session, key)
            ui.page_title(f"{name} · ReGenesis")
            await _draw(Shown(viewer, key, name), session)
    except ClientEvidenceNotFound as error:
        raise ClientGone from error


async def _draw(shown: Shown, session: AsyncSession) -> None:
    async def refresh(session: AsyncSession) -> None:
        draw_glance(shown, await get_client_evidence(shown.client_id, session))

    with shown.head:
        with ui.element("div").classes("client-head"):
            with ui.element("div"):
                element("h1", shown.name)
                element("a", "All clients", "small").props('href="/clients"')
            with ui.element("div").classes("line"):
                ask = element("a", f"Ask about {shown.first_name}", "button")
                ask.props["href"] = f"/chat?about={shown.client_id}"
                look = element("a", f"What {shown.first_name} sees", "button")
                look.props["href"] = f"/clients/{shown.client_id}/preview"
        with ui.element("nav").classes("parts").props('aria-label="On this page"'):
            for anchor, words in PARTS.items():
                element("a", words).props["href"] = f"#{anchor}"
    with shown.main:
        await refresh(session)
        await draw_insights(shown, session, refresh)
        await draw_commitments(shown, session)
        await draw_goals(shown, session)
        await _draw_patterns(shown, session)
        await draw_months(shown, session)
        await draw_packs(shown, session)
    with shown.past:
        await draw_sessions(shown, session)


async def _draw_patterns(shown: Shown, session: AsyncSession) -> None:
    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[PatternOut]:
        return await list_patterns(
            session=session, client_id=shown.client_id, kind=None, limit=limit, cursor=cursor
        )  # fmt: skip

    with ui.element("section").props("aria-labelledby=patterns"):
        with ui.element("div").classes("section-head"):
            heading("Patterns", "patterns")
        listing = Listing(
            shown, fetch, lambda one: draw_pattern(shown, one),
            first=5, empty="No patterns yet: they need claims of two sessions or more.",
        )  # fmt: skip
        await listing.fill(session)


def draw_glance(shown: Shown, summary: EvidenceSummaryOut) -> None:
    """Show the figures beside the page, in place of older ones."""
    shown.glance.clear()
    settled = {state: summary.commitments.get(state, 0) for state in ORDER}
    with shown.glance, ui.element("section").classes("card").props('aria-labelledby="glance"'):
        element("h2", "At a glance").props("id=glance")
        with ui.element("dl"):
            _figure("Sessions", f"{summary.sessions_in_scope:,}")
            if summary.sessions_examined != summary.sessions_in_scope:
                _figure("Examined for claims", f"{summary.sessions_examined:,}")
            for state in ("overdue", "open", "kept", "broken"):
                _figure(f"Commitments {STATES[state][0]}", f"{settled[state]:,}")
            _figure("Patterns", f"{sum(summary.patterns.values()):,}")
            _figure("Insights waiting for you", f"{summary.insights.get('draft', 0):,}")
        with ui.element("p").classes("soft small"):
            element("span", f"{count(summary.quotes, 'quote')} from {summary.sessions_supporting} of "
                            f"{count(summary.sessions_in_scope, 'session')}")  # fmt: skip
            if summary.first_held_at is not None:
                element("span", ", ")
            say_span(shown.viewer, summary.first_held_at, summary.last_held_at)


def _figure(name: str, number: str) -> None:
    with ui.element("div"):
        element("dt", name)
        element("dd", number)
