"""The flow that carries out a verified deletion request; its pages hold counts and hashes, never anyone's words."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact

from flows.starts import begin_run, end_run
from pipelines.privacy import erase
from pipelines.privacy.receipts import Receipt


@flow(name="erase-subject", flow_run_name="erase {request_id}")
async def erase_subject(tenant_id: UUID, request_id: UUID, delete_sources: bool = False) -> str:
    """Carry out a verified request step by step and return the receipt's id; started again, it goes on.

    `delete_sources` also deletes objects in the organisation's own folders and buckets. Refused, with its reason
    stored, while a legal hold covers the subject.
    """
    await begin_run()
    progress = await acreate_progress_artifact(0.0, key="erasure-progress", description="Erasing")

    async def show(step: str, number: int, steps: int) -> None:
        await aupdate_progress_artifact(progress, progress=100 * number / steps, description=f"{step} is done")

    try:
        receipt = await erase.erase_subject(tenant_id, request_id, delete_sources=delete_sources, on_step=show)
    finally:
        await end_run()
    await acreate_table_artifact(_tabulate(receipt), key="erasure-receipt", description=f"Receipt {receipt.id}")
    taken = sum(facts["items"] for facts in receipt.stores.values() if facts["treatment"] != "keep")
    get_run_logger().info("%s items erased in %s stores; receipt %s", f"{taken:,}", len(receipt.stores), receipt.id)
    return str(receipt.id)


def _tabulate(receipt: Receipt) -> list[dict[str, str | int]]:
    return [
        {"store": name, "treatment": facts["treatment"], "items": facts["items"], "sha256": facts["sha256"]}
        for name, facts in sorted(receipt.stores.items())
        if facts["items"]
    ]
