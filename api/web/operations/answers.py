"""Answers: how the assistant's and the pipelines' runs ended, and what failed inside them, counted by type."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from api.web.operations.section import Concern, Section, draw_facts, explain, say_count, say_span
from api.web.parts import element, say_time
from api.web.viewer import Viewer
from domain import operations
from domain.operations import FEWEST_PEOPLE, AnswerFailure, RunCount

SPANS: Final = {"1": "the last day", "7": "the last seven days", "30": "the last thirty days"}
MANY: Final = 0.05
"""The share of failed answers from which on somebody should look."""
_ENDS: Final = {
    "succeeded": "Answered", "refused": "Refused: nothing to cite", "cancelled": "Stopped by their reader",
    "failed": "Failed", "running": "Under way",
}  # fmt: skip
_KINDS: Final = {"assistant": "the assistant"}


@dataclass(frozen=True, slots=True)
class Answers:
    """How runs ended and what failed inside them, over the days chosen."""

    runs: list[RunCount]
    failures: list[AnswerFailure]


class AnswersSection(Section[Answers]):
    """The section, of a span of days that its reader chooses."""

    def __init__(self, viewer: Viewer) -> None:
        self._days = "7"
        super().__init__(viewer, "answers", "Answers", self._read, self._draw_all, find_concerns=find_concerns)

    async def _read(self) -> Answers:
        since = datetime.now(UTC) - timedelta(days=int(self._days))
        async with self._viewer.session() as session:
            return Answers(
                await operations.count_runs(session, since=since),
                await operations.count_answer_failures(session, since=since),
            )

    def _draw_all(self, answers: Answers) -> None:
        with ui.element("div").classes("field ops-inline"):
            element("label", "Over").props('for="ops-span"')
            choice = ui.element("select").props('id="ops-span"')
            choice.props["value"] = self._days
            with choice:
                for days, words in SPANS.items():
                    element("option", words).props(f'value="{days}"')
        choice.on("change", self._change, js_handler="(event) => emit(event.target.value)")
        asked = [one for one in answers.runs if one.agent_type == "assistant"]
        if not asked:
            element("p", f"Nobody asked the assistant anything in {SPANS[self._days]}.", "soft")
        else:
            counted = {one.status: one.runs for one in asked}
            colours = {"failed": "bad"} if counted.get("failed") else {}
            draw_facts(
                (words, f"{counted.get(end, 0):,}", colours.get(end, ""))
                for end, words in _ENDS.items()
                if end in counted or end in {"succeeded", "refused", "failed"}
            )
            slowest = max((one.p95_s for one in asked if one.status == "succeeded" and one.p95_s), default=None)
            if slowest is not None:
                element("p", f"95 of 100 answers took {say_span(slowest)} at most.", "soft")
        self._draw_failures(answers.failures)

    def _draw_failures(self, failures: list[AnswerFailure]) -> None:
        element("h3", "What failed, by type")
        if not failures:
            element("p", f"Nothing failed inside any run of {SPANS[self._days]}.", "soft")
            return
        with ui.element("ul").classes("plain ops-items"):
            for one in failures:
                with ui.element("li").classes("ops-item"), ui.element("div").classes("ops-what"):
                    element("p", explain(one.cause))
                    with ui.element("p").classes("soft small"):
                        people = f"fewer than {FEWEST_PEOPLE}" if one.people is None else f"{one.people:,}"
                        kind = _KINDS.get(one.agent_type, one.agent_type.replace("_", " "))
                        often = f"{say_count(one.failures, 'time')} in {say_count(one.runs, 'run')} of {kind}"
                        element("span", f"{often}, {one.answered:,} answered all the same · {people} people · last ")
                        say_time(self._viewer, one.last_at)
                        element("span", f" · {one.cause}{', trying again may help' if one.retryable else ''}")
        element("p", "No question and no answer is shown here.", "soft small")

    async def _change(self, event: GenericEventArguments) -> None:
        self._days = event.args if event.args in SPANS else "7"
        await self.load()
        with self._body:  # the choice itself was drawn anew
            ui.run_javascript("document.getElementById('ops-span')?.focus()")


def find_concerns(answers: Answers) -> list[Concern]:
    """Return whether answers fail more than now and then."""
    asked = [one for one in answers.runs if one.agent_type == "assistant"]
    failed = sum(one.runs for one in asked if one.status == "failed")
    total = sum(one.runs for one in asked)
    if not failed or failed < MANY * total:
        return []
    return [Concern("bad", f"{say_count(failed, 'answer')} of {total:,} failed")]
