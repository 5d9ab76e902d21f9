"""The flow that delivers what is due when no service does, and shows what could not be delivered."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from core.settings import get_settings
from db.session import Principal, tenant_session
from domain.outbox import clear_old
from domain.platform import list_tenants
from flows.starts import begin_run, end_run
from pipelines.outbox.dispatcher import Dispatcher, Report
from pipelines.outbox.handlers import build_registry

MOST_ROWS = 200


@flow(name="deliver-outbox")
async def deliver_outbox(tenant_id: UUID | None = None) -> dict[str, int]:
    """Deliver until nothing is due, clear what was delivered a week ago, and return the counts by outcome.

    It may run beside the HTTP service and beside itself: a message is claimed by one of them. Only this tenant's where
    one is named.
    """
    await begin_run()
    try:
        dispatcher = Dispatcher(build_registry(get_settings()), only={tenant_id} if tenant_id else None)
        report = await dispatcher.drain()
        cleared = await _clear([tenant_id] if tenant_id else [tenant.id for tenant in await list_tenants()])
    finally:
        await end_run()
    counts = {name: report.count(name) for name in ("delivered", "failed", "dead")} | {"cleared": cleared}
    if report.errors:
        await acreate_table_artifact(
            _tabulate(report), key="outbox-failures", description="Attempts that failed, by topic and reason"
        )
    get_run_logger().info("%s", ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return counts


async def _clear(tenants: list[UUID]) -> int:
    cleared = 0
    for tenant in tenants:
        gone = -1
        while gone:
            async with tenant_session(Principal(tenant, "system")) as session:
                gone = await clear_old(session)
            cleared += gone
    return cleared


def _tabulate(report: Report) -> list[dict[str, str | int]]:
    return [
        {"topic": topic, "reason": reason, "attempts": count}
        for (topic, reason), count in report.errors.most_common(MOST_ROWS)
    ]
