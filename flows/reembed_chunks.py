"""The flow that moves an organisation to the embedding model of the settings, while the old one serves."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from core.settings import get_settings
from flows.starts import begin_run, end_run
from pipelines import reembed
from pipelines.ingest import load_embedder


@flow(name="reembed-chunks", flow_run_name="reembed {tenant_id}")
async def reembed_chunks(tenant_id: UUID, delete_old: bool = False) -> reembed.ReembedReport:
    """Embed every chunk anew and switch over when complete; started again, it goes on where it stopped.

    `delete_old` also deletes the vectors of the model before; without it, switching back stays cheap.
    """
    await begin_run()
    progress = await acreate_progress_artifact(0.0, key="reembed-progress", description="Embedding chunks anew")

    async def show(done: int, total: int) -> None:
        await aupdate_progress_artifact(progress, progress=100 * done / max(total, 1), description=f"{done} of {total}")

    try:
        report = await reembed.reembed_chunks(tenant_id, await load_embedder(get_settings()), on_progress=show)
        deleted = await reembed.delete_retired_vectors(tenant_id) if delete_old else 0
    finally:
        await end_run()
    get_run_logger().info(
        "%s chunks embedded, %s serves after %s, %s old vectors deleted",
        report.chunks, report.after, report.before, deleted,
    )  # fmt: skip
    return report
