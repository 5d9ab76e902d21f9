"""The history of an insight on a coach's page: who accepted, rejected or edited it, when, why and from which words."""

from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.pagination import Page
from api.routes.insights import list_reviews
from api.schemas.insights import InsightReviewOut
from api.web.clients.shown import Listing, Shown
from api.web.parts import element, say_time
from api.web.sources.reading import list_names

FIRST: Final = 5
"""Verdicts and edits shown before more are asked for."""


def draw_verdicts(shown: Shown, insight_id: UUID) -> None:
    """Add the verdicts and edits of an insight, the newest first, folded."""
    names: dict[UUID, str] = {}

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[InsightReviewOut]:
        found = await list_reviews(insight_id, session, limit=limit, cursor=cursor)
        names.update(await list_names(session, {one.reviewer_id for one in found.items}))
        return found

    def draw(found: Page[InsightReviewOut]) -> None:
        listing = Listing(
            shown, fetch, lambda one: _draw_review(shown, one, names.get(one.reviewer_id)), tag="ol",
            classes="plain stack tight history", first=FIRST, empty="No verdict and no edit yet.",
        )  # fmt: skip
        listing.show(found)

    shown.fold("History", lambda session: fetch(session, FIRST, None), draw)


def _draw_review(shown: Shown, review: InsightReviewOut, reviewer: str | None) -> None:
    with ui.element("li"):
        with ui.element("p").classes("small"):
            element("b", reviewer or "Somebody who left")
            element("span", f" {review.verdict} it · ")
            say_time(shown.viewer, review.created_at, classes="soft")
        if review.reason:
            element("p", f"Reason: {review.reason}")
        _draw_edit("Title", review.title_before, review.title_after)
        _draw_edit("Words", review.body_before, review.body_after)


def _draw_edit(part: str, before: str | None, after: str | None) -> None:
    if before is None or after is None or before == after:
        return
    with ui.element("dl").classes("edit"):
        for name, tag, words in ((f"{part} before", "del", before), (f"{part} after", "ins", after)):
            with ui.element("div"):
                element("dt", name, "soft small")
                with ui.element("dd"):
                    element(tag, words)
