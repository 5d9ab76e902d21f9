"""How evidence looks on pages: a pattern over its claims over their quotes, which open where they were said."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.routes.evidence import get_pattern
from api.schemas.evidence import ClaimOut, CommitmentOut, PatternClaimOut, PatternOut, QuoteOut
from api.web.clients.open_page import OpenPage, Words
from api.web.clients.shown import count
from api.web.parts import element, say_time
from api.web.source_panel import say_clock, say_where
from api.web.viewer import Viewer
from domain.citations import CitationView

STATES: Final = {
    "open": ("open", ""), "overdue": ("overdue", "warn"), "kept": ("kept", "good"), "broken": ("not kept", "bad"),
    "retracted": ("taken back", ""), "superseded": ("replaced by a later one", ""),
}  # fmt: skip
"""What a commitment's or claim's state is called on pages, and how its tag looks."""
KINDS: Final = {
    "recurrence": "comes back", "trend": "a direction", "change": "a change", "contradiction": "two accounts",
    "commitment_record": "commitments kept",
}  # fmt: skip
"""What the kinds of patterns are called on pages."""

ReadClaims = Callable[[AsyncSession, UUID], Awaitable[Sequence[PatternClaimOut]]]
"""Reads the claims under the pattern of this id."""


def draw_quote(page: OpenPage, quote: QuoteOut) -> None:
    """Add a quote as an item, verbatim; pressed, it opens its source at these words."""
    at = f" at {say_clock(quote.started_s)}" if quote.started_s is not None else ""
    said = f"{quote.speaker or 'Unknown speaker'}{at}"
    _draw_words(page, quote, quote.exact, said, against=quote.role == "opposing")


def draw_passage(page: OpenPage, passage: CitationView) -> None:
    """Add a passage of a source as an item, verbatim; pressed, it opens its source at these words."""
    said = f"{passage.speaker or passage.title} · {say_where(page.viewer, passage)}"
    _draw_words(page, passage, passage.quote, said)


def _draw_words(page: OpenPage, words: Words, exact: str, said: str, *, against: bool = False) -> None:
    with ui.element("li"):
        pressed = ui.element("button").classes("quote").props('type="button"')
        with pressed:
            element("q", exact)
            with ui.element("span").classes("soft small"):
                element("span", said)
                if against:
                    element("span", "speaks against it", "tag warn")
                element("span", " · open where it was said", "where")
        pressed.on("click", partial(page.open_quote, words, pressed))


def draw_quotes(page: OpenPage, *claims: ClaimOut) -> None:
    """Add what the claims stand on, folded."""
    quotes = {quote.id: quote for claim in claims for quote in claim.quotes}
    if not quotes:
        return
    with ui.element("details").classes("fold"):
        element("summary", count(len(quotes), "quote"))
        with ui.element("ul").classes("plain stack tight"):
            for quote in quotes.values():
                draw_quote(page, quote)
        for method in dict.fromkeys(claim.model_name or claim.method for claim in claims):
            element("p", f"Found by {method}.", "soft small")


def draw_claim(
    page: OpenPage, claim: ClaimOut, *, counter: bool = False, typed: bool = True, changed: bool = False
) -> None:
    """Add a claim as an item, with its quotes to unfold; `counter` where it speaks against what it stands under."""
    with ui.element("li").classes("claim"):
        with ui.element("div").classes("line small"):
            say_time(page.viewer, claim.held_at or claim.created_at, day_only=True, classes="soft")
            if typed:
                element("span", claim.claim_type, "tag")
            if claim.status != "asserted":
                _tag_state(claim.status)
            if claim.modality != "stated":
                element("span", claim.modality, "tag")
            if counter:
                element("span", "speaks against it", "tag warn")
            _tag_change(changed)
            tag_visibility(page, claim.visibility)
        element("p", claim.statement)
        draw_quotes(page, claim)


def draw_commitment(page: OpenPage, one: CommitmentOut) -> None:
    """Add a commitment as an item: how it stands, when it is due, its words and those that say what became of it."""
    with ui.element("li").classes("claim"):
        with ui.element("div").classes("line small"):
            _tag_state(one.state)
            with ui.element("span").classes("soft"):
                if one.due is not None:
                    element("span", f"due {one.due.day} {one.due:%B %Y} · ")
                element("span", "said ")
                say_time(page.viewer, one.claim.held_at or one.claim.created_at, day_only=True)
            tag_visibility(page, one.claim.visibility)
        element("p", one.claim.statement)
        if one.settled_by is not None:
            with ui.element("p").classes("became"):
                element("span", "What became of it: ", "soft")
                element("span", one.settled_by.statement)
        draw_quotes(page, *(claim for claim in (one.claim, one.settled_by) if claim is not None))


def draw_pattern(
    page: OpenPage, pattern: PatternOut, read: ReadClaims | None = None, *, changed: Collection[UUID] = ()
) -> None:
    """Add a pattern as an item; unfolded, it reads the claims under it, by `read` where given, and these their quotes.

    `changed` are patterns and claims to mark as saying something else than they did.
    """

    async def read_claims(session: AsyncSession) -> Sequence[PatternClaimOut]:
        return await read(session, pattern.id) if read else (await get_pattern(pattern.id, session)).pyramid

    def draw_claims(found: Sequence[PatternClaimOut]) -> None:
        element("p", count(len(found), "claim"), "soft small")
        with ui.element("ol").classes("plain pyramid"):
            for link in found:
                draw_claim(page, link.claim, counter=link.role == "counter", changed=link.claim.id in changed)

    with ui.element("li").classes("card pattern"):
        with ui.element("div").classes("line small"):
            element(
                "span", KINDS.get(pattern.kind, pattern.kind), "tag warn" if pattern.kind == "contradiction" else "tag"
            )
            covered = f"in {pattern.sessions_supporting} of {count(pattern.sessions_examined, 'session')}"
            if pattern.sessions_examined != pattern.sessions_in_scope:
                covered += f" examined, of {pattern.sessions_in_scope} there are"
            element("span", covered, "soft")
            say_span(page.viewer, pattern.first_seen, pattern.last_seen)
            _tag_change(pattern.id in changed)
            tag_visibility(page, pattern.visibility)
        element("p", pattern.statement, "statement")
        page.fold("What it stands on", read_claims, draw_claims)


def say_span(viewer: Viewer, first: datetime | None, last: datetime | None) -> None:
    """Add the days from first to last, where there are any."""
    if first is None or last is None:
        return
    with ui.element("span").classes("soft"):
        say_time(viewer, first, day_only=True)
        if first.astimezone(viewer.zone).date() != last.astimezone(viewer.zone).date():
            element("span", " to ")
            say_time(viewer, last, day_only=True)


def tag_visibility(page: OpenPage, visibility: str) -> None:
    """Tell a coach what the client does not see; the client sees nothing of that kind."""
    if not page.is_own and visibility != "client_visible":
        element("span", "coaches only", "tag").props('title="Not shown to the client"')


def _tag_change(changed: bool) -> None:
    if changed:
        element("span", "says something else now", "tag warn").props('title="Since the pack was gathered"')


def _tag_state(state: str) -> None:
    words, look = STATES.get(state, (state, ""))
    element("span", words, f"tag {look}")
