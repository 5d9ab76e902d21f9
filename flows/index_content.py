"""The flow that makes what people wrote inside the product findable, all of a tenant's at once."""

from uuid import UUID

from prefect import flow, get_run_logger

from core.settings import get_settings
from db.session import Principal, tenant_session
from flows.starts import begin_run, end_run
from pipelines.content_sources import publish_all
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.handlers import build_registry


@flow(name="index-content")
async def index_content(tenant_id: UUID) -> dict[str, int]:
    """Look at every lesson, post, question, article and note again, index what is new, and return the counts.

    Safe to repeat: what is indexed with the same words is left as it is.
    """
    await begin_run()
    try:
        async with tenant_session(Principal(tenant_id, "system")) as session:
            looked_at = await publish_all(session)
        report = await Dispatcher(build_registry(get_settings()), only={tenant_id}).drain()
    finally:
        await end_run()
    counts = {"looked_at": looked_at} | {name: report.count(name) for name in ("delivered", "failed", "dead")}
    get_run_logger().info("%s", ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return counts
