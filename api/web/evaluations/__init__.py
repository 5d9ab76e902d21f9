"""Evaluations: runs of suites, one run, and two held against each other; for evaluators and administrators."""

from nicegui import ui

from api.web.evaluations.compare import show_comparison
from api.web.evaluations.run import RunPage
from api.web.evaluations.runs import RunList
from api.web.evaluations.start import StartForm
from api.web.evaluations.words import MEASURING, choose, fill_choices, fill_in, read_id
from api.web.frame import page
from api.web.parts import button, element
from api.web.viewer import Viewer

STYLE = '<link rel="stylesheet" href="/web/evaluations.css">'


@page("/evaluations", title="Evaluations", roles=MEASURING)
async def show_evaluations(viewer: Viewer) -> None:
    """List the runs, and start one."""
    ui.add_head_html(STYLE)
    with ui.element("div").classes("heading"):
        element("h1", "Evaluations")
        element("p", "What the assistant was asked on purpose, and how well it did.")

    async def refresh() -> None:
        await runs.show(chosen["suite"] or None)

    async def filter_by(suite: str) -> None:
        chosen["suite"] = suite
        await refresh()

    chosen = {"suite": ""}
    with ui.element("div").classes("line ev-actions"):
        box = choose("Runs of", {"": "All suites"}, "", filter_by)
        opener = button("Start a run", classes="main", icon="play_arrow")
    form = StartForm(viewer, refresh)
    opener.props["aria-expanded"] = "false"
    opener.props["disabled"] = True
    opener.on("click", lambda: form.toggle(opener))
    runs = RunList(viewer)

    async def fill() -> None:
        await runs.show()
        names = await form.load()
        fill_choices(box, {"": "All suites"} | {name: name for name in names})
        opener.props["disabled"] = not names

    ui.timer(0, lambda: fill_in(runs.frame, fill), once=True)


@page("/evaluations/compare", title="Two runs compared", roles=MEASURING)
async def compare_evaluations(viewer: Viewer, a: str = "", b: str = "") -> None:
    """Compare the run `b` with the earlier run `a` of the same suite."""
    ui.add_head_html(STYLE)
    await show_comparison(viewer, read_id(a), read_id(b))


@page("/evaluations/{run_id}", title="One evaluation", roles=MEASURING)
async def show_evaluation(viewer: Viewer, run_id: str) -> None:
    """Show one run."""
    ui.add_head_html(STYLE)
    await RunPage(viewer, read_id(run_id)).show()
