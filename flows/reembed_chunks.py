"""The flow that moves an organisation to the embedding model of the settings, while the old one serves."""

from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact

from core.settings import get_settings
from flows.starts import begin_run, end_run
from flows.usage_pages import publish_usage
from pipelines import reembed
from pipelines.ingest import load_embedder


def describe_forecast(expected: reembed.ReembedForecast) -> dict[str, Any]:
    """Return the one line of the forecast's table."""
    cost = "not known" if expected.cost_usd is None else f"{expected.cost_usd:.6f}"
    return {"chunks": expected.chunks, "tokens, at most": expected.tokens, "USD, at most": cost}


@flow(name="reembed-chunks", flow_run_name="reembed {tenant_id}")
async def reembed_chunks(tenant_id: UUID, delete_old: bool = False) -> reembed.ReembedReport:
    """Embed every chunk anew and switch over when complete; started again, it goes on where it stopped.

    What a paid model will take is shown first; it begins only if that fits into the tenant's limits, and stops there.
    `delete_old` also deletes the vectors of the model before; without it, switching back stays cheap.
    """
    await begin_run()
    progress = await acreate_progress_artifact(0.0, key="reembed-progress", description="Embedding chunks anew")

    async def show(done: int, total: int) -> None:
        await aupdate_progress_artifact(progress, progress=100 * done / max(total, 1), description=f"{done} of {total}")

    try:
        embedder = await load_embedder(get_settings())
        expected = await reembed.forecast_reembedding(tenant_id, embedder)
        await acreate_table_artifact([describe_forecast(expected)], key="reembed-forecast", description=embedder.name)
        report = await reembed.reembed_chunks(tenant_id, embedder, on_progress=show)
        deleted = await reembed.delete_retired_vectors(tenant_id) if delete_old else 0
        await publish_usage(tenant_id)
    finally:
        await end_run()
    get_run_logger().info(
        "%s chunks embedded, %s serves after %s, %s old vectors deleted",
        report.chunks, report.after, report.before, deleted,
    )  # fmt: skip
    return report
