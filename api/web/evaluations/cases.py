"""A run's answers, the worst first: question, answer and evidence side by side where the viewer may read them."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from nicegui import ui

from api.pagination import write_cursor
from api.routes.evaluations import list_cases
from api.schemas.evaluations import CaseResultOut
from api.web.evaluations.words import (
    HIDDEN,
    check_measuring,
    choose,
    is_low,
    name_group,
    name_metric,
    say_count,
    say_figure,
)
from api.web.parts import button, element
from api.web.source_panel import mark_words
from api.web.viewer import Viewer
from db.session import tenant_session
from evaluation.records import QUALITY

PAGE: Final = 5
FIRST: Final = ("faithfulness", "citation_recall", "claim_coverage")
"""What tells most of an answer: what was wrongly refused has no support to be low."""
PASSAGES: Final = 2
"""Passages that are open at once; the rest are a click away."""


class WorstCases:
    """The answers of a run that did worst by a metric."""

    def __init__(self, viewer: Viewer, run_id: UUID, metrics: Sequence[str]) -> None:
        self._viewer, self._run_id = viewer, run_id
        self._metric = next((name for name in FIRST if name in metrics), metrics[0])
        self._cursor: str | None = None
        with ui.element("div").classes("ev-section-head"):
            element("h2", "The worst answers").props('id="worst"')
            choose("Worst by", {name: name_metric(name) for name in metrics}, self._metric, self.show)
        self._hidden = element("p", "", "note small")
        self._hidden.set_visibility(False)
        self._list = ui.element("ol").classes("plain stack ev-cases").props('aria-live="polite"')
        self._more = button("Show more", self._show_more)
        self._more.set_visibility(False)

    async def show(self, metric: str = "") -> None:
        """Show the worst by this metric, at first by the one that tells most."""
        self._metric, self._cursor = metric or self._metric, None
        found = await self._fetch()
        self._list.clear()
        self._add(found)
        if not found:
            with self._list, ui.element("li"):
                element("p", "This metric says nothing of any answer.", "soft")

    async def _fetch(self) -> list[CaseResultOut]:
        async with tenant_session(await check_measuring(self._viewer)) as session:
            found = await list_cases(
                evaluation_id=self._run_id, session=session, worst_by=self._metric, limit=PAGE, cursor=self._cursor
            )
        self._cursor = found.next_cursor
        self._more.set_visibility(found.next_cursor is not None)
        return found.items

    async def _show_more(self) -> None:
        self._add(await self._fetch())

    def _add(self, cases: Sequence[CaseResultOut]) -> None:
        with self._list:
            for one in cases:
                with ui.element("li"):
                    show_case(one, self._metric)
        if any(not one.readable for one in cases):
            self._hidden.set_text(HIDDEN)
            self._hidden.set_visibility(True)


class CaseDialog:
    """One case by its id, over the page."""

    def __init__(self, viewer: Viewer, run_id: UUID) -> None:
        self._viewer, self._run_id = viewer, run_id
        self._frame = ui.element("dialog").classes("ev-dialog").props('aria-label="One case"')

    async def show(self, case_id: str) -> None:
        """Open the dialog with all answers to the case."""
        # the list is by case, so the page that begins with it holds its repeats
        found = await find_case(self._viewer, self._run_id, case_id)
        self._frame.clear()
        with self._frame:
            with ui.element("div").classes("line ev-dialog-head"):
                element("h2", case_id)
                close = button("Close")
                close.on("click", js_handler="(e) => e.target.closest('dialog').close()")
            for one in found:
                show_case(one, "", level="h3")
            if not found:
                element("p", "This case is gone from the run.", "soft")
        ui.run_javascript(f"getHtmlElement({self._frame.id}).showModal()")


async def find_case(viewer: Viewer, run_id: UUID, case_id: str) -> list[CaseResultOut]:
    """Return the answers to one case of a run."""
    async with tenant_session(await check_measuring(viewer)) as session:
        found = await list_cases(
            evaluation_id=run_id, session=session, worst_by=None, limit=100, cursor=write_cursor([case_id, 0])
        )
    return [one for one in found.items if one.case_id == case_id]


def show_case(one: CaseResultOut, metric: str, *, level: str = "h3") -> None:
    """Add one answer with its scores, and with its words where they may be read."""
    with ui.element("article").classes("card ev-case"):
        element(level, one.question or one.case_id)
        with ui.element("p").classes("soft small"):
            element("span", one.case_id if one.question else "Hidden question")
            if one.repeat > 1:
                element("span", f" · asked for the {one.repeat}. time")
            for name, value in one.slices.items():
                element("span", f" · {name_group(f'{name}={value}')}")
        show_scores(one.scores, metric)
        if one.status == "failed":
            element("p", one.error or "It gave no answer, and counts as worst.", "note bad small")
        for flag in one.flags:
            element("p", flag, "note warn small")
        for name, why in one.not_judged.items():
            element("p", f"{name_metric(name)} was not judged and counts as worst. {why}", "note bad small")
        if one.readable and one.answer is not None:
            with ui.element("div").classes("ev-sides"):
                with ui.element("div"):
                    _show_answer(one)
                with ui.element("div"):
                    _show_evidence(one)


def show_scores(scores: Mapping[str, float | None], first: str) -> None:
    """Add the scores of quality as chips; a low one is marked by a sign, too, and the sorted one comes first."""
    known = [name for name in QUALITY if scores.get(name) is not None]
    known.sort(key=lambda name: name != first)
    with ui.element("ul").classes("plain ev-chips").props('aria-label="Scores"'):
        for name in known:
            value = scores[name] or 0.0
            low = is_low(name, value)
            with ui.element("li").classes("tag" + (" bad" if low else "")):
                element("span", f"{'▼ ' if low else ''}{name_metric(name)} ")
                element("b", say_figure(name, value))


def _show_answer(one: CaseResultOut) -> None:
    element("h4", "Answer")
    element("p", one.answer or "", "ev-words")
    if one.citations:
        element("h4", "What it cites")
        with ui.element("ol").classes("ev-quotes"):
            for cited in one.citations:
                with ui.element("li"):
                    element("q", cited.quote)
                    source = " · ".join(part for part in (cited.speaker, cited.title) if part)
                    if source:
                        element("div", source, "soft small")


def _show_evidence(one: CaseResultOut) -> None:
    if not one.contexts:
        element("h4", "What it could read")
        element("p", "No passage was found.", "soft")
        return
    element("h4", f"What it could read: {say_count(len(one.contexts), 'passage', 'passages')}")
    _list_passages(one, one.contexts[:PASSAGES])
    if rest := one.contexts[PASSAGES:]:
        with ui.element("details"):
            element("summary", f"{len(rest):,} more")
            _list_passages(one, rest, begin=PASSAGES + 1)


def _list_passages(one: CaseResultOut, passages: Sequence[str], *, begin: int = 1) -> None:
    quotes = [cited.quote for cited in one.citations if cited.quote]
    with ui.element("ol").classes("ev-passages").props(f'start="{begin}"'):
        for words in passages:
            start, end = next(((at, at + len(said)) for said in quotes if (at := words.find(said)) >= 0), (0, 0))
            with ui.element("li"), ui.element("p"):
                mark_words(words, start, end)
