"""The flow that changes organisations' data keys and encrypts everything anew, while everybody goes on."""

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact

from core.crypto import DataKeyDestroyed
from core.errors import Unavailable
from domain.platform import choose_tenants
from domain.rotation import Rotation
from domain.rotation import rotate_keys as rotate_tenant
from flows.starts import begin_run, end_run


class KeysLeft(Unavailable):
    """Something is still encrypted with older keys; start the flow again, or look at what is unreadable."""


@flow(name="rotate-keys")
async def rotate_keys(tenant_id: UUID | None = None, destroy_old: bool = False) -> int:
    """Encrypt everything of one or every organisation anew with new keys and return how many values and objects.

    Killed or started again, it goes on where it was. With `destroy_old`, older keys that nothing needs any more are
    destroyed, those of objects a day after they were retired.
    """
    await begin_run()
    logger = get_run_logger()
    done: list[tuple[str, Rotation]] = []
    try:
        chosen = await choose_tenants(tenant_id)
        artifact = await acreate_progress_artifact(0.0, key="rotation-progress", description="Rotating keys")
        for number, tenant in enumerate(chosen, start=1):
            try:
                rotations = await rotate_tenant(tenant.id, destroys=destroy_old)
            except DataKeyDestroyed:
                logger.info("%s: its keys were destroyed", tenant.slug)
                continue
            for one in rotations:
                logger.info("%s: %s", tenant.slug, one.describe())
                done.append((tenant.slug, one))
            told = f"{number} of {len(chosen)} organisations"
            await aupdate_progress_artifact(artifact, progress=100 * number / len(chosen), description=told)
    finally:
        await end_run()
    table = [
        {
            "organisation": slug, "for": one.purpose, "version": one.version or "", "encrypted anew": one.renewed,
            "unreadable": one.unreadable, "left": one.left, "retired": one.retired, "destroyed": one.destroyed,
            "seconds": one.seconds,
        }
        for slug, one in done
    ]  # fmt: skip
    await acreate_table_artifact(table, key="rotated-keys", description="Keys changed, and what was encrypted anew.")
    if any(one.left or one.unreadable for _, one in done):
        raise KeysLeft
    return sum(one.renewed for _, one in done)
