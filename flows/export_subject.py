"""The flow that makes a copy of all data about a person, for them."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact

from flows.starts import begin_run, end_run
from pipelines.privacy.export import ExportReport, make_export


@flow(name="export-subject", flow_run_name="export {export_id}")
async def export_subject(tenant_id: UUID, export_id: UUID) -> ExportReport:
    """Write every row about the person and their files into one zip file, and return its size and counts.

    Started again, it begins anew; a copy that is ready stays as it is.
    """
    await begin_run()
    progress = await acreate_progress_artifact(0.0, key="export-progress", description="Collecting what is stored")

    async def show(done: int, total: int) -> None:
        await aupdate_progress_artifact(progress, progress=100 * done / total, description=f"{done} of {total} tables")

    try:
        report = await make_export(tenant_id, export_id, on_progress=show)
    finally:
        await end_run()
    told = f"{report.rows:,} records and {report.originals:,} files, {report.size_bytes:,} bytes"
    await aupdate_progress_artifact(progress, progress=100.0, description=told)
    # Prefect's pages are not under row-level security: counts, never a name.
    await acreate_markdown_artifact(f"{told}; deleted on {report.expires_at:%Y-%m-%d %H:%M} UTC", key="export-summary")
    get_run_logger().info(told)
    return report
