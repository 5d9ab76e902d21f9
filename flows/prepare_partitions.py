"""The flow that makes the coming months' partitions before anything is written into them."""

from prefect import flow, get_run_logger
from sqlalchemy import text

from db.session import unbound_session
from flows.starts import begin_run, end_run

MONTHS_AHEAD = 12


@flow(name="prepare-partitions")
async def prepare_partitions(months_ahead: int = MONTHS_AHEAD) -> int:
    """Create what is missing of every monthly partitioned table, and return how many partitions that were."""
    await begin_run()
    try:
        async with unbound_session() as session:
            call = text("SELECT platform.create_month_partitions(:ahead)")
            made = await session.scalar(call, {"ahead": months_ahead})
    finally:
        await end_run()
    get_run_logger().info("%s partitions made, %s months ahead", made, months_ahead)
    return int(made or 0)
