"""The flow that makes partitions: the coming months' before anything is written, and large tenants' own."""

from prefect import flow, get_run_logger
from sqlalchemy import text

from db.session import Principal, tenant_session, unbound_session
from domain.platform import list_tenants
from flows.starts import begin_run, end_run
from rag.retrieve import EXACT_UP_TO

MONTHS_AHEAD = 12

_CHUNKS = text("SELECT chunks FROM rag.term_frequencies WHERE term = 0")


@flow(name="prepare-partitions")
async def prepare_partitions(months_ahead: int = MONTHS_AHEAD, large_from: int = EXACT_UP_TO) -> int:
    """Create what is missing and return how many partitions that were.

    Every table partitioned by month gets its coming months; a tenant of `large_from` chunks or more gets a search
    partition with indexes of its own, and new ones after a change of model.
    """
    await begin_run()
    try:
        async with unbound_session() as session:
            call = text("SELECT platform.create_month_partitions(:ahead)")
            made = await session.scalar(call, {"ahead": months_ahead}) or 0
        for tenant in await list_tenants():
            async with tenant_session(Principal(tenant.id, "system")) as session:
                if (await session.scalar(_CHUNKS) or 0) >= large_from:
                    # indexing a million chunks takes minutes, beyond what any other statement may
                    await session.execute(text("SET LOCAL statement_timeout = '2h'"))
                    made += await session.scalar(text("SELECT rag.give_partition(:t)"), {"t": tenant.id}) or 0
    finally:
        await end_run()
    get_run_logger().info("%s partitions made, %s months ahead", made, months_ahead)
    return int(made)
