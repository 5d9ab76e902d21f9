"""The flow that takes months out of the store: into Parquet in the object store, and from there when they are over."""

from collections import Counter
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from flows.starts import begin_run, end_run
from pipelines.archives.run import archive_months as archive_all
from pipelines.archives.run import to_rows

MOST_ROWS = 500


@flow(name="archive-months")
async def archive_months(tenant_id: UUID | None = None, *, dry_run: bool = False) -> dict[str, int]:
    """Archive each month that is due, drop those nobody needs, delete old archives; return the counts by outcome.

    Of all organisations, or of one; a whole month is dropped all the same once nobody needs it.

    A run that was killed is gone on with by the next: nothing is dropped before its archive was read back. A month or
    an organisation that fails leaves the others alone, and the run fails at its end.
    """
    await begin_run()
    logger = get_run_logger()
    try:
        lines = await archive_all(dry_run=dry_run, only=None if tenant_id is None else [tenant_id])
    finally:
        await end_run()
    if lines:
        await acreate_table_artifact(
            to_rows(lines[:MOST_ROWS]), key="archived-months",
            description="What would become of months" if dry_run else "What became of months",
        )  # fmt: skip
    counts = Counter[str](line.did for line in lines)
    logger.info("%s", ", ".join(f"{count:,} {did}" for did, count in counts.items()) or "nothing was due")
    for line in lines:
        if line.did == "failed":
            logger.error("%s of %s, organisation %s: %s", line.table, line.month, line.tenant_id, line.reason)
    if counts["failed"]:
        raise RuntimeError(f"{counts['failed']} months were not archived; the log says why.")
    return dict(counts)
