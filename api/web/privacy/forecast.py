"""What an erasure would take, store by store, and the legal holds in its way."""

from collections.abc import Sequence
from uuid import UUID

from nicegui import ui

from api.schemas.privacy import CoveringHoldOut
from api.web.parts import element, say_time
from api.web.privacy.parts import Grid, require_officer
from api.web.privacy.words import TREATMENTS, cell_store
from api.web.viewer import Viewer
from domain.privacy import Hold, SubjectKind
from pipelines.privacy.forecast import Forecast, forecast_erasure


async def show_forecast(viewer: Viewer, kind: SubjectKind, subject_id: UUID, *, holds: bool = True) -> None:
    """Count what would go, and show it; raises `SubjectMissing`."""
    principal = await require_officer(viewer)
    found = await forecast_erasure(principal.tenant_id, kind, subject_id, settings=viewer.settings)
    if holds:
        show_holds(viewer, found.holds)
    _draw_totals(found)
    with ui.element("details").classes("more-of-it"):
        element("summary", "By store")
        _draw_stores(found)


def show_holds(viewer: Viewer, holds: Sequence[Hold | CoveringHoldOut]) -> None:
    """Tell which legal holds are in the way, and why they were placed."""
    if not holds:
        return
    with ui.element("div").classes("note warn stack tight"):
        element("b", "A legal hold is in the way" if len(holds) == 1 else f"{len(holds)} legal holds are in the way")
        with ui.element("ul"):
            for one in holds:
                with ui.element("li"):
                    element("span", f"{one.reason} (on the {one.subject_kind}, since ")
                    say_time(viewer, one.placed_at, day_only=True)
                    element("span", ")")
        with ui.element("p"):
            element("a", "Open the legal holds").props('href="/privacy/holds"')


def _draw_totals(found: Forecast) -> None:
    with ui.element("ul").classes("plain totals"):
        for treatment, words in TREATMENTS.items():
            with ui.element("li"):
                element("b", f"{found.total(treatment):,}")  # type: ignore[arg-type]  # the keys are the treatments
                element("span", words)


def _draw_stores(found: Forecast) -> None:
    if not found.counts:
        element("p", "No store holds anything about it.", "soft")
        return
    grid = Grid(("What", "Rows or files", "Outcome"), caption="What would go", numbers=frozenset({1}))
    for name, (treatment, count) in sorted(found.counts.items()):
        with grid.row():
            cell_store(grid, name)
            grid.cell(f"{count:,}")
            grid.cell(TREATMENTS[treatment])
