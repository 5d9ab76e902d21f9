"""Why not found: a question asked as a person would, and how many passages it loses to what; no word of any passage."""

from typing import Final

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlalchemy import select

from api.web.operations.section import say_count
from api.web.parts import element
from api.web.viewer import Viewer
from core.errors import AppError
from db.models import User
from domain.identity import Unauthenticated
from domain.operations import FEWEST_PEOPLE, ensure_administrator
from rag.trace import Narrowing, Trace, trace_search_of

OFFERED: Final = 200
"""People offered by name; of a larger organisation, others are named by their address."""
MOST_CHARACTERS: Final = 1_000
_NARROWED: Final[dict[Narrowing, str]] = {
    "people": "the people it names", "sessions": "the sessions it names", "times": "the time it names",
    "speakers": "who spoke", "kinds": "sessions or documents only",
}  # fmt: skip


class WhySection:
    """The form and, below it, what the last question lost."""

    def __init__(self, viewer: Viewer) -> None:
        self.name, self.title = "why", "Why not found"
        self._viewer = viewer
        with ui.element("section").classes("card ops-section").props('id="why" aria-labelledby="why-title"'):
            with ui.element("div").classes("ops-head"):
                element("h2", self.title).props('id="why-title" tabindex="-1"')
            element(
                "p", "Somebody did not find what should be there? Ask as they did: you see how many passages their "
                "rights, the question's own limits and better passages left out. You see no passage, and the audit "
                "log notes that you asked.", "soft ops-measure",
            )  # fmt: skip
            form = ui.element("form").classes("ops-form")
            with form:
                with ui.element("div").classes("field"):
                    element("label", "Person").props('for="why-person"')
                    person = ui.element("input").props(
                        'id="why-person" name="person" type="email" required list="why-people" autocomplete="off" '
                        'maxlength="255" placeholder="name@organisation.example"'
                    )
                    self._offered = ui.element("datalist").props('id="why-people"')
                    element("p", "An e-mail address; the list offers them.", "soft small").props('id="why-hint"')
                with ui.element("div").classes("field"):
                    element("label", "Question").props('for="why-question"')
                    ui.element("input").props(
                        f'id="why-question" name="question" required maxlength="{MOST_CHARACTERS}" autocomplete="off"'
                    )
                self._send = ui.element("button").classes("button main").props('type="submit"')
                with self._send:
                    element("span", "Count")
            form.on(
                "submit", self._ask,
                js_handler="(event) => { event.preventDefault(); const d = new FormData(event.target); "
                "emit({person: d.get('person'), question: d.get('question')}); }",
            )  # fmt: skip
            person.props["aria-describedby"] = "why-hint"
            self._shown = ui.element("div").classes("stack").props('aria-live="polite"')

    async def load(self) -> None:
        """Offer the people there are."""
        async with self._viewer.session() as session:
            ensure_administrator(session)
            rows = await session.execute(
                select(User.email, User.full_name, User.role)
                .where(User.status == "active", User.role.in_(("client", "coach")))
                .order_by(User.full_name, User.id).limit(OFFERED)
            )  # fmt: skip
            people = rows.all()
        if self._offered.is_deleted:
            return
        self._offered.clear()
        with self._offered:
            for email, name, role in people:
                option = ui.element("option")
                option.props["value"], option.props["label"] = email, f"{name}, {role}"

    async def _ask(self, event: GenericEventArguments) -> None:
        given = event.args if isinstance(event.args, dict) else {}
        email, question = str(given.get("person") or "")[:255], str(given.get("question") or "")[:MOST_CHARACTERS]
        self._send.props("disabled")
        self._shown.clear()
        with self._shown:
            ui.element("div").classes("waiting").props('aria-label="Counting"')
        try:
            drawn: Trace | str = await self._trace(email, question)
        except Unauthenticated:
            raise
        except AppError as error:
            drawn = error.message
        finally:
            self._send.props(remove="disabled")
            self._shown.clear()
        with self._shown:
            if isinstance(drawn, str):
                element("p", drawn, "note bad").props('role="alert"')
            else:
                draw_trace(drawn)

    async def _trace(self, email: str, question: str) -> Trace:
        principal = await self._viewer.check()
        return await trace_search_of(principal, email, question, assistant=self._viewer.assistant)


def draw_trace(trace: Trace) -> None:
    """Add the way from all passages to those the assistant would get, and what to do about the largest loss."""
    element("h3", "What became of the passages")
    steps: list[tuple[str, int, tuple[int, str] | None]] = [
        ("Passages of the organisation", trace.searchable, None),
    ]
    steps.append(("This person may see", trace.visible, (trace.by_permission, "permission")))
    steps.append(("The question asks about", trace.in_scope, (trace.by_scope, "scope")))
    if trace.kept is not None and trace.by_score is not None:
        steps.append(("Ranked well enough for the assistant", trace.kept, (trace.by_score, "score")))
    with ui.element("ol").classes("plain ops-funnel"):
        for words, left, lost in steps:
            with ui.element("li"):
                with ui.element("div").classes("ops-step"):
                    element("span", words)
                    element("b", f"{left:,}")
                width = 100 * left / trace.searchable if trace.searchable else 0
                with ui.element("div").classes("ops-bar").props('aria-hidden="true"'):
                    ui.element("span").style(f"width: {width:.2f}%")
                if lost is not None:
                    element("p", f"{say_count(lost[0], 'passage')} removed by {lost[1]}", "soft small")
    if trace.kept is None:
        element(
            "p", f"How many match is not told: words alone decide here, over fewer than {FEWEST_PEOPLE} clients.",
            "soft small",
        )  # fmt: skip
    if trace.narrowed:
        words = ", ".join(_NARROWED[name] for name in trace.narrowed)
        element("p", f"The question was taken to ask for less than everything, by: {words}.", "soft")
    element("p", trace.verdict, "note")
