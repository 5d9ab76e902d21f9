"""The flow that links noted readings into the audit log and tells compliance of bulk reads."""

from datetime import UTC, datetime
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from sqlalchemy import func, select

from core.errors import AppError
from core.settings import get_settings
from db.session import unbound_session
from domain import bulk_reads
from domain.bulk_reads import BulkRead
from domain.platform import list_tenants
from flows.starts import begin_run, end_run


@flow(name="watch-readings")
async def watch_readings(tenant_id: UUID | None = None) -> dict[str, int]:
    """Look at what was read since the last look, in one organisation or in all, and return how much there was to tell.

    It may run beside itself: each window of a reader is told once. Months of the list of readings whose entries have
    left the log are dropped.
    """
    await begin_run()
    logger = get_run_logger()
    told: list[tuple[str, BulkRead]] = []
    failed = 0
    try:
        settings = get_settings().audit
        for tenant in await list_tenants():
            if tenant_id not in (None, tenant.id):
                continue
            try:
                found = await bulk_reads.watch_readings(tenant.id, settings, now=datetime.now(UTC))
            except AppError as error:
                failed += 1
                logger.error("%s: %s", tenant.slug, error.message)  # noqa: TRY400  # a sentence is all there is to say
            else:
                told += [(tenant.slug, one) for one in found]
        async with unbound_session() as session:
            pruned = await session.scalar(select(func.governance.prune_readings())) or 0
    finally:
        await end_run()
    if told:
        await acreate_table_artifact(
            [{"organisation": slug, **one.to_json()} for slug, one in told], key="bulk-reads",
            description="Readers of unusually much, each window once",
        )  # fmt: skip
    logger.info("%s bulk reads told, %s months pruned", len(told), pruned)
    if failed:
        raise RuntimeError(f"The readings of {failed} organisations were not looked at; the log says why.")
    return {"told": len(told), "pruned": pruned}
