"""The lists a client's pages have in common: commitments, goals, sessions."""

from typing import Final, Literal

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.pagination import Page
from api.routes.evidence import list_claims, list_client_sessions, list_commitments
from api.schemas.evidence import ClaimOut, CommitmentOut, SessionEvidenceOut
from api.web.clients.evidence import STATES, draw_claim, draw_commitment, tag_visibility
from api.web.clients.shown import Listing, Shown, choice, count, heading
from api.web.parts import element, say_time
from domain.evidence import CommitmentState

ORDER: Final[tuple[CommitmentState, ...]] = ("overdue", "open", "kept", "broken", "retracted", "superseded")


def narrow(shown: Shown) -> Literal["client_visible"] | None:
    """Return the visibility to narrow to, where a coach looks at what the client sees."""
    return "client_visible" if shown.ahead else None


async def draw_commitments(shown: Shown, session: AsyncSession) -> None:
    """Add the client's commitments, the latest said first, by state where chosen."""
    chosen: list[CommitmentState | None] = [None]

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[CommitmentOut]:
        return await list_commitments(
            shown.client_id, session, state=chosen[0], visibility=narrow(shown), limit=limit, cursor=cursor
        )

    async def choose(state: str) -> None:
        chosen[0] = next((one for one in ORDER if one == state), None)
        await listing.start_over()

    with ui.element("section").classes("card").props("aria-labelledby=commitments"):
        with ui.element("div").classes("section-head"):
            heading("Commitments", "commitments")
            choice("State", {"": "all", **{state: STATES[state][0] for state in ORDER}}, choose)
        listing = Listing(
            shown,
            fetch,
            lambda one: draw_commitment(shown, one),
            classes="plain",
            first=5,
            empty="No commitments of this kind were found.",
        )
        await listing.fill(session)


async def draw_goals(shown: Shown, session: AsyncSession) -> None:
    """Add the client's goals, the latest said first."""

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[ClaimOut]:
        return await list_claims(
            session=session, client_id=shown.client_id, claim_type="goal", claim_status=None, visibility=narrow(shown),
            held_from=None, held_until=None, limit=limit, cursor=cursor,
        )  # fmt: skip

    with ui.element("section").classes("card").props("aria-labelledby=goals"):
        with ui.element("div").classes("section-head"):
            heading("Goals", "goals")
        listing = Listing(
            shown,
            fetch,
            lambda one: draw_claim(shown, one, typed=False),
            classes="plain",
            first=3,
            empty="No goals were found in the sessions.",
        )
        await listing.fill(session)


async def draw_sessions(shown: Shown, session: AsyncSession) -> None:
    """Add the client's sessions as a timeline, the latest first, each with a way to its transcript."""

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[SessionEvidenceOut]:
        return await list_client_sessions(
            shown.client_id, session, visibility=narrow(shown), limit=limit, cursor=cursor
        )  # fmt: skip

    with ui.element("section").classes("card").props("aria-labelledby=sessions"):
        with ui.element("div").classes("section-head"):
            heading("Sessions", "sessions")
        listing = Listing(
            shown, fetch, lambda one: _draw_session(shown, one), tag="ol", classes="plain timeline", first=6,
            empty="No session has been read yet; its transcript appears here once it is.",
        )  # fmt: skip
        await listing.fill(session)


def _draw_session(shown: Shown, one: SessionEvidenceOut) -> None:
    with ui.element("li"):
        say_time(shown.viewer, one.held_at, classes="soft small")
        with ui.element("p"):
            element("a", one.title).props["href"] = f"/transcripts/{one.transcript_id}"
        if shown.is_own or shown.ahead:
            return
        with ui.element("div").classes("line small soft"):
            if one.examined:
                element("span", f"{count(one.claims, 'claim')}, {count(one.commitments, 'commitment')}")
            else:
                element("span", "not examined yet")
            tag_visibility(shown, one.visibility)
