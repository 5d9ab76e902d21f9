"""The flow that moves memberships and payments on when their time has come and nobody asks for it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from prefect import flow, get_run_logger
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from db.session import Principal, tenant_session
from domain.fulfilment import expire_payments
from domain.platform import list_tenants
from domain.subscriptions import expire_subscriptions, open_renewals
from flows.starts import begin_run, end_run

BATCH = 200
"""Rows a transaction takes; others can get in between."""

Step = Callable[[AsyncSession], Awaitable[int]]


@flow(name="collect-dues")
async def collect_dues() -> dict[str, int]:
    """Open the payments of renewals, give up payments nobody made, end memberships nobody pays; return the counts.

    Safe to run again and beside itself. An organisation where a step fails is tried again at the next run; the others
    go on, and the run fails at its end.
    """
    now, done, failed = datetime.now(UTC), {"renewals": 0, "given_up": 0, "ended": 0}, 0
    steps: dict[str, Step] = {
        "renewals": partial(open_renewals, now=now, limit=BATCH),
        "given_up": partial(expire_payments, now=now, limit=BATCH),
        "ended": partial(expire_subscriptions, now=now, limit=BATCH),
    }
    await begin_run()
    try:
        for tenant in await list_tenants():
            try:
                for name, step in steps.items():
                    done[name] += await _run_out(Principal(tenant.id, "system"), step)
            except AppError as error:
                failed += 1
                get_run_logger().error("the dues of %s: %s", tenant.slug, error.message)
    finally:
        await end_run()
    get_run_logger().info("dues: %s, organisations that failed: %s", done, failed)
    if failed:
        raise RuntimeError(f"The dues of {failed} organisations were not collected; the log says why.")
    return done


async def _run_out(principal: Principal, step: Step) -> int:
    """Run the step, a transaction at a time, until it finds less than a batch."""
    total = 0
    while True:
        async with tenant_session(principal) as session:
            found = await step(session)
        total += found
        if found < BATCH:
            return total
