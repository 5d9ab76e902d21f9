"""An evidence pack as people read it: what was searched, patterns, claims, quotes, passages, and what is withheld."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from textwrap import shorten
from typing import Final, Generic, TypeVar
from uuid import UUID

from nicegui import ui
from sqlalchemy.ext.asyncio import AsyncSession

from api.schemas.evidence import ClaimOut, PatternClaimOut, PatternOut
from api.web.clients.evidence import draw_claim, draw_passage, draw_pattern
from api.web.clients.open_page import OpenPage
from api.web.clients.shown import Listing, count, heading, read_id
from api.web.frame import page
from api.web.parts import button, element, say_time
from api.web.share import offer_link
from api.web.viewer import Viewer
from core.errors import NotFound
from domain.evidence import ClientEvidenceNotFound
from domain.evidence_counts import get_client_name
from domain.evidence_views import ClaimView, PatternView
from domain.packs import PackNotFound, PackView, get_pack, read_again, record_pack_read
from domain.reading import list_evidence_read, record_reading

LONGEST_HEADING: Final = 160
"""Characters of a question that stand in the heading; a longer one is given whole below it."""
ENDED: Final = (
    "An engagement ended, or a source is for fewer people than it was.",
    "A source was corrected, taken in anew or erased since the pack was gathered.",
    "Somebody took back their consent.",
)
NEVER: Final = "It is about somebody whose material you may not read, or for coaches alone."
"""Why an item is withheld, the last where somebody else gathered the pack."""

Item = TypeVar("Item")


class PackGone(NotFound):
    """Something of this pack is no longer yours to read; load the page again for what is left of it."""


@dataclass(frozen=True, slots=True)
class _Some(Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None


class PackPage(OpenPage):
    """One pack on one open page; every step reads again what was shown, and puts it away where any of it is gone.

    `path` is where it is loaded again; `is_shared` where somebody else gathered it.
    """

    def __init__(self, viewer: Viewer, pack: PackView, path: str, *, is_shared: bool = False) -> None:
        super().__init__(viewer)
        self.pack = pack
        self._changed = {*pack.changed}
        self._path = path
        self._is_shared = is_shared

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Yield a transaction of the viewer in which all that was shown may still be read; else raise `PackGone`."""
        async with self.viewer.session() as session:
            now = await read_again(session, self.pack)
            if now.withheld:
                words = "Something of this pack is no longer yours to read, so nothing of it is shown here."
                self.put_away(words, "Load what is left of it", self._path)
                raise PackGone
            self.pack = replace(now, withheld=self.pack.withheld)
            self._changed.update(now.changed)
            yield session

    async def draw(self, session: AsyncSession) -> None:
        """Draw it."""
        await self._draw_head(session)
        with self.main:
            self._say_withheld()
            self._say_changed()
            if not has_items(self.pack) and not self.pack.withheld:
                element("p", "Nothing was found for it when it was gathered.", "soft")
            await self._list(session, "Patterns", lambda: self.pack.patterns, self._draw_pattern, first=5)
            loose = "Other claims" if self.pack.patterns else "Claims"
            await self._list(session, loose, self._list_loose, self._draw_claim, first=10, is_card=True)
            await self._list(session, "Passages", lambda: self.pack.passages, partial(draw_passage, self), first=10)
        self._draw_glance()

    async def _draw_head(self, session: AsyncSession) -> None:
        pack = self.pack
        name = await _find_name(session, pack.client_id)
        title = pack.question or (f"Evidence of {name}" if name else "An evidence pack")
        short = shorten(title, LONGEST_HEADING, placeholder=" …")
        ui.page_title(f"{short} · ReGenesis")
        with self.head, ui.element("div").classes("client-head"):
            with ui.element("div").classes("stack tight"):
                element("h1", short)
                if short != " ".join(title.split()):
                    element("p", title, "words")
                with ui.element("p").classes("soft small"):
                    element("span", "Evidence pack, gathered ")
                    say_time(self.viewer, pack.created_at)
                    if not (self._is_shared and pack.withheld):  # it counts what the reader may know nothing of
                        covered = pack.coverage
                        searched = say_searched(
                            covered.sessions_in_scope, covered.sessions_examined, covered.sessions_supporting or 0
                        )  # fmt: skip
                        element("span", f" · {searched}")
                    if name and self.viewer.role == "coach":
                        element("span", " · about ")
                        element("a", name).props["href"] = f"/clients/{pack.client_id}"
            if not self._is_shared and has_items(pack):
                button("Share", partial(offer_link, self.viewer, pack_id=pack.id), icon="link")

    def _say_withheld(self) -> None:
        number = self.pack.withheld
        if not number:
            return
        with ui.element("div").classes("note warn held-back"):
            element("p", f"{count(number, 'item')} of this pack {'is' if number == 1 else 'are'} withheld from you.")
            with ui.element("details").classes("fold"):
                element("summary", "Why can that be?")
                with ui.element("ul"):
                    for why in (NEVER, *ENDED) if self._is_shared else ENDED:
                        element("li", why)

    def _say_changed(self) -> None:
        number = len(self._changed)
        if number:
            says = "item says" if number == 1 else "items say"
            words = f"{number:,} {says} something else now than when the pack was gathered; the tags tell which."
            element("p", words, "note")

    async def _list(
        self, session: AsyncSession, words: str, items: Callable[[], Sequence[Item]], draw: Callable[[Item], object],
        *, first: int, is_card: bool = False,
    ) -> None:  # fmt: skip
        """Add a section of what `items` returns at the time, unless it is empty."""
        if not items():
            return

        async def fetch(_: AsyncSession, limit: int, cursor: str | None) -> _Some[Item]:
            start, found = int(cursor or 0), items()
            end = start + limit
            return _Some(found[start:end], str(end) if end < len(found) else None)

        anchor = words.lower().replace(" ", "-")
        with ui.element("section").classes("card" if is_card else "").props(f"aria-labelledby={anchor}"):
            with ui.element("div").classes("section-head"):
                heading(words, anchor)
            classes = "plain" if is_card else "plain stack tight"
            await Listing(self, fetch, draw, first=first, empty="", classes=classes).fill(session)

    async def _read_claims(self, session: AsyncSession, pattern_id: UUID) -> list[PatternClaimOut]:
        """Return the claims that the pack holds under a pattern; the step's session has just read them again."""
        pattern = next(one for one in self.pack.patterns if one.id == pattern_id)
        claims = {claim.id: claim for claim in self.pack.claims}
        await record_reading(
            session, "evidence_read", list_evidence_read((claims[link.id] for link in pattern.claims), [pattern])
        )
        return [
            PatternClaimOut(role=link.role, claim=ClaimOut.model_validate(claims[link.id])) for link in pattern.claims
        ]

    def _draw_pattern(self, pattern: PatternView) -> None:
        draw_pattern(self, PatternOut.model_validate(pattern), self._read_claims, changed=self._changed)

    def _draw_claim(self, claim: ClaimView) -> None:
        draw_claim(self, ClaimOut.model_validate(claim), changed=claim.id in self._changed)

    def _list_loose(self) -> list[ClaimView]:
        """Return the claims that no pattern of the pack stands on."""
        under = {link.id for pattern in self.pack.patterns for link in pattern.claims}
        return [claim for claim in self.pack.claims if claim.id not in under]

    def _draw_glance(self) -> None:
        pack = self.pack
        quotes = {quote.id for claim in pack.claims for quote in claim.quotes}
        figures = {
            "Patterns": len(pack.patterns), "Claims": len(pack.claims), "Quotes": len(quotes),
            "Passages": len(pack.passages), "Withheld from you": pack.withheld,
        }  # fmt: skip
        with self.glance.classes("last"), ui.element("section").classes("card").props("aria-labelledby=glance"):
            element("h2", "What it holds").props("id=glance")
            with ui.element("dl"):
                for name, number in figures.items():
                    if number:
                        with ui.element("div"):
                            element("dt", name)
                            element("dd", f"{number:,}")
            with ui.element("p").classes("soft small"):
                element("span", "SHA-256 of what was gathered: ")
                element("code", pack.content_hash, "hash")


@page("/packs/{pack_id}", title="Evidence pack")
async def show_pack(viewer: Viewer, pack_id: str) -> None:
    """Show one of the viewer's own packs as they may read it now."""
    ui.add_head_html('<link rel="stylesheet" href="/web/clients.css">')
    key = read_id(pack_id, PackNotFound)
    async with viewer.session() as session:
        pack = await get_pack(session, key)
        await record_pack_read(session, pack)
        await PackPage(viewer, pack, f"/packs/{key}").draw(session)


def has_items(pack: PackView) -> bool:
    """Tell whether there is anything of the pack that its reader may read."""
    return bool(pack.patterns or pack.claims or pack.passages)


def say_searched(in_scope: int, examined: int, supporting: int) -> str:
    """Return what was searched for a pack, such as 3 of 4 sessions searched, 2 support it."""
    support = "supports" if supporting == 1 else "support"
    return f"{examined:,} of {count(in_scope, 'session')} searched, {supporting:,} {support} it"


async def _find_name(session: AsyncSession, client_id: UUID | None) -> str | None:
    """Return whom a pack is about, where the reader may read them."""
    if client_id is None:
        return None
    try:
        return await get_client_name(session, client_id)
    except ClientEvidenceNotFound:
        return None
