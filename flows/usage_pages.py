"""What Prefect's pages show of a run's cost: tokens, USD and files by feature, as they were counted."""

from typing import Any
from uuid import UUID

from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run

from db.session import Principal, tenant_session
from domain.usage import UsageRow, get_flow_usage


async def publish_usage(tenant_id: UUID, *, key: str = "usage") -> None:
    """Publish a table of what this flow run used in the tenant; nothing where it used nothing."""
    if not flow_run.id:
        return
    async with tenant_session(Principal(tenant_id, "system")) as session:
        rows = await get_flow_usage(session, UUID(str(flow_run.id)))
    if rows:
        described = f"What this run used in {tenant_id}; /v1/usage?flow_run={flow_run.id} tells it too"
        await acreate_table_artifact([describe_row(row) for row in rows], key=key, description=described)


def describe_row(row: UsageRow) -> dict[str, Any]:
    """Return one line of the table."""
    return {
        "feature": row.feature, "requests": row.requests, "tokens in": row.input_tokens,
        "tokens out": row.output_tokens, "files": row.ingestions, "bytes": row.stored_bytes,
        "USD": "not known" if row.cost_usd is None else f"{row.cost_usd:.6f}", "unpriced calls": row.unpriced,
    }  # fmt: skip
