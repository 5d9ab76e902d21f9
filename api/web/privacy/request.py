"""One request to erase: what would go, who decides, what runs, and what is left of it."""

from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

from nicegui import ui

from api.routes import privacy as routes
from api.schemas.privacy import RefuseIn, RequestDetailOut, VerifyIn
from api.web.frame import page
from api.web.parts import button, element, notify, say_time
from api.web.privacy.forecast import show_forecast, show_holds
from api.web.privacy.forms import Values, area, choice, form, read_id, read_reason, tick
from api.web.privacy.parts import (
    OFFICERS,
    draw_head,
    name_people,
    officer_session,
    require_officer,
    say_code,
    say_person,
    section,
)
from api.web.privacy.words import MADE_SURE, METHODS, fact, facts, say_due, say_state, say_step, say_subject
from api.web.viewer import Viewer
from core.errors import AppError, Invalid
from domain.identity import Unauthenticated
from domain.privacy import SubjectHeld
from pipelines.privacy.progress import Step, list_steps

EVERY_S = 3.0
"""How often a request that is approved or running is looked at again."""


@page("/privacy/requests/{request_id}", title="Privacy request", roles=OFFICERS)
async def show_request(viewer: Viewer, request_id: str) -> None:
    """Show a request, and follow it while its erasure runs."""
    await _RequestView(viewer, read_id(request_id)).open()


class _RequestView:
    """The page of one request; it is drawn anew whenever something about it changed."""

    def __init__(self, viewer: Viewer, request_id: UUID) -> None:
        self._viewer, self._id = viewer, request_id
        self._drawn: object = None

    async def open(self) -> None:
        """Draw the page; raises `RequestNotFound`."""
        async with officer_session(self._viewer) as (_, session):
            await routes.get_request(self._id, session)  # before anything is drawn, what can't be shown is said alone
        self._heading = draw_head("/privacy", "Erasure")
        self._frame = ui.element("div").classes("stack")
        await self.refresh()
        ui.timer(EVERY_S, self._follow, immediate=False)

    async def _follow(self) -> None:
        if self._is_moving:
            await self.refresh()

    async def refresh(self) -> None:
        """Look at the request again, and draw it where it is not as it was."""
        async with officer_session(self._viewer) as (principal, session):
            one = await routes.get_request(self._id, session)
            people = [one.subject_id, one.requested_by, one.verified_by, one.refused_by]
            self._names = await name_people(session, people)
        # The request was this officer's to see, so its steps are.
        steps = await list_steps(principal.tenant_id, self._id) if one.status != "requested" else []
        self._is_moving = one.status in ("verified", "running")
        drawn = (one.status, one.refusal_reason, [hold.id for hold in one.holds], [step.is_done for step in steps])
        if drawn == self._drawn:
            return
        self._drawn = drawn
        subject = say_subject(self._viewer, self._names, one.subject_kind, one.subject_id)
        self._heading.set_text(f"Erasure: {subject}")
        self._frame.clear()
        with self._frame:
            self._draw_facts(one)
            show_holds(self._viewer, one.holds)
            if one.status == "requested":
                self._draw_forecast(one)
                self._draw_decision(one)
            else:
                self._draw_run(one, steps)
                if one.status in ("verified", "failed"):
                    self._draw_refusal()

    def _draw_facts(self, one: RequestDetailOut) -> None:
        with ui.element("section").classes("card stack tight").props('aria-label="About the request"'):
            with ui.element("div").classes("line").props('role="status"'):
                say_state(one.status)
                if one.status == "failed" and one.refusal_reason:
                    element("span", one.refusal_reason)
            with facts({}):
                with fact("Asked"):
                    say_time(self._viewer, one.requested_at)
                    element("span", f" by {say_person(self._names, one.requested_by)}")
                with fact("Due"):
                    say_due(self._viewer, one)
                if one.reason:
                    with fact("Why"):
                        element("span", one.reason, "written")
                if one.verified_at:
                    with fact("Approved"):
                        say_time(self._viewer, one.verified_at)
                        element("span", f" by {say_person(self._names, one.verified_by)}")
                        element("span", MADE_SURE.get(one.verification_method or "", ""), "soft small block")
                if one.refused_at:
                    with fact("Refused"):
                        say_time(self._viewer, one.refused_at)
                        element("span", f" by {say_person(self._names, one.refused_by)}")
                        element("span", one.refusal_reason or "", "written block")
                if one.completed_at:
                    with fact("Done"):
                        say_time(self._viewer, one.completed_at)
                with fact("Ids"):
                    say_code(f"request {one.id}", "block")
                    say_code(f"{one.subject_kind} {one.subject_id}", "block")
            with ui.element("div").classes("line"):
                if one.status == "completed":
                    element("a", "Open the receipt", "button main").props(f'href="/privacy/receipts/{one.id}"')
                element("a", "What the audit log says of it").props(f'href="/privacy/audit?entity_id={one.id}"')

    def _draw_forecast(self, one: RequestDetailOut) -> None:
        with section("What would go"):
            place = ui.element("div").classes("stack tight").props('aria-live="polite"')
            with place, ui.element("div") as waiting:
                element("p", "Counting, store by store …", "soft")
                ui.element("div").classes("waiting")

        async def count() -> None:
            with place:
                try:
                    await show_forecast(self._viewer, one.subject_kind, one.subject_id, holds=False)
                except Unauthenticated:
                    raise
                except AppError as error:
                    element("p", error.message, "note warn")
                finally:
                    waiting.delete()

        ui.timer(0, count, once=True)

    def _draw_decision(self, one: RequestDetailOut) -> None:
        me = self._viewer.principal.user_id
        with ui.element("div").classes("halves"):
            with section("Approve"):
                if me in (one.requested_by, one.subject_id):
                    who = "You asked for this" if me == one.requested_by else "This is about you"
                    element("p", f"{who}, so another compliance officer approves it.", "note")
                    element(
                        "p", "Is there no other? Then the person can ask for themselves, or whoever runs this service "
                        "can carry it out.", "soft small",
                    )  # fmt: skip
                elif one.holds:
                    element("p", "It can be approved once no legal hold is in the way; or refuse it.", "note")
                else:
                    with form("Approve the request", "Approve and start", self._approve):
                        choice("How did you make sure who asks?", "method", {"": "Choose …", **METHODS})
                        tick("I have seen what would go. It can't be undone.", "sure")
            self._draw_refusal()

    def _draw_refusal(self) -> None:
        with section("Refuse"), form("Refuse the request", "Refuse", self._refuse, "bad"):
            area("Reason", "reason", required=True, hint="The person may read it.")

    def _draw_run(self, one: RequestDetailOut, steps: Sequence[Step]) -> None:
        if not steps and one.status not in ("verified", "failed"):
            return
        done = sum(step.is_done for step in steps)
        with section("Steps", classes="run"):
            words = f"{done} of {len(steps)} steps are done." if steps else "The erasure has not begun yet."
            element("p", words).props('role="status"')
            if steps:
                bar = ui.element("progress").props(f'value="{done}" max="{len(steps)}"')
                bar.props["aria-label"] = "Steps done"
                _draw_steps(steps)
            if one.status in ("verified", "running", "failed"):
                with ui.element("div").classes("line"):
                    button("Start it again", self._start)
                    element("span", "Only if nothing moves: it goes on where it stopped.", "soft small")

    async def _approve(self, values: Values) -> None:
        method = values.get("method", "")
        if method not in METHODS:
            raise Invalid("Say how you made sure who asks.")
        principal = await require_officer(self._viewer)
        body = VerifyIn(method=method)
        try:
            await routes.verify_request(self._id, body, principal, self._viewer.settings)
            notify("Approved; the erasure starts.")
        except SubjectHeld:
            notify("A legal hold is in the way, so it was not approved.", bad=True)
        finally:
            # Where no flow server answers it is approved all the same, and the page says so.
            await self.refresh()

    async def _refuse(self, values: Values) -> None:
        body = RefuseIn(reason=read_reason(values))
        async with officer_session(self._viewer) as (principal, session):
            await routes.refuse_request(self._id, body, principal, session)
        await self.refresh()

    async def _start(self) -> None:
        principal = await require_officer(self._viewer)
        await routes.start_erasure(self._id, principal, self._viewer.settings)
        notify("Started.")
        await self.refresh()


def _draw_steps(steps: Sequence[Step]) -> None:
    """List the steps; those that take rows, one a part of the store, are told as one."""
    groups = [(name, list(some)) for name, some in groupby(steps, key=lambda step: step.name.partition(" ")[0])]
    current = next((name for name, some in groups if not all(step.is_done for step in some)), None)
    with ui.element("ol").classes("steps"):
        for name, some in groups:
            done = sum(step.is_done for step in some)
            state = "done" if done == len(some) else "now" if name == current else "later"
            told = {"done": "done", "now": f"{done} of {len(some)} parts" if done else "next", "later": ""}[state]
            with ui.element("li").classes(state):
                element("span", say_step(name))
                element("span", told, "soft small")
