"""Retention: what goes after how long, what a run would take today, and what runs took."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast, get_args

from nicegui import ui

from api.flow_server import start_flow
from api.routes import retention as routes
from api.schemas.retention import PolicyIn, PolicyOut, RetentionJobOut
from api.web.frame import page
from api.web.parts import button, element, say_time
from api.web.privacy.forms import Values, choice, form, text_field, tick
from api.web.privacy.parts import (
    OFFICERS,
    PAGE,
    Grid,
    draw_head,
    officer_session,
    page_through,
    require_officer,
    say_count,
    section,
)
from api.web.privacy.words import say_state
from api.web.viewer import Viewer
from core.errors import Invalid
from domain.retention import APPLIED, Action, DataType
from pipelines.retention.apply import BY_MONTH

APPLY: Final = "apply-retention"
LONGEST: Final = 36_500
EVERY_S: Final = 2.0
"""How often it is looked whether a rehearsal that was asked for has ended."""
ACTS: Final[Mapping[str, str]] = {"archive": "archived", "delete": "deleted"}
KINDS: Final[Mapping[str, str]] = {
    "accounts_deleted": "Accounts that were closed", "accounts_inactive": "Accounts nobody uses",
    "analytics_events": "Events that are counted", "audit_logs": "The audit log", "community_posts": "Community posts",
    "conversations": "Conversations with the assistant", "course_content": "Course content that was taken back",
    "deliveries": "Deliveries to other systems", "material": "Sessions and documents", "messages": "Messages",
    "notifications": "Notices", "sign_in_sessions": "Sign-ins", "transactions": "Payments",
    "unused_media": "Files nobody uses", "usage": "Figures of usage",
}  # fmt: skip


class DaysMissing(Invalid):
    """Give a number of days from 1 to 36,500."""


@page("/privacy/retention", title="Retention", roles=OFFICERS)
async def show_retention(viewer: Viewer) -> None:
    """Show the policies with what the last rehearsal counted, change them, and list what runs did."""
    words = "What has no policy is kept. Legal holds win over every policy."
    draw_head("/privacy/retention", "Retention", words)
    with ui.element("div").classes("halves"):
        with ui.element("div").classes("stack"):
            await _draw_policies(viewer)
            with section("Runs and rehearsals"):
                await _draw_jobs(viewer)
            with section("Archived months", "What is in them is read by copies of people's data alone."):
                await _draw_archives(viewer)
        with ui.element("div").classes("stack"):
            _draw_rehearsal(viewer)
            _draw_setting(viewer)


async def _draw_policies(viewer: Viewer) -> None:
    async with officer_session(viewer) as (_, session):
        found = await routes.read_retention(session)
        rehearsed = await routes.list_jobs(session=session, data_type=None, dry_run=True, limit=100, cursor=None)
    counted: dict[tuple[str, str], RetentionJobOut] = {}
    for job in rehearsed.items:  # the newest first
        counted.setdefault((job.data_type, job.action), job)

    async def remove(policy: PolicyOut) -> None:
        async with officer_session(viewer) as (_, session):
            await routes.remove_retention(policy.data_type, policy.action, session)
        ui.navigate.reload()

    with section("Policies"):
        if found.retention_days is not None:
            words = f"Sessions, documents and conversations go after {say_count(found.retention_days, 'day')}"
            element("p", f"{words}, unless a policy here says otherwise.", "note")
        if not found.policies:
            element("p", "There is no policy, so everything is kept.", "soft")
            return
        grid = Grid(
            ("What", "Happens", "After", "Would go now", "Change"), caption="Retention policies", numbers=frozenset({2})
        )  # fmt: skip
        for one in found.policies:
            with grid.row():
                grid.cell(KINDS[one.data_type])
                grid.cell(ACTS[one.action])
                grid.cell(say_count(one.days, "day"))
                with grid.cell():
                    _say_rehearsed(viewer, counted.get((one.data_type, one.action)), one)
                with grid.cell(), ui.element("details"):
                    summary = element("summary", "End")
                    summary.props["aria-label"] = f"End the policy: {KINDS[one.data_type]}, {ACTS[one.action]}"
                    with form(f"End {one.data_type} {one.action}", "End this policy", _bind(remove, one), "bad"):
                        tick("Keep this for ever from now on.", "sure")


def _bind(act: Any, policy: PolicyOut) -> Any:  # noqa: ANN401  # a handler
    async def run(_: Values) -> None:
        await act(policy)

    return run


def _say_rehearsed(viewer: Viewer, job: RetentionJobOut | None, policy: PolicyOut) -> None:
    if (policy.data_type, policy.action) in BY_MONTH:
        element("span", "goes by whole months", "soft")
        return
    if (policy.data_type, policy.action) == ("unused_media", "archive"):
        element("span", "stays where it lies", "soft")
        return
    if job is None or job.counts.get("days") != policy.days:
        element("span", "not rehearsed yet", "soft")
        return
    _say_counts(job)
    say_time(viewer, job.executed_at or job.scheduled_at, day_only=True, classes="soft small block")


def _say_counts(job: RetentionJobOut) -> None:
    gone = dict(job.counts.get("gone") or {})
    told = [f"{noun}: {int(count):,}" for noun, count in gone.items() if count]
    element("span", ", ".join(told) or "nothing", "block")
    if job.counts.get("held"):
        element("span", f"{int(job.counts['held']):,} held by legal holds", "tag warn")
    if job.error:
        element("span", job.error, "bad-words small block")


def _draw_rehearsal(viewer: Viewer) -> None:
    looks: list[datetime | None] = []
    """The newest rehearsal when one was asked for, and at the last look since; empty while none is waited for."""

    async def find_newest() -> datetime | None:
        async with officer_session(viewer) as (_, session):
            found = await routes.list_jobs(session=session, data_type=None, dry_run=True, limit=1, cursor=None)
        return found.items[0].scheduled_at if found.items else None

    async def rehearse() -> None:
        principal = await require_officer(viewer)
        before = await find_newest()
        parameters = {"tenant_id": str(principal.tenant_id), "dry_run": True}
        await start_flow(viewer.settings, APPLY, parameters)
        looks[:] = [before, before]
        told.set_text("The rehearsal runs; its figures come by themselves.")

    async def follow() -> None:
        if not looks:
            return
        before, last = looks
        looks[1] = newest = await find_newest()
        # Every policy notes a figure of its own, so the page waits until no more come.
        if newest not in (None, before) and newest == last:
            ui.navigate.reload()

    with section("Rehearse", "Counts what a run would take today. Nothing goes."), ui.element("div"):
        button("Rehearse now", rehearse, "main")
        told = element("p", "", "soft small").props('role="status"')
    ui.timer(EVERY_S, follow, immediate=False)


def _draw_setting(viewer: Viewer) -> None:
    async def set_it(values: Values) -> None:
        kind, action = values.get("data_type", ""), values.get("action", "")
        if kind not in get_args(DataType) or action not in get_args(Action):
            raise Invalid
        days = values.get("days", "")
        if not days.isdecimal() or not 1 <= int(days) <= LONGEST:
            raise DaysMissing
        async with officer_session(viewer) as (_, session):
            body = PolicyIn(days=int(days))
            await routes.set_retention(cast(DataType, kind), cast(Action, action), body, session)
        ui.navigate.reload()

    kinds = {kind: KINDS[kind] for kind in sorted({kind for kind, _ in APPLIED}, key=lambda kind: KINDS[kind])}
    with (
        section("Set a policy", "In force from the next run on; an existing one is replaced."),
        form("Set a retention policy", "Set this policy", set_it),
    ):
        choice("What", "data_type", kinds)
        choice("Is", "action", {"delete": "Deleted", "archive": "Archived"})
        text_field("After days", "days", kind="number", required=True)


async def _draw_jobs(viewer: Viewer) -> None:
    grid = Grid(("What", "When", "State", "Took, or would take"), caption="Runs and rehearsals")
    nothing = element("p", "No run yet; policies are applied every night.", "soft")

    async def load(cursor: str | None) -> str | None:
        async with officer_session(viewer) as (_, session):
            found = await routes.list_jobs(session=session, data_type=None, dry_run=None, limit=PAGE, cursor=cursor)
        grid.frame.set_visibility(bool(found.items) or cursor is not None)
        nothing.set_visibility(not found.items and cursor is None)
        for job in found.items:
            with grid.row():
                with grid.cell():
                    element("span", KINDS.get(job.data_type, job.data_type))
                    element("span", f", {ACTS[job.action]}", "soft")
                with grid.cell():
                    say_time(viewer, job.executed_at or job.scheduled_at)
                with grid.cell():
                    say_state(job.status)
                    if job.dry_run:
                        element("span", "Rehearsal", "tag")
                with grid.cell():
                    _say_counts(job)
        return found.next_cursor

    await page_through(load)


async def _draw_archives(viewer: Viewer) -> None:
    grid = Grid(("Table", "Month", "Rows", "Since then"), caption="Archived months", numbers=frozenset({2}))
    nothing = element("p", "No month was archived yet.", "soft")

    async def load(cursor: str | None) -> str | None:
        async with officer_session(viewer) as (_, session):
            found = await routes.list_archives(session=session, table=None, limit=PAGE, cursor=cursor)
        grid.frame.set_visibility(bool(found.items) or cursor is not None)
        nothing.set_visibility(not found.items and cursor is None)
        for one in found.items:
            with grid.row():
                grid.cell(one.table_name.rpartition(".")[2].replace("_", " "))
                grid.cell(f"{one.month:%B %Y}")
                grid.cell(f"{one.rows:,}")
                grid.cell("in the archive alone" if one.dropped_at else "in the archive too")
        return found.next_cursor

    await page_through(load)
