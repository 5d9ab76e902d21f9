"""The flow that lets go what is beyond its time, in every organisation, and shows what went where."""

from collections import Counter
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from core.errors import AppError
from domain.platform import choose_tenants
from flows.erasures import start_waiting
from flows.starts import begin_run, end_run
from pipelines.retention.apply import apply_retention as apply_one
from pipelines.retention.apply import to_rows

MOST_ROWS = 500


@flow(name="apply-retention", validate_parameters=True)
async def apply_retention(tenant_id: UUID | None = None, *, dry_run: bool = False) -> dict[str, int]:
    """Apply the policies of one or every organisation; with `dry_run` count what would go; return rows by kind of data.

    Legal holds win. Safe to run again and beside itself; a killed run is completed by the next. An organisation that
    fails leaves the others alone, and the run fails at its end. Months leave with the flow archive-months.
    """
    await begin_run()
    logger, rows, gone, failed = get_run_logger(), [], Counter[str](), 0
    try:
        chosen = await choose_tenants(tenant_id)
        for tenant in chosen:
            try:
                lines = await apply_one(tenant.id, dry_run=dry_run)
            except AppError as error:
                failed += 1
                logger.error("the retention of %s: %s", tenant.slug, error.message)  # noqa: TRY400  # foreseen
                continue
            if not dry_run:
                await start_waiting(tenant.id)
            rows += [row for row in to_rows(tenant.slug, lines) if row["gone"] or row["held"] or row["error"]]
            for line in lines:
                gone[line.data_type] += line.gone
                if line.error is not None:
                    failed += 1
                    logger.error("the retention of %s, %s: %s", tenant.slug, line.data_type, line.error)
    finally:
        await end_run()
    await acreate_table_artifact(
        rows[:MOST_ROWS], key="retention", description="What would go where" if dry_run else "What went where"
    )
    logger.info("%s", ", ".join(f"{count:,} {kind}" for kind, count in gone.items() if count) or "nothing was due")
    if failed:
        raise RuntimeError(f"{failed} policies or organisations failed; the log says why.")
    return dict(gone)
