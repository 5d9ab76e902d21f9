"""Ingestion and flows: what there is, what runs now, what failed and why, with a way to run it again."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from nicegui import ui
from sqlalchemy import select

from api.flow_runs import FlowRun, find_flow_page, list_flow_runs
from api.flow_server import FlowServerUnavailable, start_flow
from api.routes.ingestion import INGEST, IngestionNotFound
from api.web.operations.section import (
    Concern,
    Section,
    draw_facts,
    draw_link,
    draw_sentence,
    explain,
    say_bytes,
    say_count,
    say_span,
)
from api.web.parts import button, cell, element, notify, say_time, table
from api.web.viewer import Viewer
from core.errors import AppError
from db.models import DataSource
from domain import operations
from domain.identity import Unauthenticated
from domain.operations import FailureCause, RunningStage, StateCount

STATES: Final = {
    "indexed": "Searchable", "received": "Waiting", "failed": "Failed", "refused": "Over quota",
    "vanished": "Gone from source", "expired": "Taken out by retention",
}  # fmt: skip
STAGES: Final = {"read": "reading", "parse": "parsing", "chunk": "chunking", "embed": "embedding", "index": "indexing"}
CAUSES_AT_ONCE: Final = 10
RUNS_AT_ONCE: Final = 5
WATCH_S: Final = 10.0
"""How often an open page asks what runs now."""


@dataclass(frozen=True, slots=True)
class Flows:
    """What is known of ingestion and flows; `runs` None where the flow server does not answer, and why."""

    states: list[StateCount]
    causes: list[FailureCause]
    running: list[RunningStage]
    runs: list[FlowRun] | None
    silence: str = ""


class FlowsSection(Section[Flows]):
    """The section, which also looks by itself whether what runs has changed."""

    def __init__(self, viewer: Viewer) -> None:
        self._shown_causes, self._shown_runs = CAUSES_AT_ONCE, RUNS_AT_ONCE
        super().__init__(
            viewer, "ingestion", "Ingestion and flows", self._read, self._draw_all, find_concerns=find_concerns
        )
        ui.timer(WATCH_S, self._watch, immediate=False)

    async def _read(self) -> Flows:
        viewer = self._viewer
        async with viewer.session() as session:
            states = await operations.count_objects(session)
            causes = await operations.list_failure_causes(session, limit=self._shown_causes + 1)
            running = await operations.list_running(session)
        try:
            return Flows(states, causes, running, await list_flow_runs(viewer.settings, viewer.principal.tenant_id))
        except FlowServerUnavailable as error:
            return Flows(states, causes, running, None, error.message)

    async def _watch(self) -> None:
        """Draw anew only where something changed, so that nobody loses their place to a clock."""
        before = self.loaded
        if before is None:
            return
        try:
            async with self._viewer.session() as session:
                states, running = await operations.count_objects(session), await operations.list_running(session)
            if not _is_busy(before) and (states, running) == (before.states, before.running):
                return
            read = await self._read()
        except Unauthenticated:
            raise
        except AppError:
            return  # nobody asked for this look; the next one may be luckier
        if read != before and self.loaded is before:
            self.show(read)
            self.tell()

    def _draw_all(self, flows: Flows) -> None:
        counted = {one.state: one for one in flows.states}
        colours = {"failed": "bad", "refused": "warn"}
        draw_facts(
            (words, f"{counted[state].objects if state in counted else 0:,}",
             colours.get(state, "") if state in counted else "")
            for state, words in STATES.items()
        )  # fmt: skip
        indexed = counted.get("indexed")
        if indexed is None and not flows.causes:
            element("p", "Nothing has been taken in yet; add material on the Sources page.", "soft")
        elif indexed is not None:
            size, pieces = say_bytes(indexed.size_bytes), say_count(indexed.pieces, "passage")
            element("p", f"{say_count(indexed.objects, 'file')} of {size} can be found by {pieces}.", "soft")
        self._draw_running(flows)
        self._draw_causes(flows.causes)
        self._draw_runs(flows)

    def _draw_running(self, flows: Flows) -> None:
        element("h3", "Running now")
        others = [run for run in flows.runs or () if run.is_running]
        by_id = {str(run.id) for run in others}
        with ui.element("div").props('aria-live="polite"').classes("stack tight"):
            if not flows.running and not others:
                element("p", "Nothing runs at this moment.", "soft")
                return
            with ui.element("ul").classes("plain stack tight"):
                for stage in flows.running:
                    with ui.element("li").classes("line"):
                        element("span", STAGES.get(stage.stage, stage.stage), "tag good")
                        with ui.element("span"):
                            element(
                                "span",
                                f"{say_count(stage.objects, 'file')} of {_say_source(stage.source_name)}, since ",
                            )
                            say_time(self._viewer, stage.since)
                        draw_link("Open the run", find_flow_page(self._viewer.settings, stage.run_id))
                ingesting = {stage.run_id for stage in flows.running} & by_id
                for run in others:
                    if str(run.id) not in ingesting:
                        with ui.element("li").classes("line"):
                            element("span", run.state.lower(), "tag good")
                            element("span", _say_flow(run.flow))
                            draw_link("Open the run", run.page)

    def _draw_causes(self, causes: list[FailureCause]) -> None:
        element("h3", "What failed, and why")
        if not causes:
            element("p", "No file failed that was not mended since.", "soft")
            return
        with ui.element("ul").classes("plain ops-items"):
            for one in causes[: self._shown_causes]:
                self._draw_cause(one)
        element(
            "p",
            "Names of files are left out, as they may name a client. The run's page tells each file's outcome.",
            "soft small",
        )
        if len(causes) > self._shown_causes:
            button("Show more causes", self._show_more_causes)

    def _draw_cause(self, one: FailureCause) -> None:
        name = _say_source(one.source_name)
        with ui.element("li").classes("ops-item"):
            with ui.element("div").classes("ops-what"):
                element("p", explain(one.cause))
                with ui.element("p").classes("soft small"):
                    when = (
                        "for want of quota"
                        if one.state == "refused"
                        else f"while {STAGES.get(one.stage or '', 'beginning')}"
                    )
                    element("span", f"{say_count(one.objects, 'file')} of {name}, {when}, last ")
                    say_time(self._viewer, one.last_at)
                    element("span", f" · {one.cause}" if one.cause else "")
            with ui.element("div").classes("ops-do"):
                again = button("Run again", icon="replay")
                again.props["aria-label"] = f"Run again: {name}"
                again.on("click", lambda: self._retry(one.source_id, again))
                if one.run_id:
                    draw_link("Open the run", find_flow_page(self._viewer.settings, one.run_id))

    async def _retry(self, source_id: UUID, pressed: ui.element) -> None:
        """Run the source again; what is unchanged and searchable is left alone."""
        pressed.props("disabled")
        try:
            run_id = await run_again(self._viewer, source_id)
        finally:
            pressed.props(remove="disabled")
        notify("Started; what is unchanged and searchable is left alone.")
        assert pressed.parent_slot is not None  # noqa: S101  # it stands in its cell
        with pressed.parent_slot.parent:
            draw_link("Open the new run", find_flow_page(self._viewer.settings, run_id))

    def _draw_runs(self, flows: Flows) -> None:
        with ui.element("div").classes("line"):
            element("h3", "Latest runs")
            draw_link("Open the flow server", find_flow_page(self._viewer.settings))
        if flows.runs is None:
            draw_sentence(flows.silence, "note warn")
            return
        if not flows.runs:
            element("p", "The flow server knows no run of this organisation among the newest ones.", "soft")
            return
        headings = ("Flow", "Ended", "Began", "Took", "Page")
        with table(headings, numbers=frozenset({3}), caption="Runs of this organisation's flows, the newest first"):
            for run in flows.runs[: self._shown_runs]:
                with ui.element("tr"):
                    cell(_say_flow(run.flow))
                    with cell(classes="ops-why"):
                        colour = "bad" if run.is_bad else "good" if run.state in {"COMPLETED", "RUNNING"} else ""
                        element("span", run.state.lower(), f"tag {colour}")
                        if run.cause:
                            element("div", explain(run.cause), "soft small")
                    with cell():
                        say_time(self._viewer, run.started_at)
                    cell(say_span(run.seconds), "number")
                    with cell():
                        draw_link("Open", run.page)
        if len(flows.runs) > self._shown_runs:
            button("Show more runs", self._show_more_runs)

    async def _show_more_causes(self) -> None:
        self._shown_causes += CAUSES_AT_ONCE
        await self.load()

    def _show_more_runs(self) -> None:
        self._shown_runs += 4 * RUNS_AT_ONCE
        if self.loaded is not None:
            self.show(self.loaded)


def find_concerns(flows: Flows) -> list[Concern]:
    """Return what of ingestion and flows asks for somebody."""
    found = []
    failed = sum(one.objects for one in flows.states if one.state == "failed")
    refused = sum(one.objects for one in flows.states if one.state == "refused")
    if failed:
        found.append(Concern("bad", f"{say_count(failed, 'file')} failed to be taken in"))
    if refused:
        found.append(Concern("warn", f"{say_count(refused, 'file')} waiting for quota"))
    if flows.runs is None:
        found.append(Concern("bad", "The flow server does not answer"))
    elif flows.runs and flows.runs[0].is_bad:
        found.append(Concern("bad", f"The last run, of {_say_flow(flows.runs[0].flow)}, failed"))
    return found


async def run_again(viewer: Viewer, source_id: UUID) -> UUID:
    """Start the ingestion of a source again and return the flow run's id, as an administrator.

    Raises `NotAdministrator`, `IngestionNotFound`, and what starting a flow does.
    """
    async with viewer.session() as session:
        principal = operations.ensure_administrator(session)
        uri = await session.scalar(select(DataSource.uri).where(DataSource.id == source_id))
    if uri is None:
        raise IngestionNotFound("This source is gone; refresh the page, or upload its files again.")
    return await start_flow(viewer.settings, INGEST, {"tenant_id": str(principal.tenant_id), "source": uri})


def _is_busy(flows: Flows) -> bool:
    return bool(flows.running) or any(run.is_running for run in flows.runs or ())


def _say_flow(name: str) -> str:
    return name.replace("-", " ")


def _say_source(name: str) -> str:
    """Return a source's name; that of an upload is an id, which tells nobody anything."""
    try:
        UUID(name)
    except ValueError:
        return name
    return "an upload"
