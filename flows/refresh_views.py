"""The flow that counts the dashboards' figures anew."""

import time

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from domain.analytics import VIEWS, refresh_view
from flows.starts import begin_run, end_run


@flow(name="refresh-views")
async def refresh_views() -> dict[str, float]:
    """Refresh every materialised view, while its old figures stay readable, and return the seconds each took."""
    await begin_run()
    taken: dict[str, float] = {}
    try:
        for view in VIEWS:
            started = time.perf_counter()
            await refresh_view(view)
            taken[view] = round(time.perf_counter() - started, 3)
            get_run_logger().info("%s counted anew in %.1f s", view, taken[view])
    finally:
        await end_run()
    await acreate_table_artifact(
        key="refreshed-views",
        table=[{"view": view, "seconds": seconds} for view, seconds in taken.items()],
        description="Materialised views counted anew.",
    )
    return taken
