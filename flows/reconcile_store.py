"""The flow that holds the store against itself, the object store and what runs, and mends what it can."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from core.errors import AppError
from domain.platform import choose_tenants
from flows.erasures import start_waiting
from flows.starts import begin_run, end_run
from pipelines.reconcile import Finding, reconcile_tenant, to_rows

MOST_ROWS = 500


@flow(name="reconcile-store", validate_parameters=True)
async def reconcile_store(tenant_id: UUID | None = None, *, repair: bool = True) -> dict[str, int]:
    """Look for what does not agree in one or every organisation, mend it, and return the counts found and repaired.

    What can't be mended is told with its reason. An organisation that fails leaves the others alone, and the run fails
    at its end.
    """
    await begin_run()
    logger, found, failed = get_run_logger(), list[tuple[str, Finding]](), 0
    try:
        chosen = await choose_tenants(tenant_id)
        for tenant in chosen:
            try:
                findings = await reconcile_tenant(tenant.id, repair=repair)
            except AppError as error:
                failed += 1
                logger.error("the store of %s: %s", tenant.slug, error.message)  # noqa: TRY400  # foreseen
                continue
            if repair:
                await start_waiting(tenant.id)
            found += [(tenant.slug, one) for one in findings if one.found]
    finally:
        await end_run()
    rows = [row for slug, one in found for row in to_rows(slug, [one])]
    await acreate_table_artifact(
        rows[:MOST_ROWS], key="reconciliation", description="What did not agree, and was mended"
    )
    counts = {"found": sum(one.found for _, one in found), "repaired": sum(one.repaired for _, one in found)}
    for slug, one in found:
        if one.repaired < one.found:
            logger.warning("%s: %s %s, %s mended; %s", slug, one.found, one.kind, one.repaired, one.reason or "")
    logger.info("%s found, %s mended", counts["found"], counts["repaired"])
    if failed:
        raise RuntimeError(f"The store of {failed} organisations could not be looked at; the log says why.")
    return counts
