"""Insights on a coach's page of a client: each with what it stands on, to accept, word anew or reject with a reason."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar, get_args

from nicegui import ui
from nicegui.events import GenericEventArguments
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.pagination import Page
from api.routes.insights import accept_insight, edit_insight, get_insight, list_insights, reject_insight
from api.schemas.insights import AcceptIn, InsightDetailOut, InsightOut, InsightPatch, InsightStatus, RejectIn
from api.web.clients.evidence import draw_claim
from api.web.clients.sections import narrow
from api.web.clients.shown import FORM, Listing, Shown, choice, count, heading
from api.web.clients.verdicts import draw_verdicts
from api.web.parts import button, element, notify, say_time
from domain.insights import LONGEST_BODY, LONGEST_REASON, LONGEST_TITLE, InsightUnusable

Given = TypeVar("Given", bound=BaseModel)

STATUSES: Final[dict[str, str]] = {"draft": "waiting", "accepted": "accepted", "rejected": "rejected"}


async def draw_insights(
    shown: Shown, session: AsyncSession, on_verdict: Callable[[AsyncSession], Awaitable[None]]
) -> None:
    """Add the insights of the client, those first that wait for a verdict; `on_verdict` is told after each."""
    chosen: list[InsightStatus] = ["draft"]

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[InsightOut]:
        return await list_insights(
            session=session, client_id=shown.client_id, insight_status=chosen[0], visibility=None, limit=limit,
            cursor=cursor,
        )  # fmt: skip

    async def choose(status: str) -> None:
        chosen[0] = next(one for one in get_args(InsightStatus) if one == status)
        await listing.start_over()

    with ui.element("section").props("aria-labelledby=insights"):
        with ui.element("div").classes("section-head"):
            heading("Insights", "insights")
            choice("Show", STATUSES, choose)
        listing = Listing(
            shown, fetch, lambda one: InsightCard(shown, one, on_verdict),
            first=3, empty="None here. Insights are drafted from the patterns of two sessions or more.",
        )  # fmt: skip
        await listing.fill(session)


async def draw_shared(shown: Shown, session: AsyncSession) -> None:
    """Add the accepted insights that the client sees."""

    async def fetch(session: AsyncSession, limit: int, cursor: str | None) -> Page[InsightOut]:
        return await list_insights(
            session=session, client_id=shown.client_id, insight_status="accepted", visibility=narrow(shown),
            limit=limit, cursor=cursor,
        )  # fmt: skip

    def draw(one: InsightOut) -> None:
        with ui.element("li").classes("card insight"):
            say_insight(shown, one)
            draw_ground(shown, one)

    with ui.element("section").props("aria-labelledby=insights"):
        with ui.element("div").classes("section-head"):
            heading("Insights", "insights")
        listing = Listing(
            shown, fetch, draw, first=10, empty="Your coach has shared no insight yet; what they share appears here."
            if shown.is_own else "None yet: accept an insight and show it to them.",
        )  # fmt: skip
        await listing.fill(session)


def say_insight(shown: Shown, insight: InsightOut) -> None:
    """Add the words of an insight."""
    with ui.element("div").classes("line small"):
        say_time(shown.viewer, insight.decided_at or insight.created_at, day_only=True, classes="soft")
        if shown.is_own or shown.ahead:
            pass
        elif insight.status == "accepted" and insight.visibility == "client_visible":
            element("span", f"{shown.first_name} sees it", "tag good")
        elif insight.status == "accepted":
            element("span", "accepted, coaches only", "tag")
        elif insight.status == "rejected":
            element("span", "rejected", "tag bad")
        else:
            element("span", "waiting for you", "tag warn")
    element("h3", insight.title)
    element("p", insight.body, "words")


def draw_ground(shown: Shown, insight: InsightOut) -> None:
    """Add what the insight stands on, folded."""

    def draw(found: InsightDetailOut) -> None:
        against = {link.id for pattern in found.patterns for link in pattern.claims if link.role == "counter"}
        element("p", count(len(found.claims), "claim"), "soft small")
        with ui.element("ol").classes("plain pyramid"):
            for claim in found.claims:
                draw_claim(shown, claim, counter=claim.id in against)

    shown.fold("What it stands on", lambda session: get_insight(insight.id, session), draw)


class InsightCard:
    """One insight as an item of a list, with what a coach can do about it; it changes in its place."""

    def __init__(
        self, shown: Shown, insight: InsightOut, on_verdict: Callable[[AsyncSession], Awaitable[None]]
    ) -> None:
        self._shown, self._insight, self._on_verdict = shown, insight, on_verdict
        self._item = ui.element("li").classes("card insight").props("tabindex=-1")
        self._draw()

    def _draw(self) -> None:
        self._item.clear()
        with self._item:
            say_insight(self._shown, self._insight)
            if self._insight.reason and self._insight.status != "draft":
                element("p", f"Reason: {self._insight.reason}", "soft")
            draw_ground(self._shown, self._insight)
            draw_verdicts(self._shown, self._insight.id)
            self._below = ui.element("div").classes("below")
        self._offer()

    def _offer(self) -> None:
        """Show the buttons, in place of a form."""
        self._below.clear()
        name = self._shown.first_name
        with self._below, ui.element("div").classes("line"):
            if self._insight.status == "draft":
                button(f"Accept and show to {name}", partial(self._accept, share=True), "main")
                button("Accept for coaches only", partial(self._accept, share=False))
            if self._insight.status != "rejected":
                button("Edit", self._ask_words)
            if self._insight.status == "draft":
                button("Reject", self._ask_reason, "bad")

    async def _accept(self, *, share: bool) -> None:
        async with self._shown.session() as session:
            insight = await accept_insight(self._insight.id, session, AcceptIn(share=share))
            await self._on_verdict(session)
        self._change(insight, f"Accepted; {self._shown.first_name} sees it now." if share else "Accepted for coaches.")

    def _ask_reason(self) -> None:
        form = self._ask("Why? Only coaches of this client see it.", "reason", "", LONGEST_REASON)
        self._finish(form, "Reject it", self._reject)

    async def _reject(self, values: dict[str, Any]) -> None:
        given = read_form(RejectIn, reason=values.get("reason"))
        async with self._shown.session() as session:
            insight = await reject_insight(self._insight.id, given, session)
            await self._on_verdict(session)
        self._change(insight, "Rejected; it is not drafted again.")

    def _ask_words(self) -> None:
        form = self._ask("Title", "title", self._insight.title, LONGEST_TITLE)
        self._ask("Words", "body", self._insight.body, LONGEST_BODY, form, rows=7)
        if self._insight.visibility == "client_visible":
            with form:
                element("p", f"{self._shown.first_name} sees the new words at once.", "soft small")
        self._finish(form, "Save", self._edit)

    async def _edit(self, values: dict[str, Any]) -> None:
        given = read_form(InsightPatch, title=values.get("title"), body=values.get("body"))
        async with self._shown.session() as session:
            insight = await edit_insight(self._insight.id, given, session)
        self._change(insight, "Saved; the words before stay in its history.")

    def _ask(
        self, label: str, name: str, words: str, most: int, form: ui.element | None = None, *, rows: int = 2
    ) -> ui.element:
        """Add a labelled field to a form, to a new one in place of the buttons where none is given."""
        if form is None:
            self._below.clear()
            with self._below:
                form = ui.element("form").classes("stack tight").props("novalidate")
        with form, ui.element("div").classes("field"):
            said = element("label", label)
            # Its words are its default, so that what is being typed survives the page's next change.
            field = element("textarea", words).props(f"name={name} rows={rows} maxlength={most} required")
            said.props["for"] = field.html_id
        if name != "body":
            with form:  # what was pressed is gone
                ui.run_javascript(f"getHtmlElement({field.id})?.focus()")
        return form

    def _finish(self, form: ui.element, words: str, act: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        with form:
            wrong = element("p", "", "note bad small").props('role="alert"')
            wrong.set_visibility(False)
            with ui.element("div").classes("line"):
                with ui.element("button").classes("button main").props('type="submit"'):
                    element("span", words)
                button("Cancel", self._offer)

        async def submit(event: GenericEventArguments) -> None:
            try:
                await act(event.args if isinstance(event.args, dict) else {})
            except InsightUnusable:
                wrong.set_text("Say why in a few words." if act == self._reject else "Fill in both, please.")
                wrong.set_visibility(True)

        form.on("submit.prevent", submit, js_handler=FORM)

    def _change(self, insight: InsightOut, said: str) -> None:
        self._insight = insight
        self._draw()
        with self._item:  # what was pressed is gone
            notify(said)
            ui.run_javascript(f"getHtmlElement({self._item.id})?.focus({{preventScroll: true}})")


def read_form(form: type[Given], **values: object) -> Given:
    """Return what was filled in; raises `InsightUnusable`."""
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise InsightUnusable from error
