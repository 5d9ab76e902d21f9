"""One answer as people read it: sentences with numbered citations, what was searched, and what can be done with it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from nicegui import ui

from api.web.chat.feedback import add_feedback
from api.web.parts import element, icon_button, notify
from api.web.source_panel import say_where
from api.web.viewer import Viewer
from domain.chat import MessageView
from domain.citations import CitationView
from rag.answer import Done

OpenCitation = Callable[[CitationView], Awaitable[None]]

EXTRACTIVE: Final = "extractive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is shown of an answer, whether it was just told or comes from the store."""

    message_id: UUID | None
    sentences: Sequence[tuple[str, tuple[int, ...], bool]]
    """Text, ordinals of citations, and whether it is withheld from this reader."""
    citations: Mapping[int, CitationView] = field(default_factory=dict)
    coverage: Mapping[str, int] | None = None
    understood: str = ""
    provider: str = ""
    refused: bool = False
    pack_id: UUID | None = None
    """The evidence pack it stands on, which is its asker's alone."""


def show_stored(view: MessageView) -> Shown:
    """Return a stored answer as its reader may see it now."""
    facts: dict[str, Any] = view.facts
    pack_id: str | None = facts.get("pack_id")
    return Shown(
        message_id=view.id, sentences=[(one.text, one.citations, one.withheld) for one in view.sentences],
        citations={one.ordinal: one for one in view.citations}, coverage=facts.get("coverage"),
        understood=facts.get("understood") or "", provider=facts.get("provider") or "",
        refused=bool(facts.get("refused")), pack_id=UUID(pack_id) if pack_id else None,
    )  # fmt: skip


def show_done(done: Done) -> Shown:
    """Return an answer that was just told."""
    names = ("sessions_in_scope", "sessions_examined", "sessions_supporting", "documents_in_scope",
             "documents_examined", "documents_supporting")  # fmt: skip
    return Shown(
        message_id=done.message_id, sentences=[(one.text, one.citations, False) for one in done.sentences],
        citations={one.ordinal: one for one in done.citations},
        coverage={name: getattr(done.coverage, name) for name in names}, understood=done.understood,
        provider=done.provider, refused=done.refused, pack_id=done.pack_id,
    )  # fmt: skip


class AnswerView:
    """An answer on the page: told sentence by sentence, then completed; redrawing it never moves what stands above."""

    def __init__(self, viewer: Viewer, open_citation: OpenCitation, share: Callable[[UUID], Awaitable[None]]) -> None:
        self._viewer, self._open, self._share = viewer, open_citation, share
        with ui.element("li").classes("message answer") as self.frame:
            element("h3", "Sasha", "unseen")
            self._words = ui.element("p").classes("words")
            self._below = ui.element("div").classes("below")
        with self._words:
            self._waiting = element("span", "Reading the sessions …", "soft waiting-words")

    def tell(self, text: str, citations: Sequence[int]) -> None:
        """Add a sentence; its citations can be opened once the answer is complete."""
        self._waiting.set_visibility(False)
        with self._words:
            element("span", strip_marks(text, citations))
            for ordinal in citations:
                element("span", str(ordinal), "cite pending")

    def complete(self, shown: Shown) -> None:
        """Draw the whole answer."""
        self._words.clear()
        with self._words:
            self._draw_sentences(shown)
        self._below.clear()
        with self._below:
            self._draw_coverage(shown)
            self._draw_actions(shown)

    def stop(self, words: str, retry: Callable[[], Awaitable[None]] | None = None) -> None:
        """Say that the answer ended before its end, and offer to ask again."""
        self._waiting.set_visibility(False)
        self._below.clear()
        with self._below, ui.element("p").classes("note warn line").props("role=status"):
            element("span", words)
            if retry is not None:
                again = element("button", "Ask again", "button").props("type=button")
                again.on("click", retry)

    def _draw_sentences(self, shown: Shown) -> None:
        was_withheld = False
        for text, ordinals, withheld in shown.sentences:
            if withheld:
                if not was_withheld:
                    element("span", "A part is withheld: its source is no longer available to you. ", "withheld")
                was_withheld = True
                continue
            was_withheld = False
            element("span", strip_marks(text, ordinals))
            for ordinal in ordinals:
                citation = shown.citations.get(ordinal)
                if citation is not None:
                    self._draw_citation(citation)
            element("span", " ")

    def _draw_citation(self, citation: CitationView) -> None:
        label = f"Source {citation.ordinal}: {citation.speaker or citation.title}, {say_where(self._viewer, citation)}"
        mark = element("button", str(citation.ordinal), "cite")
        mark.props["type"], mark.props["aria-label"], mark.props["title"] = "button", label, label

        async def open_it() -> None:
            await self._open(citation)

        mark.on("click", open_it)

    def _draw_coverage(self, shown: Shown) -> None:
        with ui.element("p").classes("coverage soft small"):
            element("span", say_coverage(shown))
            if shown.pack_id is not None:
                element("span", " · ")
                element("a", "Evidence of this answer").props["href"] = f"/packs/{shown.pack_id}"

    def _draw_actions(self, shown: Shown) -> None:
        if shown.message_id is None:
            return
        with ui.element("div").classes("actions"):
            text = write_copy(self._viewer, shown)

            async def copy() -> None:
                ui.clipboard.write(text)
                notify("Copied, with its citations.")

            icon_button("content_copy", "Copy with citations").on("click", copy)
            if shown.citations:
                message_id = shown.message_id

                async def share() -> None:
                    await self._share(message_id)

                icon_button("link", "Share a link").on("click", share)
            add_feedback(self._viewer, shown.message_id)


def strip_marks(text: str, ordinals: Sequence[int]) -> str:
    """Return the sentence without the numbers at its end that are drawn as citations."""
    marks = "|".join(str(ordinal) for ordinal in ordinals)
    return re.sub(rf"(?:\s*\[(?:{marks})\])+(?=[.!?]?\s*$)", "", text) if marks else text


def say_coverage(shown: Shown) -> str:
    """Return in one line what was searched, how much of it is cited, and who wrote the answer."""
    said = []
    if shown.coverage:
        for name in ("sessions", "documents"):
            in_scope = shown.coverage.get(f"{name}_in_scope", 0)
            if in_scope:
                examined, cited = shown.coverage[f"{name}_examined"], shown.coverage[f"{name}_supporting"]
                thing = name if in_scope != 1 else name[:-1]
                said.append(f"{examined} of {in_scope} {thing} searched, {cited} cited")
    if shown.understood:
        said.append(f"about {shown.understood}")
    if shown.provider:
        said.append("quoted without a model" if shown.provider == EXTRACTIVE else f"written by {shown.provider}")
    if shown.refused:
        said.insert(0, "No answer found")
    return " · ".join(said)


def write_copy(viewer: Viewer, shown: Shown) -> str:
    """Return the answer as plain text with its citations below."""
    words = " ".join(
        strip_marks(text, ordinals) + "".join(f" [{ordinal}]" for ordinal in ordinals)
        for text, ordinals, withheld in shown.sentences
        if not withheld
    )
    below = [
        f"[{n}] “{one.quote}” {one.speaker or one.title}, {say_where(viewer, one)}"
        for n, one in sorted(shown.citations.items())
    ]
    return "\n".join([words, "", *below]).strip()
